// Random numbers of the beta distribution.
import Foundation

extension RandomSequence {
  /// A number of Beta(a, a), a > 0: X / (X + Y) of two independent numbers of Gamma(a). Uses blocks from `firstBlock`
  /// on.
  public func beta(_ a: Double, firstBlock: UInt32) -> Double {
    // For small a both may be too small for a double; their ratio is not.
    1 / (1 + exp(logGamma(a, firstBlock: firstBlock + 1) - logGamma(a, firstBlock: firstBlock)))
  }

  /// The logarithm of a number of Gamma(a), by the method of Marsaglia and Tsang (2000, "A simple method for generating
  /// gamma variables"); below 1 as Gamma(a + 1) · U^(1/a). Try t uses block `firstBlock` + 2t.
  private func logGamma(_ a: Double, firstBlock: UInt32) -> Double {
    let d = (a < 1 ? a + 1 : a) - 1 / 3.0
    let c = 1 / (9 * d).squareRoot()
    var block = firstBlock
    while true {
      let words = words(block: block)
      // In (0, 1): neither end occurs.
      func uniform(_ i: Int) -> Double { (Double(words[i]) + 0.5) * 0x1p-32 }
      block += 2
      let normal = (-2 * log(uniform(0))).squareRoot() * cos(2 * .pi * uniform(1))
      let root = 1 + c * normal
      guard root > 0 else { continue }
      let v = root * root * root
      guard log(uniform(2)) < normal * normal / 2 + d - d * v + d * log(v) else { continue }
      return log(d * v) + (a < 1 ? log(uniform(3)) / a : 0)
    }
  }
}
