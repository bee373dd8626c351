// Windowed attention with rotary positions (Beltagy et al. 2020, arXiv:2004.05150; Su et al. 2021,
// arXiv:2104.09864).
import CKernels
import Foundation
import Tensors

// B images, T tokens, Q output tokens, D width, H heads, d head width, I = H·d.

/// O = dropout(softmax(R(Q) R(K)ᵀ / √d over |i − j| ≤ window)) V per head, then to_out. R turns channels
/// c and c + d/2 of token t by t · 10000^(−2c/d). No biases.
public final class LocalAttention: AttentionLayer, BufferOwning {
  public let parameters: [ParameterSpec]
  public let needsAllTokens = false
  public let buffers: [LayerBuffer]

  private let width: Int
  private let inner: Int
  private let tokens: Int
  private let rotary: RotaryTable?
  private let projections: BandAttentionProjections
  private let attention: BandAttention
  private let scratch: Scratch
  /// q, k (both turned) and v side by side [B·T, 3I].
  private let projected: KeptRows
  /// Merged heads before to_out [B·Q, I].
  private let merged: KeptRows

  public convenience init(
    configuration: ModelConfiguration, width: Int, tokens: Int, capacity: Int, heads: Int,
    scratch: Scratch
  ) {
    self.init(
      configuration: configuration, width: width, tokens: tokens, capacity: capacity, heads: heads,
      scratch: scratch, turns: true)
  }

  /// - Parameter turns: false leaves rotary positions out (tests compare with plain attention).
  init(
    configuration: ModelConfiguration, width: Int, tokens: Int, capacity: Int, heads: Int,
    scratch: Scratch, turns: Bool
  ) {
    let headWidth = configuration.localHeadWidth
    let window = configuration.localWindow
    precondition(headWidth % 2 == 0 && headWidth > 0 && window > 0)
    self.width = width
    self.tokens = tokens
    self.scratch = scratch
    inner = heads * headWidth
    parameters = [
      .linear("to_qkv.weight", outputs: 3 * inner, inputs: width),
      .linear("to_out.weight", outputs: width, inputs: inner),
    ]
    let frequencies = RotaryTable.frequencies(width: headWidth)
    buffers = [
      LayerBuffer(name: "attn_fn.rel_pos.inv_freq", shape: [headWidth / 2], values: frequencies)
    ]
    let quirks = configuration.referenceQuirks
    rotary =
      turns
      ? RotaryTable(frequencies: frequencies, tokens: tokens, queryOffset: quirks ? window : 0)
      : nil
    // The reference pads with zero tokens up to a multiple of the window, and lets them take part.
    let padded = (tokens + window - 1) / window * window
    projections = BandAttentionProjections(width: width, inner: inner, tokens: tokens)
    attention = BandAttention(
      scratch: scratch, pattern: .window(tokens: tokens, reach: window), heads: heads,
      headWidth: headWidth,
      capacity: capacity, dropout: configuration.attentionDropout,
      zeroKeys: quirks ? { max(0, min($0 + window + 1, padded) - tokens) } : nil)
    projected = KeptRows(
      scratch, count: capacity * tokens, width: 3 * inner, place: .projected)
    merged = KeptRows(scratch, count: capacity * tokens, width: inner, place: .merged)
    scratch.require(attention.scratchCount + capacity * tokens * 4 * inner)
  }

  public func operations(outputTokens: Int) -> Int {
    let reach = attention.plan(outputTokens: outputTokens).reach
    return projections.operations(outputTokens: outputTokens, reach: reach)
      + attention.operations(outputTokens: outputTokens) + 2 * width * inner * outputTokens
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let plan = attention.plan(outputTokens: pass.outputTokens)
    let qkv = projected.working
    projections.forward(pass, input: input, qkv: qkv, reach: plan.reach, step: plan.step)
    turn(qkv, pass: pass, plan: plan, direction: 1)
    projected.keep(rows: pass.images * tokens)
    attention.forward(pass, qkv: qkv, merged: merged.working.base, temporary: scratch.base)
    Linear.forward(
      rows: pass.images * pass.outputTokens, inputs: inner, outputs: width,
      x: merged.keep(rows: pass.images * pass.outputTokens),
      weight: pass.parameters + 3 * inner * width, y: output)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let plan = attention.plan(outputTokens: pass.outputTokens)
    let rows = pass.images * pass.outputTokens
    let last = 3 * inner * width
    let temporary = scratch.base
    let dMerged = temporary + attention.scratchCount  // [B·Q, I]
    let dQkv = Rows(dMerged + rows * inner, stride: 3 * inner)  // [B·T, 3I]
    Linear.backwardWeight(
      rows: rows, inputs: inner, outputs: width, dY: dOutput, x: merged.kept,
      dWeight: pass.gradients! + last, beta: pass.gradientBeta)
    Linear.backwardInput(
      rows: rows, inputs: inner, outputs: width, dY: dOutput, weight: pass.parameters + last,
      dX: Rows(dMerged, stride: inner))
    attention.backward(
      pass, qkv: projected.restored(rows: pass.images * tokens), dMerged: dMerged, dQkv: dQkv,
      temporary: temporary)
    turn(dQkv, pass: pass, plan: plan, direction: -1)
    projections.backward(
      pass, input: input, dQkv: dQkv, dInput: dInput, reach: plan.reach, step: plan.step)
  }

  /// Turns the queries and keys that take part by their positions; back when `direction` is −1.
  private func turn(_ qkv: Rows, pass: LayerPass, plan: BandPlan, direction: Float) {
    guard let rotary else { return }
    let headWidth = attention.headWidth
    for image in 0..<pass.images {
      let query = qkv.row(image * tokens)
      ck_rotary_rows(
        query, rotary.queryCosine, rotary.querySine, pass.outputTokens, qkv.stride, attention.heads,
        headWidth, direction)
      ck_rotary_rows(
        query + inner, rotary.keyCosine, rotary.keySine, plan.reach, qkv.stride, attention.heads,
        headWidth, direction)
    }
  }
}
