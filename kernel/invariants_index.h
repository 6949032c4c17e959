// SPDX-License-Identifier: MIT OR Apache-2.0
/* Which indices name a slot: what assertions and invariants ask. Part of kernel/state.h. */
#ifndef KERNEL_STATE_H
#include "kernel/state.h"
#endif
#ifndef KERNEL_INVARIANTS_INDEX_H
#define KERNEL_INVARIANTS_INDEX_H

#define THREAD_GRANULES (THREAD_BYTES / GRANULE_BYTES)
#define THREAD_SLOT_TABLE (offsetof(struct thread, table_slot) / GRANULE_BYTES)
#define THREAD_SLOT_ASPACE (offsetof(struct thread, aspace_slot) / GRANULE_BYTES)
#define THREAD_SLOT_FAULT (offsetof(struct thread, fault_slot) / GRANULE_BYTES)

/* The embedded slot THREAD_SLOT_... of a thread. */
static inline slot_ix thread_slot(thread_ix i, uint32_t which)
{
    return (slot_ix){i.n + which};
}

static inline bool slot_index_ok(const struct kernel *k, uint32_t n)
{
    uint32_t page = granule_page(n);
    uint32_t in_thread = (n & (THREAD_GRANULES - 1u));

    if (n == NIL || page >= k->page_count) {
        return false;
    }
    const struct page p = page_get(k, page);
    if (p.kind == PAGE_OBJECT + OBJECT_THREAD) {
        return in_thread >= THREAD_SLOT_TABLE && in_thread <= THREAD_SLOT_FAULT;
    }
    return p.kind == PAGE_OBJECT + OBJECT_TABLE && p.owner != n;
}

#endif
