// From similarity to neighbours and their weights, and the gradient back.
import CKernels
import Tensors

// Q asking tokens, M candidates, K neighbours, f feature width.

/// The neighbours of one image and head.
struct ConvNNAttentionChoice {
  /// Neighbours as tokens [Q, K], best first; the token itself first under sampling.
  let tokens: UnsafeMutablePointer<Int32>
  /// The chosen ones as rows of the searched features [Q, K], or [Q, K-1] under sampling.
  let ranks: UnsafeMutablePointer<Int32>
  /// Weights [Q, K].
  let weights: UnsafeMutablePointer<Float>
  /// Negative distances [Q, K], for euclidean similarity only.
  let distances: UnsafeMutablePointer<Float>
}

struct ConvNNAttentionNeighbours {
  private let plan: ConvNNAttentionPlan
  private let candidates: ConvNNAttentionCandidates
  private let scores: ScratchRegion  // [Q, M]
  private let values: ScratchRegion  // [Q, K]
  private let lists: ScratchRegion  // [Q, K]
  private let rowSums: ScratchRegion  // [Q]
  private let columnSums: ScratchRegion  // [M]
  private let asking: ConvNNAttentionFeatures
  private let searched: ConvNNAttentionFeatures

  init(
    plan: ConvNNAttentionPlan, candidates: ConvNNAttentionCandidates, layout: inout ScratchLayout
  ) {
    self.plan = plan
    self.candidates = candidates
    scores = layout.floats(plan.tokens * plan.candidateCount)
    values = layout.floats(plan.tokens * plan.neighbours)
    lists = layout.floats(plan.tokens * plan.neighbours)
    rowSums = layout.floats(plan.tokens)
    columnSums = layout.floats(plan.candidateCount)
    asking = ConvNNAttentionFeatures(
      plan: plan, side: .asking, candidates: candidates, layout: &layout)
    searched = ConvNNAttentionFeatures(
      plan: plan, side: .searched, candidates: candidates, layout: &layout)
  }

  /// Writes `choice` from the similarities of k and q.
  ///
  /// - Parameters:
  ///   - k: asks; rows of all T tokens, of which the first Q are used (all by a standard deviation).
  ///   - q: is searched; a row per candidate (per token by a standard deviation).
  func choose(_ choice: ConvNNAttentionChoice, rows: Int, k: Rows, q: Rows) {
    let neighbours = plan.neighbours
    let weights = choice.weights
    if plan.chosen > 0 {
      let a = asking.prepare(k, count: rows)
      let b = searched.prepare(q, count: plan.candidateCount)
      score(a, b)
      pick(choice, a, b)
    }
    if plan.samples { putSelfFirst(choice, rows: rows) }
    if plan.magnitude == .euclidean {
      choice.distances.update(from: weights, count: rows * neighbours)
    }
    if plan.softmax {
      ck_softmax_rows(weights, rows, neighbours, neighbours, 1)
    } else if plan.magnitude == .euclidean {
      for p in 0..<rows * neighbours { weights[p] = 1 / (1e-8 - weights[p]) }
    }
  }

  /// The chosen ones of every row, best first (in the order of tokens where coordinates alone are
  /// compared), to `choice.ranks`, and their similarities to `choice.weights` [Q, K or K-1].
  private func pick(
    _ choice: ConvNNAttentionChoice, _ a: ConvNNAttentionFeatures.Prepared,
    _ b: ConvNNAttentionFeatures.Prepared
  ) {
    let (count, chosen) = (plan.candidateCount, plan.chosen)
    let (scores, values) = (scores.base, values.base)
    let found = UnsafeMutableRawPointer(lists.base).bindMemory(
      to: Int32.self, capacity: a.count * plan.neighbours)
    let inOrderOfTokens = plan.similarity == .coordinates
    if plan.magnitude != .euclidean && !inOrderOfTokens {
      ck_select_best_first(
        choice.ranks, choice.weights, scores, a.count, count, count, chosen, found, values)
      return
    }
    ck_select_largest(found, scores, a.count, count, count, chosen)
    if plan.magnitude == .euclidean {
      // From the rows themselves: the scores' difference of squares has lost the digits of a short
      // distance.
      ck_neighbour_distances(
        values, a.rows.base, a.rows.stride, b.rows.base, b.rows.stride, found, a.count, chosen,
        plan.featureWidth, asking.unit)
      if plan.samples && plan.quirks {
        overwriteOwnDistances(values, found, rows: a.count)
      }
    } else {
      ck_gather_columns(values, scores, count, found, a.count, chosen)
    }
    if inOrderOfTokens {
      choice.ranks.update(from: found, count: a.count * chosen)
      choice.weights.update(from: values, count: a.count * chosen)
    } else {
      ck_order_best_first(
        choice.ranks, choice.weights, found, values, a.count, chosen)
    }
  }

  /// Scores [Q, M], larger is nearer: similarities, or, for distances, 2⟨a, b⟩ - ‖b‖².
  private func score(
    _ a: ConvNNAttentionFeatures.Prepared, _ b: ConvNNAttentionFeatures.Prepared
  ) {
    let (scores, rowSums, columnSums) = (scores.base, rowSums.base, columnSums.base)
    let count = plan.candidateCount
    let unit = asking.unit
    let euclidean = plan.magnitude == .euclidean
    var alpha = plan.magnitude == .matmul ? plan.scale * unit * unit : 1
    if euclidean {
      alpha = 2
      ck_row_squares(columnSums, b.rows.base, b.rows.stride, count, plan.featureWidth)
      for j in 0..<count { columnSums[j] = -columnSums[j] }
      for i in 0..<a.count { (scores + i * count).update(from: columnSums, count: count) }
    }
    Matmul.multiply(
      rows: a.count, columns: count, inner: plan.featureWidth, alpha: alpha, a: a.rows,
      b: b.rows, transposeB: true, beta: euclidean ? 1 : 0, c: Rows(scores, stride: count),
      keepsOrder: true)
    guard plan.samples else { return }
    // A token is its own first neighbour already; in the reference it takes part again, with a constant.
    if plan.quirks && euclidean {
      ck_row_squares(rowSums, a.rows.base, a.rows.stride, a.count, plan.featureWidth)
    }
    for i in 0..<a.count where candidates.position[i] >= 0 {
      let row = scores + i * count
      let own = row + Int(candidates.position[i])
      if !plan.quirks {
        // Below all others, but near them: the search for the largest halves the range of scores. Next to
        // 0 by a number that is not flushed to it.
        var least = row[0]
        for j in 1..<count { least = min(least, row[j]) }
        own.pointee = min(least.nextDown, least - .leastNormalMagnitude)
      } else if euclidean {
        own.pointee = rowSums[i] - 1.1 * 1.1 / (unit * unit)
      } else {
        own.pointee = -0.1
      }
    }
  }

  private func overwriteOwnDistances(
    _ values: UnsafeMutablePointer<Float>, _ found: UnsafeMutablePointer<Int32>, rows: Int
  ) {
    for i in 0..<rows {
      for p in i * plan.chosen..<(i + 1) * plan.chosen where found[p] == candidates.position[i] {
        values[p] = -1.1
      }
    }
  }

  /// Makes rows of K from the K-1 chosen ones: tokens in `choice.tokens`, values in `choice.weights`.
  private func putSelfFirst(_ choice: ConvNNAttentionChoice, rows: Int) {
    let (neighbours, chosen) = (plan.neighbours, plan.chosen)
    let values = values.base
    values.update(from: choice.weights, count: rows * chosen)
    for i in 0..<rows {
      let (tokens, weights) = (choice.tokens + i * neighbours, choice.weights + i * neighbours)
      tokens[0] = Int32(i)
      weights[0] = plan.magnitude == .euclidean ? -1 : 1
      for r in 0..<chosen {
        tokens[r + 1] = candidates.tokens[Int(choice.ranks[i * chosen + r])]
        weights[r + 1] = values[i * chosen + r]
      }
      guard plan.similarity == .coordinates else { continue }
      // Neighbours by coordinates alone stand in the order of their tokens.
      for last in 1..<neighbours {
        var r = last
        while r > 0 && tokens[r] < tokens[r - 1] {
          (tokens[r], tokens[r - 1]) = (tokens[r - 1], tokens[r])
          (weights[r], weights[r - 1]) = (weights[r - 1], weights[r])
          r -= 1
        }
      }
    }
  }

  /// Gradients of k (rows as `choose` read them) and of q, overwritten, from those of the weights, which
  /// are scratch afterwards.
  func backward(
    _ choice: ConvNNAttentionChoice, rows: Int, k: Rows, q: Rows,
    dWeights: UnsafeMutablePointer<Float>, dK: Rows, dQ: Rows
  ) {
    guard plan.comparesFeatures else { return }
    let (neighbours, chosen) = (plan.neighbours, plan.chosen)
    let pairs = rows * neighbours
    let d = dWeights
    if plan.softmax {
      ck_softmax_rows_backward(d, choice.weights, nil, rows, neighbours, neighbours, plan.scale, 1)
    } else if plan.magnitude == .euclidean {
      for p in 0..<pairs { d[p] *= choice.weights[p] * choice.weights[p] }
    } else if plan.scale != 1 {
      for p in 0..<pairs { d[p] *= plan.scale }
    }
    if plan.magnitude == .euclidean {
      // Of a distance s = ‖a - b‖ the gradient is (a - b) / s; below its floor it is constant.
      for p in 0..<pairs {
        d[p] = choice.distances[p] > -1.0000001e-6 ? 0 : d[p] / choice.distances[p]
      }
    }
    var coefficients = d
    if plan.samples {
      coefficients = values.base
      for i in 0..<rows {
        for r in 0..<chosen {
          // A token's similarity with itself is a constant.
          let isOwn = choice.tokens[i * neighbours + r + 1] == Int32(i)
          coefficients[i * chosen + r] = isOwn ? 0 : d[i * neighbours + r + 1]
        }
      }
    }

    let a = asking.prepare(k, count: rows)
    let b = searched.prepare(q, count: plan.candidateCount)
    let dA = asking.gradientRows(dSource: dK)
    let dB = searched.gradientRows(dSource: dQ)
    let products = KvtProducts(
      keys: choice.ranks, rows: rows, tokens: plan.candidateCount, neighbours: chosen,
      width: plan.featureWidth, usesLists: chosen * 3 < plan.candidateCount, dense: scores.base)
    products.sums(coefficients, y: b.rows, into: dA)
    products.scatter(coefficients, x: a.rows, into: dB)
    if plan.magnitude == .euclidean {
      let (rowSums, columnSums) = (rowSums.base, columnSums.base)
      columnSums.update(repeating: 0, count: plan.candidateCount)
      for i in 0..<rows {
        rowSums[i] = 0
        for p in i * chosen..<(i + 1) * chosen {
          rowSums[i] += coefficients[p]
          columnSums[Int(choice.ranks[p])] += coefficients[p]
        }
      }
      ck_scaled_rows_minus(
        dA.base, dA.stride, rowSums, a.rows.base, a.rows.stride, rows, plan.featureWidth)
      ck_scaled_rows_minus(
        dB.base, dB.stride, columnSums, b.rows.base, b.rows.stride, plan.candidateCount,
        plan.featureWidth)
    }
    asking.backward(a, source: k, dSource: dK)
    searched.backward(b, source: q, dSource: dQ)
  }
}
