// Time of one gradient exchange, with nothing to compute.
import Collectives
import Diagnostics
import Tensors

enum ExchangeBenchmark {
  /// Sums and exchanges gradients and parameters of `count` floats. All ranks call it together.
  ///
  /// - Returns: seconds of every repetition; bytes of gradients and parameters that a rank sends in
  ///   one, the most of any rank (`GradientExchange.bytesSent`).
  static func measure(
    _ group: ProcessGroup, _ c: RunConfiguration, count: Int, mode: ReductionMode,
    type: ReductionType, repetitions: Int
  ) throws -> (seconds: [Double], bytesSent: Int) {
    let plan = try ShardPlan(shards: c.resolvedShards, ranks: group.size, threads: c.threads)
    // Not while others compute: MPI allows one thread at a time, and the barrier below is this one's.
    let exchange = GradientExchange(
      group: group, plan: plan, count: count, mode: mode, type: type, overlaps: false,
      bucketBlocks: c.bucketBlocks)
    let parameters = FloatSlab(count: count)
    let seconds = try (0...repetitions).map { _ in
      for shard in plan.shards(rank: group.rank) {
        exchange.gradientTarget(shard: shard)[0] = 1
        exchange.commit(shard: shard)
      }
      try group.barrier()
      let clock = Stopwatch()
      try exchange.reduce()
      _ = try exchange.globalSumOfSquares()
      try exchange.allGatherParameters(parameters.base)
      try group.barrier()
      return clock.seconds
    }.dropFirst().map { $0 }
    let sent = Double(exchange.bytesSent / (repetitions + 1))
    return (seconds, Int(try group.allGather([sent]).map { $0[0] }.max() ?? sent))
  }
}
