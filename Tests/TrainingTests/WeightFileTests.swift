// Weights to files and back.
import Diagnostics
import Foundation
import Models
import TensorFiles
import Tensors
import TestSupport
import Testing

@testable import Training

@Suite("Weight files") struct WeightFileTests {
  private func model(_ layer: LayerKind) throws -> (ModelConfiguration, VisionTransformer) {
    var c = ModelConfiguration()
    c.layer = layer
    c.imageSize = 16
    c.patchSize = 8
    c.numLayers = 2
    c.numHeads = 2
    c.width = 8
    c.mlpWidth = 12
    c.numClasses = 3
    return (c, try VisionTransformer(configuration: c, capacity: 1))
  }

  @Test("what is written is read back", arguments: [LayerKind.attention, .localAttention])
  func roundTrip(layer: LayerKind) throws {
    let folder = try TemporaryFolder()
    let (c, engine) = try model(layer)
    let file = WeightFile(c, engine)
    let count = engine.layout.count
    let (a, b) = (FloatSlab(count: count), FloatSlab(count: count))
    engine.layout.initialize(a.base, seed: 3)
    b.fill(.nan)
    let path = folder.path + "/w.safetensors"
    try file.write(a.base, to: path)
    try file.read(into: b.base, from: path)
    #expect(a.buffer.elementsEqual(b.buffer))
    #expect(try WeightDescription(of: path)?.model == c)
    let tensors = try SafetensorsFile(path: path).tensors.map(\.name)
    #expect(tensors == tensors.sorted())
    #expect(tensors.contains("positional_encoding.pe"))
    let frequencies = "transformer_encoder.1.attention.attn_fn.rel_pos.inv_freq"
    #expect(tensors.contains(frequencies) == (layer == .localAttention))
  }

  @Test("the data that weights were trained on are told with them") func trainingData() throws {
    let folder = try TemporaryFolder()
    let (c, engine) = try model(.attention)
    let slab = FloatSlab(count: engine.layout.count)
    let path = folder.path + "/w.safetensors"
    let data = WeightDescription.TrainingData(
      dataset: .imagenet, imagenetTransform: .squash, classNames: ["a \"b\"", "ü", "c"])
    try WeightFile(c, engine, data: data).write(slab.base, to: path)
    #expect(try WeightDescription(of: path)?.data == data)
    try WeightFile(c, engine).write(slab.base, to: path)
    let description = try #require(try WeightDescription(of: path))
    #expect(description.data == nil)
  }

  @Test("one flipped bit of a weight is found") func damaged() throws {
    let folder = try TemporaryFolder()
    let (c, engine) = try model(.attention)
    let slab = FloatSlab(count: engine.layout.count)
    let path = folder.path + "/w.safetensors"
    let file = WeightFile(c, engine)
    try file.write(slab.base, to: path)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    bytes[bytes.count - 9] ^= 1
    try bytes.write(to: URL(fileURLWithPath: path))
    let error = #expect(throws: RunError.self) { try file.read(into: slab.base, from: path) }
    #expect(error?.code == .checkpointDamaged)
    #expect(error?.message.contains(path) == true)
  }

  @Test("a constant of another size is refused") func misshapenBuffer() throws {
    let folder = try TemporaryFolder()
    let (c, engine) = try model(.attention)
    var larger = c
    larger.imageSize = 24
    let other = try VisionTransformer(configuration: larger, capacity: 1)
    let slab = FloatSlab(count: engine.layout.count)
    let path = folder.path + "/w.safetensors"
    try WeightFile(larger, other).write(slab.base, to: path)
    let error = #expect(throws: RunError.self) {
      try WeightFile(c, engine).read(into: slab.base, from: path)
    }
    #expect(
      error?.message.contains("positional_encoding.pe is [1, 10, 8], expected [1, 5, 8]") == true)
  }

  @Test("missing, misshapen and extra tensors are listed") func misfit() throws {
    let folder = try TemporaryFolder()
    let (c, engine) = try model(.attention)
    var values = [Float](repeating: 0, count: 1000)
    let path = folder.path + "/w.safetensors"
    let all = engine.layout.places.map(\.spec)
    try values.withUnsafeMutableBufferPointer { values in
      let base = UnsafePointer(values.baseAddress!)
      var tensors = all.dropFirst(2).map {
        TensorToWrite(name: $0.name, shape: $0.shape, values: base)
      }
      tensors[0] = TensorToWrite(name: all[2].name, shape: [1, 2], values: base)
      tensors.append(TensorToWrite(name: "stray", shape: [1], values: base))
      try writeSafetensors(to: path, metadata: [:], tensors: tensors)
    }
    let slab = FloatSlab(count: engine.layout.count)
    let error = #expect(throws: RunError.self) {
      try WeightFile(c, engine).read(into: slab.base, from: path)
    }
    let text = try #require(error?.message)
    #expect(error?.code == .configuration)
    #expect(
      text.contains("\(all[0].name) is missing") && text.contains("\(all[1].name) is missing"))
    #expect(text.contains("\(all[2].name) is [1, 2]") && text.contains("and 1 more"))
  }
}
