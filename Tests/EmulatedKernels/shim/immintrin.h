// The intrinsics of AVX-512, AVX512-BF16 and AMX that CKernels uses, in plain C: what Intel's manual says they
// do, lane by lane, and that what it forbids ends the program. Found before the compiler's header of this name.
#ifndef EMULATED_IMMINTRIN_H
#define EMULATED_IMMINTRIN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMULATED static inline __attribute__((always_inline, unused))
#define FORBID(CONDITION)                                                    \
  do {                                                                       \
    if (CONDITION) {                                                         \
      fprintf(stderr, "%s:%d: forbidden: %s\n", __FILE__, __LINE__, #CONDITION); \
      abort();                                                               \
    }                                                                        \
  } while (0)

typedef float __m512 __attribute__((ext_vector_type(16)));
typedef int32_t __m512i __attribute__((ext_vector_type(16)));
typedef uint16_t __m512bh __attribute__((ext_vector_type(32)));
typedef uint16_t __m256i __attribute__((ext_vector_type(16)));
typedef uint16_t __m256bh __attribute__((ext_vector_type(16)));
typedef uint16_t __mmask16;
typedef uint32_t __mmask32;

typedef uint32_t emulated_words __attribute__((ext_vector_type(16)));
typedef int64_t emulated_longs __attribute__((ext_vector_type(8)));

#define _MM_FROUND_TO_NEAREST_INT 0
#define _MM_FROUND_NO_EXC 8

// Memory: of masked lanes nothing is touched.

EMULATED void emulated_load(void *to, const void *from, int lanes, size_t size, uint32_t mask) {
  memset(to, 0, (size_t)lanes * size);
  for (int i = 0; i < lanes; i++)
    if (mask >> i & 1) memcpy((char *)to + (size_t)i * size, (const char *)from + (size_t)i * size, size);
}

EMULATED void emulated_store(void *to, const void *from, int lanes, size_t size, uint32_t mask) {
  for (int i = 0; i < lanes; i++)
    if (mask >> i & 1) memcpy((char *)to + (size_t)i * size, (const char *)from + (size_t)i * size, size);
}

EMULATED __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const void *p) {
  __m512 v;
  emulated_load(&v, p, 16, 4, mask);
  return v;
}

EMULATED __m256i _mm256_maskz_loadu_epi16(__mmask16 mask, const void *p) {
  __m256i v;
  emulated_load(&v, p, 16, 2, mask);
  return v;
}

EMULATED __m512i _mm512_maskz_loadu_epi16(__mmask32 mask, const void *p) {
  __m512i v;
  emulated_load(&v, p, 32, 2, mask);
  return v;
}

EMULATED void _mm512_mask_storeu_ps(void *p, __mmask16 mask, __m512 v) {
  emulated_store(p, &v, 16, 4, mask);
}

EMULATED void _mm256_mask_storeu_epi16(void *p, __mmask16 mask, __m256i v) {
  emulated_store(p, &v, 16, 2, mask);
}

EMULATED __m512i _mm512_load_si512(const void *p) {
  FORBID((uintptr_t)p % 64 != 0);
  __m512i v;
  memcpy(&v, p, sizeof v);
  return v;
}

EMULATED void _mm512_store_si512(void *p, __m512i v) {
  FORBID((uintptr_t)p % 64 != 0);
  memcpy(p, &v, sizeof v);
}

// Integers.

EMULATED __m512i _mm512_set1_epi32(int x) { return (__m512i)x; }

#define _mm512_set_epi32(A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P) \
  ((__m512i){P, O, N, M, L, K, J, I, H, G, F, E, D, C, B, A})

EMULATED __m512i emulated_reversed(const int16_t *from) {
  int16_t to[32];
  for (int i = 0; i < 32; i++) to[i] = from[31 - i];
  __m512i v;
  memcpy(&v, to, sizeof v);
  return v;
}
#define _mm512_set_epi16(...) emulated_reversed((const int16_t[32]){__VA_ARGS__})

EMULATED __m512i _mm512_add_epi32(__m512i a, __m512i b) {
  return (__m512i)((emulated_words)a + (emulated_words)b);
}

EMULATED __m512i _mm512_and_si512(__m512i a, __m512i b) { return a & b; }

EMULATED __m512i _mm512_or_si512(__m512i a, __m512i b) { return a | b; }

EMULATED __m512i _mm512_slli_epi32(__m512i a, unsigned n) {
  return (__m512i)((emulated_words)a << n);
}

EMULATED __m512i _mm512_srli_epi32(__m512i a, unsigned n) {
  return (__m512i)((emulated_words)a >> n);
}

EMULATED __m512i _mm512_cvtepu16_epi32(__m256i a) {
  return (__m512i)__builtin_convertvector(a, emulated_words);
}

EMULATED __m256i _mm512_cvtepi32_epi16(__m512i a) {
  return __builtin_convertvector((emulated_words)a & 0xffff, __m256i);
}

EMULATED __mmask16 _mm512_movepi32_mask(__m512i a) {
  unsigned mask = 0;
  for (int i = 0; i < 16; i++) mask |= (unsigned)(a[i] < 0) << i;
  return (__mmask16)mask;
}

// Of every 128 bits, the lower and the upper halves of two vectors in turns.

EMULATED __m512i _mm512_unpacklo_epi32(__m512i a, __m512i b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
}

EMULATED __m512i _mm512_unpackhi_epi32(__m512i a, __m512i b) {
  return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}

EMULATED __m512i _mm512_unpacklo_epi64(__m512i a, __m512i b) {
  return (__m512i)__builtin_shufflevector((emulated_longs)a, (emulated_longs)b, 0, 8, 2, 10, 4, 12, 6, 14);
}

EMULATED __m512i _mm512_unpackhi_epi64(__m512i a, __m512i b) {
  return (__m512i)__builtin_shufflevector((emulated_longs)a, (emulated_longs)b, 1, 9, 3, 11, 5, 13, 7, 15);
}

/// Four times 128 bits: two of a, two of b.
EMULATED __m512i _mm512_shuffle_i32x4(__m512i a, __m512i b, int choice) {
  __m512i v;
  for (int part = 0; part < 4; part++)
    for (int i = 0; i < 4; i++) {
      int from = choice >> 2 * part & 3;
      v[4 * part + i] = part < 2 ? a[4 * from + i] : b[4 * from + i];
    }
  return v;
}

EMULATED __m512i _mm512_permutex2var_epi32(__m512i a, __m512i index, __m512i b) {
  int32_t table[32], to[16];
  memcpy(table, &a, sizeof a);
  memcpy(table + 16, &b, sizeof b);
  for (int i = 0; i < 16; i++) to[i] = table[index[i] & 31];
  memcpy(&a, to, sizeof a);
  return a;
}

EMULATED __m512i _mm512_permutexvar_epi16(__m512i index, __m512i a) {
  uint16_t table[32], places[32], to[32];
  memcpy(table, &a, sizeof a);
  memcpy(places, &index, sizeof index);
  for (int i = 0; i < 32; i++) to[i] = table[places[i] & 31];
  memcpy(&a, to, sizeof a);
  return a;
}

// Floats.

EMULATED __m512 _mm512_castsi512_ps(__m512i a) { return (__m512)a; }

EMULATED __m512i _mm512_castps_si512(__m512 a) { return (__m512i)a; }

EMULATED __m512 _mm512_set1_ps(float x) { return (__m512)x; }

EMULATED __m512 _mm512_mul_ps(__m512 a, __m512 b) { return a * b; }

EMULATED __m512 _mm512_sub_ps(__m512 a, __m512 b) { return a - b; }

EMULATED __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
  return __builtin_elementwise_fma(a, b, c);
}

EMULATED __m512 _mm512_fnmadd_ps(__m512 a, __m512 b, __m512 c) {
  return __builtin_elementwise_fma(-a, b, c);
}

EMULATED __m512 _mm512_abs_ps(__m512 a) { return (__m512)((__m512i)a & 0x7fffffff); }

EMULATED __m512 _mm512_min_ps(__m512 a, __m512 b) { return a < b ? a : b; }

EMULATED __m512 _mm512_mask_sub_ps(__m512 other, __mmask16 mask, __m512 a, __m512 b) {
  __m512 difference = a - b;
  for (int i = 0; i < 16; i++)
    if (mask >> i & 1) other[i] = difference[i];
  return other;
}

EMULATED __m512 _mm512_roundscale_ps(__m512 a, int mode) {
  FORBID(mode != (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  return __builtin_elementwise_roundeven(a);
}

/// a · 2^floor(b).
EMULATED __m512 _mm512_scalef_ps(__m512 a, __m512 b) {
  for (int i = 0; i < 16; i++) {
    float power = fminf(fmaxf(floorf(b[i]), -1000), 1000);
    a[i] = b[i] != b[i] ? b[i] : ldexpf(a[i], (int)power);
  }
  return a;
}

/// As far from the reciprocal as the instruction may be: 2^-14 of it.
EMULATED __m512 _mm512_rcp14_ps(__m512 a) { return (__m512)((__m512i)(1.0f / a) & ~0x1ff); }

// Numbers of 16 bits; denormals count as zero.

EMULATED __m256bh _mm512_cvtneps_pbh(__m512 a) {
  emulated_words bits = (emulated_words)a, upper = bits >> 16, size = bits & 0x7fffffff;
  emulated_words rounded = (bits + 0x7fff + (upper & 1)) >> 16;
  emulated_words halves = size > 0x7f800000   ? upper | 0x40
                          : size < 0x00800000 ? upper & 0x8000
                                              : rounded;
  return __builtin_convertvector(halves & 0xffff, __m256bh);
}

/// b's numbers, then a's.
EMULATED __m512bh _mm512_cvtne2ps_pbh(__m512 a, __m512 b) {
  __m256bh parts[2] = {_mm512_cvtneps_pbh(b), _mm512_cvtneps_pbh(a)};
  __m512bh v;
  memcpy(&v, parts, sizeof v);
  return v;
}

/// Of each pair the number of the odd place is added first.
EMULATED __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
  emulated_words x = (emulated_words)a, y = (emulated_words)b;
  sum = __builtin_elementwise_fma((__m512)(x & 0xffff0000), (__m512)(y & 0xffff0000), sum);
  return __builtin_elementwise_fma((__m512)(x << 16), (__m512)(y << 16), sum);
}

// Tiles: eight of up to 16 rows of up to 64 bytes.

typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} emulated_configuration;

typedef struct {
  int is_configured;
  emulated_configuration configuration;
  uint8_t tiles[8][16][64];
} emulated_tiles_state;

static _Thread_local emulated_tiles_state emulated_tiles __attribute__((unused));

EMULATED void emulated_check_tile(int tile) {
  FORBID(!emulated_tiles.is_configured || emulated_tiles.configuration.rows[tile] == 0);
}

EMULATED void _tile_loadconfig(const void *p) {
  emulated_configuration *c = &emulated_tiles.configuration;
  memset(&emulated_tiles, 0, sizeof emulated_tiles);
  memcpy(c, p, sizeof *c);
  FORBID(c->palette != 1 || c->start_row != 0);
  for (int i = 0; i < 14; i++) FORBID(c->reserved[i] != 0);
  for (int t = 0; t < 16; t++) {
    FORBID(c->rows[t] > (t < 8 ? 16 : 0) || c->row_bytes[t] > (t < 8 ? 64 : 0));
    FORBID((c->rows[t] == 0) != (c->row_bytes[t] == 0));
  }
  emulated_tiles.is_configured = 1;
}

EMULATED void _tile_release(void) { emulated_tiles.is_configured = 0; }

EMULATED void _tile_zero(int tile) {
  emulated_check_tile(tile);
  memset(emulated_tiles.tiles[tile], 0, sizeof emulated_tiles.tiles[tile]);
}

EMULATED void _tile_loadd(int tile, const void *p, size_t stride) {
  const emulated_configuration *c = &emulated_tiles.configuration;
  _tile_zero(tile);
  for (size_t r = 0; r < c->rows[tile]; r++)
    memcpy(emulated_tiles.tiles[tile][r], (const char *)p + r * stride, c->row_bytes[tile]);
}

EMULATED void _tile_stored(int tile, void *p, size_t stride) {
  const emulated_configuration *c = &emulated_tiles.configuration;
  emulated_check_tile(tile);
  for (size_t r = 0; r < c->rows[tile]; r++)
    memcpy((char *)p + r * stride, emulated_tiles.tiles[tile][r], c->row_bytes[tile]);
}

/// C += A · B, where a row of B holds two depths, in pairs.
static __attribute__((unused)) void _tile_dpbf16ps(int c, int a, int b) {
  const emulated_configuration *of = &emulated_tiles.configuration;
  emulated_check_tile(c), emulated_check_tile(a), emulated_check_tile(b);
  FORBID(a == b || a == c || b == c);
  FORBID(of->rows[a] != of->rows[c] || of->row_bytes[b] != of->row_bytes[c]);
  FORBID(of->row_bytes[a] != 4 * of->rows[b]);
  for (int r = 0; r < of->rows[c]; r++) {
    __m512 sum;
    memcpy(&sum, emulated_tiles.tiles[c][r], sizeof sum);
    for (int pair = 0; pair < of->rows[b]; pair++) {
      uint32_t x;
      emulated_words y;
      memcpy(&x, emulated_tiles.tiles[a][r] + 4 * pair, sizeof x);
      memcpy(&y, emulated_tiles.tiles[b][pair], sizeof y);
      emulated_words both = (emulated_words)x;
      sum = __builtin_elementwise_fma((__m512)(both << 16), (__m512)(y << 16), sum);
      sum = __builtin_elementwise_fma((__m512)(both & 0xffff0000), (__m512)(y & 0xffff0000), sum);
    }
    memcpy(emulated_tiles.tiles[c][r], &sum, of->row_bytes[c]);
  }
}

#endif
