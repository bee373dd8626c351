// SIGTERM, SIGUSR1 and SIGINT ask for a checkpoint and an early end.
import Foundation
import Synchronization

public enum StopRequest {
  static let flag = Atomic<Bool>(false)

  /// Whether this process was asked to stop; ranks agree on it after every step.
  public static var isPending: Bool { flag.load(ordering: .relaxed) }

  /// From now on the signals only ask; a second SIGINT ends the process at once.
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
  if number == SIGINT && StopRequest.isPending { _exit(130) }
  StopRequest.flag.store(true, ordering: .relaxed)
}
