// The size of buckets of a run: the flag's, or measured.
import Collectives
import Foundation
import Models

extension RunConfiguration {
  /// Sets `bucketMegabytes` where it is open. All ranks call it together, once they are known to run the
  /// same thing; rank 0's flag counts.
  ///
  /// - Returns: what was measured, nil when nothing had to be.
  mutating func settleBuckets(_ group: ProcessGroup) throws -> BucketChoice? {
    let wanted = try group.allGather([Double(bucketMegabytes)])[0][0]
    bucketMegabytes = Int(wanted)
    guard bucketMegabytes == 0 else { return nil }
    guard group.size > 1, reduce == .invariant else {
      bucketMegabytes = BucketChoice.defaultMegabytes
      return nil
    }
    let choice = try BucketChoice.measure(
      group: group, plan: ShardPlan(shards: resolvedShards, ranks: group.size, threads: threads),
      count: Int(model.parameterCount), type: reduceType, overlaps: overlap)
    bucketMegabytes = choice.megabytes
    return choice.candidates.count > 1 ? choice : nil
  }

  var bucketBlocks: Int {
    (bucketMegabytes > 0 ? bucketMegabytes : BucketChoice.defaultMegabytes)
      * BucketChoice.blocksPerMegabyte
  }
}

extension BucketChoice {
  /// One line for people.
  var note: String {
    let others = candidates.map(String.init).joined(separator: ", ")
    return String(
      format: "Gradients travel in buckets of %ld MB, the best of %@ MB here (measured in %.2f s).",
      megabytes, others, seconds)
  }
}
