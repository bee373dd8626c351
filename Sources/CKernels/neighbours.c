// Convolution over neighbours: walks over each token's chosen rows of v; there is no tensor of
// tokens, neighbours and channels. Channels outermost, by 64: so much of all rows stays in the
// nearest cache.
#include <stddef.h>

#include "include/neighbour_kernels.h"
#include "kernel.h"
#include "lanes_part.h"

KERNEL(void, ck_depthwise_neighbours,
       (float *restrict y, size_t y_stride, const float *restrict weights,
        const float *restrict taps, size_t taps_stride, const float *restrict v, size_t v_stride,
        const int32_t *restrict index, size_t rows, size_t count, size_t width),
       (y, y_stride, weights, taps, taps_stride, v, v_stride, index, rows, count, width)) {
#pragma clang fp contract(fast)
  size_t c = 0;
  for (; c + 64 <= width; c += 64)
    for (size_t i = 0; i < rows; i++) {
      const int32_t *restrict key = index + i * count;
      const float *restrict w = weights + i * count;
      float *restrict out = y + i * y_stride + c;
      lanes16 a0 = 0, a1 = 0, a2 = 0, a3 = 0;
      for (size_t r = 0; r < count; r++) {
        const float *restrict source = v + (size_t)key[r] * v_stride + c;
        const float *restrict tap = taps + r * taps_stride + c;
        lanes16 factor = w[r];
        a0 += factor * LOAD16(tap) * LOAD16(source);
        a1 += factor * LOAD16(tap + 16) * LOAD16(source + 16);
        a2 += factor * LOAD16(tap + 32) * LOAD16(source + 32);
        a3 += factor * LOAD16(tap + 48) * LOAD16(source + 48);
      }
      STORE16(out, a0);
      STORE16(out + 16, a1);
      STORE16(out + 32, a2);
      STORE16(out + 48, a3);
    }
  for (; c < width; c += 16)
    for (size_t i = 0; i < rows; i++) {
      lanes16 a = 0;
      for (size_t r = 0; r < count; r++) {
        lanes16 tap, source;
        load_floats(&tap, taps + r * taps_stride + c, width - c);
        load_floats(&source, v + (size_t)index[i * count + r] * v_stride + c, width - c);
        a += weights[i * count + r] * tap * source;
      }
      store_floats(y + i * y_stride + c, &a, width - c);
    }
}

/// The first n of sixteen channels of one pair: `sum` gains the lanes of its weight's gradient.
HELPER void pair_step(lanes16 *sum, const lanes16 *d, float weight, const float *tap, float *d_tap,
                      const float *value, float *d_value, size_t n) {
#pragma clang fp contract(fast)
  lanes16 t, x, d_t, d_x;
  load_floats(&t, tap, n);
  load_floats(&x, value, n);
  load_floats(&d_t, d_tap, n);
  load_floats(&d_x, d_value, n);
  lanes16 g = *d * t;
  d_x += weight * g;
  d_t += weight * *d * x;
  store_floats(d_value, &d_x, n);
  store_floats(d_tap, &d_t, n);
  *sum += g * x;
}

KERNEL(void, ck_depthwise_neighbours_backward,
       (float *restrict d_weights, float *restrict d_taps, float *restrict d_v, size_t d_v_stride,
        const float *restrict d_y, size_t d_y_stride, const float *restrict weights,
        const float *restrict taps, size_t taps_stride, const float *restrict v, size_t v_stride,
        const int32_t *restrict index, size_t rows, size_t count, size_t width),
       (d_weights, d_taps, d_v, d_v_stride, d_y, d_y_stride, weights, taps, taps_stride, v,
        v_stride, index, rows, count, width)) {
#pragma clang fp contract(fast)
  for (size_t p = 0; p < rows * count; p++) d_weights[p] = 0;
  size_t c = 0;
  for (; c + 64 <= width; c += 64)
    for (size_t i = 0; i < rows; i++) {
      const float *restrict d = d_y + i * d_y_stride + c;
      lanes16 d0 = LOAD16(d), d1 = LOAD16(d + 16), d2 = LOAD16(d + 32), d3 = LOAD16(d + 48);
      for (size_t r = 0; r < count; r++) {
        size_t p = i * count + r, t = r * taps_stride + c;
        const float *value = v + (size_t)index[p] * v_stride + c;
        float *d_value = d_v + (size_t)index[p] * d_v_stride + c;
        lanes16 sum = 0;
        pair_step(&sum, &d0, weights[p], taps + t, d_taps + t, value, d_value, 16);
        pair_step(&sum, &d1, weights[p], taps + t + 16, d_taps + t + 16, value + 16, d_value + 16, 16);
        pair_step(&sum, &d2, weights[p], taps + t + 32, d_taps + t + 32, value + 32, d_value + 32, 16);
        pair_step(&sum, &d3, weights[p], taps + t + 48, d_taps + t + 48, value + 48, d_value + 48, 16);
        d_weights[p] += sum16(&sum);
      }
    }
  for (; c < width; c += 16)
    for (size_t i = 0; i < rows; i++) {
      lanes16 d;
      load_floats(&d, d_y + i * d_y_stride + c, width - c);
      for (size_t r = 0; r < count; r++) {
        size_t p = i * count + r, t = r * taps_stride + c;
        lanes16 sum = 0;
        pair_step(&sum, &d, weights[p], taps + t, d_taps + t, v + (size_t)index[p] * v_stride + c,
                  d_v + (size_t)index[p] * d_v_stride + c, width - c);
        d_weights[p] += sum16(&sum);
      }
    }
}

KERNEL(void, ck_gather_neighbours,
       (float *restrict gathered, const float *restrict weights, const float *restrict v,
        size_t v_stride, const int32_t *restrict index, size_t rows, size_t count, size_t width),
       (gathered, weights, v, v_stride, index, rows, count, width)) {
  for (size_t p = 0; p < rows * count; p++) {
    const float *restrict source = v + (size_t)index[p] * v_stride;
    float *restrict out = gathered + p * width;
    for (size_t c = 0; c < width; c++) out[c] = weights[p] * source[c];
  }
}

KERNEL(void, ck_gather_neighbours_backward,
       (float *restrict d_weights, float *restrict d_v, size_t d_v_stride,
        const float *restrict d_gathered, const float *restrict weights, const float *restrict v,
        size_t v_stride, const int32_t *restrict index, size_t rows, size_t count, size_t width),
       (d_weights, d_v, d_v_stride, d_gathered, weights, v, v_stride, index, rows, count, width)) {
  for (size_t p = 0; p < rows * count; p++) {
    const float *restrict d = d_gathered + p * width;
    float *restrict out = d_v + (size_t)index[p] * d_v_stride;
    d_weights[p] = dot_product(d, v + (size_t)index[p] * v_stride, width);
    for (size_t c = 0; c < width; c++) out[c] += weights[p] * d[c];
  }
}
