// The thread that exchanges buckets while others still compute.
import CKernels
import Foundation

/// Carries out one job per step: for every bucket in order, as soon as its end has been reported, calls
/// `exchange`. It sleeps while there is nothing to do. MPI is its own until
/// `wait` returns: MPI makes no progress by itself here, so somebody has to call it.
final class OverlapThread: @unchecked Sendable {
  private let ends: [Int]
  private let exchange: (Int) throws -> Void
  private let condition = NSCondition()
  // Guarded by the condition.
  private var position = 0
  private var isDone = false
  private var isStopping = false
  private var hasEnded = false
  private var failure: (any Error)?

  /// - Parameter ends: ends of the buckets, ascending.
  init(ends: [Int], exchange: @escaping (Int) throws -> Void) {
    self.ends = ends
    self.exchange = exchange
  }

  func start() {
    let thread = Thread { self.work() }
    thread.name = "exchange"
    thread.start()
  }

  /// Everything before `reported` is finished; threads may report one another's progress late.
  func report(position reported: Int) {
    condition.lock()
    position = max(position, reported)
    condition.broadcast()
    condition.unlock()
  }

  /// Waits until all buckets of the step are exchanged, and begins the next step.
  func wait() throws {
    condition.lock()
    defer { condition.unlock() }
    while !isDone { condition.wait() }
    isDone = false
    position = 0
    if let failure {
      self.failure = nil
      throw failure
    }
    condition.broadcast()
  }

  /// Ends the thread; no step may be under way.
  func stop() {
    condition.lock()
    isStopping = true
    condition.broadcast()
    while !hasEnded { condition.wait() }
    condition.unlock()
  }

  private func work() {
    ck_flush_denormals()
    while let bucket = nextBucket() {
      do { try exchange(bucket) } catch {
        condition.lock()
        failure = error
        condition.unlock()
      }
    }
    condition.lock()
    hasEnded = true
    condition.broadcast()
    condition.unlock()
  }

  private var bucket = 0

  /// Waits for the next bucket that is ready; nil when the thread is to end. After a failure the rest
  /// of the step's buckets are left out.
  private func nextBucket() -> Int? {
    condition.lock()
    defer { condition.unlock() }
    if bucket == ends.count || failure != nil {
      isDone = true
      bucket = 0
      condition.broadcast()
      while isDone, !isStopping { condition.wait() }
    }
    while !isStopping, position < ends[bucket] { condition.wait() }
    if isStopping { return nil }
    bucket += 1
    return bucket - 1
  }
}
