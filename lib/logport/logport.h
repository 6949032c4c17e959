// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The client's end of a loglet that the storage service serves over a ring
 * (services/storage/server/server.h): sessions, submission, completions. What is submitted are
 * RING_LOG_* operations (hallows/ring.h); the pool is the caller's to divide, and what an operation
 * names is left alone until it completes.
 *
 * A service that starts anew is met with a new session. Then `sessions` has grown and nothing is
 * outstanding any more: what was appended and not completed may be in the log or not, whoever has
 * to know reads its end. What had completed is there.
 *
 * Thread rule: one owner; nothing here locks or waits. Time is an argument.
 */
#ifndef LIB_LOGPORT_LOGPORT_H
#define LIB_LOGPORT_LOGPORT_H

#include <hallows/cell.h>
#include <hallows/status.h>

#include "lib/ring/ring.h"

struct logport {
    struct ring_client ring;
    const struct cell_ring *where;
    uint8_t *pool;
    uint64_t pool_bytes;
    void (*doorbell)(void *context, cap_slot_t slot);
    void *context;
    uint32_t outstanding;
    bool pushed;         /* not yet published */
    bool rest;           /* the service broke the rules or refuses us */
    time_ns_t due_ns;    /* when to ring, or to try, again */
    uint64_t sessions;   /* opened so far */
    uint64_t violations; /* by the service */
};

/* The cell's ring to the loglet of that name; NULL: the manifest gives it none. */
const struct cell_ring *logport_find(const struct cell_info *cell, const char *name);
/* INVALID_ARGUMENT: not a client's ring of a loglet; WRONG_VERSION: of another ABI. */
status_t logport_init(struct logport *port, const struct cell_ring *ring,
                      void (*doorbell)(void *context, cap_slot_t slot),
                      void *context) HALLOWS_MUST_CHECK;

/* Opens the session, or goes on with opening it. True: it is open. */
bool logport_poll(struct logport *port, time_ns_t now_ns);
/* Operations that can be submitted now; 0 without a session. */
uint32_t logport_room(struct logport *port);
/* Submits one; there was room. Its user_data comes back. */
void logport_submit(struct logport *port, const struct ring_submission *submission);
/* Shows the service what was submitted. */
void logport_publish(struct logport *port);
/* Takes up to `max` completions; 0 also when the session is over. */
uint32_t logport_take(struct logport *port, struct ring_completion *completions, uint32_t max);

/* As struct event_source. */
bool logport_arm(struct logport *port);
void logport_disarm(struct logport *port);
time_ns_t logport_deadline(const struct logport *port);

/* ---- What READ gave: fragments in `bytes` at `data`, one after the other ------------------------
 */

/* The fragment at *at, with its bytes at *from, which *at then has passed. False: there is none, or
 * what is there cannot be one. The memory is the service's as well: the header is copied out. */
bool logport_fragment(const uint8_t *data, uint32_t bytes, uint32_t *at,
                      struct ring_log_fragment *fragment, const uint8_t **from);

#endif
