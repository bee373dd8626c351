// What needs several ranks: run the test binary under mpirun with the filter Distributed.
import CKernels
import CMessagePassing
import Foundation
import Tensors
import TestSupport
import Testing

@testable import Collectives

private let isUnderMPI = ProcessInfo.processInfo.environment["OMPI_COMM_WORLD_SIZE"] != nil

@Suite("Distributed", .serialized, .enabled(if: isUnderMPI)) struct DistributedTests {
  private static let group: ProcessGroup = {
    atexit { _ = cmp_finalize() }
    do {
      let group = try ProcessGroup()
      group.stallTimeout = 30
      return group
    } catch { fatalError("\(error)") }
  }()
  let group = Self.group

  @Test("small messages arrive in the order of ranks") func messages() throws {
    try group.barrier()
    let numbers = try group.allGather([Double(group.rank), 0.5])
    #expect(numbers == (0..<group.size).map { [Double($0), 0.5] })
    let bytes = try group.allGather([UInt8](repeating: UInt8(group.rank), count: 3 * group.rank))
    #expect(bytes == (0..<group.size).map { [UInt8](repeating: UInt8($0), count: 3 * $0) })
    let word = try group.broadcast(group.rank == 0 ? Array("word".utf8) : [])
    #expect(word == Array("word".utf8))
  }

  @Test(
    "the exchange gives the bits of the tree", arguments: [1, 100, 50_001, 200_000], [1, 3])
  func exchange(count: Int, threads: Int) throws {
    let plan = try ShardPlan(shards: 32, ranks: group.size, threads: threads)
    let ways: [(Bool, Int, ReductionType)] = [
      (false, 64, .fp32), (true, 64, .fp32), (true, 1, .fp32), (true, 5, .fp32), (false, 5, .fp32),
      (false, 64, .bf16), (true, 64, .bf16), (true, 1, .bf16), (false, 5, .bf16),
    ]
    for (overlaps, bucketBlocks, type) in ways {
      let exchange = GradientExchange(
        group: group, plan: plan, count: count, mode: .invariant, type: type, overlaps: overlaps,
        bucketBlocks: bucketBlocks)
      for step in 0..<2 {
        fill(exchange, step: step)
        try exchange.reduce()
        let owned = exchange.ownedRanges.flatMap { Array($0) }
        #expect(owned.count == exchange.ownedCount)
        for (place, element) in owned.enumerated() {
          let expected = treeSum(type, shards: 32) { cheapLeaf($0, element, step) }
          let found = exchange.owned[place]
          if found != expected {
            Issue.record("element \(element): \(found), expected \(expected)")
            break
          }
        }
        let parameters = FloatSlab(count: count)
        for (place, element) in owned.enumerated() {
          parameters.base[element] = exchange.owned[place]
        }
        let squares = try exchange.globalSumOfSquares()
        try exchange.allGatherParameters(parameters.base)
        for element in [0, count / 2, count - 1] {
          #expect(
            parameters.base[element]
              == treeSum(type, shards: 32) { cheapLeaf($0, element, step) })
        }
        // Block by block, whoever owns them.
        let reference = stride(from: 0, to: count, by: GradientExchange.reductionBlock).reduce(0.0)
        {
          let length = min(GradientExchange.reductionBlock, count - $1)
          return $0 + ck_sum_of_squares(parameters.base + $1, length)
        }
        #expect(squares == reference)
        #expect(Set(try group.allGather([squares]).map { $0[0] }).count == 1)
        let own = FloatSlab(count: exchange.ownedCount)
        exchange.pickSlices(of: parameters.base, into: own.base)
        let twice = FloatSlab(count: exchange.ownedCount)
        for i in 0..<exchange.ownedCount { twice.base[i] = 2 * own.base[i] }
        let whole = try exchange.gatherSlices([own, twice].map { UnsafePointer($0.base) })
        #expect(whole.count == (group.rank == 0 ? 2 : 0))
        for (slab, factor) in zip(whole, [Float(1), 2]) {
          #expect((0..<count).allSatisfy { slab[$0] == factor * parameters.base[$0] })
        }
        let everywhere = try exchange.gatherSlicesEverywhere(twice)
        #expect((0..<count).allSatisfy { everywhere.base[$0] == 2 * parameters.base[$0] })
        withExtendedLifetime((own, twice)) {}
      }
    }
  }

  @Test("any shards, sizes, threads and buckets give the bits of the tree", arguments: 0..<16)
  func randomShapes(seed: Int) throws {
    // The same numbers on all ranks.
    let numbers = RandomSequence(seed: UInt64(seed), purpose: .testInput)
    func choose(_ place: Int, _ range: ClosedRange<Int>) -> Int {
      range.lowerBound + Int(numbers.uniform(place) * Float(range.count))
    }
    var shards = 1 << choose(0, 0...6)
    let threads = choose(1, 1...3)
    while shards < group.size * threads { shards *= 2 }
    let count = choose(2, 1...90_000)
    let type: ReductionType = seed % 4 == 0 ? .fp32 : .bf16
    let exchange = GradientExchange(
      group: group, plan: try ShardPlan(shards: shards, ranks: group.size, threads: threads),
      count: count, mode: .invariant, type: type, overlaps: seed % 2 == 0,
      bucketBlocks: choose(3, 1...6))
    for step in 0..<2 {
      fill(exchange, step: step)
      try exchange.reduce()
      for (place, element) in exchange.ownedRanges.flatMap({ Array($0) }).enumerated() {
        let expected = treeSum(type, shards: shards) { cheapLeaf($0, element, step) }
        let found = exchange.owned[place]
        if found.bitPattern != expected.bitPattern {
          Issue.record("\(shards) shards, element \(element): \(found), expected \(expected)")
          break
        }
      }
    }
  }

  @Test("all ranks choose one size of buckets", arguments: [1_000, 2_000_000], [false, true])
  func bucketChoice(count: Int, overlaps: Bool) throws {
    let plan = try ShardPlan(shards: 16, ranks: group.size, threads: 1)
    let choice = try BucketChoice.measure(
      group: group, plan: plan, count: count, type: .bf16, overlaps: overlaps)
    #expect(choice.candidates.contains(choice.megabytes))
    #expect(choice.candidates.count == (group.size > 1 && count > 1_000 ? 2 : 1))
    let all = try group.allGather([Double(choice.megabytes)])
    #expect(Set(all).count == 1)
  }

  @Test("what is not finite arrives", arguments: ReductionType.allCases)
  func notFinite(type: ReductionType) throws {
    let plan = try ShardPlan(shards: 8, ranks: group.size, threads: 1)
    let exchange = GradientExchange(
      group: group, plan: plan, count: 3, mode: .invariant, type: type, overlaps: true)
    for shard in plan.shards(rank: group.rank) {
      let target = exchange.gradientTarget(shard: shard)
      // The last shard's values come from the last rank.
      target[0] = shard == 7 ? Float(bitPattern: 0x7F80_0001) : 1
      target[1] = shard == 7 ? -.infinity : 1
      target[2] = 1
      exchange.commit(shard: shard)
    }
    try exchange.reduce()
    let sums = FloatSlab(count: 3)
    for (place, element) in exchange.ownedRanges.joined().enumerated() {
      sums.base[element] = exchange.owned[place]
    }
    try exchange.allGatherParameters(sums.base)
    #expect(sums.base[0].isNaN && sums.base[1] == -.infinity && sums.base[2] == 8)
  }

  @Test("bf16 sends half the bytes of gradients, and parameters as they are")
  func bytes() throws {
    let plan = try ShardPlan(shards: 8, ranks: group.size, threads: 1)
    let count = 100_001
    let parameters = FloatSlab(count: count)
    var gradientBytes: [Int] = []
    for type in ReductionType.allCases {
      let exchange = GradientExchange(
        group: group, plan: plan, count: count, mode: .invariant, type: type, overlaps: true)
      fill(exchange, step: 0)
      try exchange.reduce()
      gradientBytes.append(exchange.bytesSent)
      try exchange.allGatherParameters(parameters.base)
      #expect(
        exchange.bytesSent - gradientBytes.last! == 4 * exchange.ownedCount * (group.size - 1))
      let nodes = ShardTree.cover(plan.shards(rank: group.rank)).count
      let width = type == .bf16 ? 2 : 4
      let sent = group.size == 1 ? 0 : nodes * (count - exchange.ownedCount) * width
      #expect(gradientBytes.last == sent)
    }
    #expect(gradientBytes[0] == 2 * gradientBytes[1])
  }

  @Test("MPI's own all-reduce is close to the tree") func allReduce() throws {
    let plan = try ShardPlan(shards: 32, ranks: group.size, threads: 2)
    let exchange = GradientExchange(
      group: group, plan: plan, count: 40_000, mode: .mpi, overlaps: false)
    fill(exchange, step: 0)
    try exchange.reduce()
    for (place, i) in exchange.ownedRanges.flatMap({ Array($0) }).enumerated() where i % 97 == 0 {
      let expected = (0..<32).reduce(0.0) { $0 + Double(cheapLeaf($1, i, 0)) }
      let found = Double(exchange.owned[place])
      // 32 additions of numbers below 1000, half a unit in the last place of 32,000 each.
      #expect(abs(found - expected) < 32 * 1e-3)
    }
  }

  @Test("an odd rank is found by all") func disagreement() throws {
    try Agreement.check(group, [("seed", "1")])
    guard group.size > 2 else { return }
    let error = #expect(throws: (any Error).self) {
      try Agreement.check(group, [("seed", group.rank == 1 ? "2" : "1")])
    }
    #expect("\(error!)".contains("rank 1 (\(group.hostName)): 2; most ranks: 1"))
  }

  private func fill(_ exchange: GradientExchange, step: Int) {
    sideBySide(exchange.plan.threads) { thread in
      for shard in exchange.plan.shards(rank: group.rank, thread: thread) {
        let target = exchange.gradientTarget(shard: shard)
        for i in 0..<exchange.count {
          target[i] = cheapLeaf(shard, i, step)
          // Now and then, as the backward pass does.
          if i % 30_000 == 77 * shard { exchange.advance(shard: shard, to: i + 1) }
        }
        exchange.commit(shard: shard)
      }
    }
  }
}

/// Like `leafValue`, for many elements: sizes between 1e-3 and 1e3.
private func cheapLeaf(_ shard: Int, _ element: Int, _ step: Int) -> Float {
  let hash = UInt32(truncatingIfNeeded: (element * 64 + shard) * 2 + step) &* 2_654_435_761
  let value = Float(hash >> 8) * 0x1p-24 - 0.5
  return value * (element % 3 == 0 ? 1e-3 : element % 3 == 1 ? 1 : 1e3)
}
