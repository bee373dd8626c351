// CIFAR-10 and CIFAR-100 (Krizhevsky 2009), in memory: the binary layout, or torchvision's folders.
import CKernels
import Diagnostics
import Files
import Foundation

/// Names and sizes of the two CIFAR data sets.
public enum CIFARVariant: String, Sendable, CaseIterable {
  case cifar10
  case cifar100

  var classCount: Int { self == .cifar10 ? 10 : 100 }
  var binaryFolder: String { self == .cifar10 ? "cifar-10-batches-bin" : "cifar-100-binary" }
  var pickleFolder: String { self == .cifar10 ? "cifar-10-batches-py" : "cifar-100-python" }
  /// Label bytes before the pixels; the last one is the (fine) label.
  var labelBytes: Int { self == .cifar10 ? 1 : 2 }
  var namesFile: String { self == .cifar10 ? "batches.meta.txt" : "fine_label_names.txt" }

  func binaryFiles(_ split: DatasetSplit) -> [String] {
    switch (self, split) {
    case (.cifar10, .train): return (1...5).map { "data_batch_\($0).bin" }
    case (.cifar10, .test): return ["test_batch.bin"]
    case (.cifar100, _): return ["\(split.rawValue).bin"]
    }
  }

  func pickleFiles(_ split: DatasetSplit) -> [String] {
    switch (self, split) {
    case (.cifar10, .train): return (1...5).map { "data_batch_\($0)" }
    case (.cifar10, .test): return ["test_batch"]
    case (.cifar100, _): return [split.rawValue]
    }
  }

  func advice(_ path: String) -> String {
    "Fetch the data set again: ./launch data \(rawValue) --data_path \(path)"
  }
}

/// 32 x 32 colour images in memory, planar as in the files.
public final class CIFARDataset: Dataset {
  static let side = 32
  static let pixelBytes = 3 * side * side

  public let name: String
  public let split: DatasetSplit
  public let classNames: [String]
  public let statistics: ChannelStatistics
  public let fingerprint: String
  public let imageSize: Int? = CIFARDataset.side
  public let isSlow = false
  public var count: Int { labels.count }
  private let pixels: [UInt8]
  private let labels: [UInt8]
  private let files: [(name: String, first: Int)]

  /// - Parameter path: the folder that holds the data set's folder, or that folder itself.
  /// - Throws: `RunError` (data) for a missing, truncated or damaged file.
  public init(_ variant: CIFARVariant, split: DatasetSplit, path: String) throws {
    let (folder, isBinary) = try CIFARDataset.findFolder(variant, path: path)
    let advice = variant.advice(isBinary || folder != path ? path : "DIR")
    var pixels: [UInt8] = []
    var labels: [UInt8] = []
    var files: [(name: String, first: Int)] = []
    let hash = XXH3()
    for file in isBinary ? variant.binaryFiles(split) : variant.pickleFiles(split) {
      let filePath = folder + "/" + file
      let bytes = try readDataFile(filePath, advice: advice)
      files.append((filePath, labels.count))
      if isBinary {
        try CIFARDataset.appendBinary(
          variant, bytes, file: filePath, advice: advice, pixels: &pixels, labels: &labels)
      } else {
        let batch = try readCIFARPickle(variant, bytes, file: filePath, advice: advice)
        pixels += batch.pixels
        labels += batch.labels
      }
    }
    guard !labels.isEmpty else {
      throw RunError.data("\(folder) holds no \(split.rawValue) images.\n\(advice)")
    }
    // Both forms of the same images give the same fingerprint.
    hash.add(variant.rawValue)
    hash.add(UInt64(labels.count))
    labels.withUnsafeBytes { hash.add($0) }
    pixels.withUnsafeBytes { hash.add($0) }
    name = variant.rawValue
    self.split = split
    statistics = variant == .cifar10 ? .cifar10 : .cifar100
    fingerprint = hash.hex
    self.pixels = pixels
    self.labels = labels
    self.files = files
    classNames =
      isBinary
      ? try CIFARDataset.readNames(variant, folder: folder, advice: advice)
      : try readCIFARPickleNames(variant, folder: folder, advice: advice)
  }

  static func findFolder(_ variant: CIFARVariant, path: String) throws -> (String, Bool) {
    for (folder, isBinary) in [(variant.binaryFolder, true), (variant.pickleFolder, false)] {
      if isFolder(path + "/" + folder) { return (path + "/" + folder, isBinary) }
    }
    let files = FileManager.default
    if variant.binaryFiles(.test).contains(where: { files.fileExists(atPath: path + "/" + $0) }) {
      return (path, true)
    }
    if variant.pickleFiles(.test).contains(where: { files.fileExists(atPath: path + "/" + $0) }) {
      return (path, false)
    }
    throw RunError.data(
      """
      No \(variant.rawValue) data in \(path)\(isFolder(path) ? "" : " (no such folder)").
      Expected a folder \(variant.binaryFolder) or \(variant.pickleFolder) in it.
      Set --data_path, or fetch it: ./launch data \(variant.rawValue) --data_path \(path)
      """)
  }

  /// Appends the records of one binary file: label byte(s), then 1024 red, green and blue bytes.
  package static func appendBinary(
    _ variant: CIFARVariant, _ bytes: [UInt8], file: String, advice: String,
    pixels: inout [UInt8], labels: inout [UInt8]
  ) throws {
    let record = variant.labelBytes + pixelBytes
    guard !bytes.isEmpty, bytes.count % record == 0 else {
      throw RunError.data(
        """
        \(file) has \(bytes.count) bytes, expected a whole number of records of \(record) bytes.
        It is truncated or damaged. \(advice)
        """)
    }
    let count = bytes.count / record
    pixels.reserveCapacity(pixels.count + count * pixelBytes)
    for i in 0..<count {
      let label = bytes[i * record + variant.labelBytes - 1]
      guard Int(label) < variant.classCount else {
        throw RunError.data(
          """
          \(file), record \(i): label \(label), expected 0...\(variant.classCount - 1).
          The file is damaged. \(advice)
          """)
      }
      labels.append(label)
      pixels += bytes[(i * record + variant.labelBytes)..<((i + 1) * record)]
    }
  }

  static func readNames(_ variant: CIFARVariant, folder: String, advice: String) throws -> [String]
  {
    let path = folder + "/" + variant.namesFile
    let text = String(decoding: try readDataFile(path, advice: advice), as: UTF8.self)
    let names = text.split(whereSeparator: \.isNewline).map {
      $0.trimmingCharacters(in: .whitespaces)
    }.filter { !$0.isEmpty }
    guard names.count == variant.classCount else {
      throw RunError.data(
        """
        \(path) has \(names.count) class names, expected \(variant.classCount).
        \(advice)
        """)
    }
    return names
  }

  public func load(
    _ index: Int, into image: ImageBuffer, region: DecodingRegion.Choice
  ) throws -> Int32 {
    image.resize(width: CIFARDataset.side, height: CIFARDataset.side)
    pixels.withUnsafeBufferPointer {
      ck_planes_to_interleaved(
        image.pixels, $0.baseAddress! + index * CIFARDataset.pixelBytes,
        CIFARDataset.side * CIFARDataset.side)
    }
    return Int32(labels[index])
  }

  public func source(of index: Int) -> String {
    guard let file = files.last(where: { $0.first <= index }) else { return "\(name) \(index)" }
    return "\(file.name), record \(index - file.first)"
  }
}
