// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * thread_set_priority, thread_resume, thread_set_passive and thread_bind_notification: what they
 * do, that a refused one changes nothing, and that all they touch is there. The scheduler is taken
 * by what it promises (proofs/kernel/scheduler.h), and what a signal does by
 * proofs/ipc/notification.c. Of: kernel/object/thread.c Of: kernel/object/sched_context.c
 *
 * Quick goal effect: -DPROOF_EFFECT
 * Goal cells: -DPROOF_CELLS
 * Goal safety: -DPROOF_SAFETY
 */
#define CELLS_slot 3
#define CELLS_table 1
#define CELLS_thread 2
#define CELLS_notification 2
#define CELLS_original 4
#define ASSUMED(n) ((n) == 14 || (n) == 17 || (n) == 21)
#define SAFETY_ALSO(n) ((n) == 21)
#include "proofs/kernel/call.h"
#include "proofs/kernel/scheduler.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/sched_context.c"
#include "kernel/object/table.c"
#include "kernel/object/thread.c"

static uint32_t raises, raised;

void notification_raise(struct kernel *k, notification_ix i, uint64_t bits)
{
    (void)k;
    PROVE_EFFECT(bits == 0);
    raises++;
    raised = i.n;
}

/* Slot 1 is number n of the caller's table, thread 1 what it names, slot 2 number `with`. As thread
 * 1 was; or the caller itself, which it may be, too. */
static struct thread begin(uint64_t n, uint64_t with)
{
    raises = raised = 0;
    scheduler_begin();
    proof_begin();
    LOOK_OWN(1, n);
    LOOK_OWN(2, with);
    LOOK(thread, 1, WAS(slot, slot_key_1).object);
    const struct thread was = WAS(thread, thread_key_1);
    LOOK(notification, 0, was.bound.n);
    LOOK(notification, 1, WAS(slot, slot_key_2).object);
    LOOK(original, 0, thread_key_1);
    LOOK(original, 1, notification_key_0);
    LOOK(original, 2, notification_key_1);
    proof_looked();
    ASSUME_CALLER();
    ASSUME_OWN(1);
    ASSUME_OWN(2);
    /* Invariants 21 of that thread, and 14 of one that is not in a queue. */
    ASSUME(was.bound.n == NIL || (inv_alive(PROOF_BEFORE, OBJECT_NOTIFICATION, was.bound.n) &&
                                  WAS(notification, was.bound.n).bound.n == thread_key_1));
    ASSUME(was.state != THREAD_INACTIVE ||
           (was.next.n == NIL && was.previous.n == NIL && was.blocked_on == NIL &&
            (was.flags & THREAD_TIMED) == 0));
    return was;
}

static void end(bool done)
{
    PROVE_EFFECT(UNCHANGED(slot) && UNCHANGED(table) && UNCHANGED(original));
    PROVE_EFFECT(thread_key_0 == thread_key_1 || CALLER_UNCHANGED());
    PROVE_EFFECT(done || (UNCHANGED(thread) && UNCHANGED(notification) &&
                          wakes + promotions + reorders + raises == 0));
    PROVE_EFFECT(blocks + timers == 0);
    PROOF_END_IF(done);
}

/* All of a thread but what these calls are about. */
static bool thread_keeps(struct thread a, struct thread b)
{
    return a.cpu == b.cpu && a.domain == b.domain && a.table.n == b.table.n &&
           a.aspace.n == b.aspace.n && a.root == b.root && a.reply.n == b.reply.n &&
           a.context.n == b.context.n && a.blocked_on == b.blocked_on && a.next.n == b.next.n &&
           a.previous.n == b.previous.n && a.original.n == b.original.n &&
           a.registers.ip == b.registers.ip && a.registers.result == b.registers.result &&
           a.registers.flags == b.registers.flags && a.upcall_area == b.upcall_area;
}

void prove_set_priority(void)
{
    uint64_t n = nondet_u64();
    uint64_t control = nondet_u64();
    uint64_t priority = nondet_u64();
    const struct thread was = begin(n, control);
    struct slot s = WAS(slot, slot_key_1);
    struct slot c = WAS(slot, slot_key_2);

    bool done = thread_set_priority(PROOF_KERNEL, n, control, priority) == STATUS_OK;

    const struct thread is = IS(thread, thread_key_1);
    PROVE_EFFECT(done == (holds(n, s, OBJECT_THREAD, RIGHT_MANAGE) &&
                          holds(control, c, OBJECT_SCHED_CONTROL, 0) && priority <= c.badge &&
                          priority < PRIORITY_COUNT));
    bool ready = was.state == THREAD_READY;
    bool demoted = (was.flags & THREAD_DEMOTED) != 0;
    if (done) {
        PROVE_EFFECT(is.base_priority == priority);
        PROVE_EFFECT(is.priority == (ready && demoted ? was.priority : (uint8_t)priority));
        PROVE_EFFECT(reorders == (ready && !demoted) && wakes + promotions + raises == 0);
        PROVE_EFFECT(thread_keeps(is, was) && is.state == was.state && is.flags == was.flags &&
                     is.lease == was.lease && is.bound.n == was.bound.n);
    }
    PROVE_EFFECT(UNCHANGED(notification));
    end(done);
}

void prove_resume(void)
{
    uint64_t n = nondet_u64();
    const struct thread was = begin(n, 0);
    struct slot s = WAS(slot, slot_key_1);

    bool done = thread_resume(PROOF_KERNEL, n) == STATUS_OK;

    const struct thread is = IS(thread, thread_key_1);
    PROVE_EFFECT(done ==
                 (holds(n, s, OBJECT_THREAD, RIGHT_MANAGE) && was.state == THREAD_INACTIVE &&
                  was.table.n != NIL && was.aspace.n != NIL));
    if (done) {
        PROVE_EFFECT(is.state == THREAD_READY && wakes == 1 && woken == thread_key_1);
        PROVE_EFFECT(is.flags == (was.flags & ~THREAD_FAULTED) && thread_keeps(is, was));
        PROVE_EFFECT(is.priority == was.priority && is.lease == was.lease &&
                     is.bound.n == was.bound.n);
    }
    PROVE_EFFECT(UNCHANGED(notification));
    end(done);
}

void prove_set_passive(void)
{
    uint64_t n = nondet_u64();
    uint64_t passive = nondet_u64();
    uint64_t control = nondet_u64();
    const struct thread was = begin(n, control);
    struct slot s = WAS(slot, slot_key_1);
    struct slot c = WAS(slot, slot_key_2);

    bool done = thread_set_passive(PROOF_KERNEL, n, passive, control) == STATUS_OK;

    const struct thread is = IS(thread, thread_key_1);
    bool is_passive = (was.flags & THREAD_PASSIVE) != 0;
    PROVE_EFFECT(done == (holds(n, s, OBJECT_THREAD, RIGHT_MANAGE) && passive <= 1 &&
                          was.context.n == NIL &&
                          (passive == 1 || holds(control, c, OBJECT_SCHED_CONTROL, 0))));
    if (done) {
        bool same = is_passive == (passive == 1);
        PROVE_EFFECT(((is.flags & THREAD_PASSIVE) != 0) == (passive == 1));
        PROVE_EFFECT(((is.flags ^ was.flags) & ~THREAD_PASSIVE) == 0);
        PROVE_EFFECT(is.lease == (same ? was.lease : passive == 1 ? LEASE_NONE : LEASE_UNBUDGETED));
        PROVE_EFFECT(promotions == (!same && passive == 0) && wakes + reorders + raises == 0);
        PROVE_EFFECT(thread_keeps(is, was) && is.state == was.state &&
                     is.priority == was.priority && is.bound.n == was.bound.n);
    }
    PROVE_EFFECT(UNCHANGED(notification));
    end(done);
}

void prove_bind_notification(void)
{
    uint64_t n = nondet_u64();
    uint64_t with = nondet_u64();
    const struct thread was = begin(n, with);
    struct slot s = WAS(slot, slot_key_1);
    struct slot w = WAS(slot, slot_key_2);
    const struct notification old = WAS(notification, was.bound.n);
    const struct notification new = WAS(notification, w.object);

    bool done = thread_bind_notification(PROOF_KERNEL, n, with) == STATUS_OK;

    const struct thread is = IS(thread, thread_key_1);
    PROVE_EFFECT(done == (holds(n, s, OBJECT_THREAD, RIGHT_MANAGE) &&
                          (with == 0 || (holds(with, w, OBJECT_NOTIFICATION, RIGHT_RECEIVE) &&
                                         (new.bound.n == NIL || new.bound.n == thread_key_1)))));
    if (done) {
        PROVE_EFFECT(is.bound.n == (with == 0 ? NIL : w.object) && thread_keeps(is, was));
        PROVE_EFFECT(is.state == was.state && is.priority == was.priority &&
                     is.flags == was.flags && is.lease == was.lease);
        bool again = with != 0 && was.bound.n == w.object;
        PROVE_EFFECT(with == 0 || IS(notification, w.object).bound.n == thread_key_1);
        PROVE_EFFECT(was.bound.n == NIL || again || IS(notification, was.bound.n).bound.n == NIL);
        PROVE_EFFECT(IS(notification, was.bound.n).word == old.word || was.bound.n == NIL);
        PROVE_EFFECT(raises == (with != 0 && new.word != 0));
        PROVE_EFFECT(raises == 0 || raised == w.object);
    }
    end(done);
}
