// SPDX-License-Identifier: MIT OR Apache-2.0
/* Chains alone, and many of them at random against a simple account of what must happen. */
#include "lib/ring/ring_chain.h"

#include <stdlib.h>

#include "tests/check.h"

#define ENTRIES 16u

static struct ring_chains chains;
static void *memory;

static void start(void)
{
    free(memory);
    memory = malloc(ring_chains_bytes(ENTRIES));
    ring_chains_init(&chains, ENTRIES, memory);
}

static struct ring_submission submission(uint64_t user_data, bool linked)
{
    return (struct ring_submission){.flags = linked ? RING_LINK : 0, .user_data = user_data};
}

/* Accepts one; returns the verdict. */
static enum ring_chain_verdict accept(uint64_t user_data, bool linked, uint32_t *chain)
{
    struct ring_submission s = submission(user_data, linked);

    CHECK(ring_chain_concerns(&chains, &s));
    return ring_chain_accept(&chains, &s, chain);
}

static void expect_next(enum ring_chain_verdict verdict, uint64_t user_data)
{
    struct ring_submission s = {0};
    uint32_t chain;

    CHECK_EQ(ring_chain_next(&chains, &s, &chain), verdict);
    if (verdict != RING_CHAIN_NOTHING) {
        CHECK_EQ(s.user_data, user_data);
    }
}

TEST(each_starts_when_the_one_before_has_succeeded)
{
    uint32_t chain;

    start();
    struct ring_submission plain = submission(9, false);
    CHECK(!ring_chain_concerns(&chains, &plain));
    CHECK_EQ(accept(1, true, &chain), RING_CHAIN_START);
    CHECK_EQ(accept(2, true, &chain), RING_CHAIN_NOTHING);
    CHECK_EQ(accept(3, false, &chain), RING_CHAIN_NOTHING);
    CHECK(!ring_chain_concerns(&chains, &plain));
    expect_next(RING_CHAIN_NOTHING, 0);
    ring_chain_ended(&chains, chain, 60);
    expect_next(RING_CHAIN_START, 2);
    expect_next(RING_CHAIN_NOTHING, 0);
    ring_chain_ended(&chains, chain, STATUS_OK);
    expect_next(RING_CHAIN_START, 3);
    ring_chain_ended(&chains, chain, STATUS_DEVICE_ERROR);
    expect_next(RING_CHAIN_NOTHING, 0);
}

TEST(a_failure_cancels_what_follows_early_or_late)
{
    uint32_t chain;

    start();
    CHECK_EQ(accept(1, true, &chain), RING_CHAIN_START);
    CHECK_EQ(accept(2, true, &chain), RING_CHAIN_NOTHING);
    CHECK_EQ(accept(3, true, &chain), RING_CHAIN_NOTHING);
    ring_chain_ended(&chains, chain, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(accept(4, true, &chain), RING_CHAIN_NOTHING); /* after those that wait */
    expect_next(RING_CHAIN_CANCEL, 2);
    expect_next(RING_CHAIN_CANCEL, 3);
    expect_next(RING_CHAIN_CANCEL, 4);
    expect_next(RING_CHAIN_NOTHING, 0);
    CHECK_EQ(accept(5, false, &chain), RING_CHAIN_CANCEL);
    CHECK_EQ(accept(6, true, &chain), RING_CHAIN_START); /* a new chain */
}

TEST(one_that_waits_is_cancelled_with_what_follows)
{
    uint32_t chain;

    start();
    for (uint64_t i = 1; i <= 4; i++) {
        (void)accept(i, i != 4, &chain);
    }
    CHECK(!ring_chain_cancel(&chains, 1)); /* has started */
    CHECK(!ring_chain_cancel(&chains, 7));
    CHECK(ring_chain_cancel(&chains, 3));
    CHECK(!ring_chain_cancel(&chains, 3));
    ring_chain_ended(&chains, chain, STATUS_OK);
    expect_next(RING_CHAIN_START, 2);
    ring_chain_ended(&chains, chain, STATUS_OK);
    expect_next(RING_CHAIN_CANCEL, 3);
    expect_next(RING_CHAIN_CANCEL, 4);
    expect_next(RING_CHAIN_NOTHING, 0);
}

/* ---- At random --------------------------------------------------------------------------------
 */

#define STEPS 300000u

enum fate { FATE_WAITS, FATE_RUNS, FATE_SUCCEEDED, FATE_FAILED };

/* What is outstanding or has ended, in order of submission. */
static struct account {
    uint64_t number;
    uint32_t chain;
    bool linked;
    enum fate fate;
} account[STEPS + 1u];

static uint32_t count, outstanding;
static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % bound;
}

/* Whether it belongs behind another one, and what became of that. */
static bool follows(uint64_t number, enum fate *before)
{
    if (number == 0 || !account[number - 1].linked) {
        return false;
    }
    *before = account[number - 1].fate;
    return true;
}

static void settle_verdict(uint64_t number, enum ring_chain_verdict verdict, uint32_t chain)
{
    enum fate before = FATE_SUCCEEDED;

    (void)follows(number, &before);
    switch (verdict) {
    case RING_CHAIN_START:
        CHECK_EQ(before, FATE_SUCCEEDED);
        account[number].fate = FATE_RUNS;
        account[number].chain = chain;
        break;
    case RING_CHAIN_CANCEL:
        CHECK(before == FATE_FAILED || account[number].chain == 0xffff);
        account[number].fate = FATE_FAILED;
        outstanding--;
        break;
    default:
        CHECK(before == FATE_WAITS || before == FATE_RUNS || outstanding > 1);
        account[number].fate = FATE_WAITS;
        break;
    }
}

static void drain(void)
{
    struct ring_submission s;
    uint32_t chain;
    enum ring_chain_verdict verdict;

    while ((verdict = ring_chain_next(&chains, &s, &chain)) != RING_CHAIN_NOTHING) {
        CHECK_EQ(account[s.user_data].fate, FATE_WAITS);
        settle_verdict(s.user_data, verdict, chain);
    }
}

static void submit_one(void)
{
    struct ring_submission s = submission(count, random_below(3) != 0);
    uint32_t chain = RING_CHAIN_NONE;
    enum ring_chain_verdict verdict = RING_CHAIN_START;

    account[count] = (struct account){.number = count, .linked = (s.flags & RING_LINK) != 0};
    outstanding++;
    if (ring_chain_concerns(&chains, &s)) {
        verdict = ring_chain_accept(&chains, &s, &chain);
    } else {
        enum fate before;
        CHECK(!account[count].linked && !follows(count, &before));
    }
    settle_verdict(count, verdict, chain);
    count++;
}

static void end_one(uint64_t number)
{
    struct account *at = &account[number];

    if (at->fate != FATE_RUNS) {
        return;
    }
    bool good = random_below(4) != 0;
    at->fate = good ? FATE_SUCCEEDED : FATE_FAILED;
    outstanding--;
    if (at->chain != RING_CHAIN_NONE) {
        ring_chain_ended(&chains, at->chain, good ? STATUS_OK : STATUS_DEVICE_ERROR);
    }
}

TEST(many_chains_at_random_keep_their_order)
{
    start();
    count = outstanding = 0;
    random_state = 5;
    while (count < STEPS) {
        uint64_t recent = count < 3u * ENTRIES ? 0 : count - 3u * ENTRIES;
        if (outstanding < ENTRIES && random_below(2)) {
            submit_one();
        } else if (count > 0) {
            end_one(recent + random_below((uint32_t)(count - recent)));
        }
        if (outstanding == ENTRIES) {
            for (uint64_t i = 0; i < count && outstanding == ENTRIES; i++) {
                end_one(count - 1u - i);
            }
        }
        if (random_below(2)) {
            drain();
        }
        if (random_below(16) == 0 && count > 0) {
            uint64_t victim = recent + random_below((uint32_t)(count - recent));
            if (ring_chain_cancel(&chains, victim)) {
                CHECK_EQ(account[victim].fate, FATE_WAITS);
                account[victim].chain = 0xffff;
            }
        }
    }
    if (account[count - 1].linked) { /* close the last chain */
        submit_one();
    }
}
