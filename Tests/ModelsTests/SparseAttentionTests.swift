import Testing

@testable import Models

@Suite("Sparse attention") struct SparseAttentionTests {
  struct Shape: CustomTestStringConvertible, Sendable {
    var mode: SparseMode
    var window: Int
    var tokens: Int
    var width = 12
    var heads = 3
    var testDescription: String { "\(mode) \(window), T=\(tokens) D=\(width) H=\(heads)" }
  }

  static let shapes = [
    Shape(mode: .all, window: 5, tokens: 7), Shape(mode: .local, window: 1, tokens: 9),
    Shape(mode: .local, window: 4, tokens: 17), Shape(mode: .local, window: 5, tokens: 17),
    Shape(mode: .local, window: 70, tokens: 65, heads: 1),
    Shape(mode: .local, window: 40, tokens: 131, heads: 2),
    Shape(mode: .local, window: 100, tokens: 21), Shape(mode: .strided, window: 1, tokens: 11),
    Shape(mode: .strided, window: 4, tokens: 17), Shape(mode: .strided, window: 7, tokens: 50),
    Shape(mode: .strided, window: 2, tokens: 101, heads: 2),
    Shape(mode: .strided, window: 30, tokens: 17, width: 70, heads: 1),
  ]

  static func layer(_ shape: Shape, dropout: Float = 0, quirks: Bool = false) -> any AttentionLayer
  {
    var configuration = ModelConfiguration()
    configuration.sparseMode = shape.mode
    configuration.sparseContextWindow = shape.window
    configuration.attentionDropout = dropout
    configuration.referenceQuirks = quirks
    configuration.numHeads = shape.heads
    return SparseAttention.make(
      LayerShape(configuration, width: shape.width, tokens: shape.tokens, capacity: 2),
      scratch: Scratch())
  }

  static func sees(_ shape: Shape, _ i: Int, _ j: Int) -> Bool {
    switch shape.mode {
    case .all: true
    case .local: abs(i - j) <= shape.window / 2
    case .strided: abs(i - j) % shape.window == 0
    }
  }

  @Test("agrees with a plain sum over the allowed pairs", arguments: shapes)
  func reference(shape: Shape) {
    for queries in [shape.tokens, 1] {
      SlowAttention(
        width: shape.width, heads: shape.heads, headWidth: shape.width / shape.heads,
        tokens: shape.tokens, queries: queries, images: 2,
        keys: { i, scores in scores.indices.filter { Self.sees(shape, i, $0) } }
      ).check(Self.layer(shape))
    }
  }

  @Test("keeps the layer contract", arguments: shapes)
  func contract(shape: Shape) {
    expectLayerContract(
      Self.layer(shape, dropout: 0.2), images: 2, tokens: shape.tokens, width: shape.width)
  }

  @Test("drops probabilities in training", arguments: [shapes[0], shapes[3], shapes[8]])
  func dropout(shape: Shape) {
    expectDropout(
      Self.layer(shape, dropout: 0.3), images: 2, tokens: shape.tokens, width: shape.width)
  }

  @Test("drops in evaluation too, always alike, with the reference's quirks")
  func quirk() {
    let shape = Self.shapes[3]
    let layer = Self.layer(shape, dropout: 0.3, quirks: true)
    var test = LayerCase(
      layer: layer, images: 2, tokens: shape.tokens, width: shape.width, outputTokens: shape.tokens)
    let first = runLayer(layer, test)
    test.step = 9
    let second = runLayer(layer, test)
    let plain = runLayer(Self.layer(shape, dropout: 0.3), test)
    #expect(first.output == second.output)
    #expect(first.gradients == second.gradients)
    #expect(distance(first.output, plain.output) > 0.01)
  }

  @Test("counts the operations of the allowed pairs")
  func operations() {
    // T = 5, D = 4, |i - j| <= 1: 13 pairs, 2 for the class token, which reaches 2 tokens.
    let shape = Shape(mode: .local, window: 2, tokens: 5, width: 4, heads: 2)
    let layer = Self.layer(shape)
    #expect(layer.operations(outputTokens: 5) == 2 * (4 * 4) * 5 * 4 + 2 * 2 * 13 * 4)
    #expect(layer.operations(outputTokens: 1) == 2 * (4 * 4) * (1 + 2 * 2 + 1) + 2 * 2 * 2 * 4)
  }
}
