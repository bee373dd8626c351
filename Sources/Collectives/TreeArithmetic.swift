// How the sums of the canonical tree are made: in fp32, and rounded or not where ranks could meet.
import CKernels

/// In what form gradients travel between ranks.
public enum ReductionType: String, Sendable, CaseIterable {
  case fp32
  /// Half the bytes, rounded to nearest even. What is summed is summed in fp32.
  case bf16
}

/// With bf16 every node of the tree except the root is rounded once its sum is finished, sent or not:
/// so the bits do not depend on where ranks and threads cut the tree.
///
///     leaf = round(gradient of a shard)
///     node(level, i) = round(node(level − 1, 2i) + node(level − 1, 2i + 1)) below the root
struct TreeArithmetic: Sendable {
  let type: ReductionType
  /// Level of the root; 0 when the only leaf is the root.
  private let rootLevel: Int

  /// - Parameter shards: leaves of the tree, a power of two.
  init(_ type: ReductionType, shards: Int) {
    self.type = type
    rootLevel = shards.trailingZeroBitCount
  }

  private func rounds(level: Int) -> Bool { type == .bf16 && level < rootLevel }

  /// Whether a leaf needs `finishLeaf`.
  var roundsLeaves: Bool { rounds(level: 0) }

  /// Makes a shard's gradient a leaf, in place.
  func finishLeaf(_ values: UnsafeMutablePointer<Float>, _ count: Int) {
    if roundsLeaves { ck_round_bf16(values, count) }
  }

  /// Makes `left` the node at `level` whose children are `left` and `right`.
  func add(
    _ left: UnsafeMutablePointer<Float>, _ right: UnsafePointer<Float>, _ count: Int, level: Int
  ) {
    if rounds(level: level) { ck_add_bf16(left, right, count) } else { ck_add(left, right, count) }
  }

  /// Carries out additions between nodes of `count` floats each.
  func add(_ merges: [TreeMerge], _ nodes: [UnsafeMutablePointer<Float>], _ count: Int) {
    guard !merges.isEmpty else { return }
    for first in stride(from: 0, to: count, by: GradientExchange.reductionBlock) {
      // Block by block, so that a sum stays in cache until it is finished.
      let length = min(GradientExchange.reductionBlock, count - first)
      for merge in merges {
        add(nodes[merge.into] + first, nodes[merge.from] + first, length, level: merge.level)
      }
    }
  }
}
