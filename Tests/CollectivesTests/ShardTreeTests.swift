// The tree of sums as workers carry it out, against its definition.
import CKernels
import Synchronization
import Tensors
import TestSupport
import Testing

@testable import Collectives

/// Numbers of very different sizes, so that another order of additions gives other bits.
func leafValue(shard: Int, element: Int, step: Int = 0) -> Float {
  let sequence = RandomSequence(seed: 11, purpose: .noise, layer: shard, step: step)
  let value = sequence.uniform(element) - 0.5
  return value * (element % 3 == 0 ? 1e-3 : element % 3 == 1 ? 1 : 1e3)
}

/// The definition: node(level, i) = node(level − 1, 2i) + node(level − 1, 2i + 1); with bf16 every node
/// but the root is rounded.
func treeSum(_ type: ReductionType, shards: Int, leaf: (Int) -> Float) -> Float {
  func node(_ shards: Range<Int>) -> Float {
    shards.count == 1 ? leaf(shards.lowerBound) : child(shards, 0) + child(shards, 1)
  }
  func child(_ shards: Range<Int>, _ side: Int) -> Float {
    let half = shards.count / 2
    let start = shards.lowerBound + side * half
    let sum = node(start..<start + half)
    return type == .bf16 ? nearestBF16(sum) : sum
  }
  return node(0..<shards)
}

@Suite("Shard tree") struct ShardTreeTests {
  @Test(
    "threads and ranks give the bits of the definition, in no more slabs than foreseen",
    .timeLimit(.minutes(5)), arguments: planShapes, ReductionType.allCases)
  func bits(shape: (Int, Int, Int), type: ReductionType) throws {
    let (shards, ranks, threads) = shape
    let arithmetic = TreeArithmetic(type, shards: shards)
    let plan = try ShardPlan(shards: shards, ranks: ranks, threads: threads)
    // More than two blocks.
    let count = 2 * GradientExchange.reductionBlock + 37
    let sums = (0..<ranks).map {
      RankSum(
        shards: plan.shards(rank: $0), threads: threads, count: count, arithmetic: arithmetic)
    }
    for step in 0..<8 {
      var slabs: [UnsafeMutablePointer<Float>] = []
      for (rank, sum) in sums.enumerated() {
        let used = Mutex<Set<UInt>>([])
        sideBySide(threads) { thread in
          for shard in plan.shards(rank: rank, thread: thread) {
            let target = sum.target(shard: shard)
            used.withLock { _ = $0.insert(UInt(bitPattern: target)) }
            for i in 0..<count {
              target[i] = leafValue(shard: shard, element: i % 61, step: step)
              if (i + shard) % 9_000 == 0 { sum.advance(shard: shard, to: i + 1) }
            }
            sum.commit(shard: shard)
          }
        }
        #expect(sum.finished == count)
        #expect(used.withLock(\.count) <= plan.gradientSlabs(rank: rank))
        #expect(sum.sums.count == ShardTree.cover(plan.shards(rank: rank)).count)
        slabs += sum.sums
      }
      let nodes = (0..<ranks).flatMap { ShardTree.cover(plan.shards(rank: $0)) }
      let (merges, remaining) = ShardTree.merges(nodes)
      arithmetic.add(merges, slabs, count)
      #expect(remaining == [0])
      let expected = (0..<61).map { element in
        treeSum(type, shards: shards) { leafValue(shard: $0, element: element, step: step) }
      }
      #expect(
        (0..<count).allSatisfy { slabs[0][$0].bitPattern == expected[$0 % 61].bitPattern })
      for sum in sums { sum.reset() }
    }
  }

  @Test("slabs of a rank: what is summed so far, and a gradient per thread")
  func slabs() {
    // Sums of eight, four, two and one, and the last shard.
    #expect(ShardTree.slabs(0..<16, threads: 1) == 5)
    #expect(ShardTree.slabs(0..<16, threads: 2) == 5)
    #expect(ShardTree.slabs(0..<16, threads: 4) == 6)
    #expect(ShardTree.slabs(0..<16, threads: 16) == 16)
    // 5; 6, 7; 8, 9 stay apart.
    #expect(ShardTree.slabs(5..<11, threads: 1) == 4)
    #expect(ShardTree.slabs(3..<4, threads: 1) == 1)
  }

  @Test("the largest aligned subtrees of a range")
  func cover() {
    let nodes = ShardTree.cover(3..<13)
    #expect(
      nodes == [
        TreeNode(level: 0, index: 3), TreeNode(level: 2, index: 1), TreeNode(level: 2, index: 2),
        TreeNode(level: 0, index: 12),
      ])
  }

  @Test("sum of squares keeps to its order of lanes", arguments: [0, 1, 15, 16, 17, 1000, 16_384])
  func sumOfSquares(count: Int) {
    let values = (0..<count).map { leafValue(shard: 1, element: $0) }
    var lanes = [Double](repeating: 0, count: 16)
    for (i, value) in values.enumerated() { lanes[i % 16] += Double(value) * Double(value) }
    let eight = (0..<8).map { lanes[$0] + lanes[$0 + 8] }
    let four = (0..<4).map { eight[$0] + eight[$0 + 4] }
    let expected = (four[0] + four[2]) + (four[1] + four[3])
    #expect(ck_sum_of_squares(values, count) == expected)
  }
}
