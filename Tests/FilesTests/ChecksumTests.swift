// Hashes are those of their algorithms, however the bytes come.
import Diagnostics
import Files
import Foundation
import TestSupport
import Testing

@Suite("Hashes") struct ChecksumTests {
  /// Longer than one piece of reading.
  private let bytes = (0..<3_000_001).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }

  @Test("checksums are XXH64's") func checksum() throws {
    // Values of the algorithm's specification for the empty input and seed 0, and of `xxhsum -H64`.
    #expect(Checksum.hex(of: Data()) == "ef46db3751d8e999")
    #expect(Checksum.hex(of: Data("abc".utf8)) == "44bc2cf5ad770999")
    let folder = try TemporaryFolder()
    let path = try folder.write("file", bytes)
    let whole = Checksum.hex(of: Data(bytes))
    #expect(try Checksum.hex(ofFile: path) == whole)
    let pieces = bytes.withUnsafeBytes { all in
      Checksum.hex(of: [
        UnsafeRawBufferPointer(rebasing: all[..<5]), UnsafeRawBufferPointer(rebasing: all[5..<5]),
        UnsafeRawBufferPointer(rebasing: all[5...]),
      ])
    }
    #expect(pieces == whole)
  }

  @Test(
    "a file that cannot be read is named, with the reason",
    arguments: [("/nowhere/file", "No such file or directory"), ("/", "Is a directory")])
  func unreadable(path: String, reason: String) {
    let error = #expect(throws: RunError.self) { try Checksum.hex(ofFile: path) }
    #expect(error?.code == .configuration)
    #expect(error?.message == "\(path) could not be read: \(reason).")
  }

  @Test("XXH3 of known texts and of pieces") func fast() {
    func value(_ pieces: [ArraySlice<UInt8>]) -> UInt64 {
      let hash = XXH3()
      for piece in pieces { piece.withUnsafeBytes { hash.add($0) } }
      return hash.value
    }
    // As `xxhsum -H3` prints them.
    #expect(value([]) == 0x2d06_8005_38d3_94c2)
    #expect(value([[97], [], [98, 99]]) == 0x78af_5f94_892f_3950)
    let whole = bytes.withUnsafeBytes { XXH3.value(of: $0) }
    #expect(value([bytes[...]]) == whole)
    #expect(value([bytes[..<1000], bytes[1000...]]) == whole)
  }

  @Test("texts are told apart by where they end, numbers are eight bytes") func lengths() {
    func hash(_ texts: String...) -> XXH3 {
      let hash = XXH3()
      for text in texts { hash.add(text) }
      return hash
    }
    #expect(hash("ab", "c").value != hash("a", "bc").value)
    let plain: [UInt8] = [2, 0, 0, 0, 0, 0, 0, 0, 97, 98]
    #expect(hash("ab").value == plain.withUnsafeBytes { XXH3.value(of: $0) })
  }

  @Test("always 16 digits") func digits() {
    for number in 0..<100 as Range<UInt64> {
      let hash = XXH3()
      hash.add(number)
      #expect(hash.hex.count == 16 && UInt64(hash.hex, radix: 16) == hash.value)
    }
  }
}
