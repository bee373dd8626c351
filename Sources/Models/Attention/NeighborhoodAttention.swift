// Neighborhood attention in one dimension (Hassani et al. 2023, arXiv:2204.07143; dilated: 2209.15001).
import Diagnostics

// T tokens, D width, K neighbours.

/// O = dropout(W · softmax(Q Kᵀ / √d over K neighbours) V + bias): every token sees exactly K keys of
/// its own dilation group, in a window that is shifted, not shrunk, at the ends. No dropout on the
/// probabilities.
enum NeighborhoodAttention: BandKind {
  static func validate(_ c: ModelConfiguration, tokens: Int) throws {
    try c.validateHeads()
    let (size, dilation) = (c.neighbours, c.dilation)
    guard size > 1, size * dilation <= tokens else {
      let most = tokens / dilation
      throw RunError.configuration(
        "--K is \(size): NeighborhoodAttention needs a kernel of at least 2, and of at most "
          + "\(tokens) tokens" + (dilation > 1 ? " / dilation \(dilation)" : "") + ".\n"
          + (most > 1 ? "Choose --K from 2 to \(most)." : "Choose smaller patches."))
    }
  }

  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    [
      .linear("qkv.weight", outputs: 3 * s.width, inputs: s.width),
      .linear("proj.weight", outputs: s.width, inputs: s.width),
      .bias("proj.bias", outputs: s.width, fanIn: s.width),
    ]
  }

  static func leastSeen(_ s: LayerShape) -> Double { Double(s.configuration.neighbours) }

  static func choices(_ c: ModelConfiguration) -> [String] { ["K=\(c.neighbours)"] }

  static func traits(_ s: LayerShape) -> BandLayer.Traits {
    let (c, tokens) = (s.configuration, s.tokens)
    let (size, dilation) = (c.neighbours, c.dilation)
    precondition(s.width % c.numHeads == 0 && size > 0 && dilation > 0 && size * dilation <= tokens)
    return BandLayer.Traits(
      pattern: .neighborhood(tokens: tokens, size: size, dilation: dilation),
      headWidth: headWidth(s), hasBias: true, dropout: .ofOutput)
  }
}
