// Which ConvNN layer a configuration asks for: sizes, candidates, operations.

// T tokens, Q output tokens, D width, H heads, d = D/H, K neighbours, M candidates.

struct ConvNNAttentionPlan {
  let width: Int
  let tokens: Int
  let heads: Int
  let headWidth: Int
  let neighbours: Int
  let sampling: SamplingType
  /// Candidates of spatial sampling, or given ones; nil for all tokens and for draws.
  let fixedCandidates: [Int32]?
  /// M.
  let candidateCount: Int
  let magnitude: MagnitudeType
  let softmax: Bool
  let convolution: ConvolutionType
  let similarity: FeatureSelection
  /// λ of `--similarity_type Loc_Col`.
  let lambda: Float
  /// Channels that are compared: d, d and the coordinate, or the coordinate alone.
  let featureWidth: Int
  /// Channels that the convolution reads: d, or d and the coordinate.
  let valueWidth: Int
  let quirks: Bool

  /// Random or spatial candidates: every token is its own first neighbour.
  var samples: Bool { sampling != .all }
  /// Neighbours that are chosen by similarity.
  var chosen: Int { samples ? neighbours - 1 : neighbours }
  /// Weights depend on q and k: not where coordinates alone are compared, nor a token with itself.
  var comparesFeatures: Bool { similarity != .coordinates && chosen > 0 }
  /// The reference's merge of heads reads each head's output as if it were transposed.
  var mixesTokens: Bool { quirks && heads > 1 }
  /// What a score is multiplied by.
  var scale: Float { magnitude == .matmul ? 1 / Float(headWidth).squareRoot() : 1 }

  /// - Parameter shape: its candidates, distinct tokens, are used instead of the configured choice.
  init(_ shape: LayerShape) {
    let (c, candidates) = (shape.configuration, shape.candidates)
    precondition(shape.width % c.convnnHeads == 0 && c.aggregationType != .coordinates)
    width = shape.width
    tokens = shape.tokens
    heads = c.convnnHeads
    headWidth = width / heads
    neighbours = c.neighbours
    sampling = c.samplingType
    magnitude = c.magnitudeType
    softmax = c.softmaxTopK
    convolution = c.convolutionType
    similarity = c.similarityType
    lambda = c.lambda
    quirks = c.referenceQuirks
    switch c.similarityType {
    case .features: featureWidth = headWidth + (c.coordinateEncoding ? 1 : 0)
    case .both: featureWidth = headWidth + 1
    case .coordinates: featureWidth = 1
    }
    valueWidth = Self.valueWidth(shape)

    switch c.samplingType {
    case .all:
      fixedCandidates = nil
      candidateCount = tokens
    case .random:
      fixedCandidates = candidates
      candidateCount = candidates?.count ?? (c.sampleCount == -1 ? tokens : c.sampleCount)
    case .spatial:
      let chosen = candidates ?? Self.spatialCandidates(c, tokens: tokens)
      fixedCandidates = chosen
      candidateCount = chosen.count
    }
    if let fixed = fixedCandidates {
      precondition(Set(fixed).count == fixed.count && fixed.allSatisfy { $0 >= 0 && $0 < tokens })
    }
    precondition(neighbours <= (samples ? c.mostNeighbours(candidates: candidateCount) : tokens))
  }

  /// ⌊linspace(pad, size - 1 - pad, N)⌋ along the tokens, or along rows and columns of the patch grid.
  private static func spatialCandidates(_ c: ModelConfiguration, tokens: Int) -> [Int32] {
    let side = c.samplingSide(tokens: tokens)
    let (pad, most) = (c.samplePadding, side - 2 * c.samplePadding)
    let count = c.sampleCount == -1 ? most : c.sampleCount
    precondition((1...most).contains(count))
    let line =
      c.referenceQuirks
      ? floatLine(from: pad, to: side - 1 - pad, count: count)
      : (0..<count).map { pad + (count == 1 ? 0 : $0 * (most - 1) / (count - 1)) }
    guard c.samplesGrid else { return line.map { Int32($0) } }
    return line.flatMap { row in line.map { column in Int32(1 + row * side + column) } }
  }

  /// `torch.linspace(first, last, count).long()`: from both ends towards the middle, in floats, which may make
  /// a whole number the one below.
  private static func floatLine(from first: Int, to last: Int, count: Int) -> [Int] {
    guard count > 1 else { return [first] }
    let step = Float(last - first) / Float(count - 1)
    return (0..<count).map {
      let value =
        $0 < count / 2
        ? Float(first).addingProduct(step, Float($0))
        : Float(last).addingProduct(-step, Float(count - 1 - $0))
      return Int(value)
    }
  }

  /// Channels that the convolution of a layer reads.
  static func valueWidth(_ s: LayerShape) -> Int {
    let c = s.configuration
    let coordinate = c.coordinateEncoding || c.aggregationType == .both ? 1 : 0
    return s.width / c.convnnHeads + coordinate
  }

  /// Where the convolution's parameters begin.
  var convolutionOffset: Int { 4 * width * width }

  /// Operations of the maps to q, k, v and from the merged heads.
  private func mapOperations(_ outputTokens: Int) -> Int {
    let extents = ConvNNAttentionProjections.Extents(plan: self, outputTokens: outputTokens)
    return [extents.q, extents.k, extents.v].reduce(outputTokens) {
      $0 + extents.rows($1, plan: self)
    } * 2 * width * width
  }

  /// See `AttentionLayer`.
  func operations(outputTokens: Int) -> Int {
    let pairs = outputTokens * neighbours * heads
    var sum = mapOperations(outputTokens)
    if chosen > 0 { sum += 2 * outputTokens * candidateCount * featureWidth * heads }
    switch convolution {
    case .depthwise: sum += 3 * pairs * headWidth
    case .standard: sum += pairs * valueWidth * (1 + 2 * headWidth)
    case .depthwiseSeparable:
      sum += 3 * pairs * valueWidth + 2 * outputTokens * heads * valueWidth * headWidth
    }
    return sum
  }

  /// See `AttentionLayer`: the scores are not computed again, only the chosen ones have gradients.
  func backwardOperations(outputTokens: Int) -> Int {
    let pairs = outputTokens * neighbours * heads
    var sum = 2 * mapOperations(outputTokens)
    if comparesFeatures { sum += 2 * 2 * outputTokens * chosen * heads * featureWidth }
    switch convolution {
    case .depthwise: sum += 8 * pairs * headWidth
    case .standard: sum += pairs * valueWidth * (1 + 4 + 2 * 2 * headWidth)
    case .depthwiseSeparable:
      sum += 8 * pairs * valueWidth + 2 * 2 * outputTokens * heads * valueWidth * headWidth
    }
    return sum
  }
}
