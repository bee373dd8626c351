// One optimizer update, sums of slabs: against double precision, and the same bits in any pieces.
import CKernels
import Testing

@Suite("Update kernels") struct UpdateKernelTests {
  @Test("Adam", arguments: sizes) func adam(count: Int) {
    var numbers = Numbers(UInt64(count))
    let (p, g, m) = (numbers.floats(count), numbers.floats(count), numbers.floats(count))
    let v = numbers.floats(count).map { $0 * $0 }
    var (newP, newM, newV) = (p + [777], m + [777], v + [777])
    ck_adam(&newP, g, &newM, &newV, count, 0.5, 0.01, 0.75, 0.125, 0.25)
    for i in 0..<count {
      let gradient = Double(g[i]) * 0.5 + Double(Float(0.01)) * Double(p[i])
      let first = 0.9 * Double(m[i]) + 0.1 * gradient
      let second = 0.999 * Double(v[i]) + 0.001 * gradient * gradient
      // A handful of roundings of numbers of at most 1.
      expectClose(newM[i], first, within: 4 * 0x1p-24, "m \(i)")
      expectClose(newV[i], second, within: 4 * 0x1p-24 * max(second, 1e-3), "v \(i)")
      // From the rounded moments, whose square root may be small.
      let step = 0.125 * Double(newM[i]) / (Double(newV[i]).squareRoot() / 0.25 + 1e-8)
      expectClose(
        newP[i], 0.75 * Double(p[i]) - step, within: 8 * 0x1p-24 * (1 + abs(step)), "p \(i)")
    }
    #expect(newP[count] == 777 && newM[count] == 777 && newV[count] == 777)
  }

  @Test("SGD", arguments: sizes, [true, false]) func sgd(count: Int, first: Bool) {
    var numbers = Numbers(UInt64(count) + 1)
    let (p, g) = (numbers.floats(count), numbers.floats(count))
    // Before the first step the buffer holds nothing of meaning.
    let b = first ? [Float](repeating: .nan, count: count) : numbers.floats(count)
    var (newP, newB) = (p + [777], b + [777])
    ck_sgd(&newP, g, &newB, count, 0.5, 0.25, 0.875, 0.125, first ? 1 : 0)
    for i in 0..<count {
      let gradient = Double(g[i]) * 0.5 + 0.25 * Double(p[i])
      let buffer = first ? gradient : 0.875 * Double(b[i]) + gradient
      expectClose(newB[i], buffer, within: 3 * 0x1p-23, "b \(i)")
      expectClose(newP[i], Double(p[i]) - 0.125 * buffer, within: 3 * 0x1p-23, "p \(i)")
    }
    #expect(newP[count] == 777 && newB[count] == 777)
  }

  @Test("moving average", arguments: sizes, [1, 0.25, Float(1e-4)])
  func movingAverage(count: Int, share: Float) {
    var numbers = Numbers(UInt64(count) + 2)
    let (a, p) = (numbers.floats(count), numbers.floats(count))
    var found = a + [777]
    ck_moving_average(&found, p, count, share)
    // Bit by bit: three roundings, none of them saved by a fused operation.
    for i in 0..<count { #expect(found[i] == a[i] + share * (p[i] - a[i])) }
    #expect(found[count] == 777)
    // Weights that stay where they are leave their average there.
    found = p
    ck_moving_average(&found, p, count, share)
    #expect(found == p)
  }

  @Test("pieces of any length give the bits of the whole", arguments: [1, 3, 15, 16, 17])
  func pieces(length: Int) {
    var numbers = Numbers(5)
    let count = 100
    let (p, g, m) = (numbers.floats(count), numbers.floats(count), numbers.floats(count))
    let v = numbers.floats(count).map { $0 * $0 }
    func run(_ length: Int) -> [[Float]] {
      var (adamP, adamM, adamV, sgdP, sgdB, sum, average) = (p, m, v, p, m, p, m)
      for start in stride(from: 0, to: count, by: length) {
        let n = min(length, count - start)
        g.withUnsafeBufferPointer { g in
          let g = g.baseAddress! + start
          func at(_ a: inout [Float], _ body: (UnsafeMutablePointer<Float>) -> Void) {
            a.withUnsafeMutableBufferPointer { body($0.baseAddress! + start) }
          }
          at(&adamP) { p in
            at(&adamM) { m in
              at(&adamV) { v in ck_adam(p, g, m, v, n, 0.7, 0.01, 0.99, 0.003, 0.3) }
            }
          }
          at(&sgdP) { p in at(&sgdB) { b in ck_sgd(p, g, b, n, 0.7, 0.01, 0.9, 0.003, 0) } }
          at(&sum) { sum in ck_add(sum, g, n) }
          at(&average) { average in ck_moving_average(average, g, n, 0.3) }
        }
      }
      return [adamP, adamM, adamV, sgdP, sgdB, sum, average]
    }
    #expect(run(length) == run(count))
  }

  @Test("sums of slabs", arguments: sizes) func add(count: Int) {
    var numbers = Numbers(6)
    let (a, x) = (numbers.floats(count), numbers.floats(count))
    var y = a + [777]
    ck_add(&y, x, count)
    for i in 0..<count { #expect(y[i] == a[i] + x[i]) }
    #expect(y[count] == 777)
  }

  @Test("sum of squares", arguments: sizes) func squares(count: Int) {
    var numbers = Numbers(7)
    let x = numbers.floats(count, scale: 1e19)
    let exact = x.reduce(0.0) { $0 + Double($1) * Double($1) }
    #expect(abs(ck_sum_of_squares(x, count) - exact) <= 1e-13 * exact)
    // What is not finite must not vanish.
    #expect(ck_sum_of_squares(x + [.nan], count + 1).isNaN)
    #expect(ck_sum_of_squares(x + [-.infinity], count + 1) == .infinity)
  }
}
