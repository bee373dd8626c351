// Multi-head attention over a fixed subset of pairs (the patterns of Child et al. 2019,
// arXiv:1904.10509): all, a window, or every w-th token.
import Tensors

// B images, T tokens, Q output tokens, D width.

/// O = dropout(softmax(Q Kᵀ / √d over the allowed pairs)) V per head, then out_proj. No biases.
/// With window w: `local` allows |i − j| ≤ w/2 (integer), `strided` (i − j) mod w = 0.
public final class SparseAttention: AttentionLayer {
  public let parameters: [ParameterSpec]
  public let needsAllTokens = false

  private let width: Int
  private let tokens: Int
  private let dropsInEvaluation: Bool
  private let projections: BandAttentionProjections
  private let attention: BandAttention
  private let scratch: Scratch
  /// q, k and v side by side [B·T, 3D].
  private let projected: KeptRows
  /// Merged heads before out_proj [B·Q, D].
  private let merged: KeptRows

  public init(
    configuration: ModelConfiguration, width: Int, tokens: Int, capacity: Int, heads: Int,
    scratch: Scratch
  ) {
    precondition(width % heads == 0 && configuration.sparseContextWindow > 0)
    self.width = width
    self.tokens = tokens
    self.scratch = scratch
    dropsInEvaluation = configuration.referenceQuirks
    let window = configuration.sparseContextWindow
    let pattern =
      switch configuration.sparseMode {
      case .all: BandPattern.all(tokens: tokens)
      case .local: BandPattern.window(tokens: tokens, reach: window / 2)
      case .strided: BandPattern.strided(tokens: tokens, stride: window)
      }
    parameters = ["q_proj", "k_proj", "v_proj", "out_proj"].map {
      .linear("\($0).weight", outputs: width, inputs: width)
    }
    projections = BandAttentionProjections(width: width, inner: width, tokens: tokens)
    attention = BandAttention(
      scratch: scratch, pattern: pattern, heads: heads, headWidth: width / heads,
      capacity: capacity,
      dropout: configuration.attentionDropout)
    projected = KeptRows(
      scratch, count: capacity * tokens, width: 3 * width, place: .projected)
    merged = KeptRows(scratch, count: capacity * tokens, width: width, place: .merged)
    scratch.require(attention.scratchCount + capacity * tokens * 4 * width)
  }

  public func operations(outputTokens: Int) -> Int {
    let reach = attention.plan(outputTokens: outputTokens).reach
    return projections.operations(outputTokens: outputTokens, reach: reach)
      + attention.operations(outputTokens: outputTokens) + 2 * width * width * outputTokens
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let plan = attention.plan(outputTokens: pass.outputTokens)
    let qkv = projected.working
    projections.forward(pass, input: input, qkv: qkv, reach: plan.reach, step: plan.step)
    projected.keep(rows: pass.images * tokens)
    attention.forward(
      dropping(pass), qkv: qkv, merged: merged.working.base, temporary: scratch.base)
    Linear.forward(
      rows: pass.images * pass.outputTokens, inputs: width, outputs: width,
      x: merged.keep(rows: pass.images * pass.outputTokens),
      weight: pass.parameters + 3 * width * width, y: output)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let plan = attention.plan(outputTokens: pass.outputTokens)
    let rows = pass.images * pass.outputTokens
    let last = 3 * width * width
    let temporary = scratch.base
    let dMerged = temporary + attention.scratchCount  // [B·Q, D]
    let dQkv = Rows(dMerged + rows * width, stride: 3 * width)  // [B·T, 3D]
    Linear.backwardWeight(
      rows: rows, inputs: width, outputs: width, dY: dOutput, x: merged.kept,
      dWeight: pass.gradients! + last, beta: pass.gradientBeta)
    Linear.backwardInput(
      rows: rows, inputs: width, outputs: width, dY: dOutput, weight: pass.parameters + last,
      dX: Rows(dMerged, stride: width))
    attention.backward(
      dropping(pass), qkv: projected.restored(rows: pass.images * tokens), dMerged: dMerged,
      dQkv: dQkv,
      temporary: temporary)
    projections.backward(
      pass, input: input, dQkv: dQkv, dInput: dInput, reach: plan.reach, step: plan.step)
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
