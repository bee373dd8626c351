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

  /// As `ck_product`, or `ck_float_product`.
  typealias Product = (
    Int32, Int32, Int, Int, Int, Float, ck_matrix, ck_matrix, Float, ck_matrix,
    UnsafePointer<ck_finish>?
  ) -> Void

  /// What makes the products of a unit.
  static func product(_ unit: Int32) -> Product {
    #if arch(x86_64)
      if unit > ck_product_unit() { return emulated_product }
    #endif
    return ck_product
  }

  /// What makes the products of floats of a level.
  static func floatProduct(_ level: Int32) -> Product {
    #if arch(x86_64)
      if level > ck_cpu_level() { return emulated_float_product }
    #endif
    return ck_float_product
  }
}
