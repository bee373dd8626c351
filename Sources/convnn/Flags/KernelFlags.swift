// The flags of what computes: instructions, and who makes matrix products.
import ArgumentParser

struct KernelFlags: ParsableArguments {
  @Option(
    name: .customLong("cpu_level"),
    help: "Instructions to use at most: auto, avx512, avx2 or base (default: auto).")
  var level: LevelChoice?
  @Option(
    name: .customLong("blas_core"),
    help: "OpenBLAS kernels: auto, env (leave as it is) or a name like SkylakeX (default: auto).")
  var blasCore: String?
  @Option(
    name: .customLong("amp_unit"),
    help: "What makes bfloat16 products: auto, amx, avx512 or portable (default: auto).")
  var unit: UnitChoice?
  @Option(
    name: .customLong("fp32_products"),
    help: """
      Single-precision products: native (AVX2, AVX-512), openblas, split into bfloat16 parts \
      (AMX), or auto: native where the CPU has AVX2 (default: auto).
      """)
  var products: ProductsChoice?
}
