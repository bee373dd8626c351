// Signals to the launcher: the first asks for a checkpoint, the second for an end, the third for one at once.
import Foundation

/// The number of each signal that arrives goes through a pipe: a handler may do no more than that, and waiting for
/// a pipe misses nothing.
final class Signals {
  /// Those that ask for a checkpoint, and then for an end.
  static let heard = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU]
  /// The same for a shell.
  static let namesOfHeard = "INT TERM HUP USR1 USR2 XCPU"

  /// Readable when a signal has come, or a child has ended.
  let descriptor: Int32
  /// Requests so far.
  private(set) var count = 0
  private var first = 0.0
  /// Told the number of each request.
  var onRequest: (Int) -> Void = { _ in }
  private let inSlurm: Bool

  /// Listens from now on. Signals that whoever started this ignores, as `nohup` does, stay ignored.
  ///
  /// - Throws: `RunError` (configuration).
  init(inSlurm: Bool) throws {
    self.inSlurm = inSlurm
    (descriptor, signalPipe) = try makePipe()
    for end in [descriptor, signalPipe] { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
    for number in Self.heard + [SIGCHLD] {
      var action = sigaction()
      sigaction(number, nil, &action)
      let ignored = unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
      guard number == SIGCHLD || !ignored else { continue }
      action = sigaction()
      action.__sigaction_handler.sa_handler = { number in
        let before = errno
        var byte = UInt8(number)
        _ = write(signalPipe, &byte, 1)
        errno = before
      }
      action.sa_flags = Int32(SA_RESTART)
      sigaction(number, &action, nil)
    }
    signal(SIGPIPE, SIG_IGN)
    Self.unblock()
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
    var bytes = [UInt8](repeating: 0, count: 64)
    while true {
      let count = read(descriptor, &bytes, bytes.count)
      guard count > 0 else { return }
      for byte in bytes[..<count] where Int32(byte) != SIGCHLD { request() }
    }
  }

  private func request() {
    let now = Clock.seconds()
    // When the time of a job is over, Slurm sends a step its SIGTERM twice within milliseconds.
    if inSlurm, count == 1, now - first <= 1 { return }
    if count == 0 { first = now }
    count += 1
    onRequest(count)
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
