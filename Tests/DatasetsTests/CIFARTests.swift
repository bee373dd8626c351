// The CIFAR readers on genuine records, made-up files and damaged ones.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Datasets

@Suite("CIFAR") struct CIFARTests {
  let golden = goldenFolder.appendingPathComponent("cifar-10-batches-bin").path

  @Test("the golden records are read in file order") func records() throws {
    let train = try CIFARDataset(.cifar10, split: .train, path: goldenFolder.path)
    let test = try CIFARDataset(.cifar10, split: .test, path: golden)
    #expect(train.count == 60)
    #expect(test.count == 40)
    #expect(train.classNames[0] == "airplane")
    #expect(train.classNames[9] == "truck")
    let file = [UInt8](try Data(contentsOf: URL(fileURLWithPath: golden + "/test_batch.bin")))
    let image = ImageBuffer()
    for i in [0, 7, 39] {
      #expect(try test.load(i, into: image) == Int32(file[i * 3073]))
      let bytes = image.bytes
      for (p, c) in [(0, 0), (33, 1), (1023, 2)] {
        #expect(bytes[3 * p + c] == file[i * 3073 + 1 + c * 1024 + p])
      }
    }
    #expect(train.fingerprint != test.fingerprint)
  }

  func cifar100(_ folder: TemporaryFolder, _ records: [UInt8]) throws -> CIFARDataset {
    try folder.write("cifar-100-binary/test.bin", records)
    try folder.write(
      "cifar-100-binary/fine_label_names.txt",
      Array((0..<100).map { "name\($0)\n" }.joined().utf8))
    return try CIFARDataset(.cifar100, split: .test, path: folder.path)
  }

  @Test("CIFAR-100 takes the second label") func fineLabels() throws {
    let folder = try TemporaryFolder()
    let data = try cifar100(folder, [19, 99] + randomBytes(3072, item: 3))
    #expect(data.count == 1)
    #expect(try data.load(0, into: ImageBuffer()) == 99)
    #expect(data.classNames[99] == "name99")
  }

  @Test("damage is a data error that names the file") func damage() throws {
    for bytes in [
      [], [1, 2, 3], [0, 100] + randomBytes(3072, item: 1), randomBytes(3075, item: 2),
    ] {
      let folder = try TemporaryFolder()
      let error = #expect(throws: RunError.self) { try cifar100(folder, bytes) }
      #expect(error?.code == .data)
      #expect(error?.message.contains("test.bin") == true)
      #expect(error?.message.contains("./launch data cifar100 --data_path") == true)
    }
    let empty = try TemporaryFolder()
    let error = #expect(throws: RunError.self) {
      try CIFARDataset(.cifar10, split: .train, path: empty.path)
    }
    #expect(error?.message.contains(empty.path) == true)
  }

  @Test("torchvision's form of the same images is the same data set") func pickle() throws {
    let folder = try TemporaryFolder()
    var records: [UInt8] = []
    var images: [[UInt8]] = []
    for i in 0..<3 {
      images.append(randomBytes(3072, item: i))
      records += [UInt8(i), UInt8(3 * i)] + images[i]
    }
    let binary = try cifar100(folder, records)
    let other = try TemporaryFolder()
    try other.write(
      "cifar-100-python/test",
      cifarPickle(labelKey: "fine_labels", labels: [0, 3, 6], pixels: images.flatMap { $0 }))
    try other.write(
      "cifar-100-python/meta",
      namesPickle(key: "fine_label_names", names: (0..<100).map { "name\($0)" }))
    let pickled = try CIFARDataset(.cifar100, split: .test, path: other.path)
    #expect(pickled.fingerprint == binary.fingerprint)
    #expect(pickled.classNames == binary.classNames)
  }

  @Test("a pickle that would run code is refused") func hostilePickle() throws {
    let hostile: [UInt8] = [0x80, 2] + Array("cposix\nsystem\n(U\u{4}ls /tR.".utf8)
    let error = #expect(throws: ImageError.self) { _ = try PickleReader.read(hostile) }
    #expect(error?.reason.contains("posix system") == true)
    let good = cifarPickle(labelKey: "labels", labels: [1], pixels: randomBytes(3072, item: 0))
    for cut in stride(from: 0, to: good.count - 1, by: 97) {
      #expect(throws: ImageError.self) { _ = try PickleReader.read(Array(good[..<cut])) }
    }
  }
}

private func shortString(_ text: String) -> [UInt8] {
  [0x55, UInt8(text.utf8.count)] + Array(text.utf8)
}

private func words(_ number: Int) -> [UInt8] {
  (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
}

/// A file as Python 2 and numpy wrote it: {'data': uint8 array [n, 3072], labelKey: [...]}.
func cifarPickle(labelKey: String, labels: [UInt8], pixels: [UInt8]) -> [UInt8] {
  var out: [UInt8] = [0x80, 2] + Array("}q\u{1}(".utf8)
  out += shortString("data") + Array("cnumpy.core.multiarray\n_reconstruct\n".utf8)
  out += Array("cnumpy\nndarray\n".utf8) + [0x4B, 0, 0x85] + shortString("b") + [0x87]
  out += Array("R(K\u{1}J".utf8) + words(labels.count) + [0x4D, 0, 12, 0x86]
  out += Array("cnumpy\ndtype\n".utf8) + shortString("u1") + [0x4B, 0, 0x4B, 1, 0x87]
  out += Array("R(K\u{3}".utf8) + shortString("|") + Array("NNN".utf8)
  out += [0x4A, 255, 255, 255, 255, 0x4A, 255, 255, 255, 255, 0x4B, 0] + Array("tb".utf8)
  out += [0x89, 0x54] + words(pixels.count) + pixels + Array("tb".utf8)
  out += shortString(labelKey) + Array("](".utf8)
  for label in labels { out += [0x4B, label] }
  return out + Array("eu.".utf8)
}

func namesPickle(key: String, names: [String]) -> [UInt8] {
  var out: [UInt8] = [0x80, 2] + Array("}(".utf8) + shortString(key) + Array("](".utf8)
  for name in names { out += shortString(name) }
  return out + Array("eu.".utf8)
}
