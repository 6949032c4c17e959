// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The kernel's half of every address space. Built once at start, then constant: address spaces copy
 * the upper 256 entries of the top table.
 *
 * Invariant: no page is both writable and executable, in any mapping of the same frame. The kernel
 * image is therefore left out of the physical window.
 *
 * Isolation, on CPUs that let user mode read what only the kernel's pages show (Meltdown): the top
 * tables of address spaces then show of the kernel's half only what the way in and out needs (entry
 * code, IDT, of each CPU its descriptors, its struct arch_cpu and the stacks of NMIs). The kernel
 * runs on its own tables, which show no user memory: it never touches any (decision 001). Entry
 * code changes CR3; see `isolated` in traps.S. Nothing is global then.
 */
#ifndef KERNEL_ARCH_X86_64_PAGING_H
#define KERNEL_ARCH_X86_64_PAGING_H

#include <hallows/types.h>

#include "kernel/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/boot/parameters.h"

#define PML4_ENTRIES 512u
#define PML4_KERNEL_FIRST 256u

static inline void *physical_pointer(uint64_t address)
{
    return (void *)(PHYSICAL_WINDOW + address);
}

/* Takes zeroed, page-aligned memory for tables; returns its physical address, 0 when none is left.
 */
typedef uint64_t (*page_source)(void);

/* Builds the final tables for `ram` and loads them. Context: start only, early tables loaded.
 * Returns NO_MEMORY when `pages` runs dry. */
HALLOWS_MUST_CHECK status_t paging_init(const struct memory_map *ram, page_source pages);

/* Maps one page of device registers, uncached, for the kernel's own use. Never NULL: the caller
 * maps at most DEVICE_WINDOW_PAGES. Context: start only. */
#define DEVICE_WINDOW_PAGES 32u
volatile void *paging_map_device(uint64_t address);

/* Loads the kernel's own tables on another CPU. Context: its start. */
void paging_load(void);

/* Maps the stacks of CPU `cpu`: the kernel's (KERNEL_STACK_BYTES) and three more (IST_STACK_BYTES),
 * each above an unmapped page. Returns the top of the first; 0: no memory. Context: start only. */
uint64_t paging_map_stack(uint32_t cpu, page_source pages);

/* A copy of the kernel's top table that also shows the page at `physical` (below 1 GiB) at its own
 * address, executable. Returns its address, below 4 GiB; 0: no memory. */
uint64_t paging_start_root(uint64_t physical, page_source pages);

/* With isolation: the page of RAM at `physical` shows in user mode's tables too. False: no memory.
 * Context: start only. */
bool paging_show(uint64_t physical, page_source pages);

/* To user mode, without what only the start needs (kernel.ld), which becomes RAM like any other,
 * the caller included. Context: the end of start; the other CPUs idle. */
_Noreturn void paging_leave_start(void);

/* Physical address of the kernel's own top table, and of the one whose upper half every address
 * space has: the same without isolation. */
extern uint64_t paging_kernel_root, paging_shared_root; /* [const] after start */

/* Loads an address space's top table, and drops translations of user addresses. With isolation that
 * happens on the way to user mode. */
static inline void paging_use(uint64_t root)
{
    __asm__ volatile("0: movq %0, %%cr3\n\t.pushsection .rodata.isolation, \"a\"\n\t"
                     ".quad 0b, 0\n\t.popsection" /* no instruction with isolation */
                     :
                     : "R"(root)
                     : "memory");
}

#endif
