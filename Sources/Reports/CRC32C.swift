// CRC-32C: the checksum of TFRecord files.

/// Castagnoli's polynomial, reflected, as in RFC 3720, appendix B.4.
enum CRC32C {
  /// table[b]: what byte b makes of a remainder of zero.
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in value >> 1 ^ (value & 1) &* 0x82f6_3b78 }
  }

  static func value(of bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(~0) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
  }

  /// Rotated and shifted, so that the checksum of data that hold checksums is no special value.
  static func masked(_ bytes: some Sequence<UInt8>) -> UInt32 {
    let value = value(of: bytes)
    return (value >> 15 | value << 17) &+ 0xa282_ead8
  }
}
