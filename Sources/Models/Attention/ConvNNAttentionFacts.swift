// What is known of a ConvNN layer before it is made.
import Diagnostics

// T tokens, D width, H heads, d = D/H, K neighbours.

extension ConvNNAttention: LayerFacts {
  static func validate(_ c: ModelConfiguration, tokens: Int) throws {
    try c.requireDivisible(by: c.convnnHeads, flag: "--convnn_heads")
    try c.validateSampling(tokens: tokens)
  }

  /// In the order of the reference's state dict.
  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    let (c, width, neighbours) = (s.configuration, s.width, s.configuration.neighbours)
    let headWidth = width / c.convnnHeads
    let valueWidth = ConvNNAttentionPlan.valueWidth(s)
    let maps = ["W_q", "W_k", "W_v", "W_o"].map {
      ParameterSpec.linear("\($0).weight", outputs: width, inputs: width)
    }
    let taps = [valueWidth, 1, neighbours]
    switch c.convolutionType {
    case .depthwise: return maps + [ParameterSpec("conv.weight", taps, .ones)]
    case .standard:
      let shape = [headWidth, valueWidth, neighbours]
      let fanIn = valueWidth * neighbours
      return maps + [ParameterSpec("conv.weight", shape, .uniform(fanIn: fanIn))]
    case .depthwiseSeparable:
      return maps + [
        ParameterSpec("conv.0.weight", taps, .uniform(fanIn: neighbours)),
        ParameterSpec("conv.1.weight", [headWidth, valueWidth, 1], .uniform(fanIn: valueWidth)),
      ]
    }
  }

  /// Queries, keys, values, merged heads; K weights a head.
  static func leastKept(_ s: LayerShape) -> Double {
    4 * Double(s.width) + Double(s.configuration.convnnHeads) * Double(s.configuration.neighbours)
  }

  /// Scores of all candidates; of a grid they are few.
  static func leastScratch(_ s: LayerShape) -> Double {
    let (c, t) = (s.configuration, Double(s.tokens))
    switch c.samplingType {
    case .all: return t * t
    case .random: return t * max(0, Double(c.sampleCount))
    case .spatial: return 0
    }
  }

  static func choices(_ c: ModelConfiguration) -> [String] {
    let sampling = ["\(c.samplingType.rawValue) N=\(c.sampleCount)"]
    return ["K=\(c.neighbours)"] + (c.samplingType == .all ? [] : sampling)
  }

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer {
    ConvNNAttention(s, scratch: scratch)
  }
}
