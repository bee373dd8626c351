// What needs several ranks: run the test binary under mpirun with the filter Distributed.
import CMessagePassing
import Foundation
import Tensors
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

  @Test("floats are gathered on rank 0") func gather() throws {
    let counts = (0..<group.size).map { 5 * $0 + 1 }
    let mine = [Float](repeating: Float(group.rank), count: counts[group.rank])
    let out = FloatSlab(count: counts.reduce(0, +))
    try group.gatherFloats(mine, counts: counts, to: group.rank == 0 ? out.base : nil)
    guard group.rank == 0 else { return }
    #expect(
      Array(out.buffer) == counts.enumerated().flatMap { [Float](repeating: Float($0), count: $1) })
  }

  @Test(
    "the exchange gives the bits of the tree", arguments: [1, 100, 50_001, 200_000], [1, 3])
  func exchange(count: Int, threads: Int) throws {
    let plan = try ShardPlan(shards: 32, ranks: group.size, threads: threads)
    for (overlaps, bucketBlocks) in [(false, 64), (true, 64), (true, 1), (true, 5), (false, 5)] {
      let exchange = GradientExchange(
        group: group, plan: plan, count: count, mode: .invariant, overlaps: overlaps,
        bucketBlocks: bucketBlocks)
      for step in 0..<2 {
        fill(exchange, step: step)
        try exchange.reduce()
        let owned = exchange.ownedRanges.flatMap { Array($0) }
        #expect(owned.count == exchange.ownedCount)
        for (place, element) in owned.enumerated() {
          let expected = treeSum(level: 5, index: 0) { cheapLeaf($0, element, step) }
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
              == treeSum(level: 5, index: 0) { cheapLeaf($0, element, step) })
        }
        let reference = parameters.buffer.reduce(0.0) { $0 + Double($1) * Double($1) }
        #expect(abs(squares - reference) <= 1e-9 * reference)
        #expect(Set(try group.allGather([squares]).map { $0[0] }).count == 1)
        let own = FloatSlab(count: exchange.ownedCount)
        exchange.pickSlices(of: parameters.base, into: own.base)
        let whole = group.rank == 0 ? FloatSlab(count: count) : nil
        try exchange.gatherSlices(own.base, to: whole?.base)
        if let whole { #expect(Array(whole.buffer) == Array(parameters.buffer)) }
      }
    }
  }

  @Test("MPI's own all-reduce is close to the tree") func allReduce() throws {
    let plan = try ShardPlan(shards: 32, ranks: group.size, threads: 2)
    let exchange = GradientExchange(group: group, plan: plan, count: 40_000, mode: .mpi)
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
    for thread in 0..<exchange.plan.threads {
      for shard in exchange.plan.shards(rank: group.rank, thread: thread) {
        let target = exchange.gradientTarget(thread: thread, shard: shard)
        for i in 0..<exchange.count {
          target[i] = cheapLeaf(shard, i, step)
          // Now and then, as the backward pass does.
          if i % 30_000 == 77 * shard { exchange.advance(thread: thread, shard: shard, to: i + 1) }
        }
        exchange.commit(thread: thread, shard: shard)
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
