// Loss and accuracy over a whole data set, by all ranks.
import Collectives
import Datasets
import Models
import Tensors

/// Exact counts and the mean loss: the data set is cut into blocks that depend on nothing but the
/// micro-batch, workers take runs of blocks, and sums go in the order of blocks.
public final class Evaluator {
  private let group: ProcessGroup
  private let threads: ComputeThreads
  private let engines: [any Engine]
  private let loader: BatchLoader
  private let criterion: Criterion
  /// What the last evaluation met of damaged images, and how long a compute thread waited for images
  /// on the rank that waited longest.
  private(set) var replacedImages = 0
  private(set) var badImages: [BadImage] = []
  private(set) var secondsWaiting = 0.0
  /// Images of a batch whose mean counts as one value (reference quirk); nil: all images count alike.
  private let meanOverBatches: Int?

  init(
    group: ProcessGroup, engines: [any Engine], loader: BatchLoader, criterion: Criterion,
    meanOverBatches: Int? = nil
  ) {
    self.group = group
    threads = ComputeThreads(count: engines.count)
    self.engines = engines
    self.loader = loader
    self.criterion = criterion
    self.meanOverBatches = meanOverBatches
  }

  /// - Parameter packed: of these parameters.
  /// - Returns: nil if some rank was asked to stop before all was evaluated.
  /// - Throws: `SharedError` (data) for a damaged image.
  func evaluate(parameters: UnsafePointer<Float>, packed: PackedWeights) throws -> EpochMeans? {
    let count = loader.dataset.count
    let blocks = pieces(0..<count, size: meanOverBatches ?? count).flatMap {
      pieces($0, size: loader.maximumBatch)
    }
    let workers = group.size * threads.count
    func share(_ worker: Int) -> Range<Int> {
      blocks.count * worker / workers..<blocks.count * (worker + 1) / workers
    }
    let first = group.rank * threads.count
    loader.start(
      consumers: (0..<threads.count).map { thread in
        let own = share(first + thread)
        return LoadRequests(count: own.count) {
          LoadRequest(epoch: 0, positions: blocks[own.lowerBound + $0])
        }
      })
    let own = share(first).lowerBound..<share(first + threads.count - 1).upperBound
    let results = UnsafeMutableBufferPointer<BatchStatistics>.allocate(capacity: own.count)
    results.initialize(repeating: BatchStatistics())
    defer { results.deallocate() }
    let waited = loader.waitedSeconds
    let finished = Result {
      try threads.run { [self] thread in
        for block in share(first + thread) where !StopRequest.isPending {
          guard let batch = try loader.next(consumer: thread) else {
            preconditionFailure("the loader ran dry")
          }
          results[block - own.lowerBound] = packed.use {
            engines[thread].evaluate(
              images: batch.images.base, labels: batch.labels, count: batch.count,
              parameters: parameters, criterion: criterion)
          }
        }
      }
    }
    let waiting = (loader.waitedSeconds - waited) / Double(threads.count)
    let bad = loader.takeBadImages()
    var means = EpochMeans(meanOverBatches: meanOverBatches != nil)
    var batch = BatchStatistics()
    let all = try group.gatherStatistics(
      finished.map { Array(results) },
      extra: [waiting, Double(bad.replaced), StopRequest.isPending ? 1 : 0]
    ) { rank in
      share(rank * threads.count).lowerBound..<share((rank + 1) * threads.count - 1).upperBound
    }
    if all.extra.contains(where: { $0[2] > 0 }) { return nil }
    secondsWaiting = all.extra.map { $0[0] }.max()!
    replacedImages = Int(all.extra.reduce(0) { $0 + $1[1] })
    badImages = replacedImages > 0 ? try group.gatherBadImages(bad) : []
    for (statistics, block) in zip(all.statistics, blocks) {
      batch += statistics
      let endsBatch = meanOverBatches.map { block.upperBound % $0 == 0 } ?? false
      if endsBatch || block.upperBound == count {
        means.add(batch)
        batch = BatchStatistics()
      }
    }
    return means
  }
}
