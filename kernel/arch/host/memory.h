// SPDX-License-Identifier: MIT OR Apache-2.0
/* Physical memory of the host's machine: one arena. Part of kernel/arch.h. */
#ifndef KERNEL_ARCH_HOST_MEMORY_H
#define KERNEL_ARCH_HOST_MEMORY_H

#include <stdint.h>

/* Physical address 0; switched by a test that drives several kernels. */
extern uint8_t *host_memory;

#define ARCH_USER_CODE 0x2bu
#define ARCH_USER_DATA 0x23u

extern struct cpu *host_cpu;

static inline struct cpu *arch_cpu_self(void)
{
    return host_cpu;
}

static inline void *arch_memory(uint64_t physical)
{
    return host_memory + physical;
}

static inline uint64_t arch_index(uint64_t n, uint64_t count)
{
    return n < count ? n : 0;
}

static inline uint32_t arch_mask(uint32_t n, uint32_t count)
{
    return n & (count - 1);
}

/* The core's state is not known here. */
#define arch_caller(k) thread_at(k, current_thread(k))

#endif
