// XXH3-64 over the pieces of a data set, for the check that all hosts hold the same data.
import CXXHash
import Foundation

/// 64-bit hash of everything added, in order (XXH3, Collet; not cryptographic).
public final class DataHash {
  private let state: OpaquePointer

  public init() {
    guard let state = XXH3_createState() else { fatalError("Out of memory for a hash state.") }
    self.state = state
    XXH3_64bits_reset(state)
  }

  deinit { XXH3_freeState(state) }

  public func add(_ bytes: UnsafeRawBufferPointer) {
    XXH3_64bits_update(state, bytes.baseAddress, bytes.count)
  }

  /// Adds the length too, so that ("ab", "c") differs from ("a", "bc").
  public func add(_ text: String) {
    add(UInt64(text.utf8.count))
    var text = text
    text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
  }

  public func add(_ number: UInt64) {
    var number = number.littleEndian
    withUnsafeBytes(of: &number) { add($0) }
  }

  public var value: UInt64 { XXH3_64bits_digest(state) }

  /// 16 hexadecimal digits.
  public var text: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
