// Parameters and operations of whole models against published totals and plain counting.
import Testing

@testable import Models

@Suite("Sizes of models") struct ModelSizeTests {
  struct Total: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let count: Int
    let change: @Sendable (inout ModelConfiguration) -> Void

    init(
      _ name: String, _ count: Int, change: @escaping @Sendable (inout ModelConfiguration) -> Void
    ) {
      testDescription = name
      self.count = count
      self.change = change
    }
  }

  /// ViT-Tiny for 10 classes and images of 224 pixels: the reference's own counts.
  static let totals = [
    Total("Attention", 5_479_306) { $0.layer = .attention },
    Total("ConvNN, depthwise", 5_500_042) { $0.layer = .convNNAttention },
    Total("ConvNN, standard", 9_460_618) {
      $0.layer = .convNNAttention
      $0.convolutionType = .standard
    },
    Total("ConvNN, separable", 5_942_410) {
      $0.layer = .convNNAttention
      $0.convolutionType = .depthwiseSeparable
    },
    Total("KVT", 5_479_306) { $0.layer = .kvtAttention },
    Total("Local", 5_479_306) { $0.layer = .localAttention },
    Total("Local, 1 head", 4_299_658) {
      $0.layer = .localAttention
      $0.numHeads = 1
    },
    Total("Neighborhood", 5_481_610) { $0.layer = .neighborhoodAttention },
    Total("Sparse", 5_479_306) { $0.layer = .sparseAttention },
    Total("BranchConv, 1 head each", 5_827_210) {
      $0.layer = .branchConv
      $0.numHeads = 1
    },
    Total("BranchConv, 3 heads each", 4_934_794) {
      $0.layer = .branchConv
      $0.convnnHeads = 3
    },
    Total("BranchAttention, 1 head each", 5_049_610) {
      $0.layer = .branchAttention
      $0.numHeads = 1
    },
    Total("BranchAttention, 3 heads each", 5_042_698) {
      $0.layer = .branchAttention
      $0.convnnHeads = 3
    },
    // As timm counts vit_tiny_patch16_224 and vit_base_patch16_224.
    Total("usual, Tiny", 5_717_416) {
      $0.architecture = .vit
      $0.numClasses = 1000
    },
    Total("usual, Base", 86_567_656) {
      $0.architecture = .vit
      $0.numClasses = 1000
      ($0.width, $0.mlpWidth, $0.numHeads) = (768, 3072, 12)
    },
  ]

  @Test("published totals of parameters", arguments: totals)
  func parameters(total: Total) {
    var c = ModelConfiguration()
    total.change(&c)
    let layout = ParameterLayout(configuration: c)
    #expect(layout.count == total.count)
    #expect(layout.places.reduce(0) { $0 + $1.spec.count } == total.count)
    // And as told before the model is made.
    #expect(c.parameterCount == Double(total.count))
  }

  @Test("levels above a parameter", arguments: Architecture.allCases)
  func levels(architecture: Architecture) {
    var c = ModelConfiguration()
    (c.architecture, c.numLayers, c.imageSize) = (architecture, 3, 32)
    let layout = ParameterLayout(configuration: c)
    var names: [Int: Set<String>] = [:]
    for place in layout.places {
      names[layout.levelsAbove(place), default: []].insert(place.spec.name)
    }
    #expect(names.keys.sorted() == [0, 1, 2, 3, 4])
    let blocks = architecture == .vit ? "blocks" : "transformer_encoder"
    // timm counts the norm behind the last block to it.
    for block in 0..<3 {
      #expect(
        names[3 - block]?.subtracting(["norm.weight", "norm.bias"])
          .allSatisfy { $0.hasPrefix("\(blocks).\(block).") } == true)
    }
    switch architecture {
    case .vit:
      #expect(names[0] == ["head.weight", "head.bias"])
      #expect(names[1]?.isSuperset(of: ["norm.weight", "norm.bias"]) == true)
      let embedding = [
        "cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
      ]
      #expect(names[4] == Set(embedding))
    case .convnn:
      #expect(names[0] == ["classifier.weight", "classifier.bias"])
      #expect(names[4]?.count == 5)
    }
  }

  /// One model of every layer, T = 26.
  static let counted: [ModelConfiguration] = {
    var base = ModelConfiguration()
    (base.imageSize, base.patchSize, base.numLayers, base.mlpWidth) = (40, 8, 3, 50)
    (base.width, base.numHeads, base.neighbours) = (24, 2, 5)
    return LayerKind.allCases.flatMap { layer -> [ModelConfiguration] in
      var c = base
      c.layer = layer
      switch layer {
      case .sparseAttention:
        return SparseMode.allCases.flatMap { mode in
          [1, 4, 7, 60].map { window in
            (c.sparseMode, c.sparseContextWindow) = (mode, window)
            return c
          }
        }
      case .localAttention:
        return [3, 128].map {
          c.localWindow = $0
          return c
        }
      case .neighborhoodAttention:
        return [2, 5, 26].map {
          c.neighbours = $0
          return c
        }
      case .convNNAttention:
        return ConvolutionType.allCases.flatMap { convolution in
          [1, 3].map { heads in
            (c.convolutionType, c.convnnHeads) = (convolution, heads)
            return c
          }
        }
      case .branchConv, .branchAttention:
        return [0, 0.5, 1].flatMap { ratio in
          [1, 4, 60].map { kernel in
            (c.branchRatio, c.kernelSize) = (ratio, kernel)
            return c
          }
        }
      case .attention, .kvtAttention: return [c]
      }
    }
  }()

  @Test("a layer has the parameters that are told before it is made", arguments: counted)
  func told(c: ModelConfiguration) {
    let shape = LayerShape(c)
    #expect(shape.makeLayer(scratch: Scratch()).parameters == c.layer.facts.parameters(shape))
  }

  @Test("a branch alone needs the memory of its layer", arguments: SamplingType.allCases)
  func memory(sampling: SamplingType) {
    func least(_ layer: LayerKind, ratio: Double) -> [Double] {
      var c = ModelConfiguration()
      (c.layer, c.branchRatio, c.samplingType, c.sampleCount) = (layer, ratio, sampling, 10)
      return [
        c.leastScratch, c.leastActivationsPerImage(recomputes: false, precision: .single),
        c.leastActivationsPerImage(recomputes: true, precision: .mixed),
      ]
    }
    #expect(least(.branchAttention, ratio: 0) == least(.attention, ratio: 0))
    for layer in [LayerKind.branchConv, .branchAttention] {
      #expect(least(layer, ratio: 1) == least(.convNNAttention, ratio: 1))
    }
  }

  @Test("operations per image, counted one product at a time", arguments: counted)
  func operations(c: ModelConfiguration) throws {
    let model = try VisionTransformer(configuration: c, capacity: 1)
    var count = PlainCount(c)
    let patches = (c.imageSize / c.patchSize) * (c.imageSize / c.patchSize)
    count.map(rows: patches, inputs: 3 * c.patchSize * c.patchSize, outputs: c.width)
    for block in 0..<c.numLayers {
      let queries = block == c.numLayers - 1 ? 1 : c.tokens
      count.attention(queries: queries)
      count.map(rows: queries, inputs: c.width, outputs: c.mlpWidth)
      count.map(rows: queries, inputs: c.mlpWidth, outputs: c.width)
    }
    count.map(rows: 1, inputs: c.width, outputs: c.numClasses)
    #expect(model.operationsPerImage == count.operations)
  }
}

/// Counts multiplications and additions by walking over the tokens that a layer's definition names.
private struct PlainCount {
  let c: ModelConfiguration
  var operations = 0

  init(_ c: ModelConfiguration) { self.c = c }

  mutating func map(rows: Int, inputs: Int, outputs: Int) {
    operations += 2 * rows * inputs * outputs
  }

  /// The keys of every query.
  private func seen(_ i: Int) -> [Int] {
    let all = Array(0..<c.tokens)
    switch c.layer {
    case .localAttention: return all.filter { abs($0 - i) <= c.localWindow }
    case .sparseAttention:
      switch c.sparseMode {
      case .all: return all
      case .local: return all.filter { abs($0 - i) <= c.sparseContextWindow / 2 }
      case .strided: return all.filter { ($0 - i) % c.sparseContextWindow == 0 }
      }
    case .neighborhoodAttention:
      let start = min(max(i - c.neighbours / 2, 0), c.tokens - c.neighbours)
      return Array(start..<start + c.neighbours)
    default: return all
    }
  }

  mutating func attention(queries: Int) {
    switch c.layer {
    case .convNNAttention: convnn(queries: queries, width: c.width)
    case .branchConv, .branchAttention:
      let first = Int(c.branchRatio * Double(c.width))
      let second = c.width - first
      if first > 0 { convnn(queries: queries, width: first) }
      if second > 0 && c.layer == .branchConv { convolution(queries: queries, width: second) }
      if second > 0 && c.layer == .branchAttention { pairs(queries: queries, width: second) }
      if first > 0 && second > 0 { map(rows: queries, inputs: c.width, outputs: c.width) }
    default: pairs(queries: queries, width: c.width)
    }
  }

  /// Queries, keys and values of the tokens that count, a dot product and a sum per pair and head.
  private mutating func pairs(queries: Int, width: Int) {
    if queries == 1 && [.attention, .branchAttention].contains(c.layer) {
      return classToken(width: width)
    }
    let inner = c.layer == .localAttention ? c.numHeads * c.localHeadWidth : width
    var keys: Set<Int> = []
    for i in 0..<queries {
      map(rows: 1, inputs: width, outputs: inner)
      let seen = seen(i)
      keys.formUnion(seen)
      // A dot product for all that is seen; k-NN attention then sums over K.
      let summed = c.layer == .kvtAttention ? min(c.neighbours, seen.count) : seen.count
      operations += 2 * (seen.count + summed) * inner
      map(rows: 1, inputs: inner, outputs: width)
    }
    map(rows: keys.count, inputs: width, outputs: 2 * inner)
  }

  /// A query, what each head asks of all tokens by it and sums of them, a value of each sum, W_o.
  private mutating func classToken(width: Int) {
    let headWidth = width / c.numHeads
    map(rows: 1, inputs: width, outputs: width)
    for _ in 0..<c.numHeads {
      map(rows: 1, inputs: headWidth, outputs: width)
      operations += 2 * 2 * c.tokens * width
      map(rows: 1, inputs: width, outputs: headWidth)
    }
    map(rows: 1, inputs: width, outputs: width)
  }

  /// All tokens are searched and summed; those whose output is wanted ask.
  private mutating func convnn(queries: Int, width: Int) {
    let d = width / c.convnnHeads
    map(rows: 2 * c.tokens + queries, inputs: width, outputs: width)
    for _ in 0..<queries {
      for _ in 0..<c.convnnHeads {
        operations += 2 * c.tokens * d
        for _ in 0..<c.neighbours {
          switch c.convolutionType {
          // Weight times value, times the kernel, added.
          case .depthwise, .depthwiseSeparable: operations += 3 * d
          case .standard: operations += d + 2 * d * d
          }
        }
        if c.convolutionType == .depthwiseSeparable { operations += 2 * d * d }
      }
      map(rows: 1, inputs: width, outputs: width)
    }
  }

  /// Taps beyond the ends count too, as the field's tools have it, but for those that reach no token
  /// of any sequence of this length.
  private mutating func convolution(queries: Int, width: Int) {
    let d = width / c.numHeads
    var read: Set<Int> = []
    for t in 0..<queries {
      for tap in 0..<c.kernelSize where abs(tap - (c.kernelSize - 1) / 2) < c.tokens {
        operations += c.numHeads * 2 * d * d
        read.insert(t + tap - (c.kernelSize - 1) / 2)
      }
      map(rows: 1, inputs: width, outputs: width)
    }
    map(
      rows: read.filter { (0..<c.tokens).contains($0) }.count, inputs: width, outputs: width)
  }
}
