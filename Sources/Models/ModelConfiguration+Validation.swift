// Which models can be made; all others are refused before anything starts.
import Diagnostics

extension ModelConfiguration {
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
    try layer.facts.validate(self, tokens: tokens)
  }

  func validateHeads() throws { try requireDivisible(by: numHeads, flag: "--num_heads") }

  func requireDivisible(by heads: Int, flag: String) throws {
    guard width % heads != 0 else { return }
    let below = width / heads * heads
    throw RunError.configuration(
      "\(flag) \(heads) does not divide --d_hidden \(width).\n"
        + "Choose \(flag) \(either(divisors(of: width, near: heads, limit: LayerPass.partsOfBranch))), "
        + "or --d_hidden \(either((below > 0 ? [below] : []) + [below + heads])).")
  }

  func validateNeighbours(tokens: Int) throws {
    guard neighbours > tokens else { return }
    throw RunError.configuration(
      "--K \(neighbours) neighbours are more than the \(tokens) tokens of an image "
        + "(\(tokens - 1) patches and the class token).\nChoose --K \(tokens) or less, or smaller "
        + "patches.")
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
