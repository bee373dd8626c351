// Windowed attention with rotary positions (Beltagy et al. 2020, arXiv:2004.05150; Su et al. 2021,
// arXiv:2104.09864).
import CKernels
import Diagnostics
import Foundation
import Tensors

// B images, T tokens, Q output tokens, D width, H heads, d head width, I = H·d.

/// O = dropout(softmax(R(Q) R(K)ᵀ / √d over |i − j| ≤ window)) V per head, then to_out. R turns channels
/// c and c + d/2 of token t by t · 10000^(−2c/d). No biases.
public final class LocalAttention: AttentionLayer, BufferOwning {
  public let parameters: [ParameterSpec]
  public let needsAllTokens = false
  public let buffers: [LayerBuffer]

  private let inner: Int
  private let tokens: Int
  private let rotary: RotaryTable?
  private let attention: BandAttention
  private let frame: AttentionFrame

  /// - Parameter turns: false leaves rotary positions out (tests compare with plain attention).
  init(_ shape: LayerShape, scratch: Scratch, turns: Bool = true) {
    let c = shape.configuration
    let (headWidth, window) = (c.localHeadWidth, c.localWindow)
    precondition(headWidth % 2 == 0 && headWidth > 0 && window > 0)
    tokens = shape.tokens
    inner = c.numHeads * headWidth
    parameters = Self.parameters(shape)
    let frequencies = RotaryTable.frequencies(width: headWidth)
    buffers = [
      LayerBuffer(name: "attn_fn.rel_pos.inv_freq", shape: [headWidth / 2], values: frequencies)
    ]
    let quirks = c.referenceQuirks
    rotary =
      turns
      ? RotaryTable(frequencies: frequencies, tokens: tokens, queryOffset: quirks ? window : 0)
      : nil
    // The reference pads with zero tokens up to a multiple of the window, and lets them take part.
    let (tokens, padded) = (tokens, (tokens + window - 1) / window * window)
    var layout = scratch.layout()
    attention = BandAttention(
      scratch: scratch, layout: &layout, pattern: .window(tokens: tokens, reach: window),
      heads: c.numHeads, headWidth: headWidth, capacity: shape.capacity,
      dropout: c.attentionDropout,
      zeroKeys: quirks ? { max(0, min($0 + window + 1, padded) - tokens) } : nil)
    frame = AttentionFrame(
      scratch: scratch, layout: &layout, width: shape.width, inner: inner, tokens: tokens,
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
      turn(qkv, pass: pass, direction: 1)
      attention.forward(pass, qkv: qkv, merged: merged)
    }
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    frame.backward(
      pass, input: input, dOutput: dOutput, dInput: dInput,
      reach: attention.reach(pass.outputTokens)
    ) { qkv, dMerged, dQkv in
      attention.backward(pass, qkv: qkv, dMerged: dMerged, dQkv: dQkv)
      turn(dQkv, pass: pass, direction: -1)
    }
  }

  /// Turns the queries and keys that take part by their positions; back when `direction` is −1.
  private func turn(_ qkv: Rows, pass: LayerPass, direction: Float) {
    guard let rotary else { return }
    let headWidth = attention.headWidth
    let reach = attention.reach(pass.outputTokens)
    for image in 0..<pass.images {
      let query = qkv.row(image * tokens)
      ck_rotary_rows(
        query, rotary.queryCosine, rotary.querySine, pass.outputTokens, qkv.stride, attention.heads,
        headWidth, direction)
      ck_rotary_rows(
        query + inner, rotary.keyCosine, rotary.keySine, reach.count, qkv.stride, attention.heads,
        headWidth, direction)
    }
  }
}

extension LocalAttention: LayerFacts {
  static func validate(_ c: ModelConfiguration, tokens: Int) throws {
    guard c.localHeadWidth % 2 == 0 else {
      throw RunError.configuration(
        "dim_head is \(c.localHeadWidth): rotary positions turn pairs of channels; use an even "
          + "number.")
    }
  }

  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    let inner = s.configuration.numHeads * s.configuration.localHeadWidth
    return [
      .linear("to_qkv.weight", outputs: 3 * inner, inputs: s.width),
      .linear("to_out.weight", outputs: s.width, inputs: inner),
    ]
  }

  /// Queries, keys, values, merged heads; of the window the half that every token has.
  static func leastKept(_ s: LayerShape) -> Double {
    let c = s.configuration
    let seen = min(Double(s.tokens), Double(c.localWindow) + 1)
    return Double(c.numHeads) * (4 * Double(c.localHeadWidth) + seen)
  }

  static func leastScratch(_ s: LayerShape) -> Double { 0 }

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer {
    LocalAttention(s, scratch: scratch)
  }
}
