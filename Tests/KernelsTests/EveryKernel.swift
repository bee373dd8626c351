// Matrix products by the kernels of every CPU: those that this one lacks are emulated.
import CKernels
import EmulatedKernels

/// Units and levels of all CPUs, where there is AVX2 to emulate them by; else those of this one.
enum EveryKernel {
  static let emulates: Bool = {
    #if arch(x86_64)
      ck_cpu_level() >= Int32(CK_LEVEL_AVX2)
    #else
      false
    #endif
  }()
  static let units = 0...(emulates ? Int32(CK_UNIT_TILE) : ck_product_unit())
  static let levels = 0...(emulates ? Int32(CK_LEVEL_AVX512) : ck_cpu_level())

  /// As `ck_product`.
  static func product(
    _ unit: Int32, _ terms: Int32, _ m: Int, _ n: Int, _ k: Int, _ alpha: Float, _ a: ck_matrix,
    _ b: ck_matrix, _ beta: Float, _ c: ck_matrix, _ finish: UnsafePointer<ck_finish>?
  ) {
    #if arch(x86_64)
      if unit > ck_product_unit() {
        return emulated_product(unit, terms, m, n, k, alpha, a, b, beta, c, finish)
      }
    #endif
    ck_product(unit, terms, m, n, k, alpha, a, b, beta, c, finish)
  }

  /// As `ck_float_product`.
  static func floatProduct(
    _ level: Int32, _ rounds: Int32, _ m: Int, _ n: Int, _ k: Int, _ alpha: Float, _ a: ck_matrix,
    _ b: ck_matrix, _ beta: Float, _ c: ck_matrix, _ finish: UnsafePointer<ck_finish>?
  ) {
    #if arch(x86_64)
      if level > ck_cpu_level() {
        return emulated_float_product(level, rounds, m, n, k, alpha, a, b, beta, c, finish)
      }
    #endif
    ck_float_product(level, rounds, m, n, k, alpha, a, b, beta, c, finish)
  }
}
