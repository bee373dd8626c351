// Multi-head attention over a fixed subset of pairs (the patterns of Child et al. 2019,
// arXiv:1904.10509): all, a window, or every w-th token.

// T tokens, D width.

/// O = dropout(softmax(Q Kᵀ / √d over the allowed pairs)) V per head, then out_proj. No biases.
/// With window w: `local` allows |i − j| ≤ w/2 (integer), `strided` (i − j) mod w = 0.
enum SparseAttention: BandKind {
  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    ["q_proj", "k_proj", "v_proj", "out_proj"].map {
      .linear("\($0).weight", outputs: s.width, inputs: s.width)
    }
  }

  static func leastSeen(_ s: LayerShape) -> Double {
    let (t, window) = (Double(s.tokens), Double(s.configuration.sparseContextWindow))
    switch s.configuration.sparseMode {
    case .all: return t
    case .local: return min(t, window / 2 + 1)
    case .strided: return max(1, t / window)
    }
  }

  static func traits(_ s: LayerShape) -> BandLayer.Traits {
    let (c, tokens) = (s.configuration, s.tokens)
    let window = c.sparseContextWindow
    precondition(s.width % c.numHeads == 0 && window > 0)
    let pattern =
      switch c.sparseMode {
      case .all: BandPattern.all(tokens: tokens)
      case .local: BandPattern.window(tokens: tokens, reach: window / 2)
      case .strided: BandPattern.strided(tokens: tokens, stride: window)
      }
    return BandLayer.Traits(
      pattern: pattern, headWidth: headWidth(s),
      dropout: c.referenceQuirks ? .always : .ofProbabilities)
  }
}
