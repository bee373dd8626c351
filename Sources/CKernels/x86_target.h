// Which instructions the code of a file for some x86 CPUs may use. The tests compile such files for a CPU that
// lacks them, with intrinsics in plain C.
#ifndef CKERNELS_X86_TARGET_H
#define CKERNELS_X86_TARGET_H

#ifndef X86_TARGET
#define X86_TARGET(FEATURES) __attribute__((target(FEATURES)))
#endif

#endif
