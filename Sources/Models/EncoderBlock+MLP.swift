// The MLP branch of a block: x += path(drop(W2 · drop(gelu(W1 · norm2 x + b1)) + b2)).
import CKernels
import Tensors

// B images, Q tokens that leave the block, D width, M MLP width.

extension EncoderBlock {
  /// - Parameters:
  ///   - x: [B·Q, D].
  ///   - y: [B·Q, D]; may be x.
  func forwardMLP(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, x: UnsafeMutablePointer<Float>,
    y: UnsafeMutablePointer<Float>
  ) {
    let parameters = pass.parameters
    let rows = pass.images * outputTokens
    let use = dropPath.draw(pass, .mlp)
    let drops = drops(pass)
    let returned = returned.base
    if use.isTaken {
      norm2.forward(x, parameters: parameters + offsets.norm2, rows: rows)
      expand(
        rows: rows, weight: parameters + offsets.expansionWeight,
        bias: parameters + offsets.expansionBias,
        keep: drops ? fillKeepHidden(pass) : nil, factor: keepFactor)
      Linear.forward(
        rows: rows, inputs: mlpWidth, outputs: width, x: hidden.rows(stride: mlpWidth),
        weight: parameters + offsets.contractionWeight, y: Rows(returned, stride: width))
      if drops { fillKeep(keepMLP, pass, .outputDropout) }
    }
    addBranch(
      use, base: Rows(x, stride: width), branch: Rows(returned, stride: width),
      bias: parameters + offsets.contractionBias, keep: drops ? keepMLP : nil, y: y)
  }

  /// dY [B·Q, D], the gradient of what `forwardMLP` made, becomes that of its x.
  func backwardMLP(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, dY: UnsafeMutablePointer<Float>
  ) {
    let parameters = pass.parameters
    let gradients = pass.gradients!
    let beta = pass.gradientBeta
    let rows = pass.images * outputTokens
    let use = dropPath.draw(pass, .mlp)
    guard use.isTaken else {
      if !pass.accumulate { gradients.zero(offsets.mlp) }
      return
    }
    if !pass.accumulate { (gradients + offsets.norm2).update(repeating: 0, count: 2 * width) }
    let dNormalized = dNormalized.base
    let dOutput = outputGradient(
      use, dY, rows: rows, keep: drops(pass) ? keepMLP : nil,
      dBias: gradients + offsets.contractionBias, accumulate: pass.accumulate)
    Linear.backwardWeight(
      rows: rows, inputs: mlpWidth, outputs: width, dY: dOutput,
      x: hidden.rows(stride: mlpWidth), dWeight: gradients + offsets.contractionWeight, beta: beta)
    let dHidden = expandBackward(
      rows: rows, dY: dOutput, weight: parameters + offsets.contractionWeight,
      dBias: gradients + offsets.expansionBias, accumulate: pass.accumulate)
    norm2.restore(parameters: parameters + offsets.norm2, rows: rows)
    Linear.backwardWeight(
      rows: rows, inputs: width, outputs: mlpWidth, dY: dHidden,
      x: norm2.rows, dWeight: gradients + offsets.expansionWeight, beta: beta)
    Linear.backwardInput(
      rows: rows, inputs: width, outputs: mlpWidth, dY: dHidden,
      weight: parameters + offsets.expansionWeight, dX: Rows(dNormalized, stride: width))
    norm2.backward(
      middle?.base, dY: dNormalized, parameters: parameters + offsets.norm2,
      gradients: gradients + offsets.norm2, dX: dY, rows: rows, adds: true)
  }

  /// The gradient of the MLP's output before dropout [B·Q, D], rounded if activations are, and that of b2.
  private func outputGradient(
    _ use: BranchUse, _ dY: UnsafeMutablePointer<Float>, rows: Int, keep: UnsafePointer<UInt8>?,
    dBias: UnsafeMutablePointer<Float>, accumulate: Bool
  ) -> Rows {
    let room = masked.base
    if hidden.element == .bfloat16 {
      let rounded = Rows(room, stride: width, element: .bfloat16)
      if !accumulate { dBias.update(repeating: 0, count: width) }
      let factor = keep == nil ? 1 : keepFactor
      use.forEachRun { images, path in
        let first = images.lowerBound * outputTokens * width
        let rows = images.count * outputTokens
        if path == 0 { return (rounded.halves + first).update(repeating: 0, count: rows * width) }
        ck_keep_to_bf16(
          rounded.halves + first, width, dBias, dY + first, width, keep.map { $0 + first }, width,
          rows, width, factor * path)
      }
      return rounded
    }
    let isWhole = keep == nil && use.factors == nil
    let gradient = isWhole ? dY : room
    if !isWhole { branchGradient(use, dY, keep: keep, into: room) }
    ck_column_sums(dBias, gradient, rows, width, width, accumulate ? 1 : 0)
    return Rows(gradient, stride: width)
  }

  /// hidden = keep · gelu(norm2 x · W1ᵀ + b1), and its slope.
  private func expand(
    rows: Int, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>,
    keep: UnsafePointer<UInt8>?, factor: Float
  ) {
    let y = hidden.rows(stride: mlpWidth)
    let slopes = slope.rows(stride: mlpWidth)
    let isFinished = Matmul.finishes(y)
    Linear.forward(
      rows: rows, inputs: width, outputs: mlpWidth, x: norm2.rows, weight: weight, y: y,
      finish: isFinished
        ? ck_finish(
          kind: Int32(CK_FINISH_GELU), bias: bias, keep: keep, factor: factor,
          slope: slopes.memory, sums: nil) : nil)
    if !isFinished { ck_bias_gelu(y.base, slopes.base, bias, keep, rows, mlpWidth, factor) }
  }

  /// The gradient before GELU [B·Q, M] from dY [B·Q, D], and that of b1.
  private func expandBackward(
    rows: Int, dY: Rows, weight: UnsafePointer<Float>,
    dBias: UnsafeMutablePointer<Float>, accumulate: Bool
  ) -> Rows {
    let slopes = slope.rows(stride: mlpWidth)
    let dHidden = dHidden.rows(stride: mlpWidth)
    let isFinished = Matmul.finishes(dHidden)
    if isFinished && !accumulate { dBias.update(repeating: 0, count: mlpWidth) }
    Linear.backwardInput(
      rows: rows, inputs: mlpWidth, outputs: width, dY: dY, weight: weight, dX: dHidden,
      finish: isFinished
        ? ck_finish(
          kind: Int32(CK_FINISH_SLOPE), bias: nil, keep: nil, factor: 1, slope: slopes.memory,
          sums: dBias) : nil)
    if !isFinished {
      ck_multiply_and_sum(dHidden.base, slopes.base, dBias, rows, mlpWidth, accumulate ? 1 : 0)
    }
    return dHidden
  }

  /// Mask of dropout [B·Q, M], in scratch.
  private func fillKeepHidden(_ pass: LayerPass) -> UnsafePointer<UInt8> {
    let mask = UnsafeMutableRawPointer(keepHidden.base).assumingMemoryBound(to: UInt8.self)
    let perImage = outputTokens * mlpWidth
    for image in 0..<pass.images {
      pass.randomness(.hiddenDropout, image: image)
        .fillKeepMask(mask + image * perImage, count: perImage, dropping: dropout)
    }
    return UnsafePointer(mask)
  }
}
