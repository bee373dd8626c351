// Layer normalisation at one place of a block, and what its backward pass reads.
import CKernels
import Tensors

/// y = γ · (x - mean) / √(variance + ε) + β over rows of width D.
///
/// In single precision y is kept, and so is x by the caller. In mixed precision x is kept here, rounded, and
/// y passes through one slab of all layers: the backward pass makes it again, which costs little beside the
/// memory it would take.
final class LayerNorm {
  private let width: Int
  private let epsilon: Float
  private let output: ActivationSlab
  private let kept: ActivationSlab?
  private let mean: FloatSlab
  private let rstd: FloatSlab

  /// - Parameters:
  ///   - count: most rows; `most`: of any norm with this scratch.
  init(width: Int, count: Int, most: Int, epsilon: Float, scratch: Scratch) {
    self.width = width
    self.epsilon = epsilon
    let keeps = scratch.element == .bfloat16
    output =
      keeps ? scratch.passing(count: most * width) : scratch.activations(count: count * width)
    kept = keeps ? scratch.activations(count: count * width) : nil
    mean = FloatSlab(count: count)
    rstd = FloatSlab(count: count)
  }

  /// y, until another norm computes where y is not kept.
  var rows: Rows { output.rows(stride: width) }

  /// - Parameter parameters: γ, then β.
  func forward(_ x: UnsafePointer<Float>, parameters: UnsafePointer<Float>, rows count: Int) {
    if let kept {
      ck_layernorm_bf16(
        rows.halves, kept.rows(stride: width).halves, mean.base, rstd.base, x, parameters,
        parameters + width, count, width, epsilon)
    } else {
      ck_layernorm(
        rows.base, mean.base, rstd.base, x, parameters, parameters + width, count, width, width,
        width, epsilon)
    }
  }

  /// Makes y again where it was not kept.
  func restore(parameters: UnsafePointer<Float>, rows count: Int) {
    guard let kept else { return }
    ck_normalize_bf16(
      rows.halves, kept.rows(stride: width).halves, mean.base, rstd.base, parameters,
      parameters + width, count, width)
  }

  /// Adds the gradients of γ and β to `gradients`.
  ///
  /// - Parameters:
  ///   - x: what `forward` was given, where it is not kept here.
  ///   - dX: overwritten, or added to with `adds`.
  func backward(
    _ x: UnsafePointer<Float>?, dY: UnsafePointer<Float>, parameters: UnsafePointer<Float>,
    gradients: UnsafeMutablePointer<Float>, dX: UnsafeMutablePointer<Float>, rows count: Int,
    adds: Bool
  ) {
    if let kept {
      ck_layernorm_bf16_backward(
        dX, gradients, gradients + width, dY, kept.rows(stride: width).halves, mean.base, rstd.base,
        parameters, count, width, adds ? 1 : 0)
    } else {
      ck_layernorm_backward(
        dX, gradients, gradients + width, dY, x!, mean.base, rstd.base, parameters, count, width,
        width, width, width, adds ? 1 : 0)
    }
  }
}
