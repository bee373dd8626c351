// What the markers of a JPEG say before anything of it is decoded (ITU-T T.81, annex B).
import Foundation

/// Whether a JPEG has an end-of-image marker where a decoder looks for one: outside of segments.
func hasEndMarker(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
  var at = 2
  while at + 1 < bytes.count {
    guard bytes[at] == 0xFF else {
      at += 1
      continue
    }
    let code = bytes[at + 1]
    switch code {
    case 0xD9: return true
    case 0xFF: at += 1
    case 0x00, 0x01, 0xD0...0xD8: at += 2
    default:
      // A segment with a length; entropy-coded data after a scan header is searched byte by byte.
      guard at + 3 < bytes.count else { return false }
      at += 2 + max(2, Int(bytes[at + 2]) << 8 | Int(bytes[at + 3]))
    }
  }
  return false
}

/// Whether a JPEG is sequential, with one scan of all its components, and nothing but entropy-coded
/// data and restart markers between the header of that scan and the end-of-image marker.
///
/// Once its header is read, decoding such a file cannot fail, whatever the entropy-coded data: so it
/// need not be decoded to the end to know whether it is good.
func isPlainJPEG(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
  var at = 2
  var components = 0
  while at + 4 <= bytes.count, bytes[at] == 0xFF {
    let length = Int(bytes[at + 2]) << 8 | Int(bytes[at + 3])
    guard length >= 2, at + 2 + length <= bytes.count else { return false }
    switch bytes[at + 1] {
    case 0xC0, 0xC1:
      // Baseline or extended sequential, Huffman coding.
      guard components == 0, length >= 8 else { return false }
      components = Int(bytes[at + 9])
    case 0xC4, 0xDB, 0xDD, 0xE0...0xEF, 0xFE: break
    case 0xDA:
      guard length >= 3, components > 0, bytes[at + 4] == components else { return false }
      return isPlainScan(bytes, from: at + 2 + length)
    default: return false
    }
    at += 2 + length
  }
  return false
}

private func isPlainScan(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Bool {
  var at = start
  while at < bytes.count,
    let found = memchr(bytes.baseAddress! + at, 0xFF, bytes.count - at)
  {
    at = bytes.baseAddress!.distance(to: found.assumingMemoryBound(to: UInt8.self)) + 1
    // Any number of fill bytes may precede a marker.
    while at < bytes.count, bytes[at] == 0xFF { at += 1 }
    guard at < bytes.count else { return false }
    switch bytes[at] {
    case 0x00, 0xD0...0xD7: at += 1
    case 0xD9: return true
    default: return false
    }
  }
  return false
}
