// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Connections that one thread has (the front, with their TCP) and another serves (the back). Each
 * has a slot with a pipe of bytes either way; a full pipe holds up its own connection and no other.
 * Which slots have news is told by posts: one at most of a slot, so that there is always room.
 *
 * A slot's life:
 *     free --relay_open: front--> open --relay_finish: back--> finished --relay_free: front--> free
 * Meanwhile the front may say that the peer sends no more (relay_end) or that the connection is
 * gone (relay_leave), to which the back answers with relay_finish, too. What was put before it
 * still goes out. After relay_finish the back touches the slot no more, and posts of it are
 * ignored.
 *
 * A side that sleeps is woken as in include/hallows/ring.h: it says so (relay_arm), fences, looks
 * once more; who has posted fences and reads it.
 *
 * Thread rule: a front and a back, one thread each; each function says whose it is. Everything
 * shared is [atomic] or written before a release and read after the acquire that it pairs with. The
 * two trust each other: they are threads of one cell.
 */
#ifndef APPS_KVSTORE_CORE_RELAY_H
#define APPS_KVSTORE_CORE_RELAY_H

#include <hallows/types.h>

#define RELAY_PIPE_BYTES 8192u
#define RELAY_SLOTS_MAX 32768u
#define RELAY_PEER_BYTES 48u

enum relay_side { RELAY_FRONT, RELAY_BACK };

/* Cursors count bytes modulo 2^32. */
struct relay_pipe {
    _Alignas(64) uint32_t tail; /* [writer, atomic] */
    uint32_t wants_room;        /* [atomic] the writer waits; the reader tells it once */
    _Alignas(64) uint32_t head; /* [reader, atomic] */
    uint8_t data[RELAY_PIPE_BYTES];
};

struct relay_slot {
    struct relay_pipe pipe[2];    /* [the side that reads it] */
    _Alignas(64) uint32_t front;  /* [front, atomic] enum relay_said */
    uint32_t finished;            /* [back, atomic] */
    uint32_t posted[2];           /* [atomic] to that side */
    uint32_t kind;                /* [front until opened] */
    char peer[RELAY_PEER_BYTES];  /* likewise */
    void *user[2];                /* [that side] */
    struct relay_slot *next_free; /* [front] */
};

/* To one side; there is room for every slot. */
struct relay_posts {
    _Alignas(64) uint32_t tail;   /* [poster, atomic] */
    _Alignas(64) uint32_t head;   /* [taker, atomic] */
    _Alignas(64) uint32_t sleeps; /* [taker, atomic] */
    uint16_t *slots;              /* [mask + 1] */
};

struct relay {
    struct relay_slot *slots;
    uint32_t mask; /* slots - 1 */
    struct relay_posts posts[2];
    struct relay_slot *free; /* [front] */
    /* Wakes a side that sleeps. Called by the other. */
    void (*wake)(void *context, enum relay_side side);
    void *context;
};

/* For `slots` connections, a power of two up to RELAY_SLOTS_MAX. 64-byte aligned. */
size_t relay_bytes(uint32_t slots);
/* Makes a relay in `memory`, with wake and context to be set. Before the sides run. */
struct relay *relay_init(void *memory, uint32_t slots);

/* ---- The front ----------------------------------------------------------------------------- */

/* A slot for a connection of that kind, whose peer is told as text; NULL: all are taken. The back
 * finds it by its post, with user NULL. */
struct relay_slot *relay_open(struct relay *relay, uint32_t kind, const char *peer);
/* The peer sends no more. */
void relay_end(struct relay *relay, struct relay_slot *slot);
/* The connection is gone. */
void relay_leave(struct relay *relay, struct relay_slot *slot);
/* Whether the back is done with the slot. */
bool relay_is_finished(const struct relay_slot *slot);
/* And all that it put was taken. */
bool relay_is_over(const struct relay_slot *slot);
/* Gives back a slot whose back has finished. */
void relay_free(struct relay *relay, struct relay_slot *slot);

/* ---- The back ------------------------------------------------------------------------------ */

/* Whether the peer sends no more: everything it sent is in the pipe. */
bool relay_has_ended(const struct relay_slot *slot);
bool relay_was_left(const struct relay_slot *slot);
void relay_finish(struct relay *relay, struct relay_slot *slot);

/* ---- Both ---------------------------------------------------------------------------------- */

/* Puts up to `bytes` on the way to the other side; returns how many. If that is fewer, a post
 * follows when there is room. */
uint32_t relay_put(struct relay *relay, enum relay_side side, struct relay_slot *slot,
                   const void *data, uint32_t bytes);
/* First contiguous bytes from the other side; 0: none. */
uint32_t relay_get(const struct relay_slot *slot, enum relay_side side, const uint8_t **data);
/* Takes that many of them off. */
void relay_take(struct relay *relay, enum relay_side side, struct relay_slot *slot, uint32_t bytes);
/* A slot with news for this side; NULL: none. Slots that are free or finished are passed over. */
struct relay_slot *relay_next(struct relay *relay, enum relay_side side);
/* Wants to be woken. False, and it is not: there are posts. */
bool relay_arm(struct relay *relay, enum relay_side side);
void relay_disarm(struct relay *relay, enum relay_side side);

#endif
