// What standard attention is made of: its parameters, and where they lie.

// D width.

/// W_q, W_k, W_v and W_o [D, D]; with biases, b_q, b_k, b_v and b_o [D] behind them. Named as in the document, or,
/// with biases, as in timm, where q, k and v are one map.
struct SelfAttentionParameters {
  let width: Int
  let hasBiases: Bool

  init(_ shape: LayerShape) {
    width = shape.width
    hasBiases = shape.configuration.architecture.hasAttentionBiases
  }

  private var square: Int { width * width }
  // Offsets from the first parameter.
  let queries = 0
  var keys: Int { square }
  var values: Int { 2 * square }
  var output: Int { 3 * square }
  var queryBias: Int { 4 * square }
  var keyBias: Int { queryBias + width }
  var valueBias: Int { queryBias + 2 * width }
  var outputBias: Int { queryBias + 3 * width }

  var specs: [ParameterSpec] {
    guard hasBiases else {
      return ["W_q", "W_k", "W_v", "W_o"].map {
        .linear("\($0).weight", outputs: width, inputs: width)
      }
    }
    return [
      .normal("qkv.weight", [3 * width, width], deviation: 0.02),
      .normal("proj.weight", [width, width], deviation: 0.02),
      .zeros("qkv.bias", count: 3 * width), .zeros("proj.bias", count: width),
    ]
  }
}
