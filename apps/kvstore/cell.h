// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The kvstore cell: the server's core (core/) over lib/net's TCP and a loglet on the NVMe drive, in
 * one thread and one event loop. Workers, where the manifest names some, have stacks of their own,
 * whose connections come to that thread over relays (docs/decisions/063).
 *
 *   main.c     start-up, loop, shutdown
 *   store.c    the drive and the log: recovery, batches, checkpoints
 *   clients.c  connections of clients
 *   browsers.c connections to the status page
 *   workers.c  other threads, and the connections that they relay
 *   report.c   what the status page tells about the system around the server
 */
#ifndef APPS_KVSTORE_CELL_H
#define APPS_KVSTORE_CELL_H

#include "apps/kvstore/core/relay.h"
#include "apps/kvstore/core/server.h"
#include "apps/kvstore/core/web.h"
#include "drivers/net/cell/network.h"
#include "drivers/nvme/nvme.h"
#include "lib/block/contract.h"
#include "lib/block/zones.h"
#include "lib/loglet/loglet.h"
#include "lib/logport/accounts.h"
#include "runtime/cell.h"
#include "runtime/dma.h"
#include "runtime/event_loop.h"

#define BATCHES_MAX 64u

/* A batch on its way to the drive: when the record at `record` is durable, so is the journal up to
 * `position`. */
struct batch {
    log_position_t record;
    uint64_t position;
};

#define STORE_LOG_NAME "kvstore"

struct store {
    struct server *server;
    struct nvme nvme;
    struct block_device *block;  /* what the log is on: the drive, or a tenant's part of it */
    struct share *share;         /* NULL: the manifest has no contracts */
    struct contract *contracts;  /* of the share's tenants, in order */
    struct nvme_port zones_port; /* through which zones are asked for */
    struct zones zones;
    struct loglet_device *device;
    struct loglet *log;
    bool draining;      /* a batch is being given to the log */
    bool batch_begun;   /* some of it was */
    uint64_t batch_end; /* journal position */
    uint32_t first;     /* of the batches under way */
    uint32_t count;
    struct batch batches[BATCHES_MAX];
    log_position_t last_record;
    status_t failure;
    enum durability durability; /* as the log was last told */
    uint64_t unseen_bytes;      /* of the log, at most, taken since it was looked at */
    bool crowded;               /* it was not nearly empty then */
    time_ns_t quiet_until;      /* nothing to do before, unless the server wants something */
    time_ns_t flush_due;        /* DURABILITY_EVERYSEC: not before */
    /* Checkpoints. */
    bool begin_wanted;               /* the next batch's first record is `checkpoint_begin` */
    bool trim_wanted;                /* when the journal is durable up to `checkpoint_end` */
    log_position_t checkpoint_begin; /* first record that is needed once it is complete */
    uint64_t checkpoint_end;
};

struct client;

struct kvstore {
    const struct cell_info *info;
    struct heap *heap;
    struct dma_pool dma;
    struct server server;
    struct store store;
    struct network network;
    struct web_source web;
    struct accounts accounts; /* of other cells' drives */
    struct event_loop loop;
    time_ns_t upkeep_due;
    time_ns_t told_ns; /* what time the server was told */
    bool ready;
    bool stopping;
    uint32_t relay_count; /* workers that run; their relays: */
    struct relay *relays[NETDEV_QUEUES_MAX];
    struct client *resumed; /* clients of relays that want input again, in their order */
    struct client *resumed_last;
};

/* How bytes get to a peer: through a connection of this thread, or over a worker's relay. */
struct link {
    struct tcp_connection *connection;
    struct relay *relay; /* NULL: this thread's */
    struct relay_slot *slot;
};

/* As tcp_send: what is not taken may be sent when the peer's side tells so. */
static inline uint32_t link_send(const struct link *link, const void *data, uint32_t bytes)
{
    return link->relay == NULL ? tcp_send(link->connection, data, bytes)
                               : relay_put(link->relay, RELAY_BACK, link->slot, data, bytes);
}

/* Closes when all is sent; the link is over. */
static inline void link_close(const struct link *link)
{
    if (link->relay == NULL) {
        tcp_close(link->connection);
    } else {
        relay_finish(link->relay, link->slot);
    }
}

/* Sleeps until the notification or for a moment; for waits during start-up and shutdown. */
void kvstore_pause(struct kvstore *kvstore);
time_ns_t kvstore_now(const struct kvstore *kvstore);
/* Sets the server's time. */
void kvstore_tell_time(struct kvstore *kvstore, time_ns_t now_ns);
/* Before anything in a round that may ask the server for the time. */
static inline void kvstore_round_time(struct kvstore *kvstore)
{
    if (kvstore->told_ns != kvstore->loop.now_ns) {
        kvstore_tell_time(kvstore, kvstore->loop.now_ns);
    }
}

/* ---- contracts.c ------------------------------------------------------------------------------
 */

/* Admits the manifest's contracts, if it has any, and chooses what the log is on. Says on the
 * console what was admitted, or why not. */
status_t contracts_admit(struct kvstore *kvstore) HALLOWS_MUST_CHECK;

/* ---- store.c ----------------------------------------------------------------------------------
 */

/* Starts the drive, opens the log and replays it. Says what is wrong on the console. */
status_t store_open(struct kvstore *kvstore) HALLOWS_MUST_CHECK;
/* Gives pending records to the log, takes what became durable, carries checkpoints on. True if
 * anything happened. */
bool store_run(struct kvstore *kvstore, time_ns_t now_ns);
/* The same, which is little when nothing is under way and nothing wanted. */
static inline bool store_poll(struct kvstore *kvstore, time_ns_t now_ns)
{
    const struct database *database = &kvstore->server.database;
    const struct store *store = &kvstore->store;

    if (now_ns < store->quiet_until && chain_bytes(&database->journal.pending) == 0 &&
        !database->checkpoint_wanted && store->durability == kvstore->server.config.durability) {
        return false;
    }
    return store_run(kvstore, now_ns);
}
bool store_arm(struct store *store);
void store_disarm(struct store *store);
time_ns_t store_deadline(struct store *store);
/* Tells the server what its log is like, for those who ask. */
void store_tell(struct store *store);
/* Makes everything durable and stops the drive. */
void store_close(struct kvstore *kvstore);

/* ---- clients.c, browsers.c --------------------------------------------------------------------
 */

status_t clients_listen(struct kvstore *kvstore, uint16_t port) HALLOWS_MUST_CHECK;
/* Sends what became ready; true if there was any. */
bool clients_send_ready(struct kvstore *kvstore);
status_t browsers_listen(struct kvstore *kvstore, uint16_t port) HALLOWS_MUST_CHECK;
/* A connection's peer as text. */
void client_peer(struct tcp_connection *connection, char text[RELAY_PEER_BYTES]);
/* What is new at a worker's connection. */
void client_relayed(struct kvstore *kvstore, struct relay *relay, struct relay_slot *slot);
void browser_relayed(struct kvstore *kvstore, struct relay *relay, struct relay_slot *slot);
/* Goes on with clients of relays whose input had to wait; true if there were any. */
bool clients_resume(struct kvstore *kvstore);

/* ---- workers.c --------------------------------------------------------------------------------
 */

enum worker_door { WORKER_CLIENTS, WORKER_BROWSERS, WORKER_DOORS };

/* A stack and a relay for each further thread that the NIC has a queue pair for, listening;
 * `request` as network_open left it. */
status_t workers_open(struct kvstore *kvstore, struct network_request *request) HALLOWS_MUST_CHECK;
status_t workers_listen(struct kvstore *kvstore, uint16_t port,
                        uint16_t http_port) HALLOWS_MUST_CHECK;
/* The relays, as an event source of the first thread. Before workers_start. */
status_t workers_add(struct kvstore *kvstore) HALLOWS_MUST_CHECK;
/* Lets the threads run. */
void workers_start(struct kvstore *kvstore);
/* Ends them, with their queue pairs; what takes too long is left. */
void workers_stop(struct kvstore *kvstore);

/* ---- report.c ---------------------------------------------------------------------------------
 */

void report_json(void *context, struct text *text);
void report_html(void *context, struct text *text);
/* report_storage.c: the drive, its health, the space on it and its logs. */
void report_storage(void *context, struct text *text);
/* report_netstat.c: counters by their MIB names, listeners, connections. */
void report_netstat(void *context, struct text *text);
/* An object with a member for each group: "mib":{"Ip":{"InReceives":1,...},...} */
void report_mib(const struct net_stack *stack, struct text *text);

#endif
