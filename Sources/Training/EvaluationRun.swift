// Evaluation of a weights file, without training.
import Collectives
import Datasets
import Diagnostics
import Models
import Reports
import Tensors

/// Loads weights and evaluates them on the test set, on all ranks.
public final class EvaluationRun {
  private let group: ProcessGroup
  private let loader: BatchLoader
  private let evaluator: Evaluator
  private let parameters: FloatSlab

  /// - Parameters:
  ///   - path: a safetensors file of weights, read by rank 0.
  ///   - data: what they were trained on, where that is known.
  /// - Throws: `SharedError`.
  public init(
    _ given: RunConfiguration, group: ProcessGroup, weights path: String,
    trainedOn data: WeightDescription.TrainingData?
  ) throws {
    self.group = group
    let (c, dataset, engines) = try group.together {
      try given.validate(ranks: group.size, trains: false)
      // Not before it is known to be a time.
      group.stallTimeout = given.stallTimeout
      let dataset = try DataSetup.open(.test, given, trainedOn: data)
      let c = try DataSetup.fit(given, to: dataset, ranks: group.size, trains: false)
      let engines = try (0..<c.threads).map { _ in try Replica.makeEngine(c) }
      return (c, dataset, engines)
    }
    // Before anything travels whose size depends on flags or data.
    try Agreement.checkRun(group, c, data: [dataset.fingerprint])
    parameters = FloatSlab(count: engines[0].layout.count)
    let parameters = self.parameters
    try group.together {
      guard group.rank == 0 else { return }
      try WeightFile(c.model, engines[0]).read(into: parameters.base, from: path)
    }
    try group.broadcast(parameters.base, count: parameters.count)
    loader = DataSetup.loader(dataset, c, training: false)
    evaluator = Evaluator(
      group: group, engines: engines, loader: loader, criterion: c.criterion,
      meanOverBatches: c.model.referenceQuirks ? c.batchSize : nil)
  }

  deinit { loader.stop() }

  /// Evaluates on the whole test set.
  ///
  /// - Returns: on every rank, how many images there are, their mean loss, and accuracies in percent.
  /// - Throws: as `Trainer.run`.
  public func run() throws -> (images: Int, result: SplitResult) {
    guard
      let means = try evaluator.evaluate(
        parameters: parameters.base, packed: PackedWeights(of: parameters))
    else {
      preconditionFailure("signals end this program, which does not catch them")
    }
    if group.rank == 0, let first = evaluator.badImages.first {
      say(
        "Note: \(evaluator.replacedImages) damaged images were replaced by others, the first:"
          + " \(first.source): \(first.reason).")
    }
    return (means.images, means.result)
  }
}
