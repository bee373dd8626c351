// SIGTERM, SIGUSR1 and SIGINT ask for a checkpoint and an early end.
import Diagnostics
import Foundation
import Synchronization

public enum StopRequest {
  static let flag = Atomic<Bool>(false)
  /// When the first signal came, and for how long after it others are taken for the same, in milliseconds.
  static let askedAt = Atomic<Int>(0)
  static let repeats = Atomic<Int>(0)

  /// Whether this process was asked to stop; ranks agree on it after every step.
  public static var isPending: Bool { flag.load(ordering: .relaxed) }

  /// From now on the signals only ask; SIGTERM or SIGINT after that end the process at once, as one that
  /// died.
  public static func catchSignals() {
    // Made here, because a signal handler must not be what first touches a lazy static.
    flag.store(false, ordering: .relaxed)
    askedAt.store(0, ordering: .relaxed)
    // When the time of a job is over, Slurm sends its processes SIGTERM twice within milliseconds.
    let isInSlurm = ProcessInfo.processInfo.environment["SLURM_JOB_ID"] != nil
    repeats.store(isInSlurm ? 1000 : 0, ordering: .relaxed)
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
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  let now = time.tv_sec * 1000 + time.tv_nsec / 1_000_000
  guard StopRequest.isPending else {
    StopRequest.askedAt.store(now, ordering: .relaxed)
    StopRequest.flag.store(true, ordering: .relaxed)
    return
  }
  let since = now - StopRequest.askedAt.load(ordering: .relaxed)
  // SIGUSR1 may come several times: batch systems repeat it.
  guard number != SIGUSR1, since >= StopRequest.repeats.load(ordering: .relaxed) else { return }
  _exit(ExitCode.rankDied.rawValue)
}
