// The damaged images of a run, from all ranks into one file.
import Collectives
import Datasets
import Diagnostics
import Files
import Foundation

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

/// `bad-images.txt`: a line per damaged image, with split, index, file and reason, separated by tabs. It
/// appears with its first line. Lines are added as images are met, at a cost that does not depend on how
/// many there are; sorted now and then, so that the file does not tell how often a run was interrupted.
final class BadImageList {
  private struct Place: Hashable, Comparable {
    let split: String
    let index: Int

    /// Training first.
    static func < (a: Place, b: Place) -> Bool { (b.split, a.index) < (a.split, b.index) }
  }

  let path: String
  /// With their ends.
  private var lines: [Place: String] = [:]
  private var isSorted = true

  /// - Parameter resumed: keep what an earlier attempt has listed, but for a torn last line, whose image
  ///   comes again.
  /// - Throws: `RunError` (configuration) naming the file.
  init(path: String, resumed: Bool) throws {
    self.path = path
    guard resumed else {
      try? FileManager.default.removeItem(atPath: path)
      return
    }
    // A torn last line need not be UTF-8; the lines before it stay all the same.
    let text = String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    for line in text.components(separatedBy: "\n").dropLast() {
      let parts = line.split(separator: "\t", maxSplits: 2)
      guard parts.count == 3, let index = Int(parts[1]) else { continue }
      let place = Place(split: String(parts[0]), index: index)
      lines[place] = lines[place] ?? line + "\n"
    }
    isSorted = text == sortedText
    try sort()
  }

  /// Lists those that are not listed yet; they are on disk afterwards.
  ///
  /// - Throws: `RunError` (configuration) naming the file.
  func add(_ images: [BadImage], split: String) throws {
    let isFirst = lines.isEmpty
    var new = ""
    for image in images {
      let place = Place(split: split, index: image.index)
      guard lines[place] == nil else { continue }
      let line = "\(split)\t\(image.index)\t\(image.source)\t\(image.reason)\n"
      lines[place] = line
      new += line
    }
    guard !new.isEmpty else { return }
    isSorted = false
    if isFirst { try sort() } else { try append(new) }
  }

  /// - Throws: `RunError` (configuration) naming the file.
  func sort() throws {
    guard !isSorted else { return }
    try AtomicFile.write(Data(sortedText.utf8), to: path)
    isSorted = true
  }

  private var sortedText: String { lines.sorted { $0.key < $1.key }.map(\.value).joined() }

  private func append(_ text: String) throws {
    let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw AtomicFile.failure(path) }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    do { try file.write(contentsOf: Data(text.utf8)) } catch {
      throw AtomicFile.failure(path, reason: systemReason(of: error))
    }
    guard fsync(descriptor) == 0 else { throw AtomicFile.failure(path) }
  }
}
