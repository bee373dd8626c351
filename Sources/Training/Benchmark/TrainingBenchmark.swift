// Training throughput of one model, and where its time goes, against the machine's matrix products.
import Collectives
import Datasets
import Diagnostics
import Models
import Tensors

/// What was measured of one model on this rank; medians are the caller's business.
struct TrainingSample {
  var imagesPerSecond = 0.0
  /// Operations per second and compute thread that the products reach when nothing else runs.
  var productRate = 0.0
  /// The same by OpenBLAS, of products in single precision.
  var blasRate: Double?
  /// Achieved share of the higher rate, counting the operations that the algorithm needs.
  var shareOfLimit = 0.0
  /// The same of OpenBLAS's.
  var shareOfBLAS: Double?
  /// Shares of the step's time; they add up to about 1.
  var products = 0.0
  var attention = 0.0
  var elementwise = 0.0
  var data = 0.0
  var exchange = 0.0
  var waiting = 0.0
}

/// Steps of training on images in memory. All ranks call every method together.
final class TrainingBenchmark {
  let name: String
  let configuration: RunConfiguration
  let replica: Replica
  private let group: ProcessGroup
  private let loader: BatchLoader
  private let step: GradientStep
  private let threads: ComputeThreads
  private let replays: [ProductReplay]
  /// Passes of the recorded micro-batch in one replay, so that it lasts about as long as a step.
  private let replayPasses: Int
  private var steps = 0
  private var epoch = 1
  private var batch = 0

  /// Makes the model and takes one step, which is not measured.
  ///
  /// - Parameters:
  ///   - c: fitted to the data set.
  ///   - dataset: real images; nil trains on images in memory.
  init(
    name: String, _ c: RunConfiguration, group: ProcessGroup, dataset: (any Dataset)? = nil
  ) throws {
    self.name = name
    configuration = c
    self.group = group
    let replica = try Replica(c, group: group)
    self.replica = replica
    let images =
      dataset
      ?? BenchmarkImages(
        count: c.batchSize, side: c.model.imageSize, classes: c.model.numClasses)
    loader = DataSetup.loader(images, c, training: true)
    step = GradientStep(group: group, replica: replica, loader: loader, configuration: c)
    threads = ComputeThreads(count: c.threads)
    let shard = replica.plan.positions(shard: 0, batch: c.batchSize)
    let count = min(c.resolvedMicroBatch, max(shard.count, 1))
    let products = Self.products(replica, c, images: count)
    // What a pass walks through: parameters, gradients, activations.
    let workingSet = 2 * replica.layout.count + count * c.model.tokens * c.model.width * 12
    replays = (0..<c.threads).map { _ in ProductReplay(products, workingSet: workingSet) }
    replayPasses = max(1, c.batchSize / (count * group.size * c.threads))
    _ = try takeStep()
  }

  deinit { loader.stop() }

  private static func products(
    _ replica: Replica, _ c: RunConfiguration, images: Int
  ) -> [MatrixProduct] {
    let input = FloatSlab(count: images * 3 * c.model.imageSize * c.model.imageSize)
    let gradients = FloatSlab(count: replica.layout.count)
    let labels = [Int32](repeating: 0, count: images)
    let pass = TrainingPass(
      parameters: replica.parameters.base, gradients: gradients.base, accumulate: false,
      lossWeight: 1)
    return withExtendedLifetime((input, gradients)) {
      ProductMeter.record {
        _ = replica.engines[0].train(
          pass, images: input.base, labels: labels, count: images, ready: nil)
      }
    }
  }

  private func takeStep() throws -> StepResult {
    // Without pause between steps: the loader works ahead.
    if batch == 0 { step.startLoading(epoch: epoch, fromStep: 0) }
    steps += 1
    let result = try step.run(step: steps, batch: batch, learningRate: 1e-4)
    batch += 1
    if batch == step.perEpoch { (epoch, batch) = (epoch + 1, 0) }
    return result
  }

  /// One step, and as many bare products.
  func sample() throws -> TrainingSample {
    ProductMeter.turn(on: true)
    let before = engineSeconds
    try group.barrier()
    let clock = Stopwatch()
    let result = try takeStep()
    try group.barrier()
    let seconds = clock.seconds
    let used = engineSeconds
    ProductMeter.turn(on: false)

    var sample = TrainingSample()
    let images = Double(result.statistics.images)
    let workers = Double(group.size * threads.count)
    sample.imagesPerSecond = images / seconds
    let perThread = seconds * Double(threads.count)
    sample.products = (used.products - before.products) / perThread
    sample.attention = (used.attention - before.attention) / perThread
    sample.elementwise = (used.elementwise - before.elementwise) / perThread
    sample.data = result.seconds.data / seconds
    sample.exchange = result.seconds.exchange / seconds
    sample.waiting = result.seconds.waiting / seconds

    sample.productRate = try replayedRate()
    if configuration.precision == .single {
      let chosen = Matmul.singleProducts
      Matmul.singleProducts = .blas
      defer { Matmul.singleProducts = chosen }
      sample.blasRate = chosen == .blas ? sample.productRate : try replayedRate()
    }
    let achieved =
      sample.imagesPerSecond * Double(replica.engines[0].trainingOperationsPerImage) / workers
    sample.shareOfLimit = achieved / max(sample.productRate, sample.blasRate ?? 0)
    sample.shareOfBLAS = sample.blasRate.map { achieved / $0 }
    return sample
  }

  /// Operations per second and thread of as many bare products as a step has, on all ranks at once.
  private func replayedRate() throws -> Double {
    try group.barrier()
    let clock = Stopwatch()
    try threads.run { [self] thread in
      for _ in 0..<replayPasses { _ = replays[thread].run() }
    }
    try group.barrier()
    return Double(replayPasses * replays[0].operations) / clock.seconds
  }

  private var engineSeconds: EngineSeconds {
    replica.engines.reduce(EngineSeconds()) { $0 + $1.seconds }
  }
}
