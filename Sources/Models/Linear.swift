// Linear maps on rows: y = x · Wᵀ, with W [outputs, inputs] as PyTorch stores it.
import CKernels
import Tensors

public enum Linear {
  /// y [rows, outputs] = x [rows, inputs] · Wᵀ.
  @inline(__always)
  public static func forward(
    rows: Int, inputs: Int, outputs: Int, x: Rows, weight: UnsafePointer<Float>, y: Rows,
    beta: Float = 0, keepsOrder: Bool = false, finish: ck_finish? = nil
  ) {
    Matmul.multiply(
      rows: rows, columns: outputs, inner: inputs, a: x, b: Rows(weight, stride: inputs),
      transposeB: true, beta: beta, c: y, keepsOrder: keepsOrder, finish: finish)
  }

  /// y [rows, outputs] = x [rows, inputs] · Wᵀ + b, where there is a bias.
  static func forward(
    rows: Int, inputs: Int, outputs: Int, x: Rows, weight: UnsafePointer<Float>,
    bias: UnsafePointer<Float>?, y: Rows
  ) {
    let isFinished = bias != nil && Matmul.finishes(y)
    forward(
      rows: rows, inputs: inputs, outputs: outputs, x: x, weight: weight, y: y,
      finish: isFinished
        ? ck_finish(
          kind: Int32(CK_FINISH_BIAS), bias: bias, keep: nil, factor: 1, slope: nil, sums: nil)
        : nil)
    if let bias, !isFinished { ck_add_bias(y.base, bias, rows, outputs, y.stride) }
  }

  /// Some of the maps to q, k and v, whose weights [width, inputs] follow each other in memory as their
  /// outputs do in y.
  ///
  /// - Parameters:
  ///   - parts: which ones, of 0..<3; `weight` and `y` begin with the first of them.
  ///   - keepsOrder: q and k are searched for neighbours.
  static func project(
    rows: Int, inputs: Int, width: Int, parts: Range<Int>, x: Rows, weight: UnsafePointer<Float>,
    y: Rows, keepsOrder: Bool
  ) {
    for run in keepsOrder ? runs(of: parts) : [parts] {
      let skipped = (run.lowerBound - parts.lowerBound) * width
      forward(
        rows: rows, inputs: inputs, outputs: run.count * width, x: x,
        weight: weight + skipped * inputs, y: y.columns(from: skipped),
        keepsOrder: keepsOrder && run.upperBound <= 2)
    }
  }

  /// Those of `parts`, of the maps to q, k and v, that one product makes where q and k are searched: in mixed
  /// precision v has fewer bits.
  static func runs(of parts: Range<Int>) -> [Range<Int>] {
    guard Matmul.precision == .mixed else { return [parts] }
    return [parts.clamped(to: 0..<2), parts.clamped(to: 2..<3)].filter { !$0.isEmpty }
  }

  /// dX [rows, inputs] = dY [rows, outputs] · W (+ β · dX).
  @inline(__always)
  public static func backwardInput(
    rows: Int, inputs: Int, outputs: Int, dY: Rows, weight: UnsafePointer<Float>, dX: Rows,
    beta: Float = 0, finish: ck_finish? = nil
  ) {
    Matmul.multiply(
      rows: rows, columns: inputs, inner: outputs, a: dY,
      b: Rows(weight, stride: inputs), beta: beta, c: dX, finish: finish)
  }

  /// db [outputs] = Σ dY over rows (+ db).
  static func backwardBias(
    rows: Int, outputs: Int, dY: Rows, dBias: UnsafeMutablePointer<Float>, accumulate: Bool
  ) {
    let adds: Int32 = accumulate ? 1 : 0
    switch dY.element {
    case .float: ck_column_sums(dBias, dY.base, rows, outputs, dY.stride, adds)
    case .bfloat16: ck_column_sums_bf16(dBias, dY.halves, rows, outputs, dY.stride, adds)
    }
  }

  /// dW [outputs, inputs] = dYᵀ · X (+ β · dW).
  @inline(__always)
  public static func backwardWeight(
    rows: Int, inputs: Int, outputs: Int, dY: Rows, x: Rows, dWeight: UnsafeMutablePointer<Float>,
    beta: Float
  ) {
    Matmul.multiply(
      rows: outputs, columns: inputs, inner: rows, a: dY, transposeA: true, b: x, beta: beta,
      c: Rows(dWeight, stride: inputs))
  }
}
