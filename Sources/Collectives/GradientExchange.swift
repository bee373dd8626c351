// Sums the gradients of all shards of all ranks in one fixed order, whoever computed them.
import CKernels
import CMessagePassing
import Diagnostics
import Foundation
import Tensors

/// How gradients are summed over ranks.
public enum ReductionMode: String, Sendable, CaseIterable {
  /// Along the canonical tree over shards: the same bits for any number of ranks and threads.
  case invariant
  /// MPI's own all-reduce, for comparison: the bits depend on ranks and threads.
  case mpi
}

/// One step: every thread asks for a `gradientTarget` and calls `commit` for each of its shards in
/// ascending order, with `advance` on the way if it likes; when all threads have joined, `reduce`
/// leaves the sum over all shards of the slices this rank owns in `owned`; after the update
/// `allGatherParameters` gives them to everyone.
///
/// The canonical tree: node(level, i) = node(level − 1, 2i) + node(level − 1, 2i + 1) over shards.
/// Threads and ranks sum the subtrees they hold; what remains goes, slice by slice, to the slice's
/// owner, who finishes the tree. So the result depends on the number of shards only.
///
/// Slices travel in buckets. With `overlaps` a thread of its own exchanges a bucket as soon as the
/// backward passes of the last shards have finished it; else `reduce` exchanges all of them.
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
  let threads: [SubtreeSum]
  /// Nodes of this rank before its threads are merged, and the additions that merge them.
  private let threadNodes: [(thread: Int, depth: Int)]
  private let threadMerges: [TreeMerge]
  private let threadRemaining: [Int]
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
    threads = (0..<plan.threads).map {
      SubtreeSum(
        shards: plan.shards(rank: group.rank, thread: $0), count: count, arithmetic: arithmetic)
    }
    let own = (0..<plan.threads).map {
      ShardTree.cover(plan.shards(rank: group.rank, thread: $0))
    }
    threadNodes = own.enumerated().flatMap { thread, nodes in
      nodes.indices.map { (thread, $0) }
    }
    (threadMerges, threadRemaining) = ShardTree.merges(own.flatMap { $0 })
    slices = SliceExchange(group: group, plan: plan, layout: layout, arithmetic: arithmetic)
    finished = group.size > 1 ? FloatSlab(count: ownedCount) : nil
    partials = [Double](repeating: 0, count: layout.blockCount)
    if overlaps, group.size > 1, mode == .invariant {
      let thread = OverlapThread(
        ends: (0..<layout.bucketCount).map { layout.range(bucket: $0).upperBound },
        threads: plan.threads
      ) { [unowned self] in try exchangeBucket($0) }
      thread.start()
      overlap = thread
    }
  }

  deinit { overlap?.stop() }

  /// Memory for the gradient of one shard, `count` floats, to be overwritten: it holds old values.
  public func gradientTarget(thread: Int, shard: Int) -> UnsafeMutablePointer<Float> {
    threads[thread].target(shard: shard)
  }

  /// The shard's gradient is final up to element `end`. Threads may call this side by side.
  public func advance(thread: Int, shard: Int, to end: Int) {
    threads[thread].advance(shard: shard, to: end)
    if threads[thread].isLast(shard) { overlap?.report(thread: thread, position: end) }
  }

  /// Takes over the gradient just written. Threads may call this side by side.
  public func commit(thread: Int, shard: Int) {
    threads[thread].commit(shard: shard)
    if threads[thread].isComplete { overlap?.report(thread: thread, position: count) }
  }

  /// Sums over all shards of all ranks, after all threads have committed all of their shards.
  public func reduce() throws {
    let start = DispatchTime.now().uptimeNanoseconds
    defer { addSeconds(since: start) }
    precondition(threads.allSatisfy(\.isComplete), "a shard was not committed")
    switch mode {
    case .mpi: try allReduce()
    case .invariant:
      if let overlap { try overlap.wait() } else { try exchangeAll() }
    }
    for thread in threads { thread.reset() }
  }

  /// The sums over all shards of this rank's slices, one after the other. Valid from `reduce` to the
  /// next `gradientTarget`.
  public var owned: UnsafeMutablePointer<Float> { finished?.base ?? nodes()[0] }

  /// Sum of the squares of all elements of the reduced gradient, the same bits on every rank: one
  /// partial sum per block in double precision, added in the order of blocks.
  public func globalSumOfSquares() throws -> Double {
    let start = DispatchTime.now().uptimeNanoseconds
    defer { addSeconds(since: start) }
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
    let start = DispatchTime.now().uptimeNanoseconds
    defer { addSeconds(since: start) }
    try allGatherSlices(
      base, stride: MemoryLayout<Float>.stride, tag: .parameter, "the exchange of parameters"
    ) { layout.owned($0, bucket: $1) }
  }

  /// Puts every rank's slices of a slab together on rank 0.
  ///
  /// - Parameters:
  ///   - own: this rank's slices one after the other, `ownedCount` floats.
  ///   - out: room for `count` floats on rank 0, not needed elsewhere.
  public func gatherSlices(
    _ own: UnsafePointer<Float>, to out: UnsafeMutablePointer<Float>?
  ) throws {
    let ranges = (0..<group.size).map { layout.owned($0) }
    let together = out.map { _ in FloatSlab(count: count) }
    try group.gatherFloats(
      own, counts: ranges.map { $0.reduce(0) { $0 + $1.count } }, to: together?.base)
    guard let out, var next = together?.base else { return }
    for range in ranges.joined() {
      (out + range.lowerBound).update(from: next, count: range.count)
      next += range.count
    }
    withExtendedLifetime(together) {}
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
  private func addSeconds(since start: UInt64) {
    secondsInExchange += Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9
  }

  /// Slabs of this rank's nodes once its threads are merged.
  private func nodes() -> [UnsafeMutablePointer<Float>] {
    threadRemaining.map { threads[threadNodes[$0].thread].base(threadNodes[$0].depth) }
  }

  /// Adds the threads' nodes within a range of elements.
  private func mergeThreads(_ range: Range<Int>) {
    arithmetic.add(
      threadMerges, threadNodes.map { threads[$0.thread].base($0.depth) + range.lowerBound },
      range.count)
  }

  /// Every bucket after the other, when nothing else is left to do: threads merge side by side.
  private func exchangeAll() throws {
    ck_flush_denormals()
    let parts = threadMerges.isEmpty ? 0 : plan.threads
    DispatchQueue.concurrentPerform(iterations: parts) { part in
      ck_flush_denormals()
      mergeThreads(count * part / parts..<count * (part + 1) / parts)
    }
    guard group.size > 1 else { return }
    for bucket in 0..<layout.bucketCount { try exchangeSlices(bucket) }
  }

  private func exchangeBucket(_ bucket: Int) throws {
    try timeline.span("exchange bucket", bucket, thread: Timeline.exchangeThread) {
      mergeThreads(layout.range(bucket: bucket))
      try exchangeSlices(bucket)
    }
  }

  private func exchangeSlices(_ bucket: Int) throws {
    let start = layout.range(bucket: bucket).lowerBound
    keep(try slices.exchange(bucket: bucket, nodes: nodes().map { $0 + start }), bucket: bucket)
  }

  /// Puts the finished sums of a bucket's slice where `owned` has them.
  private func keep(_ sums: UnsafePointer<Float>, bucket: Int) {
    guard let finished else { return }
    let before = (0..<bucket).reduce(0) { $0 + layout.owned(group.rank, bucket: $1).count }
    (finished.base + before).update(
      from: sums, count: layout.owned(group.rank, bucket: bucket).count)
  }

  private func allReduce() throws {
    mergeThreads(0..<count)
    let own = nodes()
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
