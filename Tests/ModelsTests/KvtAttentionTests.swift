import CKernels
import Testing

@testable import Models

@Suite("k-NN attention") struct KvtAttentionTests {
  struct Shape: CustomTestStringConvertible, Sendable {
    var neighbours: Int
    var tokens: Int
    var width = 12
    var heads = 3
    var testDescription: String { "K=\(neighbours), T=\(tokens) D=\(width) H=\(heads)" }
  }

  static let shapes = [
    Shape(neighbours: 1, tokens: 7), Shape(neighbours: 4, tokens: 17),
    Shape(neighbours: 9, tokens: 50, width: 66, heads: 1), Shape(neighbours: 20, tokens: 33),
    Shape(neighbours: 32, tokens: 33, heads: 2), Shape(neighbours: 40, tokens: 19),
    Shape(neighbours: 13, tokens: 101, heads: 1),
  ]

  static func layer(_ shape: Shape, dropout: Float = 0) -> KvtAttention {
    var configuration = ModelConfiguration()
    configuration.neighbours = shape.neighbours
    configuration.attentionDropout = dropout
    configuration.numHeads = shape.heads
    return KvtAttention(
      LayerShape(configuration, width: shape.width, tokens: shape.tokens, capacity: 2),
      scratch: Scratch())
  }

  /// Indices of the K largest, ties to the lower index, ascending.
  static func largest<T: Comparable>(_ scores: [T], _ count: Int) -> [Int] {
    let order = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
    return order.prefix(count).sorted()
  }

  @Test("agrees with a plain sum over the K best", arguments: shapes)
  func reference(shape: Shape) {
    for queries in [shape.tokens, 1] {
      SlowAttention(
        width: shape.width, heads: shape.heads, headWidth: shape.width / shape.heads,
        tokens: shape.tokens, queries: queries, images: 2,
        keys: { _, scores in Self.largest(scores, shape.neighbours) }
      ).check(Self.layer(shape))
    }
  }

  @Test("keeps the layer contract", arguments: shapes)
  func contract(shape: Shape) {
    expectLayerContract(
      Self.layer(shape, dropout: 0.2), images: 2, tokens: shape.tokens, width: shape.width)
  }

  @Test("drops probabilities in training", arguments: [shapes[1], shapes[3]])
  func dropout(shape: Shape) {
    expectDropout(
      Self.layer(shape, dropout: 0.3), images: 2, tokens: shape.tokens, width: shape.width,
      move: 1e-5)
  }
}

@Suite("Key lists") struct KvtKernelTests {
  @Test("the largest scores, ties to the lower index", arguments: [1, 2, 15, 16, 17, 197])
  func select(columns: Int) {
    for (kind, levels) in [0, 1, 2, 5].enumerated() {
      let rows = 4
      let stride = columns + 3
      // With few levels most scores tie; level 0 stands for plain random scores.
      let scores = testNumbers(rows * stride, item: kind).map {
        levels == 0 ? $0 : ($0 * Float(levels)).rounded()
      }
      for count in Set([1, 2, columns / 3, columns - 1, columns])
      where count > 0 && count <= columns {
        var index = [Int32](repeating: -1, count: rows * count)
        ck_select_largest(&index, scores, rows, columns, stride, count)
        for row in 0..<rows {
          let line = Array(scores[row * stride..<row * stride + columns])
          #expect(
            index[row * count..<(row + 1) * count].map(Int.init)
              == KvtAttentionTests.largest(line, count))
        }
      }
    }
  }

  @Test("infinite and missing scores still give valid columns")
  func notFinite() {
    for value in [Float.nan, .infinity, -.infinity] {
      var scores = testNumbers(20, item: 3)
      for i in [0, 7, 8, 19] { scores[i] = value }
      for count in [1, 5, 18, 20] {
        var index = [Int32](repeating: -1, count: count)
        ck_select_largest(&index, scores, 1, 20, 20, count)
        #expect(index.allSatisfy { (0..<20).contains($0) })
      }
    }
  }

  @Test("infinite scores are the largest, or the smallest", arguments: [20, 40, 197])
  func infinite(columns: Int) {
    for value in [Float.infinity, -.infinity] {
      for number in [1, 3, columns / 2, columns - 1] {
        var scores = testNumbers(columns, item: number)
        for i in 0..<number { scores[(7 * i + 3) % columns] = value }
        for count in [1, 5, 9, 17, columns - 1] where count < columns {
          var index = [Int32](repeating: -1, count: count)
          ck_select_largest(&index, scores, 1, columns, columns, count)
          #expect(index.map(Int.init) == KvtAttentionTests.largest(scores, count))
        }
      }
    }
  }

  @Test("sums over lists agree with plain loops", arguments: [1, 3, 15, 16, 17, 64, 100])
  func sums(width: Int) {
    let (rows, others, stride) = (5, 9, width + 2)
    for count in [1, 3, 4, 9] {
      let x = testNumbers(rows * stride, item: 1)
      let y = testNumbers(others * stride, item: 2)
      let weights = testNumbers(rows * count, item: 3)
      let index = testNumbers(rows * count, item: 4).map { Int32(($0 + 1) / 2 * Float(others)) }
      var dots = [Float](repeating: .nan, count: rows * count)
      ck_gather_dots(&dots, x, stride, y, stride, index, rows, count, width)
      var sums = [Float](repeating: .nan, count: rows * stride)
      ck_gather_sums(&sums, stride, weights, y, stride, index, rows, count, width)
      var scattered = [Float](repeating: .nan, count: others * stride)
      ck_scatter_sums(&scattered, stride, others, weights, x, stride, index, rows, count, width)

      var slowDots = [Double](repeating: 0, count: rows * count)
      var slowSums = [Double](repeating: 0, count: rows * width)
      var slowScattered = [Double](repeating: 0, count: others * width)
      for i in 0..<rows {
        for r in 0..<count {
          let j = Int(index[i * count + r])
          let weight = Double(weights[i * count + r])
          for c in 0..<width {
            slowDots[i * count + r] += Double(x[i * stride + c]) * Double(y[j * stride + c])
            slowSums[i * width + c] += weight * Double(y[j * stride + c])
            slowScattered[j * width + c] += weight * Double(x[i * stride + c])
          }
        }
      }
      func dense(_ values: [Float], rows: Int) -> [Float] {
        (0..<rows * width).map { values[$0 / width * stride + $0 % width] }
      }
      #expect(distance(dots, slowDots) < 1e-6)
      #expect(distance(dense(sums, rows: rows), slowSums) < 1e-6)
      #expect(distance(dense(scattered, rows: others), slowScattered) < 1e-6)
      #expect(sums[width].isNaN && scattered[width].isNaN)
    }
  }
}
