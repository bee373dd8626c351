// Matrix products against a triple loop in double precision.
import CKernels
import Testing

@testable import Tensors

/// A matrix stored with gaps between its rows.
private struct Matrix {
  let rows: Int
  let columns: Int
  let stride: Int
  var values: [Float]

  init(_ rows: Int, _ columns: Int, gap: Int, seed: Int, padding: Float = 777) {
    self.rows = rows
    self.columns = columns
    stride = columns + gap
    values = [Float](repeating: padding, count: max(rows * stride, 1))
    let sequence = RandomSequence(seed: UInt64(seed), purpose: .testInput)
    for r in 0..<rows {
      for c in 0..<columns { values[r * stride + c] = 2 * sequence.uniform(r * columns + c) - 1 }
    }
  }

  subscript(r: Int, c: Int) -> Double { Double(values[r * stride + c]) }
}

struct MatmulCase: CustomTestStringConvertible, Sendable {
  var rows: Int
  var columns: Int
  var inner: Int
  var transposeA: Bool
  var transposeB: Bool
  var alpha: Float
  var beta: Float
  var gap: Int
  var testDescription: String {
    "\(rows)x\(inner)\(transposeA ? "ᵀ" : "") · \(inner)x\(columns)\(transposeB ? "ᵀ" : ""), "
      + "α \(alpha), β \(beta), gaps \(gap)"
  }

  /// Vectors, sizes around those of a kernel's blocks, and random ones.
  static let all: [MatmulCase] = {
    var cases: [MatmulCase] = []
    let sizes = [
      (1, 1, 1), (1, 33, 7), (33, 1, 16), (16, 16, 16), (65, 10, 192), (50, 48, 1), (14, 32, 256),
      (29, 65, 257), (450, 15, 30), (3, 5, 0), (13, 31, 800),
    ]
    let sequence = RandomSequence(seed: 2, purpose: .testInput)
    let random = (0..<8).map { i in
      (
        1 + sequence.integer(3 * i, below: 70), 1 + sequence.integer(3 * i + 1, below: 70),
        1 + sequence.integer(3 * i + 2, below: 300)
      )
    }
    for (index, size) in (sizes + random).enumerated() {
      for transposes in 0..<4 {
        cases.append(
          MatmulCase(
            rows: size.0, columns: size.1, inner: size.2, transposeA: transposes & 1 == 1,
            transposeB: transposes & 2 == 2, alpha: [1, 0.5, -2][(index + transposes) % 3],
            beta: [0, 1][(index + transposes / 2) % 2], gap: [0, 1, 7][index % 3]))
      }
    }
    return cases
  }()
}

@Suite("Matrix products") struct MatmulTests {
  private func multiply(_ t: MatmulCase, _ a: Matrix, _ b: Matrix, _ c: inout Matrix) {
    Matmul.multiply(
      rows: t.rows, columns: t.columns, inner: t.inner, alpha: t.alpha, a: a.values,
      aStride: a.stride, transposeA: t.transposeA, b: b.values, bStride: b.stride,
      transposeB: t.transposeB, beta: t.beta, c: &c.values, cStride: c.stride)
  }

  @Test("shapes, strides, transposes, factors", arguments: MatmulCase.all)
  func product(_ t: MatmulCase) {
    let a = Matrix(
      t.transposeA ? t.inner : t.rows, t.transposeA ? t.rows : t.inner, gap: t.gap, seed: 1)
    let b = Matrix(
      t.transposeB ? t.columns : t.inner, t.transposeB ? t.inner : t.columns, gap: t.gap * 2,
      seed: 2)
    let before = Matrix(t.rows, t.columns, gap: t.gap + 1, seed: 3)
    var c = before
    multiply(t, a, b, &c)
    for r in 0..<t.rows {
      for column in 0..<t.columns {
        let sum = (0..<t.inner).reduce(0.0) { sum, k in
          sum + (t.transposeA ? a[k, r] : a[r, k]) * (t.transposeB ? b[column, k] : b[k, column])
        }
        let exact = Double(t.alpha) * sum + Double(t.beta) * before[r, column]
        // As many roundings as terms, of sums of at most as many.
        let tolerance = 2 * Double(t.inner + 2) * 0x1p-24 * Double(t.inner).squareRoot() * 2
        #expect(abs(c[r, column] - exact) <= tolerance, "\(r), \(column)")
      }
      for gap in t.columns..<c.stride { #expect(c.values[r * c.stride + gap] == 777) }
    }
  }

  @Test("β = 0 overwrites whatever was there", arguments: [Float.nan, .infinity])
  func overwrite(old: Float) {
    let t = MatmulCase(
      rows: 9, columns: 11, inner: 5, transposeA: false, transposeB: true, alpha: 1, beta: 0, gap: 0
    )
    let (a, b) = (Matrix(9, 5, gap: 0, seed: 1), Matrix(11, 5, gap: 0, seed: 2))
    var (dirty, clean) = (Matrix(9, 11, gap: 0, seed: 3), Matrix(9, 11, gap: 0, seed: 3))
    for i in dirty.values.indices { dirty.values[i] = old }
    multiply(t, a, b, &dirty)
    multiply(t, a, b, &clean)
    #expect(dirty.values == clean.values)
    #expect(dirty.values.allSatisfy { $0.isFinite })
  }

  @Test("what is not a number goes through") func notANumber() {
    let t = MatmulCase(
      rows: 3, columns: 4, inner: 5, transposeA: false, transposeB: false, alpha: 1, beta: 0, gap: 0
    )
    var (a, b, c) = (
      Matrix(3, 5, gap: 0, seed: 1), Matrix(5, 4, gap: 0, seed: 2), Matrix(3, 4, gap: 0, seed: 3)
    )
    a.values[1 * 5 + 2] = .nan
    for column in 0..<4 { b.values[2 * 4 + column] = 0 }
    multiply(t, a, b, &c)
    for r in 0..<3 { for column in 0..<4 { #expect(c[r, column].isNaN == (r == 1)) } }
  }

  @Test("the same product twice has the same bits") func repeatable() {
    let t = MatmulCase(
      rows: 65, columns: 70, inner: 192, transposeA: false, transposeB: true, alpha: 1, beta: 0,
      gap: 0)
    let (a, b) = (Matrix(65, 192, gap: 0, seed: 1), Matrix(70, 192, gap: 0, seed: 2))
    var (first, second) = (Matrix(65, 70, gap: 0, seed: 3), Matrix(65, 70, gap: 0, seed: 4))
    multiply(t, a, b, &first)
    multiply(t, a, b, &second)
    #expect(first.values == second.values)
  }
}

@Suite("Slabs") struct FloatSlabTests {
  @Test("zeroed, aligned, of any size", arguments: [0, 1, 17, 600_000]) func slab(count: Int) {
    let slab = FloatSlab(count: count)
    #expect(slab.count == count && slab.buffer.count == count)
    #expect(UInt(bitPattern: slab.base) % 64 == 0)
    #expect(slab.buffer.allSatisfy { $0 == 0 })
    slab.fill(2.5)
    #expect(slab.buffer.allSatisfy { $0 == 2.5 })
  }
}
