// What the CPU can do, and how it treats denormals.
#ifndef CKERNELS_CPU_H
#define CKERNELS_CPU_H

/// Vector instructions: what every CPU has, AVX2 with FMA (x86-64-v3), AVX-512 (x86-64-v4).
enum { CK_LEVEL_BASE = 0, CK_LEVEL_AVX2 = 1, CK_LEVEL_AVX512 = 2 };

/// The best that this CPU has, up to the limit.
int ck_cpu_level(void);

/// Kernels do without instructions above `level`. Before any thread computes.
void ck_limit_cpu_level(int level);

/// Flushes denormals to zero in the calling thread, results and operands alike.
void ck_flush_denormals(void);

#endif
