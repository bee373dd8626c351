// Whom a check of the weights blames.
import Testing

@testable import Training

@Suite("Weight check") struct WeightCheckTests {
  private func message(_ fingerprints: [Double]) -> String? {
    let hosts = fingerprints.indices.map { "host-\($0)" }
    do {
      try checkWeights(fingerprints.map { [$0, 7] }, hosts: hosts, "Before step 3")
      return nil
    } catch { return (error as? SharedError)?.error.message }
  }

  @Test("equal weights pass") func equal() { #expect(message([1, 1, 1]) == nil) }

  @Test("the odd rank is named with its host") func odd() throws {
    let text = try #require(message([1, 2, 1]))
    #expect(text.hasPrefix("Before step 3 the weights of rank 1 (host-1) differ from those of the"))
    #expect(!text.contains("host-0") && !text.contains("host-2"))
  }

  @Test("where nobody can tell who is right, both sides are named") func tie() throws {
    let text = try #require(message([1, 2]))
    #expect(text.contains("rank 0 (host-0)") && text.contains("rank 1 (host-1)"))
    #expect(text.contains("one of these hosts"))
  }
}
