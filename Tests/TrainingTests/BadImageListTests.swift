// bad-images.txt: cheap to add to, whole after a kill, the same however often a run was interrupted.
import Datasets
import Foundation
import TestSupport
import Testing

@testable import Training

@Suite("List of damaged images") struct BadImageListTests {
  /// Met in this order, the last letter of more than one byte.
  private static let images = [40, 7, 23, 900, 8].map {
    BadImage(index: $0, source: "/data/n\($0).JPEG", reason: "truncated, größer")
  }

  /// What the file must hold of them in the end.
  private static let sorted = [7, 8, 23, 40, 900]
    .map { "train\t\($0)\t/data/n\($0).JPEG\ttruncated, größer\n" }.joined()

  private func bytes(_ path: String) -> [UInt8] {
    [UInt8](FileManager.default.contents(atPath: path) ?? Data())
  }

  @Test("lines are added to the file that is there, until it is sorted") func appends() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/bad-images.txt"
    func file() throws -> Int? {
      try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int
    }
    let list = try BadImageList(path: path, resumed: false)
    try list.add([], split: "train")
    #expect(!FileManager.default.fileExists(atPath: path))
    try list.add([Self.images[0]], split: "train")
    let first = try file()
    for image in Self.images {
      let before = bytes(path)
      try list.add([image], split: "train")
      #expect(bytes(path).starts(with: before))
      #expect(try file() == first)
    }
    try list.sort()
    #expect(String(decoding: bytes(path), as: UTF8.self) == Self.sorted)
    // The test set comes after the training set.
    let test = BadImage(index: 1, source: "/data/t.JPEG", reason: "empty")
    try list.add([test], split: "test")
    try list.add([BadImage(index: 0, source: "/data/a.JPEG", reason: "empty")], split: "train")
    try list.sort()
    #expect(
      String(decoding: bytes(path), as: UTF8.self)
        == "train\t0\t/data/a.JPEG\tempty\n" + Self.sorted + "test\t1\t/data/t.JPEG\tempty\n")
  }

  @Test("cut off at any byte, a resumed run lists what is missing and nothing twice") func torn()
    throws
  {
    let folder = try TemporaryFolder()
    let path = folder.path + "/bad-images.txt"
    let list = try BadImageList(path: path, resumed: false)
    for image in Self.images { try list.add([image], split: "train") }
    let whole = bytes(path)
    for length in 0...whole.count {
      try Data(whole.prefix(length)).write(to: URL(fileURLWithPath: path))
      let lines = whole.prefix(length).filter { $0 == 10 }.count
      let resumed = try BadImageList(path: path, resumed: true)
      #expect(bytes(path).filter { $0 == 10 }.count == lines, "cut off after \(length)")
      // Steps before the checkpoint do not come again.
      for image in Self.images.dropFirst(lines) { try resumed.add([image], split: "train") }
      try resumed.sort()
      #expect(
        String(decoding: bytes(path), as: UTF8.self) == Self.sorted, "cut off after \(length)")
    }
  }

  @Test("an image is listed once, whatever is said of it later") func once() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/bad-images.txt"
    try BadImageList(path: path, resumed: false).add(Self.images, split: "train")
    let resumed = try BadImageList(path: path, resumed: true)
    try resumed.add(
      [BadImage(index: 23, source: "/elsewhere/n23.JPEG", reason: "empty")], split: "train")
    try resumed.sort()
    #expect(String(decoding: bytes(path), as: UTF8.self) == Self.sorted)
  }
}
