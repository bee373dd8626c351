// A file is the old one or the whole new one; failures leave nothing behind and name the file.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import TensorFiles

@Suite("Atomic files") struct AtomicFileTests {
  private struct Mishap: Error {}

  private func contents(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
  }

  @Test("a new file, then another in its place", arguments: [true, false])
  func replace(durable: Bool) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/file"
    for word in ["first, the longer one", "second", ""] {
      try AtomicFile.write(Data(word.utf8), to: path, durable: durable)
      #expect(contents(path) == word)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["file"])
  }

  @Test("until the last byte is written the old file is the file") func untilTheEnd() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("file", Array("old".utf8))
    try AtomicFile.write(to: path) { handle in
      try handle.write(contentsOf: Data("new".utf8))
      #expect(contents(path) == "old")
    }
    #expect(contents(path) == "new")
  }

  @Test("a failure keeps the old file and leaves nothing else") func failure() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("file", Array("old".utf8))
    let error = #expect(throws: RunError.self) {
      try AtomicFile.write(to: path) { handle in
        try handle.write(contentsOf: Data("half".utf8))
        throw Mishap()
      }
    }
    #expect(error?.code == .configuration && error?.message.contains(path) == true)
    #expect(contents(path) == "old")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["file"])
  }

  @Test("what a killed writer left does not disturb") func leftover() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/file"
    for process in ["1", "\(getpid())"] {
      try folder.write(".file.\(process).partial", Array("a longer half-written text".utf8))
    }
    try AtomicFile.write(Data("new".utf8), to: path)
    #expect(contents(path) == "new")
  }

  @Test("leftovers go, and nothing else does") func leftovers() throws {
    let folder = try TemporaryFolder()
    let kept = [
      "file", "file.12.partial", ".12.partial", ".file.partial", ".file.x.partial",
      ".file.12.partial.txt", ".file.12", ".file.-1.partial", ".lock",
    ]
    for name in kept + [".file.1.partial", ".a.b.4194304.partial"] { try folder.write(name, [1]) }
    try folder.write(".folder.12.partial/file", [1])
    AtomicFile.removeLeftovers(in: folder.path)
    #expect(
      try Set(FileManager.default.contentsOfDirectory(atPath: folder.path))
        == Set(kept + [".folder.12.partial"]))
    AtomicFile.removeLeftovers(in: folder.path + "/nowhere")
  }

  @Test("where nothing can be written the message says why", arguments: ["nowhere/file", "."])
  func nowhere(name: String) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/" + name
    let error = #expect(throws: RunError.self) { try AtomicFile.write(Data("x".utf8), to: path) }
    #expect(error?.message.contains("could not be written") == true)
    #expect(error?.message.split(separator: "\n").count ?? 9 <= 6)
  }

  @Test("checksums are XXH64's") func checksum() throws {
    // Values of the algorithm's specification for the empty input and seed 0, and of `xxhsum -H64`.
    #expect(Checksum.hex(of: Data()) == "ef46db3751d8e999")
    #expect(Checksum.hex(of: Data("abc".utf8)) == "44bc2cf5ad770999")
    let folder = try TemporaryFolder()
    // Longer than one piece of reading.
    let bytes = (0..<3_000_001).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
    let path = try folder.write("file", bytes)
    #expect(try Checksum.hex(ofFile: path) == Checksum.hex(of: Data(bytes)))
    #expect(throws: RunError.self) { try Checksum.hex(ofFile: folder.path + "/nowhere") }
  }
}
