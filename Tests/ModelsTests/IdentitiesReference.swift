// A slow, obvious attention in double precision, and a gradient check against it.
import Testing

@testable import Models

// B images, T tokens, Q output tokens, D width, H heads, d head width, I = H·d.

struct SlowAttention {
  var width: Int
  var heads: Int
  var headWidth: Int
  var tokens: Int
  var queries: Int
  var images: Int
  /// The keys that query `i` sees, given its scores for all keys.
  var keys: (_ query: Int, _ scores: [Double]) -> [Int]
  /// Keys of score and value zero that it sees besides.
  var zeroKeys: (_ query: Int) -> Int = { _ in 0 }
  /// Positions turn (vector, token, isQuery).
  var turn: ((_ vector: inout [Double], _ token: Int, _ isQuery: Bool) -> Void)?
  /// A bias follows the output map's weights.
  var hasBias = false

  /// x [B·T, D], parameters: W [3I, D], then [D, I], then the bias. Result [B·Q, D].
  func forward(_ x: [Double], _ parameters: [Double]) -> [Double] {
    let inner = heads * headWidth
    func project(_ row: Int, _ output: Int) -> Double {
      (0..<width).reduce(0) { $0 + x[row * width + $1] * parameters[output * width + $1] }
    }
    var result = [Double](repeating: 0, count: images * queries * width)
    for image in 0..<images {
      var merged = [Double](repeating: 0, count: queries * inner)
      for head in 0..<heads {
        func vectors(_ part: Int) -> [[Double]] {
          (0..<tokens).map { token in
            var vector = (0..<headWidth).map {
              project(image * tokens + token, part * inner + head * headWidth + $0)
            }
            if part < 2 { turn?(&vector, token, part == 0) }
            return vector
          }
        }
        let (q, k, v) = (vectors(0), vectors(1), vectors(2))
        for i in 0..<queries {
          let scores = (0..<tokens).map { j in
            zip(q[i], k[j]).reduce(0) { $0 + $1.0 * $1.1 } / Double(headWidth).squareRoot()
          }
          let seen = keys(i, scores)
          let weights = seen.map { exponential(scores[$0]) }
          let sum = weights.reduce(0, +) + Double(zeroKeys(i))
          for (j, weight) in zip(seen, weights) {
            for c in 0..<headWidth {
              merged[i * inner + head * headWidth + c] += weight / sum * v[j][c]
            }
          }
        }
      }
      let map = 3 * inner * width
      for i in 0..<queries {
        for output in 0..<width {
          var value = hasBias ? parameters[map + width * inner + output] : 0
          for c in 0..<inner {
            value += merged[i * inner + c] * parameters[map + output * inner + c]
          }
          result[(image * queries + i) * width + output] = value
        }
      }
    }
    return result
  }

  /// Compares a layer with this one.
  func check(_ layer: any AttentionLayer, sourceLocation: SourceLocation = #_sourceLocation) {
    expectAgreement(
      layer, images: images, tokens: tokens, width: width, queries: [queries],
      sourceLocation: sourceLocation, reference: forward)
  }
}

/// Compares a layer's forward pass with one in double precision, and its gradients with central
/// differences of that along one random direction per tensor.
///
/// - Parameters:
///   - queries: numbers of output tokens to ask for.
///   - reference: from x [B·T, D] and the parameters to all outputs [B·T, D], or to those asked for.
func expectAgreement(
  _ layer: any AttentionLayer, images: Int, tokens: Int, width: Int, queries: [Int],
  sourceLocation: SourceLocation = #_sourceLocation,
  reference: (_ x: [Double], _ parameters: [Double]) -> [Double]
) {
  for queries in queries {
    let test = LayerCase(
      layer: layer, images: images, tokens: tokens, width: width, outputTokens: queries)
    let result = runLayer(layer, test, gap: 3)
    let x = test.input.map(Double.init)
    let parameters = test.parameters.map(Double.init)
    func forward(_ x: [Double], _ parameters: [Double]) -> [Double] {
      let all = reference(x, parameters)
      guard all.count != images * queries * width else { return all }
      return (0..<images).flatMap {
        all[$0 * tokens * width..<($0 * tokens + queries) * width]
      }
    }
    // Sums of some hundred terms in single precision.
    let distant = distance(result.output, forward(x, parameters))
    #expect(distant < 2e-6, "output", sourceLocation: sourceLocation)

    func loss(_ x: [Double], _ parameters: [Double]) -> Double {
      zip(forward(x, parameters), test.dOutput).reduce(0) { $0 + $1.0 * Double($1.1) }
    }
    func expectSlope(
      _ name: String, _ gradient: ArraySlice<Float>, item: Int,
      _ moved: (_ direction: [Double], _ by: Double) -> Double
    ) {
      let direction = testNumbers(gradient.count, item: item).map(Double.init)
      // So short that no two scores change places.
      let step = 1e-7
      let numeric = (moved(direction, step) - moved(direction, -step)) / (2 * step)
      let slope = zip(gradient, direction).reduce(0) { $0 + Double($1.0) * $1.1 }
      let size = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
      #expect(
        abs(slope - numeric) <= 1e-5 * size * length, "gradient of \(name)",
        sourceLocation: sourceLocation)
    }
    expectSlope("input", result.dInput[...], item: 90) { direction, by in
      loss(zip(x, direction).map { $0 + by * $1 }, parameters)
    }
    var offset = 0
    for (i, spec) in layer.parameters.enumerated() {
      let start = offset
      offset += spec.count
      expectSlope(spec.name, result.gradients[start..<offset], item: 91 + i) { direction, by in
        var changed = parameters
        for j in 0..<direction.count { changed[start + j] += by * direction[j] }
        return loss(x, changed)
      }
    }
  }
}
