#if defined(__x86_64__)
#include "emulated.h"

#include "../../Sources/CKernels/product_amx_multiply.c"
#pragma clang attribute pop
#endif
