// A new model on random images: what `--test_only` does without a checkpoint.
import Datasets
import Diagnostics
import Models
import Tensors

/// `--test_only` without a checkpoint: a batch of three random images through a new model.
public func outputShape(_ given: RunConfiguration) throws -> String {
  try given.validate(trains: false)
  var c = given
  c.fitWithoutData()
  try c.validateModel(ranks: 1, trains: false)
  let engine = try VisionTransformer(
    configuration: c.model, capacity: 3, precision: c.precision)
  let parameters = FloatSlab(count: engine.layout.count)
  engine.layout.initialize(parameters.base, seed: c.seed)
  let images = FloatSlab(count: 3 * 3 * c.model.imageSize * c.model.imageSize)
  RandomSequence(seed: c.seed, purpose: .testInput).fillNormal(images.base, count: images.count)
  let logits = engine.logits(images: images.base, count: 3, parameters: parameters.base)
  let count = 3 * c.model.numClasses
  guard UnsafeBufferPointer(start: logits, count: count).allSatisfy(\.isFinite) else {
    throw RunError(.notFinite, "The output of a new model holds numbers that are not finite.")
  }
  return "Output shape: (3, \(c.model.numClasses))"
}
