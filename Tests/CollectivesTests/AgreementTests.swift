// Who is odd, and that everything said about it fits into one message.
import Diagnostics
import Testing

@testable import Collectives

@Suite("Agreement") struct AgreementTests {
  @Test("equal items pass") func equal() {
    let items = [(name: "seed", value: "1")]
    #expect(Agreement.verdict(hosts: ["a", "b"], items: [items, items]) == nil)
  }

  @Test("the odd rank, its host and both values are named") func odd() throws {
    let usual = [(name: "seed", value: "1"), (name: "data", value: "x")]
    let odd = [(name: "seed", value: "7"), (name: "data", value: "x")]
    let error = try #require(
      Agreement.verdict(hosts: ["a", "b", "c"], items: [odd, usual, usual]))
    #expect(error.code == .ranksDisagree)
    #expect(error.message.contains("seed: rank 0 (a): 7; most ranks: 1"))
    #expect(!error.message.contains("data:"))
  }

  @Test("a missing item and many differences stay within six lines") func many() throws {
    let usual = (0..<9).map { (name: "item\($0)", value: "\($0)") }
    let error = try #require(Agreement.verdict(hosts: ["a", "b"], items: [usual, []]))
    #expect(error.message.contains("item0: rank 1 (b): (absent); most ranks: 0"))
    #expect(error.message.split(separator: "\n").count <= 6)
  }

  @Test("strings survive the way") func coding() {
    let strings = ["", "a", "größer\n", String(repeating: "x", count: 70_000)]
    #expect(Agreement.decode(Agreement.encode(strings)) == strings)
  }
}
