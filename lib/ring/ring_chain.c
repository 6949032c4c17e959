// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/ring/ring_chain.h"

#include "lib/base/assert.h"

enum { CHAIN_FREE, CHAIN_RUNNING, CHAIN_SUCCEEDED, CHAIN_FAILED };

size_t ring_chains_bytes(uint32_t entries)
{
    return (entries + 1u) * sizeof(struct ring_waiting) +
           (((entries + 2u) * sizeof(struct ring_chain) + 7u) & ~(size_t)7u);
}

void ring_chains_init(struct ring_chains *chains, uint32_t entries, void *memory)
{
    *chains = (struct ring_chains){
        .waiting = memory,
        .chain = (struct ring_chain *)(void *)((struct ring_waiting *)memory + entries + 1u),
        .entries = entries,
        .free_chain = 1,
        .free_waiting = 1,
    };
    for (uint32_t i = 1; i <= entries + 1u; i++) {
        chains->chain[i] = (struct ring_chain){.next = (uint16_t)(i <= entries ? i + 1u : 0)};
    }
    for (uint32_t i = 1; i <= entries; i++) {
        chains->waiting[i].next = (uint16_t)(i < entries ? i + 1u : 0);
    }
}

static void make_ready(struct ring_chains *chains, uint32_t index)
{
    struct ring_chain *chain = &chains->chain[index];

    if (chain->ready) {
        return;
    }
    chain->ready = true;
    chain->next = 0;
    if (chains->ready_last != 0) {
        chains->chain[chains->ready_last].next = (uint16_t)index;
    } else {
        chains->ready_first = (uint16_t)index;
    }
    chains->ready_last = (uint16_t)index;
}

/* Frees the chain if nothing of it is left. */
static void settle(struct ring_chains *chains, uint32_t index)
{
    struct ring_chain *chain = &chains->chain[index];

    if (chain->first == 0 && chain->complete && chain->state != CHAIN_RUNNING) {
        *chain = (struct ring_chain){.next = chains->free_chain};
        chains->free_chain = (uint16_t)index;
    }
}

static void wait(struct ring_chains *chains, struct ring_chain *chain,
                 const struct ring_submission *submission)
{
    uint16_t index = chains->free_waiting;

    VERIFY(index != 0); /* C2 */
    chains->free_waiting = chains->waiting[index].next;
    chains->waiting[index] = (struct ring_waiting){.submission = *submission};
    if (chain->first != 0) {
        chains->waiting[chain->last].next = index;
    } else {
        chain->first = index;
    }
    chain->last = index;
}

enum ring_chain_verdict ring_chain_accept(struct ring_chains *chains,
                                          const struct ring_submission *submission, uint32_t *chain)
{
    enum ring_chain_verdict verdict = RING_CHAIN_NOTHING;
    uint32_t index = chains->open;

    if (index == RING_CHAIN_NONE) {
        index = chains->free_chain;
        VERIFY(index != 0); /* each other chain has an operation outstanding */
        chains->free_chain = chains->chain[index].next;
        chains->chain[index] = (struct ring_chain){.state = CHAIN_SUCCEEDED};
    }
    struct ring_chain *at = &chains->chain[index];
    if (at->state == CHAIN_RUNNING || at->first != 0) {
        wait(chains, at, submission);
    } else if (at->state == CHAIN_FAILED) {
        verdict = RING_CHAIN_CANCEL;
    } else {
        at->state = CHAIN_RUNNING;
        verdict = RING_CHAIN_START;
    }
    at->complete = (submission->flags & RING_LINK) == 0;
    chains->open = at->complete ? 0 : (uint16_t)index;
    *chain = index;
    settle(chains, index);
    return verdict;
}

void ring_chain_ended(struct ring_chains *chains, uint32_t chain, status_t result)
{
    struct ring_chain *at = &chains->chain[chain];

    ASSERT(at->state == CHAIN_RUNNING);
    at->state = result >= 0 ? CHAIN_SUCCEEDED : CHAIN_FAILED;
    if (at->first != 0) {
        make_ready(chains, chain);
    }
    settle(chains, chain);
}

enum ring_chain_verdict ring_chain_next(struct ring_chains *chains,
                                        struct ring_submission *submission, uint32_t *chain)
{
    uint32_t index = chains->ready_first;

    if (index == 0) {
        return RING_CHAIN_NOTHING;
    }
    struct ring_chain *at = &chains->chain[index];
    uint16_t first = at->first;
    struct ring_waiting *waiting = &chains->waiting[first];
    if (waiting->cancelled) {
        at->state = CHAIN_FAILED;
    }
    bool start = at->state != CHAIN_FAILED;
    *submission = waiting->submission;
    *chain = index;
    at->first = waiting->next;
    waiting->next = chains->free_waiting;
    chains->free_waiting = first;
    if (start) {
        at->state = CHAIN_RUNNING;
    }
    if (start || at->first == 0) {
        chains->ready_first = at->next;
        chains->ready_last = chains->ready_first != 0 ? chains->ready_last : 0;
        at->ready = false;
    }
    settle(chains, index);
    return start ? RING_CHAIN_START : RING_CHAIN_CANCEL;
}

bool ring_chain_cancel(struct ring_chains *chains, uint64_t user_data)
{
    for (uint32_t index = 1; index <= chains->entries + 1u; index++) {
        if (chains->chain[index].state == CHAIN_FREE) {
            continue;
        }
        for (uint16_t i = chains->chain[index].first; i != 0; i = chains->waiting[i].next) {
            struct ring_waiting *waiting = &chains->waiting[i];
            if (waiting->submission.user_data == user_data && !waiting->cancelled) {
                waiting->cancelled = true;
                return true;
            }
        }
    }
    return false;
}
