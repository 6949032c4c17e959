// SPDX-License-Identifier: MIT OR Apache-2.0
/* What assertions and invariants ask before an object is looked at: whether its index names one,
 * and whether the kernel lock is held. Part of kernel/state.h. */
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

/* Whether the kernel lock is taken, as it is while anybody looks at an object. A checked kernel
 * looks (arch/x86_64/invariants_lock.c); elsewhere there is nobody else: on the host, in proofs. */
#if defined(HALLOWS_DEBUG) && defined(HALLOWS_KERNEL)
bool state_is_locked(void);
#else
static inline bool state_is_locked(void)
{
    return true;
}
#endif

/* What an accessor asserts of n. */
static inline bool object_is_open(const struct kernel *k, uint32_t n, uint32_t type, size_t bytes)
{
    return state_is_locked() && object_index_ok(k, n, type, (uint32_t)(bytes / GRANULE_BYTES));
}

static inline bool slot_index_ok(const struct kernel *k, uint32_t n)
{
    uint32_t page = granule_page(n);
    uint32_t in_thread = (n & (THREAD_GRANULES - 1u));

    if (n == NIL || page >= k->page_count || !state_is_locked()) {
        return false;
    }
    const struct page p = page_get(k, page);
    if (p.kind == PAGE_OBJECT + OBJECT_THREAD) {
        return in_thread >= THREAD_SLOT_TABLE && in_thread <= THREAD_SLOT_FAULT;
    }
    return p.kind == PAGE_OBJECT + OBJECT_TABLE && p.owner != n;
}

#endif
