// Which rank owns which slices of a slab, and in which buckets they travel.

/// A slab of `count` floats is cut into blocks, blocks are joined to buckets, and every rank owns a
/// contiguous run of blocks of each bucket: it finishes their sum and updates their parameters. A bucket
/// can leave as soon as its gradients are final, and keeps all ranks busy alike. Nothing here has an
/// influence on results.
struct SliceLayout: Sendable {
  let count: Int
  let ranks: Int
  let bucketCount: Int

  /// - Parameter bucketBlocks: blocks of a bucket, about; at least one per rank are taken.
  init(count: Int, ranks: Int, bucketBlocks: Int = GradientExchange.defaultBucketBlocks) {
    self.count = count
    self.ranks = ranks
    let blocks = (count + GradientExchange.reductionBlock - 1) / GradientExchange.reductionBlock
    bucketCount = max(1, blocks / max(bucketBlocks, ranks))
  }

  var blockCount: Int {
    (count + GradientExchange.reductionBlock - 1) / GradientExchange.reductionBlock
  }

  private func blocks(bucket: Int) -> Range<Int> {
    blockCount * bucket / bucketCount..<blockCount * (bucket + 1) / bucketCount
  }

  func ownedBlocks(_ rank: Int, bucket: Int) -> Range<Int> {
    let all = blocks(bucket: bucket)
    return all.lowerBound + all.count * rank / ranks..<all.lowerBound + all.count * (rank + 1)
      / ranks
  }

  /// Elements of a bucket.
  func range(bucket: Int) -> Range<Int> { elements(blocks(bucket: bucket)) }

  /// Elements of a rank within a bucket; empty if there are fewer blocks than ranks.
  func owned(_ rank: Int, bucket: Int) -> Range<Int> { elements(ownedBlocks(rank, bucket: bucket)) }

  /// Elements of a rank, ascending.
  func owned(_ rank: Int) -> [Range<Int>] {
    (0..<bucketCount).map { owned(rank, bucket: $0) }.filter { !$0.isEmpty }
  }

  private func elements(_ blocks: Range<Int>) -> Range<Int> {
    let size = GradientExchange.reductionBlock
    return min(blocks.lowerBound * size, count)..<min(blocks.upperBound * size, count)
  }
}
