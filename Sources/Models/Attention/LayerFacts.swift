// From `--layer` to the layer: how one is made, and what is known of it before.

// B images of a micro-batch, T tokens, D width, H heads, K neighbours.

/// What an attention layer is made for.
struct LayerShape {
  /// `validateLayer` accepts it.
  let configuration: ModelConfiguration
  /// D; in a branch less than the model's.
  let width: Int
  let tokens: Int
  /// The largest B.
  let capacity: Int
  /// Tokens that random sampling would otherwise draw.
  let candidates: [Int32]?

  init(
    _ configuration: ModelConfiguration, width: Int, tokens: Int, capacity: Int = 1,
    candidates: [Int32]? = nil
  ) {
    self.configuration = configuration
    self.width = width
    self.tokens = tokens
    self.capacity = capacity
    self.candidates = candidates
  }

  /// Of the layers of a whole model.
  init(_ configuration: ModelConfiguration, capacity: Int = 1) {
    self.init(
      configuration, width: configuration.width, tokens: configuration.tokens, capacity: capacity)
  }

  /// The same on `width` channels.
  func branch(width: Int) -> LayerShape {
    LayerShape(
      configuration, width: width, tokens: tokens, capacity: capacity, candidates: candidates)
  }

  /// The layer that the configuration names.
  func makeLayer(scratch: Scratch) -> any AttentionLayer {
    configuration.layer.facts.make(self, scratch: scratch)
  }
}

/// A kind of attention layer: all that the rest of the program asks before there is one.
///
/// Memory is told in floating point and as a lower bound: a run that cannot fit is refused by it.
protocol LayerFacts {
  /// Checks a model's layers for sequences of `tokens` tokens.
  ///
  /// - Throws: `RunError` (configuration) naming the flag that cannot work, and values that would.
  static func validate(_ c: ModelConfiguration, tokens: Int) throws

  /// As `AttentionLayer.parameters`.
  static func parameters(_ s: LayerShape) -> [ParameterSpec]

  /// Numbers that a training pass keeps per token: in mixed precision each takes half a float.
  static func leastKept(_ s: LayerShape) -> Double

  /// The same of the last block, where only the class token's output is wanted.
  static func leastKeptLast(_ s: LayerShape) -> Double

  /// Floats that one compute thread needs beside that: scores of one head of one image.
  static func leastScratch(_ s: LayerShape) -> Double

  /// Choices that tell layers of this kind apart in a table, such as "K=9".
  static func choices(_ c: ModelConfiguration) -> [String]

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer
}

extension LayerFacts {
  static func validate(_ c: ModelConfiguration, tokens: Int) throws { try c.validateHeads() }
  static func leastKeptLast(_ s: LayerShape) -> Double { leastKept(s) }
  static func choices(_ c: ModelConfiguration) -> [String] { [] }
}

extension LayerKind {
  /// The one place that lists the layers beside the cases themselves.
  var facts: any LayerFacts.Type {
    switch self {
    case .attention: MultiHeadAttention.self
    case .convNNAttention: ConvNNAttention.self
    case .kvtAttention: KvtAttention.self
    case .localAttention: LocalAttention.self
    case .neighborhoodAttention: NeighborhoodAttention.self
    case .sparseAttention: SparseAttention.self
    case .branchConv: BranchConv.self
    case .branchAttention: BranchAttention.self
    }
  }
}

extension ModelConfiguration {
  /// The layer with its choices, for a table.
  public var layerTitle: String {
    ([layer.rawValue] + layer.facts.choices(self)).joined(separator: " ")
  }
}
