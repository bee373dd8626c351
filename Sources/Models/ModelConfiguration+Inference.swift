// What model the tensors of a file belong to, where the file does not say.

extension ModelConfiguration {
  /// The usual Vision Transformer whose parameters have these names and shapes, by whatever library; nil if they are
  /// those of another model. How many heads share a width, nothing tells: they are taken to be 64 wide, as in all
  /// published models but ViT-Huge, whose 1280 channels have 16 heads.
  public init?(usualModelOf shapes: [String: [Int]]) {
    let found = Dictionary(
      shapes.map { (PretrainedName($0.key).name, $0.value) },
      uniquingKeysWith: { first, _ in first }
    )
    let names = Architecture.vit.names
    guard let patches = found[names.patches + ".weight"], patches.count == 4, patches[1] == 3,
      patches[2] == patches[3], let positions = found[names.positions], positions.count == 3,
      positions[2] == patches[0],
      let expansion = found["\(names.blocks).0.\(names.expansion).weight"], expansion.count == 2,
      [patches, positions, expansion].joined().allSatisfy({ $0 > 0 })
    else { return nil }
    let side = Int(Double(positions[1] - 1).squareRoot().rounded())
    guard side > 0, side * side == positions[1] - 1 else { return nil }
    self.init()
    architecture = .vit
    width = patches[0]
    patchSize = patches[2]
    imageSize = side * patchSize
    mlpWidth = expansion[0]
    numLayers = (1...).first {
      found["\(names.blocks).\($0).\(names.expansion).weight"] == nil
    }!
    if let classes = found[names.classifier + ".weight"]?.first { numClasses = classes }
    if width == 1280 { numHeads = 16 } else if width % 64 == 0 { numHeads = width / 64 }
  }
}
