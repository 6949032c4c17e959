// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Segments: 2 MiB windows of memory with a leaf page table of their own. Attaching one to an
 * address space is one entry of a level-1 page table. Each attachment has a record beside that
 * table, and the records of a segment form two lists, open and held ones (kernel/state.h), so that
 * every attachment can be found, changed and undone. What is in the table: segment_pages.c; copies
 * of a segment: segment_copy.c.
 */
#include "kernel/object/segment.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/object/upcall.h"

/* ---- Attachments
 * ----------------------------------------------------------------------------------- */

FAST void segment_unlink(struct kernel *k, struct segment *segment, struct attachment at)
{
    const struct attachment_record *record = segment_record(k, at);
    struct attachment next = {record->next_table, record->next_entry};
    struct attachment previous = {record->previous_table, record->previous_entry};

    if (previous.table.n != NIL) {
        struct attachment_record *before = segment_record(k, previous);
        before->next_table = next.table;
        before->next_entry = (uint16_t)next.entry;
    } else if (segment->open.table.n == at.table.n && segment->open.entry == at.entry) {
        segment->open = next;
    } else if (segment->io.table.n == at.table.n && segment->io.entry == at.entry) {
        segment->io = next;
    } else {
        segment->held = next;
    }
    if (next.table.n != NIL) {
        struct attachment_record *after = segment_record(k, next);
        after->previous_table = previous.table;
        after->previous_entry = (uint16_t)previous.entry;
    }
}

/* Inline here, as the next but one: the header declares them for others. */
FAST inline void segment_enter(struct kernel *k, segment_ix i, struct attachment at,
                               uint32_t rights)
{
    struct segment *segment = segment_at(k, i);
    struct paging *paging = &page_table_at(k, at.table)->paging;
    struct attachment *list = &segment->open;
    uint64_t entry = arch_attach_encode(segment->shown, rights);

    if (segment->large_level != 0) {
        entry = segment_large_entry(segment, rights);
    }
    if (!segment_is_open(segment)) {
        entry = arch_entry_share(entry);
        list = &segment->held;
    }
    arch_entry_store((uint64_t *)arch_memory(paging->physical) + at.entry, entry);
    bit_set(paging->used, at.entry);
    segment_link(k, segment_record(k, at), i, list, at);
}

/* Precondition: it is open, in the sense of segment_make_open. */
void segment_enter_io(struct kernel *k, segment_ix i, struct attachment at, uint32_t rights)
{
    struct segment *segment = segment_at(k, i);
    struct paging *paging = &page_table_at(k, at.table)->paging;
    uint64_t *entry = (uint64_t *)arch_memory(paging->physical) + at.entry;

    segment_link(k, segment_record(k, at), i, &segment->io, at);
    arch_io_stored(arch_memory(segment->physical), PAGE_BYTES);
    arch_entry_store(entry, arch_io_attach_encode(segment->physical, rights));
    arch_io_stored(entry, sizeof(*entry));
    bit_set(paging->used, at.entry);
}

FAST inline void segment_undo(struct kernel *k, struct attachment at)
{
    struct paging *paging = &page_table_at(k, at.table)->paging;
    struct attachment_record *record = segment_record(k, at);

    uint64_t *entry = (uint64_t *)arch_memory(paging->physical) + at.entry;

    arch_entry_store(entry, 0);
    if (page_table_at(k, at.table)->iospace.n != NIL) {
        arch_io_stored(entry, sizeof(*entry));
    }
    bit_clear(paging->used, at.entry);
    segment_unlink(k, segment_at(k, record->segment), at);
    *record = (struct attachment_record){0};
}

void segment_flush(struct kernel *k, const struct segment *segment)
{
    struct attachment only = segment->open.table.n != NIL ? segment->open : segment->held;

    if (segment->io.table.n != NIL) {
        arch_io_stored(arch_memory(segment->physical), PAGE_BYTES);
        arch_io_flush(0);
    }
    if (only.table.n == NIL) {
        return; /* it shows nowhere */
    }
    bool more = segment_record(k, only)->next_table.n != NIL ||
                (segment->open.table.n != NIL && segment->held.table.n != NIL);
    arch_tlb_flush(more ? 0 : aspace_at(k, page_table_at(k, only.table)->aspace)->paging.physical);
}

/* Finds the aspace's capability and the place of an address: in a table of level 2 for pages of
 * 1 GiB. */
FAST static inline status_t attach_decode(struct kernel *k, segment_ix segment, uint64_t aspace,
                                          uint64_t address, struct attachment *at)
{
    bool huge = segment_at(k, segment)->large_level == 2;
    struct slot *space;
    status_t status = cap_find_here(k, aspace, OBJECT_ASPACE, RIGHT_MANAGE, &space);

    if (status != STATUS_OK) {
        return status;
    }
    aspace_ix i = {space->object};
    uint64_t aligned = huge ? (uint64_t)SEGMENT_BYTES * PAGING_ENTRIES : SEGMENT_BYTES;
    if ((address & (aligned - 1u)) != 0) {
        return STATUS_MISALIGNED;
    }
    if (address >= USER_ADDRESS_END) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (huge) {
        *at = (struct attachment){aspace_middle(k, i, address), paging_index(address, 2)};
    } else {
        *at = (struct attachment){aspace_directory(k, i, address), paging_index(address, 1)};
    }
    return at->table.n == NIL ? STATUS_MISSING_TABLE : STATUS_OK;
}

/*
 * Requires: segment held with READ, and READ asked for; aspace held with MANAGE; a 2 MiB-aligned
 * user address whose tables are there and whose entry is unused. Changes:  the window shows at the
 * address, each page with its own rights & the capability's & those asked for.
 */
FAST status_t segment_attach(struct kernel *k, uint64_t segment, uint64_t aspace, uint64_t address,
                             uint64_t rights)
{
    struct slot *slot;
    struct attachment at;
    status_t status = cap_find_here(k, segment, OBJECT_SEGMENT, RIGHT_READ, &slot);

    if (status == STATUS_OK) {
        status = attach_decode(k, (segment_ix){slot->object}, aspace, address, &at);
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
FAST status_t segment_detach(struct kernel *k, uint64_t segment, uint64_t aspace, uint64_t address)
{
    struct slot *slot;
    struct attachment at;
    status_t status = cap_find_here(k, segment, OBJECT_SEGMENT, 0, &slot);

    if (status == STATUS_OK) {
        status = attach_decode(k, (segment_ix){slot->object}, aspace, address, &at);
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
    uint32_t step = 0;

    for (; step < TEARDOWN_STEP && segment->open.table.n != NIL; step++) {
        segment_undo(k, segment->open);
    }
    for (; step < TEARDOWN_STEP && segment->upcalls.n != NIL; step++) {
        upcall_forget(k, segment->upcalls);
    }
    for (; step < TEARDOWN_STEP && segment->held.table.n != NIL; step++) {
        segment_undo(k, segment->held);
    }
    if (step != 0) {
        arch_tlb_flush(0);
    }
    for (; step < TEARDOWN_STEP && segment->io.table.n != NIL; step++) {
        iospace_ix space = page_table_at(k, segment->io.table)->iospace;
        segment_undo(k, segment->io);
        arch_io_flush(iospace_at(k, space)->domain);
    }
    if (segment->open.table.n != NIL || segment->held.table.n != NIL ||
        segment->io.table.n != NIL || segment_pinned(segment)) {
        return STATUS_AGAIN;
    }
    return segment_leave_tree(k, i);
}
