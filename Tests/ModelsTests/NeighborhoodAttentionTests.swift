import Testing

@testable import Models

@Suite("Neighborhood attention") struct NeighborhoodAttentionTests {
  struct Shape: CustomTestStringConvertible, Sendable {
    var size: Int
    var dilation = 1
    var tokens: Int
    var width = 12
    var heads = 3
    var testDescription: String { "k=\(size) g=\(dilation), T=\(tokens) D=\(width) H=\(heads)" }
  }

  static let shapes = [
    Shape(size: 2, tokens: 17), Shape(size: 3, tokens: 3), Shape(size: 4, tokens: 18),
    Shape(size: 9, tokens: 33, width: 66, heads: 1), Shape(size: 5, dilation: 2, tokens: 17),
    Shape(size: 3, dilation: 5, tokens: 19), Shape(size: 40, tokens: 101, heads: 2),
    Shape(size: 33, dilation: 2, tokens: 99, heads: 1), Shape(size: 23, tokens: 23),
  ]

  static func layer(_ shape: Shape, dropout: Float = 0) -> any AttentionLayer {
    var configuration = ModelConfiguration()
    configuration.neighbours = shape.size
    configuration.dilation = shape.dilation
    configuration.attentionDropout = dropout
    configuration.numHeads = shape.heads
    return NeighborhoodAttention.make(
      LayerShape(configuration, width: shape.width, tokens: shape.tokens, capacity: 2),
      scratch: Scratch())
  }

  /// The window rule as it is documented: start, then shift.
  static func neighbours(_ shape: Shape, of token: Int) -> [Int] {
    let group = Array(stride(from: token % shape.dilation, to: shape.tokens, by: shape.dilation))
    let (i, length) = (token / shape.dilation, group.count)
    let (left, right) = (shape.size / 2, shape.size / 2 + shape.size % 2 - 1)
    var start = max(i - left, 0)
    if i + right >= length { start -= i + right - length + 1 }
    return (0..<shape.size).map { group[start + $0] }
  }

  @Test("agrees with a plain sum over the window", arguments: shapes)
  func reference(shape: Shape) {
    for queries in [shape.tokens, 1] {
      SlowAttention(
        width: shape.width, heads: shape.heads, headWidth: shape.width / shape.heads,
        tokens: shape.tokens, queries: queries, images: 2,
        keys: { i, _ in Self.neighbours(shape, of: i) }, hasBias: true
      ).check(Self.layer(shape))
    }
  }

  @Test("keeps the layer contract", arguments: shapes)
  func contract(shape: Shape) {
    expectLayerContract(
      Self.layer(shape, dropout: 0.2), images: 2, tokens: shape.tokens, width: shape.width)
  }

  @Test("drops outputs in training", arguments: [shapes[2], shapes[4]])
  func dropout(shape: Shape) {
    let layer = Self.layer(shape, dropout: 0.3)
    expectDropout(layer, images: 2, tokens: shape.tokens, width: shape.width)
    var test = LayerCase(
      layer: layer, images: 2, tokens: shape.tokens, width: shape.width, outputTokens: shape.tokens)
    let plain = runLayer(layer, test).output
    test.training = true
    // Every output is gone, or is the plain one times 1 / (1 - p).
    var dropped = 0
    for (value, whole) in zip(runLayer(layer, test).output, plain) {
      if value == 0 { dropped += 1 } else { #expect(abs(value - whole / 0.7) < 1e-5) }
    }
    let share = Double(dropped) / Double(plain.count)
    #expect(share > 0.2 && share < 0.4)
  }

  @Test("the last block computes keys and values of its few neighbours only")
  func operations() {
    let layer = Self.layer(Shape(size: 3, tokens: 20, width: 4, heads: 2))
    #expect(layer.operations(outputTokens: 20) == 2 * 16 * 80 + 2 * 2 * 60 * 4)
    #expect(layer.operations(outputTokens: 1) == 2 * 16 * (1 + 2 * 3 + 1) + 2 * 2 * 3 * 4)
  }
}
