// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/relay.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

/* What the front says of a slot. */
enum relay_said { SAID_OPEN = 1, SAID_END = 2, SAID_LEFT = 4 };

static enum relay_side other(enum relay_side side)
{
    return side == RELAY_FRONT ? RELAY_BACK : RELAY_FRONT;
}

/* ---- Posts ------------------------------------------------------------------------------------
 */

/* Tells the side that the slot has news; what they are was written before. */
static void post(struct relay *relay, enum relay_side to, struct relay_slot *slot)
{
    struct relay_posts *posts = &relay->posts[to];

    if (__atomic_exchange_n(&slot->posted[to], 1u, __ATOMIC_SEQ_CST) != 0) {
        return; /* it has not looked yet */
    }
    uint32_t tail = posts->tail; /* ours */
    posts->slots[tail & relay->mask] = (uint16_t)(slot - relay->slots);
    __atomic_store_n(&posts->tail, tail + 1u, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&posts->sleeps, __ATOMIC_RELAXED) != 0) {
        relay->wake(relay->context, to);
    }
}

static bool is_live(const struct relay_slot *slot, enum relay_side side)
{
    return __atomic_load_n(&slot->front, __ATOMIC_ACQUIRE) != 0 &&
           (side == RELAY_FRONT || __atomic_load_n(&slot->finished, __ATOMIC_RELAXED) == 0);
}

struct relay_slot *relay_next(struct relay *relay, enum relay_side side)
{
    struct relay_posts *posts = &relay->posts[side];

    while (posts->head != __atomic_load_n(&posts->tail, __ATOMIC_ACQUIRE)) {
        struct relay_slot *slot = &relay->slots[posts->slots[posts->head & relay->mask]];
        __atomic_store_n(&posts->head, posts->head + 1u, __ATOMIC_RELEASE);
        /* What comes from here on is posted anew; what came before is seen. */
        (void)__atomic_exchange_n(&slot->posted[side], 0u, __ATOMIC_SEQ_CST);
        if (is_live(slot, side)) {
            return slot;
        }
    }
    return NULL;
}

bool relay_arm(struct relay *relay, enum relay_side side)
{
    struct relay_posts *posts = &relay->posts[side];

    __atomic_store_n(&posts->sleeps, 1u, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (posts->head == __atomic_load_n(&posts->tail, __ATOMIC_ACQUIRE)) {
        return true;
    }
    relay_disarm(relay, side);
    return false;
}

void relay_disarm(struct relay *relay, enum relay_side side)
{
    __atomic_store_n(&relay->posts[side].sleeps, 0u, __ATOMIC_RELAXED);
}

/* ---- Pipes ------------------------------------------------------------------------------------
 */

/* Copies what there is room for; returns how much. */
static uint32_t pipe_put(struct relay_pipe *pipe, const uint8_t *data, uint32_t bytes)
{
    uint32_t tail = pipe->tail; /* ours */
    uint32_t room = RELAY_PIPE_BYTES - (tail - __atomic_load_n(&pipe->head, __ATOMIC_ACQUIRE));
    uint32_t at = tail % RELAY_PIPE_BYTES;
    uint32_t count = bytes < room ? bytes : room;
    uint32_t first = count < RELAY_PIPE_BYTES - at ? count : RELAY_PIPE_BYTES - at;

    memcpy(pipe->data + at, data, first);
    memcpy(pipe->data, data + first, count - first);
    __atomic_store_n(&pipe->tail, tail + count, __ATOMIC_RELEASE);
    return count;
}

uint32_t relay_put(struct relay *relay, enum relay_side side, struct relay_slot *slot,
                   const void *data, uint32_t bytes)
{
    struct relay_pipe *pipe = &slot->pipe[other(side)];
    const uint8_t *from = data;
    uint32_t count = pipe_put(pipe, from, bytes);

    if (count < bytes) {
        __atomic_store_n(&pipe->wants_room, 1u, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        count += pipe_put(pipe, from + count, bytes - count); /* it may have been taken just now */
    }
    if (count != 0) {
        post(relay, other(side), slot);
    }
    return count;
}

uint32_t relay_get(const struct relay_slot *slot, enum relay_side side, const uint8_t **data)
{
    const struct relay_pipe *pipe = &slot->pipe[side];
    uint32_t bytes = __atomic_load_n(&pipe->tail, __ATOMIC_ACQUIRE) - pipe->head;
    uint32_t at = pipe->head % RELAY_PIPE_BYTES;

    *data = pipe->data + at;
    return bytes < RELAY_PIPE_BYTES - at ? bytes : RELAY_PIPE_BYTES - at;
}

void relay_take(struct relay *relay, enum relay_side side, struct relay_slot *slot, uint32_t bytes)
{
    struct relay_pipe *pipe = &slot->pipe[side];

    __atomic_store_n(&pipe->head, pipe->head + bytes, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pipe->wants_room, __ATOMIC_RELAXED) != 0) {
        __atomic_store_n(&pipe->wants_room, 0u, __ATOMIC_RELAXED);
        post(relay, other(side), slot);
    }
}

/* ---- Slots ------------------------------------------------------------------------------------
 */

static size_t round_up(size_t bytes)
{
    return (bytes + 63u) & ~(size_t)63u;
}

size_t relay_bytes(uint32_t slots)
{
    return round_up(sizeof(struct relay)) + 2u * round_up(slots * sizeof(uint16_t)) +
           slots * sizeof(struct relay_slot);
}

struct relay *relay_init(void *memory, uint32_t slots)
{
    struct relay *relay = memory;
    uint8_t *at = memory;

    ASSERT(slots != 0 && slots <= RELAY_SLOTS_MAX && (slots & (slots - 1u)) == 0);
    memset(memory, 0, relay_bytes(slots));
    relay->mask = slots - 1u;
    at += round_up(sizeof *relay);
    for (uint32_t side = 0; side < 2; side++) {
        relay->posts[side].slots = (uint16_t *)(void *)at;
        at += round_up(slots * sizeof(uint16_t));
    }
    relay->slots = (struct relay_slot *)(void *)at;
    for (uint32_t i = slots; i-- > 0;) {
        relay->slots[i].next_free = relay->free;
        relay->free = &relay->slots[i];
    }
    return relay;
}

/* The pipes are empty, and nobody but the front knows the slot. */
struct relay_slot *relay_open(struct relay *relay, uint32_t kind, const char *peer)
{
    struct relay_slot *slot = relay->free;

    if (slot == NULL) {
        return NULL;
    }
    relay->free = slot->next_free;
    for (uint32_t side = 0; side < 2; side++) {
        slot->pipe[side].tail = slot->pipe[side].head = slot->pipe[side].wants_room = 0;
        slot->user[side] = NULL;
    }
    slot->kind = kind;
    memcpy(slot->peer, peer, RELAY_PEER_BYTES);
    slot->peer[RELAY_PEER_BYTES - 1u] = '\0';
    slot->finished = 0;
    __atomic_store_n(&slot->front, (uint32_t)SAID_OPEN, __ATOMIC_RELEASE);
    post(relay, RELAY_BACK, slot);
    return slot;
}

static void say(struct relay *relay, struct relay_slot *slot, enum relay_said said)
{
    __atomic_fetch_or(&slot->front, (uint32_t)said, __ATOMIC_RELEASE);
    post(relay, RELAY_BACK, slot);
}

void relay_end(struct relay *relay, struct relay_slot *slot)
{
    say(relay, slot, SAID_END);
}

void relay_leave(struct relay *relay, struct relay_slot *slot)
{
    say(relay, slot, SAID_LEFT);
}

bool relay_is_finished(const struct relay_slot *slot)
{
    return __atomic_load_n(&slot->finished, __ATOMIC_ACQUIRE) != 0;
}

bool relay_is_over(const struct relay_slot *slot)
{
    const uint8_t *data;

    return relay_is_finished(slot) && relay_get(slot, RELAY_FRONT, &data) == 0;
}

void relay_free(struct relay *relay, struct relay_slot *slot)
{
    ASSERT(relay_is_finished(slot));
    __atomic_store_n(&slot->front, 0u, __ATOMIC_RELEASE);
    slot->next_free = relay->free;
    relay->free = slot;
}

bool relay_has_ended(const struct relay_slot *slot)
{
    return (__atomic_load_n(&slot->front, __ATOMIC_ACQUIRE) & SAID_END) != 0;
}

bool relay_was_left(const struct relay_slot *slot)
{
    return (__atomic_load_n(&slot->front, __ATOMIC_ACQUIRE) & SAID_LEFT) != 0;
}

void relay_finish(struct relay *relay, struct relay_slot *slot)
{
    __atomic_store_n(&slot->finished, 1u, __ATOMIC_RELEASE);
    post(relay, RELAY_FRONT, slot);
}
