import CKernels
import Foundation
import Testing

@testable import Models

@Suite("Local attention") struct LocalAttentionTests {
  struct Shape: CustomTestStringConvertible, Sendable {
    var window: Int
    var tokens: Int
    var width = 12
    var heads = 3
    var headWidth = 6
    var testDescription: String { "w=\(window), T=\(tokens) D=\(width) H=\(heads) d=\(headWidth)" }
  }

  static let shapes = [
    Shape(window: 1, tokens: 7), Shape(window: 8, tokens: 17), Shape(window: 17, tokens: 17),
    Shape(window: 128, tokens: 17), Shape(window: 6, tokens: 40, width: 9, heads: 1, headWidth: 64),
    Shape(window: 30, tokens: 129, heads: 2),
    Shape(window: 20, tokens: 81, heads: 1, headWidth: 10),
  ]

  static func configuration(
    _ shape: Shape, dropout: Float = 0, quirks: Bool = false
  ) -> ModelConfiguration {
    var configuration = ModelConfiguration()
    configuration.numHeads = shape.heads
    configuration.localWindow = shape.window
    configuration.localHeadWidth = shape.headWidth
    configuration.attentionDropout = dropout
    configuration.referenceQuirks = quirks
    return configuration
  }

  static func layer(_ shape: Shape, dropout: Float = 0, quirks: Bool = false)
    -> any AttentionLayer
  {
    LocalAttention.make(
      LayerShape(
        configuration(shape, dropout: dropout, quirks: quirks), width: shape.width,
        tokens: shape.tokens, capacity: 2), scratch: Scratch())
  }

  static func slow(_ shape: Shape, queries: Int, quirks: Bool) -> SlowAttention {
    // Zero tokens up to a multiple of the window, as the reference pads them.
    let padded = (shape.tokens / shape.window + (shape.tokens % shape.window > 0 ? 1 : 0))
    return SlowAttention(
      width: shape.width, heads: shape.heads, headWidth: shape.headWidth, tokens: shape.tokens,
      queries: queries, images: 2,
      keys: { i, scores in scores.indices.filter { abs(i - $0) <= shape.window } },
      zeroKeys: { i in
        guard quirks else { return 0 }
        return (shape.tokens..<padded * shape.window).filter { $0 - i <= shape.window }.count
      },
      turn: { vector, token, isQuery in
        let half = vector.count / 2
        let position = Double(quirks && isQuery ? token + shape.window : token)
        for c in 0..<half {
          let angle = position * pow(10000, -Double(c) / Double(half))
          let (a, b) = (vector[c], vector[c + half])
          vector[c] = a * cos(angle) - b * sin(angle)
          vector[c + half] = b * cos(angle) + a * sin(angle)
        }
      })
  }

  @Test("agrees with a plain sum over the window", arguments: shapes, [false, true])
  func reference(shape: Shape, quirks: Bool) {
    for queries in [shape.tokens, 1] {
      Self.slow(shape, queries: queries, quirks: quirks).check(Self.layer(shape, quirks: quirks))
    }
  }

  @Test("keeps the layer contract", arguments: shapes)
  func contract(shape: Shape) {
    expectLayerContract(
      Self.layer(shape, dropout: 0.2), images: 2, tokens: shape.tokens, width: shape.width)
  }

  @Test("drops probabilities in training", arguments: [shapes[1], shapes[3]], [false, true])
  func dropout(shape: Shape, quirks: Bool) {
    expectDropout(
      Self.layer(shape, dropout: 0.3, quirks: quirks), images: 2, tokens: shape.tokens,
      width: shape.width)
  }

  @Test("owns PyTorch's buffer of frequencies")
  func buffer() {
    let layer = Self.layer(Shape(window: 8, tokens: 9, headWidth: 64))
    #expect(layer.ownedBuffers.map(\.name) == ["attn_fn.rel_pos.inv_freq"])
    #expect(layer.ownedBuffers[0].shape == [32])
    // torch 2.4: 1.0 / (10000 ** (torch.arange(0, 64, 2).float() / 64)), elements 0, 1 and 31
    let values = layer.ownedBuffers[0].values
    #expect(values[0] == 1)
    #expect(abs(values[1] - 0.749894209) < 1e-7)
    #expect(abs(values[31] - 1.33352143e-4) < 1e-10)
  }

  @Test("turning and turning back gives the same vector", arguments: [2, 6, 14, 16, 64, 70])
  func rotation(width: Int) {
    let (rows, heads) = (5, 3)
    let table = RotaryTable(
      frequencies: RotaryTable.frequencies(width: width), tokens: rows, queryOffset: 11)
    let start = testNumbers(rows * heads * width, item: width)
    var turned = start
    ck_rotary_rows(
      &turned, table.queryCosine, table.querySine, rows, heads * width, heads, width, 1)
    #expect(distance(turned, start) > 0.1)
    ck_rotary_rows(
      &turned, table.queryCosine, table.querySine, rows, heads * width, heads, width, -1)
    #expect(distance(turned, start) < 1e-6)
  }
}
