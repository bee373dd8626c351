// The whole model against the first batch of the reference's own training run.
import Foundation
import TensorFiles
import Tensors
import TestSupport
import Testing

@testable import Models

@Suite("Vision Transformer") struct VisionTransformerTests {
  /// The first `count` records of the tiny CIFAR set, normalised.
  static func firstImages(_ count: Int) throws -> (pixels: [Float], labels: [Int32]) {
    let mean: [Float] = [0.4914, 0.4822, 0.4465]
    let deviation: [Float] = [0.2470, 0.2435, 0.2616]
    // Twelve records a file.
    let folder = goldenFolder.appendingPathComponent("cifar-10-batches-bin")
    var bytes: [UInt8] = []
    for file in ["data_batch_1.bin", "data_batch_2.bin"] {
      bytes += try Data(contentsOf: folder.appendingPathComponent(file))
    }
    var pixels: [Float] = []
    var labels: [Int32] = []
    for record in 0..<count {
      labels.append(Int32(bytes[record * 3073]))
      for i in 0..<3072 {
        let value = Float(bytes[record * 3073 + 1 + i]) / 255
        pixels.append((value - mean[i / 1024]) / deviation[i / 1024])
      }
    }
    return (pixels, labels)
  }

  static func relativeError(_ ours: [Float], _ golden: [Float]) -> Double {
    var difference = 0.0
    var norm = 0.0
    for (a, b) in zip(ours, golden) {
      difference += Double(a - b) * Double(a - b)
      norm += Double(b) * Double(b)
    }
    return (difference / max(norm, 1e-300)).squareRoot()
  }

  @Test(
    "recomputed activations give the same bits", arguments: [1, 2, 3, 5],
    [
      (LayerKind.attention, Architecture.convnn), (.convNNAttention, .convnn),
      (.kvtAttention, .convnn), (.localAttention, .convnn), (.neighborhoodAttention, .convnn),
      (.attention, .vit),
    ])
  func recomputation(layers: Int, kind: (layer: LayerKind, architecture: Architecture)) throws {
    var configuration = ModelConfiguration()
    (configuration.layer, configuration.architecture) = kind
    configuration.imageSize = 12
    configuration.patchSize = 4
    configuration.numLayers = layers
    configuration.numHeads = 2
    configuration.width = 24
    configuration.mlpWidth = 40
    configuration.neighbours = 3
    let images = FloatSlab(count: 3 * 3 * 144)
    RandomSequence(seed: 4, purpose: .testInput).fillNormal(images.base, count: images.count)
    let results = try [false, true].map { recomputes in
      let model = try VisionTransformer(
        configuration: configuration, capacity: 3, recomputes: recomputes)
      let parameters = FloatSlab(count: model.layout.count)
      model.layout.initialize(parameters.base, seed: 3)
      let gradients = FloatSlab(count: model.layout.count)
      gradients.fill(.nan)
      let statistics = model.train(
        TrainingPass(
          parameters: parameters.base, gradients: gradients.base, accumulate: false,
          lossWeight: 1.0 / 3, seed: 9, step: 2, firstPosition: 4),
        images: images.base, labels: [1, 0, 7], count: 3)
      return (statistics, gradients.buffer.map(\.bitPattern))
    }
    #expect(results[0].0 == results[1].0)
    #expect(results[0].1 == results[1].1)
    #expect(results[0].1.contains { Float(bitPattern: $0).isFinite && $0 != 0 })
  }

  @Test("loss, logits and every gradient of a batch", arguments: [16, 5, 1])
  func firstBatch(microBatch: Int) throws {
    let folder = goldenFolder.appendingPathComponent("training/attention_adamw_cosine")
    let start = try SafetensorsFile(path: folder.appendingPathComponent("init.safetensors").path)
    let golden = try SafetensorsFile(
      path: folder.appendingPathComponent("first_batch.safetensors").path)
    var configuration = try JSONDecoder().decode(
      ModelConfiguration.self, from: Data(start.metadata["config"]!.utf8))
    configuration.imageSize = 32
    let model = try VisionTransformer(configuration: configuration, capacity: microBatch)
    let parameters = FloatSlab(count: model.layout.count)
    let gradients = FloatSlab(count: model.layout.count)
    gradients.fill(.nan)
    for place in model.layout.places {
      let values = try start.floats(place.spec.name)
      (parameters.base + place.offset).update(from: values, count: values.count)
    }
    let (pixels, labels) = try Self.firstImages(16)
    var statistics = BatchStatistics()
    var logits: [Float] = []
    for first in stride(from: 0, to: 16, by: microBatch) {
      let count = min(microBatch, 16 - first)
      pixels.withUnsafeBufferPointer { images in
        let here = images.baseAddress! + first * 3072
        let output = model.logits(images: here, count: count, parameters: parameters.base)
        logits += UnsafeBufferPointer(start: output, count: count * 10)
        statistics += model.train(
          TrainingPass(
            parameters: parameters.base, gradients: gradients.base, accumulate: first > 0,
            lossWeight: 1.0 / 16, firstPosition: first),
          images: here, labels: Array(labels[first..<first + count]), count: count)
      }
    }
    let loss = Double(try golden.floats("loss")[0])
    #expect(abs(statistics.loss / 16 - loss) < 2e-6 * loss)
    #expect(Self.relativeError(logits, try golden.floats("logits")) < 5e-6)
    for place in model.layout.places {
      let ours = Array(
        UnsafeBufferPointer(start: gradients.base + place.offset, count: place.spec.count))
      let error = Self.relativeError(ours, try golden.floats("grad.\(place.spec.name)"))
      // Sums of up to 272 float products a value, through two blocks.
      #expect(error < 2e-5, "\(place.spec.name): \(error)")
    }
  }
}

@Suite("First values") struct FirstValuesTests {
  @Test("tensors of the same name start alike in every model, others differ")
  func sameNames() throws {
    func values(_ kind: LayerKind, seed: UInt64 = 3) throws -> [String: [Float]] {
      var configuration = ModelConfiguration()
      configuration.layer = kind
      configuration.imageSize = 12
      configuration.patchSize = 4
      configuration.numLayers = 2
      configuration.numHeads = 2
      configuration.width = 24
      configuration.mlpWidth = 40
      configuration.neighbours = 3
      let layout = try VisionTransformer(configuration: configuration, capacity: 1).layout
      let slab = FloatSlab(count: layout.count)
      layout.initialize(slab.base, seed: seed)
      return Dictionary(
        uniqueKeysWithValues: layout.places.map {
          ($0.spec.name, Array(slab.buffer[$0.range]))
        })
    }
    let attention = try values(.attention)
    let convnn = try values(.convNNAttention)
    for (name, tensor) in attention { #expect(convnn[name] == tensor, "\(name)") }
    // What is drawn at random is drawn apart.
    let drawn = attention.filter { !$0.key.contains("norm") }
    #expect(Set(drawn.values.map { $0[0] }).count == drawn.count)
    let other = try values(.attention, seed: 4)
    #expect(drawn.allSatisfy { other[$0.key] != $0.value })
  }
}
