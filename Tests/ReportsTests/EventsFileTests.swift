// TensorBoard's file, read back by a reader that shares nothing with the writer.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Reports

@Suite("TensorBoard events") struct EventsFileTests {
  @Test("CRC-32C agrees with RFC 3720 and with division bit by bit") func checksum() {
    // RFC 3720, appendix B.4, and the customary check value.
    #expect(CRC32C.value(of: [UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(CRC32C.value(of: [UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
    #expect(CRC32C.value(of: [UInt8](0..<32)) == 0x46dd_794e)
    #expect(CRC32C.value(of: Array("123456789".utf8)) == 0xe306_9283)
    #expect(slowCRC32C(Array("123456789".utf8)) == 0xe306_9283)
    var generator = SeededGenerator(1)
    for count in [0, 1, 7, 8, 9, 100, 1000] {
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
      #expect(CRC32C.value(of: bytes) == slowCRC32C(bytes))
    }
  }

  private func events(
    _ folder: TemporaryFolder, _ history: RunHistory = RunHistory(), step: Int = 0, second: Int
  ) throws -> EventsFile {
    try EventsFile(
      folder: folder.path, host: "node-a.example/%@", history: history, stepsPerEpoch: 3,
      step: step, now: Date(timeIntervalSince1970: Double(second)))
  }

  @Test("a file from the start") func fresh() throws {
    let folder = try TemporaryFolder()
    let before = Date().timeIntervalSince1970
    let file = try events(folder, second: 1_700_000_000)
    let name = "events.out.tfevents.1700000000.node-a_example___.\(getpid()).convnn"
    #expect(try eventsFiles(folder.path) == [name])
    let values = [0.1, -0.0, .infinity, .nan, 1e300, 3e-39]
    for (index, value) in values.enumerated() {
      // Steps of one to five bytes.
      try file.write([("a/b", value), ("ö", 2 * value)], step: 1 << (7 * index))
    }
    // Flushed with every event: no need to close the file first.
    let read = try readEvents(file.path)
    #expect(read.versions == ["brain.Event:2"] && read.starts == [0] && read.tornBytes == 0)
    #expect(read.scalars.map(\.tag) == values.flatMap { _ in ["a/b", "ö"] })
    #expect(read.scalars.map(\.step) == values.indices.flatMap { [1 << (7 * $0), 1 << (7 * $0)] })
    let expected = values.flatMap { [Float($0), Float(2 * $0)] }
    #expect(read.scalars.map(\.value.bitPattern) == expected.map(\.bitPattern))
    #expect(
      read.scalars.allSatisfy {
        before <= $0.wallTime && $0.wallTime <= Date().timeIntervalSince1970
      })
  }

  @Test("a long history, written in pieces") func long() throws {
    let folder = try TemporaryFolder()
    var history = RunHistory()
    for step in 1...30_000 {
      history.add(
        .step(
          .init(
            epoch: 1, step: step, loss: Double(step), gradientNorm: 1, learningRate: 2,
            imagesPerSecond: 3)))
    }
    let file = try events(folder, history, step: 30_000, second: 1000)
    let read = try readEvents(file.path)
    #expect(read.starts == [0] && read.tornBytes == 0)
    let losses = read.scalars.filter { $0.tag == "step/loss" }
    #expect(losses.map(\.step) == Array(1...30_000))
    #expect(losses.allSatisfy { $0.value == Float($0.step) })
    // The times are read back from there.
    let again = try events(folder, history, step: 30_000, second: 2000)
    #expect(try readEvents(again.path).scalars.allSatisfy { $0.wallTime == 1000 })
  }

  @Test("a resumed run tells every value once, with its old time") func resumed() throws {
    let folder = try TemporaryFolder()
    let first = try events(folder, second: 1000)
    var history = RunHistory()
    // Two epochs of three steps, and two steps of a third, of which the checkpoint has one.
    for step in 1...8 {
      let record = stepRecord(step)
      try first.write(record.scalars, step: step)
      if step <= 7 { history.add(.step(record)) }
      if step % 3 == 0 {
        let epoch = epochRecord(step / 3)
        history.add(.epoch(epoch))
        try first.write(epoch.scalars, step: step)
      }
    }
    let before = try readEvents(first.path).scalars
    // The clock has been set back; a record of the crash is not whole.
    let handle = try #require(FileHandle(forWritingAtPath: first.path))
    handle.seekToEndOfFile()
    handle.write(Data([0x7f, 0, 0, 0, 0]))
    let second = try events(folder, history, step: 7, second: 10)
    let names = try eventsFiles(folder.path)
    #expect(names.count == 2 && names[1].hasPrefix("events.out.tfevents.0000001001."))
    let emptied = try readEvents(first.path)
    #expect(emptied.versions == ["brain.Event:2"] && emptied.scalars.isEmpty)
    #expect(emptied.tornBytes == 0)

    let kept = before.filter { $0.step <= 7 }
    let again = try readScalars(folder.path)
    #expect(again.map(\.tag) == kept.map(\.tag) && again.map(\.step) == kept.map(\.step))
    #expect(again.map(\.value) == kept.map(\.value))
    // An epoch's values share their step, and with it the time, with the step's.
    let times = Dictionary(before.map { ($0.step, $0.wallTime) }) { $1 }
    #expect(again.allSatisfy { $0.wallTime == times[$0.step] })

    try second.write(stepRecord(8).scalars, step: 8)
    #expect(try readScalars(folder.path).count == kept.count + 4)
    // One more attempt: the emptied file goes.
    _ = try events(folder, history, step: 7, second: 5)
    #expect(try eventsFiles(folder.path).count == 2)
    #expect(!FileManager.default.fileExists(atPath: first.path))
    #expect(try readScalars(folder.path) == again)
  }

  @Test("values that a crash has cost come back from the metrics") func lost() throws {
    let folder = try TemporaryFolder()
    let file = try events(folder, second: 1000)
    var history = RunHistory()
    for step in 1...5 {
      history.add(.step(stepRecord(step)))
      try file.write(stepRecord(step).scalars, step: step)
    }
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file.path)))
    let whole = try readEvents(file.path).scalars
    // A bit in the middle, and a length that reaches beyond any file.
    bytes[bytes.count / 2] ^= 1
    bytes += [UInt8](repeating: 0xff, count: 12)
    try Data(bytes).write(to: URL(fileURLWithPath: file.path))
    _ = try events(folder, history, step: 5, second: 2000)
    let again = try readScalars(folder.path)
    #expect(again.map(\.value) == whole.map(\.value) && again.map(\.step) == whole.map(\.step))
    #expect(zip(again, again.dropFirst()).allSatisfy { $0.wallTime <= $1.wallTime })
  }

  @Test("an unfinished epoch's values stand at the last step") func unfinished() throws {
    let folder = try TemporaryFolder()
    var history = RunHistory()
    for epoch in 1...3 { history.add(.epoch(epochRecord(epoch))) }
    _ = try events(folder, history, step: 8, second: 10)
    let losses = try readScalars(folder.path).filter { $0.tag == "test/loss" }
    #expect(losses.map(\.step) == [3, 6, 8])
  }

  @Test("files of other programs stay") func others() throws {
    let folder = try TemporaryFolder()
    let other = try folder.write("events.out.tfevents.1.host.2.0", [1, 2, 3])
    _ = try events(folder, second: 10)
    _ = try events(folder, second: 20)
    #expect(FileManager.default.contents(atPath: other) == Data([1, 2, 3]))
  }

  @Test("a folder that is not there is named") func nowhere() {
    let error = #expect(throws: RunError.self) {
      try EventsFile(
        folder: "/nowhere/at all", host: "a", history: RunHistory(), stepsPerEpoch: 1, step: 0)
    }
    #expect(error?.code == .configuration)
    #expect(error?.message.contains("/nowhere/at all/events.out.tfevents.") == true)
  }
}
