// Signals that end a fuzzer, after it has tidied up.
import Foundation
import Synchronization

public enum FuzzStop {
  private static let number = Atomic<Int32>(0)

  static var isPending: Bool { number.load(ordering: .relaxed) != 0 }

  /// Runs `body`, which a signal ends after the input under way; then the process ends as the signal would
  /// have ended it. What is ignored (`nohup`) stays ignored.
  public static func catching<R>(_ body: () throws -> R) throws -> R {
    // Made here, because a signal handler must not be what first touches a lazy static.
    number.store(0, ordering: .relaxed)
    var caught: [(Int32, sigaction)] = []
    var signals = sigset_t()
    sigemptyset(&signals)
    for signalNumber in [SIGINT, SIGTERM, SIGHUP, SIGPIPE] {
      var before = sigaction()
      sigaction(signalNumber, nil, &before)
      guard unsafeBitCast(before.__sigaction_handler.sa_handler, to: Int.self) != ignored else {
        continue
      }
      signal(signalNumber) { FuzzStop.number.store($0, ordering: .relaxed) }
      caught.append((signalNumber, before))
      sigaddset(&signals, signalNumber)
    }
    // Whoever started this process may have had them blocked.
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    let result = Result { try body() }
    for (signalNumber, before) in caught {
      withUnsafePointer(to: before) { _ = sigaction(signalNumber, $0, nil) }
    }
    if case .success = result, isPending {
      let pending = number.load(ordering: .relaxed)
      // Libraries of networks, which MPI may bring, have handlers of their own.
      signal(pending, SIG_DFL)
      raise(pending)
    }
    return try result.get()
  }

  private static let ignored = unsafeBitCast(SIG_IGN, to: Int.self)
}
