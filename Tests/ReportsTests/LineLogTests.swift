// What a log keeps of an earlier attempt, and of torn lines.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Reports

@Suite("Line log") struct LineLogTests {
  private func text(_ path: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
  }

  @Test("a log keeps the lines asked for and drops a torn last one") func log() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("log", Array("one\ntwo\nthree\nfou".utf8))
    let log = try LineLog(path: path) { $0 != "two" }
    #expect(try text(path) == "one\nthree\n")
    try log.write("four")
    // Flushed with every line: no need to close it first.
    #expect(try text(path) == "one\nthree\nfour\n")
  }

  @Test("a last line torn within a letter does not cost the others") func tornLetter() throws {
    let folder = try TemporaryFolder()
    // The first byte of an ö, and zeros that a power failure may leave.
    let path = try folder.write("log", Array("one\n".utf8) + [0xc3, 0, 0])
    _ = try LineLog(path: path) { _ in true }
    #expect(try text(path) == "one\n")
  }

  @Test("a long log is never in memory as a whole") func long() throws {
    let folder = try TemporaryFolder()
    let lines = (0..<800_000).map { "line \($0)\n" }
    let path = try folder.write("log", Array(lines.joined().utf8))
    // What is cut off while the first line is looked at has not been read yet.
    let half = lines.prefix(400_000).joined()
    var count = 0
    _ = try LineLog(path: path) { line in
      if count == 0 { truncate(path, half.utf8.count) }
      count += 1
      return line + "\n" == lines[count - 1]
    }
    #expect(count == 400_000)
    #expect(try text(path) == half)
  }

  @Test("lines that lie across blocks stay whole", arguments: [1, 2, 3, 5, 64])
  func blocks(block: Int) throws {
    let folder = try TemporaryFolder()
    for content in ["", "\n", "a", "a\n", "\n\n", "one\n\ntwo, longer than a block\nthr", "é\nü\n"]
    {
      let path = try folder.write("file", Array(content.utf8))
      var lines: [String] = []
      try readLines(ofFile: path, block: block) {
        lines.append(String(decoding: $0, as: UTF8.self))
      }
      #expect(lines == content.components(separatedBy: "\n").dropLast())
    }
    #expect(throws: (any Error).self) { try readLines(ofFile: folder.path) { _ in } }
    try readLines(ofFile: folder.path + "/none") { _ in Issue.record("a line of no file") }
  }

  @Test("a new log, and one that starts over") func fresh() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/log"
    try LineLog(path: path).write("a")
    #expect(try text(path) == "a\n")
    _ = try LineLog(path: path)
    #expect(try text(path) == "")
  }

  @Test("a log in a folder that is not there names the file") func nowhere() {
    let error = #expect(throws: RunError.self) { try LineLog(path: "/nowhere/at all/log") }
    #expect(error?.code == .configuration)
    #expect(error?.message.contains("/nowhere/at all/log") == true)
  }
}
