// The maps from tokens to q (searched), k (asking) and v, computed for the tokens that need them.
import CKernels
import Tensors

// B images, T tokens, Q output tokens, D width, M candidates.

struct ConvNNAttentionProjections {
  /// The tokens of an image for which a map is computed.
  enum Extent { case none, first, candidates, all }

  struct Extents {
    /// q is searched: candidates only. k asks: tokens whose output is wanted. A standard deviation needs
    /// all of either; where coordinates alone are compared, none is needed.
    let q: Extent
    let k: Extent
    let v = Extent.all

    init(plan: ConvNNAttentionPlan, outputTokens: Int) {
      if !plan.comparesFeatures {
        (q, k) = (.none, .none)
      } else if plan.similarity == .both {
        (q, k) = (.all, .all)
      } else {
        q = plan.samples ? .candidates : .all
        k = outputTokens == 1 ? .first : .all
      }
    }

    func rows(_ extent: Extent, plan: ConvNNAttentionPlan) -> Int {
      switch extent {
      case .none: return 0
      case .first: return 1
      case .candidates: return plan.candidateCount
      case .all: return plan.tokens
      }
    }

    /// Maps that one product can compute together: their weights follow each other in memory.
    var runs: [Range<Int>] {
      if q == .all && k == .all { return [0..<3] }
      return k == .all ? [1..<3, 0..<1] : [2..<3, 0..<1, 1..<2]
    }

    subscript(part: Int) -> Extent { [q, k, v][part] }
  }

  private let plan: ConvNNAttentionPlan
  /// Input rows of candidates, then their gradient [B·M, D].
  private let gathered: ScratchRegion

  init(plan: ConvNNAttentionPlan, layout: inout ScratchLayout, capacity: Int) {
    self.plan = plan
    gathered = layout.floats(plan.samples ? capacity * plan.candidateCount * plan.width : 0)
  }

  private var width: Int { plan.width }
  private var tokens: Int { plan.tokens }

  /// - Parameters:
  ///   - qk: q and k side by side [B·T, 2D], of which only what is needed is written; `v`: [B·T, D]. In
  ///     single precision v follows q and k in the same rows.
  ///   - searched: q of candidates alone [B·M, D], instead of the first D columns of `qk`.
  func forward(
    _ pass: LayerPass, input: Rows, qk: Rows, v: Rows, searched: Rows,
    candidates: ConvNNAttentionCandidates
  ) {
    let extents = Extents(plan: plan, outputTokens: pass.outputTokens)
    for run in extents.runs.flatMap(Linear.runs(of:)) {
      let target = run.lowerBound < 2 ? qk.columns(from: run.lowerBound * width) : v
      func project(rows: Int, x: Rows, y: Rows) {
        Linear.forward(
          rows: rows, inputs: width, outputs: run.count * width, x: x,
          weight: pass.parameters + run.lowerBound * width * width, y: y,
          keepsOrder: run.lowerBound < 2)
      }
      switch extents[run.lowerBound] {
      case .none: break
      case .all: project(rows: pass.images * tokens, x: input, y: target)
      case .first: project(rows: pass.images, x: firsts(input), y: firsts(target))
      case .candidates:
        let rows = gather(pass, input, candidates)
        project(rows: pass.images * candidates.count, x: rows, y: searched)
      }
    }
  }

  /// Weight gradients and dInput [B·T, D], overwritten, from the gradients of what `forward` wrote.
  /// `dSearched` is scratch afterwards.
  func backward(
    _ pass: LayerPass, input: Rows, dQkv: Rows, dSearched: Rows, dInput: Rows,
    candidates: ConvNNAttentionCandidates
  ) {
    let extents = Extents(plan: plan, outputTokens: pass.outputTokens)
    // The first run has all tokens and overwrites dInput, the others add to it.
    for (order, run) in extents.runs.enumerated() {
      let offset = run.lowerBound * width * width
      let weight = pass.parameters + offset
      let dWeight = pass.gradients! + offset
      let outputs = run.count * width
      let dY = dQkv.columns(from: run.lowerBound * width)
      switch extents[run.lowerBound] {
      case .none:
        if !pass.accumulate { dWeight.update(repeating: 0, count: outputs * width) }
      case .all:
        Linear.backwardWeight(
          rows: pass.images * tokens, inputs: width, outputs: outputs, dY: dY, x: input,
          dWeight: dWeight, beta: pass.gradientBeta)
        Linear.backwardInput(
          rows: pass.images * tokens, inputs: width, outputs: outputs, dY: dY, weight: weight,
          dX: dInput, beta: order == 0 ? 0 : 1)
      case .first:
        Linear.backwardWeight(
          rows: pass.images, inputs: width, outputs: outputs, dY: firsts(dY), x: firsts(input),
          dWeight: dWeight, beta: pass.gradientBeta)
        Linear.backwardInput(
          rows: pass.images, inputs: width, outputs: outputs, dY: firsts(dY), weight: weight,
          dX: firsts(dInput), beta: 1)
      case .candidates:
        let count = pass.images * candidates.count
        let rows = gather(pass, input, candidates)
        Linear.backwardWeight(
          rows: count, inputs: width, outputs: outputs, dY: dSearched, x: rows, dWeight: dWeight,
          beta: pass.gradientBeta)
        Linear.backwardInput(
          rows: count, inputs: width, outputs: outputs, dY: dSearched, weight: weight, dX: rows)
        for image in 0..<pass.images {
          for m in 0..<candidates.count {
            ck_add(
              dInput.row(image * tokens + Int(candidates.tokens[m])),
              rows.row(image * candidates.count + m), width)
          }
        }
      }
    }
  }

  private func firsts(_ rows: Rows) -> Rows { rows.every(tokens) }

  private func gather(
    _ pass: LayerPass, _ input: Rows, _ candidates: ConvNNAttentionCandidates
  ) -> Rows {
    let rows = gathered.rows(stride: width)
    for image in 0..<pass.images {
      for m in 0..<candidates.count {
        input.from(row: image * tokens + Int(candidates.tokens[m]))
          .read(rows: 1, width: width, into: rows.from(row: image * candidates.count + m))
      }
    }
    return rows
  }
}
