// Which Vision Transformer surrounds the attention layers.

/// `--architecture`.
public enum Architecture: String, Codable, CaseIterable, Sendable {
  /// The document's: positions by a formula, a norm behind the patches, no biases in attention, and no norm before
  /// the classifier.
  case convnn
  /// The usual one (Dosovitskiy et al. 2021, arXiv:2010.11929), whose pretrained weights are everywhere: learned
  /// positions, biases in attention, a norm before the classifier. Parameters have timm's names.
  case vit

  var learnsPositions: Bool { self == .vit }
  var hasAttentionBiases: Bool { self == .vit }
  /// ε of the norms in and behind the blocks.
  var normEpsilon: Float { self == .vit ? 1e-6 : 1e-5 }

  /// A linear map outside of attention, with the first values of the original code or of timm.
  func linear(_ name: String, outputs: Int, inputs: Int) -> (
    weight: ParameterSpec, bias: ParameterSpec
  ) {
    switch self {
    case .convnn:
      return (
        .linear("\(name).weight", outputs: outputs, inputs: inputs),
        .bias("\(name).bias", outputs: outputs, fanIn: inputs)
      )
    case .vit:
      return (
        .normal("\(name).weight", [outputs, inputs], deviation: 0.02),
        .zeros("\(name).bias", count: outputs)
      )
    }
  }

  /// What parameters are called, as in the state dicts of the original code and of timm.
  var names: ParameterNames {
    switch self {
    case .convnn:
      return ParameterNames(
        classifier: "classifier", norm: nil, blocks: "transformer_encoder", attention: "attention",
        expansion: "mlp.0", contraction: "mlp.3", classToken: "positional_encoding.cls_tokens",
        positions: "positional_encoding.pe", patches: "patch_embedding.linear_projection",
        patchNorm: "patch_embedding.norm")
    case .vit:
      return ParameterNames(
        classifier: "head", norm: "norm", blocks: "blocks", attention: "attn",
        expansion: "mlp.fc1", contraction: "mlp.fc2", classToken: "cls_token",
        positions: "pos_embed", patches: "patch_embed.proj", patchNorm: nil)
    }
  }

  /// Whether a parameter is one of the classifier's, which depend on the classes.
  public func isClassifier(_ name: String) -> Bool { name.hasPrefix(names.classifier + ".") }

  /// The parameter of learned positions [1, T, D].
  public var learnedPositions: String? { learnsPositions ? names.positions : nil }

  /// Where a tensor of a file belongs.
  public func place(of name: String) -> PretrainedName {
    self == .vit ? PretrainedName(name) : PretrainedName(own: name)
  }

  /// Whether a tensor of a file is the classifier's weight [C, D].
  public func isClassifierWeight(_ name: String) -> Bool {
    place(of: name).name == names.classifier + ".weight"
  }
}

struct ParameterNames {
  let classifier: String
  /// Before the classifier, where there is one.
  let norm: String?
  let blocks: String
  let attention: String
  /// The two maps of the MLP.
  let expansion: String
  let contraction: String
  let classToken: String
  let positions: String
  let patches: String
  /// Behind the patches, where there is one.
  let patchNorm: String?
}
