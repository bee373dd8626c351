import Testing

@testable import Models

/// Special cases in which a layer must equal standard attention.
@Suite("Identities between layers") struct IdentitiesTests {
  struct Shape: CustomTestStringConvertible, Sendable {
    var tokens: Int
    var width: Int
    var heads: Int
    var testDescription: String { "T=\(tokens) D=\(width) H=\(heads)" }
  }

  static let shapes = [
    Shape(tokens: 7, width: 12, heads: 3), Shape(tokens: 65, width: 30, heads: 1),
    Shape(tokens: 37, width: 128, heads: 2),
  ]

  private func of(_ shape: Shape, dropout: Float) -> LayerShape {
    var configuration = ModelConfiguration()
    configuration.numHeads = shape.heads
    configuration.attentionDropout = dropout
    configuration.neighbours = shape.tokens
    configuration.sparseMode = .all
    configuration.localWindow = shape.tokens
    configuration.localHeadWidth = shape.width / shape.heads
    return LayerShape(configuration, width: shape.width, tokens: shape.tokens, capacity: 2)
  }

  /// Equal results, forward and backward; `extra` parameters of zero follow the common ones.
  private func expectEqual(
    _ layer: any AttentionLayer, _ attention: MultiHeadAttention, _ shape: Shape, training: Bool,
    extra: Int = 0
  ) {
    for queries in [shape.tokens, 1] {
      var test = LayerCase(
        layer: attention, images: 2, tokens: shape.tokens, width: shape.width, outputTokens: queries
      )
      test.training = training
      let expected = runLayer(attention, test)
      test.parameters += [Float](repeating: 0, count: extra)
      let result = runLayer(layer, test)
      let common = Array(result.gradients.prefix(expected.gradients.count))
      #expect(distance(result.output, expected.output) < 1e-6)
      #expect(distance(result.dInput, expected.dInput) < 2e-6)
      #expect(distance(common, expected.gradients) < 2e-6)
    }
  }

  private func attention(_ shape: Shape, dropout: Float = 0) -> MultiHeadAttention {
    MultiHeadAttention(of(shape, dropout: dropout), scratch: Scratch())
  }

  @Test("sparse attention over all pairs, dropout included", arguments: shapes)
  func sparse(shape: Shape) {
    let layer = SparseAttention.make(of(shape, dropout: 0.2), scratch: Scratch())
    expectEqual(layer, attention(shape, dropout: 0.2), shape, training: true)
  }

  @Test("neighborhood attention with every token a neighbour", arguments: shapes)
  func neighborhood(shape: Shape) {
    let layer = NeighborhoodAttention.make(of(shape, dropout: 0), scratch: Scratch())
    expectEqual(layer, attention(shape), shape, training: true, extra: shape.width)
  }

  @Test("local attention with a wide window and no positions", arguments: shapes)
  func local(shape: Shape) {
    let wide = of(shape, dropout: 0.2)
    var traits = LocalAttention.traits(wide)
    traits.rotary = nil
    let layer = BandLayer(
      wide, traits, parameters: LocalAttention.parameters(wide), scratch: Scratch())
    expectEqual(layer, attention(shape, dropout: 0.2), shape, training: true)
  }

  @Test("k-NN attention with every token chosen, dropout included", arguments: shapes)
  func kvt(shape: Shape) {
    let layer = KvtAttention(of(shape, dropout: 0.2), scratch: Scratch())
    expectEqual(layer, attention(shape, dropout: 0.2), shape, training: true)
  }
}
