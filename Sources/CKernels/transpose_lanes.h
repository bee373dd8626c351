// 16 x 16 floats, transposed by shuffles of eight.
#ifndef CKERNELS_TRANSPOSE_LANES_H
#define CKERNELS_TRANSPOSE_LANES_H

#include "lanes.h"

// All of it is in registers and on the stack only if no index is left to be computed.
#define UNROLLED _Pragma("clang loop unroll(full)")

/// 8 x 8: pairs, then pairs of pairs, within halves of a vector; then halves are exchanged.
LANES_TARGET HELPER void transpose8(lanes8 r[8]) {
  lanes8 t[8];
  UNROLLED for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  UNROLLED for (int i = 0; i < 8; i += 4)
    UNROLLED for (int h = 0; h < 2; h++) {
      r[i + 2 * h] = __builtin_shufflevector(t[i + h], t[i + h + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      r[i + 2 * h + 1] = __builtin_shufflevector(t[i + h], t[i + h + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  UNROLLED for (int i = 0; i < 4; i++) {
    lanes8 low = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    r[i] = low;
  }
}

LANES_TARGET HELPER void transpose_lanes16(lanes16 r[16]) {
  lanes8 quarter[2][2][8];
  UNROLLED for (int i = 0; i < 16; i++) {
    quarter[i / 8][0][i % 8] = r[i].lo;
    quarter[i / 8][1][i % 8] = r[i].hi;
  }
  UNROLLED for (int i = 0; i < 2; i++)
    UNROLLED for (int h = 0; h < 2; h++) transpose8(quarter[i][h]);
  UNROLLED for (int i = 0; i < 16; i++) {
    r[i].lo = quarter[0][i / 8][i % 8];
    r[i].hi = quarter[1][i / 8][i % 8];
  }
}

#endif
