// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Segments: 2 MiB windows of memory with a leaf page table of their own. Attaching one to an
 * address space is one entry of a level-1 page table. Each attachment has a record beside that
 * table, and the records of a segment form a list, so that every attachment can be found and
 * undone.
 *
 * A frame belongs to one segment for as long as that segment's untyped memory is not reset; device
 * pages and pages of the boot module belong to nobody and are only shown.
 */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"

#define RIGHTS_PAGE (RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE)

/* ---- Attachments
 * ----------------------------------------------------------------------------------- */

struct attachment_record *segment_record(struct kernel *k, struct attachment at)
{
    struct attachment_record *records = arch_memory(page_table_at(k, at.table)->records);

    ASSERT(at.entry < PAGING_ENTRIES);
    return &records[at.entry];
}

void segment_enter(struct kernel *k, segment_ix i, struct attachment at, uint32_t rights)
{
    struct segment *segment = segment_at(k, i);
    struct paging *paging = &page_table_at(k, at.table)->paging;
    struct attachment_record *record = segment_record(k, at);
    struct attachment next = segment->attachments;

    record->segment = i;
    record->next_table = next.table;
    record->next_entry = (uint16_t)next.entry;
    record->previous_table = (page_table_ix){NIL};
    record->previous_entry = 0;
    if (next.table.n != NIL) {
        struct attachment_record *after = segment_record(k, next);
        after->previous_table = at.table;
        after->previous_entry = (uint16_t)at.entry;
    }
    segment->attachments = at;
    arch_entry_store((uint64_t *)arch_memory(paging->physical) + at.entry,
                     arch_attach_encode(segment->physical, rights));
    bit_set(paging->used, at.entry);
}

void segment_undo(struct kernel *k, struct attachment at)
{
    struct paging *paging = &page_table_at(k, at.table)->paging;
    struct attachment_record *record = segment_record(k, at);
    struct attachment next = {record->next_table, record->next_entry};
    struct attachment previous = {record->previous_table, record->previous_entry};

    arch_entry_store((uint64_t *)arch_memory(paging->physical) + at.entry, 0);
    bit_clear(paging->used, at.entry);
    if (previous.table.n != NIL) {
        struct attachment_record *before = segment_record(k, previous);
        before->next_table = next.table;
        before->next_entry = (uint16_t)next.entry;
    } else {
        segment_at(k, record->segment)->attachments = next;
    }
    if (next.table.n != NIL) {
        struct attachment_record *after = segment_record(k, next);
        after->previous_table = previous.table;
        after->previous_entry = (uint16_t)previous.entry;
    }
    *record = (struct attachment_record){0};
}

/* Finds the segment's and the aspace's capability and the place of an address. */
static status_t attach_decode(struct kernel *k, uint64_t aspace, uint64_t address,
                              struct attachment *at)
{
    struct slot *space;
    status_t status = cap_find(k, aspace, OBJECT_ASPACE, RIGHT_MANAGE, &space);

    if (status != STATUS_OK) {
        return status;
    }
    if ((address & (SEGMENT_BYTES - 1u)) != 0) {
        return STATUS_MISALIGNED;
    }
    if (address >= USER_ADDRESS_END) {
        return STATUS_INVALID_ARGUMENT;
    }
    at->table = aspace_directory(k, (aspace_ix){space->object}, address);
    at->entry = paging_index(address, 1);
    return at->table.n == NIL ? STATUS_MISSING_TABLE : STATUS_OK;
}

/*
 * Requires: segment held with READ, and READ asked for; aspace held with MANAGE; a 2 MiB-aligned
 * user address whose tables are there and whose entry is unused. Changes:  the window shows at the
 * address, each page with its own rights & the capability's & those asked for.
 */
status_t segment_attach(struct kernel *k, uint64_t segment, uint64_t aspace, uint64_t address,
                        uint64_t rights)
{
    struct slot *slot;
    struct attachment at;
    status_t status = cap_find(k, segment, OBJECT_SEGMENT, RIGHT_READ, &slot);

    if (status == STATUS_OK) {
        status = attach_decode(k, aspace, address, &at);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if ((rights & ~(uint64_t)RIGHTS_PAGE) != 0 || (rights & RIGHT_READ) == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (bit_get(page_table_at(k, at.table)->paging.used, at.entry)) {
        return STATUS_ALREADY_MAPPED;
    }
    segment_enter(k, (segment_ix){slot->object}, at, rights_narrow(slot->rights, (uint32_t)rights));
    return STATUS_OK;
}

/*
 * Requires: segment held, aspace held with MANAGE, the segment attached there (NOT_MAPPED).
 * Changes:  it is not, and no CPU uses it.
 */
status_t segment_detach(struct kernel *k, uint64_t segment, uint64_t aspace, uint64_t address)
{
    struct slot *slot;
    struct attachment at;
    status_t status = cap_find(k, segment, OBJECT_SEGMENT, 0, &slot);

    if (status == STATUS_OK) {
        status = attach_decode(k, aspace, address, &at);
    }
    if (status != STATUS_OK) {
        return status == STATUS_MISSING_TABLE ? STATUS_NOT_MAPPED : status;
    }
    if (segment_record(k, at)->segment.n != slot->object) {
        return STATUS_NOT_MAPPED;
    }
    segment_undo(k, at);
    arch_tlb_flush(aspace_at(k, page_table_at(k, at.table)->aspace)->paging.physical);
    return STATUS_OK;
}

status_t segment_destroy(struct kernel *k, segment_ix i)
{
    struct segment *segment = segment_at(k, i);

    for (uint32_t step = 0; step < TEARDOWN_STEP && segment->attachments.table.n != NIL; step++) {
        segment_undo(k, segment->attachments);
    }
    arch_tlb_flush(0);
    if (segment->attachments.table.n != NIL) {
        return STATUS_AGAIN;
    }
    segment->original = (slot_ix){NIL};
    return STATUS_OK;
}

/* ---- Pages
 * ------------------------------------------------------------------------------------------ */

static uint64_t *leaf_of(const struct segment *segment, uint32_t page)
{
    return (uint64_t *)arch_memory(segment->physical) + page;
}

uint64_t segment_add_frame(struct kernel *k, segment_ix i, uint32_t page, uint32_t rights)
{
    struct segment *segment = segment_at(k, i);
    struct untyped *u = untyped_at(k, segment->source);
    uint64_t frame = u->watermark;

    ASSERT(u->prepared >= frame + PAGE_BYTES);
    u->watermark += PAGE_BYTES;
    *page_at(k, frame) = (struct page){.kind = PAGE_FRAME, .owner = i.n};
    arch_entry_store(leaf_of(segment, page), arch_leaf_encode(frame, rights));
    return frame;
}

/* Checks the segment, the range of pages and the rights asked for, and narrows these to the
 * capability's. */
static status_t range_decode(struct kernel *k, const struct populate_request *request,
                             struct slot **slot, uint32_t *rights)
{
    status_t status = cap_find(k, request->segment, OBJECT_SEGMENT, RIGHT_MANAGE, slot);

    if (status != STATUS_OK) {
        return status;
    }
    if (request->count == 0 || request->count > POPULATE_PAGES_MAX ||
        request->first >= SEGMENT_PAGES || request->first + request->count > SEGMENT_PAGES ||
        (request->rights >> 32) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    uint32_t asked = (uint32_t)request->rights;
    uint32_t given = rights_narrow((*slot)->rights, asked & RIGHTS_PAGE);
    uint32_t attributes = asked & ~(uint32_t)RIGHTS_PAGE;
    bool both = (given & RIGHT_WRITE) != 0 && (given & RIGHT_EXECUTE) != 0;
    if ((asked & RIGHT_READ) == 0 || both) {
        return STATUS_INVALID_ARGUMENT;
    }
    if ((given & RIGHT_READ) == 0) {
        return STATUS_NO_RIGHTS;
    }
    *rights = given | attributes;
    return STATUS_OK;
}

static bool range_empty(struct kernel *k, const struct slot *slot,
                        const struct populate_request *request)
{
    const struct segment *segment = segment_at(k, (segment_ix){slot->object});

    for (uint32_t n = 0; n < (uint32_t)request->count; n++) {
        if (arch_leaf_rights(*leaf_of(segment, (uint32_t)request->first + n)) != 0) {
            return false;
        }
    }
    return true;
}

/*
 * Requires: segment held with MANAGE; 1..POPULATE_PAGES_MAX pages inside, all empty
 * (ALREADY_MAPPED); the untyped memory that the segment came from, held with MANAGE, with room;
 * READ, not WRITE with EXECUTE. Changes:  OK: each page has a fresh zeroed frame. AGAIN: only
 * memory was cleared.
 */
status_t segment_populate(struct kernel *k, const struct populate_request *request)
{
    struct slot *slot;
    struct slot *source;
    uint32_t rights;
    status_t status = range_decode(k, request, &slot, &rights);

    if (status == STATUS_OK) {
        status = cap_find(k, request->source, OBJECT_UNTYPED, RIGHT_MANAGE, &source);
    }
    if (status != STATUS_OK) {
        return status;
    }
    segment_ix i = {slot->object};
    if ((rights & ~(uint32_t)(RIGHTS_PAGE | PAGE_UNCACHED)) != 0 ||
        segment_at(k, i)->source.n != source->object) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (!range_empty(k, slot, request)) {
        return STATUS_ALREADY_MAPPED;
    }
    status =
        untyped_prepare(untyped_at(k, (untyped_ix){source->object}), request->count * PAGE_BYTES);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t n = 0; n < (uint32_t)request->count; n++) {
        (void)segment_add_frame(k, i, (uint32_t)request->first + n, rights);
    }
    return STATUS_OK;
}

/*
 * Requires: as segment_populate, with device memory held with READ (WRITE if that is asked for) and
 * a page-aligned range inside it; no EXECUTE. Changes:  the pages show the device memory.
 */
status_t segment_populate_device(struct kernel *k, const struct populate_request *request)
{
    struct slot *slot;
    struct slot *source;
    uint32_t rights;
    status_t status = range_decode(k, request, &slot, &rights);

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
    if (!range_empty(k, slot, request)) {
        return STATUS_ALREADY_MAPPED;
    }
    const struct segment *segment = segment_at(k, (segment_ix){slot->object});
    for (uint32_t n = 0; n < (uint32_t)request->count; n++) {
        uint64_t physical = source->base + request->offset + (uint64_t)n * PAGE_BYTES;
        arch_entry_store(leaf_of(segment, (uint32_t)request->first + n),
                         arch_leaf_encode(physical, rights));
    }
    return STATUS_OK;
}

static bool frame_owned(struct kernel *k, segment_ix i, uint64_t physical)
{
    if ((physical >> PAGE_SHIFT) >= k->page_count) {
        return false;
    }
    const struct page *page = page_at(k, physical);
    return page->kind == PAGE_FRAME && page->owner == i.n;
}

/*
 * Requires: segment held with MANAGE; populated pages (NOT_MAPPED); READ, not WRITE with EXECUTE;
 * no more than they have for pages that are not the segment's own frames (NO_RIGHTS). Changes:  the
 * pages' rights, in every attachment; attributes stay.
 */
status_t segment_protect(struct kernel *k, uint64_t segment, uint64_t first, uint64_t count,
                         uint64_t rights)
{
    const struct populate_request request = {
        .segment = segment, .first = first, .count = count, .rights = rights};
    struct slot *slot;
    uint32_t given;
    status_t status = range_decode(k, &request, &slot, &given);

    if (status != STATUS_OK) {
        return status;
    }
    if ((given & ~(uint32_t)RIGHTS_PAGE) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    segment_ix i = {slot->object};
    const struct segment *s = segment_at(k, i);
    for (uint32_t n = 0; n < (uint32_t)count; n++) {
        uint64_t leaf = *leaf_of(s, (uint32_t)first + n);
        uint32_t has = arch_leaf_rights(leaf);
        if (has == 0) {
            return STATUS_NOT_MAPPED;
        }
        if ((given & ~has) != 0 && !frame_owned(k, i, arch_leaf_physical(leaf))) {
            return STATUS_NO_RIGHTS;
        }
    }
    for (uint32_t n = 0; n < (uint32_t)count; n++) {
        uint64_t *leaf = leaf_of(s, (uint32_t)first + n);
        uint32_t attributes = arch_leaf_rights(*leaf) & ~(uint32_t)RIGHTS_PAGE;
        arch_entry_store(leaf, arch_leaf_encode(arch_leaf_physical(*leaf), given | attributes));
    }
    arch_tlb_flush(0);
    return STATUS_OK;
}

/*
 * Requires: segment held with DMA; a page backed by a frame of its own (NOT_MAPPED); an I/O space.
 * Changes:  nothing. Without an IOMMU the one I/O space is the identity.
 */
status_t segment_device_address(struct kernel *k, uint64_t segment, uint64_t page, uint64_t iospace,
                                uint64_t *value)
{
    struct slot *slot;
    struct slot *space;
    status_t status = cap_find(k, segment, OBJECT_SEGMENT, RIGHT_DMA, &slot);

    if (status == STATUS_OK) {
        status = cap_find(k, iospace, OBJECT_IOSPACE, 0, &space);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (page >= SEGMENT_PAGES) {
        return STATUS_INVALID_ARGUMENT;
    }
    segment_ix i = {slot->object};
    uint64_t leaf = *leaf_of(segment_at(k, i), (uint32_t)page);
    if (arch_leaf_rights(leaf) == 0 || !frame_owned(k, i, arch_leaf_physical(leaf))) {
        return STATUS_NOT_MAPPED;
    }
    *value = arch_leaf_physical(leaf);
    return STATUS_OK;
}
