// XXH3 with 64 bits, faster than XXH64: for what is compared between ranks, hosts or runs, and for keys.
import CXXHash

/// Hash of everything added, in order (Collet; not cryptographic).
public final class XXH3 {
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

  /// `value` in 16 digits.
  public var hex: String { hexadecimal(value) }

  /// As of an `XXH3` to which `bytes` alone were added.
  public static func value(of bytes: UnsafeRawBufferPointer) -> UInt64 {
    XXH3_64bits(bytes.baseAddress, bytes.count)
  }
}
