// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Linked operations at a provider (hallows/ring.h, RING_LINK): keeps what waits for an earlier
 * operation of its chain. Any provider uses it: it knows submissions only.
 *
 * A submission that is neither linked nor follows one never comes here: ring_chain_concerns says
 * so. Else ring_chain_accept tells what to do with it. An operation that was started with a chain
 * ends with ring_chain_ended; what may go on then comes from ring_chain_next, so that nothing
 * recurses.
 *
 * Invariants: C1 a chain is RUNNING exactly while one of its operations is with the provider.
 * C2 what waits is not more than what is outstanding. C3 a chain with something waiting that is not
 * RUNNING is in the ready list.
 *
 * Thread rule: one owner.
 */
#ifndef LIB_RING_RING_CHAIN_H
#define LIB_RING_RING_CHAIN_H

#include <hallows/ring.h>
#include <hallows/status.h>

#define RING_CHAIN_NONE 0u

enum ring_chain_verdict {
    RING_CHAIN_NOTHING = 0, /* wait: nothing to do now */
    RING_CHAIN_START = 1,   /* start it, and tell ring_chain_ended when it has ended */
    RING_CHAIN_CANCEL = 2,  /* complete it with CANCELLED */
};

struct ring_chain {
    uint16_t first, last; /* waiting: indices into `waiting` */
    uint16_t next;        /* in the free or the ready list */
    uint8_t state;        /* enum in ring_chain.c */
    bool complete;        /* its last operation has been accepted */
    bool ready;           /* is in the ready list */
};

struct ring_waiting {
    struct ring_submission submission;
    uint16_t next;
    bool cancelled;
};

struct ring_chains {
    struct ring_chain *chain;     /* [entries + 2], 0 is unused */
    struct ring_waiting *waiting; /* [entries + 1], 0 is unused */
    uint32_t entries;
    uint16_t open; /* the chain that the next submission belongs to */
    uint16_t free_chain, free_waiting;
    uint16_t ready_first, ready_last;
};

/* Memory for ring_chains_init; 8-byte aligned. */
size_t ring_chains_bytes(uint32_t entries);
/* Also forgets everything: a new session. */
void ring_chains_init(struct ring_chains *chains, uint32_t entries, void *memory);

static inline bool ring_chain_concerns(const struct ring_chains *chains,
                                       const struct ring_submission *submission)
{
    return (submission->flags & RING_LINK) != 0 || chains->open != RING_CHAIN_NONE;
}

/* NOTHING: it waits; START: *chain is what to tell ring_chain_ended. The caller has seen to C2. */
enum ring_chain_verdict ring_chain_accept(struct ring_chains *chains,
                                          const struct ring_submission *submission,
                                          uint32_t *chain);
/* The started operation of `chain` has ended. */
void ring_chain_ended(struct ring_chains *chains, uint32_t chain, status_t result);
/* What may go on: as ring_chain_accept. NOTHING: there is nothing more. */
enum ring_chain_verdict ring_chain_next(struct ring_chains *chains,
                                        struct ring_submission *submission, uint32_t *chain);
/* Cancels the oldest waiting operation with that user data in its chain: it will not start, nor
 * what follows it. False: there is none. */
bool ring_chain_cancel(struct ring_chains *chains, uint64_t user_data);

#endif
