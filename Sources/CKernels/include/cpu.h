// What the CPU can do, and how it treats denormals.
#ifndef CKERNELS_CPU_H
#define CKERNELS_CPU_H

/// Vector instructions: what every CPU has, AVX2 with FMA, AVX-512 (F, BW, DQ, VL).
enum { CK_LEVEL_BASE = 0, CK_LEVEL_AVX2 = 1, CK_LEVEL_AVX512 = 2 };

/// The best that this CPU has.
int ck_cpu_level(void);

/// Flushes denormals to zero in the calling thread, results and operands alike.
void ck_flush_denormals(void);

#endif
