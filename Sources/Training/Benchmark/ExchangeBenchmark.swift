// Time of one gradient exchange, with nothing to compute.
import Collectives
import Tensors

enum ExchangeBenchmark {
  /// Seconds of summing and exchanging gradients and parameters of `count` floats, per repetition.
  /// All ranks call it together.
  static func seconds(
    _ group: ProcessGroup, shards: Int, threads: Int, count: Int, mode: ReductionMode,
    repetitions: Int
  ) throws -> [Double] {
    let plan = try ShardPlan(shards: shards, ranks: group.size, threads: threads)
    let exchange = GradientExchange(group: group, plan: plan, count: count, mode: mode)
    let parameters = FloatSlab(count: count)
    return try (0...repetitions).map { _ in
      for thread in 0..<threads {
        for shard in plan.shards(rank: group.rank, thread: thread) {
          exchange.gradientTarget(thread: thread, shard: shard)[0] = 1
          exchange.commit(thread: thread, shard: shard)
        }
      }
      try group.barrier()
      let start = ContinuousClock.now
      try exchange.reduce()
      _ = try exchange.globalSumOfSquares()
      try exchange.allGatherParameters(parameters.base)
      try group.barrier()
      return start.secondsUntilNow
    }.dropFirst().map { $0 }
  }
}
