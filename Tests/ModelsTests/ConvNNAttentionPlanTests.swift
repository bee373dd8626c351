import Diagnostics
import Testing

@testable import Models

@Suite("ConvNN candidates and sizes") struct ConvNNAttentionPlanTests {
  private func plan(
    tokens: Int = 17, width: Int = 24, heads: Int = 1,
    _ change: (inout ModelConfiguration) -> Void
  ) throws -> ConvNNAttentionPlan {
    let test = ConvNNCase(tokens: tokens, width: width, heads: heads, change)
    return try ConvNNAttentionPlan(
      configuration: test.configuration, width: width, tokens: tokens, heads: heads)
  }

  @Test("spatial candidates lie evenly on the grid, or along the tokens")
  func spatial() throws {
    func candidates(
      _ layout: SpatialLayout, _ count: Int, pad: Int = 0, quirks: Bool = false
    ) throws -> [Int32] {
      try plan {
        $0.samplingType = .spatial
        $0.spatialLayout = layout
        $0.sampleCount = count
        $0.samplePadding = pad
        $0.referenceQuirks = quirks
        $0.neighbours = 1
      }.fixedCandidates ?? []
    }
    // Rows and columns ⌊0, 1.5, 3⌋ of 4 x 4, after the class token.
    #expect(try candidates(.grid, 3) == [1, 2, 4, 5, 6, 8, 13, 14, 16])
    #expect(try candidates(.grid, 2, pad: 1) == [6, 7, 10, 11])
    #expect(try candidates(.grid, 1) == [1])
    #expect(try candidates(.grid, -1) == (1...16).map { Int32($0) })
    // ⌊1, 3.33, 5.67, 8, 10.33, 12.67, 15⌋.
    #expect(try candidates(.linear, 7, pad: 1) == [1, 3, 5, 8, 10, 12, 15])
    #expect(try candidates(.linear, -1, pad: 5) == (5...11).map { Int32($0) })
    #expect(try candidates(.grid, 5, quirks: true) == [0, 4, 8, 12, 16])
  }

  @Test("random candidates: distinct, fixed in evaluation, new for every step and block")
  func random() throws {
    let plan = try plan(tokens: 50) {
      $0.samplingType = .random
      $0.sampleCount = 12
    }
    let candidates = ConvNNAttentionCandidates(plan: plan)
    func draw(
      training: Bool = true, seed: UInt64 = 1, step: Int = 1, block: Int = 0, images: Int = 2
    ) -> [Int32] {
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 1) { none in
        candidates.draw(
          LayerPass(
            images: images, outputTokens: 50, parameters: UnsafePointer(none.baseAddress!),
            training: training, seed: seed, step: step, block: block, firstPosition: images))
      }
      return (0..<12).map { candidates.tokens[$0] }
    }
    let first = draw()
    #expect(Set(first).count == 12 && first == first.sorted())
    #expect(first.allSatisfy { (0..<50).contains($0) })
    for token in 0..<50 {
      let rank = first.firstIndex(of: Int32(token))
      _ = draw()
      #expect(candidates.position[token] == rank.map(Int32.init) ?? -1)
    }
    #expect(draw(images: 7) == first)
    for changed in [draw(step: 2), draw(block: 1), draw(seed: 2)] { #expect(changed != first) }
    let evaluated = draw(training: false)
    #expect(draw(training: false, seed: 9, step: 9) == evaluated && evaluated != first)
    #expect(draw(training: false, block: 1) != evaluated)

    // Every token as often as any other: 12 of 50, so 480 ± 19 times in 2000 draws.
    var counts = [Int](repeating: 0, count: 50)
    for step in 1...2000 { for token in draw(step: step) { counts[Int(token)] += 1 } }
    #expect(counts.allSatisfy { abs($0 - 480) < 90 })
  }

  @Test("parameters of the default model, as the reference counts them")
  func parameters() throws {
    // Depthwise starts as a sum; everything else uniform in ±1/√fan_in.
    func total(_ change: (inout ModelConfiguration) -> Void) throws -> Int {
      var c = ModelConfiguration()
      c.layer = .convNNAttention
      change(&c)
      return try VisionTransformer(configuration: c, capacity: 1).layout.count
    }
    #expect(try total { _ in } == 5_500_042)
    #expect(try total { $0.convolutionType = .standard } == 9_460_618)
    #expect(try total { $0.convolutionType = .depthwiseSeparable } == 5_942_410)

    func convolution(_ type: ConvolutionType, coordinates: Bool) throws -> [ParameterSpec] {
      let plan = try plan(heads: 2) {
        $0.convolutionType = type
        $0.coordinateEncoding = coordinates
      }
      return Array(plan.parameters.dropFirst(4))
    }
    #expect(
      try convolution(.depthwise, coordinates: true)
        == [ParameterSpec("conv.weight", [13, 1, 4], .ones)])
    #expect(
      try convolution(.standard, coordinates: false)
        == [ParameterSpec("conv.weight", [12, 12, 4], .uniform(fanIn: 48))])
    #expect(
      try convolution(.depthwiseSeparable, coordinates: true) == [
        ParameterSpec("conv.0.weight", [13, 1, 4], .uniform(fanIn: 4)),
        ParameterSpec("conv.1.weight", [12, 13, 1], .uniform(fanIn: 13)),
      ])
  }

  @Test("operations are those of the products and neighbour sums")
  func operations() throws {
    // T = 17, D = 24, K = 4.
    let maps = 2 * 24 * 24
    let all = try plan { _ in }
    #expect(all.operations(outputTokens: 17) == 4 * 17 * maps + 2 * 17 * 17 * 24 + 3 * 17 * 4 * 24)
    // Backward: the maps twice, sums over chosen pairs for q and k, and per pair and channel the
    // gradients of value (2), tap (3) and weight (2) and their common factor (1).
    #expect(
      all.backwardOperations(outputTokens: 17)
        == 2 * 4 * 17 * maps + 2 * 2 * 17 * 4 * 24 + 8 * 17 * 4 * 24)
    // The last block: keys to search and values of all tokens, one asking token.
    #expect(all.operations(outputTokens: 1) == (2 * 17 + 2) * maps + 2 * 17 * 24 + 3 * 4 * 24)
    let random = try plan {
      $0.samplingType = .random
      $0.sampleCount = 6
    }
    #expect(
      random.operations(outputTokens: 17)
        == (3 * 17 + 6) * maps + 2 * 17 * 6 * 24 + 3 * 17 * 4 * 24)
    let standard = try plan(heads: 2) { $0.convolutionType = .standard }
    #expect(
      standard.operations(outputTokens: 17)
        == 4 * 17 * maps + 2 * 17 * 17 * 24 + 2 * 17 * 4 * (12 + 2 * 12 * 12))
    let separable = try plan {
      $0.convolutionType = .depthwiseSeparable
      $0.aggregationType = .both
    }
    #expect(
      separable.operations(outputTokens: 17)
        == 4 * 17 * maps + 2 * 17 * 17 * 24 + 3 * 17 * 4 * 25 + 2 * 17 * 25 * 24)
    let alone = try plan { $0.similarityType = .coordinates }
    #expect(
      alone.operations(outputTokens: 17) == 2 * 17 * maps + 2 * 17 * 17 + 3 * 17 * 4 * 24)
  }

  @Test("what cannot be computed is refused, with the flag to change")
  func refusals() {
    func message(_ heads: Int = 1, _ change: (inout ModelConfiguration) -> Void) -> String {
      do {
        _ = try plan(heads: heads, change)
        return ""
      } catch { return (error as? RunError)?.message ?? "not a RunError" }
    }
    #expect(message { _ in }.isEmpty)
    #expect(message(5) { _ in }.contains("--convnn_heads 5"))
    #expect(message { $0.neighbours = 0 }.contains("--K is 0"))
    #expect(message { $0.neighbours = 17 }.isEmpty)
    #expect(message { $0.neighbours = 18 }.contains("at most 17 neighbours"))
    #expect(message { $0.aggregationType = .coordinates }.contains("--aggregation_type Loc"))
    func sampled(
      _ type: SamplingType, _ count: Int, pad: Int = 0, _ layout: SpatialLayout = .grid,
      neighbours: Int = 1, quirks: Bool = false
    ) -> String {
      message {
        $0.samplingType = type
        $0.sampleCount = count
        $0.samplePadding = pad
        $0.spatialLayout = layout
        $0.neighbours = neighbours
        $0.referenceQuirks = quirks
      }
    }
    #expect(sampled(.random, 17).isEmpty && sampled(.random, -1).isEmpty)
    for count in [0, -2, 18] {
      #expect(sampled(.random, count).contains("--num_samples is \(count)"))
    }
    #expect(sampled(.spatial, 4).isEmpty && sampled(.spatial, 17, .linear).isEmpty)
    #expect(sampled(.spatial, 5).contains("at most 4 different samples a side"))
    #expect(sampled(.spatial, 3, pad: 1).contains("at most 2 different samples a side"))
    #expect(sampled(.spatial, 1, pad: 2).contains("--sample_padding 2"))
    #expect(sampled(.spatial, 1, pad: -1).contains("--sample_padding -1"))
    #expect(sampled(.spatial, 16, pad: 1, .linear).contains("at most 15 different samples"))
    // Among N candidates may be the token itself, which counts once.
    #expect(sampled(.random, 6, neighbours: 6).isEmpty)
    #expect(sampled(.random, 6, neighbours: 7).contains("6 candidates give at most 6 neighbours"))
    #expect(sampled(.random, 6, neighbours: 7, quirks: true).isEmpty)
    #expect(sampled(.random, 6, neighbours: 8, quirks: true).contains("at most 7 neighbours"))
  }
}
