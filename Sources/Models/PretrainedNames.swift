// Names of the usual Vision Transformer's parameters in the files of other libraries.

/// Where a tensor of a file belongs in a model of `Architecture.vit`.
public struct PretrainedName: Equatable, Sendable {
  /// The parameter's name here, which is timm's.
  public let name: String
  /// Which third of the parameter's rows it fills (queries, keys, values); nil: all.
  public let third: Int?

  /// Understands names of timm, of Hugging Face's `ViTModel` and `ViTForImageClassification`, and of torchvision's
  /// `VisionTransformer`; a name of none of them stays what it is.
  public init(_ found: String) {
    var path = found.split(separator: ".", omittingEmptySubsequences: false)[...]
    if path.first == "vit" { path = path.dropFirst() }
    if let block = Self.block(&path), let (place, third) = Self.inBlock[path.joined(separator: ".")]
    {
      name = "blocks.\(block).\(place)"
      self.third = third
      return
    }
    third = nil
    let whole = path.joined(separator: ".")
    if let place = Self.outside[whole] { name = place } else { name = found }
  }

  init(own name: String) {
    self.name = name
    third = nil
  }

  /// The number of the block that a path begins with, and leaves.
  private static func block(_ path: inout ArraySlice<Substring>) -> Int? {
    guard path.count > 3, path.first == "encoder" else { return nil }
    let rest = path.dropFirst()
    let number: Substring
    switch rest.first {
    case "layer":
      number = rest[rest.startIndex + 1]
      path = rest.dropFirst(2)
    case "layers" where rest[rest.startIndex + 1].hasPrefix("encoder_layer_"):
      number = rest[rest.startIndex + 1].dropFirst("encoder_layer_".count)
      path = rest.dropFirst(2)
    default: return nil
    }
    return Int(number)
  }

  /// Both tensors of a map or a norm.
  private static func pair(_ there: String, _ here: String) -> [(String, String)] {
    ["weight", "bias"].map { ("\(there).\($0)", "\(here).\($0)") }
  }

  private static let inBlock: [String: (place: String, third: Int?)] = {
    var names: [String: (String, Int?)] = [:]
    let whole = [
      // Hugging Face
      ("attention.output.dense", "attn.proj"), ("intermediate.dense", "mlp.fc1"),
      ("output.dense", "mlp.fc2"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2"),
      // torchvision
      ("self_attention.out_proj", "attn.proj"), ("mlp.0", "mlp.fc1"), ("mlp.3", "mlp.fc2"),
      // as its published files have them
      ("mlp.linear_1", "mlp.fc1"), ("mlp.linear_2", "mlp.fc2"),
      ("ln_1", "norm1"), ("ln_2", "norm2"),
    ]
    for (there, here) in whole.flatMap(pair) { names[there] = (here, nil) }
    for (third, map) in ["query", "key", "value"].enumerated() {
      for (there, here) in pair("attention.attention.\(map)", "attn.qkv") {
        names[there] = (here, third)
      }
    }
    names["self_attention.in_proj_weight"] = ("attn.qkv.weight", nil)
    names["self_attention.in_proj_bias"] = ("attn.qkv.bias", nil)
    return names
  }()

  private static let outside: [String: String] = {
    var names = [
      "embeddings.cls_token": "cls_token", "embeddings.position_embeddings": "pos_embed",
      "class_token": "cls_token", "encoder.pos_embedding": "pos_embed",
    ]
    let maps = [
      // Hugging Face; what it calls pooler lies between the last norm and a classifier for pretraining.
      ("embeddings.patch_embeddings.projection", "patch_embed.proj"), ("layernorm", "norm"),
      ("classifier", "head"), ("pooler.dense", "head.pooler"),
      // torchvision
      ("conv_proj", "patch_embed.proj"), ("encoder.ln", "norm"), ("heads.head", "head"),
    ]
    for (there, here) in maps.flatMap(pair) { names[there] = here }
    return names
  }()
}
