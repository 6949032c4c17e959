// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The one ring ABI: a submission ring (client to server) and a completion ring (server to client)
 * in shared memory, for NIC, NVMe and IPC alike. lib/ring holds the operations.
 *
 * Layout. struct ring_shared at offset 0 of the shared window; submissions at
 * RING_ENTRIES_OFFSET, completions behind them (each 64-byte aligned); the buffer pool at the
 * offset that both sides were told at start (never read from shared memory).
 *
 * Roles. Each cursor has one writer: submit_tail and complete_head the client, submit_head and
 * complete_tail the server. Cursors count entries modulo 2^32, index = cursor & (entries - 1).
 * Neither side trusts the other: sizes come from the manifest, a peer's cursor is read once and a
 * distance above `entries` is a violation that closes the ring on this side.
 *
 * Sessions. All cursors start at 0 in a session, which is the pair of both sides' generations:
 *   1. the client stores client_state CLOSED, then a new client_generation, and rings;
 *   2. the server, which owns nothing of the client's any more, zeroes its cursors, stores
 *      server_state OPEN, then client_generation_seen, and rings;
 *   3. the client zeroes its cursors, stores server_generation_seen, then client_state OPEN.
 * The session lasts until a generation changes or a state is CLOSED; each side looks at the peer's
 * after it has read the peer's cursor. A server that starts anew takes a new server_generation and
 * rings; the client answers with step 1. What was outstanding when a session ended is the client's
 * again after step 2, done or not, and not before.
 *
 * Outstanding operations, submitted and not reaped, are at most `entries`: hence an operation's
 * last completion always has room. More of them are a violation by the client.
 *
 * Linked operations. RING_LINK ties the next submission to this one: it starts only when this one
 * has succeeded (result >= 0). If this one fails, or is cancelled, what follows in the chain
 * completes with CANCELLED and does not start. Operations of different chains, and those of none,
 * do not wait for each other. A chain may be submitted in several batches.
 *
 * Multi-shot operations. RING_MULTI asks for a completion each time; all but the last carry
 * RING_MORE. They use the room that outstanding operations leave: what finds none waits, so a
 * client keeps fewer than `entries` operations outstanding, and rings the server when it has made
 * room and room_wanted is set (ring_release_wake). RING_CANCEL ends one.
 *
 * Pools. The buffers behind the rings are named by their place, buffer n at n * buffer_bytes. A
 * session begins with one pool, 0, of all of them. RING_POOL_REMOVE takes a pool away from the
 * server, RING_POOL_ADD gives it a range as a new one, both while the ring runs: only buffers of a
 * registered pool may be named, and a pool is removed (the operation completes) when the last
 * operation on its buffers has ended; from its submission on none may start.
 *
 * Doorbells. A consumer that is about to sleep sets its *_wanted word, fences, looks once more and
 * sleeps on its notification; a producer that has published reads the word after a fence and rings
 * only when it is set. Hence no lost wake-up.
 */
#ifndef HALLOWS_RING_H
#define HALLOWS_RING_H

#include <hallows/types.h>

#define RING_MAGIC 0x474e4952u /* "RING" */
#define RING_VERSION 2u
#define RING_ENTRIES_MIN 8u
#define RING_ENTRIES_MAX 4096u
#define RING_ENTRIES_OFFSET 512u
#define RING_CACHE_LINE_BYTES 64u
#define RING_POOLS_MAX 16u
#define RING_BUFFER_NONE 0xffffffffu

enum ring_state { RING_STATE_OPEN = 1, RING_STATE_CLOSED = 2 };

/* [atomic] all; a line has one writer. */
struct ring_shared {
    _Alignas(64) uint32_t magic; /* written by the supervisor before either side runs */
    uint32_t version;
    uint32_t entries;
    /* Client line. */
    _Alignas(64) uint32_t submit_tail;
    uint32_t client_state;      /* enum ring_state */
    uint32_t client_generation; /* never 0 once the client has started */
    uint32_t server_generation_seen;
    _Alignas(64) uint32_t complete_head;
    uint32_t complete_wanted; /* the client sleeps: ring its doorbell */
    /* Server line. */
    _Alignas(64) uint32_t complete_tail;
    uint32_t server_state;
    uint32_t server_generation; /* never 0 once the server has started */
    uint32_t client_generation_seen;
    _Alignas(64) uint32_t submit_head;
    uint32_t submit_wanted; /* the server sleeps */
    uint32_t room_wanted;   /* it waits for room for completions */
};

_Static_assert(sizeof(struct ring_shared) <= RING_ENTRIES_OFFSET, "header before the entries");

enum ring_operation {
    RING_NOP = 0,
    /* Lend buffer for one received frame; completion: result = length, value = offset. */
    RING_NET_RECEIVE = 1,
    RING_NET_TRANSMIT = 2, /* send length bytes at offset in buffer; completion: length */
    /* Completes when the link state differs from `argument` (0 down, 1 up, 2 always): result = link
     * up 0/1, value = MAC address in bits 0..47 (first byte lowest), MTU in bits 48..63. One at a
     * time; another one completes with BUSY. */
    RING_NET_STATUS = 3,
    /* Ends an operation whose user_data is `argument`: it completes with CANCELLED. OK: it will;
     * NOT_FOUND: there is none; BUSY: the device has it, and it ends by itself. */
    RING_CANCEL = 4,
    /* Registers buffers [buffer, buffer + length) as pool `argument`, 0 to RING_POOLS_MAX - 1.
     * IN_USE: that pool exists, or one of the buffers is in another; INVALID_ARGUMENT: the number,
     * or a buffer that lies behind the window, or none at all. */
    RING_POOL_ADD = 5,
    /* Removes pool `argument`. Buffers lent for receiving that the device does not have come back
     * with CANCELLED. NOT_FOUND: no such pool, or it is being removed. */
    RING_POOL_REMOVE = 6,
    /* Lends to the multi-shot receive operation each buffer + n for which bit n of `argument` is
     * set. NOT_FOUND: there is no such operation, or it is being cancelled. */
    RING_NET_LEND = 7,
    /* A loglet (services/storage/server/server.h). Data lies in the pool, `length` bytes from
     * `offset` behind the beginning of `buffer`, and may go on in the buffers that follow. */
    RING_LOG_APPEND = 16, /* one record; completes, value = its position, when it is durable */
    RING_LOG_READ = 17,   /* the next records, as struct ring_log_fragment and bytes, one behind the
                             other at multiples of 8; completion: result = bytes filled, 0 at the end.
                             RING_LOG_FIRST: begins at position `argument`. One at a time. */
    RING_LOG_TRIM = 18,   /* gives up what lies before position `argument` */
    RING_LOG_FLUSH = 19,  /* completes when all that was appended before is durable */
    RING_LOG_CHECKPOINT = 20, /* so that recovery begins here */
    RING_LOG_STATUS = 21,     /* fills struct ring_log_status */
    RING_LOG_RELAX = 22,      /* argument 1: appends complete when the drive has taken them, and are
                                 durable after a FLUSH only; 0: as at the beginning of a session */
    RING_LOG_ACCOUNT = 23 /* what the service tells of its drive, loglets and contracts, as JSON;
                             completion: result = its bytes. TOO_LARGE: it has `value` bytes */
};

#define RING_LOG_FIRST (1u << 8) /* in submission.flags */

/* What a client may do with a loglet; the manifest says. ACCOUNT: see names and figures of all
 * loglets of the service. */
enum ring_log_rights {
    RING_LOG_MAY_READ = 1,
    RING_LOG_MAY_APPEND = 2,
    RING_LOG_MAY_TRIM = 4,
    RING_LOG_MAY_ACCOUNT = 8
};

/* Before each piece of a record that READ gives: bytes [offset, offset + bytes) of `total`. */
struct ring_log_fragment {
    uint64_t position; /* of the record */
    uint32_t total;
    uint32_t offset;
    uint32_t bytes;
    uint32_t reserved;
};

struct ring_log_status {
    uint64_t tail; /* records in [tail, durable) are kept, those before `durable` for good */
    uint64_t durable;
    uint64_t head;
    uint64_t capacity_bytes, used_bytes, free_bytes;
    uint64_t record_bytes_max;
    uint32_t rights; /* enum ring_log_rights */
    int32_t state;   /* status_t of the log */
};

/* Multi-shot forms. RING_NET_RECEIVE lends `length` buffers from `buffer` on (0: none yet), and
 * each frame completes as a single one does; one such operation at a time, another completes with
 * BUSY. Its last completion (buffer RING_BUFFER_NONE) follows when all lent buffers have come back,
 * those without a frame with CANCELLED. RING_NET_STATUS completes at each change. */

enum ring_submission_flag {
    RING_LINK = 1u << 0,  /* the next submission starts when this one has succeeded */
    RING_MULTI = 1u << 1, /* not together with RING_LINK */
};

enum ring_completion_flag { RING_MORE = 1u << 0 /* the operation goes on */ };

struct ring_submission {
    uint16_t operation;
    uint16_t flags; /* enum ring_submission_flag; others: INVALID_ARGUMENT */
    uint32_t buffer;
    uint32_t offset;
    uint32_t length;
    uint64_t argument;
    uint64_t user_data; /* echoed */
};

struct ring_completion {
    uint64_t user_data;
    int32_t result; /* >= 0, or a status */
    uint32_t buffer;
    uint64_t value;
    uint32_t flags; /* enum ring_completion_flag */
    uint32_t reserved;
};

_Static_assert(sizeof(struct ring_submission) == 32, "ABI");
_Static_assert(sizeof(struct ring_completion) == 32, "ABI");
_Static_assert(sizeof(struct ring_log_fragment) == 24, "ABI");
_Static_assert(sizeof(struct ring_log_status) == 64, "ABI");

#endif
