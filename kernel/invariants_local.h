// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The invariants of one index each (kernel/invariants.c). All return the number of the first broken
 * one, or 0. Preconditions: the object is alive, the slot or entry exists.
 */
#ifndef KERNEL_INVARIANTS_LOCAL_H
#define KERNEL_INVARIANTS_LOCAL_H

#include "kernel/state.h"

#define FAIL_UNLESS(number, condition)                                                             \
    if (!(condition)) {                                                                            \
        return number;                                                                             \
    }

#define RIGHTS_WX (RIGHT_WRITE | RIGHT_EXECUTE)

/* There is an object of that type there, and it is not dead. */
bool inv_alive(struct kernel *k, enum object_type type, uint32_t n);
/* A slot that holds a capability. */
bool inv_slot_used(struct kernel *k, slot_ix i);
/* Granules between objects of a page. */
uint32_t inv_object_granules(enum object_type type);

uint32_t inv_slot_check(struct kernel *k, slot_ix i);
uint32_t inv_table_slot_check(struct kernel *k, table_ix t, uint32_t n);
uint32_t inv_untyped_check(struct kernel *k, untyped_ix i);
uint32_t inv_page_table_check(struct kernel *k, page_table_ix i);
uint32_t inv_entry_check(struct kernel *k, page_table_ix i, uint32_t n);
uint32_t inv_segment_check(struct kernel *k, segment_ix i);
uint32_t inv_spare_check(struct kernel *k, uint32_t page);
uint32_t inv_iospace_check(struct kernel *k, iospace_ix i);
uint32_t inv_leaf_check(struct kernel *k, segment_ix i, uint32_t n);
uint32_t inv_thread_check(struct kernel *k, thread_ix i);
uint32_t inv_thread_budget_check(struct kernel *k, thread_ix i);
uint32_t inv_sched_context_check(struct kernel *k, sched_context_ix i);
uint32_t inv_schedule_check(struct kernel *k, schedule_ix i);
uint32_t inv_window_check(struct kernel *k, const struct cpu *c);
uint32_t inv_endpoint_check(struct kernel *k, endpoint_ix i);
uint32_t inv_reply_check(struct kernel *k, reply_ix i);
uint32_t inv_notification_check(struct kernel *k, notification_ix i);

#endif
