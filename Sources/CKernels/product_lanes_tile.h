// One tile of a product of product_lanes.h, whose sums stay in registers.
#ifndef CKERNELS_PRODUCT_LANES_TILE_H
#define CKERNELS_PRODUCT_LANES_TILE_H

#include "fetch_ahead.h"
#include "lanes_part.h"

#ifndef WORD_DEPTHS
#define WORD_DEPTHS 1
#define ADD_WORDS(sum, x, y) (sum) += (x) * (y)
#endif

#ifndef HOLD_NUMBER
#define HOLD_NUMBER(x)
#endif

enum {
  TILE_COLUMNS = 16 * TILE_VECTORS,
  /// Depths of a pass of the loop over them.
  PASS_DEPTHS = FETCHES * FETCH_DEPTHS,
};

/// As wide as a float, wherever numbers lie.
typedef float word __attribute__((aligned(4 / WORD_DEPTHS), may_alias));

HELPER size_t words_of(size_t depth) { return (depth + WORD_DEPTHS - 1) / WORD_DEPTHS; }

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
                             size_t depth, const tile *t, const fetch_list *ahead, size_t rows,
                             size_t vectors) {
  lanes16 sums[TILE_ROWS][TILE_VECTORS];
  EACH_ROW EACH_VECTOR sums[i][h] = 0;
#define ADD_DEPTH                                        \
  {                                                      \
    lanes16 right[TILE_VECTORS];                         \
    EACH_VECTOR right[h] = LOAD16(b + 16 * h);           \
    EACH_ROW {                                           \
      float number = a[i * row_step];                    \
      HOLD_NUMBER(number);                               \
      lanes16 x = number;                                \
      EACH_VECTOR ADD_WORDS(sums[i][h], x, right[h]);    \
    }                                                    \
    EACH_ROW EACH_VECTOR HOLD(sums[i][h]);               \
    a += depth_step;                                     \
    b += TILE_COLUMNS;                                   \
  }
  const char *const *line = ahead->lines, *const *end = line + ahead->count / FETCHES * FETCHES;
  size_t rest = depth;
  for (; rest >= PASS_DEPTHS; rest -= PASS_DEPTHS) {
    if (line < end) {
      _Pragma("clang loop unroll(full)") for (int f = 0; f < FETCHES; f++) fetch(line[f]);
      line += FETCHES;
    }
    _Pragma("clang loop unroll(full)") for (int d = 0; d < PASS_DEPTHS; d++) ADD_DEPTH
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
                        const tile *t, const fetch_list *ahead);

// By number of rows and of vectors, for A in rows and in columns.
#define MAKER(ROWS, VECTORS, BY_DEPTH)                                                        \
  TARGET static void make_##ROWS##_##VECTORS##_##BY_DEPTH(const word *a, size_t row_step,     \
                                                          const float *b, size_t depth,       \
                                                          const tile *t, const fetch_list *ahead) { \
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

#endif
