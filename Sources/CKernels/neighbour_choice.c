// The best scores of each row, best first.
#include <math.h>
#include <string.h>

#include "include/band_kernels.h"
#include "include/neighbour_kernels.h"
#include "kernel.h"
#include "lanes.h"

typedef _Bool mask16 __attribute__((ext_vector_type(16)));

/// The first sixteen of n values, or all; what is missing is NaN, which no comparison counts.
HELPER void load_block(lanes16 *block, const float *restrict value, size_t n) {
  if (n >= 16)
    *block = LOAD16(value);
  else
    load_part16(block, value, n, NAN);
}

HELPER uint32_t bits_of(const ints16 *truth) {
  mask16 mask = __builtin_convertvector(*truth, mask16);
  uint16_t bits;
  memcpy(&bits, &mask, sizeof bits);
  return bits;
}

/// The first `count` of n pairs in their order: a pair's place is the number of pairs that come
/// before it, those with larger values, and those with equal ones to its left.
HELPER void put_in_order(int32_t *restrict index, float *restrict values,
                         const int32_t *restrict key, const float *restrict value, size_t n,
                         size_t count) {
  // Short lists are put in place whole: which pairs come too late to count is hard to foresee.
  enum { most_local = 64 };
  int32_t local_key[most_local];
  float local_value[most_local];
  int is_short = n <= most_local;
  int32_t *out_key = is_short ? local_key : index;
  float *out_value = is_short ? local_value : values;
  size_t places = is_short ? n : count;
  // Places collide among values that are not numbers: what they leave out keeps these.
  for (size_t r = 0; r < places; r++) {
    out_key[r] = key[r];
    out_value[r] = value[r];
  }
  const ints16 position = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (size_t first = 0; first < n; first += 16) {
    lanes16 mine;
    load_block(&mine, value + first, n - first);
    ints16 before = 0;
    for (size_t r = 0; r < first; r++) before -= (lanes16)value[r] >= mine;
#pragma clang loop unroll(full)
    for (int l = 0; l < 16; l++) {
      lanes16 other = mine[l];
      before -= (other > mine) | ((other == mine) & (position > l));
    }
    for (size_t r = first + 16; r < n; r++) before -= (lanes16)value[r] > mine;
    int32_t place[16];
    memcpy(place, &before, sizeof place);
    size_t lanes = n - first < 16 ? n - first : 16;
    for (size_t l = 0; l < lanes; l++) {
      if ((size_t)place[l] >= places) continue;
      out_key[place[l]] = key[first + l];
      out_value[place[l]] = value[first + l];
    }
  }
  if (!is_short) return;
  for (size_t r = 0; r < count; r++) {
    index[r] = local_key[r];
    values[r] = local_value[r];
  }
}

/// A row and its last, partial block.
struct row {
  const float *whole;
  size_t columns;
  lanes16 rest;
};

/// A number that at least `count` <= 16 of the scores reach, and few more: the count-th largest of
/// the maxima of sixteen interleaved groups of scores.
HELPER float lower_bound(const struct row *r, size_t count) {
  lanes16 most = r->rest == r->rest ? r->rest : (lanes16)-INFINITY;
  for (size_t c = 0; c + 16 <= r->columns; c += 16) {
    lanes16 v = LOAD16(r->whole + c);
    most = v > most ? v : most;
  }
  ints16 larger = 0;
#pragma clang loop unroll(full)
  for (int l = 0; l < 16; l++) larger -= (lanes16)most[l] > most;
  lanes16 least = larger < (int)count ? most : (lanes16)INFINITY;
  typedef float lanes8 __attribute__((ext_vector_type(8)));
  lanes8 eight = least.lo < least.hi ? least.lo : least.hi;
  lanes4 four = eight.lo < eight.hi ? eight.lo : eight.hi;
  float a = four[0] < four[1] ? four[0] : four[1], b = four[2] < four[3] ? four[2] : four[3];
  return a < b ? a : b;
}

/// Columns and scores of those that reach `bound`, ascending; returns how many.
HELPER size_t collect(int32_t *restrict key, float *restrict value, const struct row *r,
                      float bound) {
  size_t n = 0, whole = r->columns / 16;
  for (size_t b = 0; b <= whole; b += 4) {
    uint64_t bits = 0;
    for (size_t k = 0; k < 4 && b + k <= whole; k++) {
      lanes16 v = b + k < whole ? LOAD16(r->whole + 16 * (b + k)) : r->rest;
      ints16 reaches = v >= bound;
      bits |= (uint64_t)bits_of(&reaches) << 16 * k;
    }
    for (; bits; bits &= bits - 1) {
      size_t c = 16 * b + (size_t)__builtin_ctzll(bits);
      key[n] = (int32_t)c;
      value[n++] = r->whole[c];
    }
  }
  return n;
}

KERNEL(void, ck_select_best_first,
       (int32_t *restrict index, float *restrict values, const float *restrict scores, size_t rows,
        size_t columns, size_t stride, size_t count, int32_t *restrict room_columns,
        float *restrict room_values),
       (index, values, scores, rows, columns, stride, count, room_columns, room_values)) {
  // With few scores the bound would keep most of them anyway.
  int bounded = count <= 16 && columns >= 32;
  for (size_t i = 0; i < rows; i++) {
    struct row r = {.whole = scores + i * stride, .columns = columns};
    load_block(&r.rest, r.whole + columns / 16 * 16, columns % 16);
    size_t n = 0;
    if (bounded || columns <= 32)
      n = collect(room_columns, room_values, &r, bounded ? lower_bound(&r, count) : -INFINITY);
    // Ordering is quadratic: many neighbours, or many equal scores, are chosen by bisection first.
    if (n == 0 || n > 256) {
      ck_select_largest(room_columns, r.whole, 1, columns, columns, count);
      for (n = 0; n < count; n++) room_values[n] = r.whole[room_columns[n]];
    }
    // Fewer only among scores that are not numbers.
    for (; n < count; n++) {
      room_columns[n] = 0;
      room_values[n] = r.whole[0];
    }
    put_in_order(index + i * count, values + i * count, room_columns, room_values, n, count);
  }
}

KERNEL(void, ck_order_best_first,
       (int32_t *restrict sorted, float *restrict sorted_values, const int32_t *restrict index,
        const float *restrict values, size_t rows, size_t count),
       (sorted, sorted_values, index, values, rows, count)) {
  for (size_t i = 0; i < rows; i++)
    put_in_order(sorted + i * count, sorted_values + i * count, index + i * count,
                 values + i * count, count, count);
}
