// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * sched_context_configure, sched_context_bind, sched_context_unbind and sched_context_info: what
 * they do, that a refused one changes nothing, that all they touch is there, and invariant 70 of
 * the context. The scheduler is taken by what it promises (proofs/kernel/scheduler.h).
 * Of: kernel/object/sched_context.c
 *
 * Quick goal effect: -DPROOF_EFFECT
 * Goal cells: -DPROOF_CELLS
 * Goal safety: -DPROOF_SAFETY
 */
#define CELLS_slot 3
#define CELLS_table 1
#define CELLS_thread 2
#define CELLS_sched_context 1
#define CELLS_original 3
#define ASSUMED(n) ((n) == 70 || (n) == 71)
#define SAFETY_ALSO(n) ((n) == 71)
#include "proofs/kernel/call.h"
#include "proofs/kernel/scheduler.h"

#include "kernel/invariants.c"
#include "kernel/invariants_time.c"
#include "kernel/object/cap.c"
#include "kernel/object/sched_context.c"
#include "kernel/object/table.c"

static uint32_t charges;
static uint64_t charged;

/* What was used until now, if the context is in use, is entered (proofs/sched/refills.c): the
 * pieces are any that keep invariant 70, and the CPU no longer uses it. */
void sched_charge(struct kernel *k, uint64_t lease)
{
    struct sched_context any;
    struct sched_context *c = sched_context_at(k, (sched_context_ix){sched_context_key_0});

    charges++;
    charged = lease;
    ASSUME(any.budget_ns == c->budget_ns && inv_refills_check(&any) == 0);
    c->consumed_ns = any.consumed_ns;
    c->refill_count = any.refill_count;
    c->refill[0] = any.refill[0];
    c->refill[1] = any.refill[1];
    c->refill[2] = any.refill[2];
    c->refill[3] = any.refill[3];
    c->user = 0;
}

/* Slot 1 is number n of the caller's table, context 0 what it names, slot 2 number `with`, thread 1
 * what that names or else the thread of the context. */
static struct sched_context begin(uint64_t n, uint64_t with)
{
    charges = 0;
    scheduler_begin();
    proof_begin();
    LOOK_OWN(1, n);
    LOOK_OWN(2, with);
    LOOK(sched_context, 0, WAS(slot, slot_key_1).object);
    const struct sched_context was = sched_context_was_0;
    LOOK(thread, 1, with != 0 ? WAS(slot, slot_key_2).object : was.thread.n);
    LOOK(original, 0, sched_context_key_0);
    LOOK(original, 1, thread_key_1);
    proof_looked();
    ASSUME_CALLER();
    ASSUME_OWN(1);
    ASSUME_OWN(2);
    ASSUME(WAS(slot, slot_key_1).type != OBJECT_SCHED_CONTEXT || /* invariant 5 */
           sched_context_key_0 != NIL);
    ASSUME(inv_sched_context_check(PROOF_BEFORE, (sched_context_ix){sched_context_key_0}) == 0);
    return was;
}

static void end(bool done)
{
    PROVE_EFFECT(UNCHANGED(slot) && UNCHANGED(table) && UNCHANGED(original));
    PROVE_EFFECT(thread_key_0 == thread_key_1 || CALLER_UNCHANGED());
    PROVE_EFFECT(done || (UNCHANGED(sched_context) && UNCHANGED(thread) && charges == 0 &&
                          promotions == 0 && proof_kernel.lease_next == proof_before.lease_next));
    PROVE_EFFECT(!done || inv_refills_check(&sched_context_is_0) == 0);
    PROVE_EFFECT(wakes + blocks + timers + reorders == 0);
    PROOF_END_IF(done);
}

/* Nothing but the budget, its pieces and what was used. */
static bool context_keeps(struct sched_context a, struct sched_context b)
{
    return a.original.n == b.original.n && a.thread.n == b.thread.n && a.lease == b.lease;
}

static bool thread_keeps(struct thread a, struct thread b)
{
    return a.state == b.state && a.cpu == b.cpu && a.domain == b.domain && a.table.n == b.table.n &&
           a.aspace.n == b.aspace.n && a.root == b.root && a.reply.n == b.reply.n &&
           a.bound.n == b.bound.n && a.blocked_on == b.blocked_on && a.priority == b.priority &&
           a.base_priority == b.base_priority && a.next.n == b.next.n &&
           a.previous.n == b.previous.n && a.original.n == b.original.n &&
           a.registers.ip == b.registers.ip && a.registers.result == b.registers.result;
}

/* The lease is the newest, so that no other counts. */
static bool lease_is_new(uint64_t lease)
{
    uint32_t before = proof_before.lease_next;
    uint32_t number = before == UINT32_MAX ? LEASE_SERIAL_FIRST : before + 1u;

    return proof_kernel.lease_next == number &&
           lease == ((uint64_t)number << 32 | sched_context_key_0);
}

void prove_configure(void)
{
    const struct sched_context_request r = {nondet_u64(), nondet_u64(), nondet_u64(), nondet_u64(),
                                            nondet_u64()};
    const struct sched_context was = begin(r.context, r.control);
    struct slot s = WAS(slot, slot_key_1);
    struct slot c = WAS(slot, slot_key_2);

    bool done = sched_context_configure(PROOF_KERNEL, &r) == STATUS_OK;

    const struct sched_context is = sched_context_is_0;
    PROVE_EFFECT(done == (holds(r.context, s, OBJECT_SCHED_CONTEXT, RIGHT_MANAGE) &&
                          holds(r.control, c, OBJECT_SCHED_CONTROL, 0) &&
                          r.budget_ns >= SCHED_BUDGET_MIN_NS && r.budget_ns <= r.period_ns &&
                          r.period_ns <= SCHED_PERIOD_MAX_NS &&
                          (r.flags & ~(uint64_t)SCHED_TIMEOUT_FAULT) == 0));
    if (done) {
        PROVE_EFFECT(is.budget_ns == r.budget_ns && is.period_ns == r.period_ns);
        PROVE_EFFECT(is.flags == r.flags && context_keeps(is, was));
        PROVE_EFFECT(is.refill_count == 1 && is.refill[0].amount == r.budget_ns);
        PROVE_EFFECT(is.refill[0].time == 0 && is.user == 0);
        PROVE_EFFECT(charges == 1 && charged == was.lease && promotions == 0);
    }
    PROVE_EFFECT(UNCHANGED(thread));
    end(done);
}

void prove_bind(void)
{
    uint64_t n = nondet_u64();
    uint64_t with = nondet_u64();

    ASSUME(with != 0); /* INVALID_SLOT, as prove_configure has it */
    const struct sched_context was = begin(n, with);
    struct slot s = WAS(slot, slot_key_1);
    struct slot w = WAS(slot, slot_key_2);
    const struct thread t = WAS(thread, w.object);

    bool done = sched_context_bind(PROOF_KERNEL, n, with) == STATUS_OK;

    const struct sched_context is = sched_context_is_0;
    const struct thread t_is = IS(thread, w.object);
    PROVE_EFFECT(done == (holds(n, s, OBJECT_SCHED_CONTEXT, RIGHT_MANAGE) &&
                          holds(with, w, OBJECT_THREAD, RIGHT_MANAGE) && was.refill_count != 0 &&
                          was.thread.n == NIL && t.context.n == NIL));
    if (done) {
        PROVE_EFFECT(is.thread.n == w.object && t_is.context.n == sched_context_key_0);
        PROVE_EFFECT(t_is.flags == ((t.flags & ~THREAD_PASSIVE) | THREAD_BUDGETED));
        PROVE_EFFECT(t_is.lease == is.lease && lease_is_new(is.lease));
        PROVE_EFFECT(is.budget_ns == was.budget_ns && is.period_ns == was.period_ns);
        PROVE_EFFECT(promotions == 1 && woken == w.object && thread_keeps(t_is, t));
    }
    end(done);
}

void prove_unbind(void)
{
    uint64_t n = nondet_u64();
    const struct sched_context was = begin(n, 0);
    struct slot s = WAS(slot, slot_key_1);
    const struct thread t = WAS(thread, was.thread.n);

    bool done = sched_context_unbind(PROOF_KERNEL, n) == STATUS_OK;

    const struct sched_context is = sched_context_is_0;
    const struct thread t_is = IS(thread, was.thread.n);
    PROVE_EFFECT(done == (holds(n, s, OBJECT_SCHED_CONTEXT, RIGHT_MANAGE) && was.thread.n != NIL));
    if (done) {
        PROVE_EFFECT(is.thread.n == NIL && t_is.context.n == NIL && lease_is_new(is.lease));
        PROVE_EFFECT(t_is.flags == ((t.flags & ~THREAD_BUDGETED) | THREAD_PASSIVE));
        PROVE_EFFECT(t_is.lease == LEASE_NONE && thread_keeps(t_is, t));
        PROVE_EFFECT(is.budget_ns == was.budget_ns && is.period_ns == was.period_ns);
        PROVE_EFFECT(promotions == 1 && woken == was.thread.n);
        PROVE_EFFECT(charges == 1 && charged == was.lease);
    }
    end(done);
}

void prove_info(void)
{
    uint64_t n = nondet_u64();
    uint64_t values[2] = {0, 0};
    const struct sched_context was = begin(n, 0);
    struct slot s = WAS(slot, slot_key_1);

    bool done = sched_context_info(PROOF_KERNEL, n, values) == STATUS_OK;

    const struct sched_context is = sched_context_is_0;
    PROVE_EFFECT(done == holds(n, s, OBJECT_SCHED_CONTEXT, 0));
    PROVE_EFFECT(done || (values[0] == 0 && values[1] == 0));
    if (done) {
        PROVE_EFFECT(values[0] == is.consumed_ns && context_keeps(is, was));
        PROVE_EFFECT(values[1] == (is.refill[0].time <= now_ns ? is.refill[0].amount : 0));
        PROVE_EFFECT(values[1] <= was.budget_ns && is.budget_ns == was.budget_ns);
        PROVE_EFFECT(charges == 1 && charged == was.lease && promotions == 0);
    }
    PROVE_EFFECT(UNCHANGED(thread));
    end(done);
}
