// Matrix products from bfloat16 products, on AMX tiles or AVX512-BF16; elsewhere of floats.
//
// Both operands are packed into tiles of 1 KB, from float or bfloat16 in either orientation: a block of B
// once, then 32 rows of A at a time, whose parts of C, 32 x 32, are summed over the whole depth of the
// block in registers. Packing costs (m + n) k, the product m n k.
#include "include/product_kernels.h"

#include <pthread.h>
#include <string.h>

#include "include/cpu.h"
#include "product_memory.h"
#include "product_tiles.h"
#include "product_weights.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum {
  /// Numbers of a block of B, which stays in the second-level cache: 1 MB.
  BLOCK = 1 << 19,
  BLOCK_COLUMNS = 768,
  /// Depth of a block times terms. A bfloat16 C, which cannot hold sums, needs its whole depth at once.
  BLOCK_DEPTH = 3072,
};

typedef struct {
  uint16_t a[PANEL_ROWS * CK_DEEPEST_FINISHED];
  uint16_t b[BLOCK];
} packed_operands;
_Static_assert(PANEL_ROWS * CK_DEEPEST_FINISHED <= BLOCK, "the deepest block has columns");
_Static_assert(BLOCK_DEPTH <= CK_DEEPEST_FINISHED, "a block's rows of A have room");

static const product_code *product_code_of(size_t unit) {
#if defined(__x86_64__)
  return unit == CK_UNIT_TILE ? &product_code_tile : &product_code_vector;
#else
  __builtin_trap();
#endif
}

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

/// What ck_product was asked for, and with what it is made.
typedef struct {
  const product_code *code;
  packed_operands *packed;
  int terms;
  size_t m, n, k;
  float alpha;
  ck_matrix a, b, c;
  const ck_finish *finish;
} product;

/// Whether rows of A are a unit's tiles as they lie: one term, which is all of a bfloat16 number.
static int is_in_place(const product *p, size_t k0, size_t depth) {
  uintptr_t first = (uintptr_t)part(p->a, 0, k0).base;
  return p->code->reads_in_place && p->terms <= 2 && p->alpha == 1 && p->a.is_bf16 &&
         !p->a.transposed && depth % TILE_DEPTH == 0 && p->a.stride % TILE_DEPTH == 0 &&
         first % CACHE_LINE == 0;
}

/// A part of op(B): `columns` from n0 on, `depth` deep from k0 on.
typedef struct {
  size_t n0, columns, k0, depth;
} block_of_b;

static block_of_b block_at(const product *p, size_t n0, size_t k0) {
  size_t deepest = p->c.is_bf16 ? CK_DEEPEST_FINISHED : BLOCK_DEPTH / (size_t)p->terms;
  size_t depth = smaller(p->k - k0, deepest);
  size_t panels = BLOCK / ((size_t)p->terms * steps_of(depth) * TILE_SIZE);
  size_t most = smaller(panels * TILE_ROWS, BLOCK_COLUMNS);
  return (block_of_b){n0, smaller(p->n - n0, most), k0, depth};
}

/// The block to the right, or the first one further down; of no depth behind the last.
static block_of_b block_after(const product *p, block_of_b b) {
  size_t n0 = b.n0 + b.columns, k0 = b.k0;
  if (n0 == p->n) n0 = 0, k0 += b.depth;
  return k0 < p->k ? block_at(p, n0, k0) : (block_of_b){0};
}

#define EACH_BLOCK(p, b) \
  for (block_of_b b = (p)->n > 0 && (p)->k > 0 ? block_at(p, 0, 0) : (block_of_b){0}; b.depth > 0; \
       b = block_after(p, b))

/// Numbers that `columns` of B, `depth` deep, take when they are packed.
static size_t packed_size(size_t columns, size_t depth, int terms) {
  return (columns + TILE_ROWS - 1) / TILE_ROWS * steps_of(depth) * (size_t)terms * TILE_SIZE;
}

static void pack_block(const product *p, block_of_b b, uint16_t *tiles) {
  p->code->pack(tiles, transpose(part(p->b, b.k0, b.n0)), b.columns, b.depth, 1, p->terms, 1);
}

/// All blocks, one behind the other.
static void pack_blocks(void *tiles, const void *context) {
  const product *p = context;
  uint16_t *next = tiles;
  EACH_BLOCK(p, b) {
    pack_block(p, b, next);
    next += packed_size(b.columns, b.depth, p->terms);
  }
}

/// C's part that a block of B makes, finished if the block is the deepest; plus what C holds if `add`.
static void make_block(const product *p, block_of_b b, const uint16_t *tiles, int add) {
  int in_place = is_in_place(p, b.k0, b.depth);
  for (size_t m0 = 0; m0 < p->m; m0 += PANEL_ROWS) {
    size_t rows = smaller(p->m - m0, PANEL_ROWS), next = m0 + rows;
    ck_matrix a = part(p->a, m0, b.k0);
    if (!in_place) p->code->pack(p->packed->a, a, rows, b.depth, p->alpha, p->terms, 0);
    void *c = (void *)part(p->c, m0, b.n0).base;
    product_part sums = {in_place ? a.base : p->packed->a, tiles, rows, b.columns, b.depth,
                         c, p->c.stride, in_place ? a.stride : 0};
    finished_part finished = {c, p->c.stride, p->c.is_bf16, m0, b.n0, p->n, p->finish};
    fetch_list ahead = {
        .parts[2] = runs_of(p->a, next, b.k0, smaller(p->m - next, PANEL_ROWS), b.depth)};
    int finishes = p->finish && b.k0 + b.depth == p->k;
    p->code->multiply(&sums, p->terms, add, finishes ? &finished : NULL, &ahead);
  }
}

void ck_product(int wanted, int terms, size_t m, size_t n, size_t k, float alpha, ck_matrix a,
                ck_matrix b, float beta, ck_matrix c, const ck_finish *finish) {
  int best = (int)smaller((size_t)wanted, (size_t)ck_product_unit());
  if (best == CK_UNIT_PORTABLE) {
    ck_float_product(ck_cpu_level(), terms == 1, m, n, k, alpha, a, b, beta, c, finish);
    return;
  }
  // Sums in float are where they belong already.
  static const ck_finish store = {.kind = CK_FINISH_STORE};
  if (!finish || finish->kind == CK_FINISH_STORE) finish = c.is_bf16 ? &store : NULL;
  product p = {product_code_of((size_t)best),
               product_memory(sizeof(packed_operands)),
               terms, m, n, k, alpha, a, b, c, finish};
  if (k == 0 && beta == 0) clear(c, m, n);
  // A bfloat16 C changes the blocks of a deep B.
  int way = 1 + best * 8 + terms * 2 + (c.is_bf16 != 0);
  const uint16_t *kept =
      packed_weight((packed_weight_key){b, n, k, way}, 2 * packed_size(n, k, terms), pack_blocks, &p);
  EACH_BLOCK(&p, block) {
    if (!kept) pack_block(&p, block, p.packed->b);
    make_block(&p, block, kept ? kept : p.packed->b, block.k0 > 0 || beta != 0);
    if (kept) kept += packed_size(block.columns, block.depth, terms);
  }
}
