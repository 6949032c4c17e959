// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The key-value server without any I/O: bytes from clients in, bytes to clients out, records for
 * the log out. Whoever owns it (a cell, a host program, a test) moves the bytes, tells the time and
 * says what is durable.
 *
 * One turn of the owner: server_set_time; session_feed for what arrived; take the journal's pending
 * records and write them as one batch; server_set_durable when the log says so; then, while
 * server_next_ready gives a session, send session_output and take it off with session_sent;
 * server_upkeep when due.
 *
 * A reply is given out only when the log is durable up to the position that it depends on, so that
 * what a client was told survives a loss of power.
 *
 * Thread rule: one owner; nothing here locks.
 */
#ifndef APPS_KVSTORE_CORE_SERVER_H
#define APPS_KVSTORE_CORE_SERVER_H

#include "apps/kvstore/core/database.h"
#include "apps/kvstore/core/reply.h"
#include "apps/kvstore/core/resp.h"
#include "apps/kvstore/core/text.h"

#define SERVER_VERSION "0.1.0"
/* The version of the protocol's reference server whose replies these follow; clients look at it. */
#define SERVER_REDIS_VERSION "7.0.15"
#define SESSION_HOLDS_MAX 8u
#define SESSION_PEER_BYTES 48u
/* Output that a session may pile up before its input is left alone. */
#define SESSION_OUTPUT_PAUSE_BYTES (256u * 1024u)

enum durability {
    DURABILITY_ALWAYS = 0,   /* a reply waits until the log is durable */
    DURABILITY_EVERYSEC = 1, /* it does not; the drive is flushed once a second */
    DURABILITY_NO = 2        /* it does not; the drive is flushed when it has to be */
};

struct server_config {
    uint64_t max_memory_bytes; /* 0: no limit but the heap */
    uint64_t bulk_bytes_max;   /* 0: 512 MiB */
    uint32_t clients_max;      /* 0: 10000 */
    uint32_t tcp_port;
    uint64_t random[5]; /* unpredictable: hash key, generator seed, run id */
    enum durability durability;
    const char *os;     /* for INFO; stays the caller's */
    bool debug_command; /* DEBUG SEGFAULT is allowed */
};

#define COMMAND_MAP_SLOTS 256u

struct command;
struct session;

/* Finds commands by name in a few instructions. */
struct command_map {
    uint64_t keys[COMMAND_MAP_SLOTS][2];
    uint8_t lengths[COMMAND_MAP_SLOTS]; /* 0: empty */
    uint8_t indices[COMMAND_MAP_SLOTS];
    const struct command *get, *set;
};

struct server_counters {
    uint64_t connections, rejected_connections, commands, error_replies;
    uint64_t input_bytes, output_bytes, slow_holds;
};

/* What the owner knows and INFO and the status page tell. */
struct server_log_status {
    uint64_t tail, head, durable; /* positions in the log */
    uint64_t used_bytes, capacity_bytes;
    uint64_t base_bytes; /* used_bytes after the last rewrite, or at the start */
    uint64_t accepted;   /* that the drive has, >= durable */
    uint64_t flushes;    /* asked for */
    uint64_t appends, append_bytes;
    uint64_t recovered_records, recovered_bytes, recovery_ns;
};

struct server {
    struct heap *heap;
    struct server_config config;
    struct database database;
    time_ns_t now_ns;
    time_ns_t started_ns;
    time_ns_t expiry_due_ns; /* next active expiry */
    struct session *sessions;
    struct session *ready_first;
    struct session *ready_last;
    uint32_t session_count;
    uint64_t next_session_id;
    struct chain sink; /* where replies go that nobody wants */
    struct server_counters counters;
    struct server_log_status log;
    void (*refresh_log)(void *context); /* makes `log` true before it is shown; may be NULL */
    void *refresh_context;
    uint64_t busy_ticks;    /* of the owner's event loop */
    uint64_t rate_commands; /* for instantaneous_ops_per_sec */
    time_ns_t rate_ns;
    uint64_t rate_per_second;
    uint64_t *command_calls; /* [command_count()] */
    char run_id[41];
    struct command_map command_map;
};

/* Everything comes from `heap`, which must outlive the server. NO_MEMORY. */
status_t server_init(struct server *server, struct heap *heap, const struct server_config *config,
                     time_ns_t now_ns) HALLOWS_MUST_CHECK;
/* Closes all sessions and frees everything. */
void server_destroy(struct server *server);

/* Before anything else in a turn. Neither goes back. */
void server_set_time(struct server *server, time_ns_t now_ns, int64_t unix_ms);
/* The log is durable up to that position of the journal. */
void server_set_durable(struct server *server, uint64_t position);
/* The log failed for good: from now on writes are refused, and sessions that wait for it are closed
 * (whether their writes are in the log is not known). Reads go on. */
void server_log_failed(struct server *server, status_t status);
/* Bounded background work: expiry, freeing. Returns when it is due again. */
time_ns_t server_upkeep(struct server *server);
/* Heap bytes in use, as measured against the limit. */
uint64_t server_used_memory(const struct server *server);

/* ---- Sessions ---------------------------------------------------------------------------------
 */

/* A new client; `peer` is its address as text. NULL: no memory or too many clients (refuse it;
 * session_refusal is what to tell it). */
struct session *session_open(struct server *server, const char *peer);
const char *session_refusal(void);
/* The client is gone; frees the session. */
void session_close(struct session *session);
/* Bytes from the client, in order; all are taken. Executes what is complete. The caller sends
 * session_output next. */
void session_take(struct session *session, const uint8_t *data, size_t bytes);
/* The same, and server_next_ready gives the session. */
void session_feed(struct session *session, const uint8_t *data, size_t bytes);
/* The client sends no more: the session is finished when its output is sent. */
void session_end(struct session *session);
/* Whether more input is welcome: not while much output waits. */
bool session_wants_input(const struct session *session);
/* First contiguous bytes that may be sent now; 0 if there are none. */
size_t session_output(const struct session *session, const uint8_t **data);
/* That many of them were sent. May execute input that had to wait. False: no output is left. */
bool session_sent(struct session *session, size_t bytes);
/* Whether the connection is to be closed now: all that may be sent has been. */
bool session_finished(const struct session *session);
void *session_user(const struct session *session);
void session_set_user(struct session *session, void *user);
/* The next session that may have output or be finished; NULL if there is none. Each comes once. */
struct session *server_next_ready(struct server *server);

#endif
