// Where every parameter lies in the slabs of parameters, gradients and moments.
import Files
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
  let classifier: ClassifierOffsets
  let blocks: [BlockOffsets]
  let embedding: Int

  struct ClassifierOffsets: Sendable {
    var weight = 0
    var bias = 0
    /// Of an architecture that has it.
    var norm = 0
  }

  struct BlockOffsets: Sendable {
    var contractionWeight = 0
    var contractionBias = 0
    var expansionWeight = 0
    var expansionBias = 0
    var norm2 = 0
    var attention = 0
    var norm1 = 0
    /// Behind the block's last parameter.
    var end = 0

    /// Of the whole block.
    var count: Int { end - contractionWeight }
    var mlp: Range<Int> { contractionWeight..<attention }
    /// Of the attention branch.
    var attended: Range<Int> { attention..<end }
  }

  public init(configuration c: ModelConfiguration) {
    let attention = c.layer.facts.parameters(LayerShape(c))
    var places: [ParameterPlace] = []
    var offset = 0
    func add(_ spec: ParameterSpec) -> Int {
      places.append(ParameterPlace(spec: spec, offset: offset))
      offset += spec.count
      return offset - spec.count
    }
    func norm(_ name: String) -> Int {
      let start = offset
      for spec in ParameterSpec.norm(name, width: c.width) { _ = add(spec) }
      return start
    }
    func linear(_ name: String, outputs: Int, inputs: Int) -> (weight: Int, bias: Int) {
      let specs = c.architecture.linear(name, outputs: outputs, inputs: inputs)
      return (add(specs.weight), add(specs.bias))
    }
    let names = c.architecture.names
    var head = ClassifierOffsets()
    (head.weight, head.bias) = linear(names.classifier, outputs: c.numClasses, inputs: c.width)
    let headCount = offset
    if let name = names.norm { head.norm = norm(name) }
    classifier = head

    var blocks = [BlockOffsets](repeating: BlockOffsets(), count: c.numLayers)
    for block in (0..<c.numLayers).reversed() {
      let prefix = "\(names.blocks).\(block)."
      var at = BlockOffsets()
      (at.contractionWeight, at.contractionBias) = linear(
        prefix + names.contraction, outputs: c.width, inputs: c.mlpWidth)
      (at.expansionWeight, at.expansionBias) = linear(
        prefix + names.expansion, outputs: c.mlpWidth, inputs: c.width)
      at.norm2 = norm(prefix + "norm2")
      at.attention = offset
      for spec in attention { _ = add(spec.prefixed("\(prefix)\(names.attention).")) }
      at.norm1 = norm(prefix + "norm1")
      at.end = offset
      blocks[block] = at
    }
    self.blocks = blocks

    embedding = offset
    for spec in PatchEmbedding.parameters(c) { _ = add(spec) }
    self.places = places
    count = offset
    body = headCount..<offset
  }

  /// All but the classifier's linear map.
  let body: Range<Int>

  /// How many levels lie between a parameter and the output, as timm counts: 0 for the classifier, 1 for the last block
  /// and the norm behind it, …, for the embedding one more than there are blocks.
  public func levelsAbove(_ place: ParameterPlace) -> Int {
    let block = blocks.lastIndex { place.offset < $0.end && place.offset >= $0.contractionWeight }
    if let block { return blocks.count - block }
    guard place.offset < embedding else { return blocks.count + 1 }
    return body.contains(place.offset) ? 1 : 0
  }

  /// First values of all parameters. Each tensor has a random sequence of its own, keyed by its name, so
  /// that models with different layers start from the same values wherever they have the same tensors.
  public func initialize(_ parameters: UnsafeMutablePointer<Float>, seed: UInt64) {
    for place in places {
      let key = Array(place.spec.name.utf8).withUnsafeBytes { XXH3.value(of: $0) }
      let sequence = RandomSequence(
        seed: seed, purpose: .initialization, item: Int(key & 0xFFFF_FFFF))
      let target = parameters + place.offset
      let count = place.spec.count
      switch place.spec.initialization {
      case .uniform(let fanIn):
        let bound = 1 / Float(fanIn).squareRoot()
        sequence.fillUniform(target, count: count, low: -bound, high: bound)
      case .normal(let deviation):
        sequence.fillNormal(target, count: count, deviation: deviation)
      case .zeros: target.update(repeating: 0, count: count)
      case .ones: target.update(repeating: 1, count: count)
      }
    }
  }
}
