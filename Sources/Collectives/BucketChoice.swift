// How large the buckets of an exchange should be, measured when a run starts.
import Diagnostics
import Tensors

/// The size of buckets that suits a group, and how it was found. It has no influence on results: slices
/// change owners, sums stay the same.
public struct BucketChoice: Sendable {
  /// Blocks of a megabyte (2^20 bytes) of gradients in fp32.
  public static let blocksPerMegabyte = (1 << 20) / (4 * GradientExchange.reductionBlock)
  public static let defaultMegabytes = GradientExchange.defaultBucketBlocks / blocksPerMegabyte

  public let megabytes: Int
  /// Sizes that were tried, ascending; a single one was not measured.
  public let candidates: [Int]
  /// Seconds that it took.
  public let seconds: Double

  /// No new round of measurements starts after this many seconds.
  private static let budget = 0.1
  private static let mostRounds = 8
  /// A bucket, and as many as make up this size, are measured rather than the whole slab.
  private static let sampleMegabytes = 4

  /// Exchanges buckets of several sizes between all ranks, with nothing to compute, and lets rank 0 choose
  /// the size with the least time for all buckets and, with `overlaps`, once more for the last one, which
  /// no backward pass hides. All ranks call it together.
  ///
  /// - Parameter count: floats of a gradient slab.
  /// - Throws: `RunError` (rankDied).
  public static func measure(
    group: ProcessGroup, plan: ShardPlan, count: Int, type: ReductionType, overlaps: Bool
  ) throws -> BucketChoice {
    let sizes = candidates(count: count, ranks: plan.ranks)
    guard sizes.count > 1, group.size > 1 else {
      let size = sizes.last { $0 <= defaultMegabytes } ?? sizes[0]
      return BucketChoice(megabytes: size, candidates: [size], seconds: 0)
    }
    let clock = Stopwatch()
    let layouts = sizes.map {
      SliceLayout(count: count, ranks: plan.ranks, bucketBlocks: $0 * blocksPerMegabyte)
    }
    let exchanges = layouts.map {
      SliceExchange(
        group: group, plan: plan, layout: $0, arithmetic: TreeArithmetic(type, shards: plan.shards))
    }
    let widest = layouts.map { $0.range(bucket: 0).count + GradientExchange.reductionBlock }.max()!
    let nodes = ShardTree.cover(plan.shards(rank: group.rank)).map { _ in
      FloatSlab(count: widest)
    }
    var best = [Double](repeating: .infinity, count: sizes.count)
    for _ in 0..<mostRounds {
      for (index, layout) in layouts.enumerated() {
        let buckets = min(layout.bucketCount, max(1, sampleMegabytes / sizes[index]))
        try group.barrier()
        let exchanging = Stopwatch()
        for bucket in 0..<buckets {
          _ = try exchanges[index].exchange(bucket: bucket, nodes: nodes.map(\.base))
        }
        let perBucket = exchanging.seconds / Double(buckets)
        let rounds = layout.bucketCount + (overlaps ? 1 : 0)
        best[index] = min(best[index], perBucket * Double(rounds))
      }
      // Rank 0's clock counts.
      let isOver: [UInt8] = [clock.seconds > budget ? 1 : 0]
      if try group.broadcast(isOver)[0] == 1 { break }
    }
    let fastest = best.indices.min { best[$0] < best[$1] }!
    let chosen = Int(try group.broadcast([UInt8(fastest)])[0])
    return BucketChoice(megabytes: sizes[chosen], candidates: sizes, seconds: clock.seconds)
  }

  /// Sizes that differ in the number of buckets they make; up to 32 MB are one bucket of the last.
  static func candidates(count: Int, ranks: Int) -> [Int] {
    var sizes: [Int] = []
    var seen: Set<Int> = []
    for size in [1, 4, 16] {
      let layout = SliceLayout(
        count: count, ranks: ranks, bucketBlocks: size * blocksPerMegabyte)
      if seen.insert(layout.bucketCount).inserted { sizes.append(size) }
    }
    return sizes
  }
}
