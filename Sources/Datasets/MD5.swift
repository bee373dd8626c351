// MD5 (RFC 1321): what the archives' publishers give to check a download by. Not for security.
import Foundation

/// A digest over pieces that are added one after the other.
struct MD5 {
  private var state: (UInt32, UInt32, UInt32, UInt32) = (
    0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476
  )
  private var pending: [UInt8] = []
  private var length: UInt64 = 0

  private static let shifts: [UInt32] = [
    7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21,
  ]
  /// floor(2^32 · |sin(i + 1)|).
  private static let sines: [UInt32] = (0..<64).map { UInt32(abs(sin(Double($0 + 1))) * 0x1p32) }

  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    length += UInt64(bytes.count)
    var rest = bytes[...]
    if !pending.isEmpty {
      let taken = min(64 - pending.count, rest.count)
      pending += rest.prefix(taken)
      rest = rest.dropFirst(taken)
      guard pending.count == 64 else { return }
      pending.withUnsafeBytes { addBlocks($0[...]) }
      pending = []
    }
    let whole = rest.count / 64 * 64
    addBlocks(rest.prefix(whole))
    pending += rest.dropFirst(whole)
  }

  private mutating func addBlocks(_ bytes: Slice<UnsafeRawBufferPointer>) {
    let bytes = UnsafeRawBufferPointer(rebasing: bytes)
    MD5.sines.withUnsafeBufferPointer { sines in
      MD5.shifts.withUnsafeBufferPointer { shifts in
        for start in stride(from: 0, to: bytes.count, by: 64) {
          var (a, b, c, d) = state
          for i in 0..<64 {
            let mixed: UInt32
            let word: Int
            switch i >> 4 {
            case 0: (mixed, word) = (b & c | ~b & d, i)
            case 1: (mixed, word) = (d & b | ~d & c, (5 * i + 1) & 15)
            case 2: (mixed, word) = (b ^ c ^ d, (3 * i + 5) & 15)
            default: (mixed, word) = (c ^ (b | ~d), (7 * i) & 15)
            }
            let input = bytes.loadUnaligned(fromByteOffset: start + 4 * word, as: UInt32.self)
            let sum = a &+ mixed &+ sines[i] &+ UInt32(littleEndian: input)
            let shift = shifts[(i >> 4) << 2 | i & 3]
            (a, d, c, b) = (d, c, b, b &+ (sum << shift | sum >> (32 - shift)))
          }
          state = (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d)
        }
      }
    }
  }

  /// 32 hexadecimal digits.
  var text: String {
    var last = self
    var padding: [UInt8] = [0x80]
    while (pending.count + padding.count) % 64 != 56 { padding.append(0) }
    padding.withUnsafeBytes { last.add($0) }
    withUnsafeBytes(of: (length << 3).littleEndian) { last.add($0) }
    return [last.state.0, last.state.1, last.state.2, last.state.3].flatMap { word in
      withUnsafeBytes(of: word.littleEndian) { Array($0) }
    }.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }

  /// - Returns: nil when the file cannot be read.
  static func text(ofFile path: String) -> String? {
    guard let file = FileHandle(forReadingAtPath: path) else { return nil }
    var digest = MD5()
    do {
      while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty {
        piece.withUnsafeBytes { digest.add($0) }
      }
    } catch { return nil }
    return digest.text
  }
}
