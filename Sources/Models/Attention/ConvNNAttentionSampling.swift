// Where ConvNN's sampling takes its candidates from, and how many neighbours they can give.
import Diagnostics

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

  /// Checks the candidates of ConvNN's sampling, and K.
  func validateSampling(tokens: Int) throws {
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
}
