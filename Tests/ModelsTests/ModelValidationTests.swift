// Which models are refused, with which numbers named; and what just passes.
import Diagnostics
import Testing

@testable import Models

struct Refusal: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let change: @Sendable (inout ModelConfiguration) -> Void
  /// What the message has to hold.
  let words: [String]

  init(
    _ name: String, _ words: String...,
    change: @escaping @Sendable (inout ModelConfiguration) -> Void
  ) {
    testDescription = name
    self.words = words
    self.change = change
  }
}

@Suite("Validation of models") struct ModelValidationTests {
  /// 16 patches on a grid of 4, 17 tokens, width 24, 3 heads.
  static func base(_ layer: LayerKind = .attention) -> ModelConfiguration {
    var c = ModelConfiguration()
    c.layer = layer
    c.imageSize = 32
    c.patchSize = 8
    c.width = 24
    c.mlpWidth = 48
    c.numLayers = 2
    return c
  }

  static let refusals = [
    Refusal("no layers", "--num_layers is 0", "1") { $0.numLayers = 0 },
    Refusal("more layers than random keys", "--num_layers is 65536", "65535") {
      $0.numLayers = 65_536
    },
    Refusal("no patch", "--patch_size is 0") { $0.patchSize = 0 },
    Refusal("no image", "--resize (img_size) is 0") { $0.imageSize = 0 },
    Refusal("negative width", "--d_hidden is -24") { $0.width = -24 },
    Refusal("huge width", "--d_hidden is 9223372036854775807", "1048576") { $0.width = .max },
    Refusal("no MLP", "--d_mlp is 0") { $0.mlpWidth = 0 },
    Refusal("no classes", "num_classes is 0") { $0.numClasses = 0 },
    Refusal("no heads", "--num_heads is 0") { $0.numHeads = 0 },
    Refusal("more heads than random keys", "--num_heads is 129", "128") {
      $0.width = 129
      $0.numHeads = 129
    },
    Refusal("no ConvNN heads", "--convnn_heads is -1") { $0.convnnHeads = -1 },
    Refusal("no kernel", "--kernel_size is 0") { $0.kernelSize = 0 },
    Refusal("no neighbours", "--K is 0") { $0.neighbours = 0 },
    Refusal("no window", "--sparse_context_window is 0") { $0.sparseContextWindow = 0 },
    Refusal("no local window", "window_size is 0") { $0.localWindow = 0 },
    Refusal("no dilation", "dilation is 0") { $0.dilation = 0 },
    Refusal("no samples", "--num_samples is 0", "-1") { $0.sampleCount = 0 },
    Refusal("samples below all", "--num_samples is -2", "-1") { $0.sampleCount = -2 },
    Refusal("negative border", "--sample_padding is -1") { $0.samplePadding = -1 },
    Refusal("dropout of everything", "--dropout is 1.0") { $0.dropout = 1 },
    Refusal("negative dropout", "--dropout is -0.1") { $0.dropout = -0.1 },
    Refusal("dropout that is no number", "--attention_dropout is nan") {
      $0.attentionDropout = .nan
    },
    Refusal("infinite dropout", "--attention_dropout is inf") { $0.attentionDropout = .infinity },
    Refusal("infinite lambda", "--lambda_param is inf") { $0.lambda = .infinity },
    Refusal("ratio above 1", "--branch_ratio is 1.5") { $0.branchRatio = 1.5 },
    Refusal("negative ratio", "--branch_ratio is -0.5") { $0.branchRatio = -0.5 },
    Refusal("ratio that is no number", "--branch_ratio is nan") { $0.branchRatio = .nan },

    Refusal("patches that do not fit", "--patch_size 5", "32 pixels", "4 or 8", "30 or 35") {
      $0.patchSize = 5
    },
    Refusal("a patch above the image", "--patch_size 33", "32 pixels", "--patch_size 32", "33.") {
      $0.patchSize = 33
    },
    Refusal("heads that do not divide", "--num_heads 5", "24", "4 or 6", "20 or 25") {
      $0.numHeads = 5
    },
    Refusal("more heads than channels", "--num_heads 25", "--num_heads 24", "--d_hidden 25") {
      $0.numHeads = 25
    },
    Refusal("sparse heads", "--num_heads 7", "6 or 8") {
      $0.layer = .sparseAttention
      $0.numHeads = 7
    },
    Refusal("ConvNN heads that do not divide", "--convnn_heads 5", "24", "4 or 6") {
      $0.layer = .convNNAttention
      $0.convnnHeads = 5
    },
    Refusal("odd rotary heads", "dim_head is 63") {
      $0.layer = .localAttention
      $0.localHeadWidth = 63
    },
    Refusal("KVT with K > T", "--K 18", "17 tokens", "16 patches") {
      $0.layer = .kvtAttention
      $0.neighbours = 18
    },
    Refusal("ConvNN with K > T", "--K 18", "17 tokens") {
      $0.layer = .convNNAttention
      $0.neighbours = 18
    },
    Refusal("neighborhood of one", "--K is 1", "2 to 17") {
      $0.layer = .neighborhoodAttention
      $0.neighbours = 1
    },
    Refusal("neighborhood above T", "--K is 18", "2 to 17") {
      $0.layer = .neighborhoodAttention
      $0.neighbours = 18
    },
    Refusal("dilated neighborhood above T", "--K is 9", "dilation 2", "2 to 8") {
      $0.layer = .neighborhoodAttention
      $0.dilation = 2
    },
    Refusal("aggregation without features", "--aggregation_type Loc", "Loc_Col") {
      $0.layer = .convNNAttention
      $0.aggregationType = .coordinates
    },

    Refusal("random: more samples than tokens", "--num_samples 18", "17 tokens", "17 or less") {
      $0.layer = .convNNAttention
      $0.samplingType = .random
      $0.sampleCount = 18
    },
    Refusal("random: K > N", "--K 9", "random --num_samples 8", "8 candidates", "--K 8 or less") {
      $0.layer = .convNNAttention
      $0.samplingType = .random
      $0.sampleCount = 8
    },
    Refusal("random: K > N + 1 with quirks", "--K 9", "7 candidates", "--K 8 or less") {
      $0.layer = .convNNAttention
      $0.samplingType = .random
      $0.sampleCount = 7
      $0.referenceQuirks = true
    },
    Refusal("random -1: K > T", "--K 18", "17 candidates", "--K 17 or less.") {
      $0.layer = .convNNAttention
      $0.samplingType = .random
      $0.neighbours = 18
    },
    Refusal("grid -1 within a border: K > 2 x 2", "--K 5", "4 candidates", "--K 4 or less.") {
      $0.layer = .convNNAttention
      $0.samplingType = .spatial
      $0.samplePadding = 1
      $0.neighbours = 5
    },
    Refusal("the reference has no grid", "--num_samples 18", "17 tokens") {
      $0.layer = .convNNAttention
      $0.samplingType = .spatial
      $0.sampleCount = 18
      $0.referenceQuirks = true
    },
    Refusal("grid: N above the side", "--num_samples 5", "4 x 4 patches", "4 or less") {
      $0.layer = .convNNAttention
      $0.samplingType = .spatial
      $0.sampleCount = 5
    },
    Refusal("grid: N above what the border leaves", "--num_samples 3", "--sample_padding 1", "2 or")
    {
      $0.layer = .convNNAttention
      $0.samplingType = .spatial
      $0.sampleCount = 3
      $0.samplePadding = 1
    },
    Refusal("grid: the border leaves nothing", "--sample_padding 2", "--sample_padding 1 or less") {
      $0.layer = .convNNAttention
      $0.samplingType = .spatial
      $0.sampleCount = 1
      $0.samplePadding = 2
    },
    Refusal("grid: K > N x N", "--K 5", "4 candidates", "--K 4 or less") {
      $0.layer = .convNNAttention
      $0.samplingType = .spatial
      $0.sampleCount = 2
      $0.neighbours = 5
    },
    Refusal("linear: N above T", "--num_samples 18", "17 tokens") {
      $0.layer = .convNNAttention
      $0.samplingType = .spatial
      $0.spatialLayout = .linear
      $0.sampleCount = 18
    },
    Refusal("linear: K > N", "--K 9", "8 candidates", "--K 8 or less") {
      $0.layer = .convNNAttention
      $0.samplingType = .spatial
      $0.spatialLayout = .linear
      $0.sampleCount = 8
    },

    // ConvNN multiples of 1, the rest multiples of 3: 3 of 24 channels is 0.125 (0.13 gives 3, too), 6 is 0.25.
    Refusal(
      "BranchConv: the rest does not divide", "--branch_ratio 0.2", "4", "20", "0.13 and 0.25"
    ) {
      $0.layer = .branchConv
      $0.branchRatio = 0.2
    },
    Refusal("BranchAttention: both do not divide", "--branch_ratio 0.4", "0.25 and 0.5") {
      $0.layer = .branchAttention
      $0.branchRatio = 0.4
      $0.convnnHeads = 2
    },
    Refusal("branch of no channel", "--branch_ratio 0.01", "0.0 and 0.13", "at least 1") {
      $0.layer = .branchAttention
      $0.branchRatio = 0.01
    },
    Refusal("branch heads that never fit", "--branch_ratio 0.5", "No ratio works") {
      $0.layer = .branchAttention
      $0.width = 25
      $0.numHeads = 24
      $0.convnnHeads = 23
    },
    Refusal("BranchConv with K > T", "--K 18", "17 tokens") {
      $0.layer = .branchConv
      $0.neighbours = 18
    },
  ]

  @Test("refused, with what was found and what works", arguments: refusals)
  func refused(refusal: Refusal) {
    var c = Self.base()
    refusal.change(&c)
    let error = #expect(throws: RunError.self) { try c.validate() }
    #expect(error?.code == .configuration)
    let message = error?.message ?? ""
    for word in refusal.words { #expect(message.contains(word), "\(message)") }
    #expect(message.split(separator: "\n").count <= 6)
    // Whoever makes a model is told, too.
    #expect(throws: RunError.self) { try VisionTransformer(configuration: c, capacity: 1) }
  }

  static let borders = [
    Refusal("defaults") { $0 = ModelConfiguration() },
    Refusal("one patch") { $0.patchSize = 32 },
    Refusal("odd width, one head") {
      $0.width = 25
      $0.numHeads = 1
    },
    Refusal("unused flags of other layers") {
      $0.neighbours = 18
      $0.convnnHeads = 5
      $0.sampleCount = 100
      $0.branchRatio = 0.2
    },
    Refusal("as many heads as channels") { $0.numHeads = 24 },
    Refusal("no dropout, nearly all") {
      $0.dropout = 0
      $0.attentionDropout = 0.99
    },
    Refusal("KVT with K = T") {
      $0.layer = .kvtAttention
      $0.neighbours = 17
    },
    Refusal("neighborhood of two") {
      $0.layer = .neighborhoodAttention
      $0.neighbours = 2
    },
    Refusal("neighborhood of T") {
      $0.layer = .neighborhoodAttention
      $0.neighbours = 17
    },
    Refusal("sparse window beyond T") {
      $0.layer = .sparseAttention
      $0.sparseMode = .strided
      $0.sparseContextWindow = 1000
    },
  ]

  @Test("what just passes", arguments: borders)
  func passes(border: Refusal) {
    var c = Self.base()
    border.change(&c)
    #expect(throws: Never.self) { try c.validate() }
  }

  static let convnnBorders = [
    Refusal("K = T") { $0.neighbours = 17 },
    Refusal("random: K = N") {
      $0.samplingType = .random
      $0.sampleCount = 9
    },
    Refusal("random: K = N + 1 with quirks") {
      $0.samplingType = .random
      $0.sampleCount = 8
      $0.referenceQuirks = true
    },
    Refusal("random: N = T") {
      $0.samplingType = .random
      $0.sampleCount = 17
    },
    Refusal("all samples") {
      $0.samplingType = .random
      $0.neighbours = 17
    },
    Refusal("linear under quirks") {
      $0.samplingType = .spatial
      $0.sampleCount = 17
      $0.referenceQuirks = true
    },
    Refusal("grid: N = G, K = N x N") {
      $0.samplingType = .spatial
      $0.sampleCount = 4
      $0.neighbours = 16
    },
    Refusal("grid: N = G - 2 pad") {
      $0.samplingType = .spatial
      $0.sampleCount = 2
      $0.samplePadding = 1
      $0.neighbours = 4
    },
    Refusal("linear: N = T - 2 pad") {
      $0.samplingType = .spatial
      $0.spatialLayout = .linear
      $0.sampleCount = 9
      $0.samplePadding = 4
    },
  ]

  @Test("what just passes in ConvNN", arguments: convnnBorders)
  func convnnPasses(border: Refusal) {
    for layer in [LayerKind.convNNAttention, .branchConv, .branchAttention] {
      var c = Self.base(layer)
      border.change(&c)
      #expect(throws: Never.self) { try c.validate() }
    }
  }

  @Test("the ratios that a refusal names are accepted, and are the nearest")
  func ratios() throws {
    for width in [24, 96, 100, 192, 195] {
      for (heads, convnn) in [(1, 1), (3, 1), (4, 3), (5, 5)] {
        for ratio in [0.01, 0.29, 0.3, 0.5, 0.77, 0.999] {
          var c = Self.base(.branchAttention)
          (c.width, c.numHeads, c.convnnHeads, c.branchRatio) = (width, heads, convnn, ratio)
          func works(_ w: Int) -> Bool {
            (w == 0 || w % convnn == 0) && (w == width || (width - w) % heads == 0)
          }
          do {
            try c.validate()
            #expect(works(c.branchWidth) && c.branchWidth > 0)
          } catch let error as RunError {
            let line = error.message.split(separator: "\n").last ?? ""
            let named = line.matches(of: /[0-9]+\.[0-9]+/).compactMap { Double($0.output) }
            var widths: [Int] = []
            for value in named {
              c.branchRatio = value
              #expect(throws: Never.self) { try c.validate() }
              widths.append(c.branchWidth)
            }
            let found = Int(ratio * Double(width))
            let expected = [
              (0...found).last(where: works), (found + 1...width).first(where: works),
            ].compactMap { $0 }
            #expect(widths == expected, "\(width) \(heads) \(convnn) \(ratio): \(line)")
          }
        }
      }
    }
  }
}
