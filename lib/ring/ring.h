// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Operations over the ring ABI (hallows/ring.h): the producing and the consuming end of one
 * direction, and the two sides, client and server, with their session.
 *
 * The peer is hostile: its cursor is read once and may be at most `entries` ahead; entries are
 * copied out once, word by word, before they are looked at. RING_VIOLATION means that the peer
 * broke the protocol; the caller closes its side.
 *
 * Batches. Push any number, then publish once; take any number, then release once.
 *
 * Thread rule: one owner a side; nothing here locks or blocks.
 *
 * Invariants: R1 producer: published - shared head <= entries, and tail - head <= entries.
 * R2 consumer: tail - head <= entries. R3 no entry is written between its publication and the
 * release by the consumer.
 */
#ifndef LIB_RING_RING_H
#define LIB_RING_RING_H

#include <hallows/ring.h>
#include <hallows/status.h>

#include "lib/ring/ring_atomic.h"

#define RING_VIOLATION 0xffffffffu
#define RING_ENTRY_WORDS 4u

/* Both kinds of entries, moved as words whatever their fields. */
typedef uint64_t __attribute__((may_alias)) ring_word;
struct ring_entry {
    ring_word words[RING_ENTRY_WORDS];
} __attribute__((may_alias));
_Static_assert(sizeof(struct ring_entry) == sizeof(struct ring_submission), "one size");
_Static_assert(sizeof(struct ring_entry) == sizeof(struct ring_completion), "one size");

#ifdef RING_MODEL
uint64_t ring_word_load(const ring_word *word);
void ring_entry_store(struct ring_entry *to, const struct ring_entry *from);

static inline void ring_entry_load(struct ring_entry *to, const struct ring_entry *from)
{
    for (uint32_t i = 0; i < RING_ENTRY_WORDS; i++) {
        to->words[i] = ring_word_load(&from->words[i]);
    }
}
#else
/* Two words at a time; entries are aligned to them. */
typedef uint64_t __attribute__((may_alias, vector_size(16))) ring_half;

/* Each word is read once, in no order: what the peer does meanwhile can mix two entries, as it
 * could by itself, but what is looked at later does not change. */
static inline void ring_entry_load(struct ring_entry *to, const struct ring_entry *from)
{
    const volatile ring_half *halves = (const volatile ring_half *)(const void *)from;
    ring_half first = halves[0];
    ring_half second = halves[1];

    __builtin_memcpy(&to->words[0], &first, sizeof first);
    __builtin_memcpy(&to->words[2], &second, sizeof second);
}

/* In no order either; the publication orders them. */
static inline void ring_entry_store(struct ring_entry *to, const struct ring_entry *from)
{
    *to = *from;
}
#endif

struct ring_producer {
    struct ring_entry *entries; /* [const] */
    uint32_t mask;              /* [const] */
    uint32_t tail;              /* next to write */
    uint32_t head;              /* the peer's, as last read */
    uint32_t *shared_tail;      /* [const] */
    const uint32_t *shared_head;
    const uint32_t *wanted; /* [const] the peer's */
    uint32_t *room_wanted;  /* [const] ours; NULL at a client */
};

struct ring_consumer {
    const struct ring_entry *entries; /* [const] */
    uint32_t mask;                    /* [const] */
    uint32_t head;                    /* next to read */
    uint32_t tail;                    /* the peer's, as last read */
    const uint32_t *shared_tail;      /* [const] */
    uint32_t *shared_head;            /* [const] */
    uint32_t *wanted;                 /* [const] ours */
    const uint32_t *room_wanted;      /* [const] the peer's; NULL at a server */
};

/* Bytes of the header and both rings; the buffer pool lies behind them. */
static inline uint64_t ring_bytes(uint32_t entries)
{
    return RING_ENTRIES_OFFSET + 2ull * entries * sizeof(struct ring_entry);
}

/* Whether a ring of that size may be: a power of two within the limits. */
static inline bool ring_entries_valid(uint32_t entries)
{
    return entries >= RING_ENTRIES_MIN && entries <= RING_ENTRIES_MAX &&
           (entries & (entries - 1u)) == 0;
}

/* ---- One direction: producer ------------------------------------------------------------------
 */

/* Entries that can be pushed now. Looks at the peer's cursor only when fewer than `wish` are known
 * to be free. RING_VIOLATION. */
static inline uint32_t ring_room(struct ring_producer *producer, uint32_t wish)
{
    uint32_t entries = producer->mask + 1u;
    uint32_t room = entries - (producer->tail - producer->head);

    if (room >= wish) {
        return room;
    }
    uint32_t head = ring_load(producer->shared_head);
    /* The peer may only move forward, and not past what was written. */
    if (producer->tail - head > producer->tail - producer->head) {
        return RING_VIOLATION;
    }
    producer->head = head;
    return entries - (producer->tail - head);
}

/* A run of entries on their way in or out. Its cursor is private until the run ends, so that the
 * compiler may keep it in a register. */
struct ring_run {
    struct ring_entry *entries;
    uint32_t mask;
    uint32_t at;
};

static inline struct ring_run ring_push_begin(const struct ring_producer *producer)
{
    return (struct ring_run){producer->entries, producer->mask, producer->tail};
}

/* Writes the next entry, invisible until the run is ended and published; ring_room said that there
 * is room. */
static inline void ring_run_push(struct ring_run *run, const struct ring_entry *entry)
{
    ring_entry_store(&run->entries[run->at & run->mask], entry);
    run->at++;
}

/* The same, but the caller writes all of the entry there before the run ends. */
static inline void *ring_run_slot(struct ring_run *run)
{
    return &run->entries[run->at++ & run->mask];
}

static inline void ring_push_end(struct ring_producer *producer, const struct ring_run *run)
{
    producer->tail = run->at;
}

/* A run of one. */
static inline void ring_push(struct ring_producer *producer, const struct ring_entry *entry)
{
    struct ring_run run = ring_push_begin(producer);

    ring_run_push(&run, entry);
    ring_push_end(producer, &run);
}

/* Shows the peer everything pushed. True: the peer sleeps, ring its doorbell. */
static inline bool ring_publish(struct ring_producer *producer)
{
    ring_store(producer->shared_tail, producer->tail);
    ring_fence(); /* pairs with ring_arm: either we see `wanted` or it sees the tail */
    return ring_load(producer->wanted) != 0;
}

/* Before sleeping until the peer makes room: asks it to ring. False, and nothing asked, if there is
 * more room than was known (or a violation, which ring_room will tell). */
static inline bool ring_arm_room(struct ring_producer *producer)
{
    ring_store(producer->room_wanted, 1);
    ring_fence(); /* pairs with ring_release_wake */
    if (ring_load(producer->shared_head) == producer->head) {
        return true;
    }
    ring_store(producer->room_wanted, 0);
    return false;
}

static inline void ring_disarm_room(struct ring_producer *producer)
{
    ring_store(producer->room_wanted, 0);
}

/* ---- One direction: consumer ------------------------------------------------------------------
 */

/* Entries that can be taken now; looks at the peer's cursor only when none is known.
 * RING_VIOLATION. */
static inline uint32_t ring_pending(struct ring_consumer *consumer)
{
    if (consumer->tail == consumer->head) {
        uint32_t tail = ring_load(consumer->shared_tail);
        if (tail - consumer->head > consumer->mask + 1u) {
            return RING_VIOLATION;
        }
        consumer->tail = tail;
    }
    return consumer->tail - consumer->head;
}

static inline struct ring_run ring_take_begin(const struct ring_consumer *consumer)
{
    return (struct ring_run){(struct ring_entry *)(uintptr_t)consumer->entries, consumer->mask,
                             consumer->head};
}

/* Copies the next entry out, each word once; ring_pending said that there is one. */
static inline void ring_run_take(struct ring_run *run, struct ring_entry *entry)
{
    ring_entry_load(entry, &run->entries[run->at & run->mask]);
    run->at++;
}

static inline void ring_take_end(struct ring_consumer *consumer, const struct ring_run *run)
{
    consumer->head = run->at;
}

/* A run of one. */
static inline void ring_take(struct ring_consumer *consumer, struct ring_entry *entry)
{
    struct ring_run run = ring_take_begin(consumer);

    ring_run_take(&run, entry);
    ring_take_end(consumer, &run);
}

/* Gives the entries taken back to the peer. */
static inline void ring_release(struct ring_consumer *consumer)
{
    ring_store(consumer->shared_head, consumer->head);
}

/* The same where the peer may wait for room (a client with a multi-shot operation). True: it does,
 * ring its doorbell. */
static inline bool ring_release_wake(struct ring_consumer *consumer)
{
    ring_store(consumer->shared_head, consumer->head);
    ring_fence(); /* pairs with ring_arm_room: either we see `room_wanted` or it sees the head */
    return ring_load(consumer->room_wanted) != 0;
}

/* Before sleeping: asks for a doorbell. False, and nothing asked, if there is an entry already (or
 * a violation, which ring_pending will tell). */
static inline bool ring_arm(struct ring_consumer *consumer)
{
    ring_store(consumer->wanted, 1);
    ring_fence(); /* pairs with ring_publish */
    if (ring_load(consumer->shared_tail) == consumer->head) {
        return true;
    }
    ring_store(consumer->wanted, 0);
    return false;
}

/* After waking: no doorbells. */
static inline void ring_disarm(struct ring_consumer *consumer)
{
    ring_store(consumer->wanted, 0);
}

/* ---- Sides ------------------------------------------------------------------------------------
 */

enum ring_session {
    RING_SESSION_CLOSED = 0,  /* by this side */
    RING_SESSION_OPENING = 1, /* waiting for the peer's step */
    RING_SESSION_OPEN = 2,
};

struct ring_client {
    struct ring_shared *shared; /* [const] */
    uint32_t entries;           /* [const] */
    enum ring_session session;
    uint32_t generation;      /* ours */
    uint32_t peer_generation; /* in an open session */
    struct ring_producer submit;
    struct ring_consumer complete;
};

struct ring_server {
    struct ring_shared *shared; /* [const] */
    uint32_t entries;           /* [const] */
    enum ring_session session;
    uint32_t generation;      /* ours */
    uint32_t peer_generation; /* last seen and answered */
    struct ring_consumer submit;
    struct ring_producer complete;
};

/* `shared` has ring_bytes(entries) and stays the caller's. INVALID_ARGUMENT: entries is no valid
 * size; WRONG_VERSION: the supervisor prepared another ABI or size. */
status_t ring_client_init(struct ring_client *client, void *shared,
                          uint32_t entries) HALLOWS_MUST_CHECK;
status_t ring_server_init(struct ring_server *server, void *shared,
                          uint32_t entries) HALLOWS_MUST_CHECK;

/* Step 1 of a session; from any state. Ring the server afterwards. */
void ring_client_start(struct ring_client *client);
/* Step 3, if the server has done step 2. True: the session is open, and what was outstanding in
 * the one before is the caller's again. */
bool ring_client_connect(struct ring_client *client);
/* Ends the session for good or until the next start. */
void ring_client_close(struct ring_client *client);
/* Whether the open session still stands; look after ring_pending and before believing what was
 * taken. False: nothing more may be pushed or taken. */
static inline bool ring_client_alive(const struct ring_client *client)
{
    return ring_load(&client->shared->server_generation) == client->peer_generation &&
           ring_load(&client->shared->server_state) == RING_STATE_OPEN;
}

/* A new server_generation; the server has none of the client's buffers. Ring the client
 * afterwards. */
void ring_server_start(struct ring_server *server);
/* Whether the client has begun a session that is not answered yet (step 1). The caller first lets
 * go of everything of the client's, then calls ring_server_answer. */
static inline bool ring_server_called(const struct ring_server *server)
{
    return ring_load(&server->shared->client_generation) != server->peer_generation;
}
/* Step 2. Ring the client afterwards. */
void ring_server_answer(struct ring_server *server);
/* Whether the client has done step 3 (session becomes OPEN). */
bool ring_server_connect(struct ring_server *server);
/* Refuses this client until it starts anew. Ring the client afterwards. */
void ring_server_close(struct ring_server *server);
/* As ring_client_alive. */
static inline bool ring_server_alive(const struct ring_server *server)
{
    return ring_load(&server->shared->client_generation) == server->peer_generation &&
           ring_load(&server->shared->client_state) == RING_STATE_OPEN;
}

/* ---- Capture and restore ----------------------------------------------------------------------
 */

/* One direction as a side sees it: its own cursor, what it has shown of it, the peer's. */
struct ring_cursor {
    uint32_t own;
    uint32_t shown;
    uint32_t peer;
};

/* A side's whole private state of a session, for a snapshot of its cell: with the ring's shared
 * memory as it was, the session goes on where it stood. Plain numbers, to be kept anywhere. */
struct ring_capture {
    uint32_t session; /* enum ring_session */
    uint32_t generation;
    uint32_t peer_generation;
    struct ring_cursor submit;
    struct ring_cursor complete;
};

/* The two directions with all cursors 0; for this library only. */
void ring_client_attach(struct ring_client *client);
void ring_server_attach(struct ring_server *server);

void ring_client_capture(const struct ring_client *client, struct ring_capture *capture);
void ring_server_capture(const struct ring_server *server, struct ring_capture *capture);
/* Makes the side anew from a capture. As ring_*_init; further INVALID_ARGUMENT: the numbers cannot
 * be those of a side (R1, R2); RESET: the shared memory is not what it was, because this side went
 * on after the capture or its session has ended; the side is initialised and begins a new session.
 * The peer may have gone on meanwhile, as it may at any time. */
status_t ring_client_restore(struct ring_client *client, void *shared, uint32_t entries,
                             const struct ring_capture *capture) HALLOWS_MUST_CHECK;
status_t ring_server_restore(struct ring_server *server, void *shared, uint32_t entries,
                             const struct ring_capture *capture) HALLOWS_MUST_CHECK;
/* Operations that a client had submitted and not reaped, pushed ones included; none of them
 * multi-shot. */
static inline uint32_t ring_capture_outstanding(const struct ring_capture *capture)
{
    return capture->submit.own - capture->complete.own;
}

/* The typed forms, for runs and for single entries. */
static inline void ring_run_reap(struct ring_run *run, struct ring_completion *completion)
{
    ring_run_take(run, (struct ring_entry *)(void *)completion);
}

static inline void ring_run_accept(struct ring_run *run, struct ring_submission *submission)
{
    ring_run_take(run, (struct ring_entry *)(void *)submission);
}

static inline void ring_submit(struct ring_client *client, const struct ring_submission *submission)
{
    ring_push(&client->submit, (const struct ring_entry *)(const void *)submission);
}

static inline void ring_reap(struct ring_client *client, struct ring_completion *completion)
{
    ring_take(&client->complete, (struct ring_entry *)(void *)completion);
}

static inline void ring_accept(struct ring_server *server, struct ring_submission *submission)
{
    ring_take(&server->submit, (struct ring_entry *)(void *)submission);
}

static inline void ring_finish(struct ring_server *server, const struct ring_completion *completion)
{
    ring_push(&server->complete, (const struct ring_entry *)(const void *)completion);
}

#endif
