// Products of floats: which kernels make them.
#include "include/cpu.h"
#include "product_float.h"

void ck_float_product(int level, int rounds, size_t m, size_t n, size_t k, float alpha,
                      ck_matrix a, ck_matrix b, float beta, ck_matrix c,
                      const ck_finish *finish) {
  // Sums in float are where they belong already.
  static const ck_finish store = {.kind = CK_FINISH_STORE};
  if (!finish || finish->kind == CK_FINISH_STORE) finish = c.is_bf16 ? &store : NULL;
  float_product product = {rounds, m, n, k, alpha, a, b, beta, c, finish};
#if defined(__x86_64__)
  if (level == CK_LEVEL_AVX512) return float_product_avx512(&product);
  if (level == CK_LEVEL_AVX2) return float_product_avx2(&product);
#endif
  float_product_base(&product);
}
