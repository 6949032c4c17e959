// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * notification_signal and notification_wait: what they do, that a refused one does nothing, and
 * that all they touch is there. The scheduler, the timer and upcalls are taken by what they promise
 * (proofs/kernel/scheduler.h). Of signal, a bound thread that is receiving is left out.
 * Of: kernel/object/notification.c
 *
 * Quick goal effect: -DPROOF_EFFECT
 * Goal cells: -DPROOF_CELLS
 * Goal safety: -DPROOF_SAFETY
 */
#define CELLS_slot 2
#define CELLS_table 1
#define CELLS_thread 3
#define CELLS_notification 1
#define CELLS_original 4
#define ASSUMED(n) ((n) == 17 || (n) == 21 || (n) == 27)
#define SAFETY_ALSO(n) ((n) == 17 || (n) == 21)
#include "proofs/kernel/call.h"
#include "proofs/kernel/scheduler.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/notification.c"
#include "kernel/object/table.c"

/* A bound thread that is receiving takes the message; not here. */
void thread_wake(struct kernel *k, thread_ix i, status_t result)
{
    (void)k;
    (void)i;
    (void)result;
    __CPROVER_assume(0);
}

/* Slot 1 is number n of the caller's table, notification 0 what it names, thread 1 its waiter,
 * thread 2 the one that is bound to it. */
static struct slot begin(uint64_t n)
{
    scheduler_begin();
    proof_begin();
    LOOK_OWN(1, n);
    struct slot s = WAS(slot, slot_key_1);
    LOOK(notification, 0, s.object);
    LOOK(thread, 1, notification_was_0.waiter.n);
    LOOK(thread, 2, notification_was_0.bound.n);
    LOOK(original, 0, notification_key_0);
    LOOK(original, 1, thread_key_1);
    LOOK(original, 2, thread_key_2);
    LOOK(original, 3, thread_key_0);
    return s;
}

/* After the cells. */
static void ready(void)
{
    proof_looked();
    ASSUME_CALLER();
    ASSUME_OWN(1);
    ASSUME(inv_current_check(PROOF_BEFORE, &cpu_was_0) == 0);
    ASSUME((thread_was_0.flags & THREAD_TIMED) == 0); /* invariant 18 of a ready thread */
    /* The notification is there, since its capability is: invariant 5. */
    ASSUME(inv_notification_check(PROOF_BEFORE, (notification_ix){notification_key_0}) == 0);
    ASSUME(notification_was_0.waiter.n == NIL ||
           inv_thread_state_check(PROOF_BEFORE, (thread_ix){thread_key_1}) == 0);
}

/* All of a thread but what a wait, its end and its result are. */
static bool thread_keeps(struct thread a, struct thread b)
{
    return a.cpu == b.cpu && a.domain == b.domain && a.table.n == b.table.n &&
           a.aspace.n == b.aspace.n && a.root == b.root && a.reply.n == b.reply.n &&
           a.bound.n == b.bound.n && a.context.n == b.context.n && a.lease == b.lease &&
           a.priority == b.priority && a.base_priority == b.base_priority &&
           a.original.n == b.original.n && a.registers.ip == b.registers.ip &&
           a.registers.sp == b.registers.sp && a.registers.flags == b.registers.flags;
}

void prove_signal(void)
{
    uint64_t n = nondet_u64();
    struct slot s = begin(n);
    const struct notification was = notification_was_0;
    uint64_t word = was.word | s.badge;

    ready();
    const struct thread bound = WAS(thread, thread_key_2);
    ASSUME(was.bound.n == NIL || was.waiter.n != NIL || bound.state != THREAD_RECEIVING);

    bool done = notification_signal(PROOF_KERNEL, n) == STATUS_OK;

    const struct notification is = notification_is_0;
    PROVE_EFFECT(done == (holds(n, s, OBJECT_NOTIFICATION, RIGHT_SEND) && s.badge != 0));
    PROVE_EFFECT(UNCHANGED(slot) && UNCHANGED(table) && UNCHANGED(original));
    PROVE_EFFECT(done || (UNCHANGED(notification) && UNCHANGED(thread) && wakes + upcalls == 0));
    bool taken = was.waiter.n == NIL && was.bound.n != NIL &&
                 (bound.upcall_events & UPCALL_NOTIFICATION) != 0;
    if (done) {
        PROVE_EFFECT(is.word == (was.waiter.n != NIL || taken ? 0 : word));
        PROVE_EFFECT(is.waiter.n == NIL && is.bound.n == was.bound.n && is.irqs.n == was.irqs.n);
        PROVE_EFFECT(is.original.n == was.original.n && is.iospaces.n == was.iospaces.n);
        PROVE_EFFECT(thread_is_0.registers.result == STATUS_OK);
        PROVE_EFFECT(upcalls == taken && wakes == (was.waiter.n != NIL) && blocks + timers == 0);
        PROVE_EFFECT(UNCHANGED_BUT_0(thread) || was.waiter.n != NIL);
    }
    if (done && was.waiter.n != NIL) {
        const struct thread waiter = IS(thread, was.waiter.n);
        PROVE_EFFECT(woken == was.waiter.n && waiter.state == THREAD_READY);
        PROVE_EFFECT(waiter.registers.word[0] == word && waiter.registers.result == STATUS_OK);
        PROVE_EFFECT(waiter.blocked_on == NIL && (waiter.flags & THREAD_TIMED) == 0);
        PROVE_EFFECT(thread_keeps(waiter, WAS(thread, was.waiter.n)));
    }
    PROOF_END_IF(done);
}

void prove_wait(void)
{
    uint64_t n = nondet_u64();
    uint64_t deadline_ns = nondet_u64();
    struct slot s = begin(n);
    const struct notification was = notification_was_0;

    ready();
    status_t status = notification_wait(PROOF_KERNEL, n, deadline_ns);

    const struct notification is = notification_is_0;
    bool held = holds(n, s, OBJECT_NOTIFICATION, RIGHT_RECEIVE);
    bool past =
        deadline_ns != DEADLINE_NEVER && (deadline_ns == DEADLINE_NOW || deadline_ns <= now_ns);
    bool waits = held && was.word == 0 && was.waiter.n == NIL && !past;
    PROVE_EFFECT((status == STATUS_OK) == (held && was.word != 0));
    PROVE_EFFECT((status == CALL_BLOCKED) == waits);
    PROVE_EFFECT((status == STATUS_BUSY) == (held && was.word == 0 && was.waiter.n != NIL));
    PROVE_EFFECT(UNCHANGED(slot) && UNCHANGED(table) && UNCHANGED(original) && wakes == 0);
    PROVE_EFFECT(status == STATUS_OK || status == CALL_BLOCKED ||
                 (UNCHANGED(notification) && UNCHANGED(thread) && blocks + timers == 0));
    PROVE_EFFECT(UNCHANGED_BUT_0(thread));
    PROVE_EFFECT(thread_keeps(thread_is_0, thread_was_0));
    PROVE_EFFECT(is.bound.n == was.bound.n && is.irqs.n == was.irqs.n &&
                 is.word == (status == STATUS_OK ? 0 : was.word));
    PROVE_EFFECT(is.original.n == was.original.n && is.iospaces.n == was.iospaces.n);
    PROVE_EFFECT(status != STATUS_OK || (thread_is_0.registers.word[0] == was.word &&
                                         is.waiter.n == was.waiter.n && blocks + timers == 0));
    if (waits) {
        PROVE_EFFECT(is.waiter.n == thread_key_0 && thread_is_0.blocked_on == notification_key_0);
        PROVE_EFFECT(blocks == 1 && blocked_state == THREAD_WAITING);
        PROVE_EFFECT(timers == (deadline_ns != DEADLINE_NEVER));
        PROVE_EFFECT(timers == 0 || thread_is_0.deadline >= deadline_ns);
    }
    PROOF_END_IF(waits);
}
