// Numbers of the beta distribution against what is known of it.
import Foundation
import Tensors
import Testing

@Suite("Beta distribution") struct BetaDistributionTests {
  private func sample(_ a: Double, count: Int) -> [Double] {
    (0..<count).map {
      RandomSequence(seed: 4, purpose: .testInput, item: $0).beta(a, firstBlock: 1)
    }
  }

  /// Largest distance of a sample's distribution function from `cdf`.
  private func distance(_ sample: [Double], _ cdf: (Double) -> Double) -> Double {
    let n = Double(sample.count)
    return sample.sorted().enumerated().reduce(0) { most, item in
      let exact = cdf(item.element)
      return max(
        most, abs(exact - Double(item.offset) / n), abs(exact - Double(item.offset + 1) / n))
    }
  }

  @Test("Beta(1, 1) is uniform, Beta(1/2, 1/2) the arcsine law, Beta(2, 2) a parabola")
  func distributions() {
    // Of 20,000 numbers, 1.95 / √20,000 is passed once in a thousand samples (Kolmogorov).
    let most = 1.95 / 20_000.squareRoot()
    #expect(distance(sample(1, count: 20_000)) { $0 } < most)
    #expect(distance(sample(0.5, count: 20_000)) { 2 / .pi * asin($0.squareRoot()) } < most)
    #expect(distance(sample(2, count: 20_000)) { $0 * $0 * (3 - 2 * $0) } < most)
  }

  @Test("mean and variance, also where gamma numbers vanish", arguments: [0.001, 0.2, 0.8, 8, 500])
  func moments(a: Double) {
    let values = sample(a, count: 20_000)
    #expect(values.allSatisfy { (0...1).contains($0) })
    let mean = values.reduce(0, +) / 20_000
    let variance = values.reduce(0) { $0 + ($1 - 0.5) * ($1 - 0.5) } / 20_000
    let exact = 1 / (4 * (2 * a + 1))
    // Four deviations of the mean; the variance of squares is at most 1/16 of a variance of 1/4.
    #expect(abs(mean - 0.5) < 4 * (exact / 20_000).squareRoot())
    #expect(abs(variance / exact - 1) < 0.06)
  }

  @Test("numbers depend on nothing but their place") func reproducible() {
    #expect(sample(0.3, count: 50) == sample(0.3, count: 50))
    #expect(Set(sample(0.3, count: 50)).count == 50)
  }
}
