// The average of weights against a plain loop in double precision, and itself in slices.
import Foundation
import Tensors
import Testing

@testable import Optimizers

@Suite("Average of weights") struct WeightAverageTests {
  /// Weight i after step t.
  private func weight(_ i: Int, _ t: Int) -> Float { Float(cos(Double(i + 3 * t))) }

  /// The averages after `steps` steps of the slices of a slab of `count` weights, one after the other.
  private func run(_ decay: Double, count: Int, steps: Int, owned: [Range<Int>]) -> [Float] {
    let parameters = FloatSlab(count: count)
    func put(step: Int) { for i in 0..<count { parameters.base[i] = weight(i, step) } }
    let average = WeightAverage(decay: decay, owned: owned)
    put(step: 0)
    for (place, i) in owned.joined().enumerated() { average.slab.base[place] = parameters.base[i] }
    for step in 1...steps {
      put(step: step)
      average.update(parameters: parameters.base, step: step)
    }
    #expect((0..<count).allSatisfy { parameters.base[$0] == weight($0, steps) })
    return Array(average.slab.buffer)
  }

  @Test("a plain loop", arguments: [0, 0.5, 0.9, 0.9999], [1, 7, 200])
  func reference(decay: Double, steps: Int) {
    let found = run(decay, count: 37, steps: steps, owned: [0..<37])
    for i in 0..<37 {
      var exact = Double(weight(i, 0))
      for t in 1...steps {
        // The warm-up by hand: 2/11, 3/12, 4/13, …
        let d = min(decay, Double(t + 1) / Double(t + 10))
        exact = d * exact + (1 - d) * Double(weight(i, t))
      }
      // Three roundings a step of numbers of at most 2, and old ones fade.
      #expect(abs(Double(found[i]) - exact) < 3 * 0x1p-23 * Double(min(steps, 20)), "element \(i)")
    }
  }

  @Test("the decay of early steps is low") func warmUp() {
    #expect(WeightAverage.decay(step: 1, most: 0.999) == 2.0 / 11)
    #expect(WeightAverage.decay(step: 90, most: 0.999) == 0.91)
    #expect(WeightAverage.decay(step: 1_000_000, most: 0.999) == 0.999)
    #expect(WeightAverage.decay(step: 1, most: 0.1) == 0.1)
  }

  @Test("slices have the bits of the whole") func slices() {
    let whole = run(0.9, count: 41, steps: 5, owned: [0..<41])
    for owned in [[0..<20, 20..<41], [3..<3, 5..<6, 8..<25], [40..<41], []] {
      #expect(run(0.9, count: 41, steps: 5, owned: owned) == owned.joined().map { whole[$0] })
    }
  }
}
