// Windowed attention with rotary positions (Beltagy et al. 2020, arXiv:2004.05150; Su et al. 2021,
// arXiv:2104.09864).
import Diagnostics

// T tokens, D width, H heads, d head width, I = H·d.

/// O = dropout(softmax(R(Q) R(K)ᵀ / √d over |i − j| ≤ window)) V per head, then to_out. R turns channels
/// c and c + d/2 of token t by t · 10000^(−2c/d). No biases.
enum LocalAttention: BandKind {
  static func validate(_ c: ModelConfiguration, tokens: Int) throws {
    guard c.localHeadWidth % 2 == 0 else {
      throw RunError.configuration(
        "dim_head is \(c.localHeadWidth): rotary positions turn pairs of channels; use an even "
          + "number.")
    }
  }

  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    let inner = s.configuration.numHeads * headWidth(s)
    return [
      .linear("to_qkv.weight", outputs: 3 * inner, inputs: s.width),
      .linear("to_out.weight", outputs: s.width, inputs: inner),
    ]
  }

  static func headWidth(_ s: LayerShape) -> Int { s.configuration.localHeadWidth }

  /// Half of the window, at the ends.
  static func leastSeen(_ s: LayerShape) -> Double {
    min(Double(s.tokens), Double(s.configuration.localWindow) + 1)
  }

  static func traits(_ s: LayerShape) -> BandLayer.Traits {
    let (tokens, headWidth) = (s.tokens, headWidth(s))
    let window = s.configuration.localWindow
    let quirks = s.configuration.referenceQuirks
    precondition(headWidth % 2 == 0 && headWidth > 0 && window > 0)
    var traits = BandLayer.Traits(
      pattern: .window(tokens: tokens, reach: window), headWidth: headWidth)
    if quirks {
      // The reference pads with zero tokens up to a multiple of the window, and lets them take part.
      let padded = (tokens + window - 1) / window * window
      traits.zeroKeys = { max(0, min($0 + window + 1, padded) - tokens) }
    }
    let frequencies = RotaryTable.frequencies(width: headWidth)
    traits.rotary = RotaryTable(
      frequencies: frequencies, tokens: tokens, queryOffset: quirks ? window : 0)
    traits.buffers = [
      LayerBuffer(name: "attn_fn.rel_pos.inv_freq", shape: [headWidth / 2], values: frequencies)
    ]
    return traits
  }
}
