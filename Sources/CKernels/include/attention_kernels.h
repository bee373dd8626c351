// Kernels of dense attention: softmax of score rows, dropout, and their gradients.
#ifndef CKERNELS_ATTENTION_H
#define CKERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

/// Softmax of every row of scores [rows, columns] (row stride `stride`), in place:
/// p[i] = exp(scale * s[i] - max) / sum.
void ck_softmax_rows(float *scores, size_t rows, size_t columns, size_t stride, float scale);

/// dropped[i] = keep[i] ? p[i] * factor : 0 for every row; `keep` is dense [rows, columns].
void ck_dropout_rows(float *restrict dropped, const float *restrict p, const uint8_t *restrict keep,
                     size_t rows, size_t columns, size_t stride, float factor);

/// Gradient of p = softmax(scale * s) followed by dropout, in place of d:
/// on entry d = gradient of the dropped probabilities; with keep (may be null) g = keep * factor * d;
/// on return d[i] = scale * p[i] * (g[i] - sum_j p[j] g[j]), the gradient of s.
void ck_softmax_rows_backward(float *restrict d, const float *restrict p,
                              const uint8_t *restrict keep, size_t rows, size_t columns,
                              size_t stride, float scale, float factor);

#endif
