// Products of bfloat16 parts, against double precision.
import CKernels
import Testing

struct ProductCase: CustomTestStringConvertible, Sendable {
  var m: Int
  var n: Int
  var k: Int
  var terms: Int
  var number: Int
  var transposeA: Bool { number & 1 == 1 }
  var transposeB: Bool { number & 2 == 2 }
  var halfA: Bool { number & 4 == 4 }
  var halfB: Bool { number & 8 == 8 }
  var alpha: Float { [1, 0.5, -2][number % 3] }
  var beta: Float { number % 5 < 3 ? 0 : 1 }
  var testDescription: String { "\(m) x \(n) x \(k), \(terms) terms, number \(number)" }

  /// Around tiles and blocks, and random sizes; all orientations and element types.
  static let all: [ProductCase] = {
    var numbers = Numbers(7)
    func random(_ below: Float) -> Int { 1 + Int((numbers.next() + 1) / 2 * below) }
    let edges = [
      (1, 1, 1), (16, 16, 32), (17, 15, 33), (32, 48, 31), (5, 100, 64), (530, 33, 40),
      (20, 800, 17), (33, 20, 1100), (3, 2, 16389), (3, 2, 0),
    ]
    let sizes = edges + (0..<7).map { _ in (random(90), random(90), random(200)) }
    return sizes.enumerated().flatMap { index, size in
      (1...3).flatMap { terms in
        [index * 5 + terms, index * 7 + terms + 8].map {
          ProductCase(m: size.0, n: size.1, k: size.2, terms: terms, number: $0 % 16)
        }
      }
    }
  }()
}

/// What makes a product of bfloat16 parts.
enum ProductMaker: CustomTestStringConvertible, Sendable {
  case unit(Int32)
  /// Float kernels, which round for one term only.
  case kernels(Int32)

  static let all =
    EveryKernel.units.map { ProductMaker.unit($0) }
    + EveryKernel.levels.map { .kernels($0) }

  var testDescription: String {
    switch self {
    case .unit(let unit): return "unit \(unit)"
    case .kernels(let kernels): return "kernels \(kernels)"
    }
  }

  /// C [m, n] = alpha · op(A) · op(B) + beta · C.
  func multiply(
    terms: Int32, _ m: Int, _ n: Int, _ k: Int, _ alpha: Float, _ a: ck_matrix, _ b: ck_matrix,
    _ beta: Float, _ c: ck_matrix, _ finish: UnsafePointer<ck_finish>? = nil
  ) {
    switch self {
    case .unit(let unit):
      EveryKernel.product(unit)(unit, terms, m, n, k, alpha, a, b, beta, c, finish)
    case .kernels(let kernels):
      EveryKernel.floatProduct(kernels)(
        kernels, terms == 1 ? 1 : 0, m, n, k, alpha, a, b, beta, c, finish)
    }
  }
}

@Suite("Products of bfloat16 parts") struct ProductTests {
  @Test("shapes, orientations, elements, terms", arguments: ProductCase.all, ProductMaker.all)
  func product(_ t: ProductCase, maker: ProductMaker) {
    var numbers = Numbers(UInt64(t.m * 1000 + t.n * 10 + t.k))
    let a = Operand(t.m, t.k, transposed: t.transposeA, half: t.halfA, gap: 3, &numbers)
    let b = Operand(t.k, t.n, transposed: t.transposeB, half: t.halfB, gap: 1, &numbers)
    let before = Strided(rows: t.m, width: t.n, gap: 2, &numbers)
    var c = before
    let stride = c.stride
    a.withMatrix { a in
      b.withMatrix { b in
        c.values.withUnsafeMutableBytes { c in
          maker.multiply(
            terms: Int32(t.terms), t.m, t.n, t.k, t.alpha, a, b, t.beta,
            ck_matrix(base: c.baseAddress, stride: stride, transposed: 0, is_bf16: 0))
        }
      }
    }
    #expect(c.isPaddingUntouched)
    for i in 0..<t.m {
      for j in 0..<t.n {
        var exact = Double(t.beta) * Double(before[i, j])
        var size = abs(exact)
        for l in 0..<t.k {
          var (x, y) = (t.alpha * a[i, l], b[l, j])
          if t.terms == 1 {
            (x, y) = (floatOf(roundedToBFloat16(x)), floatOf(roundedToBFloat16(y)))
          }
          exact += Double(x) * Double(y)
          size += abs(Double(x) * Double(y))
        }
        // Sums of k floats; two terms are rounded and drop products of small parts, 2^-15 of the whole together.
        let tolerance = size * (Double(t.k + 8) * 0x1p-24 + (t.terms == 2 ? 0x1p-15 : 0))
        expectClose(c[i, j], exact, within: tolerance, "\(i), \(j)")
      }
    }
  }

  @Test("a rounded result is the float result, rounded", arguments: ProductMaker.all)
  func rounded(maker: ProductMaker) {
    var numbers = Numbers(3)
    for (m, n, k) in [(33, 47, 100), (16, 32, 64), (40, 9, 1500)] {
      let a = Operand(m, k, transposed: false, half: true, gap: 0, &numbers)
      let b = Operand(k, n, transposed: true, half: false, gap: 0, &numbers)
      var floats = [Float](repeating: 0, count: m * n)
      var halves = [UInt16](repeating: 0, count: m * (n + 2))
      a.withMatrix { a in
        b.withMatrix { b in
          floats.withUnsafeMutableBytes {
            let c = ck_matrix(base: $0.baseAddress, stride: n, transposed: 0, is_bf16: 0)
            maker.multiply(terms: 1, m, n, k, 1, a, b, 0, c)
          }
          halves.withUnsafeMutableBytes {
            let c = ck_matrix(base: $0.baseAddress, stride: n + 2, transposed: 0, is_bf16: 1)
            maker.multiply(terms: 1, m, n, k, 1, a, b, 0, c)
          }
        }
      }
      for i in 0..<m {
        for j in 0..<n where halves[i * (n + 2) + j] != roundedToBFloat16(floats[i * n + j]) {
          Issue.record("\(i), \(j): \(halves[i * (n + 2) + j]) of \(floats[i * n + j])")
        }
        #expect(halves[i * (n + 2) + n] == 0 && halves[i * (n + 2) + n + 1] == 0)
      }
    }
  }

  @Test(
    "rows of A that lie like tiles give the bits of any others", arguments: ProductMaker.all,
    [1, 2])
  func inPlace(maker: ProductMaker, terms: Int32) {
    var numbers = Numbers(6)
    for (m, n, k, gap) in [(1, 40, 32, 0), (16, 16, 64, 32), (21, 33, 96, 0), (70, 17, 4128, 64)] {
      let b = Operand(k, n, transposed: true, half: false, gap: 0, &numbers)
      let values = numbers.floats(m * (k + gap)).map(roundedToBFloat16)
      let bytes = values.count * 2
      let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes + 64, alignment: 64)
      defer { memory.deallocate() }
      var products: [[Float]] = []
      for offset in [0, 2] {
        values.withUnsafeBytes {
          memory.advanced(by: offset).copyMemory(from: $0.baseAddress!, byteCount: bytes)
        }
        var c = [Float](repeating: 0, count: m * n)
        let a = ck_matrix(base: memory + offset, stride: k + gap, transposed: 0, is_bf16: 1)
        b.withMatrix { b in
          c.withUnsafeMutableBytes {
            maker.multiply(
              terms: terms, m, n, k, 1, a, b, 0,
              ck_matrix(base: $0.baseAddress, stride: n, transposed: 0, is_bf16: 0))
          }
        }
        products.append(c)
      }
      let differing = zip(products[0], products[1]).count { $0 != $1 }
      #expect(differing == 0, "\(m) x \(n) x \(k)")
      #expect(products[0].contains { $0 != 0 })
    }
  }

  @Test("GELU and slopes on the way out", arguments: ProductMaker.all, [true, false])
  func finish(maker: ProductMaker, drops: Bool) {
    var numbers = Numbers(4)
    for (m, n, k) in [(37, 45, 61), (33, 32, 20), (530, 17, 600), (5, 18, 0)] {
      let x = Operand(m, k, transposed: false, half: true, gap: 0, &numbers)
      let w = Operand(n, k, transposed: false, half: false, gap: 0, &numbers)
      let bias = numbers.floats(n)
      let keep = numbers.keepMask(m * n)
      var hidden = [UInt16](repeating: 0, count: m * n)
      var slope = hidden
      var dHidden = hidden
      let sumsBefore = numbers.floats(n)
      var sums = sumsBefore
      func run(_ kind: Int, _ target: inout [UInt16]) {
        x.withMatrix { a in
          w.withMatrix { w in
            var b = w
            b.transposed = 1
            bias.withUnsafeBufferPointer { bias in
              keep.withUnsafeBufferPointer { keep in
                slope.withUnsafeMutableBufferPointer { slope in
                  sums.withUnsafeMutableBufferPointer { sums in
                    target.withUnsafeMutableBytes {
                      var finish = ck_finish(
                        kind: Int32(kind), bias: bias.baseAddress,
                        keep: drops ? keep.baseAddress : nil, factor: 1.25,
                        slope: slope.baseAddress, sums: sums.baseAddress)
                      maker.multiply(
                        terms: 1, m, n, k, 1, a, b, 0,
                        ck_matrix(base: $0.baseAddress, stride: n, transposed: 0, is_bf16: 1),
                        &finish)
                    }
                  }
                }
              }
            }
          }
        }
      }
      run(CK_FINISH_GELU, &hidden)
      run(CK_FINISH_SLOPE, &dHidden)
      var biased = dHidden
      run(CK_FINISH_BIAS, &biased)
      var exactSums = sumsBefore.map(Double.init)
      for i in 0..<m {
        for j in 0..<n {
          var product = 0.0
          for l in 0..<k {
            product += Double(x[i, l]) * Double(floatOf(roundedToBFloat16(w[j, l])))
          }
          let z = product + Double(bias[j])
          expectClose(
            floatOf(biased[i * n + j]), z, within: abs(z) * 0x1p-8 + 1e-4, "bias \(i), \(j)")
          let factor = drops ? Double(keep[i * n + j]) * 1.25 : 1
          let found = floatOf(hidden[i * n + j])
          let value = factor * gelu(z)
          expectClose(found, value, within: abs(value) * 0x1p-8 + 1e-4, "gelu \(i), \(j)")
          let derivative = factor * geluDerivative(z)
          let kept = floatOf(slope[i * n + j])
          expectClose(kept, derivative, within: abs(derivative) * 0x1p-8 + 1e-4, "slope \(i), \(j)")
          let gradient = product * Double(kept)
          exactSums[j] += gradient
          expectClose(
            floatOf(dHidden[i * n + j]), gradient, within: abs(gradient) * 0x1p-8 + 1e-4,
            "gradient \(i), \(j)")
        }
      }
      for j in 0..<n { expectClose(sums[j], exactSums[j], within: 2e-3, "sum \(j)") }
    }
  }

  @Test("what is not a number stays in its row", arguments: ProductMaker.all, [1, 2, 3])
  func notANumber(maker: ProductMaker, terms: Int32) {
    var numbers = Numbers(5)
    let (m, n, k) = (20, 18, 40)
    var a = Operand(m, k, transposed: false, half: false, gap: 0, &numbers)
    a.floats[3 * k + 7] = .nan
    let b = Operand(k, n, transposed: true, half: false, gap: 0, &numbers)
    var c = [Float](repeating: 0, count: m * n)
    a.withMatrix { a in
      b.withMatrix { b in
        c.withUnsafeMutableBytes {
          maker.multiply(
            terms: terms, m, n, k, 1, a, b, 0,
            ck_matrix(base: $0.baseAddress, stride: n, transposed: 0, is_bf16: 0))
        }
      }
    }
    for i in 0..<m { for j in 0..<n { #expect(c[i * n + j].isNaN == (i == 3)) } }
  }
}
