// How a kernel is compiled for several instruction sets, of which a call takes the best that the CPU has:
//
//     KERNEL(type, name, (parameters), (their names)) { body }
//
// A body says in which order it adds up, in lanes (lanes.h) and never by leave to reassociate, so that AVX2,
// AVX-512 and NEON give the same bits. The rest of a row is added up in lanes, too: in a loop over single floats,
// whether a product is rounded before it is added is the compiler's choice. Without FMA, on the base instruction
// set of x86-64, last bits differ.
#ifndef CKERNELS_KERNEL_H
#define CKERNELS_KERNEL_H

#include "include/cpu.h"

#define KERNEL_BODY static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define KERNEL(TYPE, NAME, PARAMETERS, NAMES)                                             \
  KERNEL_BODY TYPE NAME##_body PARAMETERS;                                                \
  __attribute__((target("arch=x86-64-v4"))) static TYPE NAME##_avx512 PARAMETERS {        \
    return NAME##_body NAMES;                                                             \
  }                                                                                       \
  __attribute__((target("arch=x86-64-v3"))) static TYPE NAME##_avx2 PARAMETERS {          \
    return NAME##_body NAMES;                                                             \
  }                                                                                       \
  TYPE NAME PARAMETERS {                                                                  \
    int level = ck_cpu_level();                                                           \
    if (level == CK_LEVEL_AVX512) return NAME##_avx512 NAMES;                             \
    if (level == CK_LEVEL_AVX2) return NAME##_avx2 NAMES;                                 \
    return NAME##_body NAMES;                                                             \
  }                                                                                       \
  KERNEL_BODY TYPE NAME##_body PARAMETERS
#else
#define KERNEL(TYPE, NAME, PARAMETERS, NAMES) TYPE NAME PARAMETERS
#endif

#endif
