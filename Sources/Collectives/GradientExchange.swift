// Sums the gradients of all shards of all ranks in one fixed order, whoever computed them.
import CKernels
import CMessagePassing
import Diagnostics
import Tensors

/// How gradients are summed over ranks.
public enum ReductionMode: String, Sendable, CaseIterable {
  /// Along the canonical tree over shards: the same bits for any number of ranks and threads.
  case invariant
  /// MPI's own all-reduce, for comparison: the bits depend on ranks and threads.
  case mpi
}

/// One step: every thread asks for a `gradientTarget` and calls `commit` for each of its shards
/// (`ShardPlan`), with `advance` on the way if it likes; when all threads have joined, `reduce`
/// leaves the sum over all shards of the slices this rank owns in `owned`; after the update
/// `allGatherParameters` gives them to everyone.
///
/// The canonical tree: node(level, i) = node(level − 1, 2i) + node(level − 1, 2i + 1) over shards.
/// A rank's threads sum the subtrees it holds; what remains goes, slice by slice, to the slice's owner,
/// who finishes the tree. So the result depends on the number of shards only.
///
/// Slices travel in buckets. With `overlaps` a thread of its own exchanges a bucket as soon as the
/// backward passes of a rank's last shards have finished it; else `reduce` exchanges all of them.
public final class GradientExchange: @unchecked Sendable {
  /// Floats per block: the unit of slices and of sums of squares.
  public static let reductionBlock = 16_384
  /// Blocks of a bucket: 4 MB of gradients, large beside a message's latency.
  public static let defaultBucketBlocks = 64

  public let plan: ShardPlan
  /// Floats of a gradient slab.
  public let count: Int
  public let mode: ReductionMode
  /// In what form gradients travel; parameters always travel in fp32.
  public let type: ReductionType
  /// The slices of this rank, ascending; `owned` holds them one after the other.
  public let ownedRanges: [Range<Int>]
  public let ownedCount: Int
  /// Seconds this rank was held up in `reduce`, `globalSumOfSquares` and `allGatherParameters`.
  public private(set) var secondsInExchange = 0.0
  /// Bytes this rank sent (in mode mpi: at least, as if by the best algorithm).
  public var bytesSent: Int { otherBytesSent + slices.bytesSent }

  let group: ProcessGroup
  let layout: SliceLayout
  let sum: RankSum
  private let arithmetic: TreeArithmetic
  private let slices: SliceExchange
  /// Beside the slices of gradients.
  private var otherBytesSent = 0
  /// The finished sums of this rank's slices; a rank alone keeps them where they are.
  private let finished: FloatSlab?
  private var partials: [Double]
  private var overlap: OverlapThread?
  private let timeline: Timeline?

  /// - Parameters:
  ///   - plan: for as many ranks as the group has.
  ///   - count: floats of a gradient slab.
  ///   - type: fp32 with mode mpi.
  ///   - overlaps: exchange while others compute, with more than one rank: until `reduce` returns, no other
  ///     thread may call MPI.
  ///   - bucketBlocks: blocks of a bucket.
  ///   - timeline: where to record what happens when.
  public init(
    group: ProcessGroup, plan: ShardPlan, count: Int, mode: ReductionMode,
    type: ReductionType = .fp32, overlaps: Bool,
    bucketBlocks: Int = GradientExchange.defaultBucketBlocks, timeline: Timeline? = nil
  ) {
    precondition(plan.ranks == group.size && count >= 0)
    precondition(mode == .invariant || type == .fp32, "MPI sums what it is given")
    self.group = group
    self.plan = plan
    self.count = count
    self.mode = mode
    self.type = type
    self.timeline = timeline
    let arithmetic = TreeArithmetic(type, shards: plan.shards)
    self.arithmetic = arithmetic
    let layout = SliceLayout(count: count, ranks: plan.ranks, bucketBlocks: bucketBlocks)
    self.layout = layout
    ownedRanges = layout.owned(group.rank)
    ownedCount = ownedRanges.reduce(0) { $0 + $1.count }
    sum = RankSum(
      shards: plan.shards(rank: group.rank), threads: plan.threads, count: count,
      arithmetic: arithmetic)
    slices = SliceExchange(group: group, plan: plan, layout: layout, arithmetic: arithmetic)
    finished = group.size > 1 ? FloatSlab(count: ownedCount) : nil
    partials = [Double](repeating: 0, count: layout.blockCount)
    if overlaps, group.size > 1, mode == .invariant {
      let thread = OverlapThread(
        ends: (0..<layout.bucketCount).map { layout.range(bucket: $0).upperBound }
      ) { [unowned self] in try exchangeBucket($0) }
      thread.start()
      overlap = thread
    }
  }

  deinit { overlap?.stop() }

  /// Memory for the gradient of one shard, `count` floats, to be overwritten: it holds old values. Waits
  /// for the rank's shards before it to have theirs, and until there is room.
  public func gradientTarget(shard: Int) -> UnsafeMutablePointer<Float> {
    sum.target(shard: shard)
  }

  /// The shard's gradient is final up to element `end`. Threads may call this side by side.
  public func advance(shard: Int, to end: Int) {
    sum.advance(shard: shard, to: end)
    overlap?.report(position: sum.finished)
  }

  /// Takes over the gradient just written. Threads may call this side by side.
  public func commit(shard: Int) { advance(shard: shard, to: count) }

  /// Sums over all shards of all ranks, after all threads have committed all of their shards.
  public func reduce() throws {
    let clock = Stopwatch()
    defer { secondsInExchange += clock.seconds }
    precondition(sum.finished == count, "a shard was not committed")
    switch mode {
    case .mpi: try allReduce()
    case .invariant:
      if let overlap { try overlap.wait() } else { try exchangeAll() }
    }
    sum.reset()
  }

  /// The sums over all shards of this rank's slices, one after the other. Valid from `reduce` to the
  /// next `gradientTarget`.
  public var owned: UnsafeMutablePointer<Float> { finished?.base ?? sum.sums[0] }

  /// Sum of the squares of all elements of the reduced gradient, the same bits on every rank: one
  /// partial sum per block in double precision, added in the order of blocks.
  public func globalSumOfSquares() throws -> Double {
    let clock = Stopwatch()
    defer { secondsInExchange += clock.seconds }
    var own = owned
    return try partials.withUnsafeMutableBufferPointer { partials in
      for bucket in 0..<layout.bucketCount {
        for block in layout.ownedBlocks(group.rank, bucket: bucket) {
          let length = min(Self.reductionBlock, count - block * Self.reductionBlock)
          partials[block] = ck_sum_of_squares(own, length)
          own += length
        }
      }
      if group.size > 1, let base = partials.baseAddress {
        try allGatherSlices(
          base, stride: MemoryLayout<Double>.stride, tag: .partial, "the gradient norm"
        ) { layout.ownedBlocks($0, bucket: $1) }
      }
      return partials.reduce(0, +)
    }
  }

  /// Gives every rank's slices of a slab of `count` floats to all ranks.
  public func allGatherParameters(_ base: UnsafeMutablePointer<Float>) throws {
    guard group.size > 1 else { return }
    let clock = Stopwatch()
    defer { secondsInExchange += clock.seconds }
    try allGatherSlices(
      base, stride: MemoryLayout<Float>.stride, tag: .parameter, "the exchange of parameters"
    ) { layout.owned($0, bucket: $1) }
  }

  /// Puts every rank's slices of some slabs together on rank 0, between steps.
  ///
  /// - Parameter own: this rank's slices one after the other, `ownedCount` floats, of each slab.
  /// - Returns: on rank 0 the slabs, `count` floats each, in memory that the next step's gradients use;
  ///   nothing elsewhere.
  public func gatherSlices(_ own: [UnsafePointer<Float>]) throws -> [UnsafePointer<Float>] {
    // A rank alone owns everything.
    guard group.size > 1 else { return own }
    var slabs: [UnsafePointer<Float>] = []
    for (number, own) in own.enumerated() {
      if group.rank == 0 {
        let slab = sum.borrow(number).base
        putSlices(own, into: slab)
        for peer in group.otherRanks {
          for range in layout.owned(peer) {
            try group.receive(
              floats: slab + range.lowerBound, count: range.count, from: peer, tag: .gather)
          }
        }
        slabs.append(UnsafePointer(slab))
      } else {
        var next = own
        for range in ownedRanges {
          try group.send(floats: next, count: range.count, to: 0, tag: .gather)
          next += range.count
        }
      }
      try group.waitForMessages("a gather to rank 0")
    }
    return slabs
  }

  /// Puts every rank's slices of a slab together on all ranks, between steps.
  ///
  /// - Parameter own: this rank's slices one after the other, `ownedCount` floats.
  /// - Returns: `count` floats, in memory that the next step's gradients and `gatherSlices` use.
  public func gatherSlicesEverywhere(_ own: FloatSlab) throws -> FloatSlab {
    // A rank alone owns everything.
    guard group.size > 1 else { return own }
    let slab = sum.borrow(0)
    putSlices(own.base, into: slab.base)
    try allGatherParameters(slab.base)
    return slab
  }

  /// Puts this rank's slices into a slab of `count` floats.
  private func putSlices(_ own: UnsafePointer<Float>, into whole: UnsafeMutablePointer<Float>) {
    var next = own
    for range in ownedRanges {
      (whole + range.lowerBound).update(from: next, count: range.count)
      next += range.count
    }
  }

  /// Takes this rank's slices out of a slab of `count` floats.
  public func pickSlices(
    of whole: UnsafePointer<Float>, into own: UnsafeMutablePointer<Float>
  ) {
    var next = own
    for range in ownedRanges {
      next.update(from: whole + range.lowerBound, count: range.count)
      next += range.count
    }
  }
}

extension GradientExchange {
  /// Every bucket after the other, when nothing else is left to do.
  private func exchangeAll() throws {
    guard group.size > 1 else { return }
    ck_flush_denormals()
    for bucket in 0..<layout.bucketCount { try exchangeSlices(bucket) }
  }

  private func exchangeBucket(_ bucket: Int) throws {
    try timeline.span("exchange bucket", bucket, thread: Timeline.exchangeThread) {
      try exchangeSlices(bucket)
    }
  }

  private func exchangeSlices(_ bucket: Int) throws {
    let start = layout.range(bucket: bucket).lowerBound
    keep(try slices.exchange(bucket: bucket, nodes: sum.sums.map { $0 + start }), bucket: bucket)
  }

  /// Puts the finished sums of a bucket's slice where `owned` has them.
  private func keep(_ sums: UnsafePointer<Float>, bucket: Int) {
    guard let finished else { return }
    let before = (0..<bucket).reduce(0) { $0 + layout.owned(group.rank, bucket: $1).count }
    (finished.base + before).update(
      from: sums, count: layout.owned(group.rank, bucket: bucket).count)
  }

  private func allReduce() throws {
    let own = sum.sums
    arithmetic.add((1..<own.count).map { TreeMerge(into: 0, from: $0, level: 0) }, own, count)
    guard group.size > 1 else { return }
    // MPI's call cannot be watched: first see, with a time limit, that everybody is there.
    try group.barrier()
    try group.check(cmp_allreduce_sum(own[0], count), "MPI's all-reduce")
    otherBytesSent += 2 * count * (group.size - 1) / group.size * MemoryLayout<Float>.stride
    for bucket in 0..<layout.bucketCount {
      keep(own[0] + layout.owned(group.rank, bucket: bucket).lowerBound, bucket: bucket)
    }
  }

  /// - Parameter range: units of a rank within a bucket, `stride` bytes each.
  private func allGatherSlices(
    _ base: UnsafeMutableRawPointer, stride: Int, tag: MessageTag, _ action: String,
    range: (_ rank: Int, _ bucket: Int) -> Range<Int>
  ) throws {
    for bucket in 0..<layout.bucketCount {
      for peer in group.otherRanks {
        let slice = range(peer, bucket)
        try group.receive(
          base + slice.lowerBound * stride, bytes: slice.count * stride, from: peer, tag: tag)
      }
      let own = range(group.rank, bucket)
      for peer in group.otherRanks {
        try group.send(
          base + own.lowerBound * stride, bytes: own.count * stride, to: peer, tag: tag)
        otherBytesSent += own.count * stride
      }
    }
    try group.waitForMessages(action)
  }
}
