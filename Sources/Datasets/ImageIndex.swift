// Which images a folder holds: the 1.28 million names of ImageNet in 12 MB, as a string each would
// take 80 MB on every rank.
import Files
import Foundation

/// File names with the class of each, in the order of classes and names.
///
/// Names are front-coded (Witten, Moffat, Bell: Managing Gigabytes, 4.1): in blocks of sixteen, each
/// as the number of bytes it shares with the name before, the number of bytes that follow, and those.
/// A block's first name shares nothing, so a name is found within its block.
struct ImageIndex: Sendable {
  private static let blockCount = 16

  private(set) var count = 0
  private var codes: [UInt8] = []
  /// Where each block begins in `codes`.
  private var blocks: [UInt64] = []
  /// Neighbours of one class: the index of the first, and the class.
  private var runs: [Run] = []
  /// The name that the next one is compared with.
  private var last: [UInt8] = []

  private struct Run {
    let first: UInt64
    let label: UInt64
  }

  init() {}

  mutating func append(_ name: String, label: Int32) {
    append(Array(name.utf8), label: UInt64(label))
  }

  private mutating func append(_ name: [UInt8], label: UInt64) {
    var shared = 0
    if count % ImageIndex.blockCount == 0 {
      blocks.append(UInt64(codes.count))
    } else {
      shared = zip(name, last).prefix { $0 == $1 }.count
    }
    ImageIndex.encode(shared, into: &codes)
    ImageIndex.encode(name.count - shared, into: &codes)
    codes += name[shared...]
    if runs.last?.label != label { runs.append(Run(first: UInt64(count), label: label)) }
    last = name
    count += 1
  }

  mutating func append(_ other: ImageIndex) {
    var reader = Reader()
    for index in 0..<other.count {
      _ = reader.next(other.codes)
      append(reader.name, label: UInt64(other.label(index)))
    }
  }

  func name(_ index: Int) -> String {
    let (block, place) = index.quotientAndRemainder(dividingBy: ImageIndex.blockCount)
    var reader = Reader(position: Int(blocks[block]))
    for _ in 0...place { _ = reader.next(codes) }
    return String(decoding: reader.name, as: UTF8.self)
  }

  func label(_ index: Int) -> Int32 {
    var (low, high) = (0, runs.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if runs[middle].first <= UInt64(index) { low = middle } else { high = middle }
    }
    return Int32(runs[low].label)
  }

  /// Changes with every name, label and their order.
  func add(to hash: XXH3) {
    hash.add(UInt64(count))
    codes.withUnsafeBytes { hash.add($0) }
    runs.withUnsafeBytes { hash.add($0) }
  }

  /// Counts, names and runs one after the other, in this machine's byte order.
  var encoded: Data {
    var data = Data()
    for size in [count, codes.count, runs.count] {
      withUnsafeBytes(of: UInt64(size)) { data.append(contentsOf: $0) }
    }
    codes.withUnsafeBytes { data.append(contentsOf: $0) }
    runs.withUnsafeBytes { data.append(contentsOf: $0) }
    return data
  }

  /// Nil for bytes that are no index of images in `classCount` classes.
  init?(encoded data: Data, classCount: Int) {
    let header = 24
    guard data.count >= header else { return nil }
    func number(_ at: Int) -> UInt64 {
      data.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt64.self) }
    }
    let size = UInt64(data.count - header)
    let (images, codeBytes, runCount) = (number(0), number(8), number(16))
    guard codeBytes <= size, runCount <= size / 16, codeBytes + 16 * runCount == size else {
      return nil
    }
    let codesEnd = header + Int(codeBytes)
    codes = [UInt8](data[data.startIndex + header..<data.startIndex + codesEnd])
    for at in stride(from: codesEnd, to: data.count, by: 16) {
      let run = Run(first: number(at), label: number(at + 8))
      guard run.label < UInt64(classCount), run.first < images,
        runs.last.map({ $0.first < run.first }) ?? (run.first == 0)
      else { return nil }
      runs.append(run)
    }
    guard images == 0 || !runs.isEmpty else { return nil }
    var reader = Reader()
    while reader.position < codes.count {
      if count % ImageIndex.blockCount == 0 {
        blocks.append(UInt64(reader.position))
        reader.name = []
      }
      guard reader.next(codes) else { return nil }
      count += 1
    }
    guard count == images else { return nil }
    last = reader.name
  }

  /// Decodes one name after another.
  private struct Reader {
    var position = 0
    var name: [UInt8] = []

    /// - Returns: false, and no name, for what no index holds.
    mutating func next(_ codes: [UInt8]) -> Bool {
      guard let shared = decode(codes), shared <= name.count, let rest = decode(codes),
        rest <= codes.count - position
      else { return false }
      name.replaceSubrange(shared..., with: codes[position..<position + rest])
      position += rest
      return true
    }

    /// The inverse of `encode`; nil past the end, or for more than names can have.
    private mutating func decode(_ codes: [UInt8]) -> Int? {
      var value = 0
      for shift in stride(from: 0, to: 28, by: 7) {
        guard position < codes.count else { return nil }
        let byte = codes[position]
        position += 1
        value |= Int(byte & 127) << shift
        if byte < 128 { return value }
      }
      return nil
    }
  }

  /// Seven bits a byte, the low ones first; the highest bit says that more follow.
  private static func encode(_ value: Int, into codes: inout [UInt8]) {
    var rest = value
    while rest > 127 {
      codes.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    codes.append(UInt8(rest))
  }
}
