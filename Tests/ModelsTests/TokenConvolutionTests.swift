// The convolution over tokens against plain sums.
import Testing

@testable import Models

@Suite("Convolution over tokens") struct TokenConvolutionTests {
  struct Shape: CustomTestStringConvertible, Sendable {
    var kernel: Int
    var tokens: Int
    var width = 12
    var heads = 3
    var testDescription: String { "k=\(kernel), T=\(tokens) D=\(width) H=\(heads)" }
  }

  static let shapes = [
    Shape(kernel: 1, tokens: 7), Shape(kernel: 2, tokens: 5), Shape(kernel: 3, tokens: 10),
    Shape(kernel: 4, tokens: 17, width: 10, heads: 1),
    Shape(kernel: 9, tokens: 26, width: 14, heads: 2),
    // Wider than the sequence on one side, on both.
    Shape(kernel: 5, tokens: 3), Shape(kernel: 9, tokens: 2, width: 7, heads: 7),
    Shape(kernel: 3, tokens: 1, width: 5, heads: 1),
    Shape(kernel: 30, tokens: 4, width: 4, heads: 2),
    Shape(kernel: 31, tokens: 4, width: 4, heads: 1),
  ]

  static func layer(_ shape: Shape, quirks: Bool = false) -> TokenConvolution {
    var configuration = ModelConfiguration()
    configuration.kernelSize = shape.kernel
    configuration.referenceQuirks = quirks
    configuration.numHeads = shape.heads
    return TokenConvolution(
      LayerShape(configuration, width: shape.width, tokens: shape.tokens, capacity: 2),
      scratch: Scratch())
  }

  /// The layer in double precision, one number at a time. Parameters in the layer's order.
  struct Slow {
    let shape: Shape
    var quirks = false

    func forward(_ x: [Double], _ parameters: [Double]) -> [Double] {
      let (tokens, width, k) = (shape.tokens, shape.width, shape.kernel)
      let d = width / shape.heads
      let bias = width * width
      let kernel = bias + width
      let kernelBias = kernel + d * d * k
      let map = kernelBias + d
      func linear(_ row: ArraySlice<Double>, _ weight: Int, _ bias: Int, _ output: Int) -> Double {
        row.enumerated().reduce(parameters[bias + output]) {
          $0 + $1.element * parameters[weight + output * width + $1.offset]
        }
      }
      var result: [Double] = []
      for image in 0..<2 {
        let u = (0..<tokens).map { t -> [Double] in
          let start = (image * tokens + t) * width
          return (0..<width).map { linear(x[start..<start + width], 0, bias, $0) }
        }
        var y = [[Double]](repeating: [Double](repeating: 0, count: width), count: tokens)
        for t in 0..<tokens {
          for head in 0..<shape.heads {
            for c in 0..<d {
              var sum = parameters[kernelBias + c]
              for r in 0..<k {
                let source = t + r - (k - 1) / 2
                guard (0..<tokens).contains(source) else { continue }
                for j in 0..<d {
                  sum += parameters[kernel + (c * d + j) * k + r] * u[source][head * d + j]
                }
              }
              y[t][head * d + c] = sum
            }
          }
        }
        if quirks {
          let plain = y
          for t in 0..<tokens {
            for column in 0..<width {
              let flat = column % d * tokens + t
              y[t][column] = plain[flat / d][column / d * d + flat % d]
            }
          }
        }
        for t in 0..<tokens {
          result += (0..<width).map { linear(y[t][...], map, map + bias, $0) }
        }
      }
      return result
    }
  }

  @Test("agrees with plain sums, forward and backward", arguments: shapes, [false, true])
  func reference(shape: Shape, quirks: Bool) {
    let slow = Slow(shape: shape, quirks: quirks)
    expectAgreement(
      Self.layer(shape, quirks: quirks), images: 2, tokens: shape.tokens, width: shape.width,
      queries: quirks ? [shape.tokens] : [shape.tokens, 1], reference: slow.forward)
  }

  @Test("keeps the layer contract", arguments: shapes)
  func contract(shape: Shape) {
    #expect(!Self.layer(shape).needsAllTokens && Self.layer(shape, quirks: true).needsAllTokens)
    expectLayerContract(
      Self.layer(shape), images: 2, tokens: shape.tokens, width: shape.width)
  }

  @Test("counts operations")
  func operations() {
    let layer = Self.layer(Shape(kernel: 4, tokens: 17, width: 12, heads: 3))
    // Two maps of 12 x 12 and 3 heads of 4 x 4 x 4 per token; the first token reads tokens 0, 1, 2.
    #expect(layer.operations(outputTokens: 17) == 17 * 2 * (2 * 144 + 3 * 64))
    #expect(layer.operations(outputTokens: 1) == 2 * (3 * 144 + 3 * 64 + 144))
  }
}
