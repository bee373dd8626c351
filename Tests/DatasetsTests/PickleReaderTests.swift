// Pickles that nobody should have to survive.
import Foundation
import Testing

@testable import Datasets

@Suite("Pickle reader") struct PickleReaderTests {
  func reason(_ program: [UInt8]) -> String {
    do {
      _ = try PickleReader.read([0x80, 2] + program + Array(".".utf8))
      return "read"
    } catch { return "\(error)" }
  }

  @Test("the dialect's values are read") func values() throws {
    let parts: [[UInt8]] = [
      [0x80, 2], Array("}(U\u{1}aK\u{5}U\u{1}b](M".utf8), [1, 2], Array("J".utf8),
      [0xFE, 0xFF, 0xFF, 0xFF], Array("eU\u{1}cNu.".utf8),
    ]
    let bytes = Array(parts.joined())
    let root = try PickleReader.read(bytes)
    guard case .integer(5)? = root["a"], case .list(let list)? = root["b"], case .none? = root["c"]
    else {
      Issue.record("\(root)")
      return
    }
    guard case .integer(513) = list.values[0], case .integer(-2) = list.values[1] else {
      Issue.record("\(list.values)")
      return
    }
    #expect(root["d"] == nil)
  }

  @Test("values in each other to any depth end in an error, not in a crash")
  func deep() {
    let many = 200_000
    let none = Array("N".utf8)
    #expect(reason(none + [UInt8](repeating: 0x85, count: many)).contains("too many"))
    #expect(reason([UInt8](repeating: UInt8(ascii: "]"), count: many)).contains("too many"))
    #expect(reason([UInt8](repeating: UInt8(ascii: "("), count: many)).contains("too many"))
    let nested = [UInt8](repeating: UInt8(ascii: "]"), count: 40)
    #expect(reason(nested + [UInt8](repeating: UInt8(ascii: "a"), count: 39)) == "read")
  }

  @Test("a list that grows one by one takes linear time") func growing() {
    // A quadratic reader would copy 10^11 values.
    let steps = [UInt8]((0..<400_000).flatMap { _ in [0x4B, 1, UInt8(ascii: "a")] as [UInt8] })
    #expect(reason(Array("]".utf8) + steps) == "read")
    let endless = [UInt8]((0..<2_100_000).flatMap { _ in [0x4B, 1, 0x61] as [UInt8] })
    #expect(reason(Array("]".utf8) + endless).contains("too many values"))
  }

  @Test(
    "other opcodes and names are refused",
    arguments: [
      "c__builtin__\neval\n.", "i", "o", "b", "R", "h\u{9}", "V", "P", "Q", "0", "2", "\u{1}",
    ])
  func others(program: String) {
    #expect(reason(Array(program.utf8)) != "read")
  }
}
