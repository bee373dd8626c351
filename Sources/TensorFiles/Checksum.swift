// XXH64 of files and tensors: what checkpoints are checked by (`xxhsum -H64` prints the same).
import CXXHash
import Diagnostics
import Foundation

public enum Checksum {
  public static func hex(of data: Data) -> String {
    let value = data.withUnsafeBytes { XXH64($0.baseAddress, $0.count, 0) }
    return text(value)
  }

  /// XXH64 of pieces of memory, one behind the other.
  public static func hex(of pieces: [UnsafeRawBufferPointer]) -> String {
    guard let state = XXH64_createState() else { preconditionFailure("out of memory") }
    defer { XXH64_freeState(state) }
    XXH64_reset(state, 0)
    for piece in pieces { _ = XXH64_update(state, piece.baseAddress, piece.count) }
    return text(XXH64_digest(state))
  }

  /// XXH3 of memory: faster than reading it twice.
  public static func value(of bytes: UnsafeRawBufferPointer) -> UInt64 {
    XXH3_64bits(bytes.baseAddress, bytes.count)
  }

  /// - Throws: `RunError` (configuration) when the file cannot be read.
  public static func hex(ofFile path: String) throws -> String {
    guard let handle = FileHandle(forReadingAtPath: path), let state = XXH64_createState() else {
      throw RunError.configuration("\(path) could not be read: \(systemErrorText()).")
    }
    defer { XXH64_freeState(state) }
    XXH64_reset(state, 0)
    while let piece = try handle.read(upToCount: 1 << 20), !piece.isEmpty {
      _ = piece.withUnsafeBytes { XXH64_update(state, $0.baseAddress, $0.count) }
    }
    return text(XXH64_digest(state))
  }

  private static func text(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
