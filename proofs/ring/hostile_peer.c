// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One side of the real ring against a peer that writes anything, at any time, into all shared
 * memory: our side reads and writes only its own ring, and keeps R1 and R2. The peer's words are
 * arbitrary at each access. Of: lib/ring/ring.h
 *
 * Sizes: every power of two up to RING_PROOF_ENTRIES; the code depends on the size through the
 * mask only.
 */
#define RING_MODEL 1
#include "lib/ring/ring.h"
#include "proofs/proof.h"

#define RING_PROOF_ENTRIES 16u

static uint32_t shared[3];
static uint32_t looked; /* what the peer's word was when our side looked last */
static uint32_t stored; /* what our side wrote last into shared memory */
static struct ring_entry memory[RING_PROOF_ENTRIES];

/* The peer has written something else since. */
uint32_t ring_load(const uint32_t *word)
{
    (void)word;
    looked = nondet_u32();
    return looked;
}

void ring_store(uint32_t *word, uint32_t value)
{
    *word = value;
    stored = value;
}

void ring_fence(void)
{
}

uint64_t ring_word_load(const ring_word *word)
{
    return *word;
}

void ring_entry_store(struct ring_entry *to, const struct ring_entry *from)
{
    *to = *from;
}

static uint32_t any_mask(void)
{
    uint32_t entries = nondet_u32();

    ASSUME(entries >= 1 && entries <= RING_PROOF_ENTRIES && (entries & (entries - 1u)) == 0);
    return entries - 1u;
}

static struct ring_producer any_producer(void)
{
    struct ring_producer p = {memory,     any_mask(), nondet_u32(), nondet_u32(),
                              &shared[0], &shared[1], &shared[2]};

    ASSUME(p.tail - p.head <= p.mask + 1u); /* R1 */
    return p;
}

static struct ring_consumer any_consumer(void)
{
    struct ring_consumer c = {memory,     any_mask(), nondet_u32(), nondet_u32(),
                              &shared[0], &shared[1], &shared[2]};

    ASSUME(c.tail - c.head <= c.mask + 1u); /* R2 */
    return c;
}

/* Room is never more than the ring, and R1 holds whatever the peer's cursor says. */
void prove_room(void)
{
    struct ring_producer p = any_producer();
    uint32_t before = p.tail;
    uint32_t room = ring_room(&p, nondet_u32());

    PROVE(room == RING_VIOLATION || room <= p.mask + 1u);
    PROVE(p.tail - p.head <= p.mask + 1u && p.tail == before);
    PROVE(IMPLIES(room != RING_VIOLATION, room == p.mask + 1u - (p.tail - p.head)));
    PROOF_END();
}

/* A push after room writes one entry inside the ring, the next one, and keeps R1. */
void prove_push(void)
{
    struct ring_producer p = any_producer();
    struct ring_entry entry = {{nondet_u64(), nondet_u64(), nondet_u64(), nondet_u64()}};
    uint32_t witness = nondet_u32();
    uint32_t at = p.tail & p.mask;

    ASSUME(witness < RING_PROOF_ENTRIES && p.mask + 1u - (p.tail - p.head) >= 1u);
    struct ring_entry was = memory[witness];
    ring_push(&p, &entry);
    PROVE(p.tail - p.head <= p.mask + 1u);
    PROVE(memory[witness].words[0] == (witness == at ? entry.words[0] : was.words[0]));
    PROVE(memory[witness].words[3] == (witness == at ? entry.words[3] : was.words[3]));
    PROOF_END();
}

/* What is published is what was pushed. */
void prove_publish(void)
{
    struct ring_producer p = any_producer();

    ring_publish(&p);
    PROVE(stored == p.tail && shared[0] == p.tail);
    PROVE(p.tail - p.head <= p.mask + 1u);
    PROOF_END();
}

/* Pending is never more than the ring, and R2 holds whatever the peer's cursor says. */
void prove_pending(void)
{
    struct ring_consumer c = any_consumer();
    uint32_t before = c.head;
    uint32_t known = c.tail;
    uint32_t pending = ring_pending(&c);

    PROVE(pending == RING_VIOLATION || pending <= c.mask + 1u);
    PROVE(c.tail - c.head <= c.mask + 1u && c.head == before);
    PROVE(IMPLIES(pending != RING_VIOLATION, pending == c.tail - c.head));
    /* It looks when it knows of nothing, and only then. */
    PROVE(c.tail == (known != before || pending == RING_VIOLATION ? known : looked));
    PROOF_END();
}

/* A take reads one entry inside the ring, the oldest, and keeps R2. */
void prove_take(void)
{
    struct ring_consumer c = any_consumer();
    struct ring_entry entry;
    uint32_t at = c.head & c.mask;

    ASSUME(c.tail != c.head);
    ring_take(&c, &entry);
    PROVE(c.tail - c.head < c.mask + 1u);
    PROVE(entry.words[0] == memory[at].words[0] && entry.words[1] == memory[at].words[1]);
    PROVE(entry.words[2] == memory[at].words[2] && entry.words[3] == memory[at].words[3]);
    PROOF_END();
}

/* Asleep only with the bell asked for; awake with it off. Releases give back what was taken. */
void prove_arm_and_release(void)
{
    struct ring_consumer c = any_consumer();

    PROVE((ring_arm(&c) ? 1u : 0u) == shared[2]);
    ring_disarm(&c);
    PROVE(shared[2] == 0);
    ring_release(&c);
    PROVE(shared[1] == c.head);
    PROOF_END();
}
