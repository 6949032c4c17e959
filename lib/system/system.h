// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Checked reader of the compiled system description (hallows/system.h). system_open checks every
 * offset, count, index, name and size; what it returns can be used without further checks. The
 * memory stays the caller's, must not change, and lies at a multiple of 8.
 *
 * Numbered rules a description keeps, each checked:
 *  1 names are 1..23 characters of [a-z0-9_.-], NUL-padded, unique among their kind
 *  2 every index is below its count; no device belongs to two cells; at most one cell is the pci
 *    service; a ring has two different ends, and no cell more than CELL_RINGS_MAX
 *  3 heap and DMA memory are multiples of SEGMENT_BYTES that fit a cell's addresses
 * (hallows/cell.h) 4 the stack is 1 page to 1 MiB, in pages 5 configuration lies inside the
 * description and is well-formed (lib/config) 6 priority, restart kind, flags, device kind,
 * interrupt count and ring sizes are in range
 *  7 windows stand CPU by CPU, as many and as long as a schedule takes; CPU 0 has one of domain 0,
 *    if any; a cell's CPU has a window of its domain, or none at all and the domain is 0
 */
#ifndef LIB_SYSTEM_SYSTEM_H
#define LIB_SYSTEM_SYSTEM_H

#include <hallows/status.h>
#include <hallows/system.h>

#define SYSTEM_STACK_BYTES_MAX 0x100000u
#define SYSTEM_DMA_BYTES_MAX 0x20000000ull
#define SYSTEM_CONFIG_BYTES_MAX 0x10000u
#define SYSTEM_RING_POOL_BYTES_MAX 0x4000000ull /* 64 MiB of buffers for one ring */

struct system_view {
    const uint8_t *base;
    const struct system_header *header;
    const struct system_cell *cells;
    const struct system_device *devices;
    const struct system_ring *rings;
    const struct system_window *windows;
};

enum system_part {
    SYSTEM_PART_HEADER,
    SYSTEM_PART_CELL,
    SYSTEM_PART_DEVICE,
    SYSTEM_PART_RING,
    SYSTEM_PART_WINDOW
};

struct system_problem {
    enum system_part part;
    uint32_t index;   /* of the cell, device, ring or window */
    const char *what; /* e.g. "priority is above 255" */
};

/* CORRUPT: a rule is broken; WRONG_VERSION. *problem then says which. */
status_t system_open(struct system_view *view, const void *data, uint64_t bytes,
                     struct system_problem *problem) HALLOWS_MUST_CHECK;
/* "header", "cell", ... */
const char *system_part_text(enum system_part part);

static inline const char *system_cell_config(const struct system_view *view,
                                             const struct system_cell *cell)
{
    return (const char *)view->base + cell->config_offset;
}

#endif
