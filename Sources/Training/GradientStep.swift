// One optimizer step: batch -> forward -> backward -> exchange -> update.
import Collectives
import Datasets
import Diagnostics
import Models
import Optimizers
import Tensors

/// What a step tells the run.
struct StepResult {
  var statistics = BatchStatistics()
  /// Norm of the gradient of the batch's mean loss, before clipping.
  var gradientNorm = 0.0
  /// Some rank was asked to stop.
  var stopRequested = false
  /// Rank 0 finds a checkpoint due.
  var checkpointDue = false
  /// Seconds that a compute thread waited for images, on the rank that waited longest.
  var secondsWaiting = 0.0
  /// Images of the batch that others stood in for, and the damaged ones.
  var replacedImages = 0
  var badImages: [BadImage] = []
  var seconds = StepSeconds()
  /// What each rank took for its passes, waiting for images included.
  var computing: [Double] = []

  var meanLoss: Double { statistics.loss / Double(statistics.images) }
}

/// Where this rank's time went.
struct StepSeconds {
  var total = 0.0
  /// Mean over the compute threads of their waiting for images.
  var data = 0.0
  /// From the end of this rank's passes to that of the slowest rank's.
  var waiting = 0.0
  /// Sums of gradients, their norm, and the exchange of parameters, as far as it held this rank up.
  var exchange = 0.0
}

/// What helps against losses and weights that are not finite.
let notFiniteAdvice = """
  The same command meets the same again. From an earlier checkpoint a run with a lower --lr or --clip_grad_norm goes on \
  in another --output_dir: --resume …/checkpoints/step-…
  """

/// Carries out steps with the parameters of this rank; all ranks call `run` together.
final class GradientStep {
  private let group: ProcessGroup
  private let replica: Replica
  private let threads: ComputeThreads
  private let loader: BatchLoader
  private let configuration: RunConfiguration
  private let fault: FaultInjection?
  /// Images of an epoch; the last batch may be smaller.
  private let imageCount: Int

  init(
    group: ProcessGroup, replica: Replica, loader: BatchLoader, configuration: RunConfiguration
  ) {
    self.group = group
    self.replica = replica
    threads = ComputeThreads(count: replica.engines.count)
    self.loader = loader
    self.configuration = configuration
    fault = FaultInjection.isArmed ? configuration.fault : nil
    imageCount = loader.dataset.count
  }

  private var plan: ShardPlan { replica.plan }
  private var timeline: Timeline? { replica.timeline }
  private var parameters: FloatSlab { replica.parameters }

  /// Shards that the busiest thread of each rank computes.
  var shardsOfRanks: [Int] {
    (0..<group.size).map { plan.shards(rank: $0, thread: 0).count }
  }

  /// Steps of an epoch; the last, smaller batch counts.
  var perEpoch: Int { (imageCount + configuration.batchSize - 1) / configuration.batchSize }

  private func batch(_ index: Int) -> Range<Int> {
    let start = index * configuration.batchSize
    return start..<min(start + configuration.batchSize, imageCount)
  }

  /// Tells the loader what this rank's threads will ask for in the rest of the epoch.
  func startLoading(epoch: Int, fromStep first: Int) {
    let batchSize = configuration.batchSize
    let whole = imageCount / batchSize
    let requests = (0..<plan.threads).map { thread in
      // Of a whole batch, and of the last, smaller one.
      let pieces = positions(thread: thread, images: batchSize)
      let last = positions(thread: thread, images: imageCount - whole * batchSize)
      let before = max(whole - first, 0) * pieces.count
      return LoadRequests(count: before + (first < perEpoch ? last.count : 0)) { number in
        let step = number < before ? first + number / pieces.count : whole
        let piece = number < before ? pieces[number % pieces.count] : last[number - before]
        let start = step * batchSize
        return LoadRequest(
          epoch: epoch, positions: start + piece.lowerBound..<start + piece.upperBound)
      }
    }
    loader.start(consumers: requests)
  }

  /// What a thread loads, as positions in a batch of `images` images.
  private func positions(thread: Int, images: Int) -> [Range<Int>] {
    plan.shards(rank: group.rank, thread: thread).flatMap { loads(shard: $0, images: images) }
  }

  /// What is loaded at once.
  private func loads(shard: Int, images: Int) -> [Range<Int>] {
    pieces(plan.positions(shard: shard, batch: images), size: loader.maximumBatch)
  }

  /// Step `step` (from 1) of the run, which is batch `index` (from 0) of the epoch being loaded.
  ///
  /// - Parameter checkpointDue: what rank 0 says counts for all.
  /// - Throws: `SharedError` for a damaged image (data), when the loss or gradient is not finite, or
  ///   when the ranks' parameters differ.
  func run(
    step: Int, batch index: Int, learningRate: Double, checkpointDue: Bool = false
  ) throws -> StepResult {
    group.phase = index == 0 ? .epochStart(step: step) : .step(step)
    fault?.strikeBefore(step: step, rank: group.rank)
    let clock = Stopwatch()
    let exchange = replica.exchange
    let exchanged = exchange.secondsInExchange
    let images = batch(index).count
    let waited = loader.waitedSeconds
    // What all ranks start from must be the same; a flipped bit shows here.
    let fingerprint = replica.fingerprint
    let own = Result { try computeShards(step: step, images: images) }
    let computing = clock.seconds
    let waiting = (loader.waitedSeconds - waited) / Double(threads.count)
    let bad = loader.takeBadImages()
    try timeline.span("wait for the exchange", step) { try exchange.reduce() }
    let stop = StopRequest.isPending ? 1.0 : 0
    let gathered = try group.gatherStatistics(
      own,
      extra: [
        stop, computing, waiting, Double(bad.replaced), checkpointDue ? 1 : 0,
      ] + fingerprint
    ) { plan.shards(rank: $0) }
    try checkWeights(
      gathered.extra.map { Array($0.dropFirst(5)) }, hosts: group.hosts, "Before step \(step)")

    var result = StepResult()
    for statistics in gathered.statistics { result.statistics += statistics }
    result.stopRequested = gathered.extra.contains { $0[0] > 0 }
    result.checkpointDue = gathered.extra[0][4] > 0
    result.seconds.data = waiting
    result.secondsWaiting = gathered.extra.map { $0[2] }.max()!
    result.replacedImages = Int(gathered.extra.reduce(0) { $0 + $1[3] })
    if result.replacedImages > 0 { result.badImages = try group.gatherBadImages(bad) }
    result.gradientNorm = try exchange.globalSumOfSquares().squareRoot()
    guard result.gradientNorm.isFinite, result.statistics.loss.isFinite else {
      throw SharedError(
        error: RunError(
          .notFinite,
          """
          Step \(step): loss \(result.meanLoss), gradient norm \
          \(result.gradientNorm); finite numbers were expected.
          \(notFiniteAdvice)
          """))
    }
    timeline.span("update", step) {
      replica.optimizer.update(
        parameters: parameters.base, gradients: exchange.owned, learningRate: learningRate,
        clip: clipFactor(norm: result.gradientNorm, maximum: configuration.clipNorm), step: step)
      replica.average?.update(parameters: parameters.base, step: step)
    }
    try timeline.span("gather parameters", step) {
      try exchange.allGatherParameters(parameters.base)
    }
    fault?.flip(step: step, rank: group.rank, parameters: parameters.base)
    replica.packed.forget()
    result.computing = gathered.extra.map { $0[1] }
    result.seconds.waiting = (result.computing.max() ?? computing) - computing
    result.seconds.exchange =
      max(exchange.secondsInExchange - exchanged - result.seconds.waiting, 0)
    result.seconds.total = clock.seconds
    return result
  }

  /// Forward and backward passes of this rank's shards; their statistics in the order of shards.
  private func computeShards(step: Int, images: Int) throws -> [BatchStatistics] {
    let exchange = replica.exchange
    let own = plan.shards(rank: group.rank)
    let lossWeight =
      fault?.poisons(step: step, rank: group.rank) ?? false ? .nan : 1 / Double(images)
    let results = UnsafeMutableBufferPointer<BatchStatistics>.allocate(capacity: own.count)
    results.initialize(repeating: BatchStatistics())
    defer { results.deallocate() }
    try threads.run { [self] thread in
      var failure: (any Error)?
      for shard in plan.shards(rank: group.rank, thread: thread) {
        let gradients = timeline.span("wait for room", shard, thread: thread) {
          exchange.gradientTarget(shard: shard)
        }
        let loads = loads(shard: shard, images: images)
        if loads.isEmpty { gradients.update(repeating: 0, count: parameters.count) }
        do {
          for (number, positions) in loads.enumerated() where failure == nil {
            let next = try timeline.span("load", shard, thread: thread) {
              try loader.next(consumer: thread)
            }
            guard let batch = next else { preconditionFailure("the loader ran dry") }
            results[shard - own.lowerBound] += timeline.span(
              "forward and backward", shard, thread: thread
            ) {
              train(
                batch, at: positions.lowerBound, on: replica.engines[thread],
                TrainingPass(
                  parameters: parameters.base, gradients: gradients, accumulate: number > 0,
                  lossWeight: lossWeight, criterion: configuration.criterion,
                  labelSmoothing: configuration.labelSmoothing,
                  classifierOnly: configuration.layerDecay == 0, seed: configuration.seed,
                  step: step),
                ready: number < loads.count - 1
                  ? nil : { exchange.advance(shard: shard, to: $0) })
            }
          }
        } catch {
          // The other ranks are in the exchange already: this one takes its part in it, with
          // whatever the buffers hold, and all throw the error afterwards.
          failure = error
        }
        exchange.commit(shard: shard)
      }
      if let failure { throw failure }
    }
    return Array(results)
  }

  /// Trains on a loaded batch, one micro-batch after the other.
  ///
  /// - Parameters:
  ///   - first: position in the global batch of its first image.
  ///   - pass: of its first micro-batch, but for what it shows.
  ///   - ready: as of `Engine.train`, in the last micro-batch.
  private func train(
    _ batch: LoadedBatch, at first: Int, on engine: any Engine, _ pass: TrainingPass,
    ready: ((Int) -> Void)?
  ) -> BatchStatistics {
    let imageFloats = batch.images.count / loader.maximumBatch
    var statistics = BatchStatistics()
    for images in pieces(0..<batch.count, size: configuration.resolvedMicroBatch) {
      var pass = pass
      pass.accumulate = pass.accumulate || images.lowerBound > 0
      pass.firstPosition = first + images.lowerBound
      if loader.mixing != nil {
        pass.mixture = LabelMixture(
          labels: batch.otherLabels + images.lowerBound,
          shares: batch.otherShares + images.lowerBound)
      }
      statistics += replica.packed.use {
        engine.train(
          pass, images: batch.images.base + images.lowerBound * imageFloats,
          labels: batch.labels + images.lowerBound, count: images.count,
          ready: images.upperBound < batch.count ? nil : ready)
      }
    }
    return statistics
  }
}
