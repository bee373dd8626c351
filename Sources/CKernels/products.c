// Matrix products from bfloat16 products, on AMX tiles, AVX512-BF16 or any vector unit.
//
// Both operands are packed into tiles of 1 KB, from float or bfloat16 in either orientation: a block of B
// once, then 32 rows of A at a time, whose parts of C, 32 x 32, are summed over the whole depth of the
// block in registers. Packing costs (m + n) k, the product m n k.
#include "include/product_kernels.h"

#include <pthread.h>
#include <string.h>

#include "product_memory.h"
#include "product_tiles.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

// A block of B, of one term, stays in the second-level cache: at most 768 columns, 512 deep. A product that is
// finished on its way out needs its whole depth at once, and gets so many times fewer columns: of a tile at
// least, which limits the depth.
enum { BLOCK_COLUMNS = 768, BLOCK_DEPTH = 512 };
_Static_assert(BLOCK_COLUMNS / TILE_ROWS * BLOCK_DEPTH >= CK_DEEPEST_FINISHED, "the header's limit");

typedef struct {
  uint16_t a[PANEL_ROWS * CK_DEEPEST_FINISHED];
  uint16_t b[BLOCK_COLUMNS * BLOCK_DEPTH * 3];
} packed_operands;
_Static_assert(3 * BLOCK_DEPTH <= CK_DEEPEST_FINISHED, "three terms fit where one does");

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

/// Where `rows` rows of op(A), `depth` deep, lie.
static fetch_part runs_of(ck_matrix a, size_t row, size_t column, size_t rows, size_t depth) {
  size_t size = a.is_bf16 ? 2 : 4;
  return runs(part(a, row, column).base, size * a.stride, a.transposed ? depth : rows,
              size * (a.transposed ? rows : depth));
}

void ck_product(int wanted, int terms, size_t m, size_t n, size_t k, float alpha, ck_matrix a,
                ck_matrix b, float beta, ck_matrix c, const ck_finish *finish) {
  const product_code *code = product_code_of(smaller((size_t)wanted, (size_t)ck_product_unit()));
  packed_operands *packed = product_memory(sizeof(packed_operands));
  const ck_finish store = {.kind = CK_FINISH_STORE};
  if (k == 0 && beta == 0) clear(c, m, n);
  size_t deep = c.is_bf16 && k > BLOCK_DEPTH ? (k + BLOCK_DEPTH - 1) / BLOCK_DEPTH : 1;
  size_t block_depth = deep * BLOCK_DEPTH;
  size_t block_columns = BLOCK_COLUMNS / deep / TILE_ROWS * TILE_ROWS;
  for (size_t k0 = 0; k0 < k; k0 += block_depth) {
    size_t depth = smaller(k - k0, block_depth);
    for (size_t n0 = 0; n0 < n; n0 += block_columns) {
      product_part p = {packed->a, packed->b, 0, smaller(n - n0, block_columns), depth, NULL,
                        c.stride};
      code->pack(packed->b, transpose(part(b, k0, n0)), p.columns, depth, 1, terms, 1);
      for (size_t m0 = 0; m0 < m; m0 += PANEL_ROWS) {
        p.rows = smaller(m - m0, PANEL_ROWS);
        p.c = (void *)part(c, m0, n0).base;
        code->pack(packed->a, part(a, m0, k0), p.rows, depth, alpha, terms, 0);
        size_t next = m0 + p.rows;
        fetch_list ahead = {.parts[2] = runs_of(a, next, k0, smaller(m - next, PANEL_ROWS), depth)};
        if (c.is_bf16)
          code->multiply_and_finish(&p, &(finished_part){m0, n0, n, finish ? finish : &store},
                                    &ahead);
        else
          code->multiply(&p, terms, k0 > 0 || beta != 0, &ahead);
      }
    }
  }
}
