// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Large pages: a segment that is one page of 2 MiB, or of 1 GiB, instead of a table of small ones.
 * Attaching it is one entry all the same: a leaf in a table of level 1 or, for 1 GiB, of level 2.
 * Such a segment has no copies and keeps its page until it dies.
 */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/object/segment.h"

uint64_t segment_large_entry(const struct segment *segment, uint32_t rights)
{
    uint32_t has = arch_leaf_rights(segment->large);

    return arch_large_encode(arch_leaf_physical(segment->large),
                             (has & ~(uint32_t)RIGHTS_PAGE) | rights_narrow(has, rights));
}

/* The next 2 MiB of the segment's untyped memory, cleared. Bound: SEGMENT_PAGES pages marked, or a
 * step of untyped_prepare. */
static status_t large_frame(struct kernel *k, segment_ix i, uint64_t *physical)
{
    struct untyped *u = untyped_at(k, segment_at(k, i)->source);

    if ((u->watermark & (SEGMENT_BYTES - 1u)) != 0) {
        return STATUS_MISALIGNED;
    }
    status_t status = untyped_prepare(u, SEGMENT_BYTES);
    if (status != STATUS_OK) {
        return status;
    }
    *physical = u->watermark;
    for (uint32_t n = 0; n < SEGMENT_PAGES; n++) {
        k->pages[(*physical >> PAGE_SHIFT) + n] = (struct page){.kind = PAGE_FRAME, .owner = i.n};
    }
    u->watermark += SEGMENT_BYTES;
    return STATUS_OK;
}

/* A part of device memory that one page of that level shows. */
static status_t large_device(const struct slot *source, const struct large_request *request,
                             uint64_t *physical)
{
    uint64_t bytes = (uint64_t)SEGMENT_BYTES << (9u * (request->level - 1u));

    if (request->offset > source->length || bytes > source->length - request->offset) {
        return STATUS_INVALID_ARGUMENT;
    }
    *physical = source->base + request->offset;
    return (*physical & (bytes - 1u)) != 0 ? STATUS_MISALIGNED : STATUS_OK;
}

static status_t large_rights(const struct slot *slot, uint64_t asked, uint32_t *rights)
{
    const uint64_t known = RIGHTS_PAGE | PAGE_UNCACHED | PAGE_WRITE_COMBINING;
    uint32_t given = rights_narrow(slot->rights, (uint32_t)asked & RIGHTS_PAGE);
    bool both = (given & RIGHT_WRITE) != 0 && (given & RIGHT_EXECUTE) != 0;

    if ((asked & ~known) != 0 || (asked & RIGHT_READ) == 0 || both) {
        return STATUS_INVALID_ARGUMENT;
    }
    *rights = given | ((uint32_t)asked & ~(uint32_t)RIGHTS_PAGE);
    return (given & RIGHT_READ) == 0 ? STATUS_NO_RIGHTS : STATUS_OK;
}

/*
 * Requires: segment held with MANAGE, never used (ALREADY_MAPPED) and attached nowhere (BUSY);
 * level 1 (2 MiB), or 2 (1 GiB, where the CPU has it; UNSUPPORTED); READ, not WRITE with EXECUTE;
 * either device memory with those rights, no EXECUTE, an aligned place in it; or the segment's own
 * untyped memory, level 1, its next byte aligned (MISALIGNED). Changes:  OK: the segment is that
 * page. AGAIN: only memory was cleared.
 */
status_t segment_populate_large(struct kernel *k, const struct large_request *request)
{
    struct slot *slot, *source;
    uint32_t rights;
    uint64_t physical = 0;
    status_t status = cap_find(k, request->segment, OBJECT_SEGMENT, RIGHT_MANAGE, &slot);

    if (status == STATUS_OK) {
        status = large_rights(slot, request->rights, &rights);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (request->level == 0 || request->level > 2) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (request->level > arch_large_level_max()) {
        return STATUS_UNSUPPORTED;
    }
    segment_ix i = {slot->object};
    struct segment *s = segment_at(k, i);
    if (s->used != 0 || s->shown != s->physical) {
        return STATUS_ALREADY_MAPPED;
    }
    if (s->open.table.n != NIL || s->held.table.n != NIL || s->io.table.n != NIL ||
        s->child.n != NIL) {
        return STATUS_BUSY;
    }
    uint32_t own = 0;
    status = cap_find(k, request->source, OBJECT_DEVICE_MEMORY, rights & (RIGHT_READ | RIGHT_WRITE),
                      &source);
    if (status == STATUS_OK) {
        bool executes = (rights & RIGHT_EXECUTE) != 0;
        status = executes ? STATUS_INVALID_ARGUMENT : large_device(source, request, &physical);
    } else if (status == STATUS_WRONG_TYPE) {
        status = cap_find(k, request->source, OBJECT_UNTYPED, RIGHT_MANAGE, &source);
        if (status == STATUS_OK && (source->object != s->source.n || request->level != 1 ||
                                    (rights & PAGE_WRITE_COMBINING) != 0)) {
            return STATUS_INVALID_ARGUMENT;
        }
        own = LEAF_OWN;
        status = status == STATUS_OK ? large_frame(k, i, &physical) : status;
    }
    if (status != STATUS_OK) {
        return status;
    }
    s->large = arch_large_encode(physical, rights | own);
    s->large_level = (uint32_t)request->level;
    s->used = 1;
    return STATUS_OK;
}
