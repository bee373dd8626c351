// The all-to-all of one bucket: every rank gets its slice of all nodes and finishes the tree there.
import CKernels
import Tensors

/// Room and messages for one bucket at a time. All ranks exchange the same buckets in the same order.
final class SliceExchange {
  /// Bytes this rank sent.
  private(set) var bytesSent = 0

  private let group: ProcessGroup
  private let layout: SliceLayout
  private let arithmetic: TreeArithmetic
  /// Nodes of every rank in the order of shards: who holds them, and the additions up to the root.
  private let nodeRanks: [Int]
  private let merges: [TreeMerge]
  /// Other ranks' nodes, one slice each.
  private let received: FloatSlab
  /// With bf16: what comes in and goes out, two bytes a value.
  private let packedReceived: PackedSlab
  private let packedSent: PackedSlab

  /// - Parameter plan: for as many ranks as the group has.
  init(
    group: ProcessGroup, plan: ShardPlan, layout: SliceLayout, arithmetic: TreeArithmetic
  ) {
    self.group = group
    self.layout = layout
    self.arithmetic = arithmetic
    let covers = (0..<plan.ranks).map { ShardTree.cover(plan.shards(rank: $0)) }
    nodeRanks = covers.enumerated().flatMap { [Int](repeating: $0.offset, count: $0.element.count) }
    merges = ShardTree.merges(covers.flatMap { $0 }).merges
    let buckets = 0..<layout.bucketCount
    let slice = buckets.map { layout.owned(group.rank, bucket: $0).count }.max()!
    let foreign = nodeRanks.count { $0 != group.rank } * slice
    let sent = covers[group.rank].count * buckets.map { layout.range(bucket: $0).count }.max()!
    let packs = arithmetic.type == .bf16 && group.size > 1
    received = FloatSlab(count: foreign)
    packedReceived = PackedSlab(count: packs ? foreign : 0)
    packedSent = PackedSlab(count: packs ? sent : 0)
  }

  /// Sends every other rank its slice of this rank's nodes and finishes the tree for the own slice.
  ///
  /// - Parameter nodes: for each node of this rank, where its elements of the bucket begin; overwritten.
  /// - Returns: the sums of the own slice, valid until the next call.
  func exchange(
    bucket: Int, nodes: [UnsafeMutablePointer<Float>]
  ) throws -> UnsafeMutablePointer<Float> {
    let start = layout.range(bucket: bucket).lowerBound
    let slice = layout.owned(group.rank, bucket: bucket)
    var all: [UnsafeMutablePointer<Float>] = []
    var ownNodes = nodes.makeIterator()
    var room = received.base
    for rank in nodeRanks {
      if rank == group.rank {
        all.append(ownNodes.next()! + (slice.lowerBound - start))
      } else {
        all.append(room)
        room += slice.count
      }
    }
    for peer in group.otherRanks {
      for (slot, rank) in nodeRanks.enumerated() where rank == peer {
        try receive(into: all[slot], slice.count, from: peer)
      }
    }
    var packed = packedSent.base
    for peer in group.otherRanks {
      let theirs = layout.owned(peer, bucket: bucket)
      for node in nodes {
        try send(node + (theirs.lowerBound - start), theirs.count, to: peer, packed: packed)
        packed += arithmetic.type == .bf16 ? theirs.count : 0
      }
    }
    try group.waitForMessages("the exchange of gradients")
    if arithmetic.type == .bf16 {
      let count = room - received.base
      ck_bf16_to_floats(received.base, count, packedReceived.base, count, 1, count)
    }
    arithmetic.add(merges, all, slice.count)
    return all[0]
  }

  private func receive(
    into room: UnsafeMutablePointer<Float>, _ count: Int, from peer: Int
  ) throws {
    switch arithmetic.type {
    case .fp32: try group.receive(floats: room, count: count, from: peer, tag: .slice)
    case .bf16:
      // The same place in both slabs.
      let packed = packedReceived.base + (room - received.base)
      try group.receive(packed, bytes: 2 * count, from: peer, tag: .slice)
    }
  }

  private func send(
    _ values: UnsafePointer<Float>, _ count: Int, to peer: Int,
    packed: UnsafeMutablePointer<UInt16>
  ) throws {
    switch arithmetic.type {
    case .fp32:
      try group.send(floats: values, count: count, to: peer, tag: .slice)
      bytesSent += 4 * count
    case .bf16:
      ck_floats_to_bf16(packed, count, values, count, 1, count)
      try group.send(packed, bytes: 2 * count, to: peer, tag: .slice)
      bytesSent += 2 * count
    }
  }
}

/// Room for bf16 numbers.
private final class PackedSlab {
  let base: UnsafeMutablePointer<UInt16>
  private let slab: FloatSlab

  init(count: Int) {
    slab = FloatSlab(count: (count + 1) / 2)
    base = UnsafeMutableRawPointer(slab.base).bindMemory(to: UInt16.self, capacity: max(count, 1))
  }
}
