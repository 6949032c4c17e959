// SPDX-License-Identifier: MIT OR Apache-2.0
/* The kernel's view of RAM: the physical window; page-table entries. Part of kernel/arch.h. */
#ifndef KERNEL_ARCH_X86_64_MEMORY_H
#define KERNEL_ARCH_X86_64_MEMORY_H

#include <stdint.h>

#include "kernel/arch/x86_64/entries.h"
#include "kernel/arch/x86_64/layout.h"

#define ARCH_USER_CODE SELECTOR_USER_CODE
#define ARCH_USER_DATA SELECTOR_USER_DATA

static inline void *arch_memory(uint64_t physical)
{
    return (void *)(PHYSICAL_WINDOW + physical);
}

#endif
