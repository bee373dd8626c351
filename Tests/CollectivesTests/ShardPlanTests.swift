// Shards, workers and slices: every item exactly once, in order, whatever the division.
import Diagnostics
import Testing

@testable import Collectives

/// Shards, ranks, threads; with divisions that leave a remainder.
let planShapes = [
  (1, 1, 1), (2, 2, 1), (4, 3, 1), (4, 1, 3), (8, 3, 2), (8, 5, 1), (8, 2, 4), (16, 7, 1),
  (16, 3, 5), (16, 1, 16), (32, 6, 3), (64, 13, 2),
]

@Suite("Shard plan") struct ShardPlanTests {
  @Test("workers share the shards without gaps", arguments: planShapes)
  func workers(shards: Int, ranks: Int, threads: Int) throws {
    let plan = try ShardPlan(shards: shards, ranks: ranks, threads: threads)
    var next = 0
    for rank in 0..<ranks {
      let all = plan.shards(rank: rank)
      #expect(all.lowerBound == next)
      let byThread = (0..<threads).map { plan.shards(rank: rank, thread: $0) }
      #expect(byThread.joined().sorted() == Array(all))
      // Turn by turn.
      for (thread, own) in byThread.enumerated() {
        #expect(own.first == all.lowerBound + thread)
        #expect(zip(own, own.dropFirst()).allSatisfy { $1 == $0 + threads })
      }
      next = all.upperBound
    }
    #expect(next == shards)
  }

  @Test("shards share the batch without gaps, evenly", arguments: [1, 7, 8, 100, 256])
  func positions(batch: Int) throws {
    let plan = try ShardPlan(shards: 8, ranks: 1, threads: 1)
    let ranges = (0..<8).map { plan.positions(shard: $0, batch: batch) }
    #expect(ranges.flatMap { Array($0) } == Array(0..<batch))
    #expect(ranges.allSatisfy { $0.count == batch / 8 || $0.count == (batch + 7) / 8 })
  }

  @Test("more workers than shards are refused with the value to set") func tooManyWorkers() {
    let error = #expect(throws: RunError.self) {
      try ShardPlan(shards: 4, ranks: 3, threads: 2)
    }
    #expect(error?.code == .configuration)
    #expect(error?.message.contains("--shards 8") == true)
    #expect(throws: RunError.self) { try ShardPlan(shards: 6, ranks: 1, threads: 1) }
  }

  @Test(
    "slices cover every bucket, buckets the slab",
    arguments: [0, 1, 16_384, 16_385, 100_000, 1_000_003], [1, 2, 3, 7])
  func slices(count: Int, ranks: Int) {
    for bucketBlocks in [1, 2, 7, 64] {
      let layout = SliceLayout(count: count, ranks: ranks, bucketBlocks: bucketBlocks)
      var next = 0
      for bucket in 0..<layout.bucketCount {
        #expect(layout.range(bucket: bucket).lowerBound == next)
        for rank in 0..<ranks {
          let range = layout.owned(rank, bucket: bucket)
          #expect(range.isEmpty || range.lowerBound % GradientExchange.reductionBlock == 0)
          #expect(range.isEmpty || range.lowerBound == next)
          #expect(
            range.isEmpty
              || range.lowerBound
                == layout.ownedBlocks(rank, bucket: bucket).lowerBound
                * GradientExchange.reductionBlock
          )
          next += range.count
        }
        #expect(layout.range(bucket: bucket).upperBound == next)
      }
      #expect(next == count)
      let all = (0..<ranks).map { layout.owned($0) }
      #expect(all.joined().reduce(0) { $0 + $1.count } == count)
      // Large slabs: every rank has its share of every bucket.
      if count / GradientExchange.reductionBlock > 8 * ranks * bucketBlocks {
        let shares = all.map { $0.reduce(0) { $0 + $1.count } }
        #expect(shares.max()! <= 2 * shares.min()!)
      }
    }
  }
}
