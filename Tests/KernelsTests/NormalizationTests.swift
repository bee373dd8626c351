// Layer normalisation and its gradients against double precision.
import CKernels
import Testing

private func layerNorm(
  _ x: [Double], _ gamma: [Double], _ beta: [Double], epsilon: Double = 1e-5
) -> [Double] {
  let mean = x.reduce(0, +) / Double(x.count)
  let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
  let rstd = 1 / (variance + epsilon).squareRoot()
  return x.indices.map { gamma[$0] * (x[$0] - mean) * rstd + beta[$0] }
}

@Suite("Layer normalisation") struct NormalizationTests {
  /// Everything of one pass over `rows` rows.
  private struct Pass {
    let x: Strided
    var y: Strided
    let gamma: [Float]
    let beta: [Float]
    var mean: [Float]
    var rstd: [Float]

    init(
      rows: Int, width: Int, offset: Float = 0, scale: Float = 2, epsilon: Float = 1e-5
    ) {
      var numbers = Numbers(UInt64(width * 10 + rows))
      var x = Strided(rows: rows, width: width, gap: 3, &numbers, scale: scale)
      for r in 0..<rows { for c in 0..<width { x[r, c] += offset } }
      self.x = x
      y = Strided(rows: rows, width: width, gap: 5, &numbers)
      gamma = numbers.floats(width)
      beta = numbers.floats(width)
      mean = [Float](repeating: 777, count: rows + 1)
      rstd = mean
      ck_layernorm(
        &y.values, &mean, &rstd, x.values, gamma, beta, rows, width, y.stride, x.stride,
        epsilon)
    }
  }

  @Test("forward", arguments: sizes.dropFirst(), [0, 1, 4]) func forward(width: Int, rows: Int) {
    let pass = Pass(rows: rows, width: width)
    for r in 0..<rows {
      let exact = layerNorm(pass.x.row(r), pass.gamma.map(Double.init), pass.beta.map(Double.init))
      for c in 0..<width {
        // Sums of up to 1000 numbers of size 2 in at least 4 lanes; a row of one has rstd 316.
        expectClose(pass.y[r, c], exact[c], within: 2e-5, "row \(r), \(c)")
      }
    }
    #expect(pass.y.isPaddingUntouched)
    #expect(pass.mean[rows] == 777 && pass.rstd[rows] == 777)
  }

  @Test("the small number under the root is the one given", arguments: [1e-5, 1e-6])
  func epsilon(given: Double) {
    // A variance of 3e-6, so that it rules.
    let pass = Pass(rows: 2, width: 192, scale: 0.003, epsilon: Float(given))
    for r in 0..<2 {
      let exact = layerNorm(
        pass.x.row(r), pass.gamma.map(Double.init), pass.beta.map(Double.init), epsilon: given)
      for c in 0..<192 { expectClose(pass.y[r, c], exact[c], within: 5e-6, "row \(r), \(c)") }
    }
  }

  @Test("a large mean does not swallow the variance") func offset() {
    let pass = Pass(rows: 1, width: 192, offset: 100)
    let exact = layerNorm(pass.x.row(0), pass.gamma.map(Double.init), pass.beta.map(Double.init))
    // The mean is within 1e-5: an error of that size over a deviation of about 1.
    for c in 0..<192 { expectClose(pass.y[0, c], exact[c], within: 5e-5, "\(c)") }
  }

  @Test("gradients by differences", arguments: [2, 15, 16, 17, 1000], [false, true])
  func gradients(width: Int, add: Bool) {
    let rows = 3
    let pass = Pass(rows: rows, width: width)
    var numbers = Numbers(99)
    let dy = Strided(rows: rows, width: width, gap: 1, &numbers)
    var dx = Strided(rows: rows, width: width, gap: 2, &numbers)
    let start = dx
    let (gammaStart, betaStart) = (numbers.floats(width), numbers.floats(width))
    var (dgamma, dbeta) = (gammaStart, betaStart)
    ck_layernorm_backward(
      &dx.values, &dgamma, &dbeta, dy.values, pass.x.values, pass.mean, pass.rstd, pass.gamma, rows,
      width, dx.stride, dy.stride, pass.x.stride, add ? 1 : 0)
    let gamma = pass.gamma.map(Double.init)
    let beta = pass.beta.map(Double.init)
    func loss(_ r: Int, x: [Double]? = nil, gamma g: [Double]? = nil, beta b: [Double]? = nil)
      -> Double
    {
      let y = layerNorm(x ?? pass.x.row(r), g ?? gamma, b ?? beta)
      return zip(y, dy.row(r)).reduce(0) { $0 + $1.0 * $1.1 }
    }
    for c in places(width) {
      for r in 0..<rows {
        let exact =
          derivative(pass.x.row(r), c) { loss(r, x: $0) } + (add ? Double(start[r, c]) : 0)
        expectClose(dx[r, c], exact, within: 2e-5, "dx \(r), \(c)")
      }
      let exactGamma = (0..<rows).reduce(Double(gammaStart[c])) { sum, r in
        sum + derivative(gamma, c) { loss(r, gamma: $0) }
      }
      let exactBeta = (0..<rows).reduce(Double(betaStart[c])) { sum, r in
        sum + derivative(beta, c) { loss(r, beta: $0) }
      }
      expectClose(dgamma[c], exactGamma, within: 2e-5, "dgamma \(c)")
      expectClose(dbeta[c], exactBeta, within: 2e-5, "dbeta \(c)")
    }
    #expect(dx.isPaddingUntouched)
  }
}
