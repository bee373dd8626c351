// XXH64: what checkpoints and weights files are checked by.
import CXXHash
import Diagnostics
import Foundation

/// XXH64 with seed 0 in 16 hexadecimal digits, as `xxhsum -H64` prints it; files hold these.
public enum Checksum {
  public static func hex(of data: Data) -> String { data.withUnsafeBytes { hex(of: [$0]) } }

  /// Of pieces of memory, one behind the other.
  public static func hex(of pieces: [UnsafeRawBufferPointer]) -> String {
    digest { add in for piece in pieces { add(piece) } }
  }

  /// - Throws: `RunError` (configuration) naming the file and the system's reason when it cannot be read.
  public static func hex(ofFile path: String) throws -> String {
    func failure(_ reason: String) -> RunError {
      .configuration("\(path) could not be read: \(reason).")
    }
    guard let handle = FileHandle(forReadingAtPath: path) else { throw failure(systemErrorText()) }
    do {
      return try digest { add in
        while let piece = try handle.read(upToCount: 1 << 20), !piece.isEmpty {
          piece.withUnsafeBytes(add)
        }
      }
    } catch { throw failure(systemReason(of: error)) }
  }

  /// - Parameter feed: gives the bytes to what it is called with, in order.
  private static func digest(
    _ feed: ((UnsafeRawBufferPointer) -> Void) throws -> Void
  ) rethrows -> String {
    guard let state = XXH64_createState() else { fatalError("Out of memory for a hash state.") }
    defer { XXH64_freeState(state) }
    XXH64_reset(state, 0)
    try feed { _ = XXH64_update(state, $0.baseAddress, $0.count) }
    return hexadecimal(XXH64_digest(state))
  }
}

/// 16 digits.
func hexadecimal(_ hash: UInt64) -> String {
  let digits = String(hash, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
