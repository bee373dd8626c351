// Products of floats, by every kernel and out of three bfloat16 parts on every unit, against double precision.
import CKernels
import Testing

enum FloatMaker: CustomTestStringConvertible, Sendable {
  case kernels(Int32)
  case split(unit: Int32)

  static let all =
    EveryKernel.levels.map { FloatMaker.kernels($0) }
    + EveryKernel.units.map { .split(unit: $0) }

  var testDescription: String {
    switch self {
    case .kernels(let kernels): return "kernels \(kernels)"
    case .split(let unit): return "split, unit \(unit)"
    }
  }
}

@Suite("Products of floats") struct FloatProductTests {
  /// Every number of rows and columns of a tile, around stretches and blocks, and random sizes.
  static let cases: [ProductCase] = {
    var numbers = Numbers(11)
    func random(_ below: Float) -> Int { 1 + Int((numbers.next() + 1) / 2 * below) }
    let edges = [
      (3, 2, 0), (5, 40, 256), (6, 20, 257), (449, 17, 20), (900, 3, 9), (2, 100, 770),
      (34, 5, 1030),
    ]
    let tiles = (1...15).map { ($0, 2 * $0 + 1, 19) }
    let sizes = edges + tiles + (0..<8).map { _ in (random(90), random(90), random(300)) }
    return sizes.enumerated().flatMap { index, size in
      (0..<4).map {
        ProductCase(m: size.0, n: size.1, k: size.2, terms: 3, number: 4 * index + $0)
      }
    }
  }()

  @Test("shapes, orientations, factors", arguments: cases, FloatMaker.all)
  func product(_ t: ProductCase, maker: FloatMaker) {
    var numbers = Numbers(UInt64(t.m * 1000 + t.n * 10 + t.k))
    let a = Operand(t.m, t.k, transposed: t.transposeA, half: false, gap: 3, &numbers)
    let b = Operand(t.k, t.n, transposed: t.transposeB, half: false, gap: 1, &numbers)
    let before = Strided(rows: t.m, width: t.n, gap: 2, &numbers)
    var c = before
    multiply(maker, t, a, b, &c)
    #expect(c.isPaddingUntouched)
    for i in 0..<t.m {
      for j in 0..<t.n {
        var exact = Double(t.beta) * Double(before[i, j])
        var size = abs(exact)
        for l in 0..<t.k {
          let term = Double(t.alpha) * Double(a[i, l]) * Double(b[l, j])
          exact += term
          size += abs(term)
        }
        expectClose(c[i, j], exact, within: size * Double(t.k + 8) * 0x1p-24, "\(i), \(j)")
      }
    }
  }

  @Test(
    "an element's bits depend on its row, its column and the depth only", arguments: FloatMaker.all)
  func sameBits(maker: FloatMaker) {
    var numbers = Numbers(12)
    let (m, n, k) = (61, 75, 300)
    let a = Operand(m, k, transposed: false, half: false, gap: 0, &numbers)
    let b = Operand(k, n, transposed: true, half: false, gap: 0, &numbers)
    var whole = Strided(rows: m, width: n, gap: 0, &numbers)
    multiply(maker, ProductCase(m: m, n: n, k: k, terms: 3, number: 0), a, b, &whole)
    for (row, column) in [(0, 0), (60, 74), (17, 33)] {
      var (left, right) = (a, b)
      left.floats = Array(a.floats[row * k..<(row + 1) * k])
      right.floats = Array(b.floats[column * k..<(column + 1) * k])
      var one = Strided(rows: 1, width: 1, gap: 0, &numbers)
      multiply(maker, ProductCase(m: 1, n: 1, k: k, terms: 3, number: 0), left, right, &one)
      #expect(one[0, 0] == whole[row, column])
    }
  }

  @Test(
    "AVX2 and AVX-512 give the same bits",
    .enabled(if: EveryKernel.levels.contains(Int32(CK_LEVEL_AVX512))), arguments: cases)
  func sameBitsOnAllLevels(_ t: ProductCase) {
    var numbers = Numbers(UInt64(t.m * 1000 + t.n * 10 + t.k))
    let a = Operand(t.m, t.k, transposed: t.transposeA, half: false, gap: 0, &numbers)
    let b = Operand(t.k, t.n, transposed: t.transposeB, half: false, gap: 1, &numbers)
    var products = [Strided](
      repeating: Strided(rows: t.m, width: t.n, gap: 0, &numbers), count: 2)
    for (index, level) in [CK_LEVEL_AVX2, CK_LEVEL_AVX512].enumerated() {
      multiply(.kernels(Int32(level)), t, a, b, &products[index])
    }
    #expect(products[0].values == products[1].values)
  }

  @Test(
    "β = 0 overwrites whatever was there; what is not a number stays in its row",
    arguments: FloatMaker.all)
  func notANumber(maker: FloatMaker) {
    var numbers = Numbers(13)
    let (m, n, k) = (20, 35, 40)
    var a = Operand(m, k, transposed: false, half: false, gap: 0, &numbers)
    a.floats[3 * k + 7] = .nan
    let b = Operand(k, n, transposed: false, half: false, gap: 0, &numbers)
    var c = Strided(rows: m, width: n, gap: 0, &numbers)
    for i in 0..<m { for j in 0..<n { c[i, j] = .nan } }
    multiply(maker, ProductCase(m: m, n: n, k: k, terms: 3, number: 0), a, b, &c)
    for i in 0..<m { for j in 0..<n { #expect(c[i, j].isNaN == (i == 3)) } }
  }

  @Test("GELU and slopes on the way out", arguments: FloatMaker.all, [true, false])
  func finish(maker: FloatMaker, drops: Bool) {
    var numbers = Numbers(14)
    for (m, n, k) in [(37, 45, 61), (28, 32, 20), (460, 17, 600), (33, 20, 1100)] {
      let x = Operand(m, k, transposed: false, half: false, gap: 0, &numbers)
      let w = Operand(k, n, transposed: true, half: false, gap: 0, &numbers)
      let bias = numbers.floats(n)
      let keep = numbers.keepMask(m * n)
      let sumsBefore = numbers.floats(n)
      var sums = sumsBefore
      var slope = [Float](repeating: 0, count: m * n)
      var hidden = Strided(rows: m, width: n, gap: 3, &numbers)
      var dHidden = Strided(rows: m, width: n, gap: 2, &numbers)
      var biased = Strided(rows: m, width: n, gap: 1, &numbers)
      let product = ProductCase(m: m, n: n, k: k, terms: 3, number: 0)
      bias.withUnsafeBufferPointer { bias in
        keep.withUnsafeBufferPointer { keep in
          slope.withUnsafeMutableBytes { slope in
            sums.withUnsafeMutableBufferPointer { sums in
              var finish = ck_finish(
                kind: Int32(CK_FINISH_GELU), bias: bias.baseAddress,
                keep: drops ? keep.baseAddress : nil, factor: 1.25, slope: slope.baseAddress,
                sums: sums.baseAddress)
              multiply(maker, product, x, w, &hidden, &finish)
              finish.kind = Int32(CK_FINISH_SLOPE)
              multiply(maker, product, x, w, &dHidden, &finish)
              finish.kind = Int32(CK_FINISH_BIAS)
              multiply(maker, product, x, w, &biased, &finish)
            }
          }
        }
      }
      #expect(
        hidden.isPaddingUntouched && dHidden.isPaddingUntouched && biased.isPaddingUntouched)
      var exactSums = sumsBefore.map(Double.init)
      for i in 0..<m {
        for j in 0..<n {
          let terms = (0..<k).map { Double(x[i, $0]) * Double(w[$0, j]) }
          let product = terms.reduce(0, +)
          // Of the sum, times the steepest slope and the mask's factor, and of the curves themselves.
          let size = terms.reduce(0) { $0 + abs($1) }
          let tolerance = 1.5 * size * Double(k + 8) * 0x1p-24 + 2e-5
          let z = product + Double(bias[j])
          let factor = drops ? Double(keep[i * n + j]) * 1.25 : 1
          expectClose(biased[i, j], z, within: tolerance, "bias \(i), \(j)")
          expectClose(hidden[i, j], factor * gelu(z), within: tolerance, "gelu \(i), \(j)")
          let kept = slope[i * n + j]
          expectClose(kept, factor * geluDerivative(z), within: tolerance, "slope \(i), \(j)")
          expectClose(
            dHidden[i, j], product * Double(kept), within: tolerance, "gradient \(i), \(j)")
          exactSums[j] += product * Double(kept)
        }
      }
      for j in 0..<n { expectClose(sums[j], exactSums[j], within: 2e-3, "sum \(j)") }
    }
  }

  private func multiply(
    _ maker: FloatMaker, _ t: ProductCase, _ a: Operand, _ b: Operand, _ c: inout Strided,
    _ finish: UnsafePointer<ck_finish>? = nil
  ) {
    let stride = c.stride
    a.withMatrix { a in
      b.withMatrix { b in
        c.values.withUnsafeMutableBufferPointer {
          let c = ck_matrix(base: $0.baseAddress, stride: stride, transposed: 0, is_bf16: 0)
          switch maker {
          case .kernels(let kernels):
            EveryKernel.floatProduct(kernels)(
              kernels, 0, t.m, t.n, t.k, t.alpha, a, b, t.beta, c, finish)
          case .split(let unit):
            EveryKernel.product(unit)(unit, 3, t.m, t.n, t.k, t.alpha, a, b, t.beta, c, finish)
          }
        }
      }
    }
  }
}
