// Matrix products from bfloat16 products, on AMX tiles, AVX512-BF16 or any vector unit.
//
// Both operands are packed into tiles of 1 KB, once per block, from float or bfloat16 in either
// orientation; then every 32 x 32 part of C is summed over the whole depth of the block in registers.
// Packing costs (m + n) k, the product m n k.
#include "include/product_kernels.h"

#include <pthread.h>
#include <string.h>

#include "product_memory.h"
#include "product_tiles.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

// A block of operands, of one term, stays in the second-level cache: A at most 512 rows, B at most 768
// columns, 512 deep. A product that is finished on its way out needs its whole depth at once, and gets
// so many times fewer rows and columns: of a tile at least, which limits the depth.
enum { BLOCK_M = 512, BLOCK_N = 768, BLOCK_K = 512 };
_Static_assert(BLOCK_M / TILE_ROWS * BLOCK_K == CK_DEEPEST_FINISHED, "the limit in the header");

typedef struct {
  uint16_t a[BLOCK_M * BLOCK_K * 3];
  uint16_t b[BLOCK_N * BLOCK_K * 3];
} packed_blocks;

static const product_code *product_code_of(size_t wanted) {
#if defined(__x86_64__)
  if (wanted == CK_UNIT_TILE) return &product_code_tile;
  if (wanted == CK_UNIT_VECTOR) return &product_code_vector;
#endif
  return &product_code_portable;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int unit;

static int find_unit(void) {
#if defined(__linux__) && defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
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

static _Thread_local int mixed_precision;

void ck_set_mixed_precision(int on) { mixed_precision = on; }

int ck_mixed_precision(void) { return mixed_precision; }

int ck_product_unit(void) {
  pthread_once(&once, begin);
  return unit;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/// Row `row`, column `column` of op(A) on.
static ck_matrix part(ck_matrix a, size_t row, size_t column) {
  size_t skip = a.transposed ? column * a.stride + row : row * a.stride + column;
  a.base = (const char *)a.base + skip * (a.is_bf16 ? 2 : 4);
  return a;
}

/// B's columns are packed as rows of its transpose, but paired by depth.
static ck_matrix transpose(ck_matrix b) {
  b.transposed = !b.transposed;
  return b;
}

static void clear(ck_matrix c, size_t m, size_t n) {
  for (size_t i = 0; i < m; i++)
    memset((char *)part(c, i, 0).base, 0, n * (c.is_bf16 ? 2 : 4));
}

void ck_product(int wanted, int terms, size_t m, size_t n, size_t k, float alpha, ck_matrix a,
                ck_matrix b, float beta, ck_matrix c, const ck_finish *finish) {
  const product_code *code = product_code_of(smaller((size_t)wanted, (size_t)ck_product_unit()));
  packed_blocks *blocks = product_memory(sizeof(packed_blocks));
  const ck_finish store = {.kind = CK_FINISH_STORE};
  if (!finish) finish = &store;
  if (k == 0 && beta == 0) clear(c, m, n);
  size_t deep = c.is_bf16 && k > BLOCK_K ? (k + BLOCK_K - 1) / BLOCK_K : 1;
  size_t block_k = deep * BLOCK_K;
  size_t block_m = BLOCK_M / deep / TILE_ROWS * TILE_ROWS;
  size_t block_n = BLOCK_N / deep / TILE_ROWS * TILE_ROWS;
  for (size_t k0 = 0; k0 < k; k0 += block_k) {
    size_t depth = smaller(k - k0, block_k);
    for (size_t n0 = 0; n0 < n; n0 += block_n) {
      size_t columns = smaller(n - n0, block_n);
      code->pack(blocks->b, transpose(part(b, k0, n0)), columns, depth, 1, terms, 1);
      for (size_t m0 = 0; m0 < m; m0 += block_m) {
        size_t rows = smaller(m - m0, block_m);
        if (n0 == 0 || m > block_m)
          code->pack(blocks->a, part(a, m0, k0), rows, depth, alpha, terms, 0);
        void *target = (void *)part(c, m0, n0).base;
        if (c.is_bf16)
          code->multiply_and_finish(blocks->a, blocks->b, rows, columns, depth, target, c.stride, n,
                                    m0, n0, finish);
        else
          code->multiply(blocks->a, blocks->b, rows, columns, depth, terms, k0 > 0 || beta != 0,
                         target, c.stride);
      }
    }
  }
}
