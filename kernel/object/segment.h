// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the files about segments share. Context: as kernel/object/object.h. */
#ifndef KERNEL_OBJECT_SEGMENT_H
#define KERNEL_OBJECT_SEGMENT_H

#include "kernel/object/object.h"
#include "kernel/state.h"

#define RIGHTS_PAGE (RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE)

/* Entry of the segment's own table. Precondition: page < SEGMENT_PAGES. */
static inline uint64_t *segment_leaf(const struct segment *segment, uint32_t page)
{
    return (uint64_t *)arch_memory(segment->physical) + arch_mask(page, SEGMENT_PAGES);
}

/* The entry that attaches a large page with at most these rights. */
uint64_t segment_large_entry(const struct segment *segment, uint32_t rights);

/* Threads have their upcall areas in it. */
static inline bool segment_pinned(const struct segment *segment)
{
    return segment->upcalls.n != NIL;
}

/* The record of an attachment in no list: it belongs to the segment, and its attachment goes first
 * into the list. The table's entry stays as it is, as in the next. */
static inline void segment_link(struct kernel *k, struct attachment_record *record, segment_ix i,
                                struct attachment *list, struct attachment at)
{
    struct attachment next = *list;

    *record = (struct attachment_record){
        .segment = i, .next_table = next.table, .next_entry = (uint16_t)next.entry};
    if (next.table.n != NIL) {
        struct attachment_record *after = segment_record(k, next);
        after->previous_table = at.table;
        after->previous_entry = (uint16_t)at.entry;
    }
    *list = at;
}

/* Out of whichever list of the segment it is in. */
void segment_unlink(struct kernel *k, struct segment *segment, struct attachment at);

/* A frame of the segment's own with any content: a spare one, else the next of its untyped memory.
 * 0: there is none. */
uint64_t segment_take_frame(struct kernel *k, segment_ix i);

#endif
