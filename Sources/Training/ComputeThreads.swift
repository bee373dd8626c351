// The compute threads of a rank.
import CKernels
import Foundation

/// Runs the same work on a fixed number of threads.
struct ComputeThreads {
  let count: Int

  /// Calls `body` with 0..<count and throws the error of the lowest thread. All of the calls run at the
  /// same time, as they may wait for one another; a dispatch queue would run no more than there are cores.
  func run(_ body: @escaping (Int) throws -> Void) throws {
    let errors = UnsafeMutableBufferPointer<(any Error)?>.allocate(capacity: count)
    errors.initialize(repeating: nil)
    defer {
      errors.deinitialize()
      errors.deallocate()
    }
    // Threads write to slots of their own.
    nonisolated(unsafe) let body = body
    nonisolated(unsafe) let slots = errors
    @Sendable func work(_ thread: Int) {
      ck_flush_denormals()
      do { try body(thread) } catch { slots[thread] = error }
    }
    let others = DispatchGroup()
    for number in 1..<max(count, 1) {
      others.enter()
      let thread = Thread {
        work(number)
        others.leave()
      }
      thread.name = "compute \(number)"
      thread.start()
    }
    work(0)
    others.wait()
    if let error = errors.lazy.compactMap({ $0 }).first { throw error }
  }
}

/// `range` in pieces of `size`, the last one maybe shorter.
func pieces(_ range: Range<Int>, size: Int) -> [Range<Int>] {
  stride(from: range.lowerBound, to: range.upperBound, by: size).map {
    $0..<min($0 + size, range.upperBound)
  }
}
