// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Deadlines of waiting threads: for each domain of each CPU a hierarchical wheel with exact
 * deadlines in ns. Those of other domains wait for their window.
 *
 * A deadline is a number of 11 digits of 6 bits. `base` is a time up to which everything has been
 * handled. A thread lies at the level of the highest digit in which its deadline differs from
 * base, in the bucket of that digit of its deadline; at level 0, bucket = digit, the deadlines of a
 * bucket are equal. All deadlines of a level are earlier than all of the next. Insertion and
 * removal are O(1); as base moves on, each thread moves down at most TIMER_LEVELS times, a bounded
 * number in one kernel entry. `next` is a lower bound of all deadlines: what the hardware is armed
 * for.
 */
#ifndef KERNEL_TIMER_H
#define KERNEL_TIMER_H

#include "kernel/state.h"

/* Threads moved or woken by one timer_run. */
#define TIMER_STEPS 6u

/* Precondition: the thread is not in the wheel. Deadlines before base count as base. */
void timer_insert(struct kernel *k, thread_ix i, uint64_t deadline_ns);
/* Precondition: it is in. */
void timer_take_out(struct kernel *k, thread_ix i);
/* Takes it out if it is in. */
static inline void timer_remove(struct kernel *k, thread_ix i)
{
    if ((thread_at(k, i)->flags & THREAD_TIMED) != 0) {
        timer_take_out(k, i);
    }
}
/* Wakes threads of this CPU's domain whose deadline is at or before `now` with TIMED_OUT, at most
 * TIMER_STEPS moves; what is left makes `next` a time in the past, so that the hardware fires again
 * at once. */
void timer_run(struct kernel *k, uint64_t now_ns);

/* The first time at which the kernel wants to be entered, whatever runs. */
static inline void timer_due_update(struct cpu *c)
{
    uint64_t due = c->wheel[c->domain].next;

    due = c->budget_end < due ? c->budget_end : due;
    due = c->window_end < due ? c->window_end : due;
    c->timer_due = c->releasing ? 0 : due;
}

/* The bucket for a deadline, as level * TIMER_BUCKETS + digit. */
static inline uint32_t timer_bucket_of(uint64_t base, uint64_t deadline)
{
    uint64_t differs = base ^ deadline;
    uint32_t level = differs == 0 ? 0 : (63u - (uint32_t)__builtin_clzll(differs)) / 6u;

    return level * TIMER_BUCKETS + ((uint32_t)(deadline >> (6u * level)) & (TIMER_BUCKETS - 1u));
}

#endif
