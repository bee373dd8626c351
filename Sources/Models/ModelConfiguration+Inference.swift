// What model the tensors of a file belong to, where the file does not say.

extension ModelConfiguration {
  /// The usual Vision Transformer whose parameters have these names and shapes, by whatever library; nil if they are
  /// those of another model. What is missing or has no place in it, reading the file will say. How many heads share a
  /// width, nothing tells: they are taken to be 64 wide, as in all published models but ViT-Huge, whose 1280 channels
  /// have 16 heads.
  ///
  /// - Parameter tensors: in an order that does not change.
  public init?(usualModelOf tensors: [(name: String, shape: [Int])]) {
    let found = Dictionary(
      tensors.map { (PretrainedName($0.name).name, $0.shape) },
      uniquingKeysWith: { first, _ in first })
    let names = Architecture.vit.names
    guard let patches = found[names.patches + ".weight"], patches.count == 4, patches[1] == 3,
      patches[2] == patches[3], let positions = found[names.positions], positions.count == 3,
      let expansion = found["\(names.blocks).0.\(names.expansion).weight"], expansion.count == 2,
      [patches, positions, expansion].joined().allSatisfy({ $0 > 0 })
    else { return nil }
    self.init()
    architecture = .vit
    width = patches[0]
    patchSize = patches[2]
    let side = Int(Double(positions[1] - 1).squareRoot().rounded())
    // Of other models, and with more tokens than the class's, positions are no square.
    let isSquare = side > 0 && side * side == positions[1] - 1
    imageSize = isSquare ? side * patchSize : max(1, imageSize / patchSize) * patchSize
    mlpWidth = expansion[0]
    let blocks = found.keys.compactMap { name -> Int? in
      let path = name.split(separator: ".")
      guard path.count > 1, path[0] == names.blocks else { return nil }
      // A number beyond all reason is no block's.
      return Int(path[1]).flatMap { $0 < tensors.count ? $0 : nil }
    }
    numLayers = 1 + (blocks.max() ?? 0)
    if let classes = found[names.classifier + ".weight"]?.first { numClasses = classes }
    if width == 1280 { numHeads = 16 } else if width % 64 == 0 { numHeads = width / 64 }
  }
}
