import Testing

@testable import Models

@Suite("ConvNN candidates and sizes") struct ConvNNAttentionPlanTests {
  private func plan(
    tokens: Int = 17, width: Int = 24, heads: Int = 1,
    _ change: (inout ModelConfiguration) -> Void
  ) -> ConvNNAttentionPlan {
    ConvNNAttentionPlan(
      LayerShape(
        ConvNNCase(tokens: tokens, width: width, heads: heads, change).configuration, width: width,
        tokens: tokens))
  }

  @Test("spatial candidates lie evenly on the grid, or along the tokens")
  func spatial() {
    func candidates(
      _ layout: SpatialLayout, _ count: Int, pad: Int = 0, quirks: Bool = false
    ) -> [Int32] {
      plan {
        $0.samplingType = .spatial
        $0.spatialLayout = layout
        $0.sampleCount = count
        $0.samplePadding = pad
        $0.referenceQuirks = quirks
        $0.neighbours = 1
      }.fixedCandidates ?? []
    }
    // Rows and columns ⌊0, 1.5, 3⌋ of 4 x 4, after the class token.
    #expect(candidates(.grid, 3) == [1, 2, 4, 5, 6, 8, 13, 14, 16])
    #expect(candidates(.grid, 2, pad: 1) == [6, 7, 10, 11])
    #expect(candidates(.grid, 1) == [1])
    #expect(candidates(.grid, -1) == (1...16).map { Int32($0) })
    // ⌊1, 3.33, 5.67, 8, 10.33, 12.67, 15⌋.
    #expect(candidates(.linear, 7, pad: 1) == [1, 3, 5, 8, 10, 12, 15])
    #expect(candidates(.linear, -1, pad: 5) == (5...11).map { Int32($0) })
    #expect(candidates(.grid, 5, quirks: true) == [0, 4, 8, 12, 16])
  }

  @Test("the reference truncates floats: what PyTorch 2.13 makes of torch.linspace(…).long()")
  func spatialInFloats() {
    func candidates(_ tokens: Int, _ count: Int, pad: Int, quirks: Bool) -> [Int32] {
      plan(tokens: tokens) {
        $0.samplingType = .spatial
        $0.spatialLayout = .linear
        $0.sampleCount = count
        $0.samplePadding = pad
        $0.referenceQuirks = quirks
        $0.neighbours = 1
      }.fixedCandidates!
    }
    #expect(
      candidates(65, 15, pad: 0, quirks: true)
        == [0, 4, 9, 13, 18, 22, 27, 31, 36, 41, 45, 50, 54, 59, 64])
    #expect(candidates(65, 15, pad: 0, quirks: false)[7] == 32)
    #expect(
      candidates(257, 27, pad: 3, quirks: true) == [
        3, 12, 22, 31, 41, 51, 60, 70, 79, 89, 99, 108, 118, 127, 137, 147, 156, 166, 176, 185, 195,
        204, 214, 224, 233, 243, 253,
      ])
    #expect(candidates(257, 27, pad: 3, quirks: false)[13] == 128)
    // torch.linspace(0, 196, 83) has 97 at 41, and no other number that is not the exact one's.
    let exact = candidates(197, 83, pad: 0, quirks: false)
    var expected = exact
    expected[41] = 97
    #expect(exact[41] == 98 && candidates(197, 83, pad: 0, quirks: true) == expected)
    #expect(candidates(17, 1, pad: 2, quirks: true) == [2])
  }

  @Test("random candidates: distinct, fixed in evaluation, new for every step and block")
  func random() {
    let plan = plan(tokens: 50) {
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

    func convolution(_ type: ConvolutionType, coordinates: Bool) -> [ParameterSpec] {
      let test = ConvNNCase(tokens: 17, width: 24, heads: 2) {
        $0.convolutionType = type
        $0.coordinateEncoding = coordinates
      }
      return Array(ConvNNAttention.parameters(test.shape()).dropFirst(4))
    }
    #expect(
      convolution(.depthwise, coordinates: true)
        == [ParameterSpec("conv.weight", [13, 1, 4], .ones)])
    #expect(
      convolution(.standard, coordinates: false)
        == [ParameterSpec("conv.weight", [12, 12, 4], .uniform(fanIn: 48))])
    #expect(
      convolution(.depthwiseSeparable, coordinates: true) == [
        ParameterSpec("conv.0.weight", [13, 1, 4], .uniform(fanIn: 4)),
        ParameterSpec("conv.1.weight", [12, 13, 1], .uniform(fanIn: 13)),
      ])
  }

  @Test("operations are those of the products and neighbour sums")
  func operations() {
    // T = 17, D = 24, K = 4.
    let maps = 2 * 24 * 24
    let all = plan { _ in }
    #expect(all.operations(outputTokens: 17) == 4 * 17 * maps + 2 * 17 * 17 * 24 + 3 * 17 * 4 * 24)
    // Backward: the maps twice, sums over chosen pairs for q and k, and per pair and channel the
    // gradients of value (2), tap (3) and weight (2) and their common factor (1).
    #expect(
      all.backwardOperations(outputTokens: 17)
        == 2 * 4 * 17 * maps + 2 * 2 * 17 * 4 * 24 + 8 * 17 * 4 * 24)
    // The last block: keys to search and values of all tokens, one asking token.
    #expect(all.operations(outputTokens: 1) == (2 * 17 + 2) * maps + 2 * 17 * 24 + 3 * 4 * 24)
    let random = plan {
      $0.samplingType = .random
      $0.sampleCount = 6
    }
    #expect(
      random.operations(outputTokens: 17)
        == (3 * 17 + 6) * maps + 2 * 17 * 6 * 24 + 3 * 17 * 4 * 24)
    let standard = plan(heads: 2) { $0.convolutionType = .standard }
    #expect(
      standard.operations(outputTokens: 17)
        == 4 * 17 * maps + 2 * 17 * 17 * 24 + 2 * 17 * 4 * (12 + 2 * 12 * 12))
    let separable = plan {
      $0.convolutionType = .depthwiseSeparable
      $0.aggregationType = .both
    }
    #expect(
      separable.operations(outputTokens: 17)
        == 4 * 17 * maps + 2 * 17 * 17 * 24 + 3 * 17 * 4 * 25 + 2 * 17 * 25 * 24)
    let alone = plan { $0.similarityType = .coordinates }
    #expect(
      alone.operations(outputTokens: 17) == 2 * 17 * maps + 2 * 17 * 17 + 3 * 17 * 4 * 24)
  }
}
