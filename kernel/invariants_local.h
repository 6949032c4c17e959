// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The invariants of one index each (kernel/invariants.c). All return the number of the first broken
 * one, or 0. Preconditions: the object is alive, the slot or entry exists.
 */
#ifndef KERNEL_INVARIANTS_LOCAL_H
#define KERNEL_INVARIANTS_LOCAL_H

#include "kernel/object/object.h"
#include "kernel/state.h"

/* A proof asks some at a time. */
#ifndef INVARIANT_WANTED
#define INVARIANT_WANTED(number) true
#endif
#define FAIL_UNLESS(number, condition)                                                             \
    if (INVARIANT_WANTED(number) && !(condition)) {                                                \
        return number;                                                                             \
    }

/* What an object is, to be read: a proof makes copies. VIEW declares `view` for it. */
#ifndef HALLOWS_PROOF
#define VIEW(name, view, k, index) const struct name *view = name##_at(k, index)
#define slot_there(k, i) slot_index_ok(k, (i).n)
#define slot_get(k, i) (*slot_at(k, i))
#define table_get(k, i) (*table_at(k, i))
#define untyped_get(k, i) (*untyped_at(k, i))
#define thread_get(k, i) (*thread_at(k, i))
#define endpoint_get(k, i) (*endpoint_at(k, i))
#define reply_get(k, i) (*reply_at(k, i))
#define notification_get(k, i) (*notification_at(k, i))
#define aspace_get(k, i) (*aspace_at(k, i))
#define page_table_get(k, i) (*page_table_at(k, i))
#define segment_get(k, i) (*segment_at(k, i))
#define iospace_get(k, i) (*iospace_at(k, i))
#define sched_context_get(k, i) (*sched_context_at(k, i))
#define schedule_get(k, i) (*schedule_at(k, i))
#define irq_get(k, i) (*irq_at(k, i))
#define object_original_get(k, type, n) (*object_original(k, type, n))
#endif

#define RIGHTS_WX (RIGHT_WRITE | RIGHT_EXECUTE)

/* There is an object of that type there, and it is not dead. */
bool inv_alive(struct kernel *k, enum object_type type, uint32_t n);
/* A slot that holds a capability. */
bool inv_slot_used(struct kernel *k, slot_ix i);
/* Granules between objects of a page. */
uint32_t inv_object_granules(enum object_type type);

uint32_t inv_slot_check(struct kernel *k, slot_ix i);
/* Any slot: of a table or a thread, living or dead. */
uint32_t inv_slot_any_check(struct kernel *k, slot_ix i);
uint32_t inv_original_check(struct kernel *k, enum object_type type, uint32_t n);
uint32_t inv_table_page_check(struct kernel *k, table_ix t, uint32_t n);
uint32_t inv_current_check(struct kernel *k, const struct cpu *c);
uint32_t inv_table_slot_check(struct kernel *k, table_ix t, uint32_t n);
uint32_t inv_untyped_check(struct kernel *k, untyped_ix i);
uint32_t inv_page_table_check(struct kernel *k, page_table_ix i);
uint32_t inv_entry_check(struct kernel *k, page_table_ix i, uint32_t n);
uint32_t inv_segment_check(struct kernel *k, segment_ix i);
uint32_t inv_spare_check(struct kernel *k, uint32_t page);
uint32_t inv_iospace_check(struct kernel *k, iospace_ix i);
uint32_t inv_leaf_check(struct kernel *k, segment_ix i, uint32_t n);
uint32_t inv_thread_spaces_check(struct kernel *k, thread_ix i);
uint32_t inv_thread_check(struct kernel *k, thread_ix i);
/* Of those, what its state says: 14 to 17. */
uint32_t inv_thread_state_check(struct kernel *k, thread_ix i);
uint32_t inv_thread_budget_check(struct kernel *k, thread_ix i);
uint32_t inv_refills_check(const struct sched_context *c);
uint32_t inv_sched_context_check(struct kernel *k, sched_context_ix i);
uint32_t inv_schedule_check(struct kernel *k, schedule_ix i);
uint32_t inv_window_check(struct kernel *k, const struct cpu *c);
uint32_t inv_lease_check(struct kernel *k, const struct cpu *c);
uint32_t inv_endpoint_check(struct kernel *k, endpoint_ix i);
uint32_t inv_reply_check(struct kernel *k, reply_ix i);
uint32_t inv_notification_check(struct kernel *k, notification_ix i);

#endif
