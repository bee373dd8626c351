#if defined(__x86_64__)
#include "emulated.h"

#include "../../Sources/CKernels/product_lanes_bf16.c"
#pragma clang attribute pop
#endif
