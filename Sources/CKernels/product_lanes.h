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
// FETCHES        lines to ask for in a pass of the loop over depths
// HOLD(v)        keeps the compiler from loading ahead of sums; may be empty
// HOLD_NUMBER(x)   keeps it from spreading a number of A over lanes; may be left out
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
  /// Words of a transposed A that are packed all at once, a quarter of a megabyte; of more of them, panels
  /// are packed while tiles are made, so many that their rows are whole cache lines.
  PACKED_FIRST = 1 << 16,
  GROUP_PANELS = PACKED < 16 ? 8 : 1,
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
    case CK_FINISH_BIAS * 2: FINISH(CK_FINISH_BIAS, 0); break;
    case CK_FINISH_BIAS * 2 + 1: FINISH(CK_FINISH_BIAS, 1); break;
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
  /// Whether rows of A are read where they lie, and of how many panels they are packed together.
  int in_place;
  size_t group;
  /// Packed weights; NULL where the product packs for itself.
  const float *kept;
} plan;

/// Memory that will be wanted soon, and how many of its runs to ask for in the time of a tile.
typedef struct {
  fetch_runs runs;
  size_t share;
} next_memory;

HELPER next_memory divided(fetch_runs runs, size_t tiles) {
  return (next_memory){runs, parts_of(runs.count, tiles)};
}

/// What tiles ask for, in the order in which it will be wanted: the next rows of C, of the slopes that are
/// read or written with it, and of A where it has not been read yet, and the next columns of B.
enum { NEXT_C, NEXT_SLOPE, NEXT_A, NEXT_B, NEXT_PARTS };

/// A strip of C: columns from j on, the sum over `depth` depths from d0 on.
typedef struct {
  size_t j, d0, depth;
  int is_finished;
  /// All that its tiles have in common.
  tile tile;
  /// Packed columns of B.
  const float *right;
  next_memory next[NEXT_PARTS];
} strip;

/// Packs panels `first` to first + count - 1 of a block, which begin at begins[0] to begins[count].
TARGET static void pack_group(const plan *q, const strip *s, const size_t *begins, size_t first,
                              size_t count) {
  float *out = q->packed_a + first * panel_size(words_of(s->depth));
  if (q->a.x.transposed)
    pack_transposed(out, &q->a, begins, count, q->p->m, s->d0, s->depth);
  else
    pack_rows(out, &q->a, begins[0], s->d0, begins[1] - begins[0], s->depth);
}

/// Rows begins[0] to begins[1] - 1 of a strip, of which `packed` are A's.
TARGET HELPER void make_panel(const plan *q, strip *s, const size_t *begins, const float *packed) {
  const product *p = q->p;
  size_t i = begins[0], rows = begins[1] - i, words = words_of(s->depth);
  float sums[TILE_ROWS * TILE_COLUMNS] __attribute__((aligned(64)));
  // A bfloat16 C gets what is finished.
  s->tile.c = p->c.is_bf16 && s->is_finished ? sums : (void *)at(&p->c, i, s->j);
  fetch_list ahead;
  ahead.count = 0;
  ahead.most = smaller(words / FETCH_DEPTHS, FETCHED_MOST);
  for (int n = 0; n < NEXT_PARTS; n++) add_runs(&ahead, &s->next[n].runs, s->next[n].share);
  tile_maker *make = makers[rows - 1][parts_of(s->tile.columns, 16) - 1][!!p->a.transposed];
  if (q->in_place)
    make(at(&p->a, i, s->d0), p->a.stride / WORD_DEPTHS, s->right, words, &s->tile, &ahead);
  else
    make(packed, row_size(s->depth), s->right, words, &s->tile, &ahead);
  if (s->is_finished)
    finish_tile(s->tile.c, s->tile.stride, rows, s->tile.columns, i, s->j, p);
}

/// Rows of a block, in panels that begin at begins[0] to begins[panels].
TARGET HELPER void make_strip(const plan *q, strip *s, const size_t *begins, size_t panels) {
  const product *p = q->p;
  size_t first = begins[1], rows = begins[panels] - first, columns = s->tile.columns;
  s->next[NEXT_C] = divided(runs_of(&p->c, first, s->j, rows, columns), panels);
  s->next[NEXT_SLOPE] = s->next[NEXT_A] = (next_memory){0};
  if (s->is_finished && p->finish->slope) {
    ck_matrix slope = {p->finish->slope, p->n, 0, p->c.is_bf16};
    s->next[NEXT_SLOPE] = divided(runs_of(&slope, first, s->j, rows, columns), panels);
  }
  for (size_t l = 0; l < panels; l++) {
    if (s->j == 0 && l % q->group == 0) {
      size_t end = smaller(l + q->group, panels), next = smaller(end + q->group, panels);
      if (!q->in_place) pack_group(q, s, begins + l, l, end - l);
      s->next[NEXT_A] = divided(
          runs_of(&p->a, begins[end], s->d0, begins[next] - begins[end], s->depth), end - l);
    }
    make_panel(q, s, begins + l, q->packed_a + l * panel_size(words_of(s->depth)));
  }
}

TARGET static void make_product(const plan *q) {
  const product *p = q->p;
  for (size_t block = 0; block < q->blocks; block++) {
    size_t i0 = begin(p->m, q->blocks, block), rows = begin(p->m, q->blocks, block + 1) - i0;
    size_t panels = parts_of(rows, TILE_ROWS), begins[BLOCK_PANELS + 1];
    for (size_t l = 0; l <= panels; l++) begins[l] = i0 + begin(rows, panels, l);
    // The other half makes up for what there was no time for.
    size_t b_tiles = parts_of(panels, 2);
    const float *kept = q->kept;
    for (size_t n = 0; n < q->right.stretches; n++) {
      strip s = {.d0 = stretch_begin(&q->right, n)};
      s.depth = stretch_begin(&q->right, n + 1) - s.d0;
      s.is_finished =
          n + 1 == q->right.stretches && p->finish && p->finish->kind != CK_FINISH_STORE;
      s.tile = (tile){.stride = p->c.stride,
                      .is_bf16 = p->c.is_bf16,
                      .alpha = q->a.rounds ? 1 : p->alpha,
                      .beta = n == 0 ? p->beta : 1};
      if (p->c.is_bf16 && s.is_finished) s.tile.stride = TILE_COLUMNS, s.tile.is_bf16 = 0;
      size_t size = words_of(s.depth) * TILE_COLUMNS;
      for (; s.j < p->n; s.j += TILE_COLUMNS) {
        s.tile.columns = smaller(p->n - s.j, TILE_COLUMNS);
        size_t next = s.j + s.tile.columns, coming = smaller(p->n - next, TILE_COLUMNS);
        if (kept) {
          s.right = kept;
          kept += size;
          s.next[NEXT_B] = divided(lines_of(kept, coming > 0 ? 4 * size : 0), b_tiles);
        } else {
          s.right = q->packed_b;
          pack_b(q->packed_b, &q->right.b, s.d0, s.j, s.depth, s.tile.columns);
          s.next[NEXT_B] = divided(runs_of(&p->b, s.d0, next, s.depth, coming), b_tiles);
        }
        make_strip(q, &s, begins, panels);
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
            .in_place = is_in_place(p),
            .group = 1};
  if (p->a.transposed)
    q.group = parts_of(p->m, TILE_ROWS) * panel_size(words) <= PACKED_FIRST ? BLOCK_PANELS : GROUP_PANELS;
  // Packing writes up to 15 words too many.
  q.kept = packed_weight((packed_weight_key){p->b, p->n, p->k, WAY - p->rounds},
                         4 * (packed_width(p->n) * words_of(p->k) + 16 * TILE_COLUMNS), pack_all,
                         &q.right);
  make_product(&q);
}
