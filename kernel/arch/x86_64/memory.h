// SPDX-License-Identifier: MIT OR Apache-2.0
/* The kernel's view of RAM: the physical window; page-table entries. Part of kernel/arch.h. */
#ifndef KERNEL_ARCH_X86_64_MEMORY_H
#define KERNEL_ARCH_X86_64_MEMORY_H

#include <stdint.h>

#include "kernel/arch/x86_64/entries.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/offsets.h"

/* Constant on a CPU, so the compiler may keep what it read. */
static inline struct cpu *arch_cpu_self(void)
{
    struct cpu *self;
    __asm__("movq %%gs:%c1, %0" : "=r"(self) : "i"(CPU_SELF));
    return self;
}

/* Entry code keeps it there until the thread is let go of (arch_thread_forget). */
static inline struct thread *arch_caller(struct kernel *k)
{
    struct thread *loaded;
    (void)k;
    __asm__("movq %%gs:%c1, %0" : "=r"(loaded) : "i"(CPU_LOADED));
    return loaded;
}

#define ARCH_USER_CODE SELECTOR_USER_CODE
#define ARCH_USER_DATA SELECTOR_USER_DATA

static inline void *arch_memory(uint64_t physical)
{
    return (void *)(PHYSICAL_WINDOW + physical);
}

/* By the carry of the comparison, which no branch predictor guesses. */
static inline uint64_t arch_index(uint64_t n, uint64_t count)
{
    uint64_t mask;
    __asm__("cmpq %2, %1\n\tsbbq %0, %0" : "=r"(mask) : "r"(n), "er"(count) : "cc");
    return n & mask;
}

/* The compiler must not leave it out where it knows that a branch has looked already. */
static inline uint32_t arch_mask(uint32_t n, uint32_t count)
{
    __asm__("" : "+r"(n));
    return n & (count - 1);
}

#endif
