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
//   load_along, load_across   see below
#include "fetch_ahead.h"
#include "product.h"
#include "product_finish.h"
#include "product_memory.h"
#include "product_weights.h"

#ifndef WORD_DEPTHS
#define WORD_DEPTHS 1
#define ADD_WORDS(sum, x, y) (sum) += (x) * (y)
#endif

enum {
  TILE_COLUMNS = 16 * TILE_VECTORS,
  /// Words of a stretch: its columns of B take at most 32 KB.
  DEPTH = 256,
  /// Of rows of A that pass by: half a megabyte when packed, of the second-level cache.
  BLOCK_PANELS = (1 << 19) / (4 * DEPTH * PACKED),
  /// Words of A that are packed all at once, a quarter of a megabyte; more are packed while tiles are made.
  PACKED_FIRST = 1 << 16,
  /// How far ahead their memory is asked for.
  DEPTHS_AHEAD = 8 * WORD_DEPTHS,
};

/// As wide as a float, wherever numbers lie.
typedef float word __attribute__((aligned(4 / WORD_DEPTHS), may_alias));

HELPER size_t words_of(size_t depth) { return (depth + WORD_DEPTHS - 1) / WORD_DEPTHS; }

// ---- one tile ----------------------------------------------------------------------------------

/// Where sums of a tile go, floats or, rounded, bfloat16 numbers, and how they are made.
typedef struct {
  void *c;
  size_t stride, columns;
  int is_bf16;
  float alpha, beta;
} tile;

#define EACH_ROW _Pragma("clang loop unroll(full)") for (size_t i = 0; i < rows; i++)
#define EACH_VECTOR _Pragma("clang loop unroll(full)") for (size_t h = 0; h < vectors; h++)

/// c = alpha · a · b + beta · c of `rows` rows, 16 · `vectors` columns and `depth` words; a's rows lie
/// `row_step`, its depths `depth_step` words apart.
TARGET HELPER void make_tile(const word *a, size_t row_step, size_t depth_step, const float *b,
                             size_t depth, const tile *t, fetch_list *ahead, size_t rows,
                             size_t vectors) {
  lanes16 sums[TILE_ROWS][TILE_VECTORS];
  EACH_ROW EACH_VECTOR sums[i][h] = 0;
#define ADD_DEPTH                                        \
  {                                                      \
    lanes16 right[TILE_VECTORS];                         \
    EACH_VECTOR right[h] = LOAD16(b + 16 * h);           \
    EACH_ROW {                                           \
      lanes16 x = a[i * row_step];                       \
      EACH_VECTOR ADD_WORDS(sums[i][h], x, right[h]);    \
    }                                                    \
    EACH_ROW EACH_VECTOR HOLD(sums[i][h]);               \
    a += depth_step;                                     \
    b += TILE_COLUMNS;                                   \
  }
  size_t rest = depth;
  for (; rest >= FETCH_DEPTHS; rest -= FETCH_DEPTHS) {
    _Pragma("clang loop unroll(full)") for (int d = 0; d < FETCH_DEPTHS; d++) ADD_DEPTH
    fetch_line(ahead);
  }
  for (; rest > 0; rest--) ADD_DEPTH
#undef ADD_DEPTH
  // A copy, because what is stored might be *t for all the compiler knows.
  const tile sure = *t;
  if (sure.is_bf16) {
    EACH_ROW EACH_VECTOR {
      lanes16 x = sure.alpha * sums[i][h];
      store_halves((uint16_t *)sure.c + i * sure.stride + 16 * h, &x, sure.columns - 16 * h);
    }
    return;
  }
  EACH_ROW EACH_VECTOR {
    float *place = (float *)sure.c + i * sure.stride + 16 * h;
    size_t count = sure.columns - 16 * h;
    lanes16 x = sure.alpha * sums[i][h];
    if (sure.beta != 0) {
      lanes16 old;
      load_columns(&old, place, count);
      x += sure.beta * old;
    }
    store_columns(place, &x, count);
  }
}

typedef void tile_maker(const word *a, size_t row_step, const float *b, size_t depth,
                        const tile *t, fetch_list *ahead);

// By number of rows and of vectors, for A in rows and in columns.
#define MAKER(ROWS, VECTORS, BY_DEPTH)                                                        \
  TARGET static void make_##ROWS##_##VECTORS##_##BY_DEPTH(const word *a, size_t row_step,     \
                                                          const float *b, size_t depth,       \
                                                          const tile *t, fetch_list *ahead) { \
    make_tile(a, BY_DEPTH ? 1 : row_step, BY_DEPTH ? PACKED : 1, b, depth, t, ahead, ROWS,    \
              VECTORS);                                                                       \
  }
#if TILE_VECTORS == 2
#define MAKERS(ROWS) MAKER(ROWS, 1, 0) MAKER(ROWS, 1, 1) MAKER(ROWS, 2, 0) MAKER(ROWS, 2, 1)
#define NAMES(ROWS) \
  {{make_##ROWS##_1_0, make_##ROWS##_1_1}, {make_##ROWS##_2_0, make_##ROWS##_2_1}},
#else
#define MAKERS(ROWS) MAKER(ROWS, 1, 0) MAKER(ROWS, 1, 1)
#define NAMES(ROWS) {{make_##ROWS##_1_0, make_##ROWS##_1_1}},
#endif
EACH_NUMBER_OF_ROWS(MAKERS)
static tile_maker *const makers[TILE_ROWS][TILE_VECTORS][2] = {EACH_NUMBER_OF_ROWS(NAMES)};

// ---- operands ----------------------------------------------------------------------------------

HELPER size_t size_of(const ck_matrix *x) { return x->is_bf16 ? 2 : 4; }

/// Of op(X), in elements.
HELPER size_t place_of(const ck_matrix *x, size_t row, size_t column) {
  return x->transposed ? column * x->stride + row : row * x->stride + column;
}

HELPER const void *at(const ck_matrix *x, size_t row, size_t column) {
  return (const char *)x->base + place_of(x, row, column) * size_of(x);
}

/// Where `rows` rows and `columns` columns of op(X) lie.
HELPER fetch_part runs_of(const ck_matrix *x, size_t row, size_t column, size_t rows,
                          size_t columns) {
  size_t count = x->transposed ? columns : rows, length = x->transposed ? rows : columns;
  return runs(at(x, row, column), size_of(x) * x->stride, count, size_of(x) * length);
}

/// An operand on its way to be packed: what its numbers are multiplied by, and whether they are rounded then.
typedef struct {
  ck_matrix x;
  float factor;
  int rounds;
} operand;

#if WORD_DEPTHS == 1
/// 16 words of a row of memory that goes along the depth: from p on, of the n depths that are left.
TARGET HELPER void load_along(lanes16 *v, const operand *o, const void *p, size_t n) {
  if (o->x.is_bf16)
    load_bf16(v, p, n);
  else
    load_columns(v, p, n);
  if (!o->rounds || (o->x.is_bf16 && o->factor == 1)) return;
  *v *= o->factor;
  round16(v);
}

/// 16 words of rows of memory that go across the depth: of the n columns that are left from p on, where
/// `depths` are left.
TARGET HELPER void load_across(lanes16 *v, const operand *o, const void *p, size_t depths,
                               size_t n) {
  (void)depths;
  load_along(v, o, p, n);
}
#else
TARGET HELPER void load_along(lanes16 *v, const operand *o, const void *p, size_t n);
TARGET HELPER void load_across(lanes16 *v, const operand *o, const void *p, size_t depths,
                               size_t n);
#endif

/// The first PACKED words of v.
HELPER void store_packed(float *p, const lanes16 *v) {
  if (PACKED == 16) {
    STORE16(p, *v);
  } else {
    lanes8 half = v->lo;
    __builtin_memcpy(p, &half, sizeof half);
  }
}

HELPER size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/// `columns` of op(B), `depth` deep: [word][TILE_COLUMNS], with up to 15 words of zeros behind.
TARGET static void pack_b(float *out, const operand *b, size_t d0, size_t j0, size_t depth,
                          size_t columns) {
  for (size_t j = 0; j < columns; j += 16) {
    size_t count = columns - j;
    float *next = out + j;
    if (!b->x.transposed) {
      for (size_t d = 0; d < depth; d += WORD_DEPTHS, next += TILE_COLUMNS) {
        lanes16 v;
        load_across(&v, b, at(&b->x, d0 + d, j0 + j), depth - d, count);
        STORE16(next, v);
      }
    } else {
      for (size_t d = 0; d < depth; d += 16 * WORD_DEPTHS) {
        lanes16 lines[16];
        for (size_t i = 0; i < 16; i++) {
          lines[i] = 0;
          if (i < count) load_along(&lines[i], b, at(&b->x, d0 + d, j0 + j + i), depth - d);
        }
        transpose_lines(lines);
        for (size_t i = 0; i < 16; i++, next += TILE_COLUMNS) STORE16(next, lines[i]);
      }
    }
  }
}

/// Packed rows of A, so many words deep, need so many words.
HELPER size_t panel_size(size_t words) { return PACKED * (words + 16); }

/// From a packed row of A to the next, where rows are packed one by one, in words.
HELPER size_t row_size(size_t depth) { return (words_of(depth) + 15) / 16 * 16; }

/// `rows` of op(A), which is no transpose, from row i0 on: [rows][row_size].
TARGET static void pack_rows(float *out, const operand *a, size_t i0, size_t d0, size_t rows,
                             size_t depth) {
  for (size_t i = 0; i < rows; i++, out += row_size(depth))
    for (size_t w = 0; WORD_DEPTHS * w < depth; w += 16) {
      lanes16 v;
      size_t d = WORD_DEPTHS * w;
      load_along(&v, a, at(&a->x, i0 + i, d0 + d), depth - d);
      STORE16(out + w, v);
    }
}

/// Rows of op(A), which is a transpose, in panels that begin at begins[0] to begins[panels - 1] of m:
/// [panel][word][PACKED]. Memory is read row by row, so that it streams.
TARGET HELPER void pack_panels(float *out, const operand *a, const size_t *begins, size_t panels,
                               size_t m, size_t d0, size_t depth) {
  size_t panel = panel_size(words_of(depth)), size = size_of(&a->x);
  for (size_t d = 0; d < depth; d += WORD_DEPTHS, out += PACKED) {
    const char *row = at(&a->x, 0, d0 + d);
    // One panel's lines have been asked for while the panel before was multiplied.
    int is_fetching = panels > 1 && d + DEPTHS_AHEAD + WORD_DEPTHS <= depth;
    for (size_t l = 0; l < panels; l++) {
      lanes16 v;
      for (size_t i = 0; is_fetching && i < WORD_DEPTHS; i++)
        __builtin_prefetch(row + size * (begins[l] + (DEPTHS_AHEAD + i) * a->x.stride));
      load_across(&v, a, row + begins[l] * size, depth - d, m - begins[l]);
      store_packed(out + l * panel, &v);
    }
  }
}

TARGET static void pack_transposed(float *out, const operand *a, const size_t *begins,
                                   size_t panels, size_t m, size_t d0, size_t depth) {
  // Copies, because what is stored might be they for all the compiler knows; one panel is compiled on its own.
  const operand from = *a;
  const size_t first = begins[0];
  if (panels == 1)
    pack_panels(out, &from, &first, 1, m, d0, depth);
  else
    pack_panels(out, &from, begins, panels, m, d0, depth);
}

// ---- the product -------------------------------------------------------------------------------

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
