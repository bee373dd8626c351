// Which sizes of buckets are worth measuring.
import Testing

@testable import Collectives

@Suite("Choice of buckets") struct BucketChoiceTests {
  @Test(
    "sizes that make different buckets",
    arguments: [
      (0, 2, [1]), (1_000, 2, [1]), (250_000, 2, [1]), (1_000_000, 2, [1, 4]),
      (5_479_306, 2, [1, 4, 16]), (85_000_000, 2, [1, 4, 16]),
      // Every rank wants a block of each bucket.
      (1_000_000, 64, [1]), (5_479_306, 64, [1, 16]),
    ])
  func candidates(count: Int, ranks: Int, expected: [Int]) {
    #expect(BucketChoice.candidates(count: count, ranks: ranks) == expected)
  }
}
