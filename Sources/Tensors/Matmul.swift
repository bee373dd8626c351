// Matrix products: who makes them, and the only caller of BLAS.
import CKernels
import COpenBLAS

/// Products of row-major matrices, single-threaded (our threads run whole shards side by side, so a
/// fork and join inside a product would only cost).
public enum Matmul {
  /// C = α · op(A) · op(B) + β · C, row-major, in the precision of the calling thread.
  ///
  /// - Parameters:
  ///   - rows: m, rows of C [m, n]; `columns`: n; `inner`: k.
  ///   - a: op(A) is [m, k]: A itself, or, when `transposeA`, A is [k, m].
  ///   - b: op(B) is [k, n], likewise.
  ///   - beta: 0 overwrites C (whatever it held, NaN included), 1 adds to it.
  ///   - c: floats; in mixed precision with β = 0 also bfloat16.
  ///   - keepsOrder: in mixed precision, multiply 16 bits of each number instead of 8: for scores whose
  ///     order decides something.
  ///   - finish: what becomes of each element before it is stored; where `finishes` says so.
  @inline(__always)
  public static func multiply(
    rows m: Int, columns n: Int, inner k: Int, alpha: Float = 1,
    a: Rows, transposeA: Bool = false, b: Rows, transposeB: Bool = false,
    beta: Float = 0, c: Rows, keepsOrder: Bool = false, finish: ck_finish? = nil
  ) {
    let start = ProductMeter.isOn ? ck_nanoseconds() : 0
    let isMixed = ck_mixed_precision() != 0
    func matrix(_ rows: Rows, transposed: Bool = false) -> ck_matrix {
      ck_matrix(
        base: rows.memory, stride: rows.stride, transposed: transposed ? 1 : 0,
        is_bf16: rows.element == .bfloat16 ? 1 : 0)
    }
    func withFinish(_ body: (UnsafePointer<ck_finish>?) -> Void) {
      if let finish { withUnsafePointer(to: finish) { body($0) } } else { body(nil) }
    }
    if isMixed || singleProducts == .split && SingleProducts.splits(columns: n, inner: k) {
      withFinish {
        ck_product(
          unit.code, isMixed ? keepsOrder ? 2 : 1 : 3, m, n, k, alpha,
          matrix(a, transposed: transposeA), matrix(b, transposed: transposeB), beta, matrix(c), $0)
      }
    } else if singleProducts != .blas {
      withFinish {
        ck_float_product(
          VectorLevel.best.rawValue, 0, m, n, k, alpha, matrix(a, transposed: transposeA),
          matrix(b, transposed: transposeB), beta, matrix(c), $0)
      }
    } else {
      cblas_sgemm(
        CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans,
        transposeB ? CblasTrans : CblasNoTrans,
        Int32(truncatingIfNeeded: m), Int32(truncatingIfNeeded: n), Int32(truncatingIfNeeded: k),
        alpha, a.base, Int32(truncatingIfNeeded: a.stride), b.base,
        Int32(truncatingIfNeeded: b.stride), beta, c.base, Int32(truncatingIfNeeded: c.stride))
    }
    if start > 0 {
      ck_add_product_time(ck_nanoseconds() - start)
      ProductMeter.note(
        MatrixProduct(
          rows: m, columns: n, inner: k, a: MatrixProduct.Operand(a), b: MatrixProduct.Operand(b),
          c: MatrixProduct.Operand(c), transposeA: transposeA, transposeB: transposeB, beta: beta,
          precision: isMixed ? .mixed : .single, keepsOrder: keepsOrder))
    }
  }

  /// The same of floats, with the strides of their rows.
  @inline(__always)
  public static func multiply(
    rows m: Int, columns n: Int, inner k: Int, alpha: Float = 1,
    a: UnsafePointer<Float>, aStride: Int, transposeA: Bool = false,
    b: UnsafePointer<Float>, bStride: Int, transposeB: Bool = false,
    beta: Float = 0, c: UnsafeMutablePointer<Float>, cStride: Int
  ) {
    multiply(
      rows: m, columns: n, inner: k, alpha: alpha, a: Rows(a, stride: aStride),
      transposeA: transposeA, b: Rows(b, stride: bStride), transposeB: transposeB, beta: beta,
      c: Rows(c, stride: cStride))
  }

  /// Runs `body`, whose products on this thread are in `precision`.
  @inline(__always)
  public static func with<Result>(_ precision: Precision, _ body: () throws -> Result) rethrows
    -> Result
  {
    let before = ck_mixed_precision()
    ck_set_mixed_precision(precision == .mixed ? 1 : 0)
    defer { ck_set_mixed_precision(before) }
    return try body()
  }

  /// Of products of the calling thread.
  public static var precision: Precision { ck_mixed_precision() != 0 ? .mixed : .single }

  /// Whether the calling thread's products with β = 0 can finish elements on their way to `c`: in mixed
  /// precision those of a bfloat16 C, in single precision those of our own kernels.
  public static func finishes(_ c: Rows) -> Bool {
    ck_mixed_precision() != 0 ? c.element == .bfloat16 : singleProducts != .blas
  }

  /// Who makes products in single precision; set while no thread computes.
  nonisolated(unsafe) public static var singleProducts = SingleProducts.best()

  /// What makes products of bfloat16 numbers, at most the best there is; set likewise.
  nonisolated(unsafe) public static var unit = ProductUnit.best

  /// Who makes products of this precision, and with what, in words.
  public static func description(_ precision: Precision) -> String {
    switch (precision, singleProducts) {
    case (.mixed, _):
      return unit == .portable
        ? "bfloat16 numbers by \(VectorLevel.best) kernels for floats"
        : "bfloat16 by \(unit.rawValue)"
    case (.single, .split): return "float in three parts by \(unit.rawValue)"
    case (.single, .native): return "float by \(VectorLevel.best) kernels of its own"
    case (.single, .blas): return "float by OpenBLAS \(coreName)"
    }
  }

  /// What decides the last bits of products: as `description`, but AVX2 and AVX-512 give the same.
  public static func arithmetic(_ precision: Precision) -> String {
    switch (precision, singleProducts) {
    case (.mixed, _) where unit == .portable: return "bfloat16 numbers by kernels for floats"
    case (.single, .native): return "float by kernels of its own"
    default: return description(precision)
    }
  }

  /// Switches BLAS to one thread; call once at start.
  public static func useOneThread() { openblas_set_num_threads(1) }

  /// The kernels that BLAS chose when it was loaded, for example "Zen" or "SkylakeX".
  public static var coreName: String { String(cString: openblas_get_corename()) }
}
