// ImageNet-style data: train/<class>/* and val/<class>/*, or the original archive's flat val folder
// with its ground-truth file.
import Diagnostics
import Files
import Foundation
import Synchronization

/// Images in class folders; classes are the folders' names in sorted order.
public final class ImageFolderDataset: Dataset {
  public let name = "imagenet"
  public let split: DatasetSplit
  public let classNames: [String]
  public let statistics = ChannelStatistics.imageNet
  public let imageSize: Int? = nil
  public let isSlow = true
  public let fingerprint: String
  public var count: Int { index.count }
  private let root: String
  private let index: ImageIndex
  /// The folder of each class within `root`, with its slash; empty for the flat layout.
  private let folders: [String]
  private let decoders = DecoderPool()

  /// - Parameters:
  ///   - path: the folder that holds `train` and `val`.
  ///   - given: the classes of a model, in its order; to evaluate it, `train` need not be there.
  /// - Throws: `RunError` (data) for missing or empty folders, validation classes that training does not have, or
  ///   classes that are not the model's.
  public convenience init(split: DatasetSplit, path: String, classNames given: [String]? = nil)
    throws
  {
    try self.init(split: split, path: path, classNames: given, cache: .standard)
  }

  init(
    split: DatasetSplit, path: String, classNames given: [String]? = nil, cache: IndexCache?
  ) throws {
    self.split = split
    let train = path + "/train"
    let val = path + "/val"
    let needed = split == .test && given != nil ? [val] : [train, val]
    for folder in needed where !isFolder(folder) {
      throw RunError.data(
        """
        No folder \(folder).
        Expected \(path) to hold train/<class>/*.JPEG and val/<class>/*.JPEG.
        Set --data_path to the folder that holds both.
        """)
    }
    let classNames = try isFolder(train) ? subfolders(train) : given ?? []
    if let given { try Self.compare(classNames, withModel: given, train) }
    guard !classNames.isEmpty else {
      throw RunError.data("\(train) has no class folders.\nExpected train/<class>/*.JPEG.")
    }
    self.classNames = classNames
    root = split == .train ? train : val
    let present = split == .train ? classNames : try subfolders(val)
    if present.isEmpty {
      index = try FlatValidation.list(val, path: path, classNames: classNames)
      folders = []
    } else {
      try ImageFolderDataset.refuseStrangers(present, classNames: classNames, root: root)
      let root = self.root
      func list() throws -> ImageIndex {
        try ImageFolderDataset.list(root, classNames: classNames, present: present)
      }
      index =
        try cache?.index(root: root, classNames: classNames, present: present, list: list)
        ?? list()
      folders = classNames.map { $0 + "/" }
    }
    guard index.count > 0 else {
      throw RunError.data("\(root) holds no images (.JPEG, .jpg, .jpeg or .png).")
    }
    let hash = XXH3()
    for name in classNames { hash.add(name) }
    index.add(to: hash)
    fingerprint = hash.hex
  }

  /// The same number of other classes, or the same in another order, would give wrong accuracies.
  private static func compare(_ found: [String], withModel given: [String], _ folder: String) throws
  {
    guard found != given else { return }
    let number = zip(found, given).enumerated().first { $1.0 != $1.1 }?.offset
    let difference =
      number.map { "class \($0) is \(found[$0]) there, \(given[$0]) in the weights" }
      ?? "there are \(found.count) classes, \(given.count) in the weights"
    throw RunError.data(
      """
      The class folders of \(folder) are not the classes that these weights were trained on: \(difference).
      Give the data that they were trained on: --data_path.
      """)
  }

  private static func refuseStrangers(
    _ present: [String], classNames: [String], root: String
  ) throws {
    let known = Set(classNames)
    guard let stranger = present.first(where: { !known.contains($0) }) else { return }
    throw RunError.data(
      """
      \(root)/\(stranger) is a class that train does not have.
      Expected the same class folders under train and val; remove or rename it.
      """)
  }

  /// Lists all class folders, several at a time.
  private static func list(
    _ root: String, classNames: [String], present: [String]
  ) throws -> ImageIndex {
    // Compact at once: as strings, all names would take seven times as much for a moment.
    let lists = Mutex([Result<ImageIndex, any Error>?](repeating: nil, count: classNames.count))
    let here = Set(present)
    DispatchQueue.concurrentPerform(iterations: classNames.count) { i in
      guard here.contains(classNames[i]) else { return }
      let result = Result {
        var index = ImageIndex()
        for name in try imageFiles(root + "/" + classNames[i]) {
          index.append(name, label: Int32(i))
        }
        return index
      }
      lists.withLock { $0[i] = result }
    }
    var index = ImageIndex()
    for result in lists.withLock({ $0 }) {
      if let result { index.append(try result.get()) }
    }
    return index
  }

  public func load(
    _ index: Int, into image: ImageBuffer, region: DecodingRegion.Choice
  ) throws -> Int32 {
    let decoder = decoders.take()
    defer { decoders.giveBack(decoder) }
    try decoder.decode(path: source(of: index), into: image, region: region)
    return self.index.label(index)
  }

  public func source(of index: Int) -> String {
    let folder = folders.isEmpty ? "" : folders[Int(self.index.label(index))]
    return root + "/" + folder + self.index.name(index)
  }
}

/// Decoders not in use; at most as many as threads that load at once.
final class DecoderPool: Sendable {
  private let idle = Mutex<[Item]>([])

  /// A decoder is used by the one thread that took it.
  struct Item: @unchecked Sendable { let decoder: ImageDecoder }

  func take() -> ImageDecoder {
    idle.withLock { $0.popLast() }?.decoder ?? ImageDecoder()
  }

  func giveBack(_ decoder: ImageDecoder) {
    let item = Item(decoder: decoder)
    idle.withLock { $0.append(item) }
  }
}
