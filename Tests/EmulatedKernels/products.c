// The choice of kernels, on a CPU that seems to have everything.
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>

#include "emulated.h"

#include "../../Sources/CKernels/include/cpu.h"

#define ck_cpu_level() CK_LEVEL_AVX512
#define __builtin_cpu_supports(FEATURE) 1
#define syscall(...) 0

#include "../../Sources/CKernels/products.c"

#pragma clang attribute pop

#endif
