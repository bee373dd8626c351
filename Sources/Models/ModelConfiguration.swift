// What a model is: every choice that shapes its parameters or its arithmetic.
import Diagnostics
import Foundation

/// The attention layer of every block (`--layer`).
public enum LayerKind: String, Codable, CaseIterable, Sendable {
  case attention = "Attention"
  case convNNAttention = "ConvNNAttention"
  case kvtAttention = "KvtAttention"
  case localAttention = "LocalAttention"
  case neighborhoodAttention = "NeighborhoodAttention"
  case sparseAttention = "SparseAttention"
  case branchConv = "BranchConv"
  case branchAttention = "BranchAttention"
}

public enum ConvolutionType: String, Codable, CaseIterable, Sendable {
  case standard, depthwise
  case depthwiseSeparable = "depthwise-separable"
}

public enum SamplingType: String, Codable, CaseIterable, Sendable { case all, random, spatial }
public enum SpatialLayout: String, Codable, CaseIterable, Sendable { case grid, linear }
public enum MagnitudeType: String, Codable, CaseIterable, Sendable {
  case cosine, euclidean, matmul
}
public enum SparseMode: String, Codable, CaseIterable, Sendable { case all, local, strided }

/// Which of features (Col) and coordinates (Loc) take part in similarity or aggregation.
public enum FeatureSelection: String, Codable, CaseIterable, Sendable {
  case features = "Col"
  case coordinates = "Loc"
  case both = "Loc_Col"
}

/// The configuration of a Vision Transformer. Coding keys are the command line's flag names, so the
/// metadata of a weights file reads like the command that made it. Absent keys take the defaults.
public struct ModelConfiguration: Codable, Equatable, Sendable {
  public var architecture = Architecture.convnn
  public var layer = LayerKind.attention
  /// Sides of images and patches in pixels; the first is a multiple of the second.
  public var imageSize = 224
  public var patchSize = 16
  public var numClasses = 10
  /// Blocks.
  public var numLayers = 12
  public var numHeads = 3
  /// Channels of a token, and of the MLP's hidden layer.
  public var width = 192
  public var mlpWidth = 768
  /// Probability that a number is dropped: of what a branch returns and of the MLP's hidden layer; within attention.
  public var dropout: Float = 0.1
  public var attentionDropout: Float = 0.1
  /// Stochastic depth: the share of images for which the last block is left out (see `DropPath`).
  public var dropPath: Float = 0

  public var convolutionType = ConvolutionType.depthwise
  /// Softmax over the K similarities that weigh neighbours, or these themselves.
  public var softmaxTopK = true
  /// K of ConvNN and KVT; kernel of NeighborhoodAttention.
  public var neighbours = 9
  public var samplingType = SamplingType.all
  /// Candidates of random sampling, a side of their grid in spatial sampling; -1 means all.
  public var sampleCount = -1
  /// Places at each border that spatial sampling leaves out.
  public var samplePadding = 0
  public var spatialLayout = SpatialLayout.grid
  public var magnitudeType = MagnitudeType.matmul
  public var coordinateEncoding = false
  public var similarityType = FeatureSelection.features
  public var aggregationType = FeatureSelection.features
  /// Share of features where similarity is of features and coordinates.
  public var lambda: Float = 0.5
  public var convnnHeads = 1

  /// Tokens that the convolution of BranchConv sees.
  public var kernelSize = 9
  /// Share of the channels that go through ConvNN in branching layers.
  public var branchRatio = 0.5
  public var sparseMode = SparseMode.all
  /// In tokens: reach of local pairs on both sides together, or distance of strided ones.
  public var sparseContextWindow = 128
  /// Reach of LocalAttention in tokens, and its head width; fixed in the reference.
  public var localWindow = 128
  public var localHeadWidth = 64
  /// Distance of NeighborhoodAttention's neighbours in tokens; not a flag.
  public var dilation = 1
  /// The reference's bugs, for its checkpoints (README, "Coming from PyTorch").
  public var referenceQuirks = false

  public init() {}

  enum CodingKeys: String, CodingKey, CaseIterable {
    case architecture, layer
    case imageSize = "img_size"
    case numClasses = "num_classes"
    case patchSize = "patch_size"
    case numLayers = "num_layers"
    case numHeads = "num_heads"
    case width = "d_hidden"
    case mlpWidth = "d_mlp"
    case dropout
    case attentionDropout = "attention_dropout"
    case dropPath = "drop_path"
    case convolutionType = "convolution_type"
    case softmaxTopK = "softmax_topk_val"
    case neighbours = "K"
    case samplingType = "sampling_type"
    case sampleCount = "num_samples"
    case samplePadding = "sample_padding"
    case spatialLayout = "spatial_layout"
    case magnitudeType = "magnitude_type"
    case coordinateEncoding = "coordinate_encoding"
    case similarityType = "similarity_type"
    case aggregationType = "aggregation_type"
    case lambda = "lambda_param"
    case convnnHeads = "convnn_heads"
    case kernelSize = "kernel_size"
    case branchRatio = "branch_ratio"
    case sparseMode = "sparse_mode"
    case sparseContextWindow = "sparse_context_window"
    case localWindow = "window_size"
    case localHeadWidth = "dim_head"
    case dilation
    case referenceQuirks = "reference_quirks"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    func read<T: Decodable>(_ key: CodingKeys, _ target: inout T) throws {
      if let value = try values.decodeIfPresent(T.self, forKey: key) { target = value }
    }
    try read(.architecture, &architecture)
    try read(.layer, &layer)
    try read(.imageSize, &imageSize)
    try read(.numClasses, &numClasses)
    try read(.patchSize, &patchSize)
    try read(.numLayers, &numLayers)
    try read(.numHeads, &numHeads)
    try read(.width, &width)
    try read(.mlpWidth, &mlpWidth)
    try read(.dropout, &dropout)
    try read(.attentionDropout, &attentionDropout)
    try read(.dropPath, &dropPath)
    try read(.convolutionType, &convolutionType)
    try read(.softmaxTopK, &softmaxTopK)
    try read(.neighbours, &neighbours)
    try read(.samplingType, &samplingType)
    try read(.sampleCount, &sampleCount)
    try read(.samplePadding, &samplePadding)
    try read(.spatialLayout, &spatialLayout)
    try read(.magnitudeType, &magnitudeType)
    try read(.coordinateEncoding, &coordinateEncoding)
    try read(.similarityType, &similarityType)
    try read(.aggregationType, &aggregationType)
    try read(.lambda, &lambda)
    try read(.convnnHeads, &convnnHeads)
    try read(.kernelSize, &kernelSize)
    try read(.branchRatio, &branchRatio)
    try read(.sparseMode, &sparseMode)
    try read(.sparseContextWindow, &sparseContextWindow)
    try read(.localWindow, &localWindow)
    try read(.localHeadWidth, &localHeadWidth)
    try read(.dilation, &dilation)
    try read(.referenceQuirks, &referenceQuirks)
  }

  /// The command line's names of all settings, in the order of declaration.
  public static var flagNames: [String] { CodingKeys.allCases.map(\.rawValue) }

  /// Patches along one side of the image.
  public var grid: Int { imageSize / patchSize }
  /// Patches and the class token.
  public var tokens: Int { grid * grid + 1 }
}
