// How long a run takes to get going, and the memory it then needs.
import CKernels
import Collectives
import Datasets
import Diagnostics
import Models
import Tensors

/// Seconds from the start of the process, on the rank that took longest, without the time to open data.
struct StartUp {
  /// MPI runs: the program is loaded, has chosen its kernels and knows the other ranks.
  var toMPI = 0.0
  /// The ranks have compared what they run, and weights, engines and exchange are made.
  var toModel = 0.0
  /// The loader runs, and the first step begins.
  var toFirstStep = 0.0
  /// Seconds of the first step alone.
  var firstStep = 0.0
  /// The largest memory of any rank over a step of this model alone, in bytes.
  var peakMemory = 0.0
  /// What one compute thread's engine takes: activations and scratch.
  var engineMemory = 0.0

  /// Sets a model up as a run does and takes one step on images in memory. All ranks call it together.
  ///
  /// - Parameter before: from the start of the process to MPI, on this rank.
  /// - Throws: `SharedError`.
  init(_ given: RunConfiguration, group: ProcessGroup, before: Double) throws {
    MemoryUse.resetPeak()
    let images = BenchmarkImages(
      count: given.batchSize, side: given.model.imageSize, classes: given.model.numClasses)
    try group.barrier()
    let clock = Stopwatch()
    var c = given
    try Agreement.checkRun(group, c, data: [])
    _ = try c.settleBuckets(group)
    let replica = try Replica(c, group: group)
    let model = clock.seconds
    let loader = DataSetup.loader(images, c, training: true)
    defer { loader.stop() }
    let step = GradientStep(group: group, replica: replica, loader: loader, configuration: c)
    step.startLoading(epoch: 1, fromStep: 0)
    let ready = clock.seconds
    _ = try step.run(step: 1, batch: 0, learningRate: 1e-4)
    let done = clock.seconds
    let all = try group.allGather([
      before, before + model, before + ready, done - ready, Double(MemoryUse.peak),
      Double(try Self.engineMemory(c, replica)),
    ])
    func most(_ index: Int) -> Double { all.map { $0[index] }.max() ?? 0 }
    toMPI = most(0)
    toModel = most(1)
    toFirstStep = most(2)
    firstStep = most(3)
    peakMemory = most(4)
    engineMemory = most(5)
  }

  /// By how much the process grows with one more engine and its pass over a micro-batch.
  private static func engineMemory(_ c: RunConfiguration, _ replica: Replica) throws -> Int {
    let images = c.resolvedMicroBatch
    let input = FloatSlab(count: images * 3 * c.model.imageSize * c.model.imageSize)
    let gradients = FloatSlab(count: replica.layout.count)
    let labels = [Int32](repeating: 0, count: images)
    // What earlier cases left would be taken again without the process growing.
    ck_return_free_memory()
    let before = MemoryUse.now
    let engine = try Replica.makeEngine(c)
    _ = engine.train(
      TrainingPass(
        parameters: replica.parameters.base, gradients: gradients.base, accumulate: false,
        lossWeight: 1), images: input.base, labels: labels, count: images, ready: nil)
    let after = MemoryUse.now
    withExtendedLifetime((input, gradients, engine)) {}
    return max(after - before, 0)
  }
}
