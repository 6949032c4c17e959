// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * notification_signal where a bound thread is receiving from an endpoint (the case that
 * proofs/ipc/notification.c leaves out): what it does, and that all it touches is there. The
 * scheduler and the timer are taken by what they promise (proofs/kernel/scheduler.h). Taken as
 * given: no thread is its own neighbour in a queue, which no invariant of one thread says.
 * Of: kernel/object/notification.c
 * Of: kernel/object/thread.c
 * Of: kernel/object/wait.h
 *
 * Quick goal effect: -DPROOF_EFFECT
 * Goal cells: -DPROOF_CELLS
 * Goal safety: -DPROOF_SAFETY
 */
#define CELLS_slot 2
#define CELLS_table 1
#define CELLS_thread 4
#define CELLS_endpoint 1
#define CELLS_reply 1
#define CELLS_notification 1
#define CELLS_original 6
#define ASSUMED(n) ((n) == 12 || (n) == 15 || (n) == 16 || (n) == 17 || (n) == 21)
#define SAFETY_ALSO(n) ((n) == 15 || (n) == 16 || (n) == 17 || (n) == 21)
#include "proofs/kernel/call.h"
#include "proofs/kernel/scheduler.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/notification.c"
#include "kernel/object/table.c"
#include "kernel/object/thread.c"

static uint32_t returns_of_lease, reports;

void sched_context_return(struct kernel *k, struct thread *t)
{
    (void)k;
    (void)t;
    returns_of_lease++;
}

void arch_report_fault(struct kernel *k, thread_ix i, const struct fault *fault)
{
    (void)k;
    (void)i;
    (void)fault;
    reports++;
}

void prove_signal(void)
{
    uint64_t n = nondet_u64();

    returns_of_lease = reports = 0;
    scheduler_begin();
    proof_begin();
    LOOK_OWN(1, n);
    struct slot s = WAS(slot, slot_key_1);
    LOOK(notification, 0, s.object);
    LOOK(thread, 1, notification_was_0.bound.n);
    const struct thread was = WAS(thread, thread_key_1);
    LOOK(thread, 2, was.previous.n);
    LOOK(thread, 3, was.next.n);
    LOOK(endpoint, 0, was.blocked_on);
    LOOK(reply, 0, was.reply.n);
    LOOK(original, 0, thread_key_1);
    LOOK(original, 1, thread_key_2);
    LOOK(original, 2, thread_key_3);
    LOOK(original, 3, was.blocked_on);
    LOOK(original, 4, was.reply.n);
    LOOK(original, 5, notification_key_0);
    proof_looked();
    ASSUME_CALLER();
    ASSUME_OWN(1);
    ASSUME(inv_notification_check(PROOF_BEFORE, (notification_ix){notification_key_0}) == 0);
    /* The case, which goes with no waiter only if the thread is not that. */
    ASSUME(notification_was_0.bound.n != NIL && was.state == THREAD_RECEIVING);
    ASSUME(notification_was_0.waiter.n == NIL);
    ASSUME(inv_thread_state_check(PROOF_BEFORE, (thread_ix){thread_key_1}) == 0);
    ASSUME(was.previous.n != thread_key_1 && was.next.n != thread_key_1);

    bool done = notification_signal(PROOF_KERNEL, n) == STATUS_OK;

    const struct thread is = IS(thread, thread_key_1);
    const struct notification after = notification_is_0;
    PROVE_EFFECT(done == (holds(n, s, OBJECT_NOTIFICATION, RIGHT_SEND) && s.badge != 0));
    PROVE_EFFECT(UNCHANGED(slot) && UNCHANGED(table) && UNCHANGED(original));
    PROVE_EFFECT(done || (UNCHANGED(thread) && UNCHANGED(endpoint) && UNCHANGED(reply) &&
                          UNCHANGED(notification) && wakes == 0));
    PROVE_EFFECT(blocks + timers + reorders + promotions + removals + upcalls == 0);
    PROVE_EFFECT(returns_of_lease + reports == 0);
    if (done) {
        PROVE_EFFECT(after.word == 0 && after.waiter.n == NIL && after.bound.n == thread_key_1 &&
                     after.irqs.n == notification_was_0.irqs.n);
        PROVE_EFFECT(wakes == 1 && woken == thread_key_1 && is.state == THREAD_READY);
        PROVE_EFFECT(is.registers.word[0] == (notification_was_0.word | s.badge));
        PROVE_EFFECT(is.registers.result == STATUS_OK && is.registers.arg0 == 0);
        PROVE_EFFECT(is.registers.arg1 == message_info(LABEL_NOTIFICATION, 1));
        PROVE_EFFECT(is.blocked_on == NIL && (is.flags & THREAD_TIMED) == 0);
        PROVE_EFFECT(is.reply.n == NIL && reply_is_0.thread.n == NIL);
        PROVE_EFFECT(is.lease == ((was.flags & THREAD_PASSIVE) != 0 ? LEASE_NONE : was.lease));
        PROVE_EFFECT(is.registers.ip == was.registers.ip && is.table.n == was.table.n);
        const struct endpoint e = endpoint_is_0;
        PROVE_EFFECT(e.head.n == (was.previous.n == NIL ? was.next.n : endpoint_was_0.head.n));
        PROVE_EFFECT(e.tail.n == (was.next.n == NIL ? was.previous.n : endpoint_was_0.tail.n));
        PROVE_EFFECT(was.previous.n == NIL || IS(thread, was.previous.n).next.n == was.next.n);
        PROVE_EFFECT(was.next.n == NIL || IS(thread, was.next.n).previous.n == was.previous.n);
        PROVE_EFFECT(thread_key_0 == thread_key_1 || thread_is_0.registers.result == STATUS_OK);
    }
    PROOF_END_IF(done);
}
