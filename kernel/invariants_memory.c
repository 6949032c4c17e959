// SPDX-License-Identifier: MIT OR Apache-2.0
/* The invariants of page tables, segments and I/O spaces: kernel/invariants.h. */
#include "kernel/invariants.h"
#include "kernel/invariants_local.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/object/upcall.h"
#include "kernel/timer.h"

uint32_t inv_page_table_check(struct kernel *k, page_table_ix i)
{
    VIEW(page_table, t, k, i);

    if (t->level == 0) {
        return bit_first(t->paging.used, 8) == PAGING_ENTRIES ? 0 : 23;
    }
    bool io = t->iospace.n != NIL;
    FAIL_UNLESS(23, t->level <= 2 && t->entry < PAGING_ENTRIES && io == (t->aspace.n == NIL))
    FAIL_UNLESS(23, io ? inv_alive(k, OBJECT_IOSPACE, t->iospace.n)
                       : inv_alive(k, OBJECT_ASPACE, t->aspace.n))
    const struct paging *in;
    if (t->level == 2) {
        FAIL_UNLESS(23, t->parent == (io ? t->iospace.n : t->aspace.n))
        in = io ? &iospace_get(k, t->iospace).paging : &aspace_get(k, t->aspace).paging;
    } else {
        FAIL_UNLESS(23, inv_alive(k, OBJECT_PAGE_TABLE, t->parent))
        VIEW(page_table, parent, k, (page_table_ix){t->parent});
        FAIL_UNLESS(23, parent->level == 2 && parent->aspace.n == t->aspace.n &&
                            parent->iospace.n == t->iospace.n)
        in = &parent->paging;
    }
    const uint64_t *entries = arch_memory(in->physical);
    FAIL_UNLESS(23, bit_get(in->used, t->entry))
    FAIL_UNLESS(23, arch_leaf_physical(entries[t->entry]) == t->paging.physical)
    return 0;
}

/* Entry `n` of a page table. */
uint32_t inv_entry_check(struct kernel *k, page_table_ix i, uint32_t n)
{
    VIEW(page_table, t, k, i);
    uint64_t entry = ((const uint64_t *)arch_memory(t->paging.physical))[n];
    const struct attachment_record *r = segment_record(k, (struct attachment){i, n});
    bool used = bit_get(t->paging.used, n);

    FAIL_UNLESS(23, (entry != 0) == used)
    bool table = used && t->level == 2 && !arch_entry_large(entry);
    if (t->level == 0 || table || !used) {
        FAIL_UNLESS(24, r->segment.n == NIL && r->next_table.n == NIL && r->previous_table.n == NIL)
        if (used) {
            const struct page *page = page_at(k, arch_leaf_physical(entry));
            FAIL_UNLESS(23,
                        page->kind == PAGE_PAGING && inv_alive(k, OBJECT_PAGE_TABLE, page->owner))
            FAIL_UNLESS(23, page_table_get(k, (page_table_ix){page->owner}).parent == i.n)
        }
        return 0;
    }
    FAIL_UNLESS(24, inv_alive(k, OBJECT_SEGMENT, r->segment.n))
    VIEW(segment, s, k, r->segment);
    FAIL_UNLESS(24, arch_entry_large(entry) ? s->large_level == t->level
                                            : s->large_level == 0 && t->level == 1)
    if (arch_entry_large(entry)) {
        uint32_t rights = arch_leaf_rights(entry);
        FAIL_UNLESS(24, arch_leaf_physical(entry) == arch_leaf_physical(s->large))
        FAIL_UNLESS(26, (rights & RIGHTS_WX) != RIGHTS_WX)
        FAIL_UNLESS(26, (rights & ~arch_leaf_rights(s->large)) == 0)
    }
    const struct page *shown =
        page_at(k, arch_entry_large(entry) ? s->physical : arch_leaf_physical(entry));
    FAIL_UNLESS(24,
                shown->kind == PAGE_PAGING && object_index_ok(k, shown->owner, OBJECT_SEGMENT, 2))
    FAIL_UNLESS(60, segment_get(k, (segment_ix){shown->owner}).source.n == s->source.n)
    if (t->iospace.n == NIL && arch_entry_writable(entry)) {
        FAIL_UNLESS(61, s->child.n == NIL && s->shown == s->physical)
        FAIL_UNLESS(61, arch_entry_large(entry) || arch_leaf_physical(entry) == s->physical)
    }
    bool io = t->iospace.n != NIL;
    FAIL_UNLESS(61, !io || (s->child.n == NIL && s->shown == s->physical))
    if (r->previous_table.n == NIL && io) {
        FAIL_UNLESS(24, s->io.table.n == i.n && s->io.entry == n)
    } else if (r->previous_table.n == NIL) {
        FAIL_UNLESS(24, (s->open.table.n == i.n && s->open.entry == n) ||
                            (s->held.table.n == i.n && s->held.entry == n))
    } else {
        FAIL_UNLESS(24, (page_table_get(k, r->previous_table).iospace.n != NIL) == io)
        const struct attachment_record *before =
            segment_record(k, (struct attachment){r->previous_table, r->previous_entry});
        FAIL_UNLESS(24, before->next_table.n == i.n && before->next_entry == n)
        FAIL_UNLESS(24, before->segment.n == r->segment.n)
    }
    if (r->next_table.n != NIL) {
        const struct attachment_record *after =
            segment_record(k, (struct attachment){r->next_table, r->next_entry});
        FAIL_UNLESS(24, after->previous_table.n == i.n && after->previous_entry == n)
    }
    return 0;
}

static uint32_t list_check(struct kernel *k, segment_ix i, struct attachment first)
{
    if (first.table.n != NIL) {
        FAIL_UNLESS(24, inv_alive(k, OBJECT_PAGE_TABLE, first.table.n))
        FAIL_UNLESS(24, segment_record(k, first)->segment.n == i.n)
        FAIL_UNLESS(24, segment_record(k, first)->previous_table.n == NIL)
    }
    return 0;
}

/* An I/O space: its number, its functions and where its faults go. */
uint32_t inv_iospace_check(struct kernel *k, iospace_ix i)
{
    VIEW(iospace, s, k, i);

    FAIL_UNLESS(29, s->domain != 0 && s->domain < IO_DOMAINS_MAX)
    FAIL_UNLESS(29, k->io_domains[s->domain].n == i.n && bit_get(k->io_domain_used, s->domain))
    for (uint32_t n = 0; n < IOSPACE_FUNCTIONS_MAX; n++) {
        bool used = (s->functions_used >> n & 1u) != 0;
        FAIL_UNLESS(30, used ? arch_io_domain(s->functions[n]) == s->domain : s->functions[n] == 0)
    }
    if (s->notification.n == NIL) {
        return s->next.n == NIL && s->previous.n == NIL && s->badge == 0 ? 0 : 31;
    }
    FAIL_UNLESS(31, inv_alive(k, OBJECT_NOTIFICATION, s->notification.n) && s->badge != 0)
    if (s->previous.n == NIL) {
        FAIL_UNLESS(31, notification_get(k, s->notification).iospaces.n == i.n)
    } else {
        FAIL_UNLESS(31, iospace_get(k, s->previous).next.n == i.n)
    }
    FAIL_UNLESS(31, s->next.n == NIL || iospace_get(k, s->next).previous.n == i.n)
    return 0;
}

uint32_t inv_segment_check(struct kernel *k, segment_ix i)
{
    VIEW(segment, s, k, i);

    FAIL_UNLESS(25, page_at(k, s->physical)->kind == PAGE_PAGING &&
                        page_at(k, s->physical)->owner == i.n)
    FAIL_UNLESS(61, page_at(k, s->shown)->kind == PAGE_PAGING)
    FAIL_UNLESS(61, s->open.table.n == NIL || (s->child.n == NIL && s->shown == s->physical))
    FAIL_UNLESS(61, s->copied < SEGMENT_PAGES && (s->copied == 0 || s->shown != s->physical))
    if (s->parent.n != NIL) {
        FAIL_UNLESS(60, inv_alive(k, OBJECT_SEGMENT, s->parent.n))
        VIEW(segment, parent, k, s->parent);
        FAIL_UNLESS(60, parent->source.n == s->source.n)
        FAIL_UNLESS(60, s->previous.n == NIL ? parent->child.n == i.n
                                             : segment_get(k, s->previous).next.n == i.n)
        FAIL_UNLESS(60, s->next.n == NIL || (segment_get(k, s->next).previous.n == i.n &&
                                             segment_get(k, s->next).parent.n == s->parent.n))
    } else {
        FAIL_UNLESS(60, s->next.n == NIL && s->previous.n == NIL)
    }
    if (s->child.n != NIL) {
        FAIL_UNLESS(60, inv_alive(k, OBJECT_SEGMENT, s->child.n) &&
                            segment_get(k, s->child).parent.n == i.n &&
                            segment_get(k, s->child).previous.n == NIL)
    }
    if (s->large_level != 0) {
        uint64_t frame = arch_leaf_physical(s->large);
        FAIL_UNLESS(60, s->child.n == NIL && s->parent.n == NIL && s->used != 0)
        FAIL_UNLESS(26, (arch_leaf_rights(s->large) & RIGHTS_WX) != RIGHTS_WX)
        if ((frame >> PAGE_SHIFT) < k->page_count) {
            const struct page *page = page_at(k, frame);
            bool own = arch_leaf_own(s->large);
            FAIL_UNLESS(25, own ? page->kind == PAGE_FRAME && page->owner == i.n
                                : page->kind == PAGE_RESERVED)
        }
    }
    if (s->spare != 0) {
        const struct page *page = &k->pages[s->spare];
        FAIL_UNLESS(63, s->spare < k->page_count && page->kind == PAGE_SPARE && page->owner == i.n)
    }
    FAIL_UNLESS(61, s->io.table.n == NIL || (s->child.n == NIL && s->shown == s->physical))
    uint32_t failed = list_check(k, i, s->open);
    failed = failed == 0 ? list_check(k, i, s->io) : failed;
    return failed == 0 ? list_check(k, i, s->held) : failed;
}

/* A spare frame. */
uint32_t inv_spare_check(struct kernel *k, uint32_t n)
{
    const struct page *page = &k->pages[n];

    FAIL_UNLESS(63, object_index_ok(k, page->owner, OBJECT_SEGMENT, 2))
    FAIL_UNLESS(63, page->clean <= 1)
    if (page->next != 0) {
        FAIL_UNLESS(63, page->next < k->page_count && k->pages[page->next].kind == PAGE_SPARE &&
                            k->pages[page->next].owner == page->owner)
    }
    return 0;
}

/* Leaf `n` of a segment: the basis of "no page of the kernel is ever shown to a user". While the
 * segment shows an ancestor's table, its own counts only where it holds frames of before. */
uint32_t inv_leaf_check(struct kernel *k, segment_ix i, uint32_t n)
{
    VIEW(segment, s, k, i);
    uint64_t leaf = ((const uint64_t *)arch_memory(s->physical))[n];
    uint32_t rights = arch_leaf_rights(leaf);

    if (s->shown != s->physical && !arch_leaf_own(leaf)) {
        return 0;
    }
    FAIL_UNLESS(25, rights != 0 && s->used != 0)
    FAIL_UNLESS(26, (rights & RIGHTS_WX) != RIGHTS_WX)
    uint64_t physical = arch_leaf_physical(leaf);
    if ((physical >> PAGE_SHIFT) >= k->page_count) {
        return arch_leaf_own(leaf) ? 62 : 0;
    }
    const struct page *page = page_at(k, physical);
    if (page->kind == PAGE_FRAME) {
        FAIL_UNLESS(62, arch_leaf_own(leaf) == (page->owner == i.n))
        if (page->owner != i.n) {
            FAIL_UNLESS(25, object_index_ok(k, page->owner, OBJECT_SEGMENT, 2))
            VIEW(segment, owner, k, (segment_ix){page->owner});
            FAIL_UNLESS(25, owner->source.n == s->source.n)
            FAIL_UNLESS(62, !arch_entry_writable(leaf))
            FAIL_UNLESS(62, owner->original.n == NIL || owner->child.n != NIL)
        }
        return 0;
    }
    FAIL_UNLESS(62, !arch_leaf_own(leaf))
    if (page->kind == PAGE_BUNDLE) {
        return (rights & RIGHTS_WX) == 0 ? 0 : 25;
    }
    return page->kind == PAGE_RESERVED ? 0 : 25;
}
