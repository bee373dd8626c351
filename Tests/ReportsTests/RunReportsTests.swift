// The text files of a run: exact formats, valid JSON, and what is left of torn lines.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Reports

@Suite("Run reports") struct RunReportsTests {
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

  @Test(
    "status.json is JSON whatever the reason",
    arguments: [
      "", "plain", "with \"quotes\" and \\", "two\nlines\tand\u{1}", "größer / </script>", "😀 null",
    ])
  func status(reason: String) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/status.json"
    for durable in [true, false] {
      try writeStatus(
        to: path, state: "failed", step: 7, epoch: 2, exitCode: 12, reason: reason,
        durable: durable)
      let data = try Data(contentsOf: URL(fileURLWithPath: path))
      let status = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
      #expect(status["reason"] as? String == reason)
      #expect(status["step"] as? Int == 7 && status["epoch"] as? Int == 2)
      #expect(status["exit_code"] as? Int == 12 && status["state"] as? String == "failed")
      // Scripts look for these words, in this order and spelling.
      let start = "{\"state\":\"failed\",\"step\":7,\"epoch\":2,\"exit_code\":12,\"reason\":"
      #expect(try text(path).hasPrefix(start))
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["status.json"])
    }
  }

  @Test("readers never see half a status") func atomic() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/status.json"
    try writeStatus(to: path, state: "running", step: 0, epoch: 1, exitCode: 0, reason: "")
    let reader = Reader(path)
    for step in 0..<2000 {
      try writeStatus(
        to: path, state: "running", step: step, epoch: 1, exitCode: 0,
        reason: String(repeating: "x", count: step % 50 * 200), durable: false)
    }
    let (reads, failures) = reader.stop()
    #expect(reads > 0)
    #expect(failures == 0)
  }

  @Test("numbers in JSON") func numbers() throws {
    #expect(
      jsonObject([
        ("a", .number(0.1)), ("b", .integer(-3)), ("c", .number(.nan)), ("d", .number(-.infinity)),
        ("e", .number(1e-300)), ("f", .text("x")), ("g", .number(2)),
      ]) == #"{"a":0.1,"b":-3,"c":null,"d":null,"e":1e-300,"f":"x","g":2.0}"#)
    #expect(jsonObject([]) == "{}")
    // Every double comes back as it was.
    for value in [1.0 / 3, 123_456_789.123_456_78, .leastNormalMagnitude, -1.5e200] {
      let data = Data(jsonObject([("x", .number(value))]).utf8)
      let object = try JSONDecoder().decode([String: Double].self, from: data)
      #expect(object["x"] == value)
    }
  }

  @Test("the line of an epoch, letter by letter") func epoch() {
    let train = SplitResult(loss: 1.5, top1: 50.123_46, top5: 100)
    let test = SplitResult(loss: 12.345_678_914, top1: 0, top5: 9.99999)
    #expect(
      epochLine(epoch: 7, seconds: 12.34567, train: train, test: test)
        == "[Epoch 007] Time: 12.3457s | [Train] Loss: 1.50000000 Accuracy: Top1: 50.1235%, "
        + "Top5: 100.0000% | [Test] Loss: 12.34567891 Accuracy: Top1: 0.0000%, Top5: 10.0000%")
    #expect(epochLine(epoch: 1234, seconds: 0, train: train, test: test).hasPrefix("[Epoch 1234] "))
  }
}

/// Parses a file over and over, on a thread of its own, until told to stop.
private final class Reader: @unchecked Sendable {
  private let lock = NSLock()
  private let done = DispatchSemaphore(value: 0)
  private var stopping = false
  private var reads = 0
  private var failures = 0

  init(_ path: String) {
    let begun = DispatchSemaphore(value: 0)
    Thread {
      begun.signal()
      repeat {
        self.reads += 1
        let data = FileManager.default.contents(atPath: path)
        if (try? JSONSerialization.jsonObject(with: data ?? Data())) == nil { self.failures += 1 }
      } while !self.lock.withLock { self.stopping }
      self.done.signal()
    }.start()
    begun.wait()
  }

  func stop() -> (reads: Int, failures: Int) {
    lock.withLock { stopping = true }
    done.wait()
    return (reads, failures)
  }
}
