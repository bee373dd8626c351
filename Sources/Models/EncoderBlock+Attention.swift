// The attention branch of a block: x += path(drop(attention(norm1 x))).
import CKernels
import Tensors

// B images, T tokens, Q tokens whose output is wanted, D width.

extension EncoderBlock {
  /// - Parameters:
  ///   - x: [B·T, D].
  ///   - y: [B·Q, D].
  func forwardAttention(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, x: UnsafeMutablePointer<Float>,
    y: UnsafeMutablePointer<Float>
  ) {
    let use = dropPath.draw(pass, .attention)
    let drops = drops(pass)
    let returned = returned.base
    if use.isTaken {
      norm1.forward(x, parameters: pass.parameters + offsets.norm1, rows: pass.images * tokens)
      let clock = StretchClock()
      attention.forward(
        attentionPass(pass, offsets), input: norm1.rows, output: Rows(returned, stride: width))
      attentionSeconds += clock.elapsed().other
      if drops { fillKeep(keepAttention, pass, .residualDropout) }
    }
    // Where only the class token is wanted, the rows of x lie T apart.
    addBranch(
      use, base: Rows(x, stride: outputTokens == tokens ? width : tokens * width),
      branch: Rows(
        returned, stride: attendedTokens == outputTokens ? width : attendedTokens * width),
      bias: nil, keep: drops ? keepAttention : nil, y: y)
  }

  /// dY [B·Q, D], the gradient of what `forwardAttention` made, to dX [B·T, D].
  func backwardAttention(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, x: UnsafePointer<Float>,
    dY: UnsafeMutablePointer<Float>, dX: UnsafeMutablePointer<Float>
  ) {
    let parameters = pass.parameters
    let gradients = pass.gradients!
    let images = pass.images
    let use = dropPath.draw(pass, .attention)
    let sameRows = outputTokens == tokens
    if sameRows && dX != dY { dX.update(from: dY, count: images * tokens * width) }
    if use.isTaken {
      if !pass.accumulate { (gradients + offsets.norm1).update(repeating: 0, count: 2 * width) }
      let dNormalized = dNormalized.base
      norm1.restore(parameters: parameters + offsets.norm1, rows: images * tokens)
      let dAttended = attendedGradient(pass, use, dY)
      let clock = StretchClock()
      attention.backward(
        attentionPass(pass, offsets), input: norm1.rows, dOutput: Rows(dAttended, stride: width),
        dInput: Rows(dNormalized, stride: width))
      attentionSeconds += clock.elapsed().other
      norm1.backward(
        x, dY: dNormalized, parameters: parameters + offsets.norm1,
        gradients: gradients + offsets.norm1, dX: dX, rows: images * tokens, adds: sameRows)
    } else {
      if !pass.accumulate { gradients.zero(offsets.attended) }
      if !sameRows { dX.update(repeating: 0, count: images * tokens * width) }
    }
    if !sameRows {
      ck_residual(
        dX, dX, dY, nil, nil, images, width, tokens * width, tokens * width, width, 1)
    }
  }

  private func attentionPass(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets
  ) -> LayerPass {
    var part = pass.part(offset: offsets.attention)
    part.outputTokens = attendedTokens
    return part
  }

  /// The gradient of what the attention layer returned, in memory that it may use as scratch.
  private func attendedGradient(
    _ pass: LayerPass, _ use: BranchUse, _ dY: UnsafePointer<Float>
  ) -> UnsafeMutablePointer<Float> {
    let masked = masked.base
    branchGradient(use, dY, keep: drops(pass) ? keepAttention : nil, into: masked)
    guard attendedTokens != outputTokens else { return masked }
    let spread = spread.base
    spread.update(repeating: 0, count: pass.images * tokens * width)
    for image in 0..<pass.images {
      (spread + image * tokens * width).update(from: masked + image * width, count: width)
    }
    return spread
  }
}
