// The tree of sums as workers carry it out, against its definition.
import CKernels
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
    "threads and ranks give the bits of the definition", arguments: planShapes,
    ReductionType.allCases)
  func bits(shape: (Int, Int, Int), type: ReductionType) throws {
    let (shards, ranks, threads) = shape
    let arithmetic = TreeArithmetic(type, shards: shards)
    let plan = try ShardPlan(shards: shards, ranks: ranks, threads: threads)
    let count = 37
    var slabs: [UnsafeMutablePointer<Float>] = []
    var sums: [SubtreeSum] = []
    var nodes: [TreeNode] = []
    for rank in 0..<ranks {
      var rankNodes: [TreeNode] = []
      var rankSlabs: [UnsafeMutablePointer<Float>] = []
      for thread in 0..<threads {
        let range = plan.shards(rank: rank, thread: thread)
        let sum = SubtreeSum(shards: range, count: count, arithmetic: arithmetic)
        for shard in range {
          let target = sum.target(shard: shard)
          for i in 0..<count { target[i] = leafValue(shard: shard, element: i) }
          sum.commit(shard: shard)
        }
        #expect(sum.isComplete)
        #expect(sum.nodes == ShardTree.cover(range))
        rankNodes += sum.nodes
        rankSlabs += sum.nodes.indices.map { sum.base($0) }
        sums.append(sum)
      }
      let (merges, remaining) = ShardTree.merges(rankNodes)
      arithmetic.add(merges, rankSlabs, count)
      let cover = ShardTree.cover(plan.shards(rank: rank))
      #expect(remaining.count == cover.count)
      nodes += cover
      slabs += remaining.map { rankSlabs[$0] }
    }
    let (merges, remaining) = ShardTree.merges(nodes)
    arithmetic.add(merges, slabs, count)
    #expect(remaining == [0])
    withExtendedLifetime(sums) {
      for i in 0..<count {
        let expected = treeSum(type, shards: shards) { leafValue(shard: $0, element: i) }
        #expect(slabs[0][i].bitPattern == expected.bitPattern)
      }
    }
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
