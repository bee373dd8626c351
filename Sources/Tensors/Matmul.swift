// Matrix products: the only caller of BLAS.
import CKernels
import COpenBLAS

/// Single-precision matrix products on row-major matrices, single-threaded (our threads run whole
/// shards side by side, so a fork and join inside a product would only cost).
public enum Matmul {
  /// C = α · op(A) · op(B) + β · C, row-major.
  ///
  /// - Parameters:
  ///   - rows: m, rows of C [m, n]; `columns`: n; `inner`: k.
  ///   - a: op(A) is [m, k]: A itself with row stride `aStride`, or, when `transposeA`, A is [k, m].
  ///   - b: op(B) is [k, n], likewise.
  ///   - beta: 0 overwrites C (whatever it held, NaN included), 1 adds to it.
  @inline(__always)
  public static func multiply(
    rows m: Int, columns n: Int, inner k: Int, alpha: Float = 1,
    a: UnsafePointer<Float>, aStride: Int, transposeA: Bool = false,
    b: UnsafePointer<Float>, bStride: Int, transposeB: Bool = false,
    beta: Float = 0, c: UnsafeMutablePointer<Float>, cStride: Int
  ) {
    let start = ProductMeter.isOn ? ck_nanoseconds() : 0
    cblas_sgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
      Int32(truncatingIfNeeded: m), Int32(truncatingIfNeeded: n), Int32(truncatingIfNeeded: k),
      alpha, a, Int32(truncatingIfNeeded: aStride), b, Int32(truncatingIfNeeded: bStride),
      beta, c, Int32(truncatingIfNeeded: cStride))
    if start > 0 {
      ck_add_product_time(ck_nanoseconds() - start)
      ProductMeter.note(
        MatrixProduct(
          rows: m, columns: n, inner: k, aStride: aStride, bStride: bStride, cStride: cStride,
          transposeA: transposeA, transposeB: transposeB, beta: beta))
    }
  }

  /// Switches BLAS to one thread; call once at start.
  public static func useOneThread() { openblas_set_num_threads(1) }

  /// The kernels that BLAS chose when it was loaded, for example "Zen" or "SkylakeX".
  public static var coreName: String { String(cString: openblas_get_corename()) }
}
