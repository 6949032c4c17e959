// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Configuration (manifest): port (6379), http_port (80, 0: none), maxmemory (three quarters of the
 * heap), appendfsync (always), format (false), and the network's (drivers/net/cell/network.h).
 */
#include "apps/kvstore/cell.h"

#include "runtime/random.h"
#include "runtime/syscall.h"

#define PAUSE_NS 1000000u
#define NET_BUFFERS 2048u
#define CONNECTIONS 1024u

time_ns_t kvstore_now(const struct kvstore *kvstore)
{
    return clock_ns(&kvstore->info->time);
}

void kvstore_pause(struct kvstore *kvstore)
{
    uint64_t word;

    (void)notification_wait(CELL_SLOT_NOTIFICATION, kvstore_now(kvstore) + PAUSE_NS, &word);
    kvstore->loop.events |= word;
}

void kvstore_tell_time(struct kvstore *kvstore, time_ns_t now_ns)
{
    int64_t unix_ms = (int64_t)((kvstore->info->unix_ns_at_zero + now_ns) / 1000000u);

    kvstore->told_ns = now_ns;
    kvstore->server.busy_ticks = kvstore->loop.counters.busy_ticks;
    server_set_time(&kvstore->server, now_ns, unix_ms);
}

/* ---- Event sources ----------------------------------------------------------------------------
 */

static bool arm_store(void *context)
{
    struct kvstore *kvstore = context;

    return store_arm(&kvstore->store);
}

static void disarm_store(void *context)
{
    struct kvstore *kvstore = context;

    store_disarm(&kvstore->store);
}

/* Last in each round: the log, and what it and the network made ready to be sent. */
static bool poll_server(void *context, time_ns_t now_ns)
{
    struct kvstore *kvstore = context;
    bool worked = store_poll(kvstore, now_ns);

    if (now_ns >= kvstore->upkeep_due) {
        kvstore_round_time(kvstore);
        kvstore->upkeep_due = server_upkeep(&kvstore->server);
    }
    return kvstore->server.ready_first != NULL ? clients_send_ready(kvstore) : worked;
}

static time_ns_t server_deadline(void *context)
{
    struct kvstore *kvstore = context;
    time_ns_t log_due = store_deadline(&kvstore->store);

    kvstore_round_time(kvstore);
    kvstore->upkeep_due = server_upkeep(&kvstore->server);
    return kvstore->upkeep_due < log_due ? kvstore->upkeep_due : log_due;
}

static bool poll_accounts(void *context, time_ns_t now_ns)
{
    return accounts_poll(context, now_ns);
}

static bool arm_accounts(void *context)
{
    return accounts_arm(context);
}

static void disarm_accounts(void *context)
{
    accounts_disarm(context);
}

static time_ns_t accounts_due(void *context)
{
    return accounts_deadline(context);
}

static void doorbell(void *context, cap_slot_t slot)
{
    (void)context;
    (void)notification_signal(slot);
}

/* Other cells' drives, where the manifest gives this one rings to ask about them. */
static status_t add_accounts(struct kvstore *kvstore)
{
    const struct event_source source = {
        .poll = poll_accounts,
        .arm = arm_accounts,
        .disarm = disarm_accounts,
        .deadline = accounts_due,
        .context = &kvstore->accounts,
    };
    status_t status = accounts_init(&kvstore->accounts, kvstore->info, doorbell);

    return status != STATUS_OK || kvstore->accounts.count == 0
               ? status
               : event_loop_add(&kvstore->loop, &source);
}

static status_t add_sources(struct kvstore *kvstore)
{
    const struct event_source server = {
        .poll = poll_server,
        .arm = arm_store,
        .disarm = disarm_store,
        .deadline = server_deadline,
        .context = kvstore,
    };
    status_t status = network_add(&kvstore->network, &kvstore->loop);

    if (status == STATUS_OK) {
        status = workers_add(kvstore);
    }
    if (status == STATUS_OK) {
        status = add_accounts(kvstore);
    }
    return status == STATUS_OK ? event_loop_add(&kvstore->loop, &server) : status;
}

/* ---- Start ------------------------------------------------------------------------------------
 */

static enum durability configured_durability(const struct cell_info *info)
{
    const char *text = config_text(info, "appendfsync", "always");

    if (strcmp(text, "everysec") == 0) {
        return DURABILITY_EVERYSEC;
    }
    return strcmp(text, "no") == 0 ? DURABILITY_NO : DURABILITY_ALWAYS;
}

static status_t start_server(struct kvstore *kvstore)
{
    const struct cell_info *info = kvstore->info;
    struct server_config config = {
        .max_memory_bytes = config_u64(info, "maxmemory", info->heap_bytes / 4 * 3),
        .tcp_port = (uint32_t)config_u64(info, "port", 6379),
        .durability = configured_durability(info),
        .os = "Hallows",
        .debug_command = config_bool(info, "debug_command", false),
    };

    if (!random_bytes(config.random, sizeof config.random)) {
        log_line("this CPU has no random numbers; keys of hashes come from the clock");
    }
    status_t status = server_init(&kvstore->server, kvstore->heap, &config, kvstore_now(kvstore));
    kvstore_tell_time(kvstore, kvstore_now(kvstore));
    return status;
}

static status_t start_listening(struct kvstore *kvstore)
{
    uint16_t http_port = (uint16_t)config_u64(kvstore->info, "http_port", 80);

    kvstore->web = (struct web_source){&kvstore->server, report_json,    report_html,
                                       report_storage,   report_netstat, kvstore};
    status_t status = clients_listen(kvstore, (uint16_t)kvstore->server.config.tcp_port);
    if (status == STATUS_OK && http_port != 0) {
        status = browsers_listen(kvstore, http_port);
    }
    if (status == STATUS_OK) {
        status = workers_listen(kvstore, (uint16_t)kvstore->server.config.tcp_port, http_port);
    }
    if (status != STATUS_OK) {
        log_line("listen: %s", status_text(status));
    }
    return status;
}

static status_t start(struct kvstore *kvstore)
{
    const struct cell_info *info = kvstore->info;
    struct network_request network = {
        .info = info,
        .buffers = NET_BUFFERS,
        .threads = info->thread_count,
        .connections = CONNECTIONS,
        .dma = &kvstore->dma,
        .memory = info->heap,
        .memory_bytes = info->heap_bytes,
    };

    dma_pool_init(&kvstore->dma, info);
    event_loop_init(&kvstore->loop, &info->time, CELL_SLOT_NOTIFICATION, network_window_ns(info));
    status_t status = network_open(&kvstore->network, &network);
    if (status == STATUS_OK) {
        status = workers_open(kvstore, &network);
    }
    if (status == STATUS_OK) {
        status = heap_init(&kvstore->heap, network.memory, network.memory_bytes);
    }
    if (status == STATUS_OK) {
        status = start_server(kvstore);
    }
    if (status == STATUS_OK) {
        status = store_open(kvstore);
    }
    if (status == STATUS_OK) {
        status = start_listening(kvstore);
    }
    return status == STATUS_OK ? add_sources(kvstore) : status;
}

/* Says once that the server can be reached. */
static void tell_ready(struct kvstore *kvstore)
{
    struct stack_interface interface;

    stack_interface(kvstore->network.stack, &interface);
    if (!interface.configured) {
        return;
    }
    ipv4_t address = interface.address;
    log_line("serving on %u.%u.%u.%u port %u", address >> 24, address >> 16 & 255,
             address >> 8 & 255, address & 255, kvstore->server.config.tcp_port);
    kvstore->ready = supervisor_ready() == STATUS_OK;
}

status_t cell_main(const struct cell_info *info)
{
    static struct kvstore kvstore;

    kvstore.info = info;
    status_t status = start(&kvstore);
    if (status != STATUS_OK) {
        return status;
    }
    workers_start(&kvstore);
    for (;;) {
        event_loop_round(&kvstore.loop);
        if (!kvstore.ready) {
            tell_ready(&kvstore);
        }
        if ((event_loop_take_events(&kvstore.loop) & CELL_EVENT_SHUTDOWN) != 0) {
            log_line("shutting down: flushing the log");
            store_close(&kvstore);
            workers_stop(&kvstore);
            network_close(&kvstore.network);
            supervisor_shutdown_done();
        }
    }
}
