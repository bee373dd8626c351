// One block: x += path(drop(attention(norm1 x))); x += path(drop(W2 · drop(gelu(W1 · norm2 x + b1)) + b2)).
import CKernels
import Tensors

// B images, T tokens, Q tokens whose output is wanted (T, or 1 in the last block), D width, M MLP width.

/// The arithmetic and the activations of a block. Which block it is comes with each call, so that with
/// recomputed activations one object serves all blocks but the last.
final class EncoderBlock {
  let width: Int
  let mlpWidth: Int
  let tokens: Int
  let dropout: Float
  let dropPath: DropPath
  /// Tokens per image that leave this block, and those that attention is asked for.
  let outputTokens: Int
  let attendedTokens: Int
  let attention: any AttentionLayer

  let norm1: LayerNorm
  let norm2: LayerNorm
  /// x after attention [B·Q, D]; in mixed precision it passes through the scratch.
  let middle: FloatSlab?
  let hidden: ActivationSlab  // [B·Q, M], after GELU and dropout
  let slope: ActivationSlab  // [B·Q, M], what the backward pass multiplies by
  let keepAttention: UnsafeMutablePointer<UInt8>  // [B·Q, D]
  let keepMLP: UnsafeMutablePointer<UInt8>  // [B·Q, D]
  // Of a forward pass; the mask in bytes, before its place takes what the MLP returns.
  let returned: ScratchRegion  // by attention [B·Q', D], then by the MLP [B·Q, D]
  let keepHidden: ScratchRegion  // [B·Q, M]
  private let passing: ScratchRegion  // x after attention where it passes [B·Q, D]
  // Of a backward pass.
  let masked: ScratchRegion  // gradient of what a layer returned, after dropout [B·Q, D]
  let spread: ScratchRegion  // the same among rows of zeros [B·T, D]
  let dHidden: ScratchRegion  // [B·Q, M]
  let dNormalized: ScratchRegion  // [B·T, D]
  /// Measured time of the attention layer outside of matrix products.
  var attentionSeconds = 0.0

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
    dropPath = DropPath(probability: c.dropPath, blocks: c.numLayers)
    outputTokens = isLast ? 1 : c.tokens
    attendedTokens = attention.needsAllTokens ? c.tokens : outputTokens
    let all = capacity * tokens
    let wanted = capacity * outputTokens
    let epsilon = c.architecture.normEpsilon
    norm1 = LayerNorm(width: width, count: all, most: all, epsilon: epsilon, scratch: scratch)
    norm2 = LayerNorm(width: width, count: wanted, most: all, epsilon: epsilon, scratch: scratch)
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

  /// Of what dropout keeps.
  var keepFactor: Float { 1 / (1 - dropout) }

  func drops(_ pass: LayerPass) -> Bool { pass.training && dropout > 0 }

  /// - Parameters:
  ///   - pass: base pointers of the whole parameter slab; `pass.block` is the block's number.
  ///   - offsets: where the block's parameters lie.
  ///   - x: [B·T, D], in single precision kept by the caller until `backward`; else `y` [B·Q, D] may be
  ///     the same memory.
  func forward(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, x: UnsafeMutablePointer<Float>,
    y: UnsafeMutablePointer<Float>
  ) {
    let middle = middle?.base ?? passing.base
    forwardAttention(pass, offsets, x: x, y: middle)
    forwardMLP(pass, offsets, x: middle, y: y)
  }

  /// dY [B·Q, D] (scratch afterwards) to dX [B·T, D]; for a block that keeps all tokens both may be the
  /// same memory.
  func backward(
    _ pass: LayerPass, _ offsets: ParameterLayout.BlockOffsets, x: UnsafePointer<Float>,
    dY: UnsafeMutablePointer<Float>, dX: UnsafeMutablePointer<Float>
  ) {
    backwardMLP(pass, offsets, dY: dY)
    backwardAttention(pass, offsets, x: x, dY: dY, dX: dX)
  }

  /// y = base + (what a branch returned + bias) · keep, where images take it.
  ///
  /// - Parameters:
  ///   - base, branch: B·Q rows, by their strides.
  ///   - keep: a mask of dropout [B·Q, D].
  ///   - y: [B·Q, D]; may be base.
  func addBranch(
    _ use: BranchUse, base: Rows, branch: Rows, bias: UnsafePointer<Float>?,
    keep: UnsafePointer<UInt8>?, y: UnsafeMutablePointer<Float>
  ) {
    let factor = keep == nil ? 1 : keepFactor
    use.forEachRun { images, path in
      let first = images.lowerBound * outputTokens
      let rows = images.count * outputTokens
      let target = y + first * width
      if path == 0 {
        for row in 0..<rows where base.row(first + row) != target + row * width {
          (target + row * width).update(from: base.row(first + row), count: width)
        }
        return
      }
      ck_residual(
        target, base.row(first), branch.row(first), bias, keep.map { $0 + first * width }, rows,
        width, width, base.stride, branch.stride, factor * path)
    }
  }

  /// The gradient of what a branch returned [B·Q, D] = dY · keep, 0 where images leave it out.
  func branchGradient(
    _ use: BranchUse, _ dY: UnsafePointer<Float>, keep: UnsafePointer<UInt8>?,
    into gradient: UnsafeMutablePointer<Float>
  ) {
    let factor = keep == nil ? 1 : keepFactor
    use.forEachRun { images, path in
      let first = images.lowerBound * outputTokens * width
      let rows = images.count * outputTokens
      if path == 0 { return (gradient + first).update(repeating: 0, count: rows * width) }
      ck_apply_keep(
        gradient + first, width, dY + first, width, keep.map { $0 + first }, width, rows, width,
        factor * path)
    }
  }

  /// Mask of dropout [B·Q, D].
  func fillKeep(
    _ mask: UnsafeMutablePointer<UInt8>, _ pass: LayerPass, _ purpose: RandomPurpose
  ) {
    let perImage = outputTokens * width
    for image in 0..<pass.images {
      pass.randomness(purpose, image: image, part: 255)
        .fillKeepMask(mask + image * perImage, count: perImage, dropping: dropout)
    }
  }
}
