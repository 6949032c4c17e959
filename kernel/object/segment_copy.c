// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Copies of segments (docs/decisions/021).
 *
 * Model. A segment with copies is frozen: it has no open attachments, so nothing changes it. A copy
 * starts by showing its parent's table through held attachments. The first write in the window
 * copies that table, with every leaf's writes trapping; the first write to a page copies the page.
 * A table that was copied names each frame directly, whichever ancestor it came from, so the length
 * of a chain of copies costs nothing. A copy comes from the same untyped memory as its parent: what
 * it shows stays in place until that is reset, and then none of them lives.
 *
 *   open --derive (is the parent)--> frozen --last copy dies--> held --write--> open
 *   new --derive (is the child)--> borrowing --write: copy_step--> held --open_step--> open
 *   open --revert--> borrowing
 */
#include "kernel/object/cap.h"
#include "kernel/object/lists.h"
#include "kernel/object/object.h"
#include "kernel/object/segment.h"
#include "lib/base/bytes.h"

/* Entries that a step takes over into a table that holds frames of before. A fresh table is copied
 * at once: 512 entries of three instructions. */
#define COPY_ENTRIES_STEP 64u

static uint64_t *attachment_entry(struct kernel *k, struct attachment at)
{
    return (uint64_t *)arch_memory(page_table_at(k, at.table)->paging.physical) + at.entry;
}

/* ---- Held and open ----------------------------------------------------------------------------
 */

static void attachment_hold(struct kernel *k, struct segment *segment, struct attachment at,
                            uint64_t table)
{
    uint64_t *entry = attachment_entry(k, at);

    segment_ix i = segment_record(k, at)->segment;
    segment_unlink(k, segment, at);
    segment_link(k, segment_record(k, at), i, &segment->held, at);
    arch_entry_store(entry,
                     arch_entry_share(arch_attach_encode(table, arch_attach_rights(*entry))));
}

/* Bound: TEARDOWN_STEP attachments. */
static void open_step(struct kernel *k, struct segment *segment)
{
    for (uint32_t n = 0; n < TEARDOWN_STEP && segment->held.table.n != NIL; n++) {
        struct attachment at = segment->held;
        uint64_t *entry = attachment_entry(k, at);
        segment_ix i = segment_record(k, at)->segment;
        segment_unlink(k, segment, at);
        segment_link(k, segment_record(k, at), i, &segment->open, at);
        arch_entry_store(entry, arch_attach_encode(segment->shown, arch_attach_rights(*entry)));
    }
    segment_flush(k, segment);
}

/* Takes over a part of the shown table; frames of before become spare. */
FAST static void copy_step(struct kernel *k, segment_ix i)
{
    struct segment *segment = segment_at(k, i);
    const uint64_t *from = arch_memory(segment->shown);
    uint64_t *to = arch_memory(segment->physical);
    uint32_t n = segment->copied;
    uint32_t end = segment->used != 0 ? n + COPY_ENTRIES_STEP : SEGMENT_PAGES;

    if (segment->used == 0) {
#pragma GCC unroll 8
        for (n = 0; n < SEGMENT_PAGES; n++) {
            to[n] = arch_entry_share(from[n]);
        }
    }
    for (; n < end; n++) {
        if (arch_leaf_own(to[n])) {
            segment_spare_frame(k, i, arch_leaf_physical(to[n]));
        }
        to[n] = arch_entry_share(from[n]);
    }
    segment->copied = end;
    if (end == SEGMENT_PAGES) {
        segment->used = 1;
        segment->copied = 0;
        segment->shown = segment->physical;
    }
}

FAST status_t segment_open_step(struct kernel *k, segment_ix i)
{
    struct segment *segment = segment_at(k, i);

    if (segment->child.n != NIL) {
        return STATUS_BUSY;
    }
    if (segment->shown != segment->physical) {
        copy_step(k, i);
        return STATUS_AGAIN;
    }
    open_step(k, segment);
    return STATUS_AGAIN;
}

/* ---- Writing ----------------------------------------------------------------------------------
 */

static bool leaf_copyable(struct kernel *k, uint64_t leaf)
{
    uint64_t physical = arch_leaf_physical(leaf);

    return (arch_leaf_rights(leaf) & RIGHT_WRITE) != 0 &&
           (physical >> PAGE_SHIFT) < k->page_count && page_at(k, physical)->kind == PAGE_FRAME;
}

/*
 * Bound: one step of segment_make_open, or one page copied. The thread writes again afterwards, and
 * so comes back until the write goes through.
 */
bool segment_write_fault(struct kernel *k, uint64_t address)
{
    aspace_ix space = thread_at(k, current_thread(k))->aspace;

    if (address >= USER_ADDRESS_END) {
        return false;
    }
    struct attachment at = {aspace_directory(k, space, address), paging_index(address, 1)};
    if (at.table.n == NIL || segment_record(k, at)->segment.n == NIL ||
        (arch_attach_rights(*attachment_entry(k, at)) & RIGHT_WRITE) == 0) {
        return false;
    }
    segment_ix i = segment_record(k, at)->segment;
    struct segment *segment = segment_at(k, i);
    uint32_t page = paging_index(address, 0);
    uint64_t leaf = ((const uint64_t *)arch_memory(segment->shown))[page];
    if (!leaf_copyable(k, leaf) || segment->child.n != NIL) {
        return false;
    }
    if (segment_make_open(k, i) != STATUS_OK || arch_entry_writable(leaf)) {
        segment_flush(k, segment); /* or the CPU remembered what was */
        return true;
    }
    uint64_t frame = segment_take_frame(k, i);
    if (frame == 0) {
        return false;
    }
    memcpy(arch_memory(frame), arch_memory(arch_leaf_physical(leaf)), PAGE_BYTES);
    arch_entry_store(segment_leaf(segment, page),
                     arch_leaf_encode(frame, arch_leaf_rights(leaf) | LEAF_OWN));
    segment_flush(k, segment);
    return true;
}

/* ---- The tree ----------------------------------------------------------------------------------
 */

DEFINE_MEMBERS(tree, segment, segment, parent, child, next, previous)

/* Its copies become those of what it was a copy of. */
status_t segment_leave_tree(struct kernel *k, segment_ix i)
{
    struct segment *segment = segment_at(k, i);
    segment_ix parent = segment->parent;

    for (uint32_t step = 0; step < TEARDOWN_STEP && segment->child.n != NIL; step++) {
        segment_ix child = segment->child;
        tree_unlink(k, child);
        if (parent.n != NIL) {
            tree_link(k, parent, child);
        }
    }
    if (segment->child.n != NIL) {
        return STATUS_AGAIN;
    }
    tree_unlink(k, i);
    return STATUS_OK;
}

/* ---- Calls -------------------------------------------------------------------------------------
 */

/* The only attachment of a segment, NIL if it has none. BUSY: it has several. */
INLINE status_t attachment_only(struct kernel *k, const struct segment *segment,
                                struct attachment *only)
{
    bool both = segment->open.table.n != NIL && segment->held.table.n != NIL;

    *only = segment->open.table.n != NIL ? segment->open : segment->held;
    if (both || (only->table.n != NIL && segment_record(k, *only)->next_table.n != NIL)) {
        return STATUS_BUSY;
    }
    return STATUS_OK;
}

static inline bool segment_pristine(const struct segment *s)
{
    return (s->used | s->open.table.n | s->held.table.n | s->io.table.n | s->parent.n |
            s->child.n) == 0 &&
           s->shown == s->physical;
}

/* What a derivation is about, decoded: slots in a row, and where the copies go. */
struct derivation {
    slot_ix parents;
    slot_ix children;
    uint32_t count;
    bool take;
    struct attachment at; /* table NIL: they are attached nowhere */
};

static inline slot_ix slot_next(slot_ix i, uint32_t n)
{
    return (slot_ix){i.n + n};
}

/* All pairs. Children come in order, so that none comes twice. A device would go on writing to a
 * parent that is frozen. *open: some parent has open attachments. */
FAST static status_t derive_check(struct kernel *k, const struct derivation *d, bool *open)
{
    uint32_t above = NIL;
    uint32_t opened = NIL;

    for (uint32_t n = 0; n < d->count; n++) {
        const struct slot *from = slot_at(k, slot_next(d->parents, n));
        const struct slot *to = slot_at(k, slot_next(d->children, n));
        status_t status = cap_check(from, OBJECT_SEGMENT, RIGHTS_PAGE | RIGHT_MANAGE);
        if (status == STATUS_OK) {
            status = cap_check(to, OBJECT_SEGMENT, RIGHT_READ | RIGHT_MANAGE);
        }
        if (status != STATUS_OK) {
            return status;
        }
        const struct segment *parent = segment_at(k, (segment_ix){from->object});
        const struct segment *child = segment_at(k, (segment_ix){to->object});
        if (to->object <= above || from->object == to->object ||
            parent->source.n != child->source.n || parent->large_level != 0) {
            return STATUS_INVALID_ARGUMENT;
        }
        if (!segment_pristine(child)) {
            return STATUS_ALREADY_MAPPED;
        }
        struct attachment only;
        if ((parent->upcalls.n | parent->io.table.n) != NIL ||
            (d->take && attachment_only(k, parent, &only) != STATUS_OK)) {
            return STATUS_BUSY;
        }
        above = to->object;
        opened |= parent->open.table.n;
    }
    *open = opened != NIL;
    return STATUS_OK;
}

/* Where the copies will be attached: all entries of one table, unused. */
FAST static status_t derive_place(struct kernel *k, const struct derive_request *request,
                                  struct attachment *at)
{
    struct slot *space;
    status_t status = cap_find(k, request->aspace, OBJECT_ASPACE, RIGHT_MANAGE, &space);

    if (status != STATUS_OK) {
        return status;
    }
    if ((request->address & (SEGMENT_BYTES - 1u)) != 0) {
        return STATUS_MISALIGNED;
    }
    at->entry = paging_index(request->address, 1);
    if (request->address >= USER_ADDRESS_END || at->entry + request->count > PAGING_ENTRIES ||
        (request->flags & DERIVE_TAKE) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    at->table = aspace_directory(k, (aspace_ix){space->object}, request->address);
    if (at->table.n == NIL) {
        return STATUS_MISSING_TABLE;
    }
    bool taken =
        bits_any(page_table_at(k, at->table)->paging.used, at->entry, (uint32_t)request->count);
    return taken ? STATUS_ALREADY_MAPPED : STATUS_OK;
}

/* Holds open attachments of the parents, TEARDOWN_STEP at most; true: none is left. */
FAST static bool derive_freeze(struct kernel *k, const struct derivation *d)
{
    uint32_t held = 0;
    bool done = true;

    for (uint32_t n = 0; n < d->count; n++) {
        const struct slot *from = slot_at(k, slot_next(d->parents, n));
        struct segment *parent = segment_at(k, (segment_ix){from->object});
        while (held < TEARDOWN_STEP && parent->open.table.n != NIL) {
            attachment_hold(k, parent, parent->open, parent->shown);
            held++;
        }
        done = done && parent->open.table.n == NIL;
    }
    arch_tlb_flush(0);
    return done;
}

/* Each copy takes over the one attachment of its parent, if it has one. */
FAST static void derive_take(struct kernel *k, const struct derivation *d)
{
    for (uint32_t n = 0; n < d->count; n++) {
        segment_ix to = {slot_at(k, slot_next(d->children, n))->object};
        struct segment *child = segment_at(k, to);
        struct segment *parent = segment_at(k, child->parent);
        struct attachment at = parent->held;
        if (at.table.n != NIL) {
            segment_unlink(k, parent, at);
            segment_link(k, segment_record(k, at), to, &child->held, at);
        }
    }
}

/* Cannot fail. The copies are new: each has no attachment but the one it gets. */
FAST static void derive_commit(struct kernel *k, const struct derivation *d)
{
    struct attachment at = d->at;
    struct attachment_record *records = NULL;
    uint64_t *entries = NULL;

    if (at.table.n != NIL) {
        struct paging *paging = &page_table_at(k, at.table)->paging;
        bits_set(paging->used, at.entry, d->count);
        entries = arch_memory(paging->physical);
        records = segment_record(k, (struct attachment){at.table, 0});
    }
    for (uint32_t n = 0; n < d->count; n++) {
        const struct slot *to = slot_at(k, slot_next(d->children, n));
        segment_ix from = {slot_at(k, slot_next(d->parents, n))->object};
        segment_ix i = {to->object};
        struct segment *child = segment_at(k, i);
        uint64_t shown = segment_at(k, from)->shown;
        child->shown = shown;
        tree_link(k, from, i);
        if (entries != NULL) {
            uint32_t rights = rights_narrow(to->rights, RIGHTS_PAGE);
            child->held = at;
            records[at.entry] = (struct attachment_record){.segment = i};
            arch_entry_store(&entries[at.entry],
                             arch_entry_share(arch_attach_encode(shown, rights)));
            at.entry++;
        }
    }
}

/*
 * Requires: 1..DERIVE_COUNT_MAX segments in a row, held with READ, WRITE, EXECUTE and MANAGE, and
 * as many new ones (ALREADY_MAPPED) in a row, held with READ and MANAGE, in the order of their
 * creation and from the same untyped memory (INVALID_ARGUMENT); aspace 0, or held with MANAGE, and
 * its entries from the address on unused and in one table. With DERIVE_TAKE: at most one attachment
 * of each parent (BUSY), aspace 0. No parent is attached to an I/O space (BUSY). Changes:  OK: each
 * new segment is a copy of its parent and attached with all rights of its capability, or has taken
 * over its parent's attachment; the parents are frozen. AGAIN: some of the parents' attachments are
 * held.
 */
FAST status_t segment_derive(struct kernel *k, const struct derive_request *request)
{
    struct derivation d = {.take = (request->flags & DERIVE_TAKE) != 0};
    bool open;

    if (request->count == 0 || request->count > DERIVE_COUNT_MAX ||
        (request->flags & ~(uint64_t)DERIVE_TAKE) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    d.count = (uint32_t)request->count;
    status_t status = cap_row(k, request->parent, d.count, &d.parents);
    if (status == STATUS_OK) {
        status = cap_row(k, request->child, d.count, &d.children);
    }
    if (status == STATUS_OK) {
        status = derive_check(k, &d, &open);
    }
    if (status == STATUS_OK && request->aspace != 0) {
        status = derive_place(k, request, &d.at);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (open && !derive_freeze(k, &d)) {
        return STATUS_AGAIN;
    }
    derive_commit(k, &d);
    if (d.take) {
        derive_take(k, &d);
    }
    return STATUS_OK;
}

/*
 * Requires: segment held with MANAGE, a copy (NOT_FOUND), without copies of its own and with at
 * most one attachment, none of them in an I/O space (BUSY). Changes:  it shows what its parent
 * shows; its own frames become spare when it is next written to.
 */
status_t segment_revert(struct kernel *k, uint64_t segment)
{
    struct slot *slot;
    struct attachment only;
    status_t status = cap_find(k, segment, OBJECT_SEGMENT, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    struct segment *s = segment_at(k, (segment_ix){slot->object});
    if (s->parent.n == NIL) {
        return STATUS_NOT_FOUND;
    }
    bool busy = s->child.n != NIL || s->io.table.n != NIL || segment_pinned(s);
    status = busy ? STATUS_BUSY : attachment_only(k, s, &only);
    if (status != STATUS_OK) {
        return status;
    }
    s->shown = segment_at(k, s->parent)->shown;
    s->copied = 0;
    if (only.table.n != NIL) {
        attachment_hold(k, s, only, s->shown);
        segment_flush(k, s);
    }
    return STATUS_OK;
}
