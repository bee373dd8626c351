// TensorBoard's file of scalars, events.out.tfevents.*: records of TFRecord, each a protobuf `Event`.
import Diagnostics
import Files
import Foundation

/// A file of scalars that grows record by record, each flushed; what a crash leaves of a last one is no
/// harm to readers.
///
///     record:  length u64 | masked CRC-32C of it u32 | event | masked CRC-32C of the event u32
///     Event:   1 wall_time double | 2 step int64 | 3 file_version string | 5 summary | 7 session_log
///     Summary: 1 value*;  Value: 1 tag string | 2 simple_value float;  SessionLog: 1 status (1: start)
///
/// Four messages of fixed fields are all there is to write, which takes less code than a protobuf
/// library takes configuration.
///
/// A new attempt writes the history anew, from `metrics.jsonl`, into a file of a later name, and empties
/// the older ones. So the folder holds every value once, for readers too that do not know what TensorBoard
/// makes of restarted runs, and whatever a crash has cost is back. A TensorBoard that is looking on goes
/// over to the new file, whose session start makes it forget what it had; at a file that has gone it
/// would wait for ever, so an emptied one stays until the attempt after. Times of day are the older files'.
public final class EventsFile {
  public let path: String
  private let handle: FileHandle

  private static let prefix = "events.out.tfevents."
  /// Tells our files from those of other programs, which stay.
  private static let suffix = ".convnn"

  /// Starts a file in place of all older ones of this program in `folder`.
  ///
  /// - Parameter history: what the file begins with; empty for a run from the start.
  /// - Parameter stepsPerEpoch: places the values of an epoch at its last step.
  /// - Parameter step: the run's last step, where an unfinished epoch's values are placed.
  /// - Throws: `RunError` (configuration) naming the file that could not be written.
  public init(
    folder: String, host: String, history: RunHistory, stepsPerEpoch: Int, step: Int,
    now: Date = Date()
  ) throws {
    let older = Self.files(in: folder)
    // TensorBoard reads the files of a folder in the order of their names, once.
    let latest = older.compactMap { Int($0.dropFirst(Self.prefix.count).prefix { $0.isNumber }) }
    let second = max(Int(now.timeIntervalSince1970), (latest.max() ?? -1) + 1)
    let host = host.map { $0.isLetter || $0.isNumber || $0 == "-" ? String($0) : "_" }.joined()
    path = String(
      format: "%@/%@%010ld.%@.%d%@", folder, Self.prefix, second, host, getpid(), Self.suffix)

    var times: [Int: Double] = [:]
    for name in older {
      times.merge(Self.wallTimes(ofFile: "\(folder)/\(name)")) { $1 }
    }
    try AtomicFile.write(to: path) { file in
      try Self.write(
        history, stepsPerEpoch: stepsPerEpoch, lastStep: step, times,
        now: now.timeIntervalSince1970, to: file)
    }
    for name in older { try Self.empty("\(folder)/\(name)") }
    guard let handle = FileHandle(forWritingAtPath: path) else {
      throw RunError.configuration("\(path) could not be opened: \(systemErrorText()).")
    }
    handle.seekToEndOfFile()
    self.handle = handle
  }

  /// Adds one event with all its scalars.
  public func write(_ scalars: [(tag: String, value: Double)], step: Int) throws {
    let event = Self.event(Date().timeIntervalSince1970, step: step, scalars)
    do { try handle.write(contentsOf: Self.framed(event)) } catch {
      throw AtomicFile.failure(path, reason: systemReason(of: error))
    }
  }

  /// Events are on disk when this returns, as far as that goes.
  public func synchronize() { _ = fsync(handle.fileDescriptor) }

  /// Leaves the first record, or nothing of a file that has no more.
  private static func empty(_ file: String) throws {
    let size = (try? FileManager.default.attributesOfItem(atPath: file)[.size] as? Int) ?? 0
    let first = versionRecord(0).count
    guard size > first ? truncate(file, first) == 0 : unlink(file) == 0 else {
      throw RunError.configuration("\(file) could not be emptied: \(systemErrorText()).")
    }
  }

  private static func files(in folder: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.filter { $0.hasPrefix(prefix) && $0.hasSuffix(suffix) }.sorted()
  }

  /// In the order of steps; of one step, what the step tells comes before what the epoch does.
  private static func write(
    _ history: RunHistory, stepsPerEpoch: Int, lastStep: Int, _ times: [Int: Double], now: Double,
    to file: FileHandle
  ) throws {
    let (steps, epochs) = (history.steps, history.epochs)
    let places =
      steps.map(\.step) + epochs.map { min($0.epoch * stepsPerEpoch, lastStep) }
    var time = times.values.min() ?? now
    var content = versionRecord(time)
    content.append(framed(sessionStart(time)))
    for index in places.indices.sorted(by: { (places[$0], $0) < (places[$1], $1) }) {
      let step = places[index]
      time = times[step] ?? time
      let scalars =
        index < steps.count ? steps[index].scalars : epochs[index - steps.count].scalars
      content.append(framed(event(time, step: step, scalars)))
      guard content.count >= 1 << 20 else { continue }
      try file.write(contentsOf: content)
      content.removeAll(keepingCapacity: true)
    }
    try file.write(contentsOf: content)
  }
}

extension MetricsRecord.StepRecord {
  public var scalars: [(tag: String, value: Double)] {
    [
      ("step/loss", loss), ("step/grad_norm", gradientNorm), ("step/lr", learningRate),
      ("step/images_per_second", imagesPerSecond),
    ]
  }
}

extension MetricsRecord.EpochRecord {
  public var scalars: [(tag: String, value: Double)] {
    [
      ("train/loss", train.loss), ("train/top1", train.top1), ("train/top5", train.top5),
      ("test/loss", test.loss), ("test/top1", test.top1), ("test/top5", test.top5),
      ("epoch/seconds", seconds), ("epoch/images_per_second", imagesPerSecond),
    ]
  }
}

// MARK: - Bytes

extension EventsFile {
  static func event(_ wallTime: Double, step: Int, _ scalars: [(tag: String, value: Double)])
    -> Data
  {
    var summary = Data()
    for scalar in scalars {
      var value = Data()
      value.append(bytes: Data(scalar.tag.utf8), field: 1)
      value.append(fixed32: Float(scalar.value).bitPattern, field: 2)
      summary.append(bytes: value, field: 1)
    }
    var event = Data()
    event.append(fixed64: wallTime.bitPattern, field: 1)
    event.append(key: 2, type: 0)
    event.append(varint: UInt64(step))
    event.append(bytes: summary, field: 5)
    return event
  }

  private static func versionRecord(_ wallTime: Double) -> Data {
    var event = Data()
    event.append(fixed64: wallTime.bitPattern, field: 1)
    event.append(bytes: Data("brain.Event:2".utf8), field: 3)
    return framed(event)
  }

  private static func sessionStart(_ wallTime: Double) -> Data {
    var event = Data()
    event.append(fixed64: wallTime.bitPattern, field: 1)
    event.append(bytes: Data([1 << 3, 1]), field: 7)
    return event
  }

  static func framed(_ event: Data) -> Data {
    var record = Data()
    record.append(littleEndian: UInt64(event.count))
    record.append(littleEndian: CRC32C.masked(record))
    record.append(event)
    record.append(littleEndian: CRC32C.masked(event))
    return record
  }

  /// The time of each step's last event, as far as the file is whole and its events are as `event` writes
  /// them.
  static func wallTimes(ofFile path: String) -> [Int: Double] {
    guard
      let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
    else { return [:] }
    return data.withUnsafeBytes(wallTimes)
  }

  private static func wallTimes(_ bytes: UnsafeRawBufferPointer) -> [Int: Double] {
    var times: [Int: Double] = [:]
    var start = 0
    while let length = bytes.littleEndian(at: start, 8), length <= UInt64(bytes.count) {
      let event = start + 12
      let end = event + Int(length)
      guard let checksum = bytes.littleEndian(at: end, 4),
        checksum == UInt64(CRC32C.masked(bytes[event..<end]))
      else { break }
      if length > 10, bytes[event] == 0x09, bytes[event + 9] == 0x10,
        let time = bytes.littleEndian(at: event + 1, 8),
        let step = bytes[(event + 10)..<end].varint
      {
        times[step] = Double(bitPattern: time)
      }
      start = end + 4
    }
    return times
  }
}

extension Data {
  fileprivate mutating func append(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(rest))
  }

  fileprivate mutating func append(littleEndian value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  fileprivate mutating func append(key field: UInt64, type: UInt64) {
    append(varint: field << 3 | type)
  }

  fileprivate mutating func append(fixed64 value: UInt64, field: UInt64) {
    append(key: field, type: 1)
    append(littleEndian: value)
  }

  fileprivate mutating func append(fixed32 value: UInt32, field: UInt64) {
    append(key: field, type: 5)
    append(littleEndian: value)
  }

  fileprivate mutating func append(bytes: Data, field: UInt64) {
    append(key: field, type: 2)
    append(varint: UInt64(bytes.count))
    append(bytes)
  }
}

extension UnsafeRawBufferPointer {
  /// - Returns: nil beyond the end.
  fileprivate func littleEndian(at start: Int, _ count: Int) -> UInt64? {
    guard start + count <= self.count else { return nil }
    return self[start..<(start + count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}

extension Slice<UnsafeRawBufferPointer> {
  /// The number at the start; nil when it does not end within 56 bits.
  fileprivate var varint: Int? {
    var value = 0
    for (index, byte) in prefix(8).enumerated() {
      value |= Int(byte & 0x7f) << (7 * index)
      if byte < 0x80 { return value }
    }
    return nil
  }
}
