// SPDX-License-Identifier: MIT OR Apache-2.0
/* The machine of a proof has no memory: objects are had by proofs/kernel/cells.h only. */
#ifndef PROOFS_KERNEL_MEMORY_H
#define PROOFS_KERNEL_MEMORY_H

#include <stdint.h>

#define ARCH_USER_CODE 0x2bu
#define ARCH_USER_DATA 0x23u

struct cpu *arch_cpu_self(void);
/* Whatever is read from there is arbitrary; nothing is kept. */
void *arch_memory(uint64_t physical);

static inline uint64_t arch_index(uint64_t n, uint64_t count)
{
    return n < count ? n : 0;
}

static inline uint32_t arch_mask(uint32_t n, uint32_t count)
{
    return n & (count - 1u);
}

/* The core's state is not known here. */
#define arch_caller(k) thread_at(k, current_thread(k))

#endif
