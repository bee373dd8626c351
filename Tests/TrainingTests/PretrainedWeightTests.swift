// The usual Vision Transformer and its weights against timm, Hugging Face's transformers and torchvision.
import Diagnostics
import Foundation
import Models
import TensorFiles
import Tensors
import TestSupport
import Testing

@testable import Training

// Files under Golden/vit: `VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3,
// num_classes=5)` of timm with normal weights, its logits and gradients in double precision, rounded to floats; the
// same weights under the names of the other two libraries, whose models gave the same logits within 1e-15.

@Suite("Pretrained weights") struct PretrainedWeightTests {
  private let folder = goldenFolder.appendingPathComponent("vit").path
  private let results: SafetensorsFile

  init() throws { results = try SafetensorsFile(path: folder + "/results.safetensors") }

  private func model(imageSize: Int = 32, classes: Int = 5, precision: Precision = .single) throws
    -> VisionTransformer
  {
    var c = ModelConfiguration()
    c.architecture = .vit
    c.imageSize = imageSize
    c.patchSize = 8
    c.numLayers = 3
    c.numHeads = 3
    c.width = 24
    c.mlpWidth = 96
    c.numClasses = classes
    c.dropout = 0
    c.attentionDropout = 0
    return try VisionTransformer(configuration: c, capacity: 4, precision: precision)
  }

  private func weights(
    _ file: String, _ model: VisionTransformer, keepingHead: Bool = false
  ) throws -> FloatSlab {
    try weights(path: "\(folder)/\(file)", model, keepingHead: keepingHead)
  }

  private func weights(path: String, _ model: VisionTransformer, keepingHead: Bool = false) throws
    -> FloatSlab
  {
    let parameters = FloatSlab(count: model.layout.count)
    parameters.fill(.nan)
    try withExtendedLifetime(parameters) {
      try WeightFile(model.configuration, model)
        .read(into: parameters.base, from: path, keepingHead: keepingHead)
    }
    return parameters
  }

  private func relativeError(_ found: [Float], _ exact: [Float]) -> Double {
    let difference = zip(found, exact).reduce(0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
    let size = exact.reduce(0) { $0 + pow(Double($1), 2) }
    return (difference / size).squareRoot()
  }

  @Test("shapes tell the model", arguments: ["timm", "huggingface", "torchvision"])
  func inference(library: String) throws {
    let description = try #require(
      try WeightDescription(of: "\(folder)/\(library).safetensors"))
    #expect(description.isInferred && description.data == nil)
    var expected = try model().configuration
    (expected.dropout, expected.attentionDropout) = (0.1, 0.1)
    #expect(description.model == expected)
  }

  @Test(
    "heads are 64 channels wide, but in ViT-Huge", arguments: [(192, 3), (768, 12), (1280, 16)])
  func heads(width: Int, heads: Int) {
    let shapes = [
      "patch_embed.proj.weight": [width, 3, 14, 14], "pos_embed": [1, 257, width],
      "blocks.0.mlp.fc1.weight": [4 * width, width], "blocks.3.norm1.weight": [width],
      "blocks.9223372036854775807.norm1.weight": [width],
    ]
    func model(_ change: [String: [Int]] = [:], without name: String = "") -> ModelConfiguration? {
      let changed = shapes.merging(change) { $1 }.filter { $0.key != name }
      return ModelConfiguration(
        usualModelOf: changed.sorted { $0.key < $1.key }.map { (name: $0.key, shape: $0.value) })
    }
    let c = model()
    #expect(c?.numHeads == heads && c?.imageSize == 224 && c?.patchSize == 14)
    // Blocks 1 and 2 have holes, which reading names; a last one that no model has does not count.
    #expect(c?.numLayers == 4 && c?.mlpWidth == 4 * width && c?.numClasses == 10)
    for name in ["patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight"] {
      #expect(model(without: name) == nil)
      #expect(model([name: shapes[name]!.map { _ in 0 }]) == nil)
    }
    // With a distillation token, or of no square: some size, whose positions will not fit.
    for tokens in [1, 256, 258] {
      #expect(model(["pos_embed": [1, tokens, width]])?.imageSize == 224)
    }
  }

  @Test("no positions, or those of no square, are not resampled", arguments: [0, 1, 3, 4])
  func noPositions(tokens: Int) {
    let positions = [Float](repeating: 1, count: 2 * tokens)
    #expect(resampledPositions(positions, width: 2, side: 2) == nil)
  }

  @Test("names of torchvision's published files are known")
  func publishedNames() {
    let block = "encoder.layers.encoder_layer_11."
    for (published, here) in [("mlp.linear_1", "mlp.fc1"), ("mlp.linear_2", "mlp.fc2")] {
      for kind in ["weight", "bias"] {
        let place = Architecture.vit.place(of: "\(block)\(published).\(kind)")
        #expect(place.name == "blocks.11.\(here).\(kind)" && place.third == nil)
      }
    }
  }

  @Test(
    "logits are those of timm's model, whoever wrote the file",
    arguments: ["timm", "huggingface", "torchvision"])
  func logits(library: String) throws {
    let model = try model()
    let parameters = try weights(library + ".safetensors", model)
    let found = model.logits(
      images: try results.floats("images"), count: 4, parameters: parameters.base)
    // Sums of floats through three blocks.
    let error = relativeError(
      Array(UnsafeBufferPointer(start: found, count: 20)), try results.floats("logits"))
    #expect(error < 2e-6)
  }

  /// Of timm's model, in training; roundings of 2^-9 follow each other through three blocks in mixed precision.
  @Test(
    "gradients are those of timm's model", arguments: [(Precision.single, 5e-6), (.mixed, 0.03)])
  func gradients(precision: Precision, tolerance: Double) throws {
    let model = try model(precision: precision)
    let parameters = try weights("timm.safetensors", model)
    let gradients = FloatSlab(count: model.layout.count)
    gradients.fill(.nan)
    _ = model.train(
      TrainingPass(
        parameters: parameters.base, gradients: gradients.base, accumulate: false,
        lossWeight: 0.25),
      images: try results.floats("images"),
      labels: try results.floats("labels").map { Int32($0) }, count: 4)
    for place in model.layout.places {
      let exact = try results.floats("gradient." + place.spec.name)
      let error = relativeError(Array(gradients.buffer[place.range]), exact)
      #expect(error < tolerance, "\(place.spec.name)")
    }
    #expect(
      results.tensors.filter { $0.name.hasPrefix("gradient.") }.count == model.layout.places.count)
  }

  @Test("positions for other sizes of images are resampled as timm does", arguments: [3, 4, 7])
  func positions(side: Int) throws {
    let model = try model(imageSize: 8 * side, classes: 2)
    let parameters = try weights("timm.safetensors", model, keepingHead: true)
    let place = try #require(model.layout.places.first { $0.spec.name == "pos_embed" })
    let exact = try results.floats("positions.\(side)")
    // timm resamples floats.
    let error = relativeError(Array(parameters.buffer[place.range]), exact)
    #expect(error < 1e-6)
    for head in model.layout.places where head.spec.name.hasPrefix("head.") {
      #expect(parameters.buffer[head.range].allSatisfy { $0.isNaN })
    }
  }

  @Test("what is written is timm's file again") func written() throws {
    let model = try model()
    let parameters = try weights("huggingface.safetensors", model)
    let temporary = try TemporaryFolder()
    let path = temporary.path + "/w.safetensors"
    try WeightFile(model.configuration, model).write(parameters.base, to: path)
    let (ours, timms) = (
      try SafetensorsFile(path: path), try SafetensorsFile(path: "\(folder)/timm.safetensors")
    )
    #expect(Set(ours.tensors.map(\.name)) == Set(timms.tensors.map(\.name)))
    for tensor in timms.tensors {
      #expect(ours[tensor.name]?.shape == tensor.shape)
      #expect(ours[tensor.name].map(ours.bytes) == timms.bytes(tensor), "\(tensor.name)")
    }
  }

  @Test("a file of another architecture is refused with what to do") func otherArchitecture() throws
  {
    var c = try model().configuration
    c.architecture = .convnn
    let engine = try VisionTransformer(configuration: c, capacity: 1)
    for library in ["timm", "huggingface", "torchvision"] {
      let error = #expect(throws: RunError.self) {
        try weights("\(library).safetensors", engine)
      }
      #expect(error?.code == .configuration)
      #expect(error?.message.contains("--architecture vit") == true)
    }
  }

  @Test("a parameter is made of all three thirds or of a whole") func thirds() throws {
    let model = try model()
    let source = try SafetensorsFile(path: folder + "/huggingface.safetensors")
    let temporary = try TemporaryFolder()
    let key = "vit.encoder.layer.1.attention.attention.key.weight"
    func problem(_ change: (inout [String: TensorEntry]) -> Void) throws -> String? {
      var entries = Dictionary(uniqueKeysWithValues: source.tensors.map { ($0.name, $0) })
      change(&entries)
      let slabs = try entries.sorted { $0.key < $1.key }.map { name, entry in
        let slab = FloatSlab(count: entry.count)
        slab.base.update(from: try source.floats(entry.name), count: entry.count)
        return (name, entry.shape, slab)
      }
      let path = temporary.path + "/w.safetensors"
      try withExtendedLifetime(slabs) {
        try writeSafetensors(
          to: path, metadata: [:],
          tensors: slabs.map { TensorToWrite(name: $0.0, shape: $0.1, values: $0.2.base) })
      }
      let error = #expect(throws: RunError.self) { try weights(path: path, model) }
      return error?.message
    }
    #expect(
      try problem { $0[key] = nil }?.contains(
        "blocks.1.attn.qkv.weight cannot be made of vit.encoder.layer.1.attention.attention.")
        == true)
    #expect(
      try problem { $0["blocks.1.attn.qkv.weight"] = $0[key] }?.contains("cannot be made of")
        == true)
    #expect(
      try problem { $0["pooler.dense.weight"] = $0[key] }?.contains(
        "pooler.dense.weight has no place in this model") == true)
  }
}
