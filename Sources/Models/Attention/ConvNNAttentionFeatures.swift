// What similarity compares: features, coordinates or both, normalised for the cosine.
import CKernels
import Tensors

// T tokens, M candidates, d head width, f feature width.

/// Features of the asking tokens (from k) or of the searched candidates (from q), for one image and head.
struct ConvNNAttentionFeatures {
  enum Side { case asking, searched }

  private let plan: ConvNNAttentionPlan
  private let side: Side
  private let candidates: ConvNNAttentionCandidates
  // Where they are not simply the rows of k or q: packed [rows, f], 1 / norm [rows], gradient [rows, f].
  private let packed: ScratchRegion
  private let inverse: ScratchRegion
  private let gradient: ScratchRegion

  init(
    plan: ConvNNAttentionPlan, side: Side, candidates: ConvNNAttentionCandidates,
    layout: inout ScratchLayout
  ) {
    self.plan = plan
    self.side = side
    self.candidates = candidates
    let rows = side == .asking ? plan.tokens : plan.candidateCount
    packed = layout.floats(rows * plan.featureWidth)
    inverse = layout.floats(rows)
    gradient = layout.floats(rows * plan.featureWidth)
  }

  /// Features [rows, f], until the next ones are prepared, and what their gradient needs.
  struct Prepared {
    var rows: Rows
    var count: Int
    fileprivate var factor: Float = 1
    fileprivate var mean: Float = 0
    fileprivate var deviation: Float = 0
  }

  /// True when the features are not simply the rows of k or q.
  private var packs: Bool {
    plan.magnitude == .cosine || plan.featureWidth != plan.headWidth
      || plan.similarity != .features
  }
  private var hasFeatures: Bool { plan.similarity != .coordinates }
  private var hasCoordinate: Bool { plan.featureWidth != plan.headWidth || !hasFeatures }

  /// The unit of coordinates: they are whole numbers where they alone are compared, so that equal
  /// distances tie exactly.
  var unit: Float { hasFeatures ? 1 : 1 / Float(max(plan.tokens - 1, 1)) }

  /// The row of q or k, and the coordinate, of row `row`.
  private func token(_ row: Int) -> Int {
    side == .searched && plan.samples ? Int(candidates.tokens[row]) : row
  }

  /// `source` holds all tokens, though features are wanted of candidates only.
  private var picks: Bool { side == .searched && plan.samples && plan.similarity == .both }

  private func coordinate(_ row: Int) -> Float {
    let last = Float(max(plan.tokens - 1, 1))
    let whole: Float
    if plan.quirks && side == .searched && plan.samples {
      // The reference spreads coordinates over the samples' ranks.
      let steps = Float(max(plan.candidateCount - 1, 1))
      whole = (2 * Float(row) - Float(plan.candidateCount - 1)) * (last / steps)
    } else {
      whole = 2 * Float(token(row)) - Float(plan.tokens - 1)
    }
    guard hasFeatures else { return whole }
    return whole / last * (plan.similarity == .both ? 1 - plan.lambda : 1)
  }

  /// - Parameter source: rows of k or q of this image and head.
  func prepare(_ source: Rows, count: Int) -> Prepared {
    let (width, d) = (plan.featureWidth, plan.headWidth)
    guard packs else { return Prepared(rows: source, count: count) }
    var prepared = Prepared(rows: packed.rows(stride: width), count: count)
    if plan.similarity == .both {
      var (mean, deviation) = (0.0, 0.0)
      ck_mean_and_deviation(&mean, &deviation, source.base, source.stride, plan.tokens, d)
      prepared.mean = Float(mean)
      prepared.deviation = Float(deviation)
      prepared.factor = Float(Double(plan.lambda) / (deviation + 1e-6))
    }
    for row in 0..<count {
      let target = prepared.rows.row(row)
      if hasFeatures {
        let from = source.row(picks ? token(row) : row)
        for c in 0..<d { target[c] = prepared.factor * from[c] }
      }
      if hasCoordinate { target[width - 1] = coordinate(row) }
    }
    if plan.magnitude == .cosine {
      ck_normalize_rows(prepared.rows.base, inverse.base, width, count, width)
    }
    return prepared
  }

  /// Where to put the gradient [rows, f] of the features: `dSource` itself where features are its rows.
  func gradientRows(dSource: Rows) -> Rows {
    packs ? gradient.rows(stride: plan.featureWidth) : dSource
  }

  /// From the features' gradient (where `gradientRows` said; scratch afterwards) to dSource, which is
  /// overwritten for every row of `source`.
  func backward(_ prepared: Prepared, source: Rows, dSource: Rows) {
    guard packs && hasFeatures else { return }
    let d = plan.headWidth
    let gradient = gradient.rows(stride: plan.featureWidth)
    let count = prepared.count
    if plan.magnitude == .cosine {
      ck_normalize_rows_backward(
        gradient.base, gradient.stride, prepared.rows.base, prepared.rows.stride, inverse.base,
        count, plan.featureWidth)
    }
    guard plan.similarity == .both else {
      for row in 0..<count {
        dSource.row(row).update(from: gradient.row(row), count: d)
      }
      return
    }
    // f' = factor · f with factor = λ / (σ + 1e-6): every token moves σ, whether it takes part or not.
    for token in 0..<plan.tokens { dSource.row(token).update(repeating: 0, count: d) }
    var along = 0.0
    for row in 0..<count {
      let index = picks ? token(row) : row
      let (from, g, target) = (source.row(index), gradient.row(row), dSource.row(index))
      for c in 0..<d {
        along += Double(from[c]) * Double(g[c])
        target[c] = prepared.factor * g[c]
      }
    }
    guard prepared.deviation > 0 else { return }
    let (factor, deviation) = (Double(prepared.factor), Double(prepared.deviation))
    let others = Double(plan.tokens * d - 1)
    let pull = Float(along * factor / ((deviation + 1e-6) * others * deviation))
    for token in 0..<plan.tokens {
      let (from, target) = (source.row(token), dSource.row(token))
      for c in 0..<d { target[c] -= pull * (from[c] - prepared.mean) }
    }
  }
}
