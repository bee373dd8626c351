// The flags that shape the model, in the groups of the document.
import ArgumentParser
import Models

struct ModelFlags: ParsableArguments {
  @Option(
    name: .customLong("architecture"),
    help: """
      convnn, or vit: the usual Vision Transformer, for weights of timm, Hugging Face or torchvision, with --layer \
      Attention (default: convnn).
      """)
  var architecture: Architecture?
  @Option(name: .customLong("layer"), help: "Attention layer of the blocks (default: Attention).")
  var layer: LayerKind?
  @Option(name: .customLong("patch_size"), help: "Side of a patch in pixels (default: 16).")
  var patchSize: Int?
  @Option(name: .customLong("num_layers"), help: "Transformer blocks (default: 12).")
  var numLayers: Int?
  @Option(name: .customLong("num_heads"), help: "Attention heads (default: 3).")
  var numHeads: Int?
  @Option(name: .customLong("d_hidden"), help: "Width of the model (default: 192).")
  var width: Int?
  @Option(name: .customLong("d_mlp"), help: "Width of the MLP (default: 768).")
  var mlpWidth: Int?
  @Option(name: .customLong("dropout"), help: "Dropout of linear layers (default: 0.1).")
  var dropout: Float?
  @Option(name: .customLong("attention_dropout"), help: "Dropout of attention (default: 0.1).")
  var attentionDropout: Float?
  @Option(
    name: .customLong("drop_path"),
    help: "Share of images that leave out the last block; less in earlier ones (default: 0).")
  var dropPath: Float?

  func apply(to c: inout ModelConfiguration) {
    architecture.put(&c.architecture)
    layer.put(&c.layer)
    patchSize.put(&c.patchSize)
    numLayers.put(&c.numLayers)
    numHeads.put(&c.numHeads)
    width.put(&c.width)
    mlpWidth.put(&c.mlpWidth)
    dropout.put(&c.dropout)
    attentionDropout.put(&c.attentionDropout)
    dropPath.put(&c.dropPath)
  }
}

struct ConvNNFlags: ParsableArguments {
  @Option(
    name: .customLong("convolution_type"),
    help: "Convolution over the neighbours (default: depthwise).")
  var convolutionType: ConvolutionType?
  @Option(
    name: .customLong("softmax_topk_val"),
    help: "Softmax over the K similarities (default: True); --no_softmax_topk_val for False.")
  var softmaxTopK: Truth?
  @Option(
    name: .customLong("K"),
    help: "Neighbours of ConvNN and KVT, kernel of NeighborhoodAttention (default: 9).")
  var neighbours: Int?
  @Option(
    name: .customLong("sampling_type"), help: "Which tokens are candidates (default: all).")
  var samplingType: SamplingType?
  @Option(
    name: .customLong("num_samples"),
    help: "Candidates: a number for random, a side for spatial, -1 for all (default: -1).")
  var sampleCount: Int?
  @Option(name: .customLong("sample_padding"), help: "Border of spatial sampling (default: 0).")
  var samplePadding: Int?
  @Option(
    name: .customLong("spatial_layout"),
    help: "Spatial samples on the patch grid or along the tokens (default: grid).")
  var spatialLayout: SpatialLayout?
  @Option(name: .customLong("magnitude_type"), help: "Similarity (default: matmul).")
  var magnitudeType: MagnitudeType?
  @Option(
    name: .customLong("coordinate_encoding"),
    help: "A coordinate channel for queries, keys and values (default: False).")
  var coordinateEncoding: Truth?
  @Option(
    name: .customLong("similarity_type"),
    help: "Similarity of features, coordinates or both (default: Col).")
  var similarityType: FeatureSelection?
  @Option(
    name: .customLong("aggregation_type"), help: "Aggregated channels: Col, Loc_Col (default: Col)."
  )
  var aggregationType: FeatureSelection?
  @Option(
    name: .customLong("lambda_param"), help: "Share of features in Loc_Col (default: 0.5).")
  var lambda: Float?
  @Option(name: .customLong("convnn_heads"), help: "Heads of ConvNN (default: 1).")
  var heads: Int?

  func apply(to c: inout ModelConfiguration) {
    convolutionType.put(&c.convolutionType)
    (softmaxTopK?.value).put(&c.softmaxTopK)
    neighbours.put(&c.neighbours)
    samplingType.put(&c.samplingType)
    sampleCount.put(&c.sampleCount)
    samplePadding.put(&c.samplePadding)
    spatialLayout.put(&c.spatialLayout)
    magnitudeType.put(&c.magnitudeType)
    (coordinateEncoding?.value).put(&c.coordinateEncoding)
    similarityType.put(&c.similarityType)
    aggregationType.put(&c.aggregationType)
    lambda.put(&c.lambda)
    heads.put(&c.convnnHeads)
  }
}

struct OtherLayerFlags: ParsableArguments {
  @Option(
    name: .customLong("kernel_size"), help: "Kernel of BranchConv's 1-D convolution (default: 9).")
  var kernelSize: Int?
  @Option(
    name: .customLong("branch_ratio"),
    help: "Share of channels through ConvNN in branching layers, 0 to 1 (default: 0.5).")
  var branchRatio: Double?
  @Option(name: .customLong("sparse_mode"), help: "Pairs of SparseAttention (default: all).")
  var sparseMode: SparseMode?
  @Option(
    name: .customLong("sparse_context_window"),
    help: "Window (local) or stride (strided) of SparseAttention (default: 128).")
  var sparseContextWindow: Int?
  @Flag(
    name: .customLong("reference_quirks"),
    help: "Compute as the PyTorch reference does, bugs included, for its checkpoints.")
  var referenceQuirks = false

  func apply(to c: inout ModelConfiguration, convnnHeadsGiven: Bool) {
    kernelSize.put(&c.kernelSize)
    branchRatio.put(&c.branchRatio)
    sparseMode.put(&c.sparseMode)
    sparseContextWindow.put(&c.sparseContextWindow)
    // A weights file whose model has them says itself how many heads it has.
    guard referenceQuirks, !c.referenceQuirks else { return }
    c.referenceQuirks = true
    if !convnnHeadsGiven { c.convnnHeads = c.numHeads }
  }
}
