// What the CPU can do, and how it treats denormals.
#include "include/cpu.h"

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static int most = CK_LEVEL_AVX512;

void ck_limit_cpu_level(int level) { most = level; }

int ck_cpu_level(void) {
  int level = CK_LEVEL_BASE;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v3")) level = CK_LEVEL_AVX2;
  if (__builtin_cpu_supports("x86-64-v4")) level = CK_LEVEL_AVX512;
#endif
  return level < most ? level : most;
}

void ck_flush_denormals(void) {
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() | 0x8040u);
#elif defined(__aarch64__)
  uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  __asm__ volatile("msr fpcr, %0" ::"r"(control | (1ull << 24)));
#endif
}
