// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Page-table entries (SDM vol. 3, tables 4-15 to 4-20). The part of kernel/arch.h that encodes and
 * decodes them, inline because every memory call does it.
 *
 * Two of the bits that the CPU ignores are used: MAY_WRITE says that writing is allowed even where
 * the CPU's own bit is withheld (copy-on-write), OWN that a leaf's frame belongs to the segment
 * whose table this is.
 */
#ifndef KERNEL_ARCH_X86_64_ENTRIES_H
#define KERNEL_ARCH_X86_64_ENTRIES_H

#include <stdbool.h>
#include <stdint.h>

#include <hallows/syscall.h>

#include "kernel/leaf.h"

#define PTE_PRESENT (1ull << 0)
#define PTE_WRITE (1ull << 1)
#define PTE_USER (1ull << 2)
#define PTE_WRITE_THROUGH (1ull << 3)
#define PTE_CACHE_DISABLE (1ull << 4)
#define PTE_LARGE (1ull << 7)
#define PTE_GLOBAL (1ull << 8)
/* Bits 9 and 10 are software's. Bit 11 is not ours to use: the IOMMU walks leaf tables too
 * (docs/decisions/025). */
#define PTE_MAY_WRITE (1ull << 9)
#define PTE_OWN (1ull << 10)
#define PTE_NO_EXECUTE (1ull << 63)
#define PTE_ADDRESS_MASK 0x000ffffffffff000ull

/* Cache type by PAT entry: 0 write-back, 1 write-combining (set by paging_init), 3 uncacheable. */
#define PTE_CACHE_WRITE_COMBINING PTE_WRITE_THROUGH
#define PTE_CACHE_UNCACHEABLE (PTE_CACHE_DISABLE | PTE_WRITE_THROUGH)

#define NO_EXECUTE_SHIFT 61u
_Static_assert(RIGHT_WRITE == PTE_WRITE && LEAF_OWN == PTE_OWN &&
                   (uint64_t)RIGHT_EXECUTE << NO_EXECUTE_SHIFT == PTE_NO_EXECUTE,
               "rights become bits of an entry by shifting");

static inline uint64_t arch_leaf_encode(uint64_t physical, uint32_t rights)
{
    /* WRITE and OWN are the same bits in both. */
    uint64_t write = (rights & RIGHT_WRITE) * (1u + PTE_MAY_WRITE / PTE_WRITE);
    uint64_t no_execute = (uint64_t)(~rights & RIGHT_EXECUTE) << NO_EXECUTE_SHIFT;
    uint64_t entry = physical | PTE_PRESENT | PTE_USER | write | no_execute | (rights & LEAF_OWN);

    if ((rights & (PAGE_UNCACHED | PAGE_WRITE_COMBINING)) != 0)
        entry |= rights & PAGE_UNCACHED ? PTE_CACHE_UNCACHEABLE : PTE_CACHE_WRITE_COMBINING;
    return entry;
}

static inline uint64_t arch_large_encode(uint64_t physical, uint32_t rights)
{
    return arch_leaf_encode(physical, rights) | PTE_LARGE;
}

static inline bool arch_entry_large(uint64_t entry)
{
    return (entry & PTE_LARGE) != 0;
}

static inline uint32_t arch_attach_rights(uint64_t entry)
{
    if (!(entry & PTE_PRESENT))
        return 0;
    uint32_t rights = RIGHT_READ;
    if (entry & PTE_MAY_WRITE)
        rights |= RIGHT_WRITE;
    if (!(entry & PTE_NO_EXECUTE))
        rights |= RIGHT_EXECUTE;
    return rights;
}

static inline uint32_t arch_leaf_rights(uint64_t entry)
{
    uint32_t rights = arch_attach_rights(entry);

    if (rights == 0)
        return 0;
    if (entry & PTE_CACHE_DISABLE)
        rights |= PAGE_UNCACHED;
    else if (entry & PTE_WRITE_THROUGH)
        rights |= PAGE_WRITE_COMBINING;
    return rights;
}

static inline bool arch_leaf_own(uint64_t entry)
{
    return (entry & PTE_OWN) != 0;
}

static inline uint64_t arch_leaf_physical(uint64_t entry)
{
    return entry & PTE_ADDRESS_MASK;
}

static inline uint64_t arch_entry_share(uint64_t entry)
{
    return entry & ~(PTE_WRITE | PTE_OWN);
}

static inline bool arch_entry_writable(uint64_t entry)
{
    return (entry & PTE_WRITE) != 0;
}

static inline uint64_t arch_table_encode(uint64_t physical)
{
    return physical | PTE_PRESENT | PTE_USER | PTE_WRITE;
}

static inline uint64_t arch_attach_encode(uint64_t physical, uint32_t rights)
{
    return arch_leaf_encode(physical, rights & (RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE));
}

static inline void arch_entry_store(uint64_t *entry, uint64_t value)
{
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

#endif
