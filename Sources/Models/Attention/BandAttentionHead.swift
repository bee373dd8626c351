// Band attention of one head of one image: the products, by tiles or by key lists.
import CKernels
import Tensors

// T tokens, Q output tokens, d head width, I distance from queries to keys to values.

struct BandHead {
  /// In the plan's storage order.
  let probabilities: UnsafeMutablePointer<Float>
  /// Dropout keep mask; nil without dropout.
  let mask: UnsafeMutablePointer<UInt8>?
  let factor: Float
  let scale: Float
  let width: Int
  let temporary: UnsafeMutablePointer<Float>
  /// Queries [T, d]; keys and values follow I and 2I columns further on.
  let query: Rows
  let inner: Int
  /// Result [Q, d] of the forward pass, or its gradient.
  let output: Rows

  func forwardTiles(_ plan: BandPlan) {
    for tile in plan.tiles {
      let p = probabilities + tile.offset
      let q = query.row(tile.firstQuery)
      let k = query.row(tile.firstKey) + inner
      let stride = tile.step * query.stride
      Matmul.multiply(
        rows: tile.queries, columns: tile.keys, inner: width, a: q, aStride: stride, b: k,
        bStride: stride, transposeB: true, c: p, cStride: tile.keys)
      ck_band_softmax(
        p, plan.first + tile.row, plan.last + tile.row, plan.zeros.map { $0 + tile.row },
        tile.queries, tile.keys, tile.keys, scale)
      Matmul.multiply(
        rows: tile.queries, columns: width, inner: tile.keys,
        a: weights(p, offset: tile.offset, rows: tile.queries, columns: tile.keys),
        aStride: tile.keys, b: k + inner, bStride: stride, c: output.row(tile.firstQuery),
        cStride: tile.step * output.stride)
    }
  }

  func backwardTiles(_ plan: BandPlan, dQuery: Rows) {
    if plan.keysOverlap {
      for token in 0..<plan.tokens {
        (dQuery.row(token) + inner).update(repeating: 0, count: width)
        (dQuery.row(token) + 2 * inner).update(repeating: 0, count: width)
      }
    }
    let beta: Float = plan.keysOverlap ? 1 : 0
    for tile in plan.tiles {
      let p = probabilities + tile.offset
      let q = query.row(tile.firstQuery)
      let k = query.row(tile.firstKey) + inner
      let dQ = dQuery.row(tile.firstQuery)
      let dK = dQuery.row(tile.firstKey) + inner
      let dO = output.row(tile.firstQuery)
      let stride = tile.step * query.stride
      let dStride = tile.step * dQuery.stride
      let outputStride = tile.step * output.stride
      Matmul.multiply(
        rows: tile.keys, columns: width, inner: tile.queries,
        a: weights(p, offset: tile.offset, rows: tile.queries, columns: tile.keys),
        aStride: tile.keys, transposeA: true, b: dO, bStride: outputStride, beta: beta,
        c: dK + inner, cStride: dStride)
      let dScores = temporary
      Matmul.multiply(
        rows: tile.queries, columns: tile.keys, inner: width, a: dO, aStride: outputStride,
        b: k + inner, bStride: stride, transposeB: true, c: dScores, cStride: tile.keys)
      ck_softmax_rows_backward(
        dScores, p, mask.map { $0 + tile.offset }, tile.queries, tile.keys, tile.keys, scale, factor
      )
      Matmul.multiply(
        rows: tile.queries, columns: width, inner: tile.keys, a: dScores, aStride: tile.keys, b: k,
        bStride: stride, c: dQ, cStride: dStride)
      Matmul.multiply(
        rows: tile.keys, columns: width, inner: tile.queries, a: dScores, aStride: tile.keys,
        transposeA: true, b: q, bStride: stride, beta: beta, c: dK, cStride: dStride)
    }
  }

  func forwardLists(_ plan: BandPlan) {
    let (rows, count) = (plan.queries, plan.listLength)
    let p = probabilities
    ck_gather_dots(
      p, query.base, query.stride, query.base + inner, query.stride, plan.index, rows, count, width)
    ck_band_softmax(p, plan.first, plan.last, plan.zeros, rows, count, count, scale)
    ck_gather_sums(
      output.base, output.stride, weights(p, offset: 0, rows: rows, columns: count),
      query.base + 2 * inner, query.stride, plan.index, rows, count, width)
  }

  func backwardLists(_ plan: BandPlan, dQuery: Rows) {
    let (rows, count) = (plan.queries, plan.listLength)
    let p = probabilities
    ck_scatter_sums(
      dQuery.base + 2 * inner, dQuery.stride, plan.tokens,
      weights(p, offset: 0, rows: rows, columns: count), output.base, output.stride, plan.index,
      rows, count, width)
    let dScores = temporary
    ck_gather_dots(
      dScores, output.base, output.stride, query.base + 2 * inner, query.stride, plan.index, rows,
      count, width)
    ck_softmax_rows_backward(dScores, p, mask, rows, count, count, scale, factor)
    ck_gather_sums(
      dQuery.base, dQuery.stride, dScores, query.base + inner, query.stride, plan.index, rows,
      count,
      width)
    ck_scatter_sums(
      dQuery.base + inner, dQuery.stride, plan.tokens, dScores, query.base, query.stride,
      plan.index,
      rows, count, width)
  }

  /// The probabilities after dropout (in `temporary`), or as they are without.
  private func weights(
    _ p: UnsafeMutablePointer<Float>, offset: Int, rows: Int, columns: Int
  ) -> UnsafeMutablePointer<Float> {
    guard let mask else { return p }
    ck_dropout_rows(temporary, p, mask + offset, rows, columns, columns, factor)
    return temporary
  }
}
