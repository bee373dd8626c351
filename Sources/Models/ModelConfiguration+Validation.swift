// Which models can be made; all others are refused before anything starts.
import Diagnostics

extension ModelConfiguration {
  /// Channels of a branching layer that go through ConvNN, ⌊r·D⌋; the others go through the other
  /// branch. `branchRatio` must lie in 0...1.
  public var branchWidth: Int { Int(branchRatio * Double(width)) }

  /// Checks that a model of this configuration can be made.
  ///
  /// - Throws: `RunError` (configuration) naming the flag that cannot work, and values that would.
  public func validate() throws {
    try validateNumbers()
    if imageSize % patchSize != 0 {
      let below = imageSize / patchSize * patchSize
      let sizes = (below > 0 ? [below] : []) + [below + patchSize]
      throw RunError.configuration(
        "--patch_size \(patchSize) does not divide the side of the images, \(imageSize) pixels.\n"
          + "Choose --patch_size \(either(divisors(of: imageSize, near: patchSize))), "
          + "or --resize \(either(sizes)).")
    }
    try validateArchitecture()
    try validateLayer(tokens: tokens)
  }

  private func validateArchitecture() throws {
    guard architecture == .vit else { return }
    guard layer == .attention else {
      throw RunError.configuration(
        "--architecture vit has biases that --layer \(layer.rawValue) does not know: expected Attention.\n"
          + "Leave one of the two out.")
    }
    guard !referenceQuirks else {
      throw RunError.configuration(
        "--reference_quirks are those of the document's code, not of --architecture vit.\n"
          + "Leave one of the two out.")
    }
  }

  /// Every number by itself. Upper bounds keep products within 64 bits and within what BLAS and the
  /// keys of random numbers can take.
  private func validateNumbers() throws {
    let large = 1...1 << 20
    let heads = 1...LayerPass.partsOfBranch
    let counts = [
      ("--resize (img_size)", imageSize, 1...16_384), ("--patch_size", patchSize, 1...16_384),
      ("--num_layers", numLayers, 1...65_535), ("--num_heads", numHeads, heads),
      ("--convnn_heads", convnnHeads, heads), ("--d_hidden", width, large),
      ("--d_mlp", mlpWidth, large), ("num_classes", numClasses, large), ("--K", neighbours, large),
      ("--kernel_size", kernelSize, large), ("--sparse_context_window", sparseContextWindow, large),
      ("window_size", localWindow, large), ("dim_head", localHeadWidth, 1...1024),
      ("dilation", dilation, large), ("--sample_padding", samplePadding, 0...1 << 20),
    ]
    for (flag, value, allowed) in counts where !allowed.contains(value) {
      throw RunError.configuration(
        "\(flag) is \(value): expected a whole number from \(allowed.lowerBound) to "
          + "\(allowed.upperBound).")
    }
    guard sampleCount == -1 || large.contains(sampleCount) else {
      throw RunError.configuration(
        "--num_samples is \(sampleCount): expected a whole number from 1 to \(large.upperBound), "
          + "or -1 for all tokens.")
    }
    let dropped = [
      ("--dropout", dropout), ("--attention_dropout", attentionDropout), ("--drop_path", dropPath),
    ]
    for (flag, value) in dropped {
      guard value >= 0, value < 1 else {
        throw RunError.configuration("\(flag) is \(value): expected a number from 0 to below 1.")
      }
    }
    guard lambda.isFinite else {
      throw RunError.configuration("--lambda_param is \(lambda): expected a finite number.")
    }
    guard branchRatio >= 0, branchRatio <= 1 else {
      throw RunError.configuration(
        "--branch_ratio is \(branchRatio): expected a number from 0 (no ConvNN) to 1 (ConvNN "
          + "alone).")
    }
  }

  /// Checks the attention layer for sequences of `tokens` tokens.
  ///
  /// - Throws: `RunError` (configuration), as `validate`.
  func validateLayer(tokens: Int) throws {
    try validateNumbers()
    switch layer {
    case .attention, .sparseAttention: try validateHeads()
    case .localAttention:
      guard localHeadWidth % 2 == 0 else {
        throw RunError.configuration(
          "dim_head is \(localHeadWidth): rotary positions turn pairs of channels; use an even "
            + "number.")
      }
    case .kvtAttention:
      try validateHeads()
      try validateNeighbours(tokens: tokens)
    case .neighborhoodAttention:
      try validateHeads()
      try validateNeighborhood(tokens: tokens)
    case .convNNAttention:
      try requireDivisible(by: convnnHeads, flag: "--convnn_heads")
      try validateSampling(tokens: tokens)
    case .branchConv, .branchAttention:
      try validateBranches()
      if branchWidth > 0 { try validateSampling(tokens: tokens) }
    }
  }

  private func validateHeads() throws { try requireDivisible(by: numHeads, flag: "--num_heads") }

  private func requireDivisible(by heads: Int, flag: String) throws {
    guard width % heads != 0 else { return }
    let below = width / heads * heads
    throw RunError.configuration(
      "\(flag) \(heads) does not divide --d_hidden \(width).\n"
        + "Choose \(flag) \(either(divisors(of: width, near: heads, limit: LayerPass.partsOfBranch))), "
        + "or --d_hidden \(either((below > 0 ? [below] : []) + [below + heads])).")
  }

  private func validateNeighbours(tokens: Int) throws {
    guard neighbours > tokens else { return }
    throw RunError.configuration(
      "--K \(neighbours) neighbours are more than the \(tokens) tokens of an image "
        + "(\(tokens - 1) patches and the class token).\nChoose --K \(tokens) or less, or smaller "
        + "patches.")
  }

  private func validateNeighborhood(tokens: Int) throws {
    guard neighbours > 1, neighbours * dilation <= tokens else {
      let most = tokens / dilation
      throw RunError.configuration(
        "--K is \(neighbours): NeighborhoodAttention needs a kernel of at least 2, and of at most "
          + "\(tokens) tokens" + (dilation > 1 ? " / dilation \(dilation)" : "") + ".\n"
          + (most > 1 ? "Choose --K from 2 to \(most)." : "Choose smaller patches."))
    }
  }
}

extension ModelConfiguration {
  /// Spatial samples lie on the grid of patches, not along the tokens; the reference knows no grid.
  var samplesGrid: Bool {
    samplingType == .spatial && spatialLayout == .grid && !referenceQuirks
  }

  /// Places along which samples are taken: a side of the grid, or all tokens.
  func samplingSide(tokens: Int) -> Int {
    samplesGrid ? Int(Double(tokens - 1).squareRoot().rounded()) : tokens
  }

  /// The largest K of random and spatial sampling: a token is its own first neighbour, and the K − 1
  /// others are candidates other than itself; the reference does not leave it out.
  func mostNeighbours(candidates: Int) -> Int { referenceQuirks ? candidates + 1 : candidates }

  /// Candidates of ConvNN's sampling, and K.
  private func validateSampling(tokens: Int) throws {
    guard aggregationType != .coordinates else {
      throw RunError.configuration(
        "--aggregation_type Loc has no features to aggregate: expected Col or Loc_Col.")
    }
    if samplingType == .all { return try validateNeighbours(tokens: tokens) }
    let isSpatial = samplingType == .spatial
    let onGrid = samplesGrid
    let side = samplingSide(tokens: tokens)
    guard !onGrid || side * side == tokens - 1 else {
      throw RunError.configuration(
        "--spatial_layout grid needs a square of patches, but there are \(tokens - 1).\n"
          + "Use --spatial_layout linear.")
    }
    let room = onGrid ? "a grid of \(side) x \(side) patches" : "\(side) tokens"
    let border = isSpatial && samplePadding > 0 ? " within --sample_padding \(samplePadding)" : ""
    let inside = side - (isSpatial ? 2 * samplePadding : 0)
    guard inside > 0 else {
      throw RunError.configuration(
        "--sample_padding \(samplePadding) leaves nothing of \(room).\n"
          + "Choose --sample_padding \((side - 1) / 2) or less.")
    }
    guard sampleCount <= inside else {
      throw RunError.configuration(
        "--num_samples \(sampleCount) is more than \(room)\(border) can give.\n"
          + "Choose --num_samples \(inside) or less, or -1 for all.")
    }
    let samples = sampleCount == -1 ? inside : sampleCount
    let candidates = onGrid ? samples * samples : samples
    let most = mostNeighbours(candidates: candidates)
    guard neighbours <= most else {
      throw RunError.configuration(
        "--K \(neighbours) neighbours cannot be chosen: --sampling_type \(samplingType.rawValue) "
          + "--num_samples \(sampleCount) gives \(candidates) candidates.\n"
          + "Choose --K \(most) or less" + (sampleCount == -1 ? "." : ", or more samples."))
    }
  }

  private func validateBranches() throws {
    guard !branchesWork(convnn: branchWidth) || (branchWidth == 0 && branchRatio > 0) else {
      return
    }
    let found = branchWidth
    let below = stride(from: found, through: 0, by: -1).first(where: branchesWork)
    let above = stride(from: found + 1, through: width, by: 1).first(where: branchesWork)
    let ratios = [below, above].compactMap { $0 }.map(ratio)
    throw RunError.configuration(
      "--branch_ratio \(branchRatio) gives ConvNN \(found) and the other branch \(width - found) of "
        + "\(width) channels: these must be multiples of --convnn_heads \(convnnHeads) and "
        + "--num_heads \(numHeads)\(found == 0 ? ", and at least 1" : "").\n"
        + (ratios.isEmpty
          ? "No ratio works with these heads: choose others, or another --d_hidden."
          : "The nearest ratios that work: \(ratios.joined(separator: " and "))."))
  }

  private func branchesWork(convnn: Int) -> Bool {
    (convnn == 0 || convnn % convnnHeads == 0)
      && (convnn == width || (width - convnn) % numHeads == 0)
  }

  /// The shortest decimal number r with ⌊r·D⌋ = `convnn`.
  private func ratio(convnn: Int) -> String {
    var scale = 1.0
    while scale < 1e15 {
      let candidate = (Double(convnn) / Double(width) * scale).rounded(.up) / scale
      if candidate <= 1, Int(candidate * Double(width)) == convnn { return "\(candidate)" }
      scale *= 10
    }
    return "\(Double(convnn) / Double(width))"
  }
}

/// The divisors of `number` nearest to `wanted`: the next below and the next above it.
private func divisors(of number: Int, near wanted: Int, limit: Int = .max) -> [Int] {
  let below = stride(from: min(wanted - 1, number), to: 0, by: -1).first { number % $0 == 0 }
  let above = stride(from: wanted + 1, through: min(number, limit), by: 1)
    .first { number % $0 == 0 }
  return [below, above].compactMap { $0 }
}

private func either(_ values: [Int]) -> String {
  values.map(String.init).joined(separator: " or ")
}
