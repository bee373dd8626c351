// Floats rounded to bf16, and left floats.
#include "include/rounding_kernels.h"

#include "kernel.h"
#include "lanes_bf16.h"

KERNEL(void, ck_round_bf16,
       (float *x, size_t n),
       (x, n)) {
  size_t i = 0;
  lanes16 v;
  for (; i + 16 <= n; i += 16) {
    v = LOAD16(x + i);
    round16(&v);
    STORE16(x + i, v);
  }
  load_part16(&v, x + i, n - i, 0);
  round16(&v);
  store_part16(x + i, &v, n - i);
}

KERNEL(void, ck_add_bf16,
       (float *restrict y, const float *restrict x, size_t n),
       (y, x, n)) {
  size_t i = 0;
  lanes16 v, w;
  for (; i + 16 <= n; i += 16) {
    v = LOAD16(y + i) + LOAD16(x + i);
    round16(&v);
    STORE16(y + i, v);
  }
  load_part16(&v, y + i, n - i, 0);
  load_part16(&w, x + i, n - i, 0);
  v += w;
  round16(&v);
  store_part16(y + i, &v, n - i);
}
