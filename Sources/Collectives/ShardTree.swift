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

/// The largest subtrees within a range of shards, with all of their nodes.
struct ShardForest: Sendable {
  struct Node: Sendable {
    let place: TreeNode
    var parent: Int?
    var left: Int?
    var right: Int?
  }

  /// Leaves first, in the order of shards, then children before their parents.
  private(set) var nodes: [Node]
  /// The subtrees' roots in the order of shards.
  private(set) var roots: [Int] = []

  init(_ shards: Range<Int>) {
    nodes = shards.map { Node(place: TreeNode(level: 0, index: $0)) }
    for leaf in nodes.indices {
      var node = leaf
      while let left = roots.last, nodes[left].place.isLeftSibling(of: nodes[node].place) {
        roots.removeLast()
        let parent = nodes.count
        nodes.append(Node(place: nodes[left].place.parent, left: left, right: node))
        nodes[left].parent = parent
        nodes[node].parent = parent
        node = parent
      }
      roots.append(node)
    }
  }
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
    let forest = ShardForest(shards)
    return forest.roots.map { forest.nodes[$0].place }
  }

  /// Slabs that a rank needs at most when `threads` threads compute its shards in ascending order side by
  /// side: what is summed up to a round of shards, and that round's gradients.
  static func slabs(_ shards: Range<Int>, threads: Int) -> Int {
    stride(from: shards.lowerBound, to: shards.upperBound, by: threads).map {
      cover(shards.lowerBound..<$0).count + min(threads, shards.upperBound - $0)
    }.max()!
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
