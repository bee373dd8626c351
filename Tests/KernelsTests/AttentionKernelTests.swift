// Softmax rows, dropout and their gradients; through softmax the exponential function.
import CKernels
import Foundation
import Testing

private func softmax(_ s: [Double], scale: Double) -> [Double] {
  let largest = s.max() ?? 0
  let e = s.map { exp(scale * ($0 - largest)) }
  let sum = e.reduce(0, +)
  return e.map { $0 / sum }
}

@Suite("Attention kernels") struct AttentionKernelTests {
  /// Both probabilities of rows [0, x].
  private func pairs(_ x: [Float], scale: Float) -> [Float] {
    var scores = x.flatMap { [Float(0), $0] }
    ck_softmax_rows(&scores, x.count, 2, 2, scale)
    return scores
  }

  @Test("exp within 2 ulp where softmax shows it bare") func exponential() {
    // Below -17 the sum 1 + e is 1, and the second probability is e itself.
    var arguments: [Float] = []
    var bits = Float(17.5).bitPattern
    while bits < Float(87).bitPattern {
      arguments.append(-Float(bitPattern: bits))
      bits += 101
    }
    let p = pairs(arguments, scale: 1)
    var worst = 0.0
    for (i, x) in arguments.enumerated() { worst = max(worst, ulps(p[2 * i + 1], exp(Double(x)))) }
    #expect(worst <= 2)
    #expect(arguments.count > 100_000)
    // Too small for a float.
    #expect(pairs([-88, -1e4, -.greatestFiniteMagnitude], scale: 1) == [1, 0, 1, 0, 1, 0])
  }

  @Test("exp within 2 ulp from the ratio of probabilities", arguments: [1, -1] as [Float])
  func ratio(sign: Float) {
    // With a negative scale the larger score gets the smaller probability: exp of positive numbers.
    var arguments: [Float] = [0]
    var bits = Float(0x1p-10).bitPattern
    while bits < Float(sign > 0 ? 17 : 86).bitPattern {
      arguments.append(-Float(bitPattern: bits))
      bits += 1009
    }
    let p = pairs(arguments, scale: sign)
    var worst = 0.0
    for (i, x) in arguments.enumerated() {
      let ratio = Double(p[2 * i + 1]) / Double(p[2 * i])
      let exact = exp(Double(sign * x))
      worst = max(worst, abs(ratio - exact) / Double(Float(exact).ulp))
    }
    // Two more roundings, each of up to one unit of the ratio.
    #expect(worst <= 2 + 2)
  }

  @Test("softmax", arguments: sizes.dropFirst(), [1, 0.125, 8] as [Float])
  func rows(columns: Int, scale: Float) {
    var numbers = Numbers(UInt64(columns))
    var s = Strided(rows: 3, width: columns, gap: 3, &numbers, scale: 4)
    let before = s
    ck_softmax_rows(&s.values, 3, columns, s.stride, scale)
    for r in 0..<3 {
      let exact = softmax(before.row(r), scale: Double(scale))
      let largest = before.row(r).max()!
      for c in 0..<columns {
        // exp 2 units; its argument rounded twice; the sum in at least 4 lanes; 1/sum and product.
        let argument = Double(scale) * (largest - Double(before[r, c]))
        let relative = (2 * 2 + 2 * argument + Double(columns) / 4 + 8) * 0x1p-24
        expectClose(s[r, c], exact[c], within: relative * exact[c] + 1e-38, "row \(r), \(c)")
      }
    }
    #expect(s.isPaddingUntouched)
  }

  @Test("nothing to do, and what is not a number stays seen") func edges() {
    var none: [Float] = [777]
    ck_softmax_rows(&none, 0, 5, 5, 1)
    #expect(none == [777])
    var odd: [Float] = [1, .nan, 2]
    ck_softmax_rows(&odd, 1, 3, 3, 1)
    #expect(odd.allSatisfy { $0.isNaN })
    // Differences beyond float's range of exponents.
    var far: [Float] = [3e38, -3e38, 3e38]
    ck_softmax_rows(&far, 1, 3, 3, 1)
    #expect(far == [0.5, 0, 0.5])
  }

  @Test("dropout rows", arguments: sizes) func dropout(columns: Int) {
    var numbers = Numbers(3)
    let p = Strided(rows: 3, width: columns, gap: 2, &numbers)
    var dropped = Strided(rows: 3, width: columns, gap: 2, &numbers)
    let keep = numbers.keepMask(3 * columns)
    ck_dropout_rows(&dropped.values, p.values, keep, 3, columns, p.stride, 1.25)
    for r in 0..<3 {
      for c in 0..<columns {
        #expect(dropped[r, c] == (keep[r * columns + c] == 1 ? p[r, c] * 1.25 : 0))
      }
    }
    #expect(dropped.isPaddingUntouched)
  }

  @Test(
    "gradient of softmax and dropout by differences", arguments: sizes.dropFirst(), [false, true])
  func gradient(columns: Int, drops: Bool) {
    var numbers = Numbers(UInt64(columns) + 9)
    let scale: Float = 0.375
    let s = Strided(rows: 2, width: columns, gap: 3, &numbers, scale: 3)
    var p = s
    ck_softmax_rows(&p.values, 2, columns, p.stride, scale)
    let weights = Strided(rows: 2, width: columns, gap: 3, &numbers)
    let keep = numbers.keepMask(2 * columns)
    var d = weights
    ck_softmax_rows_backward(
      &d.values, p.values, drops ? keep : nil, 2, columns, p.stride, scale, drops ? 1.25 : 1)
    for r in 0..<2 {
      let w = (0..<columns).map {
        Double(weights[r, $0]) * (drops ? Double(keep[r * columns + $0]) * 1.25 : 1)
      }
      for c in places(columns) {
        let exact = derivative(s.row(r), c) { s in
          zip(w, softmax(s, scale: Double(scale))).reduce(0) { $0 + $1.0 * $1.1 }
        }
        // p is within 2e-6 relative; the sum of products has at most `columns` terms.
        expectClose(d[r, c], exact, within: 1e-5 * Double(p[r, c]) + 1e-9, "row \(r), \(c)")
      }
    }
    #expect(d.isPaddingUntouched)
  }
}
