// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * How much of everything one incarnation of a cell takes: windows (2 MiB segments), pages,
 * capability slots, untyped memory. Pure: no system calls.
 */
#ifndef SUPERVISOR_PLAN_H
#define SUPERVISOR_PLAN_H

#include <hallows/cell.h>
#include <hallows/status.h>
#include <hallows/system.h>

#include "lib/elf/elf.h"

#define CELL_TABLE_SLOTS 64u
#define PLAN_PROGRAM_WINDOWS_MAX 16u /* 32 MiB of program */
/* More of a BAR is not shown. */
#define PLAN_BAR_BYTES_MAX 0x1000000ull

/* What the cell's device area shows of one device, in pages. */
struct plan_device {
    uint64_t bar_bytes[6]; /* 0: not shown */
};

struct plan_request {
    const struct system_cell *cell;
    const struct elf_program *program;
    const struct plan_device *devices; /* cell->device_count of them */
    uint64_t ring_pool_pages;          /* of all its rings whose device addresses it is told */
    uint32_t extra_windows;            /* windows made later from the cell's memory (ECAM) */
    uint32_t extra_directories;        /* 1 GiB address ranges for them and for the rings */
};

struct cell_plan {
    uint32_t program_windows;
    uint32_t device_windows;
    uint32_t dma_windows;
    uint32_t heap_windows;
    uint32_t window_count; /* program, stack, info, device, DMA, heap in this order, then extra */
    uint32_t table_count;  /* page tables of both levels */
    uint32_t stack_pages;
    uint32_t info_pages;
    uint32_t device_pages;
    uint64_t program_pages;
    uint64_t code_address; /* the program's first executable segment; without one 0 bytes */
    uint64_t code_bytes;
    uint64_t config_offset; /* in the info window: settings, DMA addresses, ring pool addresses */
    uint64_t dma_address_offset;
    uint64_t ring_address_offset;
    uint64_t untyped_bytes;
};

/* TOO_LARGE: program, devices or address lists do not fit their windows; *what says which. */
status_t cell_plan_make(struct cell_plan *plan, const struct plan_request *request,
                        const char **what) HALLOWS_MUST_CHECK;

/* Order of a cell's windows. */
static inline uint32_t plan_stack_window(const struct cell_plan *p)
{
    return p->program_windows;
}
static inline uint32_t plan_info_window(const struct cell_plan *p)
{
    return p->program_windows + 1u;
}
static inline uint32_t plan_device_window(const struct cell_plan *p)
{
    return p->program_windows + 2u;
}
static inline uint32_t plan_dma_window(const struct cell_plan *p)
{
    return plan_device_window(p) + p->device_windows;
}
static inline uint32_t plan_heap_window(const struct cell_plan *p)
{
    return plan_dma_window(p) + p->dma_windows;
}
static inline uint32_t plan_extra_window(const struct cell_plan *p)
{
    return plan_heap_window(p) + p->heap_windows;
}

#endif
