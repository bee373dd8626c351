// Matrix products whose sums are lanes of vectors, for a file that says for which instruction set: what it
// defines is below.
//
// C is made in tiles of a few rows and columns, which stay in registers over a stretch of the depth. A tile's
// columns of B are packed once and stay in the first-level cache while all rows pass by; A is read where it
// lies, or packed if it is transposed or has to be rounded or widened. Training walks through far more memory
// than caches hold, so each tile asks for what the next ones need.
//
// What a lane multiplies at a time is a word of 32 bits: a float, or two bfloat16 numbers, of one depth and of
// the next.
//
// TARGET         attribute of its functions, also as LANES_TARGET
// TILE_ROWS      of C
// TILE_VECTORS   of 16 columns
// PACKED         words from one depth of packed A to the next, 8 or 16
// FETCH_DEPTHS   after how many words of depth to ask for a line
// HOLD(v)        keeps the compiler from loading ahead of sums; may be empty
// EACH_NUMBER_OF_ROWS(X)   X(1) to X(TILE_ROWS)
// LANES_PRODUCT  name of what it is for
// load_columns, store_columns, store_halves   like load_floats, store_floats, store_bf16
// transpose_lines   of 16 lanes16
// WORD_DEPTHS    numbers of a word: 1 if not defined, otherwise with
//   ADD_WORDS(sum, x, y)   sum += x * y
//   load_along, load_across   see product_lanes_packing.h
#include "product.h"
#include "product_finish.h"
#include "product_lanes_packing.h"
#include "product_lanes_tile.h"
#include "product_memory.h"
#include "product_weights.h"

enum {
  /// Words of a stretch: its columns of B take at most 32 KB.
  DEPTH = 256,
  /// Of rows of A that pass by: half a megabyte when packed, of the second-level cache.
  BLOCK_PANELS = (1 << 19) / (4 * DEPTH * PACKED),
  /// Words of A that are packed all at once, a quarter of a megabyte; more are packed while tiles are made.
  PACKED_FIRST = 1 << 16,
};

HELPER size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/// Where part `index` of `parts` about equal ones of n begins.
HELPER size_t begin(size_t n, size_t parts, size_t index) { return n * index / parts; }

HELPER size_t parts_of(size_t n, size_t most) { return (n + most - 1) / most; }

/// Where sums of a tile of C are finished, and what it leaves in C.
TARGET static void finish_tile(const float *sums, size_t stride, size_t rows, size_t columns,
                               size_t row, size_t column, const product *p) {
  void *c = (void *)at(&p->c, row, column);
#define FINISH(KIND, IS_BF16)                                                                      \
  for (size_t h = 0; h < columns; h += 16)                                                         \
  finish_rows(sums + h, stride, rows, columns - h, row, column + h, p->n, c, h, p->c.stride,       \
              p->finish, KIND, IS_BF16)
  switch (p->finish->kind * 2 + (p->c.is_bf16 != 0)) {
    case CK_FINISH_GELU * 2: FINISH(CK_FINISH_GELU, 0); break;
    case CK_FINISH_GELU * 2 + 1: FINISH(CK_FINISH_GELU, 1); break;
    case CK_FINISH_SLOPE * 2: FINISH(CK_FINISH_SLOPE, 0); break;
    case CK_FINISH_SLOPE * 2 + 1: FINISH(CK_FINISH_SLOPE, 1); break;
    default: __builtin_trap();
  }
#undef FINISH
}

/// op(B) [k, n], which is packed in stretches of the depth.
typedef struct {
  operand b;
  size_t n, k, stretches;
} right_side;

/// Stretches are of whole words, but for the end.
HELPER size_t stretch_begin(const right_side *r, size_t s) {
  return smaller(WORD_DEPTHS * begin(words_of(r->k), r->stretches, s), r->k);
}

/// Words that a tile's columns take of one depth of all columns, when they are packed one behind the other.
HELPER size_t packed_width(size_t n) { return parts_of(n, TILE_COLUMNS) * TILE_COLUMNS; }

/// All columns of the first stretch, tile by tile, then those of the next one.
static void pack_all(void *out, const void *context) {
  const right_side *r = context;
  float *next = out;
  for (size_t s = 0; s < r->stretches; s++) {
    size_t d0 = stretch_begin(r, s), depth = stretch_begin(r, s + 1) - d0;
    for (size_t j = 0; j < r->n; j += TILE_COLUMNS, next += words_of(depth) * TILE_COLUMNS)
      pack_b(next, &r->b, d0, j, depth, smaller(r->n - j, TILE_COLUMNS));
  }
}

/// The parts in which a product is made.
typedef struct {
  const product *p;
  operand a;
  right_side right;
  /// Rows of A that pass by at a time, and the part of `memory` in which they are packed.
  size_t blocks;
  float *packed_a, *packed_b;
  /// Whether rows of A are read where they lie, and whether those of a transposed A are packed all at once.
  int in_place, packs_first;
  /// Packed weights; NULL where the product packs for itself.
  const float *kept;
} plan;

/// Rows i to `end` of C, of which `t` knows what is the same for all rows: columns `j` on, the sum over
/// depths d0 on. `following` rows come next.
TARGET HELPER void make_panel(const plan *q, tile t, const float *right, size_t i, size_t end,
                              size_t following, size_t j, size_t d0, size_t depth, float *packed,
                              fetch_list *ahead, int is_last) {
  const product *p = q->p;
  size_t rows = end - i;
  int finishes = is_last && p->finish && p->finish->kind != CK_FINISH_STORE;
  float sums[TILE_ROWS * TILE_COLUMNS] __attribute__((aligned(64)));
  // A bfloat16 C gets what is finished.
  if (p->c.is_bf16 && finishes) {
    t.c = sums;
    t.stride = TILE_COLUMNS;
  } else {
    t.c = (void *)at(&p->c, i, j);
    t.is_bf16 = p->c.is_bf16;
  }
  ahead->now = 0;
  ahead->parts[0] = runs_of(&p->c, end, j, following, t.columns);
  if (finishes && p->finish->slope) {
    ck_matrix slope = {p->finish->slope, p->n, 0, p->c.is_bf16};
    ahead->parts[1] = runs_of(&slope, end, j, following, t.columns);
  } else {
    ahead->parts[1] = (fetch_part){0};
  }
  int is_first = j == 0 && !q->packs_first;
  ahead->parts[2] = is_first ? runs_of(&p->a, end, d0, following, depth) : (fetch_part){0};
  if (is_first && p->a.transposed) pack_transposed(packed, &q->a, &i, 1, p->m, d0, depth);
  if (is_first && !p->a.transposed && !q->in_place) pack_rows(packed, &q->a, i, d0, rows, depth);
  const word *left = q->in_place ? at(&p->a, i, d0) : packed;
  size_t row_step = q->in_place ? p->a.stride / WORD_DEPTHS : row_size(depth);
  tile_maker *make = makers[rows - 1][parts_of(t.columns, 16) - 1][!!p->a.transposed];
  make(left, row_step, right, words_of(depth), &t, ahead);
  if (finishes) finish_tile(t.c, t.stride, rows, t.columns, i, j, p);
}

TARGET static void make_product(const plan *q) {
  const product *p = q->p;
  for (size_t block = 0; block < q->blocks; block++) {
    size_t i0 = begin(p->m, q->blocks, block), rows = begin(p->m, q->blocks, block + 1) - i0;
    size_t panels = parts_of(rows, TILE_ROWS), begins[BLOCK_PANELS + 1];
    for (size_t l = 0; l <= panels; l++) begins[l] = i0 + begin(rows, panels, l);
    const float *kept = q->kept;
    for (size_t s = 0; s < q->right.stretches; s++) {
      size_t d0 = stretch_begin(&q->right, s), depth = stretch_begin(&q->right, s + 1) - d0;
      size_t words = words_of(depth);
      int is_last = s + 1 == q->right.stretches;
      if (q->packs_first) pack_transposed(q->packed_a, &q->a, begins, panels, p->m, d0, depth);
      for (size_t j = 0; j < p->n; j += TILE_COLUMNS) {
        size_t columns = smaller(p->n - j, TILE_COLUMNS);
        size_t coming = smaller(p->n - j - columns, TILE_COLUMNS);
        tile t = {.stride = p->c.stride,
                  .columns = columns,
                  .alpha = q->a.rounds ? 1 : p->alpha,
                  .beta = s == 0 ? p->beta : 1};
        fetch_list ahead = {.parts[3] = runs_of(&p->b, d0, j + columns, depth, coming)};
        if (kept)
          ahead.parts[3] =
              runs(kept + words * TILE_COLUMNS, 0, coming > 0, 4 * TILE_COLUMNS * words);
        else
          pack_b(q->packed_b, &q->right.b, d0, j, depth, columns);
        for (size_t l = 0; l < panels; l++) {
          size_t following = l + 1 < panels ? begins[l + 2] - begins[l + 1] : 0;
          make_panel(q, t, kept ? kept : q->packed_b, begins[l], begins[l + 1], following, j, d0, depth,
                     q->packed_a + l * panel_size(words), &ahead, is_last);
        }
        if (kept) kept += words * TILE_COLUMNS;
      }
    }
  }
}

/// Kept weights differ by the width of tiles, by what a word is and by whether numbers are rounded.
enum { WAY = -2 * TILE_COLUMNS * WORD_DEPTHS };

/// Whether rows of A are words as they lie.
HELPER int is_in_place(const product *p) {
  if (p->a.transposed) return 0;
  if (WORD_DEPTHS == 1) return !p->a.is_bf16 && !p->rounds;
  return p->a.is_bf16 && p->alpha == 1 && p->k % WORD_DEPTHS == 0 && p->a.stride % WORD_DEPTHS == 0;
}

void LANES_PRODUCT(const product *p) {
  // Rounded operands are summed in one go, because a bfloat16 C cannot hold sums. An empty sum is a stretch
  // too.
  size_t stretches = p->k == 0 ? 1 : parts_of(p->k, p->rounds ? CK_DEEPEST_FINISHED : DEPTH);
  size_t words = parts_of(words_of(p->k), stretches);
  size_t panels = BLOCK_PANELS * panel_size(DEPTH) / panel_size(words < DEPTH ? DEPTH : words);
  if (panels == 0) panels = 1;
  size_t b_size = TILE_COLUMNS * (words + 16);
  float *memory = product_memory(4 * (b_size + panels * panel_size(words)));
  plan q = {.p = p,
            .a = {p->a, p->alpha, p->rounds},
            .right = {{p->b, 1, p->rounds}, p->n, p->k, stretches},
            .blocks = parts_of(p->m, panels * TILE_ROWS),
            .packed_b = memory,
            .packed_a = memory + b_size,
            .in_place = is_in_place(p)};
  q.packs_first =
      p->a.transposed && parts_of(p->m, TILE_ROWS) * panel_size(words) <= PACKED_FIRST;
  // Packing writes up to 15 words too many.
  q.kept = packed_weight((packed_weight_key){p->b, p->n, p->k, WAY - p->rounds},
                         4 * (packed_width(p->n) * words_of(p->k) + 16 * TILE_COLUMNS), pack_all,
                         &q.right);
  make_product(&q);
}
