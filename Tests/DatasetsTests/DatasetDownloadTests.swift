// Downloads from a server on this machine that interrupts, corrupts and refuses.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Datasets

@Suite("MD5") struct MD5Tests {
  @Test(
    "the digests of RFC 1321, appendix A.5",
    arguments: [
      ("", "d41d8cd98f00b204e9800998ecf8427e"), ("a", "0cc175b9c0f1b6a831c399e269772661"),
      ("abc", "900150983cd24fb0d6963f7d28e17f72"),
      ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
      ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
      (
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        "d174ab98d277d9f5a5611c2c9f419d9f"
      ),
      (
        String(repeating: "1234567890", count: 8), "57edf4a22be3c955ac49da2e2107b67a"
      ),
    ])
  func digests(text: String, expected: String) {
    var whole = MD5()
    Array(text.utf8).withUnsafeBytes { whole.add($0) }
    #expect(whole.text == expected)
    // In pieces of every size.
    for size in 1...70 {
      var parts = MD5()
      var rest = Array(text.utf8)[...]
      while !rest.isEmpty {
        Array(rest.prefix(size)).withUnsafeBytes { parts.add($0) }
        rest = rest.dropFirst(size)
      }
      #expect(parts.text == expected)
    }
  }
}

/// An archive as the official one, but small.
func makeArchive(
  _ folder: TemporaryFolder, records: Int = 3, isWhole: Bool = true
) throws -> (bytes: [UInt8], md5: String) {
  let data = "cifar-10-batches-bin/"
  let record = { (i: Int) in [UInt8(i % 10)] + randomBytes(3072, item: i) }
  for i in 1...5 {
    try folder.write(data + "data_batch_\(i).bin", (0..<records).flatMap { record(i * 10 + $0) })
  }
  if isWhole { try folder.write(data + "test_batch.bin", record(99)) }
  try folder.write(
    data + "batches.meta.txt", Array((0..<10).map { "name\($0)\n" }.joined().utf8))
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = [
    "tar", "-czf", folder.path + "/archive.tar.gz", "-C", folder.path, "cifar-10-batches-bin",
  ]
  try process.run()
  process.waitUntilExit()
  let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder.path + "/archive.tar.gz")))
  var digest = MD5()
  bytes.withUnsafeBytes { digest.add($0) }
  return (bytes, digest.text)
}

@Suite("Dataset download", .serialized) struct DatasetDownloadTests {
  let source: TemporaryFolder
  let target: TemporaryFolder
  let server: FileServer
  let bytes: [UInt8]
  let md5: String

  init() throws {
    source = try TemporaryFolder()
    target = try TemporaryFolder()
    (bytes, md5) = try makeArchive(source)
    server = try FileServer(content: bytes)
  }

  func download(md5: String? = nil, address: String? = nil, to path: String? = nil) throws -> String
  {
    var said: [String] = []
    let archive = DatasetArchive(address: address ?? server.address, md5: md5 ?? self.md5)
    try DatasetDownload(.cifar10, archive: archive, path: path ?? target.path) { said.append($0) }
      .run()
    return said.joined(separator: "\n")
  }

  func message(_ body: () throws -> String) -> String {
    do { return "worked: \(try body())" } catch let error as RunError {
      return error.code == .data && error.message.split(separator: "\n").count <= 6
        ? error.message : "wrong: \(error)"
    } catch { return "wrong: \(error)" }
  }

  var isThere: Bool {
    FileManager.default.fileExists(atPath: target.path + "/cifar-10-batches-bin")
  }

  /// The whole data set, and nothing else that anybody would see.
  func expectWhole() throws {
    let data = try CIFARDataset(.cifar10, split: .train, path: target.path)
    let original = try CIFARDataset(.cifar10, split: .train, path: source.path)
    #expect(data.fingerprint == original.fingerprint && data.count == 15)
    #expect(try CIFARDataset(.cifar10, split: .test, path: target.path).count == 1)
    let names = try FileManager.default.contentsOfDirectory(atPath: target.path)
    #expect(Set(names) == ["cifar-10-batches-bin", ".cifar10.lock"])
  }

  @Test("fetched once, then left alone") func plain() throws {
    let said = try download()
    #expect(said.contains("is complete"))
    try expectWhole()
    #expect(try download().contains("already"))
    #expect(server.offsets == [0])
  }

  @Test("goes on where it was interrupted, until all is there") func interrupted() throws {
    server.set { $0.closesAfter = 20_000 }
    _ = try download()
    try expectWhole()
    let expected = stride(from: 0, to: bytes.count, by: 20_000).map { $0 }
    #expect(server.offsets == expected)
  }

  @Test("goes on with what an earlier try left") func resumed() throws {
    server.set { $0.closesAfter = 0 }
    #expect(message { try download() }.contains(server.address))
    #expect(!isThere)
    try target.write(".cifar10-\(md5).partial", Array(bytes.prefix(12_345)))
    server.set()
    _ = try download()
    try expectWhole()
    #expect(server.offsets.last == 12_345)
  }

  @Test("starts over when the server cannot go on in the middle") func noRanges() throws {
    server.set { $0.honoursRanges = false }
    try target.write(".cifar10-\(md5).partial", Array(bytes.prefix(10_000)))
    _ = try download()
    try expectWhole()
    #expect(server.offsets == [10_000, 0])
  }

  @Test("starts over when what was there does not fit, or is too long") func staleParts() throws {
    for stale in [randomBytes(5000, item: 1), bytes + [1, 2, 3], Array(bytes.dropLast()) + [0]] {
      try? FileManager.default.removeItem(atPath: target.path + "/cifar-10-batches-bin")
      try target.write(".cifar10-\(md5).partial", stale)
      // The remains of a download of another archive go too.
      try target.write(".cifar10-0123.partial", [1])
      _ = try download()
      try expectWhole()
    }
  }

  @Test("a corrupted archive is not unpacked") func corrupted() throws {
    var damaged = bytes
    damaged[bytes.count / 2] ^= 1
    server.set(content: damaged)
    let text = message { try download() }
    #expect(text.contains("MD5 checksum") && text.contains(md5) && text.contains("--url"))
    #expect(!isThere)
    server.set(content: bytes)
    _ = try download()
    try expectWhole()
  }

  @Test("an archive without all files is refused") func incomplete() throws {
    let other = try TemporaryFolder()
    let (bytes, md5) = try makeArchive(other, isWhole: false)
    server.set(content: bytes)
    #expect(message { try download(md5: md5) }.contains("does not hold cifar-10-batches-bin"))
    #expect(!isThere)
    let text = Array("no archive at all".utf8)
    var digest = MD5()
    text.withUnsafeBytes { digest.add($0) }
    server.set(content: text)
    #expect(message { try download(md5: digest.text) }.contains("tar: "))
    #expect(!isThere)
  }

  @Test("a server that refuses, or is not there, is named") func refused() throws {
    for status in [404, 500] {
      server.set { $0.status = status }
      let text = message { try download() }
      #expect(text.contains("\(status)") && text.contains(server.address) && text.contains("--url"))
    }
    server.stop()
    let text = message { try download() }
    #expect(text.contains(server.address) && !text.hasPrefix("worked"))
    #expect(!isThere)
  }

  @Test("a damaged data set is replaced") func replaced() throws {
    try target.write("cifar-10-batches-bin/data_batch_1.bin", [1, 2, 3])
    _ = try download()
    try expectWhole()
  }

  @Test("of two at once, one is refused") func locked() throws {
    let lock = try FileLock(target.path + "/.cifar10.lock", seconds: 0)
    #expect(message { try download() }.contains("another download"))
    lock.release()
    _ = try download()
    try expectWhole()
    let file = try source.write("file", [1])
    #expect(message { try download(to: file + "/inside") }.contains("cannot be made"))
  }
}
