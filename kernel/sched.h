// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Which thread runs: of the domain whose window it is, by 256 fixed priorities, round robin within
 * one. Each CPU has a queue for each domain and priority; its current thread is in none. After
 * every entry the current thread is one of the highest priority that is ready, or NIL if nothing
 * is. Tickless: the timer is armed for the end of the quantum only while somebody shares the
 * current thread's priority.
 */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include "kernel/state.h"

#define QUANTUM_NS 5000000u
/* Threads that one entry finds without budget and puts aside; one more runs until the timer, set
 * for at once, makes the next entry go on. */
#define SCHED_STEPS 4u

/* Makes an inactive (unlinked) thread ready. On another CPU it is queued, and that CPU looks
 * again. Else it runs next if its CPU has no current thread and no
 * better one is ready (a direct hand-over), or if it is of higher priority than the current one. */
void sched_wake(struct kernel *k, thread_ix i);
/* Takes a ready thread off the CPU or its queue; its state becomes INACTIVE. */
void sched_remove(struct kernel *k, thread_ix i);
/* The lease of a thread counts again: if it is ready, its priority is its own. */
void sched_promote(struct kernel *k, thread_ix i);
/* If the context of this lease is being used, on whatever CPU: enters its use until now and ends
 * it. Another CPU's current thread is stopped for that, and goes on when that CPU has looked again.
 */
void sched_charge(struct kernel *k, uint64_t lease);
/* The current thread blocks in `state`. */
void sched_block(struct kernel *k, enum thread_state state);
/* The current thread goes behind the others of its priority. */
void sched_rotate(struct kernel *k);
/* A ready thread gets another priority. */
void sched_set_priority(struct kernel *k, thread_ix i, uint8_t priority);
/* After another CPU gave this one threads, took its current one, or changed a priority. */
void sched_reconsider(struct kernel *k);
/* The thread belongs to that domain of that CPU from now on. */
void sched_move(struct kernel *k, thread_ix i, uint8_t cpu, uint8_t domain);
/* This CPU runs threads of that domain only from now on. */
void sched_enter_domain(struct kernel *k, uint32_t domain);
/* Another CPU comes to kernel_reschedule soon. */
void sched_poke(struct cpu *c);
/* The highest priority with a thread in a queue of the domain that the CPU runs, or -1. */
static inline int32_t sched_top(const struct cpu *c)
{
    return c->ready_top;
}

/* Somebody is queued at the priority of `t`, which is current: so nobody is above. */
static inline bool sched_shared(const struct cpu *c, const struct thread *t)
{
    return sched_top(c) == (int32_t)t->priority;
}

void sched_finish_slow(struct kernel *k);
/* Ends every entry: there is a current thread if any is ready, and the timer is set. */
static inline void sched_finish(struct kernel *k)
{
    const struct cpu *c = cpu_self(k);

    if (c->current.n != NIL && c->timer_due == c->timer_armed &&
        !sched_shared(c, thread_at(k, c->current)) && thread_at(k, c->current)->lease == c->lease &&
        (thread_at(k, c->current)->flags & THREAD_UPCALLS) == 0) {
        return; /* alone at its priority, on the context that is in use, and the timer is right */
    }
    sched_finish_slow(k);
}

#endif
