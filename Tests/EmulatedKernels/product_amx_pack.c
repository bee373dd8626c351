#if defined(__x86_64__)
#include "emulated.h"

#include "../../Sources/CKernels/product_amx_pack.c"
#pragma clang attribute pop
#endif
