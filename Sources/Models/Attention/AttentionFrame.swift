// What Local, Neighborhood, Sparse and k-NN attention have around their heads.
import Tensors

// B images, T tokens, Q output tokens, D width, I inner width (heads x head width).

/// y = merged · W_oᵀ, where the layer makes the merged heads [B·Q, I] from q, k, v = x · Wᵀ, in floats.
/// Parameters are W [3I, D], then W_o [D, I]; a layer's others follow. The frame keeps q, k, v and the
/// merged heads for the backward pass; what else that needs the layer keeps itself.
struct AttentionFrame {
  private let width: Int
  private let inner: Int
  private let tokens: Int
  private let projections: AttentionProjections
  /// q, k and v side by side [B·T, 3I].
  private let projected: KeptRows
  /// Merged heads [B·Q, I].
  private let merged: KeptRows
  private let dMerged: ScratchRegion  // [B·Q, I]
  private let dQkv: ScratchRegion  // [B·T, 3I]

  /// - Parameters:
  ///   - layout: of the layer's scratch, behind what the heads need.
  ///   - keepsOrder: keys are chosen by their scores.
  init(
    scratch: Scratch, layout: inout ScratchLayout, width: Int, inner: Int, tokens: Int,
    capacity: Int, keepsOrder: Bool = false
  ) {
    self.width = width
    self.inner = inner
    self.tokens = tokens
    projections = AttentionProjections(
      width: width, inner: inner, tokens: tokens, keepsOrder: keepsOrder)
    let rows = capacity * tokens
    projected = KeptRows(scratch, count: rows, width: 3 * inner, place: .projected)
    merged = KeptRows(scratch, count: rows, width: inner, place: .merged)
    dMerged = layout.floats(rows * inner)
    dQkv = layout.floats(rows * 3 * inner)
  }

  /// Of W and W_o.
  var parameterCount: Int { 4 * inner * width }

  private var outputOffset: Int { 3 * inner * width }

  /// Floating-point operations per image outside the heads.
  func operations(outputTokens: Int, reach: KeyReach) -> Int {
    projections.operations(outputTokens: outputTokens, reach: reach)
      + 2 * width * inner * outputTokens
  }

  /// - Parameter attend: makes `merged` [B·Q, I] from `qkv` [B·T, 3I], of which only what `reach` and Q
  ///   ask for is there. It may change `qkv`: the backward pass sees what it leaves.
  func forward(
    _ pass: LayerPass, input: Rows, output: Rows, reach: KeyReach,
    attend: (_ qkv: Rows, _ merged: Rows) -> Void
  ) {
    let rows = pass.images * pass.outputTokens
    let qkv = projected.working
    projections.forward(pass, input: input, qkv: qkv, reach: reach)
    attend(qkv, merged.working)
    projected.keep(rows: pass.images * tokens)
    Linear.forward(
      rows: rows, inputs: inner, outputs: width, x: merged.keep(rows: rows),
      weight: pass.parameters + outputOffset, y: output)
  }

  /// - Parameter attend: makes `dQkv` [B·T, 3I] (what of `qkv` is not there has no gradient, and is not
  ///   read) from `dMerged` [B·Q, I].
  func backward(
    _ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows, reach: KeyReach,
    attend: (_ qkv: Rows, _ dMerged: Rows, _ dQkv: Rows) -> Void
  ) {
    let rows = pass.images * pass.outputTokens
    let dMerged = dMerged.rows(stride: inner)
    let dQkv = dQkv.rows(stride: 3 * inner)
    Linear.backwardWeight(
      rows: rows, inputs: inner, outputs: width, dY: dOutput, x: merged.kept,
      dWeight: pass.gradients! + outputOffset, beta: pass.gradientBeta)
    Linear.backwardInput(
      rows: rows, inputs: inner, outputs: width, dY: dOutput,
      weight: pass.parameters + outputOffset, dX: dMerged)
    attend(projected.restored(rows: pass.images * tokens), dMerged, dQkv)
    projections.backward(pass, input: input, dQkv: dQkv, dInput: dInput, reach: reach)
  }
}
