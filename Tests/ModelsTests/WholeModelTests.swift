// The whole model against a plain one in double precision that keeps every token in every block.
import Foundation
import Tensors
import Testing

@testable import Models

// B images, S image side, p patch side, T tokens, D width, M MLP width, C classes.

/// Forward pass and loss in double precision, evaluation mode, layer `Attention`.
struct SlowModel {
  let configuration: ModelConfiguration
  let layout: ParameterLayout
  var criterion = Criterion.crossEntropy
  var smoothing = 0.0
  /// Factor of a block's branch for an image.
  var path: (_ block: Int, _ branch: DropPath.Branch, _ image: Int) -> Double = { _, _, _ in 1 }

  private func range(_ name: String) -> Range<Int> {
    layout.places.first { $0.spec.name == name }!.range
  }

  /// y = x · Wᵀ + b for rows of x.
  private func linear(_ x: [[Double]], _ p: [Double], _ name: String, _ map: String = "")
    -> [[Double]]
  {
    let weight = p[range("\(name)\(map).weight")]
    let bias = p[range("\(name)\(map).bias")]
    return x.map { row in
      bias.indices.map { i in
        let start = weight.startIndex + (i - bias.startIndex) * row.count
        return row.indices.reduce(bias[i]) { $0 + row[$1] * weight[start + $1] }
      }
    }
  }

  private func norm(_ x: [[Double]], _ p: [Double], _ name: String) -> [[Double]] {
    let gamma = Array(p[range("\(name).weight")])
    let beta = Array(p[range("\(name).bias")])
    return x.map { row in
      let mean = row.reduce(0, +) / Double(row.count)
      let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(row.count)
      return row.indices.map {
        gamma[$0] * (row[$0] - mean) / (variance + 1e-5).squareRoot() + beta[$0]
      }
    }
  }

  private func embed(_ image: ArraySlice<Float>, _ p: [Double]) -> [[Double]] {
    let c = configuration
    let (side, patch) = (c.imageSize, c.patchSize)
    var patches: [[Double]] = []
    for row in 0..<c.grid {
      for column in 0..<c.grid {
        patches.append(
          (0..<3 * patch * patch).map { i in
            let (channel, y, x) = (i / (patch * patch), i / patch % patch, i % patch)
            let at = (channel * side + row * patch + y) * side + column * patch + x
            return Double(image[image.startIndex + at])
          })
      }
    }
    let projected = linear(patches, p, "patch_embedding.linear_projection")
    let tokens =
      [Array(p[range("positional_encoding.cls_tokens")])]
      + norm(projected, p, "patch_embedding.norm")
    return tokens.enumerated().map { t, row in
      row.indices.map { i in
        let angle = Double(t) / pow(10000, Double(i / 2 * 2) / Double(c.width))
        return row[i] + (i % 2 == 0 ? sin(angle) : cos(angle))
      }
    }
  }

  func logits(_ image: ArraySlice<Float>, number: Int = 0, _ p: [Double]) -> [Double] {
    let c = configuration
    var x = embed(image, p)
    let attention = SlowAttention(
      width: c.width, heads: c.numHeads, headWidth: c.width / c.numHeads, tokens: c.tokens,
      queries: c.tokens, images: 1, keys: { _, scores in Array(scores.indices) })
    for block in 0..<c.numLayers {
      let prefix = "transformer_encoder.\(block)."
      let first = range(prefix + "attention.W_q.weight").lowerBound
      let weights = Array(p[first..<first + 4 * c.width * c.width])
      let attended = attention.forward(norm(x, p, prefix + "norm1").flatMap { $0 }, weights)
      let (attentionPath, mlpPath) = (path(block, .attention, number), path(block, .mlp, number))
      for t in x.indices {
        for i in x[t].indices { x[t][i] += attentionPath * attended[t * c.width + i] }
      }
      let hidden = linear(norm(x, p, prefix + "norm2"), p, prefix, "mlp.0")
        .map { $0.map { $0 / 2 * erfc(-$0 / 2.0.squareRoot()) } }
      let output = linear(hidden, p, prefix, "mlp.3")
      for t in x.indices { for i in x[t].indices { x[t][i] += mlpPath * output[t][i] } }
    }
    return linear([x[0]], p, "classifier")[0]
  }

  /// Mean loss of a batch.
  func loss(_ images: [Float], _ labels: [Int32], _ p: [Double]) -> Double {
    let pixels = images.count / labels.count
    return labels.enumerated().reduce(0) { sum, item in
      let z = logits(
        images[item.offset * pixels..<(item.offset + 1) * pixels], number: item.offset, p)
      let total = log(z.reduce(0) { $0 + exp($1) })
      return sum
        + z.indices.reduce(0) { sum, c in
          let hit = c == Int(item.element)
          if criterion == .meanSquaredError {
            return sum + pow(z[c] - (hit ? 1 : 0), 2) / Double(z.count)
          }
          let target = smoothing / Double(z.count) + (hit ? 1 - smoothing : 0)
          return sum - target * (z[c] - total)
        }
    } / Double(labels.count)
  }
}

@Suite("Whole model") struct WholeModelTests {
  private let model: VisionTransformer
  private let parameters: FloatSlab
  private let images: [Float]
  private let labels: [Int32] = [3, 0, 4]

  init() throws { try self.init(dropout: 0) }

  private init(
    dropout: Float, dropPath: Float = 0, layers: Int = 2, precision: Precision = .single,
    recomputes: Bool = false, architecture: Architecture = .convnn
  ) throws {
    var c = ModelConfiguration()
    c.architecture = architecture
    c.imageSize = 12
    c.patchSize = 4
    c.numClasses = 5
    c.numLayers = layers
    c.dropPath = dropPath
    c.numHeads = 2
    c.width = 10
    c.mlpWidth = 7
    c.dropout = dropout
    c.attentionDropout = dropout
    model = try VisionTransformer(
      configuration: c, capacity: 3, precision: precision, recomputes: recomputes)
    parameters = FloatSlab(count: model.layout.count)
    model.layout.initialize(parameters.base, seed: 4)
    // Norms and biases away from one and zero, and weights that are not small, so that all gradients are tried in
    // earnest.
    let sequence = RandomSequence(seed: 5, purpose: .testInput)
    for place in model.layout.places {
      guard place.spec.name.contains("norm") || architecture == .vit else { continue }
      for i in place.range { parameters.base[i] += sequence.uniform(i) - 0.5 }
    }
    var pixels = [Float](repeating: 0, count: 3 * 3 * 12 * 12)
    RandomSequence(seed: 6, purpose: .testInput).fillNormal(&pixels, count: pixels.count)
    images = pixels
  }

  /// Mean loss and its gradient, in micro-batches of the given sizes.
  private func train(
    _ sizes: [Int], criterion: Criterion = .crossEntropy, smoothing: Double = 0, step: Int = 2,
    classifierOnly: Bool = false, _ parameters: FloatSlab? = nil
  ) -> (loss: Double, gradients: [Float]) {
    let gradients = FloatSlab(count: model.layout.count)
    gradients.fill(.nan)
    var statistics = BatchStatistics()
    var first = 0
    let pixels = images.count / 3
    for size in sizes {
      statistics += model.train(
        TrainingPass(
          parameters: (parameters ?? self.parameters).base, gradients: gradients.base,
          accumulate: first > 0, lossWeight: 1.0 / 3, criterion: criterion,
          labelSmoothing: smoothing, classifierOnly: classifierOnly, seed: 8, step: step,
          firstPosition: first),
        images: Array(images[first * pixels..<(first + size) * pixels]),
        labels: Array(labels[first..<first + size]), count: size)
      first += size
    }
    return (statistics.loss / 3, Array(gradients.buffer))
  }

  @Test(
    "loss and every tensor's gradient",
    arguments: [
      (Criterion.crossEntropy, 0), (.crossEntropy, 0.2), (.meanSquaredError, 0),
    ])
  func gradients(criterion: Criterion, smoothing: Double) {
    let slow = SlowModel(
      configuration: model.configuration, layout: model.layout, criterion: criterion,
      smoothing: smoothing)
    expectGradients(train([3], criterion: criterion, smoothing: smoothing), slow)
  }

  private func expectGradients(
    _ found: (loss: Double, gradients: [Float]), _ slow: SlowModel, _ comment: String = ""
  ) {
    let exact = Array(parameters.buffer).map(Double.init)
    #expect(abs(found.loss - slow.loss(images, labels, exact)) < 2e-6, "\(comment)")
    for place in model.layout.places {
      let gradient = found.gradients[place.range]
      let size = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      // Both ends and the largest entry by themselves, and everything along one random direction.
      let largest = place.range.max { abs(found.gradients[$0]) < abs(found.gradients[$1]) }!
      var directions = Set([place.range.lowerBound, place.range.upperBound - 1, largest]).map {
        [$0: 1.0]
      }
      let sequence = RandomSequence(seed: 7, purpose: .testInput)
      directions.append(
        Dictionary(
          uniqueKeysWithValues: place.range.map { ($0, Double(sequence.uniform($0)) * 2 - 1) }))
      for direction in directions {
        func moved(_ by: Double) -> Double {
          var p = exact
          for (i, value) in direction { p[i] += by * value }
          return slow.loss(images, labels, p)
        }
        // In double precision: truncation 1e-10, rounding 1e-11.
        let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5
        let slope = direction.reduce(0) { $0 + Double(found.gradients[$1.key]) * $1.value }
        let length = direction.reduce(0) { $0 + $1.value * $1.value }.squareRoot()
        // Sums of some hundred single-precision products through two blocks.
        #expect(
          abs(slope - numeric) <= 1e-5 * size * length + 1e-8, "\(place.spec.name) \(comment)")
      }
    }
  }

  @Test("logits equal those of a model that keeps all tokens") func logits() {
    let slow = SlowModel(configuration: model.configuration, layout: model.layout)
    let exact = Array(parameters.buffer).map(Double.init)
    let found = images.withUnsafeBufferPointer {
      model.logits(images: $0.baseAddress!, count: 3, parameters: parameters.base)
    }
    for image in 0..<3 {
      let z = slow.logits(images[image * 432..<(image + 1) * 432], exact)
      for c in 0..<5 { #expect(abs(Double(found[image * 5 + c]) - z[c]) < 5e-6) }
    }
  }

  @Test(
    "any micro-batches give the same gradient",
    arguments: [([1, 2], 0), ([2, 1], 0.3), ([1, 1, 1], 0), ([1, 1, 1], 0.3)] as [([Int], Float)],
    Architecture.allCases)
  func microBatches(of kind: (sizes: [Int], dropout: Float), architecture: Architecture) throws {
    let sizes = kind.sizes
    let tests = try WholeModelTests(dropout: kind.dropout, architecture: architecture)
    let (whole, parts) = (tests.train([3]), tests.train(sizes))
    #expect(abs(whole.loss - parts.loss) < 1e-6)
    for place in tests.model.layout.places {
      var (difference, size) = (0.0, 0.0)
      for i in place.range {
        difference += pow(Double(whole.gradients[i] - parts.gradients[i]), 2)
        size += pow(Double(whole.gradients[i]), 2)
      }
      // Only the order of sums differs: masks follow an image's place in the batch.
      #expect(difference.squareRoot() <= 2e-6 * size.squareRoot() + 1e-9, "\(place.spec.name)")
    }
  }

  @Test("the classifier alone has the gradient it has among all", arguments: Architecture.allCases)
  func classifierOnly(architecture: Architecture) throws {
    let tests = try WholeModelTests(dropout: 0.3, architecture: architecture)
    let all = tests.train([1, 2])
    let alone = tests.train([1, 2], classifierOnly: true)
    #expect(alone.loss == all.loss)
    for place in tests.model.layout.places {
      let learns = tests.model.layout.levelsAbove(place) == 0
      let expected = learns ? all.gradients[place.range] : ArraySlice(place.range.map { _ in 0 })
      #expect(alone.gradients[place.range].elementsEqual(expected), "\(place.spec.name)")
    }
  }

  @Test(
    "gradients with dropout by differences of the model itself", arguments: Architecture.allCases)
  func dropout(architecture: Architecture) throws {
    let tests = try WholeModelTests(dropout: 0.3, architecture: architecture)
    let found = tests.train([3]).gradients
    #expect(found != self.train([3]).gradients)
    let copy = FloatSlab(count: found.count)
    let ranges = tests.model.layout.places.flatMap { place in
      // Values have much larger gradients than queries and keys.
      let parts = place.spec.name.contains("qkv") ? 3 : 1
      return (0..<parts).map { part in
        let count = place.range.count / parts
        let first = place.range.lowerBound + part * count
        return (name: "\(place.spec.name), part \(part)", range: first..<first + count)
      }
    }
    for (name, range) in ranges {
      let size = range.reduce(0) { $0 + Double(found[$1]) * Double(found[$1]) }.squareRoot()
      guard size > 0 else { continue }
      // Along the gradient itself the slope is its length: the strongest signal there is.
      func moved(_ by: Double) -> Double {
        for i in 0..<found.count { copy.base[i] = tests.parameters.base[i] }
        for i in range { copy.base[i] += Float(by * Double(found[i]) / size) }
        return tests.train([3], copy).loss
      }
      // The loss is rounded at about 3e-7; steps of 0.02 make that 1.5e-5 and leave, at fourth order,
      // a truncation of the same size.
      let h = 0.02
      let numeric = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
      #expect(abs(numeric - size) <= 1e-3 * size + 5e-5, "\(name)")
    }
  }

  /// Steps in which the images of all three, of some and of none take the branches of the last block.
  @Test("drop path: loss and every tensor's gradient", arguments: [false, true])
  func dropPath(recomputes: Bool) throws {
    let tests = try WholeModelTests(dropout: 0, dropPath: 0.6, layers: 3, recomputes: recomputes)
    let drop = DropPath(probability: 0.6, blocks: 3)
    var slow = SlowModel(configuration: tests.model.configuration, layout: tests.model.layout)
    var uses = Set<Int>()
    for step in 1...6 {
      func factors(_ block: Int, _ branch: DropPath.Branch) -> [Float]? {
        let pass = LayerPass(
          images: 3, outputTokens: 0, parameters: tests.parameters.base, training: true, seed: 8,
          step: step, block: block)
        return drop.draw(pass, branch).factors
      }
      slow.path = { Double(factors($0, $1)?[$2] ?? 1) }
      for branch in [DropPath.Branch.attention, .mlp] {
        uses.insert(factors(2, branch)!.filter { $0 > 0 }.count)
      }
      for sizes in [[3], [1, 2], [1, 1, 1]] {
        tests.expectGradients(tests.train(sizes, step: step), slow, "step \(step), \(sizes)")
      }
    }
    #expect(uses.isSuperset(of: [0, 1, 2]))
  }

  @Test(
    "drop path in mixed precision follows the same draws", arguments: Architecture.allCases)
  func mixedDropPath(architecture: Architecture) throws {
    func tests(_ precision: Precision) throws -> WholeModelTests {
      try WholeModelTests(
        dropout: 0.1, dropPath: 0.6, layers: 3, precision: precision, architecture: architecture)
    }
    let (single, mixed) = (try tests(.single), try tests(.mixed))
    for step in 1...6 {
      for sizes in [[3], [1, 2], [1, 1, 1]] {
        let (exact, found) = (single.train(sizes, step: step), mixed.train(sizes, step: step))
        for place in single.model.layout.places {
          let (a, b) = (exact.gradients[place.range], found.gradients[place.range])
          let size = a.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
          let difference = zip(a, b).reduce(0) { $0 + pow(Double($1.0 - $1.1), 2) }.squareRoot()
          // Roundings of 2^-9 each, through three blocks. What nobody takes is zero in both.
          #expect(difference <= 0.06 * size, "\(place.spec.name) of step \(step)")
        }
      }
    }
  }

  @Test(
    "mixed labels: loss and gradient are the labels' own, weighted", arguments: Criterion.allCases)
  func mixture(criterion: Criterion) {
    let shares: [Float] = [0.25, 0, 0.75]
    let others: [Int32] = [1, 2, 3]
    func train(_ labels: [Int32], _ mixture: LabelMixture?) -> (BatchStatistics, [Float]) {
      let gradients = FloatSlab(count: model.layout.count)
      var pass = TrainingPass(
        parameters: parameters.base, gradients: gradients.base, accumulate: false, lossWeight: 1,
        criterion: criterion, labelSmoothing: criterion == .crossEntropy ? 0.1 : 0)
      pass.mixture = mixture
      let statistics = model.train(pass, images: images, labels: labels, count: 3)
      return (statistics, Array(gradients.buffer))
    }
    let mixed = others.withUnsafeBufferPointer { others in
      shares.withUnsafeBufferPointer { shares in
        train(
          labels, LabelMixture(labels: others.baseAddress!, shares: shares.baseAddress!))
      }
    }
    // Each image's gradient is linear in its target: one image at a time with the other label.
    let plain = train(labels, nil)
    var expected = plain.1.map(Double.init)
    var loss = plain.0.loss
    for image in 0..<3 {
      var exchanged = labels
      exchanged[image] = others[image]
      let one = train(exchanged, nil)
      let share = Double(shares[image])
      for i in expected.indices { expected[i] += share * Double(one.1[i] - plain.1[i]) }
      loss += share * (one.0.loss - plain.0.loss)
    }
    let size = expected.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let difference = zip(mixed.1, expected).reduce(0) { $0 + pow(Double($1.0) - $1.1, 2) }
    #expect(difference.squareRoot() < 2e-6 * size)
    // (z − t)² is not linear in t: of shares s and 1 − s it has 2 s (1 − s) / C less.
    let bend =
      criterion == .crossEntropy ? 0 : shares.reduce(0) { $0 + 2 * Double($1 * (1 - $1)) / 5 }
    #expect(abs(mixed.0.loss - (loss - bend)) < 1e-9)
    // The label with the larger share counts.
    let heavier = [labels[0], labels[1], others[2]]
    let hits = model.evaluate(
      images: images, labels: heavier, count: 3, parameters: parameters.base)
    #expect(mixed.0.top1 == hits.top1 && mixed.0.top5 == 3)
  }

  @Test("the gradient slab grows from its beginning") func ready() {
    var lengths: [Int] = []
    let gradients = FloatSlab(count: model.layout.count)
    _ = model.train(
      TrainingPass(
        parameters: parameters.base, gradients: gradients.base, accumulate: false, lossWeight: 1),
      images: images, labels: labels, count: 3
    ) { lengths.append($0) }
    #expect(lengths == lengths.sorted() && Set(lengths).count == lengths.count)
    #expect(lengths.last == model.layout.count && lengths.count == 3)
  }
}
