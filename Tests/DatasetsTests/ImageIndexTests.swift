// The compact list of file names, beside a plain array of strings.
import Files
import Foundation
import TestSupport
import Testing

@testable import Datasets

@Suite("Image index") struct ImageIndexTests {
  struct Entry: Equatable {
    let name: String
    let label: Int32
  }

  /// Names with long and short common beginnings, some over 127 bytes, some not ASCII, some twice.
  func entries(_ count: Int, _ random: inout SystemRandomNumberGenerator) -> [Entry] {
    var label: Int32 = 0
    var name = ""
    return (0..<count).map { _ in
      name = String(name.prefix(Int.random(in: 0...name.count, using: &random)))
      for _ in 0..<Int.random(in: 0...9, using: &random) {
        name += ["a", "b", "7", "é", "日"].randomElement()!
      }
      if Int.random(in: 0..<20, using: &random) == 0 { name += String(repeating: "x", count: 150) }
      if Bool.random(using: &random) { label = .random(in: 0..<5, using: &random) }
      return Entry(name: name, label: label)
    }
  }

  func index(_ entries: some Sequence<Entry>) -> ImageIndex {
    var index = ImageIndex()
    for entry in entries { index.append(entry.name, label: entry.label) }
    return index
  }

  /// In random order, as the loader asks.
  func content(_ index: ImageIndex) -> [Entry] {
    var found = [Entry?](repeating: nil, count: index.count)
    for i in found.indices.shuffled() {
      found[i] = Entry(name: index.name(i), label: index.label(i))
    }
    return found.map { $0! }
  }

  func hash(_ index: ImageIndex) -> UInt64 {
    let hash = XXH3()
    index.add(to: hash)
    return hash.value
  }

  @Test("holds what was put in, whole, joined, and written and read") func content() throws {
    var random = SystemRandomNumberGenerator()
    for count in [0, 1, 15, 16, 17, 32, 33, 500] {
      let expected = entries(count, &random)
      let whole = index(expected)
      #expect(content(whole) == expected)
      let cut = Int.random(in: 0...count, using: &random)
      var joined = index(expected[..<cut])
      joined.append(index(expected[cut...]))
      #expect(content(joined) == expected)
      #expect(hash(joined) == hash(whole))
      var read = try #require(ImageIndex(encoded: whole.encoded, classCount: 5))
      #expect(content(read) == expected)
      #expect(hash(read) == hash(whole))
      read.append("last", label: 3)
      #expect(content(read) == expected + [Entry(name: "last", label: 3)])
    }
  }

  @Test("the hash follows every name, label and their order") func hashes() {
    var random = SystemRandomNumberGenerator()
    let expected = (0..<40).map { Entry(name: "n\($0 % 7)_\($0)", label: Int32($0 / 10)) }
    let before = hash(index(expected))
    for at in expected.indices {
      var changed = expected
      changed[at] = Entry(name: expected[at].name + "x", label: expected[at].label)
      #expect(hash(index(changed)) != before)
      changed[at] = Entry(name: expected[at].name, label: expected[at].label + 1)
      #expect(hash(index(changed)) != before)
    }
    var swapped = expected
    let at = Int.random(in: 0..<39, using: &random)
    swapped.swapAt(at, at + 1)
    #expect(hash(index(swapped)) != before)
  }

  @Test("takes much less than the names alone would") func size() {
    var index = ImageIndex()
    var bytes = 0
    for label in 0..<20 {
      let names = (0..<1000).map { "n0144\(label + 1000)_\($0 * 13).JPEG" }.sorted()
      for name in names { index.append(name, label: Int32(label)) }
      bytes += names.reduce(0) { $0 + $1.utf8.count }
    }
    #expect(10 * index.encoded.count < 6 * bytes)
  }

  @Test("damaged bytes are refused, or an index of classes that exist") func damage() {
    var random = SystemRandomNumberGenerator()
    let whole = index(entries(100, &random)).encoded
    var refused = 0
    for _ in 0..<2000 {
      var bytes = [UInt8](whole)
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        bytes[.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
      }
      bytes.removeLast(.random(in: 0...2, using: &random))
      guard let index = ImageIndex(encoded: Data(bytes), classCount: 5) else {
        refused += 1
        continue
      }
      #expect(content(index).allSatisfy { (0..<5).contains($0.label) })
    }
    #expect(refused > 200)
  }
}
