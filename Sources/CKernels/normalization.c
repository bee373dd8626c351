// Layer normalisation and its gradient, of floats and of numbers kept as bfloat16.
#include "include/normalization_kernels.h"

#include <math.h>

#include "kernel.h"
#include "lanes_part.h"

/// Mean and 1 / deviation of a row.
HELPER void moments(const float *x, size_t width, float epsilon, float *mean, float *rstd) {
  float scale = 1.0f / (float)width;
  size_t whole = width / 16 * 16, rest = width - whole;
  lanes16 tail = 0, sums = 0;
  for (size_t c = 0; c < whole; c += 16) sums += LOAD16(x + c);
  if (rest > 0) {
    load_part16(&tail, x + whole, rest, 0);
    sums += tail;
  }
  float m = sum16(&sums) * scale;
  sums = 0;
  for (size_t c = 0; c < whole; c += 16) {
    lanes16 d = LOAD16(x + c) - m;
    sums += d * d;
  }
  if (rest > 0) {
    load_part16(&tail, x + whole, rest, m);
    tail -= m;
    sums += tail * tail;
  }
  *mean = m;
  *rstd = 1.0f / sqrtf(sum16(&sums) * scale + epsilon);
}

/// n columns of a row: (x - m) · s · gamma + beta.
HELPER void normalize_part(void *y, const lanes16 *x, float m, float s, const float *gamma,
                           const float *beta, size_t n, int is_bf16) {
  lanes16 g, b, v;
  load_floats(&g, gamma, n);
  load_floats(&b, beta, n);
  v = (*x - m) * s * g + b;
  store_numbers(y, 0, &v, n, is_bf16);
}

KERNEL(void, ck_layernorm,
       (float *restrict y, float *restrict mean, float *restrict rstd, const float *restrict x,
        const float *restrict gamma, const float *restrict beta, size_t rows, size_t width,
        size_t y_stride, size_t x_stride, float epsilon),
       (y, mean, rstd, x, gamma, beta, rows, width, y_stride, x_stride, epsilon)) {
  for (size_t r = 0; r < rows; r++) {
    const float *restrict source = x + r * x_stride;
    moments(source, width, epsilon, mean + r, rstd + r);
    size_t c = 0;
    for (; c + 16 <= width; c += 16) {
      lanes16 v = LOAD16(source + c);
      normalize_part(y + r * y_stride + c, &v, mean[r], rstd[r], gamma + c, beta + c, 16, 0);
    }
    if (c < width) {
      lanes16 v;
      load_part16(&v, source + c, width - c, 0);
      normalize_part(y + r * y_stride + c, &v, mean[r], rstd[r], gamma + c, beta + c, width - c, 0);
    }
  }
}

KERNEL(void, ck_layernorm_bf16,
       (uint16_t *restrict y, uint16_t *restrict kept, float *restrict mean, float *restrict rstd,
        const float *restrict x, const float *restrict gamma, const float *restrict beta,
        size_t rows, size_t width, float epsilon),
       (y, kept, mean, rstd, x, gamma, beta, rows, width, epsilon)) {
  for (size_t r = 0; r < rows; r++) {
    const float *restrict source = x + r * width;
    moments(source, width, epsilon, mean + r, rstd + r);
    size_t c = 0;
    for (; c + 16 <= width; c += 16) {
      lanes16 v = LOAD16(source + c);
      store_bf16(kept + r * width + c, &v, 16);
      normalize_part(y + r * width + c, &v, mean[r], rstd[r], gamma + c, beta + c, 16, 1);
    }
    if (c < width) {
      lanes16 v;
      load_part16(&v, source + c, width - c, 0);
      store_bf16(kept + r * width + c, &v, width - c);
      normalize_part(y + r * width + c, &v, mean[r], rstd[r], gamma + c, beta + c, width - c, 1);
    }
  }
}

KERNEL(void, ck_normalize_bf16,
       (uint16_t *restrict y, const uint16_t *restrict x, const float *restrict mean,
        const float *restrict rstd, const float *restrict gamma, const float *restrict beta,
        size_t rows, size_t width),
       (y, x, mean, rstd, gamma, beta, rows, width)) {
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      lanes16 v;
      load_bf16(&v, x + r * width + c, width - c);
      normalize_part(y + r * width + c, &v, mean[r], rstd[r], gamma + c, beta + c, width - c, 1);
    }
}

/// Gradients of a few rows, whose sums over columns go to memory once.
typedef struct {
  float *dx, *dgamma, *dbeta;
  const float *dy;
  const void *x;
  const float *mean, *rstd, *gamma;
  size_t width, dx_stride, dy_stride, x_stride;
  int add;
} gradient;

/// Columns c to c + n of `rows` rows: what they add to the sums over rows and over columns.
HELPER void sum_part(const gradient *t, size_t first, size_t rows, size_t c, size_t n, int is_bf16,
                     lanes16 *sums, lanes16 *products) {
  lanes16 weight, of_gamma, of_beta;
  load_floats(&weight, t->gamma + c, n);
  load_floats(&of_gamma, t->dgamma + c, n);
  load_floats(&of_beta, t->dbeta + c, n);
  for (size_t r = 0; r < rows; r++) {
    lanes16 g, v;
    load_floats(&g, t->dy + (first + r) * t->dy_stride + c, n);
    load_numbers(&v, t->x, (first + r) * t->x_stride + c, n, is_bf16);
    v = (v - t->mean[first + r]) * t->rstd[first + r];
    of_beta += g;
    of_gamma += g * v;
    g *= weight;
    // Where a row ends within the lanes, g is 0.
    sums[r] += g;
    products[r] += g * v;
  }
  store_floats(t->dgamma + c, &of_gamma, n);
  store_floats(t->dbeta + c, &of_beta, n);
}

/// Columns c to c + n of the gradient of row r, whose means are `sum` and `product`.
HELPER void write_part(const gradient *t, size_t r, size_t c, size_t n, int is_bf16, float sum,
                       float product) {
  lanes16 weight, g, v, d = 0;
  float *dx = t->dx + r * t->dx_stride + c;
  load_floats(&weight, t->gamma + c, n);
  load_floats(&g, t->dy + r * t->dy_stride + c, n);
  load_numbers(&v, t->x, r * t->x_stride + c, n, is_bf16);
  if (t->add) load_floats(&d, dx, n);
  v = (v - t->mean[r]) * t->rstd[r];
  d += t->rstd[r] * (g * weight - sum - v * product);
  store_floats(dx, &d, n);
}

HELPER void backward_rows(const gradient *p, size_t first, size_t rows, int is_bf16) {
  const gradient t = *p;
  // Whole vectors are compiled on their own, without a question for each.
  size_t whole = t.width / 16 * 16, rest = t.width - whole;
  lanes16 sums[4], products[4];
  for (size_t r = 0; r < rows; r++) sums[r] = products[r] = 0;
  for (size_t c = 0; c < whole; c += 16)
    sum_part(&t, first, rows, c, 16, is_bf16, sums, products);
  if (rest > 0) sum_part(&t, first, rows, whole, rest, is_bf16, sums, products);
  for (size_t r = 0; r < rows; r++) {
    float sum = sum16(&sums[r]) / (float)t.width, product = sum16(&products[r]) / (float)t.width;
    for (size_t c = 0; c < whole; c += 16) write_part(&t, first + r, c, 16, is_bf16, sum, product);
    if (rest > 0) write_part(&t, first + r, whole, rest, is_bf16, sum, product);
  }
}

HELPER void backward(const gradient *p, size_t rows, int is_bf16) {
  size_t r = 0;
  for (; r + 4 <= rows; r += 4) backward_rows(p, r, 4, is_bf16);
  for (; r < rows; r++) backward_rows(p, r, 1, is_bf16);
}

KERNEL(void, ck_layernorm_backward,
       (float *restrict dx, float *restrict dgamma, float *restrict dbeta,
        const float *restrict dy, const float *restrict x, const float *restrict mean,
        const float *restrict rstd, const float *restrict gamma, size_t rows, size_t width,
        size_t dx_stride, size_t dy_stride, size_t x_stride, int add),
       (dx, dgamma, dbeta, dy, x, mean, rstd, gamma, rows, width, dx_stride, dy_stride, x_stride,
        add)) {
  gradient p = {dx,    dgamma, dbeta,     dy,        x,        mean, rstd,
                gamma, width,  dx_stride, dy_stride, x_stride, add};
  backward(&p, rows, 0);
}

KERNEL(void, ck_layernorm_bf16_backward,
       (float *restrict dx, float *restrict dgamma, float *restrict dbeta,
        const float *restrict dy, const uint16_t *restrict x, const float *restrict mean,
        const float *restrict rstd, const float *restrict gamma, size_t rows, size_t width,
        int add),
       (dx, dgamma, dbeta, dy, x, mean, rstd, gamma, rows, width, add)) {
  gradient p = {dx, dgamma, dbeta, dy, x, mean, rstd, gamma, width, width, width, width, add};
  backward(&p, rows, 1);
}
