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
 * Outstanding operations, submitted and not reaped, are at most `entries`: hence a completion
 * always has room. More of them are a violation by the client.
 *
 * Doorbells. A consumer that is about to sleep sets its *_wanted word, fences, looks once more and
 * sleeps on its notification; a producer that has published reads the word after a fence and rings
 * only when it is set. Hence no lost wake-up.
 */
#ifndef HALLOWS_RING_H
#define HALLOWS_RING_H

#include <hallows/types.h>

#define RING_MAGIC 0x474e4952u /* "RING" */
#define RING_VERSION 1u
#define RING_ENTRIES_MIN 8u
#define RING_ENTRIES_MAX 4096u
#define RING_ENTRIES_OFFSET 512u
#define RING_CACHE_LINE_BYTES 64u

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
    RING_NET_STATUS = 3
};

struct ring_submission {
    uint16_t operation;
    uint16_t flags; /* 0 */
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
    uint64_t reserved;
};

_Static_assert(sizeof(struct ring_submission) == 32, "ABI");
_Static_assert(sizeof(struct ring_completion) == 32, "ABI");

#endif
