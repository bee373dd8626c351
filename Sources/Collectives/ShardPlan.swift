// Which shard of the global batch holds which positions, and which worker computes which shards.
import Diagnostics

/// The global batch is cut into a fixed number of shards, the unit of reproducibility; ranks own
/// contiguous ranges of shards, which their threads share.
public struct ShardPlan: Equatable, Sendable {
  /// Number of shards, a power of two.
  public let shards: Int
  public let ranks: Int
  /// Compute threads per rank.
  public let threads: Int

  /// - Throws: `RunError` (configuration) if `shards` is no power of two, or if there are more
  ///   workers than shards.
  public init(shards: Int, ranks: Int, threads: Int) throws {
    precondition(ranks > 0 && threads > 0)
    guard shards > 0, shards & (shards - 1) == 0 else {
      throw RunError.configuration(
        """
        --shards \(shards) is not a power of two.
        Set it to 1, 2, 4, 8, 16, …
        """)
    }
    let workers = ranks * threads
    guard workers <= shards else {
      var enough = shards
      while enough < workers { enough *= 2 }
      throw RunError.configuration(
        """
        \(ranks) ranks x \(threads) threads = \(workers) workers, but the batch has only \
        \(shards) shards, and every worker needs one.
        Set --shards \(enough) (a different sum, so different bits), \
        or use at most \(shards) workers.
        """)
    }
    self.shards = shards
    self.ranks = ranks
    self.threads = threads
  }

  /// Positions of a shard within a batch of the given size; empty if the batch is too small.
  public func positions(shard: Int, batch: Int) -> Range<Int> {
    batch * shard / shards..<batch * (shard + 1) / shards
  }

  /// Shards of all threads of a rank.
  public func shards(rank: Int) -> Range<Int> {
    shards * rank / ranks..<shards * (rank + 1) / ranks
  }

  /// Shards of one thread of a rank, never none: the rank's threads take turns, so that neighbours in the
  /// tree of sums are computed at the same time.
  public func shards(rank: Int, thread: Int) -> [Int] {
    let all = shards(rank: rank)
    return Array(stride(from: all.lowerBound + thread, to: all.upperBound, by: threads))
  }

  /// Memory for gradients that a rank needs, as a multiple of one gradient.
  public func gradientSlabs(rank: Int) -> Int {
    ShardTree.slabs(shards(rank: rank), threads: threads)
  }
}
