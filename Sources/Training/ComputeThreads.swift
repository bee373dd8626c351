// The compute threads of a rank.
import CKernels
import Foundation

/// Runs the same work on a fixed number of threads.
struct ComputeThreads {
  let count: Int

  /// Calls `body` with 0..<count, side by side, and throws the error of the lowest thread.
  func run(_ body: (Int) throws -> Void) throws {
    let errors = UnsafeMutableBufferPointer<(any Error)?>.allocate(capacity: count)
    errors.initialize(repeating: nil)
    defer {
      errors.deinitialize()
      errors.deallocate()
    }
    withoutActuallyEscaping(body) { body in
      // Threads write to slots of their own.
      nonisolated(unsafe) let body = body
      nonisolated(unsafe) let errors = errors
      DispatchQueue.concurrentPerform(iterations: count) { thread in
        ck_flush_denormals()
        do { try body(thread) } catch { errors[thread] = error }
      }
    }
    if let error = errors.lazy.compactMap({ $0 }).first { throw error }
  }
}

/// `range` in pieces of `size`, the last one maybe shorter.
func pieces(_ range: Range<Int>, size: Int) -> [Range<Int>] {
  stride(from: range.lowerBound, to: range.upperBound, by: size).map {
    $0..<min($0 + size, range.upperBound)
  }
}
