// A slow, obvious ConvNN attention in double precision.
import Testing

@testable import Models

// B images, T tokens, D width, H heads, d = D/H, K neighbours.

/// One ConvNN layer to test.
struct ConvNNCase: CustomTestStringConvertible, Sendable {
  var tokens: Int
  var width: Int
  var heads = 1
  var configuration: ModelConfiguration
  /// Candidates of sampling; for `--sampling_type spatial` those that the layer must find itself.
  var candidates: [Int] = []

  init(
    tokens: Int, width: Int, heads: Int = 1, neighbours: Int = 4, candidates: [Int] = [],
    _ change: (inout ModelConfiguration) -> Void = { _ in }
  ) {
    self.tokens = tokens
    self.width = width
    self.heads = heads
    self.candidates = candidates
    configuration = ModelConfiguration()
    configuration.layer = .convNNAttention
    configuration.neighbours = neighbours
    (configuration.numHeads, configuration.convnnHeads) = (heads, heads)
    configuration.attentionDropout = 0
    change(&configuration)
  }

  var testDescription: String {
    let c = configuration
    var words = [
      "T=\(tokens) D=\(width) H=\(heads) K=\(c.neighbours)", c.magnitudeType.rawValue,
      c.samplingType.rawValue, c.convolutionType.rawValue, c.softmaxTopK ? "softmax" : "raw",
    ]
    if c.samplingType == .spatial { words.append(c.spatialLayout.rawValue) }
    if c.coordinateEncoding { words.append("coordinates") }
    if c.similarityType != .features { words.append("similarity \(c.similarityType.rawValue)") }
    if c.aggregationType != .features { words.append("aggregation \(c.aggregationType.rawValue)") }
    if c.referenceQuirks { words.append("quirks") }
    return words.joined(separator: " ")
  }

  func shape(images: Int = 2, dropout: Float = 0) -> LayerShape {
    var c = configuration
    c.attentionDropout = dropout
    return LayerShape(
      c, width: width, tokens: tokens, capacity: images,
      candidates: c.samplingType == .random ? candidates.map { Int32($0) } : nil)
  }

  func layer(images: Int = 2, dropout: Float = 0) -> ConvNNAttention {
    ConvNNAttention(shape(images: images, dropout: dropout), scratch: Scratch())
  }
}

/// The layer's definition, neighbour by neighbour.
struct SlowConvNN {
  let test: ConvNNCase
  let images: Int

  private var c: ModelConfiguration { test.configuration }
  private var headWidth: Int { test.width / test.heads }
  private var samples: Bool { c.samplingType != .all }
  private var searched: [Int] { samples ? test.candidates : Array(0..<test.tokens) }
  private var hasValueCoordinate: Bool { c.coordinateEncoding || c.aggregationType == .both }

  /// x [B·T, D] and the parameters in the layer's order to the output [B·T, D].
  func forward(_ x: [Double], _ parameters: [Double]) -> [Double] {
    let (tokens, width) = (test.tokens, test.width)
    func map(_ rows: [[Double]], _ part: Int) -> [[Double]] {
      rows.map { row in
        (0..<width).map { output in
          (0..<width).reduce(0) {
            $0 + row[$1] * parameters[(part * width + output) * width + $1]
          }
        }
      }
    }
    let kernels = Array(parameters[(4 * width * width)...])
    var result: [Double] = []
    for image in 0..<images {
      let rows = (0..<tokens).map { token in
        Array(x[(image * tokens + token) * width..<(image * tokens + token + 1) * width])
      }
      let (q, k, v) = (map(rows, 0), map(rows, 1), map(rows, 2))
      var merged = [[Double]](repeating: [Double](repeating: 0, count: width), count: tokens)
      for head in 0..<test.heads {
        let columns = head * headWidth..<(head + 1) * headWidth
        let y = self.head(
          q: q.map { Array($0[columns]) }, k: k.map { Array($0[columns]) },
          v: v.map { Array($0[columns]) }, kernels: kernels)
        for token in 0..<tokens {
          for channel in 0..<headWidth {
            // The reference reads the head's [T, d] numbers as [d, T].
            let flat = channel * tokens + token
            merged[token][columns.lowerBound + channel] =
              c.referenceQuirks && test.heads > 1
              ? y[flat / headWidth][flat % headWidth] : y[token][channel]
          }
        }
      }
      result += map(merged, 3).joined()
    }
    return result
  }

  private func coordinate(_ token: Int) -> Double {
    2 * Double(token) / Double(test.tokens - 1) - 1
  }

  /// What is compared, for all tokens (`ranks` nil) or for the searched candidates.
  private func features(_ rows: [[Double]], of tokens: [Int], isSearched: Bool) -> [[Double]] {
    let all = rows.joined()
    let mean = all.reduce(0, +) / Double(all.count)
    let variance = all.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(all.count - 1)
    return tokens.enumerated().map { rank, token in
      var position = coordinate(token)
      if c.referenceQuirks && samples && isSearched {
        position = tokens.count > 1 ? 2 * Double(rank) / Double(tokens.count - 1) - 1 : -1
      }
      let lambda = Double(c.lambda)
      switch c.similarityType {
      case .features: return rows[token] + (c.coordinateEncoding ? [position] : [])
      case .coordinates: return [position]
      case .both:
        return rows[token].map { lambda * $0 / (variance.squareRoot() + 1e-6) }
          + [(1 - lambda) * position]
      }
    }
  }

  /// Larger is nearer: distances are negative.
  private func similarity(_ a: [Double], _ b: [Double]) -> Double {
    func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    switch c.magnitudeType {
    case .matmul: return dot(a, b) / Double(headWidth).squareRoot()
    case .cosine:
      return dot(a, b) / max(dot(a, a).squareRoot(), 1e-12) / max(dot(b, b).squareRoot(), 1e-12)
    case .euclidean:
      let difference = zip(a, b).map { $0 - $1 }
      return -max(dot(difference, difference), 1e-12).squareRoot()
    }
  }

  /// Neighbours and similarities of token `i`.
  private func neighbours(_ i: Int, _ k: [[Double]], _ q: [[Double]]) -> [(Int, Double)] {
    let isDistance = c.magnitudeType == .euclidean
    var others = searched.enumerated().map { rank, token in
      (rank: rank, token: token, value: similarity(k[i], q[rank]))
    }
    if samples && !c.referenceQuirks { others.removeAll { $0.token == i } }
    if samples && c.referenceQuirks {
      for index in others.indices where others[index].token == i {
        others[index].value = isDistance ? -1.1 : -0.1
      }
    }
    // Coordinates alone have many equal distances, which rounding must not tell apart.
    func key(_ value: Double) -> Double {
      c.similarityType == .coordinates ? (value * 1e9).rounded() : value
    }
    others.sort { (key($1.value), $0.rank) < (key($0.value), $1.rank) }
    var chosen = others.prefix(samples ? c.neighbours - 1 : c.neighbours)
      .map { ($0.token, $0.value) }
    if samples { chosen.insert((i, isDistance ? -1 : 1), at: 0) }
    if c.similarityType == .coordinates { chosen.sort { $0.0 < $1.0 } }
    return chosen
  }

  private func head(
    q: [[Double]], k: [[Double]], v: [[Double]], kernels: [Double]
  ) -> [[Double]] {
    let (count, width) = (c.neighbours, headWidth)
    let asking = features(k, of: Array(0..<test.tokens), isSearched: false)
    let candidates = features(q, of: searched, isSearched: true)
    let inputs = width + (hasValueCoordinate ? 1 : 0)
    return (0..<test.tokens).map { i in
      let chosen = neighbours(i, asking, candidates)
      var weights = chosen.map(\.1)
      if c.softmaxTopK {
        let largest = weights.max()!
        let powers = weights.map { exponential($0 - largest) }
        weights = powers.map { $0 / powers.reduce(0, +) }
      } else if c.magnitudeType == .euclidean {
        weights = weights.map { 1 / (1e-8 - $0) }
      }
      let rows = zip(weights, chosen).map { weight, neighbour in
        (v[neighbour.0] + (hasValueCoordinate ? [coordinate(neighbour.0)] : []))
          .map { weight * $0 }
      }
      func depthwise(_ channel: Int) -> Double {
        (0..<count).reduce(0) { $0 + kernels[channel * count + $1] * rows[$1][channel] }
      }
      switch c.convolutionType {
      case .depthwise: return (0..<width).map(depthwise)
      case .depthwiseSeparable:
        let middle = (0..<inputs).map(depthwise)
        return (0..<width).map { output in
          (0..<inputs).reduce(0) {
            $0 + kernels[inputs * count + output * inputs + $1] * middle[$1]
          }
        }
      case .standard:
        return (0..<width).map { output in
          var sum = 0.0
          for channel in 0..<inputs {
            for r in 0..<count {
              sum += kernels[(output * inputs + channel) * count + r] * rows[r][channel]
            }
          }
          return sum
        }
      }
    }
  }
}
