// Run-time choice of instruction set: the attribute goes on exported functions only (a cloned
// function calls another through the dynamic linker, never inlined); helpers are static inline.
#ifndef CKERNELS_MULTIVERSION_H
#define CKERNELS_MULTIVERSION_H

#if defined(__x86_64__)
#define MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif

#endif
