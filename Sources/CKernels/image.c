// Resizing and conversion of 8-bit images.
#include "include/image_kernels.h"

#include <string.h>

#include "kernel.h"

typedef int32_t int32x16 __attribute__((vector_size(64)));
typedef uint8_t uint8x16 __attribute__((vector_size(16)));

enum { half = 1 << (ck_resize_weight_bits - 1) };

#define WIDEN(bytes) __builtin_convertvector(bytes, int32x16)

// Weights are not negative and sum to 1 within rounding, so results stay within 0...255.
KERNEL(void, ck_resize_horizontal,
       (uint8_t *restrict out, size_t outStride, const uint8_t *restrict in, size_t inStride,
        size_t rows, size_t outWidth, const int32_t *restrict first, const int32_t *restrict taps,
        const int32_t *restrict weights, size_t weightWidth),
       (out, outStride, in, inStride, rows, outWidth, first, taps, weights, weightWidth)) {
  // Four rows side by side fill sixteen lanes, one of four unused.
  for (size_t y = 0; y < rows; y += 4) {
    size_t count = rows - y < 4 ? rows - y : 4;
    const uint8_t *source[4];
    uint8_t *target[4];
    for (size_t r = 0; r < 4; r++) {
      size_t row = y + (r < count ? r : count - 1);
      source[r] = in + row * inStride;
      target[r] = out + row * outStride;
    }
    for (size_t x = 0; x < outWidth; x++) {
      const int32_t *w = weights + x * weightWidth;
      size_t offset = 3 * (size_t)first[x];
      int32x16 sum = {0};
      sum += half;
      for (int32_t t = 0; t < taps[x]; t++, offset += 3) {
        uint8x16 pixels;
        uint32_t words[4];
        memcpy(&words[0], source[0] + offset, 4);
        memcpy(&words[1], source[1] + offset, 4);
        memcpy(&words[2], source[2] + offset, 4);
        memcpy(&words[3], source[3] + offset, 4);
        memcpy(&pixels, words, 16);
        sum += WIDEN(pixels) * w[t];
      }
      sum >>= ck_resize_weight_bits;
      uint8x16 result = __builtin_convertvector(sum, uint8x16);
      uint32_t words[4];
      memcpy(words, &result, 16);
      memcpy(target[0] + 3 * x, &words[0], 4);
      memcpy(target[1] + 3 * x, &words[1], 4);
      memcpy(target[2] + 3 * x, &words[2], 4);
      memcpy(target[3] + 3 * x, &words[3], 4);
    }
  }
}

KERNEL(void, ck_resize_vertical,
       (uint8_t *restrict out, size_t outStride, const uint8_t *restrict in, size_t inStride,
        size_t rowBytes, size_t outRows, const int32_t *restrict first,
        const int32_t *restrict taps, const int32_t *restrict weights, size_t weightWidth),
       (out, outStride, in, inStride, rowBytes, outRows, first, taps, weights, weightWidth)) {
  for (size_t y = 0; y < outRows; y++) {
    const int32_t *w = weights + y * weightWidth;
    const uint8_t *source = in + (size_t)first[y] * inStride;
    int32_t count = taps[y];
    for (size_t x = 0; x < rowBytes; x += 16) {
      int32x16 sum = {0};
      sum += half;
      for (int32_t t = 0; t < count; t++) {
        uint8x16 bytes;
        memcpy(&bytes, source + (size_t)t * inStride + x, 16);
        sum += WIDEN(bytes) * w[t];
      }
      sum >>= ck_resize_weight_bits;
      uint8x16 result = __builtin_convertvector(sum, uint8x16);
      memcpy(out + y * outStride + x, &result, 16);
    }
  }
}

void ck_image_to_planes(float *restrict out, size_t size, const uint8_t *restrict in, size_t stride,
                        const float *restrict table) {
  for (size_t y = 0; y < size; y++) {
    float *red = out + y * size, *green = red + size * size, *blue = green + size * size;
    const uint8_t *pixel = in + y * stride;
    for (size_t x = 0; x < size; x++, pixel += 3) {
      red[x] = table[pixel[0]];
      green[x] = table[256 + pixel[1]];
      blue[x] = table[512 + pixel[2]];
    }
  }
}

KERNEL(void, ck_planes_to_interleaved,
       (uint8_t *restrict out, const uint8_t *restrict in, size_t count),
       (out, in, count)) {
  for (size_t i = 0; i < count; i++) {
    out[3 * i] = in[i];
    out[3 * i + 1] = in[count + i];
    out[3 * i + 2] = in[2 * count + i];
  }
}

KERNEL(void, ck_inverted_cmyk_to_rgb,
       (uint8_t *restrict out, const uint8_t *restrict in, size_t count),
       (out, in, count)) {
  for (size_t i = 0; i < count; i++) {
    uint32_t white = in[4 * i + 3];
    for (size_t c = 0; c < 3; c++) {
      uint32_t product = (255u - in[4 * i + c]) * white + 128;
      uint32_t ink = (product + (product >> 8)) >> 8;
      out[3 * i + c] = (uint8_t)(white > ink ? white - ink : 0);
    }
  }
}
