// SIGTERM, SIGUSR1 and SIGINT ask for a checkpoint and an early end.
import Diagnostics
import Foundation
import Synchronization

public enum StopRequest {
  static let flag = Atomic<Bool>(false)

  /// Whether this process was asked to stop; ranks agree on it after every step.
  public static var isPending: Bool { flag.load(ordering: .relaxed) }

  /// From now on the signals only ask; SIGTERM or SIGINT after that end the process at once, as one that
  /// died.
  public static func catchSignals() {
    // Made here, because a signal handler must not be what first touches a lazy static.
    flag.store(false, ordering: .relaxed)
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGTERM, SIGUSR1, SIGINT] {
      signal(number, noteStop)
      sigaddset(&signals, number)
    }
    // Whoever started this process may have had them blocked.
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    signal(SIGPIPE, SIG_IGN)
  }
}

private func noteStop(_ number: Int32) {
  // SIGUSR1 may come several times: batch systems repeat it.
  if number != SIGUSR1 && StopRequest.isPending { _exit(ExitCode.rankDied.rawValue) }
  StopRequest.flag.store(true, ordering: .relaxed)
}
