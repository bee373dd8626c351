// A file is the old one or the whole new one; failures leave nothing behind and name the file.
import Diagnostics
import Files
import Foundation
import TestSupport
import Testing

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

  @Test("of many writers at once one comes last, whole") func together() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/file"
    let texts = (0..<8).map { String(repeating: "\($0)", count: 1 + $0 * 10_000) }
    nonisolated(unsafe) var failures = 0
    let lock = NSLock()
    DispatchQueue.concurrentPerform(iterations: 200) { number in
      do { try AtomicFile.write(Data(texts[number % 8].utf8), to: path, durable: false) } catch {
        lock.withLock { failures += 1 }
      }
    }
    #expect(failures == 0)
    #expect(contents(path).map(texts.contains) == true)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["file"])
  }

  @Test("others may read a file, unless they may not", arguments: [0o644, 0o600] as [mode_t])
  func permissions(_ permissions: mode_t) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/file"
    try AtomicFile.write(Data(), to: path, permissions: permissions)
    var information = stat()
    #expect(stat(path, &information) == 0)
    #expect(information.st_mode & 0o777 & ~permissions == 0)
    #expect(information.st_mode & 0o600 == 0o600)
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
}
