import Testing

@testable import Models

/// With weights of 1 the depthwise convolution is a sum: ConvNN becomes an attention whose queries are
/// made by W_k and whose keys by W_q.
@Suite("ConvNN identities") struct ConvNNAttentionIdentityTests {
  /// Equal results of ConvNN and of `attention`, whose parameters are W_q, W_k, W_v and W_o in a row.
  private func expectEqual(_ test: ConvNNCase, _ attention: any AttentionLayer) {
    let layer = test.layer()
    let square = test.width * test.width
    func swapped(_ parameters: [Float]) -> [Float] {
      Array(parameters[square..<2 * square] + parameters[..<square])
        + parameters[(2 * square)..<(4 * square)]
    }
    for queries in [test.tokens, 1] {
      var of = LayerCase(
        layer: attention, images: 2, tokens: test.tokens, width: test.width, outputTokens: queries)
      of.training = true
      let expected = runLayer(attention, of)
      of.parameters = swapped(of.parameters)
      of.parameters += [Float](
        repeating: 1, count: test.width / test.heads * test.configuration.neighbours)
      let result = runLayer(layer, of)
      #expect(distance(result.output, expected.output) < 1e-6)
      #expect(distance(result.dInput, expected.dInput) < 2e-6)
      #expect(distance(swapped(result.gradients), expected.gradients) < 2e-6)
    }
  }

  @Test("k-NN attention with as many neighbours", arguments: [1, 4, 9, 20])
  func kvt(neighbours: Int) {
    for heads in [1, 3] {
      let test = ConvNNCase(tokens: 37, width: 66, heads: heads, neighbours: neighbours)
      expectEqual(
        test,
        KvtAttention(test.shape(), scratch: Scratch()))
    }
  }

  @Test("standard attention with every token a neighbour", arguments: [5, 17, 50])
  func attention(tokens: Int) {
    for heads in [1, 2] {
      let test = ConvNNCase(tokens: tokens, width: 34, heads: heads, neighbours: tokens)
      expectEqual(
        test,
        MultiHeadAttention(test.shape(), scratch: Scratch()))
    }
  }
}
