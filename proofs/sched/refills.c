// SPDX-License-Identifier: MIT OR Apache-2.0
/* Budgets: invariant 70 is kept by what the scheduler does to a context, and no window sees more
 * than the budget. Of: kernel/object/sched_context.c */
#include "kernel/invariants_time.c"
#include "kernel/object/sched_context.c"
#include "proofs/proof.h"

/* Times and lengths as long as a machine runs: 2^62 ns are 146 years. */
#define TIME_MAX ((uint64_t)1 << 62)

static struct sched_context any_context(void)
{
    struct sched_context c;

    ASSUME(inv_refills_check(&c) == 0 && c.refill_count >= 1);
    ASSUME(c.budget_ns >= SCHED_BUDGET_MIN_NS && c.budget_ns <= c.period_ns);
    ASSUME(c.period_ns <= SCHED_PERIOD_MAX_NS);
    ASSUME(c.refill[c.refill_count - 1u].time < TIME_MAX);
    return c;
}

/* What may be used at once at `now`. */
static uint64_t usable(const struct sched_context *c, uint64_t now)
{
    uint64_t sum = 0;

    for (uint32_t n = 0; n < c->refill_count; n++) {
        sum += c->refill[n].time <= now ? c->refill[n].amount : 0;
    }
    return sum;
}

/* Beginning its use merges what is due, neither more nor less, and keeps the rest. */
void prove_begin(void)
{
    struct sched_context c = any_context();
    struct sched_context was = c;
    uint64_t now = nondet_u64();

    ASSUME(now < TIME_MAX && c.refill[0].time <= now);
    sched_context_begin(&c, now);
    PROVE(inv_refills_check(&c) == 0 && c.refill_count >= 1);
    PROVE(c.refill[0].time == now && c.refill[0].amount == usable(&was, now));
    PROVE(usable(&c, now) == usable(&was, now));
    PROVE(c.budget_ns == was.budget_ns && c.period_ns == was.period_ns && c.lease == was.lease);
    PROOF_END();
}

/* What was used, up to all that was due, is gone until a period after its use began. A case for
 * each number of pieces. */
static void charge(uint32_t pieces)
{
    struct sched_context c = any_context();
    ASSUME(c.refill_count == pieces);
    c.refill_count = pieces;
    struct sched_context was = c;
    uint64_t used = nondet_u64();
    uint64_t at = nondet_u64();

    /* Begun: only the first piece is due, and what comes later comes within a period. */
    ASSUME(was.refill[pieces - 1u].time <= was.refill[0].time + was.period_ns);
    ASSUME(pieces == 1 || was.refill[1].time > was.refill[0].time);
    ASSUME(used <= was.refill[0].amount);
    ASSUME(at >= was.refill[0].time && at < was.refill[0].time + was.period_ns);
    sched_context_charge(&c, used);
    PROVE(inv_refills_check(&c) == 0 && c.refill_count >= 1);
    PROVE(usable(&c, at) <= usable(&was, at) - used);
    PROVE(c.consumed_ns == was.consumed_ns + used);
    PROVE(c.budget_ns == was.budget_ns && c.period_ns == was.period_ns && c.lease == was.lease);
    PROOF_END();
}

void prove_charge_of_1(void)
{
    charge(1);
}

void prove_charge_of_2(void)
{
    charge(2);
}

void prove_charge_of_3(void)
{
    charge(3);
}
