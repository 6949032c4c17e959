// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The kernel's objects in a proof: in place of the accessors of kernel/state.h.
 *
 * An operation looks at few objects. Each different one has a *cell*: an index, what the object was
 * before and what it is now, all three arbitrary at first. Cells are plain variables, never an
 * array. The accessor compares the index asked for with those of the cells in use, and takes the
 * next unused cell if none is equal: its index, which was arbitrary, turns out to be this one. That
 * there are enough cells is a claim like any other. What has no cell is not changed, since nothing
 * ever writes elsewhere.
 *
 * Invariants are asked of PROOF_BEFORE or PROOF_AFTER and work on copies. That takes no cell, and
 * of an object without one every answer is arbitrary.
 */
#ifndef PROOFS_KERNEL_CELLS_H
#define PROOFS_KERNEL_CELLS_H

extern struct kernel proof_before, proof_after, proof_kernel;
#define PROOF_BEFORE (&proof_before)
#define PROOF_AFTER (&proof_after)
#define PROOF_KERNEL (&proof_kernel)

/* X(type of object): those with cells; kernel.c in this folder says how many of each. */
struct original {
    slot_ix at;
};
#define PROOF_OBJECTS(X)                                                                           \
    X(slot)                                                                                        \
    X(table)                                                                                       \
    X(untyped)                                                                                     \
    X(thread)                                                                                      \
    X(endpoint)                                                                                    \
    X(reply)                                                                                       \
    X(notification)                                                                                \
    X(aspace)                                                                                      \
    X(page_table)                                                                                  \
    X(segment)                                                                                     \
    X(iospace)                                                                                     \
    X(sched_context)                                                                               \
    X(schedule)                                                                                    \
    X(irq)                                                                                         \
    X(cpu)                                                                                         \
    X(original)

/* The object that the operation works on, and a copy for invariants. */
#define PROOF_ACCESSOR(name)                                                                       \
    struct name *proof_##name(uint32_t key);                                                       \
    struct name proof_##name##_get(const struct kernel *k, uint32_t key);
PROOF_OBJECTS(PROOF_ACCESSOR)
#undef PROOF_ACCESSOR

#define object_at(k, name, n) proof_##name(n)
#define table_entry_at(k, name, table, n) proof_##name(n)

bool proof_slot_ok(uint32_t n);
#define slot_there(k, i) proof_slot_ok((i).n)
#define VIEW(name, view, k, index)                                                                 \
    const struct name view##_copy = proof_##name##_get(k, (index).n);                              \
    const struct name *view = &view##_copy
#define slot_get(k, i) proof_slot_get(k, (i).n)
#define table_get(k, i) proof_table_get(k, (i).n)
#define untyped_get(k, i) proof_untyped_get(k, (i).n)
#define thread_get(k, i) proof_thread_get(k, (i).n)
#define endpoint_get(k, i) proof_endpoint_get(k, (i).n)
#define reply_get(k, i) proof_reply_get(k, (i).n)
#define notification_get(k, i) proof_notification_get(k, (i).n)
#define aspace_get(k, i) proof_aspace_get(k, (i).n)
#define page_table_get(k, i) proof_page_table_get(k, (i).n)
#define segment_get(k, i) proof_segment_get(k, (i).n)
#define iospace_get(k, i) proof_iospace_get(k, (i).n)
#define sched_context_get(k, i) proof_sched_context_get(k, (i).n)
#define schedule_get(k, i) proof_schedule_get(k, (i).n)
#define irq_get(k, i) proof_irq_get(k, (i).n)
#define object_original_get(k, type, n)                                                            \
    ((type) == OBJECT_IRQ ? proof_irq_get(k, n).original : proof_original_get(k, n).at)

/* What pages are does not change in the operations proved so far. */
struct page page_get(const struct kernel *k, uint32_t page);
struct page *page_at(struct kernel *k, uint64_t physical);

/* Keys are not 0. */
static inline struct cpu *cpu_at(struct kernel *k, uint32_t cpu)
{
    ASSERT(cpu < k->cpu_count);
    (void)k;
    return proof_cpu(cpu + 1u);
}

#endif
