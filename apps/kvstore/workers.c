// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Further threads, each with a stack on a queue pair of its own. A worker has the connections of
 * the flows that the NIC brings it, and relays their bytes to the first thread, which serves them
 * all.
 */
#include "apps/kvstore/cell.h"

#include "runtime/syscall.h"

#define BACKLOG 128u
#define SLOTS 1024u /* connections of one worker */
#define KEEPALIVE_NS 300000000000ull
#define NEWS_MAX 64u /* slots looked at in one round */
#define STOP_NS 5000000000ull

struct worker;

/* One connection of a worker, for its slot. */
struct front {
    struct worker *worker;
    struct relay_slot *slot;
    struct tcp_connection *connection; /* NULL: it is gone */
    bool paused;                       /* delivery waits for room in the pipe */
};

struct door {
    struct worker *worker;
    enum worker_door kind;
};

struct worker {
    struct network network;
    struct event_loop loop;
    struct relay *relay;
    uint32_t thread;
    uint64_t connections; /* that it has had */
    struct door doors[WORKER_DOORS];
    struct front fronts[SLOTS];
};

static struct worker workers[NETDEV_QUEUES_MAX - 1u];
static uint32_t worker_count; /* [const] once the gate is open */
static struct worker_gate gate;
static bool stopping;
static uint32_t stopped; /* threads that have nothing to do with the device any more */

/* ---- A worker's connections --------------------------------------------------------------------
 */

/* Sends what the first thread put; closes, or lets the peer go on. */
static void run(struct front *front)
{
    struct relay *relay = front->worker->relay;
    struct tcp_connection *connection = front->connection;
    struct relay_slot *slot = front->slot;
    const uint8_t *data;
    uint32_t bytes;

    if (connection == NULL) {
        if (relay_is_finished(slot)) {
            relay_free(relay, slot);
        }
        return;
    }
    while ((bytes = relay_get(slot, RELAY_FRONT, &data)) != 0) {
        uint32_t sent = tcp_send(connection, data, bytes);
        relay_take(relay, RELAY_FRONT, slot, sent);
        if (sent != bytes) {
            return; /* on_sendable follows */
        }
    }
    if (relay_is_over(slot)) {
        front->connection = NULL;
        tcp_close(connection);
        relay_free(relay, slot);
    } else if (front->paused) {
        front->paused = false;
        tcp_receive_resume(connection);
    }
}

static bool on_accept(struct tcp_connection *connection, void *user)
{
    const struct door *door = user;
    struct worker *worker = door->worker;
    char peer[RELAY_PEER_BYTES];

    client_peer(connection, peer);
    struct relay_slot *slot = relay_open(worker->relay, (uint32_t)door->kind, peer);
    if (slot == NULL) {
        return false;
    }
    struct front *front = &worker->fronts[slot - worker->relay->slots];
    *front = (struct front){.worker = worker, .slot = slot, .connection = connection};
    slot->user[RELAY_FRONT] = front;
    tcp_set_user(connection, front);
    tcp_set_keepalive(connection, KEEPALIVE_NS);
    worker->connections++;
    return true;
}

static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct front *front = user;
    uint32_t put = relay_put(front->worker->relay, RELAY_FRONT, front->slot, data, length);

    (void)connection;
    front->paused = put != length;
    return put;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    struct front *front = user;

    (void)connection;
    relay_end(front->worker->relay, front->slot);
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    (void)connection;
    run(user);
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    struct front *front = user;

    (void)connection;
    (void)reason;
    front->connection = NULL;
    relay_leave(front->worker->relay, front->slot);
    run(front);
}

static const struct tcp_ops front_ops = {
    .on_accept = on_accept,
    .on_receive = on_receive,
    .on_end = on_end,
    .on_sendable = on_sendable,
    .on_closed = on_closed,
};

/* ---- A worker's thread -------------------------------------------------------------------------
 */

static bool poll_front(void *context, time_ns_t now_ns)
{
    struct worker *worker = context;
    struct relay_slot *slot = NULL;
    uint32_t count = 0;

    (void)now_ns;
    while (count < NEWS_MAX && (slot = relay_next(worker->relay, RELAY_FRONT)) != NULL) {
        run(slot->user[RELAY_FRONT]);
        count++;
    }
    if (count != 0) {
        stack_flush(worker->network.stack);
    }
    return count != 0;
}

static bool arm_front(void *context)
{
    return relay_arm(((struct worker *)context)->relay, RELAY_FRONT);
}

static void disarm_front(void *context)
{
    relay_disarm(((struct worker *)context)->relay, RELAY_FRONT);
}

_Noreturn void cell_worker(const struct cell_info *info, uint32_t thread)
{
    worker_await(&gate, thread);
    struct worker *worker = thread <= worker_count ? &workers[thread - 1u] : NULL;
    if (worker != NULL) {
        const struct event_source front = {
            .poll = poll_front, .arm = arm_front, .disarm = disarm_front, .context = worker};
        event_loop_init(&worker->loop, &info->time, thread_notification(thread),
                        network_window_ns(info));
        bool runs = network_add(&worker->network, &worker->loop) == STATUS_OK &&
                    event_loop_add(&worker->loop, &front) == STATUS_OK;
        while (runs && !__atomic_load_n(&stopping, __ATOMIC_ACQUIRE)) {
            event_loop_round(&worker->loop);
        }
        network_close(&worker->network);
    }
    __atomic_fetch_add(&stopped, 1u, __ATOMIC_RELEASE);
    for (;;) {
        uint64_t word;
        (void)notification_wait(thread_notification(thread), DEADLINE_NEVER, &word);
    }
}

/* ---- The first thread --------------------------------------------------------------------------
 */

static bool poll_back(void *context, time_ns_t now_ns)
{
    struct kvstore *kvstore = context;
    bool worked = clients_resume(kvstore);

    (void)now_ns;
    for (uint32_t i = 0; i < kvstore->relay_count; i++) {
        struct relay *relay = kvstore->relays[i];
        struct relay_slot *slot = NULL;
        for (uint32_t n = 0; n < NEWS_MAX && (slot = relay_next(relay, RELAY_BACK)) != NULL; n++) {
            worked = true;
            if (slot->kind == WORKER_CLIENTS) {
                client_relayed(kvstore, relay, slot);
            } else {
                browser_relayed(kvstore, relay, slot);
            }
        }
    }
    return worked;
}

static void disarm_back(void *context)
{
    struct kvstore *kvstore = context;

    for (uint32_t i = 0; i < kvstore->relay_count; i++) {
        relay_disarm(kvstore->relays[i], RELAY_BACK);
    }
}

static bool arm_back(void *context)
{
    struct kvstore *kvstore = context;
    bool quiet = kvstore->resumed == NULL;

    for (uint32_t i = 0; i < kvstore->relay_count && quiet; i++) {
        quiet = relay_arm(kvstore->relays[i], RELAY_BACK);
    }
    if (!quiet) {
        disarm_back(context);
    }
    return quiet;
}

static void wake(void *context, enum relay_side side)
{
    const struct worker *worker = context;

    thread_wake(side == RELAY_FRONT ? worker->thread : 0);
}

static void *cut(struct network_request *request, size_t bytes)
{
    void *memory = request->memory;

    if (request->memory_bytes < bytes) {
        return NULL;
    }
    request->memory = (uint8_t *)memory + bytes;
    request->memory_bytes -= bytes;
    return memory;
}

status_t workers_open(struct kvstore *kvstore, struct network_request *request)
{
    struct network *first = &kvstore->network;

    for (uint32_t thread = 1; thread < first->threads; thread++) {
        struct worker *worker = &workers[thread - 1u];
        void *memory = cut(request, (relay_bytes(SLOTS) + 63u) & ~(size_t)63u);
        if (memory == NULL) {
            log_line("the heap is too small for worker %u", thread);
            return STATUS_NO_MEMORY;
        }
        worker->thread = thread;
        worker->relay = relay_init(memory, SLOTS);
        worker->relay->wake = wake;
        worker->relay->context = worker;
        kvstore->relays[kvstore->relay_count++] = worker->relay;
        status_t status = network_open_worker(&worker->network, first, thread, request);
        if (status != STATUS_OK) {
            return status;
        }
        worker_count++;
    }
    if (first->threads < kvstore->info->thread_count) {
        log_line("%u of %u threads have a queue pair; the others wait", first->threads,
                 kvstore->info->thread_count);
    }
    return STATUS_OK;
}

status_t workers_listen(struct kvstore *kvstore, uint16_t port, uint16_t http_port)
{
    status_t status = STATUS_OK;

    for (uint32_t i = 0; i < kvstore->relay_count && status == STATUS_OK; i++) {
        struct worker *worker = &workers[i];
        for (uint32_t kind = 0; kind < WORKER_DOORS; kind++) {
            worker->doors[kind] = (struct door){worker, (enum worker_door)kind};
        }
        status = tcp_listen(worker->network.stack, port, BACKLOG, &front_ops,
                            &worker->doors[WORKER_CLIENTS]);
        if (status == STATUS_OK && http_port != 0) {
            status = tcp_listen(worker->network.stack, http_port, BACKLOG, &front_ops,
                                &worker->doors[WORKER_BROWSERS]);
        }
    }
    return status;
}

status_t workers_add(struct kvstore *kvstore)
{
    const struct event_source back = {
        .poll = poll_back, .arm = arm_back, .disarm = disarm_back, .context = kvstore};

    return kvstore->relay_count == 0 ? STATUS_OK : event_loop_add(&kvstore->loop, &back);
}

void workers_start(struct kvstore *kvstore)
{
    worker_release(&gate, kvstore->info);
}

void workers_stop(struct kvstore *kvstore)
{
    uint32_t others = kvstore->info->thread_count - 1u;
    time_ns_t limit = kvstore_now(kvstore) + STOP_NS;

    __atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
    for (uint32_t i = 1; i <= others; i++) {
        thread_wake(i);
    }
    while (__atomic_load_n(&stopped, __ATOMIC_ACQUIRE) < others && kvstore_now(kvstore) < limit) {
        (void)yield();
    }
    for (uint32_t i = 0; i < worker_count; i++) {
        log_line("worker %u has had %lu connections", workers[i].thread, workers[i].connections);
    }
}
