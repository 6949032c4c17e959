// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The storage service without its cell: one drive, its loglets, and a ring for each client that the
 * manifest gives one (include/hallows/ring.h, RING_LOG_*). To hold the ring is to hold the loglet,
 * with the rights of the manifest: there are no names to guess, and nothing on a ring says which
 * log is meant.
 *
 * Each loglet has its contract (lib/block/share.h): requests for it wait for its turn alone
 * (lib/block/streams.h), and it never has more than its part of the frame buffers.
 *
 * The client is hostile. What it submits is copied out once and checked; data is read from its pool
 * by the drive (records of whole pages) or copied once, so a client that changes what it has handed
 * over harms records of its own loglet at most. Data that is read is checked before a byte of it
 * goes to the client. A session is answered when nothing of the one before is under way.
 *
 *   OPENING (drive) -> LOGS (each loglet by name) -> SERVING -> CLOSING -> CLOSED; or FAILED
 *
 * Invariants, outside the functions: S1 waiting + held + read under way + completions that the
 * client has not reaped <= entries. S2 positions in `waiting` do not fall from entry to entry.
 *
 * Pure: time and doorbell are arguments. Thread rule: one owner.
 */
#ifndef SERVICES_STORAGE_SERVER_SERVER_H
#define SERVICES_STORAGE_SERVER_SERVER_H

#include <hallows/cell.h>

#include "lib/block/account.h"
#include "lib/block/contract.h"
#include "lib/block/streams.h"
#include "lib/loglet/loglet.h"
#include "lib/ring/ring.h"

#define STORAGE_PORTS_MAX CELL_RINGS_MAX
#define STORAGE_OWN_IOPS 100u /* promised to superblocks and the like; tools/loglets.py knows */

/* A client's way to a loglet. */
struct storage_grant {
    const struct cell_ring *ring;
    char log[CONTRACT_NAME_BYTES];
    uint32_t rights; /* enum ring_log_rights */
    /* Of the loglet; with the same log in two grants that of the first counts. `blocks` is not
     * looked at. */
    struct share_contract contract;
    uint64_t capacity_bytes;
};

struct storage_server_config {
    struct share_drive drive; /* described, or measured */
    const struct storage_grant *grants;
    uint32_t grant_count;
    uint32_t flags;     /* LOGLET_FORMAT */
    uint64_t random[2]; /* unpredictable */
    void *memory; /* storage_server_memory_bytes, 64-byte aligned; the server's from then on */
    size_t memory_bytes;
    void *buffers; /* of the drive's data memory, page-aligned: a reader's for each grant, and */
    uint64_t buffer_bytes; /* frames */
    void (*doorbell)(void *context, cap_slot_t slot);
    /* Writes the whole of a RING_LOG_ACCOUNT, less than 2 GiB. NULL: there is none. */
    void (*account)(void *context, const struct account *account);
    void *context;
};

/* An append or a flush whose completion waits for the log. */
struct storage_waiting {
    log_position_t position; /* done when the log is durable beyond it */
    uint64_t user_data;
    uint32_t length;
    bool relaxed; /* done when it is accepted */
};

struct storage_counters {
    uint64_t sessions, violations, refused, appends, append_bytes, pages, reads, read_bytes;
};

struct storage_port {
    struct ring_server ring;
    const struct storage_grant *grant;
    struct loglet *log; /* NULL: refused, `status` says why */
    status_t status;
    uint8_t *pool;
    uint64_t pool_bytes;
    struct storage_waiting *waiting; /* [entries] cursors modulo 2^32: */
    uint32_t waiting_tail, waiting_head;
    bool relaxed;
    bool holding; /* `held` waits for frame buffers */
    struct ring_submission held;
    bool appended; /* since the last commit */
    /* Reading. */
    bool reading;     /* `read` is not completed */
    bool reader_open; /* there is a place to go on from */
    struct ring_submission read;
    uint32_t filled;
    struct loglet_reader reader;
    struct loglet_fragment fragment; /* not given out wholly: */
    bool fragment_open;
    uint32_t fragment_left;
    uint8_t *read_buffer;
    struct storage_counters counters;
};

enum storage_state {
    STORAGE_OPENING = 1,
    STORAGE_LOGS,
    STORAGE_SERVING,
    STORAGE_CLOSING,
    STORAGE_CLOSED,
    STORAGE_FAILED
};

struct storage_server {
    enum storage_state state;
    status_t status; /* FAILED: why */
    struct storage_server_config config;
    struct share *share;
    struct streams *streams;
    struct loglet_device *device;
    struct share_tenant *tenants[STORAGE_PORTS_MAX]; /* of the port's loglet; NULL: refused */
    uint32_t opening;                                /* port whose log is being opened */
    uint32_t frames_most;                            /* of one loglet */
    uint64_t record_bytes_max;
    struct storage_port ports[STORAGE_PORTS_MAX];
};

size_t storage_server_memory_bytes(const struct storage_server_config *config);

/* Takes over the drive, which is ready, and begins to open it; poll until the state is SERVING. A
 * loglet that cannot be had (contract, capacity) is refused by itself: each operation of its client
 * gets the reason, storage_port.status. Returns INVALID_ARGUMENT (no grants or too many, rings that
 * are not a server's or too small, a drive without figures), NO_MEMORY (memory or buffers too
 * small), WRONG_VERSION (a ring of another ABI), or as loglet_device_open. */
status_t storage_server_init(struct storage_server *server,
                             const struct storage_server_config *config,
                             time_ns_t now_ns) HALLOWS_MUST_CHECK;
/* Does a bounded amount of work; true if there was any. */
bool storage_server_poll(struct storage_server *server, time_ns_t now_ns);
/* As struct event_source. */
bool storage_server_arm(struct storage_server *server);
void storage_server_disarm(struct storage_server *server);
time_ns_t storage_server_deadline(struct storage_server *server);
/* Closes the rings and begins to close the drive; poll until the state is CLOSED. */
void storage_server_close(struct storage_server *server);

/* ,"promises":{..},"contracts":[..],"space":{..},"logs":[..] (lib/block/account.h). */
void storage_server_account(const struct storage_server *server, const struct account *account);

/* ---- port.c, for server.c ----------------------------------------------------------------------
 */

/* Serves one client once; true if there was anything to do. */
bool storage_port_poll(struct storage_server *server, struct storage_port *port, time_ns_t now_ns);
/* Sends what was appended on its way. */
void storage_port_commit(struct storage_server *server, struct storage_port *port,
                         time_ns_t now_ns);
/* Completes what became durable, and reads that have data; after the device was polled. */
bool storage_port_complete(struct storage_server *server, struct storage_port *port,
                           time_ns_t now_ns);
bool storage_port_arm(struct storage_port *port);
void storage_port_disarm(struct storage_port *port);

#endif
