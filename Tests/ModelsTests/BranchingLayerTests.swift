// Branching layers from parts that are tested by themselves.
import Foundation
import Tensors
import Testing

@testable import Models

@Suite("Branching layers") struct BranchingLayerTests {
  private func configuration(dropout: Float) -> ModelConfiguration {
    var configuration = ModelConfiguration()
    configuration.kernelSize = 3
    configuration.attentionDropout = dropout
    return configuration
  }

  /// Attention on 6 channels beside a convolution, or more attention, on 10.
  private func layer(
    tokens: Int, dropout: Float = 0, quirks: Bool = false, secondAttends: Bool = false
  ) -> BranchingLayer {
    func shape(width: Int, heads: Int) -> LayerShape {
      var c = configuration(dropout: dropout)
      (c.referenceQuirks, c.numHeads) = (quirks, heads)
      return LayerShape(c, width: width, tokens: tokens, capacity: 2)
    }
    let scratch = Scratch()
    let first = MultiHeadAttention(shape(width: 6, heads: 3), scratch: scratch)
    let other = shape(width: 10, heads: 2)
    let second: any AttentionLayer =
      secondAttends
      ? MultiHeadAttention(other, scratch: scratch) : TokenConvolution(other, scratch: scratch)
    return BranchingLayer(
      [
        BranchingLayer.Branch(name: "convnn", width: 6, layer: first),
        BranchingLayer.Branch(name: "conv1d", width: 10, layer: second),
      ], tokens: tokens, capacity: 2)
  }

  @Test("agrees with its parts, joined in double precision", arguments: [3, 8, 17])
  func reference(tokens: Int) {
    let convolution = TokenConvolutionTests.Slow(
      shape: TokenConvolutionTests.Shape(kernel: 3, tokens: tokens, width: 10, heads: 2))
    let attention = SlowAttention(
      width: 6, heads: 3, headWidth: 2, tokens: tokens, queries: tokens, images: 2,
      keys: { _, scores in Array(scores.indices) })
    let first = 4 * 6 * 6
    let pointwise = first + 2 * (10 * 10 + 10) + 5 * 5 * 3 + 5
    expectAgreement(
      layer(tokens: tokens), images: 2, tokens: tokens, width: 16, queries: [tokens, 1]
    ) { x, parameters in
      func columns(_ range: Range<Int>) -> [Double] {
        x.indices.filter { range.contains($0 % 16) }.map { x[$0] }
      }
      let a = attention.forward(columns(0..<6), Array(parameters[..<first]))
      let b = convolution.forward(columns(6..<16), Array(parameters[first..<pointwise]))
      var result: [Double] = []
      for row in 0..<2 * tokens {
        let joined = Array(a[row * 6..<row * 6 + 6] + b[row * 10..<row * 10 + 10])
        for output in 0..<16 {
          result.append(
            (0..<16).reduce(parameters[pointwise + 256 + output]) {
              $0 + joined[$1] * parameters[pointwise + output * 16 + $1]
            })
        }
      }
      return result
    }
  }

  @Test("keeps the layer contract", arguments: [5, 17])
  func contract(tokens: Int) {
    expectLayerContract(
      layer(tokens: tokens, dropout: 0.2), images: 2, tokens: tokens, width: 16)
    #expect(!layer(tokens: tokens).needsAllTokens)
    #expect(layer(tokens: tokens, quirks: true).needsAllTokens)
  }

  @Test("drops in training", arguments: [false, true])
  func dropout(secondAttends: Bool) {
    expectDropout(
      layer(tokens: 9, dropout: 0.3, secondAttends: secondAttends), images: 2, tokens: 9, width: 16)
  }

  @Test("branches draw random numbers of their own")
  func randomNumbers() {
    let pass = LayerPass(images: 1, outputTokens: 1, parameters: FloatSlab(count: 1).base, block: 3)
    final class Spy: AttentionLayer {
      let parameters: [ParameterSpec] = []
      let needsAllTokens = false
      var seen: [RandomSequence] = []
      func operations(outputTokens: Int) -> Int { 0 }
      func forward(_ pass: LayerPass, input: Rows, output: Rows) {
        seen = [0, 127].map { pass.randomness(.attentionDropout, image: 0, part: $0) }
      }
      func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {}
    }
    let spies = [Spy(), Spy()]
    let layer = BranchingLayer(
      spies.map { BranchingLayer.Branch(name: "x", width: 1, layer: $0) }, tokens: 1, capacity: 1)
    let (memory, weights) = (FloatSlab(count: 8), FloatSlab(count: 8))
    var own = pass
    own.parameters = UnsafePointer(weights.base)
    layer.forward(
      own, input: Rows(memory.base, stride: 2), output: Rows(memory.base + 2, stride: 2))
    let keys = spies.flatMap(\.seen).map(\.position.2)
    #expect(Set(keys).count == 4)
    // All within the numbers of this block.
    #expect(keys.allSatisfy { ($0 & 0xFF_FFFF) >> 8 == 3 })
  }

  @Test("layers of the command line keep the contract", arguments: SamplingType.allCases)
  func layers(sampling: SamplingType) {
    var c = configuration(dropout: 0.2)
    (c.width, c.numHeads, c.convnnHeads, c.branchRatio) = (22, 2, 3, 0.55)
    (c.samplingType, c.sampleCount, c.neighbours) = (sampling, 4, 3)
    for layer in [LayerKind.branchAttention, .branchConv] {
      c.layer = layer
      let layer = LayerShape(c, width: 22, tokens: 26, capacity: 2).makeLayer(scratch: Scratch())
      expectLayerContract(layer, images: 2, tokens: 26, width: 22)
    }
  }

  @Test("a branch alone is the layer itself, dropout included")
  func alone() {
    var c = configuration(dropout: 0.2)
    (c.width, c.numHeads, c.branchRatio) = (12, 3, 0)
    let tokens = 10
    func check(_ branching: any AttentionLayer, _ part: any AttentionLayer, _ prefix: String) {
      #expect(branching.parameters.map(\.name) == part.parameters.map { prefix + $0.name })
      #expect(branching.parameters.map(\.shape) == part.parameters.map(\.shape))
      for queries in [tokens, 1] {
        var test = LayerCase(
          layer: part, images: 2, tokens: tokens, width: 12, outputTokens: queries)
        test.training = true
        let (ours, theirs) = (runLayer(branching, test), runLayer(part, test))
        #expect(ours.output == theirs.output && ours.dInput == theirs.dInput)
        #expect(ours.gradients == theirs.gradients)
        #expect(
          branching.operations(outputTokens: queries) == part.operations(outputTokens: queries))
      }
    }
    func make(_ layer: LayerKind, ratio: Double) -> any AttentionLayer {
      (c.layer, c.branchRatio) = (layer, ratio)
      return LayerShape(c, width: 12, tokens: tokens, capacity: 2).makeLayer(scratch: Scratch())
    }
    check(make(.branchAttention, ratio: 0), make(.attention, ratio: 0), "attention.")
    let convolution = TokenConvolution(
      LayerShape(c, width: 12, tokens: tokens, capacity: 2), scratch: Scratch())
    check(make(.branchConv, ratio: 0), convolution, "conv1d.")
    for sampling in [SamplingType.all, .random] {
      (c.samplingType, c.sampleCount, c.neighbours) = (sampling, 5, 4)
      for layer in [LayerKind.branchAttention, .branchConv] {
        check(make(layer, ratio: 1), make(.convNNAttention, ratio: 1), "convnn.")
      }
    }
  }
}
