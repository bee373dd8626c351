// The damaged images of a run, from all ranks into one file.
import Collectives
import Datasets
import Foundation
import TensorFiles

extension ProcessGroup {
  /// What all ranks have met, each image once, by index; all ranks call it together.
  func gatherBadImages(_ own: BadImageTally) throws -> [BadImage] {
    let encoded = try [UInt8](JSONEncoder().encode(own.sorted))
    var all: [Int: BadImage] = [:]
    for bytes in try allGather(encoded) {
      for image in try JSONDecoder().decode([BadImage].self, from: Data(bytes)) {
        all[image.index] = image
      }
    }
    return all.values.sorted { $0.index < $1.index }
  }
}

/// `bad-images.txt`: a line per damaged image, with split, index, file and reason, separated by tabs;
/// sorted, so that it does not tell how often a run was interrupted. It appears with its first line.
final class BadImageList {
  private struct Entry: Hashable {
    let split: String
    let index: Int
    let rest: String
  }

  let path: String
  private var entries: Set<Entry> = []

  /// - Parameter resumed: keep what an earlier attempt has listed.
  init(path: String, resumed: Bool) {
    self.path = path
    if resumed, let text = try? String(contentsOfFile: path, encoding: .utf8) {
      for line in text.split(separator: "\n") {
        let parts = line.split(separator: "\t", maxSplits: 2)
        guard parts.count == 3, let index = Int(parts[1]) else { continue }
        entries.insert(Entry(split: String(parts[0]), index: index, rest: String(parts[2])))
      }
    } else {
      try? FileManager.default.removeItem(atPath: path)
    }
  }

  func add(_ images: [BadImage], split: String) throws {
    let count = entries.count
    for image in images {
      let rest = "\(image.source)\t\(image.reason)"
      entries.insert(Entry(split: split, index: image.index, rest: rest))
    }
    guard entries.count > count else { return }
    // Training first.
    let lines = entries.sorted { ($1.split, $0.index) < ($0.split, $1.index) }
      .map { "\($0.split)\t\($0.index)\t\($0.rest)\n" }
    try AtomicFile.write(Data(lines.joined().utf8), to: path)
  }
}
