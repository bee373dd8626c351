// Linear maps on rows: y = x · Wᵀ, with W [outputs, inputs] as PyTorch stores it.
import Tensors

public enum Linear {
  /// y [rows, outputs] = x [rows, inputs] · Wᵀ.
  @inline(__always)
  public static func forward(
    rows: Int, inputs: Int, outputs: Int, x: Rows, weight: UnsafePointer<Float>, y: Rows,
    beta: Float = 0
  ) {
    Matmul.multiply(
      rows: rows, columns: outputs, inner: inputs, a: x.base, aStride: x.stride,
      b: weight, bStride: inputs, transposeB: true, beta: beta, c: y.base, cStride: y.stride)
  }

  /// dX [rows, inputs] = dY [rows, outputs] · W (+ β · dX).
  @inline(__always)
  public static func backwardInput(
    rows: Int, inputs: Int, outputs: Int, dY: Rows, weight: UnsafePointer<Float>, dX: Rows,
    beta: Float = 0
  ) {
    Matmul.multiply(
      rows: rows, columns: inputs, inner: outputs, a: dY.base, aStride: dY.stride,
      b: weight, bStride: inputs, beta: beta, c: dX.base, cStride: dX.stride)
  }

  /// dW [outputs, inputs] = dYᵀ · X (+ β · dW).
  @inline(__always)
  public static func backwardWeight(
    rows: Int, inputs: Int, outputs: Int, dY: Rows, x: Rows, dWeight: UnsafeMutablePointer<Float>,
    beta: Float
  ) {
    Matmul.multiply(
      rows: outputs, columns: inputs, inner: rows, a: dY.base, aStride: dY.stride, transposeA: true,
      b: x.base, bStride: x.stride, beta: beta, c: dWeight, cStride: inputs)
  }
}
