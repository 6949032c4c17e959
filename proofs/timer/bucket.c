// SPDX-License-Identifier: MIT OR Apache-2.0
/* Places in the timer wheel. Of: kernel/timer.h */
#include "kernel/timer.h"
#include "proofs/proof.h"

/* A bucket is inside the wheel, and holds deadlines with the digit it stands for. */
void prove_bucket_inside(void)
{
    uint64_t base = nondet_u64();
    uint64_t deadline = nondet_u64();
    uint32_t bucket = timer_bucket_of(base, deadline);
    uint32_t level = bucket / TIMER_BUCKETS;

    PROVE(level < TIMER_LEVELS);
    PROVE(((deadline >> (6u * level)) & 63u) == bucket % TIMER_BUCKETS);
    PROVE(IMPLIES(level + 1u < TIMER_LEVELS,
                  base >> (6u * (level + 1u)) == deadline >> (6u * (level + 1u))));
    PROOF_END();
}

/* Of two deadlines at or after base, the one in the earlier bucket is not the later. */
void prove_bucket_order(void)
{
    uint64_t base = nondet_u64();
    uint64_t a = nondet_u64();
    uint64_t b = nondet_u64();

    ASSUME(base <= a && base <= b);
    PROVE(IMPLIES(timer_bucket_of(base, a) < timer_bucket_of(base, b), a < b));
    PROVE(IMPLIES(timer_bucket_of(base, a) == timer_bucket_of(base, b) &&
                      timer_bucket_of(base, a) < TIMER_BUCKETS,
                  a == b));
    PROOF_END();
}
