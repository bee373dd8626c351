// One start of mpirun, until it has ended.
import Diagnostics
import Foundation

struct Attempt {
  let signals: Signals
  let stop: StopRequest

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
        Self.withLauncher(words, stop.endSignal), environment: environment, errors: pipe.writeEnd,
        blocked: blocked)
    } catch {
      throw RunError.configuration(
        "\(words[0]) cannot be started: \(systemReason(of: error)). ./launch doctor looks for why.")
    }
    pipe.closeWriteEnd()
    var stop = stop
    var output = MPIRunOutput(helper: helper)
    var hearsOf = 0
    var endsAt: Double?
    var wasEnded = false
    // What an mpirun leaves behind may hold its stderr open.
    var leftoversEndAt: Double?
    var readsUntil: Double?
    while !child.hasEnded || pipe.isOpen {
      let moments = [stop.nextMoment, endsAt, leftoversEndAt, readsUntil].compactMap { $0 }
      signals.wait(for: pipe.isOpen ? [pipe.readEnd] : [], until: moments.min())
      for line in pipe.takeLines() { output.take(line).forEach(say) }
      let now = Clock.seconds()
      if child.hasEnded {
        if readsUntil == nil { (leftoversEndAt, readsUntil) = (now + 5, now + 15) }
        if let moment = leftoversEndAt, now >= moment {
          leftoversEndAt = nil
          child.endSession()
        }
        if let moment = readsUntil, now >= moment { pipe.stop() }
        continue
      }
      while hearsOf < signals.count {
        hearsOf += 1
        stop.take(request: hearsOf, now: now)
      }
      endsAt = wasEnded ? nil : output.secondsToEnd.map { endsAt ?? now + $0 }
      if let moment = endsAt, now >= moment {
        (endsAt, wasEnded) = (nil, true)
        // An mpirun that is ending already does not end sooner for being asked.
        if case .notConnected = output.loss { stop.end(now: now) } else { stop.kill() }
      }
      stop.signalsDue(now: now, hasBegun: output.hasBegun).forEach(child.send)
    }
    output.end().forEach(say)
    return Outcome(exitCode: child.exitCode ?? 0, output: output, wasEnded: wasEnded)
  }

  /// mpirun ends when the launcher is killed, and the ranks end with mpirun.
  private static func withLauncher(_ words: [String], _ endSignal: Int32) -> [String] {
    guard Machine.path(ofProgram: "setpriv") != nil else { return words }
    return ["setpriv", "--pdeathsig", endSignal == SIGINT ? "INT" : "TERM"] + words
  }
}
