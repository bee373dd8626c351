// Optimizers against closed forms, PyTorch's recurrences in double precision, and themselves in slices.
import Foundation
import Tensors
import Testing

@testable import Optimizers

@Suite("Optimizers") struct OptimizerTests {
  /// A smooth stand-in for gradients: element i at step t.
  private func gradient(_ i: Int, _ t: Int) -> Float { Float(sin(Double(i * 7 + t * t)) * 0.5) }
  private func start(_ i: Int) -> Float { Float(cos(Double(i))) }

  /// All parameters after `steps` steps, with the slab cut into slices at the given places; slices
  /// belong in turn to as many owners, or each to one of its own.
  private func run(
    _ kind: OptimizerKind, count: Int, steps: Int, cuts: [Int] = [], owners: Int? = nil,
    parts: [Optimizer.Part]? = nil, rate: Double, decay: Double,
    momentum: Double = 0.9, clip: Float = 1, gradient: (Int, Int) -> Float
  ) -> [Float] {
    let parameters = FloatSlab(count: count)
    for i in 0..<count { parameters.base[i] = start(i) }
    let bounds = [0] + cuts + [count]
    let slices = zip(bounds, bounds.dropFirst()).map { $0..<$1 }
    let owned = (0..<(owners ?? slices.count)).map { owner in
      stride(from: owner, to: slices.count, by: owners ?? slices.count).map { slices[$0] }
    }
    let optimizers = owned.map {
      Optimizer(
        kind, owned: $0, parts: parts ?? [.init(0..<count)], weightDecay: decay, momentum: momentum
      )
    }
    for step in 1...steps {
      for (ranges, optimizer) in zip(owned, optimizers) {
        // Nobody reads beyond the end; an owner may have nothing.
        let gradients = ranges.joined().map { gradient($0, step) } + [.nan]
        optimizer.update(
          parameters: parameters.base, gradients: gradients, learningRate: rate, clip: clip,
          step: step)
      }
    }
    return Array(parameters.buffer)
  }

  /// Element i, by the formulas of torch.optim's documentation.
  private func recurrence(
    _ kind: OptimizerKind, _ i: Int, steps: Int, rate: Double, decay: Double, clip: Double
  ) -> Double {
    var p = Double(start(i))
    var (m, v, b) = (0.0, 0.0, 0.0)
    for t in 1...steps {
      var g = Double(gradient(i, t)) * clip
      if kind == .adamw { p -= rate * decay * p } else { g += decay * p }
      if kind == .sgd {
        b = t == 1 ? g : 0.9 * b + g
        p -= rate * b
      } else {
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        let (mHat, vHat) = (m / (1 - pow(0.9, Double(t))), v / (1 - pow(0.999, Double(t))))
        p -= rate * mHat / (vHat.squareRoot() + 1e-8)
      }
    }
    return p
  }

  @Test("PyTorch's recurrences", arguments: OptimizerKind.allCases, [0, 0.1])
  func recurrences(kind: OptimizerKind, decay: Double) {
    let found = run(
      kind, count: 37, steps: 60, rate: 0.01, decay: decay, clip: 0.5, gradient: gradient)
    for i in 0..<37 {
      let exact = recurrence(kind, i, steps: 60, rate: 0.01, decay: decay, clip: 0.5)
      // 60 steps, a handful of roundings of numbers of about 1 each.
      #expect(abs(Double(found[i]) - exact) < 60 * 4 * 0x1p-24, "element \(i)")
    }
  }

  @Test("a constant gradient: Adam walks at the learning rate", arguments: [1, 2, 100])
  func adamClosedForm(steps: Int) {
    // Then the corrected moments are g and g², whatever g is: a step is lr · g / (|g| + 1e-8).
    for g: Float in [1e-3, -2, 50] {
      let found = run(.adam, count: 3, steps: steps, rate: 0.01, decay: 0) { _, _ in g }
      for i in 0..<3 {
        let size = Double(abs(g)) / (Double(abs(g)) + 1e-8)
        let exact = Double(start(i)) - Double(steps) * 0.01 * size * (g > 0 ? 1 : -1)
        #expect(abs(Double(found[i]) - exact) < Double(steps) * 6 * 0x1p-24)
      }
    }
  }

  @Test("AdamW without gradients shrinks geometrically") func adamwClosedForm() {
    let found = run(.adamw, count: 3, steps: 50, rate: 0.1, decay: 0.2) { _, _ in 0 }
    for i in 0..<3 {
      #expect(abs(Double(found[i]) - Double(start(i)) * pow(0.98, 50)) < 50 * 0x1p-24)
    }
  }

  @Test("a constant gradient: momentum adds up to a geometric sum") func sgdClosedForm() {
    // b_t = g (1 - μ^t) / (1 - μ), so p_T = p_0 - lr g (T - μ (1 - μ^T) / (1 - μ)) / (1 - μ).
    let (mu, steps, g) = (0.75, 40, 0.5)
    let found = run(.sgd, count: 3, steps: steps, rate: 0.01, decay: 0, momentum: mu) { _, _ in
      Float(g)
    }
    let sum = (Double(steps) - mu * (1 - pow(mu, Double(steps))) / (1 - mu)) / (1 - mu)
    for i in 0..<3 {
      #expect(abs(Double(found[i]) - (Double(start(i)) - 0.01 * g * sum)) < 40 * 4 * 0x1p-24)
    }
  }

  @Test("slices have the bits of the whole", arguments: OptimizerKind.allCases)
  func slices(kind: OptimizerKind) {
    let parts = [(0..<5, true), (5..<18, false), (18..<40, true), (40..<41, false)]
    func result(_ cuts: [Int], owners: Int? = nil) -> [Float] {
      run(
        kind, count: 41, steps: 5, cuts: cuts, owners: owners,
        parts: parts.map { .init($0.0, decays: $0.1) },
        rate: 0.01, decay: 0.3, gradient: gradient)
    }
    let whole = result([])
    for cuts in [[20], [5, 18], [1, 2, 3, 17, 40], [0, 41]] {
      #expect(result(cuts) == whole)
      #expect(result(cuts, owners: 2) == whole)
    }
  }

  @Test("only parts that decay do", arguments: OptimizerKind.allCases)
  func decayFlags(kind: OptimizerKind) {
    func result(_ decays: Bool, _ decay: Double) -> [Float] {
      run(
        kind, count: 10, steps: 3, parts: [.init(0..<4), .init(4..<10, decays: decays)], rate: 0.1,
        decay: decay, gradient: gradient)
    }
    let (mixed, all, none) = (result(false, 0.5), result(true, 0.5), result(true, 0))
    #expect(mixed[0..<4] == all[0..<4])
    #expect(mixed[4..<10] == none[4..<10])
    #expect((0..<10).allSatisfy { all[$0] != none[$0] })
  }

  @Test("parts learn at their share of the rate", arguments: OptimizerKind.allCases)
  func rateFactors(kind: OptimizerKind) {
    func result(_ rate: Double, _ parts: [Optimizer.Part]? = nil) -> [Float] {
      run(kind, count: 12, steps: 3, parts: parts, rate: rate, decay: 0.5, gradient: gradient)
    }
    let mixed = result(
      0.1,
      [.init(0..<4, rateFactor: 0), .init(4..<9, rateFactor: 0.25), .init(9..<12, rateFactor: 1)])
    #expect(mixed[0..<4] == (0..<4).map(start)[...])
    #expect(mixed[4..<9] == result(0.025)[4..<9])
    #expect(mixed[9..<12] == result(0.1)[9..<12])
  }

  @Test("state has PyTorch's names and the slice's length") func moments() {
    func names(_ kind: OptimizerKind) -> [String] {
      Optimizer(kind, owned: [1..<2, 3..<7], parts: [.init(0..<9)], weightDecay: 0, momentum: 0)
        .moments
        .map { "\($0.name) \($0.slab.count)" }
    }
    #expect(names(.sgd) == ["momentum_buffer 5"])
    #expect(names(.adam) == ["exp_avg 5", "exp_avg_sq 5"])
    #expect(names(.adamw) == names(.adam))
  }

  @Test("clipping brings the norm down to the maximum, never up") func clip() {
    #expect(clipFactor(norm: 10, maximum: 0) == 1)
    #expect(clipFactor(norm: 0.5, maximum: 1) == 1)
    #expect(clipFactor(norm: 0, maximum: 1) == 1)
    #expect(clipFactor(norm: 8, maximum: 2) == Float(2 / (8 + 1e-6)))
  }
}
