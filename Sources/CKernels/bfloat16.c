// Numbers kept or sent as bfloat16.
#include "include/bfloat16_kernels.h"

#include <math.h>

#include "lanes_part.h"
#include "multiversion.h"

MULTIVERSION
void ck_floats_to_bf16(uint16_t *restrict y, size_t y_stride, const float *restrict x,
                       size_t x_stride, size_t rows, size_t width) {
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      const float *source = x + r * x_stride + c;
      lanes16 v;
      if (width - c >= 16)
        v = LOAD16(source);
      else
        load_part16(&v, source, width - c, 0);
      store_bf16(y + r * y_stride + c, &v, width - c);
    }
}

MULTIVERSION
void ck_bf16_to_floats(float *restrict y, size_t y_stride, const uint16_t *restrict x,
                       size_t x_stride, size_t rows, size_t width) {
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      float *target = y + r * y_stride + c;
      lanes16 v;
      load_bf16(&v, x + r * x_stride + c, width - c);
      if (width - c >= 16)
        STORE16(target, v);
      else
        store_part16(target, &v, width - c);
    }
}

enum { GROUP = 4 };

/// Sixteen columns, or the last n, of x times mask · factor.
HELPER void keep_part(lanes16 *v, const uint8_t *keep, size_t n, float factor) {
  if (!keep) return;
  lanes16 m;
  load_keep(&m, keep, n, factor);
  *v *= m;
}

/// `rows` rows of ck_keep_to_bf16, whose sums over columns go to memory once.
HELPER void keep_rows(uint16_t *y, size_t y_stride, float *sums, const float *x, size_t x_stride,
                      const uint8_t *keep, size_t keep_stride, size_t width, float factor,
                      size_t rows) {
  for (size_t c = 0; c < width; c += 16) {
    size_t n = width - c;
    lanes16 sum;
    if (sums) load_floats(&sum, sums + c, n);
    for (size_t r = 0; r < rows; r++) {
      lanes16 v;
      load_floats(&v, x + r * x_stride + c, n);
      keep_part(&v, keep ? keep + r * keep_stride + c : NULL, n, factor);
      if (sums) sum += v;
      store_bf16(y + r * y_stride + c, &v, n);
    }
    if (sums) store_floats(sums + c, &sum, n);
  }
}

MULTIVERSION
void ck_keep_to_bf16(uint16_t *restrict y, size_t y_stride, float *restrict sums,
                     const float *restrict x, size_t x_stride, const uint8_t *restrict keep,
                     size_t keep_stride, size_t rows, size_t width, float factor) {
  size_t r = 0;
#define ROWS(COUNT)                                                                     \
  keep_rows(y + r * y_stride, y_stride, sums, x + r * x_stride, x_stride,               \
            keep ? keep + r * keep_stride : NULL, keep_stride, width, factor, COUNT)
  for (; r + GROUP <= rows; r += GROUP) ROWS(GROUP);
  for (; r < rows; r++) ROWS(1);
#undef ROWS
}

MULTIVERSION
void ck_keep_from_bf16(float *restrict y, size_t y_stride, const uint16_t *restrict x,
                       size_t x_stride, const uint8_t *restrict keep, size_t keep_stride,
                       size_t rows, size_t width, float factor) {
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      size_t n = width - c;
      lanes16 v;
      load_bf16(&v, x + r * x_stride + c, n);
      keep_part(&v, keep ? keep + r * keep_stride + c : NULL, n, factor);
      store_floats(y + r * y_stride + c, &v, n);
    }
}

/// Sixteen columns, or the last n of a row: (x - m) · s · gamma + beta.
HELPER void normalize_part(uint16_t *y, const lanes16 *x, float m, float s, const float *gamma,
                           const float *beta, size_t n) {
  lanes16 g, b, v;
  load_floats(&g, gamma, n);
  load_floats(&b, beta, n);
  v = (*x - m) * s * g + b;
  store_bf16(y, &v, n);
}

MULTIVERSION
void ck_layernorm_bf16(uint16_t *restrict y, uint16_t *restrict kept, float *restrict mean,
                       float *restrict rstd, const float *restrict x, const float *restrict gamma,
                       const float *restrict beta, size_t rows, size_t width) {
  float scale = 1.0f / (float)width;
  size_t whole = width / 16 * 16, rest = width - whole;
  for (size_t r = 0; r < rows; r++) {
    const float *restrict source = x + r * width;
    lanes16 tail = 0, sums = 0;
    for (size_t c = 0; c < whole; c += 16) sums += LOAD16(source + c);
    if (rest > 0) {
      load_part16(&tail, source + whole, rest, 0);
      sums += tail;
    }
    float m = sum16(&sums) * scale;
    sums = 0;
    for (size_t c = 0; c < whole; c += 16) {
      lanes16 d = LOAD16(source + c) - m;
      sums += d * d;
    }
    for (size_t l = 0; l < rest; l++) sums[l] += (tail[l] - m) * (tail[l] - m);
    float s = 1.0f / sqrtf(sum16(&sums) * scale + 1e-5f);
    for (size_t c = 0; c < whole; c += 16) {
      lanes16 v = LOAD16(source + c);
      store_bf16(kept + r * width + c, &v, 16);
      normalize_part(y + r * width + c, &v, m, s, gamma + c, beta + c, 16);
    }
    if (rest > 0) {
      store_bf16(kept + r * width + whole, &tail, rest);
      normalize_part(y + r * width + whole, &tail, m, s, gamma + whole, beta + whole, rest);
    }
    mean[r] = m;
    rstd[r] = s;
  }
}

MULTIVERSION
void ck_normalize_bf16(uint16_t *restrict y, const uint16_t *restrict x, const float *restrict mean,
                       const float *restrict rstd, const float *restrict gamma,
                       const float *restrict beta, size_t rows, size_t width) {
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      lanes16 v;
      load_bf16(&v, x + r * width + c, width - c);
      normalize_part(y + r * width + c, &v, mean[r], rstd[r], gamma + c, beta + c, width - c);
    }
}

/// `rows` rows of ck_layernorm_bf16_backward, whose sums over columns go to memory once.
HELPER void layernorm_backward_rows(float *dx, float *dgamma, float *dbeta, const float *dy,
                                    const uint16_t *x, const float *mean, const float *rstd,
                                    const float *gamma, size_t width, int add, size_t rows) {
  lanes16 sums[GROUP], products[GROUP];
  for (size_t r = 0; r < rows; r++) sums[r] = products[r] = 0;
  for (size_t c = 0; c < width; c += 16) {
    size_t n = width - c;
    lanes16 weight, of_gamma, of_beta;
    load_floats(&weight, gamma + c, n);
    load_floats(&of_gamma, dgamma + c, n);
    load_floats(&of_beta, dbeta + c, n);
    for (size_t r = 0; r < rows; r++) {
      lanes16 g, v;
      load_floats(&g, dy + r * width + c, n);
      load_bf16(&v, x + r * width + c, n);
      v = (v - mean[r]) * rstd[r];
      of_beta += g;
      of_gamma += g * v;
      g *= weight;
      // Where a row ends within the lanes, g is 0.
      sums[r] += g;
      products[r] += g * v;
    }
    store_floats(dgamma + c, &of_gamma, n);
    store_floats(dbeta + c, &of_beta, n);
  }
  for (size_t r = 0; r < rows; r++) {
    float sum = sum16(&sums[r]) / (float)width, product = sum16(&products[r]) / (float)width;
    for (size_t c = 0; c < width; c += 16) {
      size_t n = width - c;
      lanes16 weight, g, v, d = 0;
      load_floats(&weight, gamma + c, n);
      load_floats(&g, dy + r * width + c, n);
      load_bf16(&v, x + r * width + c, n);
      if (add) load_floats(&d, dx + r * width + c, n);
      v = (v - mean[r]) * rstd[r];
      d += rstd[r] * (g * weight - sum - v * product);
      store_floats(dx + r * width + c, &d, n);
    }
  }
}

MULTIVERSION
void ck_layernorm_bf16_backward(float *restrict dx, float *restrict dgamma, float *restrict dbeta,
                                const float *restrict dy, const uint16_t *restrict x,
                                const float *restrict mean, const float *restrict rstd,
                                const float *restrict gamma, size_t rows, size_t width, int add) {
  size_t r = 0;
#define ROWS(COUNT)                                                                             \
  layernorm_backward_rows(dx + r * width, dgamma, dbeta, dy + r * width, x + r * width, mean + r, \
                          rstd + r, gamma, width, add, COUNT)
  for (; r + GROUP <= rows; r += GROUP) ROWS(GROUP);
  for (; r < rows; r++) ROWS(1);
#undef ROWS
}
