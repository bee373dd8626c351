// Multi-head attention over a fixed subset of pairs (the patterns of Child et al. 2019,
// arXiv:1904.10509): all, a window, or every w-th token.
import Tensors

// B images, T tokens, Q output tokens, D width.

/// O = dropout(softmax(Q Kᵀ / √d over the allowed pairs)) V per head, then out_proj. No biases.
/// With window w: `local` allows |i − j| ≤ w/2 (integer), `strided` (i − j) mod w = 0.
public final class SparseAttention: AttentionLayer {
  public let parameters: [ParameterSpec]
  public let needsAllTokens = false

  private let dropsInEvaluation: Bool
  private let attention: BandAttention
  private let frame: AttentionFrame

  init(_ shape: LayerShape, scratch: Scratch) {
    let (c, width, tokens) = (shape.configuration, shape.width, shape.tokens)
    let (heads, window) = (c.numHeads, c.sparseContextWindow)
    precondition(width % heads == 0 && window > 0)
    dropsInEvaluation = c.referenceQuirks
    let pattern =
      switch c.sparseMode {
      case .all: BandPattern.all(tokens: tokens)
      case .local: BandPattern.window(tokens: tokens, reach: window / 2)
      case .strided: BandPattern.strided(tokens: tokens, stride: window)
      }
    parameters = Self.parameters(shape)
    var layout = scratch.layout()
    attention = BandAttention(
      scratch: scratch, layout: &layout, pattern: pattern, heads: heads, headWidth: width / heads,
      capacity: shape.capacity, dropout: c.attentionDropout)
    frame = AttentionFrame(
      scratch: scratch, layout: &layout, width: width, inner: width, tokens: tokens,
      capacity: shape.capacity)
  }

  public func operations(outputTokens: Int) -> Int {
    frame.operations(outputTokens: outputTokens, reach: attention.reach(outputTokens))
      + attention.operations(outputTokens: outputTokens)
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    frame.forward(
      pass, input: input, output: output, reach: attention.reach(pass.outputTokens)
    ) { qkv, merged in
      attention.forward(dropping(pass), qkv: qkv, merged: merged)
    }
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    frame.backward(
      pass, input: input, dOutput: dOutput, dInput: dInput,
      reach: attention.reach(pass.outputTokens)
    ) { qkv, dMerged, dQkv in
      attention.backward(dropping(pass), qkv: qkv, dMerged: dMerged, dQkv: dQkv)
    }
  }

  /// The reference drops in evaluation too; the numbers of step 0, which no training step has, make two
  /// evaluations agree.
  private func dropping(_ pass: LayerPass) -> LayerPass {
    guard dropsInEvaluation && !pass.training else { return pass }
    var copy = pass
    copy.training = true
    copy.step = 0
    return copy
  }
}

extension SparseAttention: LayerFacts {
  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    ["q_proj", "k_proj", "v_proj", "out_proj"].map {
      .linear("\($0).weight", outputs: s.width, inputs: s.width)
    }
  }

  /// Queries, keys, values, merged heads; probabilities of the pairs that every token has.
  static func leastKept(_ s: LayerShape) -> Double {
    let c = s.configuration
    let (t, window) = (Double(s.tokens), Double(c.sparseContextWindow))
    let seen =
      switch c.sparseMode {
      case .all: t
      case .local: min(t, window / 2 + 1)
      case .strided: max(1, t / window)
      }
    return 4 * Double(s.width) + Double(c.numHeads) * seen
  }

  static func leastScratch(_ s: LayerShape) -> Double { 0 }

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer {
    SparseAttention(s, scratch: scratch)
  }
}
