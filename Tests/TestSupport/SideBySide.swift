// Threads that all run at once, as the compute threads of a rank do.
import Foundation

/// Calls `body` with 0..<count on as many threads, and waits for them.
public func sideBySide(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let all = DispatchGroup()
  for number in 0..<count {
    all.enter()
    Thread {
      body(number)
      all.leave()
    }.start()
  }
  all.wait()
}
