// The canonical binary tree over shards, along which all gradients are summed.

/// A node of the tree: node(level, i) = node(level − 1, 2i) + node(level − 1, 2i + 1); leaves,
/// level 0, are shards.
struct TreeNode: Equatable, Sendable {
  var level: Int
  var index: Int

  /// Whether `self` and `right` are the left and the right child of one node.
  func isLeftSibling(of right: TreeNode) -> Bool {
    level == right.level && index % 2 == 0 && right.index == index + 1
  }

  var parent: TreeNode { TreeNode(level: level + 1, index: index / 2) }
}

/// One addition: the node in slot `into` becomes the sum of itself and of the node in slot `from`, a node
/// at `level`.
struct TreeMerge: Equatable, Sendable {
  let into: Int
  let from: Int
  let level: Int
}

enum ShardTree {
  /// The largest subtrees within a range of shards, in ascending order.
  static func cover(_ shards: Range<Int>) -> [TreeNode] {
    var nodes: [TreeNode] = []
    for shard in shards {
      nodes.append(TreeNode(level: 0, index: shard))
      while nodes.count > 1, nodes[nodes.count - 2].isLeftSibling(of: nodes[nodes.count - 1]) {
        nodes[nodes.count - 2] = nodes[nodes.count - 2].parent
        nodes.removeLast()
      }
    }
    return nodes
  }

  /// The additions that join neighbouring nodes as far as the tree allows, in order, and the slots
  /// that hold the nodes left over.
  static func merges(_ nodes: [TreeNode]) -> (merges: [TreeMerge], remaining: [Int]) {
    var merges: [TreeMerge] = []
    var stack: [(node: TreeNode, slot: Int)] = []
    for (slot, node) in nodes.enumerated() {
      stack.append((node, slot))
      while stack.count > 1,
        stack[stack.count - 2].node.isLeftSibling(of: stack[stack.count - 1].node)
      {
        let right = stack.removeLast()
        let left = stack.removeLast()
        let parent = left.node.parent
        merges.append(TreeMerge(into: left.slot, from: right.slot, level: parent.level))
        stack.append((parent, left.slot))
      }
    }
    return (merges, stack.map(\.slot))
  }
}
