// Which kernels make a matrix product.
#include <pthread.h>

#include "include/cpu.h"
#include "product.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int unit;

static int find_unit(void) {
#if defined(__linux__) && defined(__x86_64__)
  if (ck_cpu_level() < CK_LEVEL_AVX512 || !__builtin_cpu_supports("avx512bf16"))
    return CK_UNIT_PORTABLE;
  // The kernel keeps the tiles' registers only for processes that ask: ARCH_REQ_XCOMP_PERM, XTILEDATA.
  if (__builtin_cpu_supports("amx-bf16") && syscall(SYS_arch_prctl, 0x1023, 18) == 0)
    return CK_UNIT_TILE;
  return CK_UNIT_VECTOR;
#else
  return CK_UNIT_PORTABLE;
#endif
}

static void begin(void) { unit = find_unit(); }

int ck_product_unit(void) {
  pthread_once(&once, begin);
  return unit;
}

static _Thread_local int mixed_precision;

void ck_set_mixed_precision(int on) { mixed_precision = on; }

int ck_mixed_precision(void) { return mixed_precision; }

static product asked(int rounds, size_t m, size_t n, size_t k, float alpha, ck_matrix a,
                     ck_matrix b, float beta, ck_matrix c, const ck_finish *finish) {
  static const ck_finish store = {.kind = CK_FINISH_STORE};
  if (!finish || finish->kind == CK_FINISH_STORE) finish = c.is_bf16 ? &store : NULL;
  return (product){rounds, m, n, k, alpha, a, b, beta, c, finish};
}

static void make_by_lanes(int level, const product *p) {
#if defined(__x86_64__)
  if (level == CK_LEVEL_AVX512) return lanes_product_avx512(p);
  if (level == CK_LEVEL_AVX2) return lanes_product_avx2(p);
#endif
  (void)level;
  lanes_product_base(p);
}

void ck_float_product(int level, int rounds, size_t m, size_t n, size_t k, float alpha,
                      ck_matrix a, ck_matrix b, float beta, ck_matrix c,
                      const ck_finish *finish) {
  product p = asked(rounds, m, n, k, alpha, a, b, beta, c, finish);
  make_by_lanes(level, &p);
}

void ck_product(int wanted, int terms, size_t m, size_t n, size_t k, float alpha, ck_matrix a,
                ck_matrix b, float beta, ck_matrix c, const ck_finish *finish) {
  product p = asked(terms == 1, m, n, k, alpha, a, b, beta, c, finish);
#if defined(__x86_64__)
  int best = wanted < ck_product_unit() ? wanted : ck_product_unit();
  // An empty sum may have to be finished, too.
  if (best == CK_UNIT_TILE && k > 0) return amx_product(&p, terms);
  if (best == CK_UNIT_VECTOR && terms == 1) return lanes_product_bf16(&p);
#else
  (void)wanted;
#endif
  make_by_lanes(ck_cpu_level(), &p);
}
