// Vector kernels. Every exported function is compiled for AVX-512, AVX2 and the base instruction set
// and chosen at load time. Conventions: restrict pointers that do not overlap unless said otherwise,
// sizes as size_t, any size allowed (0 too), no allocation.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "attention_kernels.h"
#include "band_kernels.h"
#include "bfloat16_kernels.h"
#include "cpu.h"
#include "elementwise_kernels.h"
#include "image_kernels.h"
#include "loss_kernels.h"
#include "meter_kernels.h"
#include "neighbour_kernels.h"
#include "normalization_kernels.h"
#include "optimizer_kernels.h"
#include "packed_weights.h"
#include "product_kernels.h"
#include "random_kernels.h"
#include "reduction_kernels.h"
#include "rounding_kernels.h"

#endif
