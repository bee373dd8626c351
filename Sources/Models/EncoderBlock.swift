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
  /// Tokens per image that leave this block.
  let outputTokens: Int
  let attention: any AttentionLayer

  /// In mixed precision both norms pass through one slab of all blocks, and the backward pass makes them
  /// again: they cost little beside the memory they would take.
  private let keepsNorms: Bool
  private let normalized1: ActivationSlab  // [B·T, D]
  private let mean1: FloatSlab
  private let rstd1: FloatSlab
  private let middle: FloatSlab  // [B·Q, D]
  private let normalized2: ActivationSlab  // [B·Q, D]
  private let mean2: FloatSlab
  private let rstd2: FloatSlab
  private let hidden: ActivationSlab  // [B·Q, M], after GELU and dropout
  private let slope: ActivationSlab  // [B·Q, M], what the backward pass multiplies by
  private let keepAttention: UnsafeMutablePointer<UInt8>  // [B·Q, D]
  private let keepMLP: UnsafeMutablePointer<UInt8>  // [B·Q, D]
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
    let all = capacity * tokens
    let wanted = capacity * outputTokens
    keepsNorms = scratch.element == .float
    let passing = keepsNorms ? nil : scratch.passing(count: all * width)
    normalized1 = passing ?? scratch.activations(count: all * width)
    mean1 = FloatSlab(count: all)
    rstd1 = FloatSlab(count: all)
    middle = FloatSlab(count: wanted * width)
    normalized2 = passing ?? scratch.activations(count: wanted * width)
    mean2 = FloatSlab(count: wanted)
    rstd2 = FloatSlab(count: wanted)
    hidden = scratch.activations(count: wanted * mlpWidth)
    slope = scratch.activations(count: wanted * mlpWidth)
    let drops = c.dropout > 0
    keepAttention = .allocate(capacity: drops ? wanted * width : 0)
    keepMLP = .allocate(capacity: drops ? wanted * width : 0)
  }

  deinit {
    keepAttention.deallocate()
    keepMLP.deallocate()
  }

  /// Floats of scratch that a block of this configuration needs beside its attention layer's.
  static func scratchCount(_ c: ModelConfiguration, capacity: Int) -> Int {
    capacity * c.tokens * (3 * c.width + c.mlpWidth)
  }

  private func attentionTokens() -> Int { attention.needsAllTokens ? tokens : outputTokens }

  /// - Parameters:
  ///   - pass: base pointers of the whole parameter slab; `pass.block` is the block's number.
  ///   - offsets: where the block's parameters lie.
  ///   - x: [B·T, D], kept by the caller until `backward`; `y`: [B·Q, D].
  func forward(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, x: UnsafeMutablePointer<Float>,
    y: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
  ) {
    let parameters = pass.parameters
    let images = pass.images
    let wanted = images * outputTokens
    normalize(
      x, parameters + offsets.norm1, rows: images * tokens, to: normalized1, mean1, rstd1)

    let attended = scratch  // [B·Q', D]
    let attendedTokens = attentionTokens()
    var attentionPass = pass.part(offset: offsets.attention)
    attentionPass.outputTokens = attendedTokens
    let clock = StretchClock()
    attention.forward(
      attentionPass, input: normalized1.rows(stride: width),
      output: Rows(attended, stride: width))
    attentionSeconds += clock.elapsed().other

    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    if drops { fillKeep(keepAttention, attentionPass, .residualDropout, images: images) }
    // Where only the class token is wanted, the rows of x lie T apart.
    ck_residual(
      middle.base, x, attended, nil, drops ? keepAttention : nil, wanted, width, width,
      outputTokens == tokens ? width : tokens * width,
      attendedTokens == outputTokens ? width : attendedTokens * width, factor)

    normalize(
      middle.base, parameters + offsets.norm2, rows: wanted, to: normalized2, mean2, rstd2)
    // [B·Q, M]
    let keepHidden = UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: UInt8.self)
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
    let output = scratch  // [B·Q, D]
    Linear.forward(
      rows: wanted, inputs: mlpWidth, outputs: width, x: hidden.rows(stride: mlpWidth),
      weight: parameters + offsets.mlp3Weight, y: Rows(output, stride: width))
    if drops { fillKeep(keepMLP, attentionPass, .outputDropout, images: images) }
    ck_residual(
      y, middle.base, output, parameters + offsets.mlp3Bias, drops ? keepMLP : nil, wanted, width,
      width, width, width, factor)
  }

  /// dY [B·Q, D] (scratch afterwards) to dX [B·T, D]; for a block that keeps all tokens both may be the
  /// same memory.
  func backward(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, x: UnsafeMutablePointer<Float>,
    dY: UnsafeMutablePointer<Float>, dX: UnsafeMutablePointer<Float>,
    scratch: UnsafeMutablePointer<Float>
  ) {
    let parameters = pass.parameters
    let gradients = pass.gradients!
    let beta = pass.gradientBeta
    let images = pass.images
    let wanted = images * outputTokens
    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    let add: Int32 = pass.accumulate ? 1 : 0
    let masked = scratch  // [B·T, D]
    let dNormalized = masked + images * tokens * width  // [B·T, D]
    let spread = dNormalized + images * tokens * width  // [B·T, D]
    if !pass.accumulate {
      (gradients + offsets.norm1).update(repeating: 0, count: 2 * width)
      (gradients + offsets.norm2).update(repeating: 0, count: 2 * width)
    }

    var dOutput = dY
    if drops {
      ck_apply_keep(masked, dY, keepMLP, wanted * width, factor)
      dOutput = masked
    }
    ck_column_sums(gradients + offsets.mlp3Bias, dOutput, wanted, width, width, add)
    Linear.backwardWeight(
      rows: wanted, inputs: mlpWidth, outputs: width, dY: Rows(dOutput, stride: width),
      x: hidden.rows(stride: mlpWidth), dWeight: gradients + offsets.mlp3Weight, beta: beta)
    let dHidden = expandBackward(
      rows: wanted, dY: dOutput, weight: parameters + offsets.mlp3Weight,
      dBias: gradients + offsets.mlp0Bias, accumulate: pass.accumulate,
      room: spread + images * tokens * width)
    if !keepsNorms {
      normalize(
        middle.base, parameters + offsets.norm2, rows: wanted, to: normalized2, mean2, rstd2)
    }
    Linear.backwardWeight(
      rows: wanted, inputs: width, outputs: mlpWidth, dY: dHidden,
      x: normalized2.rows(stride: width), dWeight: gradients + offsets.mlp0Weight, beta: beta)
    Linear.backwardInput(
      rows: wanted, inputs: width, outputs: mlpWidth, dY: dHidden,
      weight: parameters + offsets.mlp0Weight, dX: Rows(dNormalized, stride: width))
    ck_layernorm_backward(
      dY, gradients + offsets.norm2, gradients + offsets.norm2 + width, dNormalized, middle.base,
      mean2.base, rstd2.base, parameters + offsets.norm2, wanted, width, width, width, width, 1)

    var dAttended = dY
    if drops {
      ck_apply_keep(masked, dY, keepAttention, wanted * width, factor)
      dAttended = masked
    } else {
      // The attention layer may use its dOutput as scratch, and dY is still needed.
      masked.update(from: dY, count: wanted * width)
      dAttended = masked
    }
    let attendedTokens = attentionTokens()
    if attendedTokens != outputTokens {
      spread.update(repeating: 0, count: images * tokens * width)
      for image in 0..<images {
        (spread + image * tokens * width).update(from: dAttended + image * width, count: width)
      }
      dAttended = spread
    }
    var attentionPass = pass.part(offset: offsets.attention)
    attentionPass.outputTokens = attendedTokens
    if !keepsNorms {
      normalize(
        x, parameters + offsets.norm1, rows: images * tokens, to: normalized1, mean1, rstd1)
    }
    let clock = StretchClock()
    attention.backward(
      attentionPass, input: normalized1.rows(stride: width),
      dOutput: Rows(dAttended, stride: width), dInput: Rows(dNormalized, stride: width))
    attentionSeconds += clock.elapsed().other

    let sameRows = outputTokens == tokens
    if sameRows && dX != dY { dX.update(from: dY, count: wanted * width) }
    ck_layernorm_backward(
      dX, gradients + offsets.norm1, gradients + offsets.norm1 + width, dNormalized, x, mean1.base,
      rstd1.base, parameters + offsets.norm1, images * tokens, width, width, width, width,
      sameRows ? 1 : 0)
    if !sameRows {
      ck_residual(
        dX, dX, dY, nil, nil, images, width, tokens * width, tokens * width, width, 1)
    }
  }

  private func normalize(
    _ x: UnsafePointer<Float>, _ norm: UnsafePointer<Float>, rows: Int, to y: ActivationSlab,
    _ mean: FloatSlab, _ rstd: FloatSlab
  ) {
    let target = y.rows(stride: width)
    switch y.element {
    case .float:
      ck_layernorm(
        target.base, mean.base, rstd.base, x, norm, norm + width, rows, width, width, width)
    case .bfloat16:
      ck_layernorm_bf16(
        target.halves, mean.base, rstd.base, x, norm, norm + width, rows, width, width, width)
    }
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
      rows: rows, inputs: width, outputs: mlpWidth, x: normalized2.rows(stride: width),
      weight: weight, y: y,
      finish: isFinished
        ? ck_finish(
          kind: Int32(CK_FINISH_GELU), bias: bias, keep: keep, factor: factor,
          slope: slopes.memory, sums: nil) : nil)
    if !isFinished { ck_bias_gelu(y.base, slopes.base, bias, keep, rows, mlpWidth, factor) }
  }

  /// The gradient before GELU [B·Q, M] from dY [B·Q, D], and that of b1.
  private func expandBackward(
    rows: Int, dY: UnsafeMutablePointer<Float>, weight: UnsafePointer<Float>,
    dBias: UnsafeMutablePointer<Float>, accumulate: Bool, room: UnsafeMutablePointer<Float>
  ) -> Rows {
    let slopes = slope.rows(stride: mlpWidth)
    let dHidden = Rows(room, stride: mlpWidth, element: slopes.element)
    let isFinished = Matmul.finishes
    if isFinished && !accumulate { dBias.update(repeating: 0, count: mlpWidth) }
    Linear.backwardInput(
      rows: rows, inputs: mlpWidth, outputs: width, dY: Rows(dY, stride: width), weight: weight,
      dX: dHidden,
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
