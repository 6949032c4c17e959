// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Scheduling contexts: a budget in each period, as a sporadic server. What was used comes back one
 * period after its use began, in at most REFILLS_MAX pieces; their sum is the budget always, so no
 * window of one period ever sees more than the budget, plus what the timer is late.
 *
 * Who runs on a context holds its lease (kernel/state.h): the thread it is bound to, or the passive
 * server that serves that thread's call, or whom that server calls. A new lease makes all others
 * void at once; nobody has to be found. docs/decisions/015.
 */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/sched.h"

/* ---- Refills ------------------------------------------------------------------------------------
 */

static void refill_drop_first(struct sched_context *c)
{
    for (uint32_t n = 1; n < c->refill_count; n++) {
        c->refill[n - 1u] = c->refill[n];
    }
    c->refill_count--;
    c->refill[c->refill_count] = (struct refill){0};
}

/* Comes last. A full row takes it into its last piece, which then comes later. */
static void refill_append(struct sched_context *c, uint64_t time, uint64_t amount)
{
    if (c->refill_count == REFILLS_MAX) {
        c->refill[REFILLS_MAX - 1u].time = time;
        c->refill[REFILLS_MAX - 1u].amount += amount;
        return;
    }
    c->refill[c->refill_count++] = (struct refill){time, amount};
}

void sched_context_begin(struct sched_context *c, uint64_t now)
{
    while (c->refill_count > 1 && c->refill[1].time <= now) { /* at most REFILLS_MAX */
        c->refill[1].amount += c->refill[0].amount;
        refill_drop_first(c);
    }
    c->refill[0].time = now;
}

void sched_context_charge(struct sched_context *c, uint64_t used)
{
    c->consumed_ns += used;
    for (uint32_t n = 0; n < REFILLS_MAX && used != 0; n++) {
        struct refill first = c->refill[0];
        if (first.amount > used) {
            c->refill[0].amount -= used;
            refill_append(c, first.time + c->period_ns, used);
            used = 0;
        } else {
            refill_drop_first(c);
            refill_append(c, first.time + c->period_ns, first.amount);
            used -= first.amount;
        }
    }
    if (c->refill_count > 1 && c->refill[0].amount < SCHED_BUDGET_MIN_NS) {
        c->refill[1].amount += c->refill[0].amount; /* too little to be worth a switch */
        refill_drop_first(c);
    }
}

/* ---- Leases
 * --------------------------------------------------------------------------------------- */

/* Everybody who ran on the context no longer does. */
static void lease_renew(struct kernel *k, sched_context_ix i)
{
    sched_charge(k, sched_context_at(k, i)->lease);
    k->lease_next = k->lease_next == UINT32_MAX ? LEASE_SERIAL_FIRST : k->lease_next + 1u;
    sched_context_at(k, i)->lease = (uint64_t)k->lease_next << 32 | i.n;
}

struct sched_context *sched_context_of(struct kernel *k, uint64_t lease)
{
    uint32_t n = (uint32_t)lease;

    if (!object_index_ok(k, n, OBJECT_SCHED_CONTEXT,
                         sizeof(struct sched_context) / GRANULE_BYTES)) {
        return NULL;
    }
    struct sched_context *c = sched_context_at(k, (sched_context_ix){n});
    return c->lease == lease ? c : NULL;
}

void sched_context_return(struct kernel *k, struct thread *t)
{
    if (t->context.n != NIL) {
        lease_renew(k, t->context);
        t->lease = sched_context_at(k, t->context)->lease;
    }
}

/* ---- Calls
 * ------------------------------------------------------------------------------------------ */

/*
 * Requires: context held with MANAGE, a sched_control; SCHED_BUDGET_MIN_NS <= budget <= period <=
 *           SCHED_PERIOD_MAX_NS; known flags.
 * Changes:  the context has its whole budget, from now on.
 */
status_t sched_context_configure(struct kernel *k, const struct sched_context_request *request)
{
    struct slot *slot, *with;
    status_t status =
        cap_find_sched(k, request->context, OBJECT_SCHED_CONTEXT, request->control, &slot, &with);

    if (status != STATUS_OK) {
        return status;
    }
    if (request->budget_ns < SCHED_BUDGET_MIN_NS || request->budget_ns > request->period_ns ||
        request->period_ns > SCHED_PERIOD_MAX_NS ||
        (request->flags & ~(uint64_t)SCHED_TIMEOUT_FAULT) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    struct sched_context *c = sched_context_at(k, (sched_context_ix){slot->object});
    sched_charge(k, c->lease);
    c->budget_ns = request->budget_ns;
    c->period_ns = request->period_ns;
    c->flags = (uint32_t)request->flags;
    for (uint32_t n = 0; n < REFILLS_MAX; n++) {
        c->refill[n] = (struct refill){0};
    }
    c->refill_count = 1;
    c->refill[0].amount = c->budget_ns;
    return STATUS_OK;
}

/*
 * Requires: context and thread held with MANAGE; the context configured (INVALID_ARGUMENT); neither
 *           bound (BUSY).
 * Changes:  the thread runs on the context and on nothing else.
 */
status_t sched_context_bind(struct kernel *k, uint64_t context, uint64_t thread)
{
    struct slot *slot, *with;
    status_t status = cap_find(k, context, OBJECT_SCHED_CONTEXT, RIGHT_MANAGE, &slot);

    if (status == STATUS_OK) {
        status = cap_find(k, thread, OBJECT_THREAD, RIGHT_MANAGE, &with);
    }
    if (status != STATUS_OK) {
        return status;
    }
    sched_context_ix i = {slot->object};
    struct sched_context *c = sched_context_at(k, i);
    struct thread *t = thread_at(k, (thread_ix){with->object});
    if (c->refill_count == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (c->thread.n != NIL || t->context.n != NIL) {
        return STATUS_BUSY;
    }
    c->thread = (thread_ix){with->object};
    t->context = i;
    t->flags = (uint8_t)((t->flags & ~THREAD_PASSIVE) | THREAD_BUDGETED);
    sched_context_return(k, t);
    sched_promote(k, c->thread);
    return STATUS_OK;
}

/* The thread is passive from now on. */
static void context_unbind(struct kernel *k, struct sched_context *c)
{
    if (c->thread.n != NIL) {
        struct thread *t = thread_at(k, c->thread);
        t->context = (sched_context_ix){NIL};
        t->flags = (uint8_t)((t->flags & ~THREAD_BUDGETED) | THREAD_PASSIVE);
        t->lease = LEASE_NONE;
        sched_promote(k, c->thread); /* its wait for a refill is over */
        c->thread = (thread_ix){NIL};
    }
}

void sched_context_forget(struct kernel *k, thread_ix i)
{
    sched_context_ix context = thread_at(k, i)->context;

    if (context.n != NIL) {
        lease_renew(k, context);
        context_unbind(k, sched_context_at(k, context));
    }
}

/*
 * Requires: context held with MANAGE, bound (INVALID_ARGUMENT).
 * Changes:  it is bound no more; its thread is passive, and whoever ran on it does not.
 */
status_t sched_context_unbind(struct kernel *k, uint64_t context)
{
    struct slot *slot;
    status_t status = cap_find(k, context, OBJECT_SCHED_CONTEXT, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    struct sched_context *c = sched_context_at(k, (sched_context_ix){slot->object});
    if (c->thread.n == NIL) {
        return STATUS_INVALID_ARGUMENT;
    }
    sched_context_forget(k, c->thread);
    return STATUS_OK;
}

/*
 * Requires: thread held with MANAGE, no context bound to it (BUSY); to make it run without a
 *           budget, a sched_control.
 * Changes:  passive: it runs on what its callers lend. Else it runs without a budget.
 */
status_t thread_set_passive(struct kernel *k, uint64_t thread, uint64_t passive, uint64_t control)
{
    struct slot *slot, *control_slot;
    status_t status = cap_find(k, thread, OBJECT_THREAD, RIGHT_MANAGE, &slot);

    if (status == STATUS_OK && passive == 0) {
        status = cap_find(k, control, OBJECT_SCHED_CONTROL, 0, &control_slot);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct thread *t = thread_at(k, (thread_ix){slot->object});
    if (passive > 1) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (t->context.n != NIL) {
        return STATUS_BUSY;
    }
    bool was = (t->flags & THREAD_PASSIVE) != 0;
    if (was == (passive != 0)) {
        return STATUS_OK;
    }
    if (passive != 0) {
        t->flags |= THREAD_PASSIVE;
        t->lease = LEASE_NONE;
        return STATUS_OK;
    }
    t->flags &= (uint8_t)~THREAD_PASSIVE;
    t->lease = LEASE_UNBUDGETED;
    sched_promote(k, (thread_ix){slot->object});
    return STATUS_OK;
}

/* Requires: context held. Changes: nothing but that its use so far is entered. */
status_t sched_context_info(struct kernel *k, uint64_t context, uint64_t values[2])
{
    struct slot *slot;
    status_t status = cap_find(k, context, OBJECT_SCHED_CONTEXT, 0, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    struct sched_context *c = sched_context_at(k, (sched_context_ix){slot->object});
    sched_charge(k, c->lease);
    values[0] = c->consumed_ns;
    values[1] = c->refill[0].time <= arch_time_ns() ? c->refill[0].amount : 0;
    return STATUS_OK;
}

/* Bound: one step. */
status_t sched_context_destroy(struct kernel *k, sched_context_ix i)
{
    struct sched_context *c = sched_context_at(k, i);

    lease_renew(k, i);
    context_unbind(k, c);
    c->lease = LEASE_UNBUDGETED; /* nobody's */
    return STATUS_OK;
}
