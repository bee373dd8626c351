// Products of floats: which kernels make them.
#include "product_float.h"

int ck_float_kernels(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return CK_FLOATS_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CK_FLOATS_AVX2;
#endif
  return CK_FLOATS_BASE;
}

void ck_float_product(int kernels, int rounds, size_t m, size_t n, size_t k, float alpha,
                      ck_matrix a, ck_matrix b, float beta, ck_matrix c,
                      const ck_finish *finish) {
  // Sums in float are where they belong already.
  static const ck_finish store = {.kind = CK_FINISH_STORE};
  if (!finish || finish->kind == CK_FINISH_STORE) finish = c.is_bf16 ? &store : NULL;
  float_product product = {rounds, m, n, k, alpha, a, b, beta, c, finish};
#if defined(__x86_64__)
  if (kernels == CK_FLOATS_AVX512) return float_product_avx512(&product);
  if (kernels == CK_FLOATS_AVX2) return float_product_avx2(&product);
#endif
  float_product_base(&product);
}
