// Neighborhood attention in one dimension (Hassani et al. 2023, arXiv:2204.07143; dilated: 2209.15001).
import CKernels
import Tensors

// B images, T tokens, Q output tokens, D width.

/// O = dropout(W · softmax(Q Kᵀ / √d over K neighbours) V + bias): every token sees exactly K keys of
/// its own dilation group, in a window that is shifted, not shrunk, at the ends. No dropout on the
/// probabilities.
public final class NeighborhoodAttention: AttentionLayer {
  public let parameters: [ParameterSpec]
  public let needsAllTokens = false

  private let width: Int
  private let tokens: Int
  private let dropout: Float
  private let projections: BandAttentionProjections
  private let attention: BandAttention
  private let scratch: Scratch
  /// q, k and v side by side [B·T, 3D].
  private let projected: KeptRows
  /// Merged heads before the output map [B·Q, D].
  private let merged: KeptRows
  /// Dropout keep mask of the output [B·Q, D].
  private let keep: UnsafeMutablePointer<UInt8>

  public init(
    configuration: ModelConfiguration, width: Int, tokens: Int, capacity: Int, heads: Int,
    scratch: Scratch
  ) {
    let (size, dilation) = (configuration.neighbours, configuration.dilation)
    precondition(width % heads == 0 && size > 0 && dilation > 0 && size * dilation <= tokens)
    self.width = width
    self.tokens = tokens
    self.scratch = scratch
    dropout = configuration.attentionDropout
    parameters = [
      .linear("qkv.weight", outputs: 3 * width, inputs: width),
      .linear("proj.weight", outputs: width, inputs: width),
      .bias("proj.bias", outputs: width, fanIn: width),
    ]
    projections = BandAttentionProjections(width: width, inner: width, tokens: tokens)
    attention = BandAttention(
      scratch: scratch, pattern: .neighborhood(tokens: tokens, size: size, dilation: dilation),
      heads: heads,
      headWidth: width / heads, capacity: capacity, dropout: 0)
    projected = KeptRows(
      scratch, count: capacity * tokens, width: 3 * width, place: .projected)
    merged = KeptRows(scratch, count: capacity * tokens, width: width, place: .merged)
    keep = .allocate(capacity: dropout > 0 ? capacity * tokens * width : 0)
    scratch.require(attention.scratchCount + capacity * tokens * 4 * width)
  }

  deinit { keep.deallocate() }

  public func operations(outputTokens: Int) -> Int {
    let reach = attention.plan(outputTokens: outputTokens).reach
    return projections.operations(outputTokens: outputTokens, reach: reach)
      + attention.operations(outputTokens: outputTokens) + 2 * width * width * outputTokens
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let plan = attention.plan(outputTokens: pass.outputTokens)
    let rows = pass.images * pass.outputTokens
    let qkv = projected.working
    let weight = pass.parameters + 3 * width * width
    projections.forward(pass, input: input, qkv: qkv, reach: plan.reach, step: plan.step)
    projected.keep(rows: pass.images * tokens)
    attention.forward(pass, qkv: qkv, merged: merged.working.base, temporary: scratch.base)
    Linear.forward(
      rows: rows, inputs: width, outputs: width,
      x: merged.keep(rows: pass.images * pass.outputTokens),
      weight: weight, y: output)
    ck_add_bias(output.base, weight + width * width, rows, width, output.stride)
    guard pass.training && dropout > 0 else { return }
    let count = pass.outputTokens * width
    for image in 0..<pass.images {
      pass.randomness(.outputDropout, image: image)
        .fillKeepMask(keep + image * count, count: count, dropping: dropout)
    }
    applyKeep(output, rows: rows)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let plan = attention.plan(outputTokens: pass.outputTokens)
    let rows = pass.images * pass.outputTokens
    let weight = pass.parameters + 3 * width * width
    let dWeight = pass.gradients! + 3 * width * width
    let temporary = scratch.base
    let dMerged = temporary + attention.scratchCount  // [B·Q, D]
    let dQkv = Rows(dMerged + rows * width, stride: 3 * width)  // [B·T, 3D]
    if pass.training && dropout > 0 { applyKeep(dOutput, rows: rows) }
    ck_column_sums(
      dWeight + width * width, dOutput.base, rows, width, dOutput.stride, pass.accumulate ? 1 : 0)
    Linear.backwardWeight(
      rows: rows, inputs: width, outputs: width, dY: dOutput, x: merged.kept,
      dWeight: dWeight, beta: pass.gradientBeta)
    Linear.backwardInput(
      rows: rows, inputs: width, outputs: width, dY: dOutput, weight: weight,
      dX: Rows(dMerged, stride: width))
    attention.backward(
      pass, qkv: projected.restored(rows: pass.images * tokens), dMerged: dMerged, dQkv: dQkv,
      temporary: temporary)
    projections.backward(
      pass, input: input, dQkv: dQkv, dInput: dInput, reach: plan.reach, step: plan.step)
  }

  private func applyKeep(_ y: Rows, rows: Int) {
    y.keep(
      rows: rows, width: width, mask: keep, maskStride: width, factor: 1 / (1 - dropout), into: y)
  }
}
