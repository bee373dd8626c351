// What one rank sums by itself: the gradients of its shards, joined to the largest subtrees.
import Foundation
import Tensors

/// The rank's part of the canonical tree. Its threads compute shards side by side and add up on the way,
/// block by block: whoever makes a sum possible makes it, while its own gradient is still in cache.
///
/// A node lies in the slab of its left child, and the slab of the right child is free again as soon as
/// their sum is complete. Shards get slabs in ascending order and wait for a free one, so that a rank of
/// T threads and V shards holds about log2(V / T) + T slabs, and no thread runs far ahead of another.
final class RankSum: @unchecked Sendable {
  /// How far a node of the forest is.
  private struct Progress {
    /// Index of the slab that holds it, once it has one.
    var slab = -1
    /// Elements that are final.
    var finished = 0
    /// Some thread is adding a block of it up.
    var isBusy = false
  }

  /// A block of one addition.
  private struct Addition {
    let left: UnsafeMutablePointer<Float>
    let right: UnsafePointer<Float>
    let count: Int
  }

  private let shards: Range<Int>
  private let count: Int
  private let arithmetic: TreeArithmetic
  private let forest: ShardForest
  private let mostSlabs: Int
  private let condition = NSCondition()
  // Guarded by the condition.
  private var slabs: [FloatSlab] = []
  private var free: [Int] = []
  private var nodes: [Progress]
  private var next: Int

  /// - Parameters:
  ///   - threads: that ask for shards side by side, `threads` shards apart each.
  ///   - count: floats of a gradient.
  init(shards: Range<Int>, threads: Int, count: Int, arithmetic: TreeArithmetic) {
    self.shards = shards
    self.count = count
    self.arithmetic = arithmetic
    forest = ShardForest(shards)
    mostSlabs = ShardTree.slabs(shards, threads: threads)
    nodes = [Progress](repeating: Progress(), count: forest.nodes.count)
    next = shards.lowerBound
  }

  /// Where the gradient of `shard` is to be written; waits for the shards before it, and for a slab.
  func target(shard: Int) -> UnsafeMutablePointer<Float> {
    condition.lock()
    defer { condition.unlock() }
    precondition(shards.contains(shard) && shard >= next, "every shard is summed once")
    while shard != next || (free.isEmpty && slabs.count >= mostSlabs) { condition.wait() }
    next += 1
    condition.broadcast()
    if free.isEmpty { addSlab() }
    let slab = free.removeLast()
    nodes[shard - shards.lowerBound].slab = slab
    return slabs[slab].base
  }

  /// The shard's gradient is final up to element `end`: adds up what that completes.
  func advance(shard: Int, to end: Int) {
    let leaf = shard - shards.lowerBound
    condition.lock()
    precondition(nodes[leaf].slab >= 0 && end <= count)
    let base = slabs[nodes[leaf].slab].base
    var finished = nodes[leaf].finished
    condition.unlock()
    while finished < end {
      let length = min(GradientExchange.reductionBlock, end - finished)
      arithmetic.finishLeaf(base + finished, length)
      finished += length
      finish(leaf, length)
      addUp(above: leaf)
    }
  }

  /// The shard's gradient is final.
  func commit(shard: Int) { advance(shard: shard, to: count) }

  /// Elements that are final in all of the rank's subtrees.
  var finished: Int {
    condition.lock()
    defer { condition.unlock() }
    return forest.roots.map { nodes[$0].finished }.min()!
  }

  /// Slabs of the rank's subtrees, valid until the first `target` after `reset`.
  var sums: [UnsafeMutablePointer<Float>] {
    condition.lock()
    defer { condition.unlock() }
    return forest.roots.map { slabs[nodes[$0].slab].base }
  }

  /// Forgets the sums; the memory stays.
  func reset() {
    condition.lock()
    defer { condition.unlock() }
    for node in nodes.indices {
      nodes[node].finished = 0
      nodes[node].isBusy = false
    }
    free = Array(slabs.indices)
    next = shards.lowerBound
  }

  /// Memory for other use between `reset` and the first `target`.
  func borrow(_ number: Int) -> FloatSlab {
    condition.lock()
    defer { condition.unlock() }
    while slabs.count <= number { addSlab() }
    return slabs[number]
  }

  private func addSlab() {
    free.append(slabs.count)
    slabs.append(FloatSlab(count: count))
  }

  private func finish(_ node: Int, _ length: Int) {
    condition.lock()
    defer { condition.unlock() }
    nodes[node].finished += length
    nodes[node].isBusy = false
    guard nodes[node].finished == count, let right = forest.nodes[node].right else { return }
    free.append(nodes[right].slab)
    condition.broadcast()
  }

  /// Adds up what is ready in the parent of `child`, and above. A sum that another thread is at is left
  /// to it: it looks again when it has finished its block.
  private func addUp(above child: Int) {
    guard let parent = forest.nodes[child].parent else { return }
    while let addition = claim(parent) {
      arithmetic.add(
        addition.left, addition.right, addition.count, level: forest.nodes[parent].place.level)
      finish(parent, addition.count)
      addUp(above: parent)
    }
  }

  private func claim(_ node: Int) -> Addition? {
    condition.lock()
    defer { condition.unlock() }
    guard let left = forest.nodes[node].left, let right = forest.nodes[node].right else {
      return nil
    }
    let finished = nodes[node].finished
    let ready = min(nodes[left].finished, nodes[right].finished)
    guard !nodes[node].isBusy, ready > finished else { return nil }
    nodes[node].isBusy = true
    nodes[node].slab = nodes[left].slab
    return Addition(
      left: slabs[nodes[left].slab].base + finished,
      right: slabs[nodes[right].slab].base + finished,
      count: min(GradientExchange.reductionBlock, ready - finished))
  }
}
