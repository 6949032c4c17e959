// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The serving side of a NIC ring: drives the NIC and moves frames between it and one client's
 * buffers without a copy. The client is not trusted: each operation must name a buffer that the
 * client holds, with an offset and length inside it; what breaks the rules ends the session, and
 * the client may start a new one.
 *
 * Buffers. The driver's netbuf pool lies over the ring's buffers, and its free stack holds what the
 * client has lent for receiving. owner[b] says who has buffer b; `sending[b]` counts transmissions
 * of b that are not completed. Operations (server_operations.c) of pools, chains and cancelling are
 * in server_control.c.
 *
 * Sessions. Before one is answered the NIC is stopped, so that no buffer of the session before is
 * still written, and started again.
 *
 * Invariants, outside the functions:
 *   N1 outstanding = buffers lent one by one + transmissions queued + a pending status question +
 *      the multi-shot receive + pools being removed + what waits in chains, and with the
 * completions that the client has not reaped <= entries. N2 references[b] = 2 * sending[b] -
 * transmissions of b that the NIC has finished, where sending[b] != 0; the queue holds sending[b]
 * entries of b. N3 owner[b] is NIC_BUFFER_NONE where b is in no pool, and where its pool is being
 * removed unless the server still has it.
 *
 * Pure: time and doorbell are arguments. Thread rule: one owner.
 */
#ifndef SERVICES_NIC_SERVER_SERVER_H
#define SERVICES_NIC_SERVER_SERVER_H

#include "drivers/net/driver.h"
#include "lib/ring/ring.h"
#include "lib/ring/ring_chain.h"

struct nic_server_config {
    const struct cell_device *device;
    const struct cell_ring *ring;
    struct dma_region dma; /* NETDEV_DMA_BYTES */
    void *memory;          /* nic_server_memory_bytes, 64-byte aligned; stays the server's */
    size_t memory_bytes;
    struct netdev_environment environment;
};

struct nic_server_counters {
    uint64_t sessions, violations, refused, restarts;
};

struct nic_transmission {
    struct netframe frame;
    uint64_t user_data;
    uint32_t chain; /* RING_CHAIN_NONE: not linked */
};

/* A registered range of buffers. */
struct nic_pool {
    uint32_t first, count; /* count 0: no such pool */
    bool removing;
    uint32_t chain; /* of the removal */
    uint64_t user_data;
};

/* An operation that waits for something that is not a buffer. */
struct nic_watch {
    bool active, multi, ending;
    uint32_t chain;
    uint64_t user_data;
};

struct nic_server {
    struct ring_server ring;
    struct netdev *dev; /* NULL: not running */
    struct netbuf_pool pool;
    uint8_t *owner;                 /* [buffer_count] enum nic_owner */
    uint16_t *sending;              /* [buffer_count] */
    uint16_t *chain_of;             /* [buffer_count] of those lent with a chain */
    uint64_t *user_data;            /* [buffer_count] of lent ones */
    struct nic_transmission *queue; /* [entries] cursors modulo 2^32: */
    uint32_t queue_tail;            /* accepted */
    uint32_t queue_given;           /* given to the NIC */
    uint32_t queue_head;            /* completed */
    uint32_t outstanding;
    struct ring_chains chains;
    struct nic_pool pools[RING_POOLS_MAX];
    uint32_t pools_removing;
    struct nic_watch receive; /* the multi-shot one */
    uint32_t receive_lent;    /* buffers that are out for it */
    bool room_short;          /* frames may wait for room in the completion ring */
    struct nic_watch status;
    bool link;
    uint64_t status_known;
    time_ns_t retry_at_ns;   /* room_short: when to look again all the same */
    time_ns_t restart_at_ns; /* the NIC did not stop or start: when to try again */
    time_ns_t tick_at_ns;
    struct nic_server_config config;
    void *driver_state;
    void *bookkeeping;
    void *chain_memory;
    struct nic_server_counters counters;
};

size_t nic_server_memory_bytes(uint32_t buffer_count, uint32_t entries);

/* Starts the NIC and opens the ring for a client. INVALID_ARGUMENT: not a server's ring, or sizes
 * that do not fit together, or no device addresses; NO_MEMORY: memory_bytes too small;
 * WRONG_VERSION: the ring is of another ABI; else as netdev_attach. */
status_t nic_server_init(struct nic_server *server,
                         const struct nic_server_config *config) HALLOWS_MUST_CHECK;
/* Does a bounded amount of work; true if there was any. */
bool nic_server_poll(struct nic_server *server, time_ns_t now_ns);
/* As struct event_source. */
bool nic_server_arm(struct nic_server *server);
void nic_server_disarm(struct nic_server *server);
time_ns_t nic_server_deadline(const struct nic_server *server);
/* Closes the ring and stops the NIC; AGAIN: call again. */
status_t nic_server_stop(struct nic_server *server);

#endif
