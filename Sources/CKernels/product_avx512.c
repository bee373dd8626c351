// Products of bfloat16 tiles by AVX512-BF16's dot products.
#if defined(__x86_64__)
#include "product_x86.h"

/// Sums of 16 rows and 16 columns.
VECTOR HELPER void multiply_tile_pair(__m512 sums[16], const uint16_t *a, const uint16_t *b,
                                      size_t steps, int terms, fetch_list *ahead) {
  for (size_t s = 0; s < steps; s++)
    for (int p = first_product_pair(terms); p < PRODUCT_PAIRS; p++) {
      const uint16_t *left = a + (s * (size_t)terms + product_pairs[p][0]) * TILE_SIZE;
      const uint16_t *right = b + (s * (size_t)terms + product_pairs[p][1]) * TILE_SIZE;
      fetch_line(ahead);
      for (size_t d = 0; d < TILE_DEPTH; d += 2) {
        __m512bh line = (__m512bh)_mm512_load_si512(right + d * 16);
        for (size_t r = 0; r < 16; r++) {
          int32_t both;
          __builtin_memcpy(&both, left + r * TILE_DEPTH + d, sizeof both);
          sums[r] = _mm512_dpbf16_ps(sums[r], (__m512bh)_mm512_set1_epi32(both), line);
        }
      }
    }
}

VECTOR static void multiply_vector(const product_part *p, int terms, int add,
                                   const finished_part *f, fetch_list *ahead) {
  size_t panel = panel_of(p, terms);
  for (size_t j = 0; j < p->columns; j += TILE_ROWS)
    for (size_t i = 0; i < p->rows; i += TILE_ROWS) {
      size_t rows = p->rows - i < TILE_ROWS ? p->rows - i : TILE_ROWS;
      size_t columns = p->columns - j < TILE_ROWS ? p->columns - j : TILE_ROWS;
      __mmask16 mask = (__mmask16)mask_of(columns);
      float *target = p->sums + i * p->stride + j;
      __m512 sums[16];
      for (size_t r = 0; r < 16; r++)
        sums[r] = _mm512_maskz_loadu_ps(add && r < rows ? mask : 0, target + r * p->stride);
      multiply_tile_pair(sums, p->a + i / TILE_ROWS * panel, p->b + j / TILE_ROWS * panel,
                         steps_of(p->depth), terms, ahead);
      if (f) {
        float part[16 * 16] __attribute__((aligned(64)));
        for (size_t r = 0; r < 16; r++) _mm512_store_ps(part + r * 16, sums[r]);
        finish_rows(part, 16, rows, columns, f->row + i, f->column + j, f->n, f->c,
                    i * f->stride + j, f->stride, f->finish, f->finish->kind, f->is_bf16);
      } else {
        for (size_t r = 0; r < rows; r++)
          _mm512_mask_storeu_ps(target + r * p->stride, mask, sums[r]);
      }
    }
}

const product_code product_code_vector = {product_pack_x86, multiply_vector};

#else
typedef int no_x86;
#endif
