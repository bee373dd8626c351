import CKernels
import Testing

@testable import Models

@Suite("ConvNN kernels") struct ConvNNAttentionKernelTests {
  /// Columns of the `count` largest, largest first, ties to the lower column.
  private func best(_ scores: [Float], _ count: Int) -> [Int32] {
    let order = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
    return order.prefix(count).map { Int32($0) }
  }

  @Test(
    "the best scores, best first, ties to the lower column",
    arguments: [1, 2, 15, 16, 17, 31, 32, 33, 48, 197, 400])
  func select(columns: Int) {
    // With few levels most scores tie; level 0 stands for plain random scores.
    for (kind, levels) in [0, 1, 2, 5].enumerated() {
      let (rows, stride) = (4, columns + 3)
      let scores = testNumbers(rows * stride, item: kind).map {
        levels == 0 ? $0 : ($0 * Float(levels)).rounded()
      }
      for count in Set([1, 2, 9, 16, 17, 36, 70, columns / 3, columns - 1, columns])
      where count > 0 && count <= columns {
        var index = [Int32](repeating: -1, count: rows * count)
        var values = [Float](repeating: .nan, count: rows * count)
        var roomColumns = [Int32](repeating: 0, count: columns)
        var roomValues = [Float](repeating: 0, count: columns)
        ck_select_best_first(
          &index, &values, scores, rows, columns, stride, count, &roomColumns, &roomValues)
        for row in 0..<rows {
          let line = Array(scores[row * stride..<row * stride + columns])
          let expected = best(line, count)
          #expect(Array(index[row * count..<(row + 1) * count]) == expected)
          #expect(
            Array(values[row * count..<(row + 1) * count]) == expected.map { line[Int($0)] })
        }
      }
    }
  }

  @Test("pairs in order, ties as they came", arguments: [1, 2, 15, 16, 17, 40, 64, 65, 100])
  func order(count: Int) {
    let rows = 3
    let values = testNumbers(rows * count, item: 5).map { ($0 * 6).rounded() }
    let index = (0..<rows * count).map { Int32(7 * $0 % 1000) }
    var (sorted, sortedValues) = (index, values)
    ck_order_best_first(&sorted, &sortedValues, index, values, rows, count)
    for row in 0..<rows {
      let line = Array(values[row * count..<(row + 1) * count])
      for (r, column) in best(line, count).enumerated() {
        #expect(sorted[row * count + r] == index[row * count + Int(column)])
        #expect(sortedValues[row * count + r] == line[Int(column)])
      }
    }
  }

  @Test("infinite and missing scores still give valid columns", arguments: [20, 50, 300])
  func notFinite(columns: Int) {
    for value in [Float.nan, .infinity, -.infinity] {
      for missing in [4, columns] {
        var scores = testNumbers(columns, item: 3)
        for i in 0..<missing { scores[7 * i % columns] = value }
        for count in [1, 9, 17, columns] where count <= columns {
          var index = [Int32](repeating: -1, count: count)
          var values = [Float](repeating: 0, count: count)
          var roomColumns = [Int32](repeating: 0, count: columns)
          var roomValues = [Float](repeating: 0, count: columns)
          ck_select_best_first(
            &index, &values, scores, 1, columns, columns, count, &roomColumns, &roomValues)
          #expect(index.allSatisfy { (0..<Int32(columns)).contains($0) })
        }
      }
    }
  }

  /// Inputs of the sums over neighbours; rows lie two floats apart.
  private struct Sums {
    let rows = 5
    let others = 9
    let width: Int
    let count: Int
    var stride: Int { width + 2 }
    let weights, taps, v, dY: [Float]
    let index: [Int32]

    init(width: Int, count: Int) {
      self.width = width
      self.count = count
      weights = testNumbers(rows * count, item: 3)
      taps = testNumbers(count * (width + 2), item: 6)
      v = testNumbers(others * (width + 2), item: 2)
      dY = testNumbers(rows * (width + 2), item: 1)
      // The same row may be named twice in a list.
      let top = Float(others)
      index = testNumbers(rows * count, item: 4).map { Int32(($0 + 1) / 2 * top) }
    }

    func dense(_ values: [Float], rows: Int, stride: Int) -> [Float] {
      (0..<rows * width).map { values[$0 / width * stride + $0 % width] }
    }

    /// Calls `body` with every (pair, neighbour's rank, row of v, channel).
    func visit(_ body: (_ p: Int, _ i: Int, _ r: Int, _ j: Int, _ c: Int) -> Void) {
      for p in 0..<rows * count {
        for c in 0..<width { body(p, p / count, p % count, Int(index[p]), c) }
      }
    }
  }

  static let widths = [0, 1, 3, 15, 16, 17, 31, 63, 64, 65, 100, 130, 192]

  @Test("depthwise sums agree with plain loops", arguments: widths)
  func depthwise(width: Int) {
    for count in [1, 3, 4, 9] {
      let t = Sums(width: width, count: count)
      let (stride, rows) = (t.stride, t.rows)
      var y = [Float](repeating: .nan, count: rows * stride)
      ck_depthwise_neighbours(
        &y, stride, t.weights, t.taps, stride, t.v, stride, t.index, rows, count, width)
      var dWeights = [Float](repeating: .nan, count: rows * count)
      // Gradients of taps and v are added to what is there.
      var (dTaps, dV) = (t.taps, t.v)
      ck_depthwise_neighbours_backward(
        &dWeights, &dTaps, &dV, stride, t.dY, stride, t.weights, t.taps, stride, t.v, stride,
        t.index, rows, count, width)

      var slowY = [Double](repeating: 0, count: rows * width)
      var slowDWeights = [Double](repeating: 0, count: rows * count)
      var slowDTaps = t.dense(t.taps, rows: count, stride: stride).map(Double.init)
      var slowDV = t.dense(t.v, rows: t.others, stride: stride).map(Double.init)
      t.visit { p, i, r, j, c in
        let (w, tap) = (Double(t.weights[p]), Double(t.taps[r * stride + c]))
        let (v, d) = (Double(t.v[j * stride + c]), Double(t.dY[i * stride + c]))
        slowY[i * width + c] += w * tap * v
        slowDWeights[p] += d * tap * v
        slowDTaps[r * width + c] += d * w * v
        slowDV[j * width + c] += d * w * tap
      }
      #expect(distance(t.dense(y, rows: rows, stride: stride), slowY) < 1e-6)
      #expect(distance(dWeights, slowDWeights) < 1e-6)
      #expect(distance(t.dense(dTaps, rows: count, stride: stride), slowDTaps) < 1e-6)
      #expect(distance(t.dense(dV, rows: t.others, stride: stride), slowDV) < 1e-6)
      #expect(y[width].isNaN && y[width + 1].isNaN)
      #expect(dV[width] == t.v[width] && dTaps[width] == t.taps[width])
    }
  }

  @Test("gathered rows agree with plain loops", arguments: widths)
  func gather(width: Int) {
    let t = Sums(width: width, count: 3)
    let (stride, pairs) = (t.stride, t.rows * t.count)
    var gathered = [Float](repeating: .nan, count: pairs * width)
    ck_gather_neighbours(&gathered, t.weights, t.v, stride, t.index, t.rows, t.count, width)
    let d = testNumbers(pairs * width, item: 8)
    var dWeights = [Float](repeating: .nan, count: pairs)
    var dV = t.v
    ck_gather_neighbours_backward(
      &dWeights, &dV, stride, d, t.weights, t.v, stride, t.index, t.rows, t.count, width)

    var slowDWeights = [Double](repeating: 0, count: pairs)
    var slowDV = t.dense(t.v, rows: t.others, stride: stride).map(Double.init)
    t.visit { p, _, _, j, c in
      #expect(gathered[p * width + c] == t.weights[p] * t.v[j * stride + c])
      slowDWeights[p] += Double(d[p * width + c]) * Double(t.v[j * stride + c])
      slowDV[j * width + c] += Double(d[p * width + c]) * Double(t.weights[p])
    }
    #expect(distance(dWeights, slowDWeights) < 1e-6)
    #expect(distance(t.dense(dV, rows: t.others, stride: stride), slowDV) < 1e-6)
  }

  @Test("nothing to do is done", arguments: widths)
  func empty(width: Int) {
    let t = Sums(width: width, count: 3)
    var (y, dTaps, dV, dWeights) = ([Float(1)], t.taps, t.v, [Float(1)])
    ck_depthwise_neighbours(
      &y, width, t.weights, t.taps, t.stride, t.v, t.stride, t.index, 0, 3, width)
    ck_depthwise_neighbours_backward(
      &dWeights, &dTaps, &dV, t.stride, t.dY, t.stride, t.weights, t.taps, t.stride, t.v, t.stride,
      t.index, 0, 3, width)
    ck_gather_neighbours(&y, t.weights, t.v, t.stride, t.index, 0, 3, width)
    #expect(y == [1] && dWeights == [1] && dTaps == t.taps && dV == t.v)
  }
}

@Suite("Similarity kernels") struct SimilarityKernelTests {
  @Test("norms, distances and moments agree with plain loops", arguments: [1, 2, 15, 16, 17, 100])
  func rows(width: Int) {
    let (rows, count, stride) = (7, 3, width + 2)
    let x = testNumbers(rows * stride, item: 1)
    let y = testNumbers(rows * stride, item: 2)
    func row(_ values: [Float], _ index: Int) -> [Double] {
      values[index * stride..<index * stride + width].map(Double.init)
    }
    func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

    let index = testNumbers(rows * count, item: 3).map { Int32(($0 + 1) / 2 * Float(rows)) }
    var distances = [Float](repeating: .nan, count: rows * count)
    ck_neighbour_distances(
      &distances, x, stride, y, stride, index, rows, count, width, 0.5)
    let slow = (0..<rows * count).map { p -> Double in
      let difference = zip(row(x, p / count), row(y, Int(index[p]))).map { $0 - $1 }
      return -0.5 * dot(difference, difference).squareRoot()
    }
    #expect(distance(distances, slow) < 1e-6)
    var floored = [Float](repeating: .nan, count: 1)
    ck_neighbour_distances(&floored, x, stride, x, stride, [0], 1, 1, width, 1)
    #expect(floored == [-1e-6])

    var squares = [Float](repeating: .nan, count: rows)
    ck_row_squares(&squares, x, stride, rows, width)
    #expect(distance(squares, (0..<rows).map { dot(row(x, $0), row(x, $0)) }) < 1e-6)

    var (unit, inverse) = (x, squares)
    ck_normalize_rows(&unit, &inverse, stride, rows, width)
    var d = y
    ck_normalize_rows_backward(&d, stride, unit, stride, inverse, rows, width)
    var scaled = y
    ck_scaled_rows_minus(&scaled, stride, squares, x, stride, rows, width)
    for r in 0..<rows {
      let (a, g) = (row(x, r), row(y, r))
      let norm = dot(a, a).squareRoot()
      #expect(distance(Array(unit[r * stride..<r * stride + width]), a.map { $0 / norm }) < 1e-6)
      #expect(unit[r * stride + width] == x[r * stride + width])
      let gradient = zip(a, g).map { ($1 - $0 * dot(a, g) / (norm * norm)) / norm }
      // With one channel the gradient is zero: the error is that of the number taken away.
      let size = max(dot(gradient, gradient), dot(g, g) / (norm * norm)).squareRoot()
      let error = zip(d[r * stride..<r * stride + width], gradient)
        .reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }.squareRoot()
      #expect(error < 2e-6 * size)
      let minus = zip(a, g).map { Double(squares[r]) * $0 - $1 }
      #expect(distance(Array(scaled[r * stride..<r * stride + width]), minus) < 1e-6)
    }

    var (mean, deviation) = (0.0, 0.0)
    ck_mean_and_deviation(&mean, &deviation, x, stride, rows, width)
    let all = (0..<rows).flatMap { row(x, $0) }
    let middle = all.reduce(0, +) / Double(all.count)
    let variance =
      all.reduce(0) { $0 + ($1 - middle) * ($1 - middle) } / Double(all.count - 1)
    #expect(abs(mean - middle) < 1e-12 && abs(deviation - variance.squareRoot()) < 1e-12)
  }
}
