// SPDX-License-Identifier: MIT OR Apache-2.0
/* A client's state, for server.c, session.c and the connection commands only. */
#ifndef APPS_KVSTORE_CORE_SESSION_H
#define APPS_KVSTORE_CORE_SESSION_H

#include "apps/kvstore/core/server.h"

enum session_flags {
    SESSION_CLOSING = 1u << 0,   /* no more input; close when the output is sent */
    SESSION_ABORTED = 1u << 1,   /* close now: killed, or memory ran out */
    SESSION_READY = 1u << 2,     /* in the server's ready list */
    SESSION_PAUSED = 1u << 3,    /* complete requests wait in `input` */
    SESSION_REPLY_OFF = 1u << 4, /* CLIENT REPLY OFF */
    SESSION_REPLY_SKIP = 1u << 5,
    SESSION_NO_EVICT = 1u << 6,
    SESSION_NO_TOUCH = 1u << 7,
    SESSION_MULTI = 1u << 8,        /* requests are queued */
    SESSION_MULTI_BROKEN = 1u << 9, /* one of them was refused */
    SESSION_SKIPPING = 1u << 10     /* the rest of a request that does not fit is passed over */
};

/* From this place of the output stream on, replies wait for this position of the journal. */
struct session_hold {
    uint64_t output;
    uint64_t position;
};

/* A request queued after MULTI; its arguments' bytes follow the slices. */
struct queued_request {
    struct queued_request *next;
    const struct command *command;
    size_t count;
    struct slice arguments[];
};

struct session {
    struct server *server;
    struct session *next; /* all sessions */
    struct session *previous;
    struct session *ready_next;
    void *user;
    uint64_t id;
    uint32_t flags;
    uint32_t version; /* of the protocol: 2 or 3 */
    struct resp_parser parser;
    uint8_t *input; /* the incomplete request, or what waits */
    size_t input_start;
    size_t input_end;
    size_t input_capacity;
    struct chain out;
    uint32_t hold_count;
    struct session_hold holds[SESSION_HOLDS_MAX];
    struct queued_request *queue_first;
    struct queued_request *queue_last;
    size_t queue_count;
    const struct command *last_command;
    int64_t opened_ms;
    int64_t active_ms;
    uint64_t input_bytes;
    uint64_t output_bytes;
    char *name; /* NULL: none; on the heap, as the next two */
    char *library_name;
    char *library_version;
    char peer[SESSION_PEER_BYTES];
};

/* Puts the session into the ready list. */
void session_mark_ready(struct session *session);
/* Replies from `output` on wait until the log is durable up to `position`. */
void session_hold(struct session *session, uint64_t output, uint64_t position);
/* Makes it close at once, whatever waits. */
void session_abort(struct session *session);
void session_drop_queue(struct session *session);

#endif
