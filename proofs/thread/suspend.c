// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * thread_suspend: whatever the thread did, it is inactive and in no structure then, and its
 * neighbours there name each other; a refused one changes nothing, and all that it touches is
 * there. The scheduler and the timer are taken by what they promise (proofs/kernel/scheduler.h).
 * Taken as given: no thread is its own neighbour in a queue, which no invariant of one thread says.
 * Of: kernel/object/thread.c
 * Of: kernel/object/wait.h
 * Of: kernel/object/lists.h
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
#define ASSUMED(n) ((n) == 15 || (n) == 16 || (n) == 17)
#define SAFETY_ALSO(n) ((n) == 15 || (n) == 16 || (n) == 17)
#include "proofs/kernel/call.h"
#include "proofs/kernel/scheduler.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/table.c"
#include "kernel/object/thread.c"

/* What was lent is the thread's own again: its lease, in proofs/sched/context.c. */
void sched_context_return(struct kernel *k, struct thread *t)
{
    (void)k;
    (void)t;
    returns++;
}

void prove_suspend(void)
{
    uint64_t n = nondet_u64();

    scheduler_begin();
    proof_begin();
    LOOK_OWN(1, n);
    struct slot s = WAS(slot, slot_key_1);
    LOOK(thread, 1, s.object);
    const struct thread was = WAS(thread, thread_key_1);
    bool queued =
        was.state == THREAD_SENDING || was.state == THREAD_CALLING || was.state == THREAD_RECEIVING;
    LOOK(thread, 2, queued ? was.previous.n : NIL);
    LOOK(thread, 3, queued ? was.next.n : NIL);
    LOOK(endpoint, 0, was.blocked_on);
    LOOK(notification, 0, was.blocked_on);
    LOOK(reply, 0, was.reply.n);
    LOOK(original, 0, thread_key_1);
    LOOK(original, 1, thread_key_2);
    LOOK(original, 2, thread_key_3);
    LOOK(original, 3, was.blocked_on);
    LOOK(original, 4, was.reply.n);
    proof_looked();
    ASSUME_CALLER();
    ASSUME_OWN(1);
    ASSUME(s.type != OBJECT_THREAD ||
           (was.state < THREAD_STATE_COUNT && /* invariant 12, and 18: no deadline without a wait */
            (was.state != THREAD_READY || (was.flags & THREAD_TIMED) == 0) &&
            inv_thread_state_check(PROOF_BEFORE, (thread_ix){thread_key_1}) == 0));
    ASSUME(was.previous.n != thread_key_1 && was.next.n != thread_key_1);
    const struct thread before = WAS(thread, thread_key_2);
    const struct thread after = WAS(thread, thread_key_3);

    bool done = thread_suspend(PROOF_KERNEL, n) == STATUS_OK;

    const struct thread is = IS(thread, thread_key_1);
    bool waited = was.state != THREAD_INACTIVE && was.state != THREAD_READY;
    PROVE_EFFECT(done == holds(n, s, OBJECT_THREAD, RIGHT_MANAGE));
    PROVE_EFFECT(UNCHANGED(slot) && UNCHANGED(table) && UNCHANGED(original));
    PROVE_EFFECT(thread_key_0 == thread_key_1 || thread_key_0 == thread_key_2 ||
                 thread_key_0 == thread_key_3 || CALLER_UNCHANGED());
    PROVE_EFFECT(done || (UNCHANGED(thread) && UNCHANGED(endpoint) && UNCHANGED(reply) &&
                          UNCHANGED(notification) && removals + returns == 0));
    PROVE_EFFECT(wakes + blocks + timers + reorders + promotions == 0);
    if (done) {
        PROVE_EFFECT(is.state == THREAD_INACTIVE);
        PROVE_EFFECT(!waited || ((is.flags & THREAD_TIMED) == 0 && is.blocked_on == NIL));
        PROVE_EFFECT(!queued || (is.next.n == NIL && is.previous.n == NIL));
        PROVE_EFFECT(removals == (was.state == THREAD_READY));
        PROVE_EFFECT(returns == (was.state == THREAD_REPLY_WAITING));
        bool claimed = was.state == THREAD_RECEIVING || was.state == THREAD_REPLY_WAITING;
        PROVE_EFFECT(!claimed || (is.reply.n == NIL && reply_is_0.thread.n == NIL));
        PROVE_EFFECT(claimed || UNCHANGED(reply));
        PROVE_EFFECT(was.state == THREAD_WAITING ? notification_is_0.waiter.n == NIL
                                                 : UNCHANGED(notification));
        PROVE_EFFECT(notification_is_0.word == notification_was_0.word);
        PROVE_EFFECT(queued || UNCHANGED(endpoint));
        bool cancelled =
            waited && was.state != THREAD_THROTTLED && (was.flags & THREAD_FAULTED) == 0;
        PROVE_EFFECT(is.registers.result ==
                     (cancelled ? (uint64_t)(int64_t)STATUS_CANCELLED : was.registers.result));
        PROVE_EFFECT(is.registers.ip == was.registers.ip && is.table.n == was.table.n &&
                     is.base_priority == was.base_priority && is.context.n == was.context.n);
    }
    if (done && queued) {
        const struct endpoint e = endpoint_is_0;
        PROVE_EFFECT(e.head.n == (was.previous.n == NIL ? was.next.n : endpoint_was_0.head.n));
        PROVE_EFFECT(e.tail.n == (was.next.n == NIL ? was.previous.n : endpoint_was_0.tail.n));
        PROVE_EFFECT(was.previous.n == NIL || IS(thread, was.previous.n).next.n == was.next.n);
        PROVE_EFFECT(was.next.n == NIL || IS(thread, was.next.n).previous.n == was.previous.n);
        PROVE_EFFECT(was.previous.n == NIL || IS(thread, was.previous.n).state == before.state);
        PROVE_EFFECT(was.next.n == NIL || IS(thread, was.next.n).state == after.state);
    }
    PROOF_END_IF(done && queued);
}
