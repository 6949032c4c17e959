// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The pages of a segment. A frame belongs to one segment until that segment's untyped memory is
 * reset: shown by its leaf table, or in its list of spare frames (docs/decisions/020). Device pages
 * and pages of the boot module belong to nobody and are only shown.
 */
#include "kernel/object/segment.h"

#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "lib/base/bytes.h"

/* Spare frames cleared in one call at most: bounds its time with interrupts off. */
#define SPARE_CLEAR_STEP 2u

/* ---- Frames
 * ------------------------------------------------------------------------------------------ */

FAST void segment_spare_frame(struct kernel *k, segment_ix i, uint64_t physical)
{
    struct segment *segment = segment_at(k, i);
    struct page *page = page_at(k, physical);

    ASSERT(page->kind == PAGE_FRAME && page->owner == i.n);
    page->kind = PAGE_SPARE;
    page->clean = 0;
    page->next = segment->spare;
    segment->spare = (uint32_t)(physical >> PAGE_SHIFT);
}

static uint64_t spare_take(struct kernel *k, struct segment *segment)
{
    uint64_t physical = (uint64_t)segment->spare << PAGE_SHIFT;
    struct page *page = page_at(k, physical);

    segment->spare = page->next;
    page->kind = PAGE_FRAME;
    page->next = 0;
    return physical;
}

FAST inline uint64_t segment_take_frame(struct kernel *k, segment_ix i)
{
    struct segment *segment = segment_at(k, i);

    if (segment->spare != 0) {
        return spare_take(k, segment);
    }
    struct untyped *u = untyped_at(k, segment->source);
    uint64_t physical = u->watermark;
    if (physical == u->end) {
        return 0;
    }
    u->watermark = physical + PAGE_BYTES;
    if (u->prepared == physical) {
        u->prepared = physical + PAGE_BYTES;
    }
    pages_take(k, physical, 1, PAGE_FRAME, i.n);
    return physical;
}

/*
 * Makes sure that the next `count` frames are there and zero: the first spare ones, then fresh
 * ones. NO_MEMORY; AGAIN: cleared a part of it. Bound: SPARE_CLEAR_STEP pages cleared and a list
 * walked for POPULATE_PAGES_MAX, or PREPARE_PAGES_MAX pages cleared.
 */
APART static status_t spares_prepare(struct kernel *k, struct segment *segment, uint32_t count)
{
    struct untyped *u = untyped_at(k, segment->source);
    uint32_t spares = 0;
    uint32_t dirty = 0;

    for (uint32_t at = segment->spare; spares < count && at != 0; spares++) {
        dirty += k->pages[at].clean == 0 ? 1u : 0u;
        at = k->pages[at].next;
    }
    uint64_t fresh = (uint64_t)(count - spares) * PAGE_BYTES;
    if (fresh > u->end - u->watermark) {
        return STATUS_NO_MEMORY;
    }
    if (dirty == 0) {
        return untyped_prepare(u, fresh);
    }
    uint32_t cleared = 0;
    for (uint32_t at = segment->spare; cleared < SPARE_CLEAR_STEP && cleared < dirty;
         at = k->pages[at].next) {
        if (k->pages[at].clean == 0) {
            memset(arch_memory((uint64_t)at << PAGE_SHIFT), 0, PAGE_BYTES);
            k->pages[at].clean = 1;
            cleared++;
        }
    }
    return cleared < dirty || u->prepared < u->watermark + fresh ? STATUS_AGAIN : STATUS_OK;
}

/* ---- Pages
 * ------------------------------------------------------------------------------------------ */

FAST inline uint64_t segment_add_frame(struct kernel *k, segment_ix i, uint32_t page,
                                       uint32_t rights)
{
    uint64_t frame = segment_take_frame(k, i);

    VERIFY(frame != 0);
    segment_at(k, i)->used = 1;
    arch_entry_store(segment_leaf(segment_at(k, i), page),
                     arch_leaf_encode(frame, rights | LEAF_OWN));
    return frame;
}

/* What a request names: two registers. */
struct range {
    segment_ix segment;
    uint32_t rights;
    status_t status;
};

static struct range refused(status_t status)
{
    return (struct range){.status = status};
}

/* Checks the segment, the range of pages and the rights asked for, and narrows these to the
 * capability's. */
FAST static struct range range_decode(struct kernel *k, const struct populate_request *request)
{
    struct slot *slot;
    status_t status = cap_find_here(k, request->segment, OBJECT_SEGMENT, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return refused(status);
    }
    if (request->count == 0 || request->count > POPULATE_PAGES_MAX ||
        request->first >= SEGMENT_PAGES || request->first + request->count > SEGMENT_PAGES ||
        (request->rights >> 32) != 0) {
        return refused(STATUS_INVALID_ARGUMENT);
    }
    const uint32_t both = RIGHT_WRITE | RIGHT_EXECUTE;
    uint32_t asked = (uint32_t)request->rights;
    uint32_t given = rights_narrow(slot->rights, asked & RIGHTS_PAGE);
    if (segment_at(k, (segment_ix){slot->object})->large_level != 0 || (asked & RIGHT_READ) == 0 ||
        (given & both) == both) {
        return refused(STATUS_INVALID_ARGUMENT);
    }
    if ((given & RIGHT_READ) == 0) {
        return refused(STATUS_NO_RIGHTS);
    }
    return (struct range){.segment = {slot->object},
                          .rights = given | (asked & ~(uint32_t)RIGHTS_PAGE)};
}

FAST static bool range_empty(const struct segment *segment, const struct populate_request *request)
{
    for (uint32_t n = 0; n < (uint32_t)request->count; n++) {
        if (arch_leaf_rights(*segment_leaf(segment, (uint32_t)request->first + n)) != 0) {
            return false;
        }
    }
    return true;
}

FAST static void leaves_added(const struct segment *segment, const struct populate_request *request)
{
    if (segment->io.table.n != NIL) {
        arch_io_stored(segment_leaf(segment, (uint32_t)request->first),
                       (uint32_t)request->count * (uint32_t)sizeof(uint64_t));
    }
}

/*
 * Requires: segment held with MANAGE; 1..POPULATE_PAGES_MAX pages inside, all empty
 * (ALREADY_MAPPED); the untyped memory that the segment came from, held with MANAGE, with room;
 * READ, not WRITE with EXECUTE. Changes:  OK: each page has a fresh zeroed frame. AGAIN: only
 * memory was cleared.
 */
FAST status_t segment_populate(struct kernel *k, const struct populate_request *request)
{
    struct slot *source;
    struct range range = range_decode(k, request);
    segment_ix i = range.segment;
    uint32_t rights = range.rights;
    status_t status = range.status;

    if (status == STATUS_OK) {
        status = cap_find_here(k, request->source, OBJECT_UNTYPED, RIGHT_MANAGE, &source);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if ((rights & ~(uint32_t)(RIGHTS_PAGE | PAGE_UNCACHED)) != 0 ||
        segment_at(k, i)->source.n != source->object) {
        return STATUS_INVALID_ARGUMENT;
    }
    status = segment_make_open(k, i);
    if (status != STATUS_OK) {
        return status;
    }
    if (!range_empty(segment_at(k, i), request)) {
        return STATUS_ALREADY_MAPPED;
    }
    status = segment_at(k, i)->spare == 0
                 ? untyped_prepare(untyped_at(k, (untyped_ix){source->object}),
                                   request->count * PAGE_BYTES)
                 : spares_prepare(k, segment_at(k, i), (uint32_t)request->count);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t n = 0; n < (uint32_t)request->count; n++) {
        (void)segment_add_frame(k, i, (uint32_t)request->first + n, rights);
    }
    leaves_added(segment_at(k, i), request);
    return STATUS_OK;
}

/*
 * Requires: as segment_populate, with device memory held with READ (WRITE if that is asked for) and
 * a page-aligned range inside it; no EXECUTE. Changes:  the pages show the device memory.
 */
status_t segment_populate_device(struct kernel *k, const struct populate_request *request)
{
    struct slot *source;
    struct range range = range_decode(k, request);
    uint32_t rights = range.rights;
    status_t status = range.status;

    if (status == STATUS_OK) {
        status = cap_find(k, request->source, OBJECT_DEVICE_MEMORY,
                          rights & (RIGHT_READ | RIGHT_WRITE), &source);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if ((rights & ~(uint32_t)(RIGHTS_PAGE | PAGE_UNCACHED | PAGE_WRITE_COMBINING)) != 0 ||
        (rights & RIGHT_EXECUTE) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if ((request->offset & (PAGE_BYTES - 1u)) != 0) {
        return STATUS_MISALIGNED;
    }
    uint64_t bytes = request->count * PAGE_BYTES;
    if (request->offset > source->length || bytes > source->length - request->offset) {
        return STATUS_INVALID_ARGUMENT;
    }
    struct segment *segment = segment_at(k, range.segment);
    status = segment_make_open(k, range.segment);
    if (status != STATUS_OK) {
        return status;
    }
    if (!range_empty(segment, request)) {
        return STATUS_ALREADY_MAPPED;
    }
    segment->used = 1;
    for (uint32_t n = 0; n < (uint32_t)request->count; n++) {
        uint64_t physical = source->base + request->offset + (uint64_t)n * PAGE_BYTES;
        arch_entry_store(segment_leaf(segment, (uint32_t)request->first + n),
                         arch_leaf_encode(physical, rights));
    }
    leaves_added(segment, request);
    return STATUS_OK;
}

/*
 * Requires: segment held with MANAGE; 1..POPULATE_PAGES_MAX pages inside, all populated
 * (NOT_MAPPED); no copies of the segment, no upcall area in it (BUSY).
 * Changes:  OK: the pages are empty and no CPU uses them; frames of the segment's own are spare, to
 * back its pages again. AGAIN: a copied table was prepared.
 */
FAST status_t segment_depopulate(struct kernel *k, uint64_t segment, uint64_t first, uint64_t count)
{
    const struct populate_request request = {
        .segment = segment, .first = first, .count = count, .rights = RIGHT_READ};
    struct range range = range_decode(k, &request);
    segment_ix i = range.segment;
    status_t status = range.status;

    if (status == STATUS_OK) {
        status = segment_make_open(k, i);
    }
    if (status != STATUS_OK) {
        return status;
    }
    const struct segment *s = segment_at(k, i);
    if (segment_pinned(s)) {
        return STATUS_BUSY;
    }
    for (uint32_t n = 0; n < (uint32_t)count; n++) {
        if (arch_leaf_rights(*segment_leaf(s, (uint32_t)first + n)) == 0) {
            return STATUS_NOT_MAPPED;
        }
    }
    for (uint32_t n = 0; n < (uint32_t)count; n++) {
        uint64_t *leaf = segment_leaf(s, (uint32_t)first + n);
        uint64_t was = *leaf;
        arch_entry_store(leaf, 0);
        if (arch_leaf_own(was)) {
            segment_spare_frame(k, i, arch_leaf_physical(was));
        }
    }
    segment_flush(k, s);
    return STATUS_OK;
}

/* Keeps the frame, whose it is, whether its writes trap, and the attributes. */
FAST static uint64_t leaf_with_rights(uint64_t leaf, uint32_t rights)
{
    uint32_t attributes = arch_leaf_rights(leaf) & ~(uint32_t)RIGHTS_PAGE;
    bool own = arch_leaf_own(leaf);
    uint64_t entry =
        arch_leaf_encode(arch_leaf_physical(leaf), rights | attributes | (own ? LEAF_OWN : 0u));
    bool lets_through = own || arch_entry_writable(leaf); /* or it may not be written to */
    return lets_through ? entry : arch_entry_share(entry);
}

/*
 * Requires: segment held with MANAGE; populated pages (NOT_MAPPED); READ, not WRITE with EXECUTE;
 * no more than they have for pages that are not the segment's own frames (NO_RIGHTS). Changes:  the
 * pages' rights, in every attachment; attributes stay.
 */
FAST status_t segment_protect(struct kernel *k, uint64_t segment, uint64_t first, uint64_t count,
                              uint64_t rights)
{
    const struct populate_request request = {
        .segment = segment, .first = first, .count = count, .rights = rights};
    struct range range = range_decode(k, &request);
    uint32_t given = range.rights;

    if (range.status != STATUS_OK) {
        return range.status;
    }
    if ((given & ~(uint32_t)RIGHTS_PAGE) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    const struct segment *s = segment_at(k, range.segment);
    if (segment_pinned(s)) {
        return STATUS_BUSY;
    }
    status_t status = segment_make_open(k, range.segment);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t n = 0; n < (uint32_t)count; n++) {
        uint64_t leaf = *segment_leaf(s, (uint32_t)first + n);
        uint32_t has = arch_leaf_rights(leaf);
        if (has == 0) {
            return STATUS_NOT_MAPPED;
        }
        if ((given & ~has) != 0 && !arch_leaf_own(leaf)) {
            return STATUS_NO_RIGHTS;
        }
    }
    for (uint32_t n = 0; n < (uint32_t)count; n++) {
        uint64_t *leaf = segment_leaf(s, (uint32_t)first + n);
        arch_entry_store(leaf, leaf_with_rights(*leaf, given));
    }
    segment_flush(k, s);
    return STATUS_OK;
}

/*
 * Requires: segment held with DMA; a page backed by a frame of its own (NOT_MAPPED); an I/O space.
 * Changes:  nothing. Only without an IOMMU is there an I/O space without an object, the identity;
 * in others the caller chose the addresses (UNSUPPORTED).
 */
status_t segment_device_address(struct kernel *k, uint64_t segment, uint64_t page, uint64_t iospace,
                                uint64_t *value)
{
    struct slot *slot, *space;
    status_t status = cap_find(k, segment, OBJECT_SEGMENT, RIGHT_DMA, &slot);

    if (status == STATUS_OK) {
        status = cap_find(k, iospace, OBJECT_IOSPACE, 0, &space);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (space->object != NIL) {
        return STATUS_UNSUPPORTED;
    }
    if (page >= SEGMENT_PAGES) {
        return STATUS_INVALID_ARGUMENT;
    }
    const struct segment *s = segment_at(k, (segment_ix){slot->object});
    if (s->large_level == 1 && arch_leaf_own(s->large)) {
        *value = arch_leaf_physical(s->large) + page * PAGE_BYTES;
        return STATUS_OK;
    }
    uint64_t leaf = *segment_leaf(s, (uint32_t)page);
    if (s->shown != s->physical || !arch_leaf_own(leaf)) {
        return STATUS_NOT_MAPPED;
    }
    *value = arch_leaf_physical(leaf);
    return STATUS_OK;
}
