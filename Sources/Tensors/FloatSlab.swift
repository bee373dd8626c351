// Memory for one role (parameters, gradients, moments, activations): one aligned block of floats.
import Foundation

/// `count` floats, zeroed, 64-byte aligned; every tensor of a role is a view into its slab.
///
/// Its memory is there from the beginning, because it is cleared; large slabs ask for huge pages.
public final class FloatSlab: @unchecked Sendable {
  public let base: UnsafeMutablePointer<Float>
  public let count: Int

  public init(count: Int) {
    precondition(count >= 0)
    self.count = count
    let (page, hugePage) = (4096, 2 << 20)
    let wanted = max(count, 16) * MemoryLayout<Float>.stride
    let alignment = wanted >= hugePage ? hugePage : page
    // What is left behind the last whole huge page lies in small ones.
    let byteCount = (wanted + page - 1) / page * page
    var memory: UnsafeMutableRawPointer?
    let status = posix_memalign(&memory, alignment, byteCount)
    guard status == 0, let memory else {
      fatalError("Out of memory: \(byteCount) bytes for a slab were refused.")
    }
    if alignment == hugePage { madvise(memory, byteCount, MADV_HUGEPAGE) }
    memset(memory, 0, byteCount)
    base = memory.bindMemory(to: Float.self, capacity: byteCount / MemoryLayout<Float>.stride)
  }

  deinit { free(base) }

  public var buffer: UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(start: base, count: count)
  }

  /// Calls `body` with the floats, which stay until it returns, even if nothing else holds the slab.
  public func use<R>(_ body: (UnsafeMutablePointer<Float>) throws -> R) rethrows -> R {
    try withExtendedLifetime(self) { try body(base) }
  }

  public func fill(_ value: Float) { buffer.update(repeating: value) }
}
