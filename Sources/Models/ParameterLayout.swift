// Where every parameter lies in the slabs of parameters, gradients and moments.
import TensorFiles
import Tensors

/// One tensor's place in a slab.
public struct ParameterPlace: Sendable {
  public let spec: ParameterSpec
  public let offset: Int
  public var range: Range<Int> { offset..<offset + spec.count }
}

/// All parameters of a Vision Transformer in the order in which the backward pass finishes their
/// gradients (classifier, last block ... first block, embedding), so that what is ready to be
/// exchanged is always the beginning of the gradient slab. No gaps.
public struct ParameterLayout: Sendable {
  public let places: [ParameterPlace]
  public let count: Int
  /// Offsets of the parts, for the engine.
  let classifier: Int
  let blocks: [BlockOffsets]
  let embedding: Int

  struct BlockOffsets: Sendable {
    var mlp3Weight = 0
    var mlp3Bias = 0
    var mlp0Weight = 0
    var mlp0Bias = 0
    var norm2 = 0
    var attention = 0
    var norm1 = 0
    /// Behind the block's last parameter.
    var end = 0

    var mlp: Range<Int> { mlp3Weight..<attention }
    /// Of the attention branch.
    var attended: Range<Int> { attention..<end }
  }

  /// - Parameter attention: the specifications of one block's attention layer.
  public init(configuration c: ModelConfiguration, attention: [ParameterSpec]) {
    var places: [ParameterPlace] = []
    var offset = 0
    func add(_ spec: ParameterSpec) -> Int {
      places.append(ParameterPlace(spec: spec, offset: offset))
      offset += spec.count
      return offset - spec.count
    }
    func norm(_ name: String) -> Int {
      let start = add(ParameterSpec("\(name).weight", [c.width], .ones, decays: false))
      _ = add(ParameterSpec("\(name).bias", [c.width], .zeros, decays: false))
      return start
    }
    classifier = add(.linear("classifier.weight", outputs: c.numClasses, inputs: c.width))
    _ = add(.bias("classifier.bias", outputs: c.numClasses, fanIn: c.width))

    var blocks = [BlockOffsets](repeating: BlockOffsets(), count: c.numLayers)
    for block in (0..<c.numLayers).reversed() {
      let prefix = "transformer_encoder.\(block)."
      var at = BlockOffsets()
      at.mlp3Weight = add(
        .linear(prefix + "mlp.3.weight", outputs: c.width, inputs: c.mlpWidth))
      at.mlp3Bias = add(.bias(prefix + "mlp.3.bias", outputs: c.width, fanIn: c.mlpWidth))
      at.mlp0Weight = add(
        .linear(prefix + "mlp.0.weight", outputs: c.mlpWidth, inputs: c.width))
      at.mlp0Bias = add(.bias(prefix + "mlp.0.bias", outputs: c.mlpWidth, fanIn: c.width))
      at.norm2 = norm(prefix + "norm2")
      at.attention = offset
      for spec in attention { _ = add(spec.prefixed(prefix + "attention.")) }
      at.norm1 = norm(prefix + "norm1")
      at.end = offset
      blocks[block] = at
    }
    self.blocks = blocks

    embedding = offset
    _ = add(
      ParameterSpec("positional_encoding.cls_tokens", [1, 1, c.width], .normal, decays: false))
    _ = norm("patch_embedding.norm")
    let patch = 3 * c.patchSize * c.patchSize
    _ = add(
      ParameterSpec(
        "patch_embedding.linear_projection.weight", [c.width, 3, c.patchSize, c.patchSize],
        .uniform(fanIn: patch)))
    _ = add(.bias("patch_embedding.linear_projection.bias", outputs: c.width, fanIn: patch))
    self.places = places
    count = offset
  }

  /// First values of all parameters. Each tensor has a random sequence of its own, keyed by its name, so
  /// that models with different layers start from the same values wherever they have the same tensors.
  public func initialize(_ parameters: UnsafeMutablePointer<Float>, seed: UInt64) {
    for place in places {
      let key = Array(place.spec.name.utf8).withUnsafeBytes { Checksum.value(of: $0) }
      let sequence = RandomSequence(
        seed: seed, purpose: .initialization, item: Int(key & 0xFFFF_FFFF))
      let target = parameters + place.offset
      let count = place.spec.count
      switch place.spec.initialization {
      case .uniform(let fanIn):
        let bound = 1 / Float(fanIn).squareRoot()
        sequence.fillUniform(target, count: count, low: -bound, high: bound)
      case .normal: sequence.fillNormal(target, count: count)
      case .zeros: target.update(repeating: 0, count: count)
      case .ones: target.update(repeating: 1, count: count)
      }
    }
  }
}
