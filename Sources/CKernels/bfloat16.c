// Numbers kept or sent as bfloat16.
#include "include/bfloat16_kernels.h"

#include <math.h>

#include "lanes_bf16.h"
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

MULTIVERSION
void ck_layernorm_bf16(uint16_t *restrict y, float *restrict mean, float *restrict rstd,
                       const float *restrict x, const float *restrict gamma,
                       const float *restrict beta, size_t rows, size_t width, size_t y_stride,
                       size_t x_stride) {
  float scale = 1.0f / (float)width;
  size_t whole = width / 16 * 16, rest = width - whole;
  for (size_t r = 0; r < rows; r++) {
    const float *restrict source = x + r * x_stride;
    uint16_t *restrict target = y + r * y_stride;
    lanes16 tail, sums;
    load_part16(&tail, source + whole, rest, 0);
    sums = tail;
    for (size_t c = 0; c < whole; c += 16) sums += LOAD16(source + c);
    float m = sum16(&sums) * scale;
    for (size_t l = 0; l < 16; l++) tail[l] = l < rest ? tail[l] - m : 0;
    sums = tail * tail;
    for (size_t c = 0; c < whole; c += 16) {
      lanes16 d = LOAD16(source + c) - m;
      sums += d * d;
    }
    float s = 1.0f / sqrtf(sum16(&sums) * scale + 1e-5f);
    for (size_t c = 0; c < whole; c += 16) {
      lanes16 v = (LOAD16(source + c) - m) * s * LOAD16(gamma + c) + LOAD16(beta + c);
      store_bf16(target + c, &v, 16);
    }
    if (rest > 0) {
      lanes16 g, b, v;
      load_part16(&g, gamma + whole, rest, 0);
      load_part16(&b, beta + whole, rest, 0);
      v = tail * s * g + b;
      store_bf16(target + whole, &v, rest);
    }
    mean[r] = m;
    rstd[r] = s;
  }
}
