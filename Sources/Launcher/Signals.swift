// Signals to the launcher: the first asks for a checkpoint, the second for an end, the third for one at once.
import Foundation

/// Each signal that arrives goes through a pipe with its time: a handler may do no more than that, and waiting for a
/// pipe misses nothing.
final class Signals {
  /// Those that ask for a checkpoint, and then for an end.
  static let heard = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU]
  /// The same for a shell.
  static let namesOfHeard = "INT TERM HUP USR1 USR2 XCPU"

  /// Readable when a signal has come, or a child has ended.
  let descriptor: Int32
  /// Requests so far.
  private(set) var count = 0
  /// Told the number of each request.
  var onRequest: (Int) -> Void = { _ in }
  /// The request that ends small commands, too; the next one kills them.
  var requestThatEndsCommands = 2
  private let repeats: RepeatedSignals

  private struct Record {
    var number: Int
    var seconds: Double
  }

  /// - Throws: `RunError` (configuration).
  init(inSlurm: Bool) throws {
    repeats = RepeatedSignals(inSlurm: inSlurm)
    (descriptor, signalPipe) = try makePipe()
    for end in [descriptor, signalPipe] { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
    catchSignal(SIGCHLD)
  }

  /// From now on signals are requests. Those that whoever started this ignores, as `nohup` does, stay ignored.
  func listen() {
    for number in Self.heard {
      var action = sigaction()
      sigaction(number, nil, &action)
      let ignored = unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
      if !ignored { catchSignal(number) }
    }
    signal(SIGPIPE, SIG_IGN)
    Self.unblock()
  }

  private func catchSignal(_ number: Int32) {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { number in
      let before = errno
      var record = Record(number: Int(number), seconds: Clock.seconds())
      _ = write(signalPipe, &record, MemoryLayout<Record>.size)
      errno = before
    }
    action.sa_flags = Int32(SA_RESTART)
    sigaction(number, &action, nil)
  }

  /// `launch` has kept signals for this moment.
  static func unblock() {
    var mask = sigset_t()
    sigemptyset(&mask)
    for number in heard { sigaddset(&mask, number) }
    sigprocmask(SIG_UNBLOCK, &mask, nil)
  }

  /// Takes note of what has come.
  func take() {
    var record = Record(number: 0, seconds: 0)
    while read(descriptor, &record, MemoryLayout<Record>.size) == MemoryLayout<Record>.size {
      if record.number == Int(SIGCHLD) {
        ChildProcess.reapOrphans()
      } else if !repeats.isRepeat(Int32(record.number), at: record.seconds) {
        count += 1
        onRequest(count)
      }
    }
  }
}

/// Which signals say what others have said already.
final class RepeatedSignals {
  private let inSlurm: Bool
  private var requests = 0
  private var first = (number: Int32(0), seconds: 0.0)
  private var hasHungUp = false

  init(inSlurm: Bool) { self.inSlurm = inSlurm }

  func isRepeat(_ number: Int32, at seconds: Double) -> Bool {
    // A shell and the kernel tell of the end of a terminal, each by itself.
    if number == SIGHUP, hasHungUp { return true }
    hasHungUp = hasHungUp || number == SIGHUP
    if requests == 1 {
      let passed = seconds - first.seconds
      // When the time of a job is over, Slurm sends a step its SIGTERM twice within milliseconds.
      if inSlurm, passed <= 1 { return true }
      // Whoever signals a process and then its group.
      if number == first.number, passed <= 0.02 { return true }
    }
    if requests == 0 { first = (number, seconds) }
    requests += 1
    return false
  }
}

/// Where the handler writes.
nonisolated(unsafe) private var signalPipe: Int32 = -1

enum Clock {
  /// Since some moment; nobody can set this clock.
  static func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
