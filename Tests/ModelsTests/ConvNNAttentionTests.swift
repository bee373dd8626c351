import CKernels
import Foundation
import Testing

@testable import Models

@Suite("ConvNN attention") struct ConvNNAttentionTests {
  /// Candidates of every kind of sampling, in sizes that fit them: [1, 3, 5, 7] and so on.
  private static func sampled(
    _ sampling: SamplingType, neighbours: Int, heads: Int = 1, quirks: Bool = false,
    _ change: @escaping (inout ModelConfiguration) -> Void
  ) -> ConvNNCase {
    // 4 x 4 patches; 24 and 21 channels: whole lanes and odd ones.
    let width = heads == 3 ? 24 : 21
    var candidates: [Int] = []
    switch sampling {
    case .all: break
    case .random: candidates = quirks ? [12, 3, 0, 16, 7, 9] : [0, 3, 7, 9, 12, 16]
    case .spatial: candidates = quirks ? [1, 3, 6, 9, 12, 15] : [1, 2, 4, 5, 6, 8, 13, 14, 16]
    }
    return ConvNNCase(
      tokens: 17, width: width, heads: heads, neighbours: neighbours, candidates: candidates
    ) {
      $0.samplingType = sampling
      $0.referenceQuirks = quirks
      if sampling == .spatial {
        // Rows and columns 0, 1, 3 of the grid; or, along the tokens, ⌊1 + 2.8 m⌋.
        $0.sampleCount = quirks ? 6 : 3
        $0.samplePadding = quirks ? 1 : 0
      }
      if sampling == .random { $0.sampleCount = 6 }
      change(&$0)
    }
  }

  /// Every similarity, weight, sampling and convolution.
  static let plain: [ConvNNCase] = [false, true].flatMap { quirks in
    MagnitudeType.allCases.flatMap { magnitude in
      SamplingType.allCases.flatMap { sampling in
        ConvolutionType.allCases.flatMap { convolution in
          [true, false].map { softmax in
            sampled(
              sampling, neighbours: 4, heads: convolution == .standard ? 1 : 3, quirks: quirks
            ) {
              $0.magnitudeType = magnitude
              $0.convolutionType = convolution
              $0.softmaxTopK = softmax
            }
          }
        }
      }
    }
  }

  /// Coordinates in every place, alone and together.
  static let coordinates: [ConvNNCase] = [false, true].flatMap { quirks in
    MagnitudeType.allCases.flatMap { magnitude in
      SamplingType.allCases.flatMap { sampling in
        [
          (true, FeatureSelection.features, FeatureSelection.features, ConvolutionType.standard),
          (true, .features, .features, .depthwise), (false, .both, .features, .depthwise),
          (false, .both, .both, .depthwiseSeparable), (false, .coordinates, .both, .standard),
          (false, .features, .both, .depthwise), (true, .both, .both, .standard),
          (false, .coordinates, .features, .depthwise),
        ].map { encoding, similarity, aggregation, convolution in
          sampled(sampling, neighbours: 3, heads: similarity == .both ? 3 : 1, quirks: quirks) {
            $0.magnitudeType = magnitude
            $0.coordinateEncoding = encoding
            $0.similarityType = similarity
            $0.aggregationType = aggregation
            $0.convolutionType = convolution
            $0.lambda = 0.3
          }
        }
      }
    }
  }

  /// Sizes around the widths of vectors and blocks, and from one neighbour to all.
  static let sizes: [ConvNNCase] =
    [
      (2, 1, 1, 1), (5, 15, 1, 5), (37, 16, 1, 17), (33, 17, 1, 9), (50, 130, 2, 9),
      (65, 84, 1, 40),
    ]
    .flatMap { tokens, width, heads, neighbours in
      ConvolutionType.allCases.map { convolution in
        ConvNNCase(tokens: tokens, width: width, heads: heads, neighbours: neighbours) {
          $0.convolutionType = convolution
        }
      }
    } + [
      sampled(.random, neighbours: 1) { _ in },
      sampled(.spatial, neighbours: 1) { $0.magnitudeType = .euclidean },
      sampled(.random, neighbours: 6) { _ in },
      sampled(.random, neighbours: 7, quirks: true) { _ in },
      sampled(.spatial, neighbours: 9) { $0.convolutionType = .standard },
      ConvNNCase(tokens: 40, width: 20, neighbours: 5, candidates: Array(0..<40)) {
        $0.samplingType = .random
      },
    ]

  @Test("agrees with its definition", arguments: plain + coordinates + sizes + withoutPreference)
  func reference(test: ConvNNCase) {
    let layer = test.layer()
    expectAgreement(
      layer, images: 2, tokens: test.tokens, width: test.width,
      queries: layer.needsAllTokens ? [test.tokens] : [test.tokens, 1],
      reference: SlowConvNN(test: test, images: 2).forward)
  }

  @Test("only the reference's merge of heads needs all tokens")
  func needsAllTokens() {
    for test in Self.plain {
      let mixes = test.configuration.referenceQuirks && test.heads > 1
      #expect(test.layer().needsAllTokens == mixes, "\(test)")
    }
  }

  /// Drawn candidates too, which are not given here.
  static let contracts: [ConvNNCase] =
    (plain + coordinates).filter { !$0.configuration.referenceQuirks } + sizes.suffix(6)
    + [ConvNNCase(tokens: 29, width: 20) { $0.sampleCount = 8 }]

  @Test("keeps the layer contract", arguments: contracts)
  func contract(test: ConvNNCase) {
    expectLayerContract(
      test.layer(dropout: 0.2), images: 2, tokens: test.tokens, width: test.width)
  }

  @Test("drops aggregated values in training")
  func dropout() {
    for convolution in ConvolutionType.allCases {
      let test = ConvNNCase(tokens: 17, width: 24, heads: 2, neighbours: 5) {
        $0.convolutionType = convolution
      }
      expectDropout(test.layer(dropout: 0.3), images: 2, tokens: 17, width: 24, move: 1e-5)
    }
  }

  /// The token in the middle has coordinate 0 and so no preference: itself has to come last all the same.
  static let withoutPreference: [ConvNNCase] = [MagnitudeType.matmul, .cosine].map { magnitude in
    sampled(.spatial, neighbours: 9) {
      $0.similarityType = .coordinates
      $0.magnitudeType = magnitude
    }
  }

  @Test("the same where small numbers are flushed to zero", arguments: withoutPreference)
  func flushed(test: ConvNNCase) throws {
    final class Results: @unchecked Sendable {
      var result: LayerResult?
      let done = DispatchSemaphore(value: 0)
    }
    nonisolated(unsafe) let layer = test.layer()
    let layerCase = LayerCase(
      layer: layer, images: 2, tokens: test.tokens, width: test.width, outputTokens: test.tokens)
    let plain = runLayer(layer, layerCase)
    // A thread of its own, because the setting stays with the thread.
    let results = Results()
    Thread {
      ck_flush_denormals()
      results.result = runLayer(layer, layerCase)
      results.done.signal()
    }.start()
    results.done.wait()
    let flushed = try #require(results.result)
    #expect(flushed.output == plain.output)
    #expect(flushed.dInput == plain.dInput)
  }

  @Test("an image's results do not depend on its neighbours in the micro-batch")
  func neighboursInBatch() {
    for sampling in SamplingType.allCases {
      let test = Self.sampled(sampling, neighbours: 4) { _ in }
      let layer = test.layer(dropout: 0.2)
      var one = LayerCase(
        layer: layer, images: 2, tokens: test.tokens, width: test.width, outputTokens: test.tokens)
      one.training = true
      var other = one
      let count = test.tokens * test.width
      for i in 0..<count {
        other.input[i] = -3 * one.input[i]
        other.dOutput[i] = one.dOutput[i] * one.dOutput[i]
      }
      let (a, b) = (runLayer(layer, one), runLayer(layer, other))
      #expect(a.output[count...] == b.output[count...])
      #expect(a.dInput[count...] == b.dInput[count...])
      #expect(a.output[..<count] != b.output[..<count])
    }
  }
}
