// One block: x += drop(attention(norm1 x)); x += drop(W2 · drop(gelu(W1 · norm2 x + b1)) + b2).
import CKernels
import Tensors

// B images, T tokens, Q tokens whose output is wanted (T, or 1 in the last block), D width, M MLP width.

/// The arithmetic and the activations of a block. Which block it is comes with each call, so that with
/// recomputed activations one object serves all blocks but the last.
final class EncoderBlock {
  private let width: Int
  private let mlpWidth: Int
  private let tokens: Int
  private let dropout: Float
  /// Tokens per image that leave this block, and those that attention is asked for.
  let outputTokens: Int
  private let attendedTokens: Int
  let attention: any AttentionLayer

  private let norm1: LayerNorm
  private let norm2: LayerNorm
  /// x after attention [B·Q, D]; in mixed precision it passes through the scratch.
  private let middle: FloatSlab?
  private let hidden: ActivationSlab  // [B·Q, M], after GELU and dropout
  private let slope: ActivationSlab  // [B·Q, M], what the backward pass multiplies by
  private let keepAttention: UnsafeMutablePointer<UInt8>  // [B·Q, D]
  private let keepMLP: UnsafeMutablePointer<UInt8>  // [B·Q, D]
  // Of a forward pass; the mask in bytes, before its place takes what the MLP returns.
  private let returned: ScratchRegion  // by attention [B·Q', D], then by the MLP [B·Q, D]
  private let keepHidden: ScratchRegion  // [B·Q, M]
  private let passing: ScratchRegion  // x after attention where it passes [B·Q, D]
  // Of a backward pass.
  private let masked: ScratchRegion  // gradient of what a layer returned, after dropout [B·Q, D]
  private let spread: ScratchRegion  // the same among rows of zeros [B·T, D]
  private let dHidden: ScratchRegion  // [B·Q, M]
  private let dNormalized: ScratchRegion  // [B·T, D]
  /// Measured time of the attention layer outside of matrix products.
  private(set) var attentionSeconds = 0.0

  /// - Parameter isLast: only the class token leaves the block.
  init(
    _ c: ModelConfiguration, isLast: Bool, capacity: Int, attention: any AttentionLayer,
    scratch: Scratch
  ) {
    self.attention = attention
    width = c.width
    mlpWidth = c.mlpWidth
    tokens = c.tokens
    dropout = c.dropout
    outputTokens = isLast ? 1 : c.tokens
    attendedTokens = attention.needsAllTokens ? c.tokens : outputTokens
    let all = capacity * tokens
    let wanted = capacity * outputTokens
    norm1 = LayerNorm(width: width, count: all, most: all, scratch: scratch)
    norm2 = LayerNorm(width: width, count: wanted, most: all, scratch: scratch)
    middle = scratch.element == .float ? FloatSlab(count: wanted * width) : nil
    hidden = scratch.activations(count: wanted * mlpWidth)
    slope = scratch.activations(count: wanted * mlpWidth)
    let drops = c.dropout > 0
    keepAttention = .allocate(capacity: drops ? wanted * width : 0)
    keepMLP = .allocate(capacity: drops ? wanted * width : 0)

    var backward = scratch.layout(.block)
    var (forward, mask) = (backward, backward)
    returned = forward.floats(capacity * attendedTokens * width)
    let bytesPerFloat = MemoryLayout<Float>.size
    keepHidden = mask.floats((wanted * mlpWidth + bytesPerFloat - 1) / bytesPerFloat)
    forward.skip(past: mask)
    forward.beginLine()
    passing = forward.floats(middle == nil ? wanted * width : 0)
    masked = backward.floats(wanted * width)
    dNormalized = backward.floats(all * width)
    spread = backward.floats(attendedTokens == outputTokens ? 0 : all * width)
    dHidden = backward.activations(wanted * mlpWidth)
  }

  deinit {
    keepAttention.deallocate()
    keepMLP.deallocate()
  }

  /// - Parameters:
  ///   - pass: base pointers of the whole parameter slab; `pass.block` is the block's number.
  ///   - offsets: where the block's parameters lie.
  ///   - x: [B·T, D], in single precision kept by the caller until `backward`; else `y` [B·Q, D] may be
  ///     the same memory.
  func forward(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, x: UnsafeMutablePointer<Float>,
    y: UnsafeMutablePointer<Float>
  ) {
    let parameters = pass.parameters
    let images = pass.images
    let wanted = images * outputTokens
    norm1.forward(x, parameters: parameters + offsets.norm1, rows: images * tokens)

    let returned = returned.base
    var attentionPass = pass.part(offset: offsets.attention)
    attentionPass.outputTokens = attendedTokens
    let clock = StretchClock()
    attention.forward(
      attentionPass, input: norm1.rows, output: Rows(returned, stride: width))
    attentionSeconds += clock.elapsed().other

    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    if drops { fillKeep(keepAttention, attentionPass, .residualDropout, images: images) }
    let middle = middle?.base ?? passing.base
    // Where only the class token is wanted, the rows of x lie T apart.
    ck_residual(
      middle, x, returned, nil, drops ? keepAttention : nil, wanted, width, width,
      outputTokens == tokens ? width : tokens * width,
      attendedTokens == outputTokens ? width : attendedTokens * width, factor)

    norm2.forward(middle, parameters: parameters + offsets.norm2, rows: wanted)
    let keepHidden = UnsafeMutableRawPointer(keepHidden.base).assumingMemoryBound(to: UInt8.self)
    let perImage = outputTokens * mlpWidth
    if drops {
      for image in 0..<images {
        attentionPass.randomness(.hiddenDropout, image: image)
          .fillKeepMask(keepHidden + image * perImage, count: perImage, dropping: dropout)
      }
    }
    expand(
      rows: wanted, weight: parameters + offsets.mlp0Weight, bias: parameters + offsets.mlp0Bias,
      keep: drops ? keepHidden : nil, factor: factor)
    Linear.forward(
      rows: wanted, inputs: mlpWidth, outputs: width, x: hidden.rows(stride: mlpWidth),
      weight: parameters + offsets.mlp3Weight, y: Rows(returned, stride: width))
    if drops { fillKeep(keepMLP, attentionPass, .outputDropout, images: images) }
    ck_residual(
      y, middle, returned, parameters + offsets.mlp3Bias, drops ? keepMLP : nil, wanted, width,
      width, width, width, factor)
  }

  /// dY [B·Q, D] (scratch afterwards) to dX [B·T, D]; for a block that keeps all tokens both may be the
  /// same memory.
  func backward(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, x: UnsafeMutablePointer<Float>,
    dY: UnsafeMutablePointer<Float>, dX: UnsafeMutablePointer<Float>
  ) {
    let parameters = pass.parameters
    let gradients = pass.gradients!
    let beta = pass.gradientBeta
    let images = pass.images
    let wanted = images * outputTokens
    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    let (masked, dNormalized) = (masked.base, dNormalized.base)
    if !pass.accumulate {
      (gradients + offsets.norm1).update(repeating: 0, count: 2 * width)
      (gradients + offsets.norm2).update(repeating: 0, count: 2 * width)
    }

    let dOutput = outputGradient(
      dY, rows: wanted, keep: drops ? keepMLP : nil, factor: factor,
      dBias: gradients + offsets.mlp3Bias, accumulate: pass.accumulate)
    Linear.backwardWeight(
      rows: wanted, inputs: mlpWidth, outputs: width, dY: dOutput,
      x: hidden.rows(stride: mlpWidth), dWeight: gradients + offsets.mlp3Weight, beta: beta)
    let dHidden = expandBackward(
      rows: wanted, dY: dOutput, weight: parameters + offsets.mlp3Weight,
      dBias: gradients + offsets.mlp0Bias, accumulate: pass.accumulate)
    norm2.restore(parameters: parameters + offsets.norm2, rows: wanted)
    Linear.backwardWeight(
      rows: wanted, inputs: width, outputs: mlpWidth, dY: dHidden,
      x: norm2.rows, dWeight: gradients + offsets.mlp0Weight, beta: beta)
    Linear.backwardInput(
      rows: wanted, inputs: width, outputs: mlpWidth, dY: dHidden,
      weight: parameters + offsets.mlp0Weight, dX: Rows(dNormalized, stride: width))
    norm2.backward(
      middle?.base, dY: dNormalized, parameters: parameters + offsets.norm2,
      gradients: gradients + offsets.norm2, dX: dY, rows: wanted, adds: true)

    var dAttended = dY
    if drops {
      ck_apply_keep(masked, width, dY, width, keepAttention, width, wanted, width, factor)
      dAttended = masked
    } else {
      // The attention layer may use its dOutput as scratch, and dY is still needed.
      masked.update(from: dY, count: wanted * width)
      dAttended = masked
    }
    if attendedTokens != outputTokens {
      let spread = spread.base
      spread.update(repeating: 0, count: images * tokens * width)
      for image in 0..<images {
        (spread + image * tokens * width).update(from: dAttended + image * width, count: width)
      }
      dAttended = spread
    }
    var attentionPass = pass.part(offset: offsets.attention)
    attentionPass.outputTokens = attendedTokens
    norm1.restore(parameters: parameters + offsets.norm1, rows: images * tokens)
    let clock = StretchClock()
    attention.backward(
      attentionPass, input: norm1.rows, dOutput: Rows(dAttended, stride: width),
      dInput: Rows(dNormalized, stride: width))
    attentionSeconds += clock.elapsed().other

    let sameRows = outputTokens == tokens
    if sameRows && dX != dY { dX.update(from: dY, count: wanted * width) }
    norm1.backward(
      x, dY: dNormalized, parameters: parameters + offsets.norm1,
      gradients: gradients + offsets.norm1, dX: dX, rows: images * tokens, adds: sameRows)
    if !sameRows {
      ck_residual(
        dX, dX, dY, nil, nil, images, width, tokens * width, tokens * width, width, 1)
    }
  }

  /// The gradient of the MLP's output before dropout [B·Q, D], rounded if activations are, and that of b2.
  private func outputGradient(
    _ dY: UnsafeMutablePointer<Float>, rows: Int, keep: UnsafePointer<UInt8>?, factor: Float,
    dBias: UnsafeMutablePointer<Float>, accumulate: Bool
  ) -> Rows {
    let room = masked.base
    if hidden.element == .bfloat16 {
      let rounded = Rows(room, stride: width, element: .bfloat16)
      if !accumulate { dBias.update(repeating: 0, count: width) }
      ck_keep_to_bf16(
        rounded.halves, width, dBias, dY, width, keep, width, rows, width, factor)
      return rounded
    }
    let gradient = keep == nil ? dY : room
    if let keep {
      ck_apply_keep(gradient, width, dY, width, keep, width, rows, width, factor)
    }
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
    let isFinished = Matmul.finishes
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
    let isFinished = Matmul.finishes
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

  private func fillKeep(
    _ mask: UnsafeMutablePointer<UInt8>, _ pass: LayerPass, _ purpose: RandomPurpose, images: Int
  ) {
    let perImage = outputTokens * width
    for image in 0..<images {
      pass.randomness(purpose, image: image, part: 255)
        .fillKeepMask(mask + image * perImage, count: perImage, dropping: dropout)
    }
  }
}
