// One start of mpirun, until it has ended.
import Diagnostics
import Foundation

struct Attempt {
  let signals: Signals
  let stop: StopRequest
  let voice: Voice

  struct Outcome {
    /// mpirun's own, as a shell tells it.
    let exitCode: Int32
    let output: MPIRunOutput
    /// Whether the launcher has ended an mpirun that did not end.
    let wasEnded: Bool
  }

  /// - Parameters:
  ///   - blocked: signals that mpirun is not to get.
  ///   - helper: the name of mpirun's helper.
  /// - Throws: `RunError` (configuration) when mpirun cannot be started at all.
  func run(
    _ words: [String], environment: [String: String], blocked: [Int32], helper: String
  ) throws -> Outcome {
    let pipe = try LinePipe()
    let child: ChildProcess
    do {
      child = try ChildProcess(
        words, environment: environment, errors: pipe.writeEnd, blocked: blocked)
    } catch {
      throw RunError.configuration(
        "\(words[0]) cannot be started: \(systemReason(of: error)). ./launch doctor looks for why.")
    }
    pipe.closeWriteEnd()
    // A run does not end for want of one.
    let guardian = try? Guardian(of: child, signal: stop.endSignal)
    defer { guardian?.dismiss() }
    var stop = stop
    var output = MPIRunOutput(helper: helper)
    var heard = 0
    var endsAt: Double?
    var wasEnded = false
    while !child.hasEnded {
      let now = Clock.seconds()
      while heard < signals.count {
        heard += 1
        stop.take(request: heard, now: now)
      }
      endsAt = wasEnded ? nil : output.secondsToEnd.map { endsAt ?? now + $0 }
      if let moment = endsAt, now >= moment {
        (endsAt, wasEnded) = (nil, true)
        // An mpirun that is ending already does not end sooner for being asked.
        if case .notConnected = output.loss { stop.end(now: now) } else { stop.kill() }
      }
      stop.signalsDue(now: now, hasBegun: output.hasBegun).forEach(child.send)
      let moments = [stop.nextMoment, endsAt].compactMap { $0 }
      signals.wait(for: pipe.descriptors, until: moments.min(), voice: voice)
      for line in pipe.takeLines() { output.take(line).forEach(voice.say) }
    }
    readRest(pipe, of: child, &output)
    output.end().forEach(voice.say)
    voice.finish()
    return Outcome(exitCode: child.exitCode ?? 0, output: output, wasEnded: wasEnded)
  }

  /// What an mpirun that has ended leaves behind may hold its stderr open: asked to end after five seconds, and left
  /// to itself after fifteen.
  private func readRest(_ pipe: LinePipe, of child: ChildProcess, _ output: inout MPIRunOutput) {
    let end = Clock.seconds()
    var asksAt: Double? = end + 5
    while pipe.isOpen, Clock.seconds() < end + 15 {
      signals.wait(for: pipe.descriptors, until: asksAt ?? end + 15, voice: voice)
      for line in pipe.takeLines() { output.take(line).forEach(voice.say) }
      if let moment = asksAt, Clock.seconds() >= moment {
        asksAt = nil
        child.endSession()
      }
    }
    pipe.stop()
    for line in pipe.takeLines() { output.take(line).forEach(voice.say) }
  }
}
