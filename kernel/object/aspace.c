// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Address spaces and their intermediate tables: a top-level table (level 3) in the aspace, page
 * tables of level 2 and 1 under it, and in the entries of level 1 the attached segments
 * (segment.c). Which table an entry points to stands in the table of pages: the owner of the page.
 */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"

#define USED_WORDS (PAGING_ENTRIES / 64u)

static uint64_t *paging_entry(const struct paging *p, uint32_t entry)
{
    return (uint64_t *)arch_memory(p->physical) + entry;
}

static void paging_set(struct paging *p, uint32_t entry, uint64_t value)
{
    arch_entry_store(paging_entry(p, entry), value);
    bit_set(p->used, entry);
}

static void paging_clear(struct paging *p, uint32_t entry)
{
    arch_entry_store(paging_entry(p, entry), 0);
    bit_clear(p->used, entry);
}

/* The page table that a used entry of level 3 or 2 points to. */
static page_table_ix paging_child(struct kernel *k, const struct paging *p, uint32_t entry)
{
    uint64_t physical = arch_leaf_physical(*paging_entry(p, entry));

    return (page_table_ix){page_at(k, physical)->owner};
}

FAST page_table_ix paging_directory(struct kernel *k, const struct paging *top, uint64_t address)
{
    uint64_t entry = *paging_entry(top, paging_index(address, 3));

    if (entry == 0) { /* as the bitmaps say: an entry in use is never 0 */
        return (page_table_ix){NIL};
    }
    page_table_ix i = {page_at(k, arch_leaf_physical(entry))->owner};
    entry = *paging_entry(&page_table_at(k, i)->paging, paging_index(address, 2));
    bool table = entry != 0 && !arch_entry_large(entry);
    return (page_table_ix){table ? page_at(k, arch_leaf_physical(entry))->owner : NIL};
}

page_table_ix aspace_middle(struct kernel *k, aspace_ix i, uint64_t address)
{
    const struct paging *top = &aspace_at(k, i)->paging;
    uint32_t entry = paging_index(address, 3);

    return bit_get(top->used, entry) ? paging_child(k, top, entry) : (page_table_ix){NIL};
}

FAST page_table_ix aspace_directory(struct kernel *k, aspace_ix i, uint64_t address)
{
    return paging_directory(k, &aspace_at(k, i)->paging, address);
}

/* Enters a table whose `aspace` or `iospace` names the space. ALREADY_MAPPED: no level misses one.
 */
static status_t table_enter(struct kernel *k, struct page_table *t, struct paging *in,
                            uint64_t address)
{
    uint32_t entry = paging_index(address, 3);
    uint32_t level = 2;
    uint32_t parent = t->iospace.n != NIL ? t->iospace.n : t->aspace.n;

    if (bit_get(in->used, entry)) {
        parent = paging_child(k, in, entry).n;
        in = &page_table_at(k, (page_table_ix){parent})->paging;
        entry = paging_index(address, 2);
        level = 1;
        if (bit_get(in->used, entry)) {
            t->aspace = (aspace_ix){NIL};
            t->iospace = (iospace_ix){NIL};
            return STATUS_ALREADY_MAPPED;
        }
    }
    uint64_t covers = (uint64_t)1 << (PAGE_SHIFT + 9u * (level + 1u));
    t->level = level;
    t->parent = parent;
    t->entry = entry;
    t->address = address & ~(covers - 1u);
    if (t->iospace.n != NIL) {
        arch_io_stored(arch_memory(t->paging.physical), PAGE_BYTES);
        paging_set(in, entry, arch_io_table_encode(t->paging.physical));
        arch_io_stored(paging_entry(in, entry), sizeof(uint64_t));
    } else {
        paging_set(in, entry, arch_table_encode(t->paging.physical));
    }
    return STATUS_OK;
}

status_t aspace_enter_table(struct kernel *k, aspace_ix i, page_table_ix table, uint64_t address)
{
    struct page_table *t = page_table_at(k, table);

    t->aspace = i;
    return table_enter(k, t, &aspace_at(k, i)->paging, address);
}

/*
 * Requires: a space of that type and a page table held with MANAGE; the table not mapped (BUSY); an
 *           address that the space's user or devices can use; a level that misses a table there
 *           (ALREADY_MAPPED).
 * Changes:  the table is entered, empty, at the highest such level.
 */
status_t paging_map_table(struct kernel *k, enum object_type type, uint64_t space_slot,
                          uint64_t page_table, uint64_t address)
{
    struct slot *space, *slot;
    status_t status = cap_find_object(k, space_slot, type, RIGHT_MANAGE, &space);
    bool io = type == OBJECT_IOSPACE;

    if (status == STATUS_OK) {
        status = cap_find(k, page_table, OBJECT_PAGE_TABLE, RIGHT_MANAGE, &slot);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (address >= (io ? arch_io_limits().address_end : USER_ADDRESS_END)) {
        return STATUS_INVALID_ARGUMENT;
    }
    struct page_table *t = page_table_at(k, (page_table_ix){slot->object});
    if (t->level != 0) {
        return STATUS_BUSY;
    }
    if (!io) {
        return aspace_enter_table(k, (aspace_ix){space->object}, (page_table_ix){slot->object},
                                  address);
    }
    t->iospace = (iospace_ix){space->object};
    return table_enter(k, t, &iospace_at(k, t->iospace)->paging, address);
}

static bool paging_empty(const struct paging *p)
{
    return bit_first(p->used, USED_WORDS) == PAGING_ENTRIES;
}

/* The top-level table of the space that a mapped table is in. */
static struct paging *table_space(struct kernel *k, const struct page_table *t)
{
    return t->iospace.n != NIL ? &iospace_at(k, t->iospace)->paging
                               : &aspace_at(k, t->aspace)->paging;
}

/* After entries of it, or of its parent, were cleared. */
static void table_flush(struct kernel *k, const struct page_table *t)
{
    if (t->iospace.n != NIL) {
        arch_io_flush(iospace_at(k, t->iospace)->domain);
    } else {
        arch_tlb_flush(aspace_at(k, t->aspace)->paging.physical);
    }
}

/* Precondition: mapped and empty. */
static void table_leave(struct kernel *k, struct page_table *t)
{
    struct paging *in =
        t->level == 2 ? table_space(k, t) : &page_table_at(k, (page_table_ix){t->parent})->paging;

    paging_clear(in, t->entry);
    if (t->iospace.n != NIL) {
        arch_io_stored(paging_entry(in, t->entry), sizeof(uint64_t));
    }
    table_flush(k, t);
    t->level = 0;
    t->parent = NIL;
    t->entry = 0;
    t->aspace = (aspace_ix){NIL};
    t->iospace = (iospace_ix){NIL};
    t->address = 0;
}

/*
 * Requires: page table held with MANAGE, mapped (NOT_MAPPED), empty (BUSY).
 * Changes:  it is out of its address space.
 */
status_t aspace_unmap_table(struct kernel *k, uint64_t page_table)
{
    struct slot *slot;
    status_t status = cap_find(k, page_table, OBJECT_PAGE_TABLE, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    struct page_table *t = page_table_at(k, (page_table_ix){slot->object});
    if (t->level == 0) {
        return STATUS_NOT_MAPPED;
    }
    if (!paging_empty(&t->paging)) {
        return STATUS_BUSY;
    }
    table_leave(k, t);
    return STATUS_OK;
}

/* ---- Death
 * ---------------------------------------------------------------------------------------- */

/* Undoes some attachments of a level-1 table, or takes it out when it is empty (true). */
static bool directory_step(struct kernel *k, page_table_ix i)
{
    struct page_table *t = page_table_at(k, i);

    for (uint32_t step = 0; step < TEARDOWN_STEP; step++) {
        uint32_t entry = bit_first(t->paging.used, USED_WORDS);
        if (entry == PAGING_ENTRIES) {
            table_leave(k, t);
            return true;
        }
        segment_undo(k, (struct attachment){i, entry});
    }
    table_flush(k, t);
    return false;
}

/* One step of emptying a table of level 2, or of taking it out (true). */
static bool middle_step(struct kernel *k, page_table_ix i)
{
    struct page_table *t = page_table_at(k, i);
    uint32_t entry = bit_first(t->paging.used, USED_WORDS);

    if (entry == PAGING_ENTRIES) {
        table_leave(k, t);
        return true;
    }
    if (arch_entry_large(*paging_entry(&t->paging, entry))) {
        segment_undo(k, (struct attachment){i, entry});
        arch_tlb_flush(aspace_at(k, t->aspace)->paging.physical);
    } else {
        (void)directory_step(k, paging_child(k, &t->paging, entry));
    }
    return false;
}

void paging_step(struct kernel *k, const struct paging *top, uint32_t entry)
{
    (void)middle_step(k, paging_child(k, top, entry));
}

status_t page_table_destroy(struct kernel *k, page_table_ix i)
{
    struct page_table *t = page_table_at(k, i);
    bool done = t->level == 0;

    if (t->level == 1) {
        done = directory_step(k, i);
    } else if (t->level == 2) {
        done = middle_step(k, i);
    }
    return done ? STATUS_OK : STATUS_AGAIN;
}

/* No thread uses it: their embedded capabilities were children of the original. */
status_t aspace_destroy(struct kernel *k, aspace_ix i)
{
    struct aspace *space = aspace_at(k, i);
    uint32_t entry = bit_first(space->paging.used, USED_WORDS);

    if (entry != PAGING_ENTRIES) {
        (void)middle_step(k, paging_child(k, &space->paging, entry));
        return STATUS_AGAIN;
    }
    arch_aspace_forget(space->paging.physical);
    return STATUS_OK;
}
