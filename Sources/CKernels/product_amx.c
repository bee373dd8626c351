// Matrix products from bfloat16 products, on AMX tiles.
//
// Both operands are packed into tiles of 1 KB, from float or bfloat16 in either orientation: a block of B
// once, then 32 rows of A at a time, whose parts of C, 32 x 32, are summed over the whole depth of the
// block in registers. Packing costs (m + n) k, the product m n k.
#if defined(__x86_64__)
#include "product_amx.h"

#include "product.h"
#include "product_memory.h"
#include "product_weights.h"

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

/// Where `rows` rows of op(A), `depth` deep, lie.
static fetch_runs runs_of(ck_matrix a, size_t row, size_t column, size_t rows, size_t depth) {
  size_t size = a.is_bf16 ? 2 : 4;
  return runs(part(a, row, column).base, size * a.stride, a.transposed ? depth : rows,
              size * (a.transposed ? rows : depth));
}

/// A product, and with what it is made.
typedef struct {
  const product *asked;
  packed_operands *packed;
  int terms;
} plan;

/// Whether rows of A are tiles as they lie: bfloat16 numbers, which are one term, that begin at cache lines, of
/// whole tiles' depth. One and two terms are packed in order of depth.
static int is_in_place(const plan *q, size_t k0, size_t depth) {
  const product *p = q->asked;
  uintptr_t first = (uintptr_t)part(p->a, 0, k0).base;
  return q->terms <= 2 && p->alpha == 1 && p->a.is_bf16 && !p->a.transposed &&
         depth % TILE_DEPTH == 0 && p->a.stride % TILE_DEPTH == 0 && first % CACHE_LINE == 0;
}

/// A part of op(B): `columns` from n0 on, `depth` deep from k0 on.
typedef struct {
  size_t n0, columns, k0, depth;
} block_of_b;

static block_of_b block_at(const plan *q, size_t n0, size_t k0) {
  const product *p = q->asked;
  size_t deepest = p->c.is_bf16 ? CK_DEEPEST_FINISHED : BLOCK_DEPTH / (size_t)q->terms;
  size_t depth = smaller(p->k - k0, deepest);
  size_t panels = BLOCK / ((size_t)q->terms * steps_of(depth) * TILE_SIZE);
  size_t most = smaller(panels * TILE_ROWS, BLOCK_COLUMNS);
  return (block_of_b){n0, smaller(p->n - n0, most), k0, depth};
}

/// The block to the right, or the first one further down; of no depth behind the last.
static block_of_b block_after(const plan *q, block_of_b b) {
  const product *p = q->asked;
  size_t n0 = b.n0 + b.columns, k0 = b.k0;
  if (n0 == p->n) n0 = 0, k0 += b.depth;
  return k0 < p->k ? block_at(q, n0, k0) : (block_of_b){0};
}

#define EACH_BLOCK(q, b)                                                                            \
  for (block_of_b b = (q)->asked->n > 0 ? block_at(q, 0, 0) : (block_of_b){0}; \
       b.depth > 0; b = block_after(q, b))

/// Numbers that `columns` of B, `depth` deep, take when they are packed.
static size_t packed_size(size_t columns, size_t depth, int terms) {
  return (columns + TILE_ROWS - 1) / TILE_ROWS * steps_of(depth) * (size_t)terms * TILE_SIZE;
}

static void pack_block(const plan *q, block_of_b b, uint16_t *tiles) {
  ck_matrix columns = transpose(part(q->asked->b, b.k0, b.n0));
  amx_pack(tiles, columns, b.columns, b.depth, 1, q->terms, 1);
}

/// All blocks, one behind the other.
static void pack_blocks(void *tiles, const void *context) {
  const plan *q = context;
  uint16_t *next = tiles;
  EACH_BLOCK(q, b) {
    pack_block(q, b, next);
    next += packed_size(b.columns, b.depth, q->terms);
  }
}

/// C's part that a block of B makes, finished if the block is the deepest; plus what C holds if `add`.
static void make_block(const plan *q, block_of_b b, const uint16_t *tiles, int add) {
  const product *p = q->asked;
  int in_place = is_in_place(q, b.k0, b.depth);
  for (size_t m0 = 0; m0 < p->m; m0 += PANEL_ROWS) {
    size_t rows = smaller(p->m - m0, PANEL_ROWS), next = m0 + rows;
    ck_matrix a = part(p->a, m0, b.k0);
    if (!in_place) amx_pack(q->packed->a, a, rows, b.depth, p->alpha, q->terms, 0);
    void *c = (void *)part(p->c, m0, b.n0).base;
    product_part sums = {in_place ? a.base : q->packed->a, tiles, rows, b.columns, b.depth,
                         c, p->c.stride, in_place ? a.stride : 0};
    finished_part finished = {c, p->c.stride, p->c.is_bf16, m0, b.n0, p->n, p->finish};
    fetch_runs next_rows =
        runs_of(p->a, next, b.k0, smaller(p->m - next, PANEL_ROWS), b.depth);
    int finishes = p->finish && b.k0 + b.depth == p->k;
    amx_multiply(&sums, q->terms, add, finishes ? &finished : NULL, next_rows);
  }
}

void amx_product(const product *p, int terms) {
  plan q = {p, product_memory(sizeof(packed_operands)), terms};
  // A bfloat16 C changes the blocks of a deep B.
  int way = 1 + terms * 2 + (p->c.is_bf16 != 0);
  const uint16_t *kept =
      packed_weight((packed_weight_key){p->b, p->n, p->k, way},
                    2 * packed_size(p->n, p->k, terms), pack_blocks, &q);
  EACH_BLOCK(&q, block) {
    if (!kept) pack_block(&q, block, q.packed->b);
    make_block(&q, block, kept ? kept : q.packed->b, block.k0 > 0 || p->beta != 0);
    if (kept) kept += packed_size(block.columns, block.depth, terms);
  }
}

#else
typedef int no_x86;
#endif
