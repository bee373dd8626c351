// Which images a folder holds: 1.28 million paths in 35 MB, as a string each would take three times
// as much on every rank.
import Foundation

/// File names with the class of each, in the order of classes and names.
struct ImageIndex: Equatable, Sendable {
  /// All names, one after the other in UTF-8, and where each of them ends.
  private(set) var names: [UInt8] = []
  private(set) var ends: [UInt64] = []
  private(set) var labels: [Int32] = []

  var count: Int { labels.count }

  mutating func append(_ name: String, label: Int32) {
    names += name.utf8
    ends.append(UInt64(names.count))
    labels.append(label)
  }

  mutating func append(_ other: ImageIndex) {
    let before = UInt64(names.count)
    names += other.names
    ends += other.ends.lazy.map { before + $0 }
    labels += other.labels
  }

  func name(_ index: Int) -> String {
    let start = index == 0 ? 0 : Int(ends[index - 1])
    return String(decoding: names[start..<Int(ends[index])], as: UTF8.self)
  }

  init() {}

  /// Changes with every name, label and their order.
  func add(to hash: DataHash) {
    hash.add(UInt64(count))
    names.withUnsafeBytes { hash.add($0) }
    ends.withUnsafeBytes { hash.add($0) }
    labels.withUnsafeBytes { hash.add($0) }
  }

  /// The arrays one after the other, in this machine's byte order.
  var encoded: Data {
    var data = Data()
    for size in [names.count, count] {
      withUnsafeBytes(of: UInt64(size)) { data.append(contentsOf: $0) }
    }
    names.withUnsafeBytes { data.append(contentsOf: $0) }
    ends.withUnsafeBytes { data.append(contentsOf: $0) }
    labels.withUnsafeBytes { data.append(contentsOf: $0) }
    return data
  }

  /// Nil for bytes that are no index of images in `classCount` classes.
  init?(encoded data: Data, classCount: Int) {
    guard data.count >= 16 else { return nil }
    let (nameBytes, count) = data.withUnsafeBytes {
      (
        $0.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
        $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
      )
    }
    let size = UInt64(data.count - 16)
    guard nameBytes <= size, count <= size / 12, nameBytes + 12 * count == size else { return nil }
    let endsAt = 16 + Int(nameBytes)
    names = [UInt8](data[data.startIndex + 16..<data.startIndex + endsAt])
    ends = [UInt64](repeating: 0, count: Int(count))
    labels = [Int32](repeating: 0, count: Int(count))
    data.withUnsafeBytes { bytes in
      ends.withUnsafeMutableBytes {
        $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[endsAt..<endsAt + $0.count]))
      }
      labels.withUnsafeMutableBytes {
        $0.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: bytes[(bytes.count - $0.count)...]))
      }
    }
    var last: UInt64 = 0
    for end in ends {
      guard end >= last else { return nil }
      last = end
    }
    guard last == nameBytes, labels.allSatisfy({ $0 >= 0 && Int($0) < classCount }) else {
      return nil
    }
  }
}
