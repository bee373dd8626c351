// What one thread sums by itself: its shards' gradients, joined to the largest subtrees.
import Tensors

/// A stack of slabs; the slab at each depth is made when first needed and reused in every step.
///
/// Sums are made range by range while a shard's gradient is still in cache: `advance` takes over what
/// the backward pass has finished so far.
final class SubtreeSum {
  private let shards: Range<Int>
  private let count: Int
  private let arithmetic: TreeArithmetic
  private var slabs: [FloatSlab] = []
  private(set) var nodes: [TreeNode] = []
  private var next: Int
  /// Elements of the current shard that have been taken over.
  private var taken = 0

  init(shards: Range<Int>, count: Int, arithmetic: TreeArithmetic) {
    self.shards = shards
    self.count = count
    self.arithmetic = arithmetic
    next = shards.lowerBound
  }

  /// Where the gradient of `shard` is to be written.
  func target(shard: Int) -> UnsafeMutablePointer<Float> {
    precondition(shard == next && shards.contains(shard), "shards come in ascending order")
    if slabs.count == nodes.count { slabs.append(FloatSlab(count: count)) }
    return slabs[nodes.count].base
  }

  /// Takes over elements up to `end` of the leaf being written, and adds up what they complete.
  func advance(shard: Int, to end: Int) {
    precondition(shard == next && slabs.count > nodes.count && end <= count)
    let merges = completed(by: shard)
    let top = nodes.count
    while merges > 0 || arithmetic.roundsLeaves, taken < end {
      // Block by block, so that a sum stays in cache until it is finished.
      let length = min(GradientExchange.reductionBlock, end - taken)
      arithmetic.finishLeaf(slabs[top].base + taken, length)
      for level in 1..<merges + 1 {
        let right = top + 1 - level
        arithmetic.add(
          slabs[right - 1].base + taken, slabs[right].base + taken, length, level: level)
      }
      taken += length
    }
    taken = max(taken, end)
  }

  /// Takes over the rest of the leaf just written.
  func commit(shard: Int) {
    advance(shard: shard, to: count)
    taken = 0
    next += 1
    nodes.append(TreeNode(level: 0, index: shard))
    while joinsTop {
      nodes.removeLast()
      nodes[nodes.count - 1] = nodes[nodes.count - 1].parent
    }
  }

  private var joinsTop: Bool {
    nodes.count > 1 && nodes[nodes.count - 2].isLeftSibling(of: nodes[nodes.count - 1])
  }

  /// How many additions become possible with this leaf.
  private func completed(by shard: Int) -> Int {
    var node = TreeNode(level: 0, index: shard)
    var merges = 0
    while merges < nodes.count, nodes[nodes.count - 1 - merges].isLeftSibling(of: node) {
      node = node.parent
      merges += 1
    }
    return merges
  }

  var isComplete: Bool { next == shards.upperBound }

  func isLast(_ shard: Int) -> Bool { shard == shards.upperBound - 1 }

  /// Slab of the node at the given depth of the stack.
  func base(_ depth: Int) -> UnsafeMutablePointer<Float> { slabs[depth].base }

  /// Forgets the sums; the memory stays.
  func reset() {
    nodes.removeAll(keepingCapacity: true)
    next = shards.lowerBound
  }
}
