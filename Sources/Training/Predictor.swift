// Classes of single images, and logits of tensor files.
import Datasets
import Diagnostics
import Foundation
import Models
import TensorFiles
import Tensors

/// A model with its weights, in evaluation mode.
public final class Predictor {
  private let engine: VisionTransformer
  private let parameters: FloatSlab
  private let configuration: RunConfiguration
  private let packed: PackedWeights
  private let classNames: [String]
  private let transform: ImageTransform
  private let decoder = ImageDecoder()
  private let buffer = ImageBuffer()

  /// - Parameters:
  ///   - given: its model as the weights were trained with, but for the number of classes; its data set
  ///     gives the normalisation.
  ///   - data: gives the names of classes. Without it, or where another data set is given, the data set
  ///     does, if it can be opened.
  public init(
    _ given: RunConfiguration, weights path: String, trainedOn data: WeightDescription.TrainingData?
  ) throws {
    var c = given
    try c.validate(trains: false)
    c.fitWithoutData()
    // The classes of a folder of images are its own.
    let classifier = try SafetensorsFile(path: path).tensors.first {
      c.model.architecture.isClassifierWeight($0.name)
    }
    if let classes = classifier?.shape.first { c.model.numClasses = classes }
    try c.validateModel(ranks: 1, trains: false)
    configuration = c
    engine = try VisionTransformer(
      configuration: c.model, capacity: c.resolvedMicroBatch, precision: c.precision)
    parameters = FloatSlab(count: engine.layout.count)
    try WeightFile(c.model, engine).read(into: parameters.base, from: path)
    let side = c.model.imageSize
    let known = data.flatMap { $0.dataset == c.dataset ? $0.classNames : nil }
    let names =
      known
      ?? (try? openDataset(c.dataset, split: .test, path: c.dataPath, resize: side))?.classNames
      ?? []
    classNames =
      names.count == c.model.numClasses
      ? names : (0..<c.model.numClasses).map { "class \($0)" }
    packed = PackedWeights(of: parameters)
    transform = ImageTransform(
      size: side, framing: c.dataset == .imagenet ? c.imagenetTransform : .squash,
      isTraining: false,
      augment: false, noise: 0, seed: 0,
      statistics: c.normalization.statistics(of: c.dataset))
  }

  /// Class names and probabilities, most likely first; ties in the order of classes.
  ///
  /// - Throws: `RunError` (data) for a file that is no whole JPEG or PNG image.
  public func predict(image path: String) throws -> [(name: String, probability: Double)] {
    do {
      // As in evaluation: large images are decoded at a fraction of their size.
      try decoder.decode(path: path, into: buffer) {
        transform.region(width: $0, height: $1, epoch: 0, index: 0)
      }
    } catch let error as ImageError {
      throw RunError.data("\(path) cannot be used: \(error.reason).")
    }
    let side = configuration.model.imageSize
    let input = FloatSlab(count: 3 * side * side)
    let logits = input.use { input in
      transform.apply(
        buffer, epoch: 0, index: 0, workspace: transform.makeWorkspace(), out: input)
      return packed.use {
        engine.logits(images: input, count: 1, parameters: parameters.base)
      }
    }
    let values = (0..<configuration.model.numClasses).map { Double(logits[$0]) }
    guard values.allSatisfy(\.isFinite) else {
      throw RunError(
        .notFinite,
        """
        \(path): the model's output holds numbers that are not finite.
        Its weights are not those of a run that went well: take an earlier checkpoint.
        """)
    }
    let largest = values.max() ?? 0
    let sum = values.reduce(0) { $0 + exp($1 - largest) }
    return values.indices.sorted { (values[$1], $0) < (values[$0], $1) }.map {
      (classNames[$0], exp(values[$0] - largest) / sum)
    }
  }

  /// Maps `input` (B, 3, S, S) of a safetensors file to `logits` (B, C) of another.
  public func predict(tensors path: String, to output: String) throws {
    let file = try SafetensorsFile(path: path)
    let side = configuration.model.imageSize
    guard let entry = file["input"], entry.shape.count == 4, entry.shape[1...] == [3, side, side]
    else {
      let found = file["input"].map { "tensor input is \($0.shape)" } ?? "there is no tensor input"
      throw RunError.data(
        "\(path): \(found), expected (B, 3, \(side), \(side)), normalised.")
    }
    let images = try file.floats("input")
    let classes = configuration.model.numClasses
    let logits = FloatSlab(count: entry.shape[0] * classes)
    images.withUnsafeBufferPointer { images in
      for part in pieces(0..<entry.shape[0], size: engine.capacity) {
        let result = packed.use {
          engine.logits(
            images: images.baseAddress! + part.lowerBound * 3 * side * side, count: part.count,
            parameters: parameters.base)
        }
        (logits.base + part.lowerBound * classes).update(from: result, count: part.count * classes)
      }
    }
    try logits.use {
      try writeSafetensors(
        to: output, metadata: [:],
        tensors: [TensorToWrite(name: "logits", shape: [entry.shape[0], classes], values: $0)])
    }
  }
}
