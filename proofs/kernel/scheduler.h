// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The scheduler and the timer in proofs of calls, by what kernel/sched.h and kernel/timer.h
 * promise: which thread is made ready, blocks, gets or loses a deadline. Ready queues, the timer
 * wheel and which thread runs next are left out, with the links that make them; a proof that
 * includes this says nothing about those. What the callers owe them is asked here.
 */
#ifndef PROOFS_KERNEL_SCHEDULER_H
#define PROOFS_KERNEL_SCHEDULER_H

#include "kernel/object/upcall.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "proofs/kernel/kernel.h"

/* How often each was asked for, and of which thread last. */
static uint32_t wakes, woken, blocks, blocked_state, timers, upcalls, promotions, reorders;
static uint32_t removals, returns;
static uint64_t now_ns;

static void scheduler_begin(void)
{
    wakes = woken = blocks = blocked_state = timers = upcalls = promotions = reorders = 0;
    removals = returns = 0;
    now_ns = nondet_u64();
}

/* Owed: it is in no queue and waits for nothing. */
void sched_wake(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    PROVE_EFFECT(t->next.n == NIL && t->previous.n == NIL);
    PROVE_EFFECT((t->flags & THREAD_TIMED) == 0 && t->blocked_on == NIL);
    t->state = THREAD_READY;
    wakes++;
    woken = i.n;
}

/* Owed: it is ready. If it was current nobody is. */
void sched_remove(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    PROVE_EFFECT(t->state == THREAD_READY);
    t->next = (thread_ix){NIL};
    t->previous = (thread_ix){NIL};
    t->state = THREAD_INACTIVE;
    removals++;
}

/* Owed: it is ready. */
void sched_set_priority(struct kernel *k, thread_ix i, uint8_t priority)
{
    struct thread *t = thread_at(k, i);

    PROVE_EFFECT(t->state == THREAD_READY);
    t->priority = priority;
    reorders++;
}

/* Whether it is demoted or throttled, or neither, is left out: nothing of the thread is shown after
 * this but that it was asked for. */
void sched_promote(struct kernel *k, thread_ix i)
{
    (void)k;
    promotions++;
    woken = i.n;
}

void sched_block(struct kernel *k, enum thread_state state)
{
    struct thread *t = thread_at(k, current_thread(k));

    PROVE_EFFECT(blocks == 0);
    t->state = (uint8_t)state;
    cpu_self(k)->current = (thread_ix){NIL};
    blocks++;
    blocked_state = state;
}

/* Owed: it is not in the wheel. A deadline that the wheel has gone past counts as later. */
void timer_insert(struct kernel *k, thread_ix i, uint64_t deadline_ns)
{
    struct thread *t = thread_at(k, i);
    uint64_t later = nondet_u64();

    PROVE_EFFECT((t->flags & THREAD_TIMED) == 0);
    ASSUME(later >= deadline_ns);
    t->deadline = later;
    t->flags |= THREAD_TIMED;
    timers++;
}

/* Owed: it is in the wheel. */
void timer_take_out(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    PROVE_EFFECT((t->flags & THREAD_TIMED) != 0);
    t->flags &= (uint8_t)~THREAD_TIMED;
    t->timer_next = (thread_ix){NIL};
    t->timer_previous = (thread_ix){NIL};
}

uint64_t arch_time_ns(void)
{
    return now_ns;
}

/* Threads with upcalls for notifications have the bits then (kernel/object/upcall.h). */
bool upcall_notify(struct kernel *k, thread_ix i, uint64_t word)
{
    bool wants = (thread_at(k, i)->upcall_events & UPCALL_NOTIFICATION) != 0;

    (void)word;
    upcalls += wants;
    return wants;
}

#endif
