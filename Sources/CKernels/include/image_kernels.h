// Kernels on 8-bit images (RGB, interleaved, rows `stride` bytes apart).
// Vector loads may read up to 16 bytes past the last pixel: buffers carry that much slack.
#ifndef CKERNELS_IMAGE_H
#define CKERNELS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/// Fixed-point bits of resize weights: 8-bit pixels times weights must fit 32 bits, two to spare.
enum { ck_resize_weight_bits = 22 };

/// Output pixel x of a row = sum over t < taps[x] of in[first[x] + t] * weights[x * width + t],
/// rounded; each output row has 1 byte of slack after its last pixel.
void ck_resize_horizontal(uint8_t *restrict out, size_t outStride, const uint8_t *restrict in,
                          size_t inStride, size_t rows, size_t outWidth,
                          const int32_t *restrict first, const int32_t *restrict taps,
                          const int32_t *restrict weights, size_t weightWidth);

/// Output row y = sum over t < taps[y] of in row (first[y] + t) * weights[y * width + t], rounded.
/// `rowBytes` bytes of every row are made, up to the next multiple of 16 are written.
void ck_resize_vertical(uint8_t *restrict out, size_t outStride, const uint8_t *restrict in,
                        size_t inStride, size_t rowBytes, size_t outRows,
                        const int32_t *restrict first, const int32_t *restrict taps,
                        const int32_t *restrict weights, size_t weightWidth);

/// out[c][y][x] (planar, size x size) = table[c * 256 + in[y][x][c]].
void ck_image_to_planes(float *restrict out, size_t size, const uint8_t *restrict in, size_t stride,
                        const float *restrict table);

/// out[i] = (in[i], in[count + i], in[2 * count + i]).
void ck_planes_to_interleaved(uint8_t *restrict out, const uint8_t *restrict in, size_t count);

/// Inverted (Adobe) CMYK to RGB with the rounding of 8-bit multiplication; may not overlap.
void ck_inverted_cmyk_to_rgb(uint8_t *restrict out, const uint8_t *restrict in, size_t count);

#endif
