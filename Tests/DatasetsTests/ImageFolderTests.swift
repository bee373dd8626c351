// Class folders, the flat validation folder, and the cache of indices.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Datasets

@Suite("Image folder") struct ImageFolderTests {
  /// A one-colour PNG.
  func image(_ value: UInt8) -> [UInt8] {
    encodePNG([UInt8](repeating: value, count: 12), width: 2, height: 2, channels: 3)
  }

  func folder(_ names: String...) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for (i, name) in names.enumerated() { try folder.write(name, image(UInt8(i))) }
    return folder
  }

  func open(_ split: DatasetSplit, _ folder: TemporaryFolder) throws -> ImageFolderDataset {
    try ImageFolderDataset(split: split, path: folder.path, cache: nil)
  }

  /// Names within the data folder, with labels.
  func content(_ data: ImageFolderDataset, _ folder: TemporaryFolder) throws -> [String] {
    try (0..<data.count).map {
      "\(data.source(of: $0).dropFirst(folder.path.count + 1)) \(try data.load($0, into: ImageBuffer()))"
    }
  }

  @Test("classes and files in byte order, other files left out") func layout() throws {
    let folder = try folder(
      "train/b/2.JPEG", "train/b/10.jpg", "train/a/x.png", "train/B/q.jpeg", "val/b/1.JPEG")
    try folder.write("train/a/notes.txt", [1])
    try folder.write("train/a/.hidden.JPEG", [1])
    try folder.write("train/README", [1])
    let train = try open(.train, folder)
    #expect(train.classNames == ["B", "a", "b"])
    #expect(
      try content(train, folder) == [
        "train/B/q.jpeg 0", "train/a/x.png 1", "train/b/10.jpg 2", "train/b/2.JPEG 2",
      ])
    let test = try open(.test, folder)
    #expect(test.classNames == train.classNames)
    #expect(try content(test, folder) == ["val/b/1.JPEG 2"])
    let pixels = ImageBuffer()
    _ = try train.load(0, into: pixels)
    #expect(pixels.bytes == [UInt8](repeating: 3, count: 12))
  }

  @Test("the fingerprint follows names, classes and order") func fingerprint() throws {
    let a = try folder("train/a/1.png", "train/b/2.png", "val/a/1.png")
    let same = try folder("train/a/1.png", "train/b/2.png", "val/a/1.png")
    let other = try folder("train/a/2.png", "train/b/1.png", "val/a/1.png")
    let third = try folder("train/a/1.png", "train/c/2.png", "val/a/1.png")
    let prints = try [a, same, other, third].map { try open(.train, $0).fingerprint }
    #expect(prints[0] == prints[1])
    #expect(Set(prints).count == 3)
    #expect(try open(.test, a).fingerprint != open(.test, third).fingerprint)
  }

  @Test("a link to a class folder is a class folder") func links() throws {
    let folder = try folder("elsewhere/1.png", "train/a/1.png", "val/a/1.png")
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/train/b", withDestinationPath: folder.path + "/elsewhere")
    #expect(try content(open(.train, folder), folder) == ["train/a/1.png 0", "train/b/1.png 1"])
  }

  func message(_ split: DatasetSplit, _ folder: TemporaryFolder) -> String {
    do {
      _ = try open(split, folder)
      return "opened"
    } catch let error as RunError {
      return error.code == .data ? error.message : "code \(error.code)"
    } catch { return "\(error)" }
  }

  @Test("names that are no UTF-8 are refused, files and folders") func names() throws {
    for name in ["train/b/\u{e9}.JPEG", "val/\u{e9}/1.JPEG"] {
      let folder = try folder("train/b/1.JPEG", "val/b/1.JPEG")
      // In Latin-1.
      let bytes =
        ("\(folder.path)/\(name)".unicodeScalars).map { CChar(truncatingIfNeeded: $0.value) } + [0]
      let parent = bytes.prefix(bytes.lastIndex(of: CChar(0x2F))!) + [0]
      mkdir(Array(parent), 0o755)
      close(creat(bytes, 0o644))
      let error = #expect(throws: RunError.self) {
        for split in [DatasetSplit.train, .test] { _ = try open(split, folder) }
      }
      #expect(error?.code == .data && error?.message.contains("not UTF-8") == true)
    }
  }

  @Test("what is missing is named") func missing() throws {
    #expect(message(.train, try folder("val/a/1.png")).contains("No folder"))
    #expect(message(.train, try folder("train/1.png", "val/a/1.png")).contains("no class folders"))
    let empty = try folder("train/a/1.txt", "val/a/1.png")
    #expect(message(.train, empty).contains("holds no images"))
    let stranger = try folder("train/a/1.png", "val/b/1.png")
    #expect(message(.test, stranger).contains("val/b is a class that train does not have"))
  }

  func flat(_ files: [String: String]) throws -> TemporaryFolder {
    let folder = try folder(
      "train/n03/1.png", "train/n01/1.png", "train/n02/1.png", "val/i_1.JPEG", "val/i_2.JPEG",
      "val/i_3.JPEG")
    for (name, text) in files { try folder.write(name, Array(text.utf8)) }
    return folder
  }

  @Test(
    "the flat validation folder with its classes in a file",
    arguments: [
      ["ILSVRC2012_validation_ground_truth.txt": "n02\nn03\nn01\n"],
      ["val/ILSVRC2012_validation_ground_truth.txt": "n02\r\nn03\r\n\r\nn01"],
      [
        "ILSVRC2012_validation_ground_truth.txt": "3\n1\n2\n", "classes.txt": "n03\nn01\nn02\n",
      ],
      [
        "LOC_val_solution.csv":
          "ImageId,PredictionString\ni_3,n01 1 2 3 4\ni_1,n02 5 n02 6\ni_2,n03\n"
      ],
    ])
  func flatFolder(files: [String: String]) throws {
    let folder = try flat(files)
    let data = try open(.test, folder)
    #expect(data.classNames == ["n01", "n02", "n03"])
    #expect(
      try content(data, folder) == ["val/i_1.JPEG 1", "val/i_2.JPEG 2", "val/i_3.JPEG 0"])
  }

  @Test("a flat folder whose classes cannot be known is refused") func flatMistakes() throws {
    let truth = "ILSVRC2012_validation_ground_truth.txt"
    #expect(message(.test, try flat([:])).contains(truth))
    #expect(message(.test, try flat([truth: "n01\nn02\n"])).contains("2 lines for 3 images"))
    #expect(
      message(.test, try flat([truth: "n01\nn02\nn09\n"])).contains("\"n09\" of val/i_3.JPEG"))
    // The devkit's numbers mean nothing without its order.
    #expect(message(.test, try flat([truth: "1\n2\n3\n"])).contains("classes.txt"))
    let short = try flat([truth: "1\n2\n3\n", "classes.txt": "n01\nn02\n"])
    #expect(message(.test, short).contains("3 for i_3.JPEG, expected 1...2"))
    let gap = try flat(["LOC_val_solution.csv": "i_1,n01\ni_2,n01\n"])
    #expect(message(.test, gap).contains("no line for val/i_3.JPEG"))
  }
}

@Suite("Index cache") struct IndexCacheTests {
  let data: TemporaryFolder
  let cacheFolder: TemporaryFolder
  let root: String

  init() throws {
    data = try TemporaryFolder()
    cacheFolder = try TemporaryFolder()
    root = data.path + "/train"
    for name in ["a/1.png", "a/2.png", "b/1.png"] { try data.write("train/" + name, [0]) }
  }

  /// Times of folders made just now would not be trusted.
  func cache(quiet: Double = -1e9, minimum: Int = 1) -> IndexCache {
    IndexCache(folder: cacheFolder.path, minimumCount: minimum, quietSeconds: quiet)
  }

  /// The index, and whether the folder was listed for it.
  func look(_ cache: IndexCache) throws -> (names: [String], isListed: Bool) {
    var isListed = false
    let classNames = try subfolders(root)
    let index = try cache.index(root: root, classNames: classNames, present: classNames) {
      isListed = true
      var index = ImageIndex()
      for (label, name) in classNames.enumerated() {
        for file in try imageFiles(root + "/" + name) { index.append(file, label: Int32(label)) }
      }
      return index
    }
    return ((0..<index.count).map { "\(index.label($0)) \(index.name($0))" }, isListed)
  }

  @Test("the second look needs no listing, and finds the same") func kept() throws {
    let first = try look(cache())
    let second = try look(cache())
    #expect(first.isListed && !second.isListed)
    #expect(second.names == ["0 1.png", "0 2.png", "1 1.png"])
    #expect(first.names == second.names)
    // Nothing but the index and its lock is left.
    #expect(try FileManager.default.contentsOfDirectory(atPath: cacheFolder.path).count == 2)
    var information = stat()
    #expect(stat(cache().file(root), &information) == 0 && information.st_mode & 0o077 == 0)
  }

  @Test("any change of a folder is noticed") func stale() throws {
    let files = FileManager.default
    let changes: [() throws -> Void] = [
      { try data.write("train/a/3.png", [0]) },
      { try files.removeItem(atPath: root + "/a/3.png") },
      { try files.moveItem(atPath: root + "/a/1.png", toPath: root + "/a/0.png") },
      { try data.write("train/c/1.png", [0]) },
      { try files.moveItem(atPath: root + "/c", toPath: root + "/d") },
      {
        // The same names in a folder that was put in the place of another, with its times set back.
        let times = try files.attributesOfItem(atPath: root + "/b")[.modificationDate]!
        try files.moveItem(atPath: root + "/b", toPath: data.path + "/b")
        try data.write("train/b/9.png", [0])
        try files.setAttributes([.modificationDate: times], ofItemAtPath: root + "/b")
      },
    ]
    for change in changes {
      _ = try look(cache())
      #expect(try !look(cache()).isListed)
      try change()
      let after = try look(cache())
      #expect(after.isListed)
      #expect(try after.names == look(cache(minimum: 1000)).names)
    }
  }

  @Test("a damaged cache costs a listing, not a run") func damaged() throws {
    let expected = try look(cache()).names
    let file = cache().file(root)
    let whole = try Data(contentsOf: URL(fileURLWithPath: file))
    for at in [0, 25, 30, 40, 50, 60, whole.count - 1] {
      var bytes = whole
      bytes[at] ^= 1
      try bytes.write(to: URL(fileURLWithPath: file))
      let found = try look(cache())
      #expect(found.isListed && found.names == expected, "byte \(at)")
    }
    for length in [0, 10, 40, whole.count - 1] {
      try whole.prefix(length).write(to: URL(fileURLWithPath: file))
      #expect(try look(cache()).names == expected)
    }
    #expect(try !look(cache()).isListed)
  }

  @Test("a cache that cannot be written is done without") func unwritable() throws {
    let blocked = try cacheFolder.write("file", [1])
    let cache = IndexCache(folder: blocked + "/inside", minimumCount: 1, quietSeconds: -1e9)
    for _ in 0..<2 {
      let found = try look(cache)
      #expect(found.isListed && found.names.count == 3)
    }
  }

  @Test("small folders and those just changed are not kept") func notKept() throws {
    for cache in [cache(minimum: 4), cache(quiet: 1e9)] {
      for _ in 0..<2 { #expect(try look(cache).isListed) }
    }
  }

  @Test("of many at once, one lists") func together() throws {
    nonisolated(unsafe) var listings = 0
    nonisolated(unsafe) var wrong = 0
    let lock = NSLock()
    nonisolated(unsafe) let suite = self
    DispatchQueue.concurrentPerform(iterations: 8) { _ in
      let found = try? suite.look(suite.cache())
      lock.withLock {
        if found?.isListed == true { listings += 1 }
        if found?.names.count != 3 { wrong += 1 }
      }
    }
    #expect(wrong == 0)
    #expect(listings == 1)
  }
}
