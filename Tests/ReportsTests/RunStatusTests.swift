// status.json: valid whatever the reason, and never seen half written.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Reports

@Suite("Run status") struct RunStatusTests {
  private func text(_ path: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
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
      let told = RunStatus(.failed, step: 7, epoch: 2, exitCode: .notFinite, reason: reason)
      try told.write(to: path, durable: durable)
      #expect(RunStatus(file: path) == told)
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
    try RunStatus(.running, step: 0, epoch: 1).write(to: path)
    let reader = Reader(path)
    for step in 0..<2000 {
      try RunStatus(
        .running, step: step, epoch: 1, reason: String(repeating: "x", count: step % 50 * 200)
      ).write(to: path, durable: false)
    }
    let (reads, failures) = reader.stop()
    #expect(reads > 0)
    #expect(failures == 0)
  }

  @Test("where no other file can be made the status is still the newest") func noRoom() throws {
    let folder = try TemporaryFolder()
    let path = try folder.makeTightFolder(names: "status.json".count) + "/status.json"
    func write(_ state: RunStatus.State, _ reason: String) throws {
      try RunStatus(state, step: 1, epoch: 1, exitCode: .configuration, reason: reason)
        .write(to: path)
    }
    #expect(throws: RunError.self) { try write(.running, "") }
    #expect(!FileManager.default.fileExists(atPath: path))
    try Data("{\"state\":\"running\"}\n".utf8).write(to: URL(fileURLWithPath: path))
    for reason in ["a long reason, longer than what was there", "short"] {
      try write(.failed, reason)
      let text = try text(path)
      #expect(text.hasSuffix("\n") && text.filter { $0 == "\n" }.count == 1)
      let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
      #expect(object?["state"] as? String == "failed" && object?["reason"] as? String == reason)
    }
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
