// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Configuration (manifest): port (6379), http_port (80, 0: none), maxmemory (three quarters of the
 * heap), address ("dhcp", or A.B.C.D/PREFIX), gateway, host_name, format, appendfsync, unix_time.
 */
#include "apps/kvstore/cell.h"

#include "drivers/net/open.h"
#include "runtime/syscall.h"

#define PAUSE_NS 1000000u
#define NET_BUFFERS 2048u
#define CONNECTIONS 1024u
/* Empty rounds before the loop sleeps: a reply's next request often comes at once. */
#define SPIN_ROUNDS 64u

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

    server_set_time(&kvstore->server, now_ns, unix_ms);
}

/* ---- Network ----------------------------------------------------------------------------------
 */

static time_ns_t environment_now(void *context)
{
    return kvstore_now(context);
}

static void environment_relax(void *context)
{
    (void)context;
    (void)yield();
}

static void environment_doorbell(void *context, cap_slot_t slot)
{
    (void)context;
    (void)notification_signal(slot);
}

/* One decimal number below `limit`, moving *text past it; -1 if there is none. */
static int64_t take_number(const char **text, int64_t limit)
{
    int64_t value = 0;
    const char *at = *text;

    while (*at >= '0' && *at <= '9' && value < limit) {
        value = value * 10 + (*at++ - '0');
    }
    if (at == *text || value >= limit) {
        return -1;
    }
    *text = at;
    return value;
}

static bool parse_address(const char **text, ipv4_t *address)
{
    ipv4_t result = 0;

    for (uint32_t i = 0; i < 4; i++) {
        if (i != 0 && *(*text)++ != '.') {
            return false;
        }
        int64_t byte = take_number(text, 256);
        if (byte < 0) {
            return false;
        }
        result = result << 8 | (ipv4_t)byte;
    }
    *address = result;
    return true;
}

static status_t parse_network(const struct cell_info *info, struct stack_config *config)
{
    const char *address = config_text(info, "address", "dhcp");
    const char *gateway = config_text(info, "gateway", "");

    config->host_name = config_text(info, "host_name", "hallows");
    if (strcmp(address, "dhcp") == 0) {
        return STATUS_OK;
    }
    int64_t prefix = 24;
    bool good = parse_address(&address, &config->address);
    if (good && *address == '/') {
        address++;
        prefix = take_number(&address, 31);
    }
    good = good && *address == 0 && prefix > 0;
    if (good && *gateway != 0) {
        good = parse_address(&gateway, &config->gateway) && *gateway == 0;
    }
    if (!good) {
        log_line("config: address must be dhcp or A.B.C.D/PREFIX, gateway A.B.C.D");
        return STATUS_INVALID_ARGUMENT;
    }
    config->prefix_bits = (uint32_t)prefix;
    return STATUS_OK;
}

static status_t open_device(struct kvstore *kvstore)
{
    const struct cell_info *info = kvstore->info;
    struct netdev_open_request request = {
        .cell = info,
        .buffers = NET_BUFFERS,
        .memory_bytes = netdev_open_memory_bytes(info, NET_BUFFERS),
        .environment = {environment_now, environment_relax, environment_doorbell, kvstore},
    };
    uint64_t dma_bytes = netdev_open_dma_bytes(info, NET_BUFFERS);
    status_t status = STATUS_OK;

    request.memory = heap_allocate(kvstore->heap, request.memory_bytes + 64);
    if (request.memory == NULL) {
        return STATUS_NO_MEMORY;
    }
    request.memory = (void *)(((uintptr_t)request.memory + 63u) & ~(uintptr_t)63u);
    if (dma_bytes != 0) {
        status = dma_take(&kvstore->dma, (size_t)dma_bytes, &request.dma);
    }
    if (status == STATUS_OK) {
        status = netdev_open(&request, &kvstore->dev);
    }
    if (status != STATUS_OK) {
        log_line("network: %s", status_text(status));
    }
    return status;
}

static status_t start_stack(struct kvstore *kvstore)
{
    struct stack_config config = {.dev = kvstore->dev, .connections = CONNECTIONS};
    uint64_t secret[2];
    status_t status = parse_network(kvstore->info, &config);

    if (status != STATUS_OK) {
        return status;
    }
    (void)entropy_fill(secret, 2);
    memcpy(config.secret, secret, sizeof config.secret);
    size_t bytes = stack_memory_bytes(&config);
    uint8_t *memory = heap_allocate(kvstore->heap, bytes + 64);
    if (memory == NULL) {
        return STATUS_NO_MEMORY;
    }
    memory += 63u - ((uintptr_t)memory + 63u) % 64u;
    status = stack_init(&kvstore->stack, &config, memory, bytes, kvstore_now(kvstore));
    if (status != STATUS_OK) {
        log_line("network stack: %s", status_text(status));
    }
    return status;
}

/* ---- Event sources ----------------------------------------------------------------------------
 */

static bool poll_network(void *context, time_ns_t now_ns)
{
    struct kvstore *kvstore = context;

    kvstore_tell_time(kvstore, now_ns);
    bool worked = stack_poll(kvstore->stack, now_ns) != 0;
    (void)stack_tick(kvstore->stack, now_ns);
    return worked;
}

static bool arm_network(void *context)
{
    struct kvstore *kvstore = context;

    return kvstore->dev->ops->arm(kvstore->dev);
}

static void disarm_network(void *context)
{
    struct kvstore *kvstore = context;

    kvstore->dev->ops->disarm(kvstore->dev);
}

static time_ns_t network_deadline(void *context)
{
    struct kvstore *kvstore = context;

    return stack_tick(kvstore->stack, kvstore_now(kvstore));
}

static bool poll_store(void *context, time_ns_t now_ns)
{
    return store_poll(context, now_ns);
}

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

static time_ns_t deadline_of_store(void *context)
{
    struct kvstore *kvstore = context;

    return store_deadline(&kvstore->store);
}

/* Last in each round: sends what the others made ready. */
static bool poll_server(void *context, time_ns_t now_ns)
{
    struct kvstore *kvstore = context;

    kvstore->server.busy_ticks = kvstore->loop.counters.busy_ticks;
    if (now_ns >= kvstore->upkeep_due) {
        kvstore->upkeep_due = server_upkeep(&kvstore->server);
    }
    return clients_send_ready(kvstore);
}

static time_ns_t server_deadline(void *context)
{
    struct kvstore *kvstore = context;

    kvstore->upkeep_due = server_upkeep(&kvstore->server);
    return kvstore->upkeep_due;
}

static status_t add_sources(struct kvstore *kvstore)
{
    const struct event_source sources[] = {
        {poll_network, arm_network, disarm_network, network_deadline, kvstore},
        {poll_store, arm_store, disarm_store, deadline_of_store, kvstore},
        {poll_server, NULL, NULL, server_deadline, kvstore},
    };

    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        status_t status = event_loop_add(&kvstore->loop, &sources[i]);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
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
    };

    if (!entropy_fill(config.random, sizeof config.random / sizeof config.random[0])) {
        log_line("this CPU has no random numbers; keys of hashes come from the clock");
    }
    status_t status = server_init(&kvstore->server, kvstore->heap, &config, kvstore_now(kvstore));
    kvstore_tell_time(kvstore, kvstore_now(kvstore));
    return status;
}

static status_t start_listening(struct kvstore *kvstore)
{
    uint16_t http_port = (uint16_t)config_u64(kvstore->info, "http_port", 80);

    kvstore->web = (struct web_source){&kvstore->server, report_json, report_html, kvstore};
    status_t status = clients_listen(kvstore, (uint16_t)kvstore->server.config.tcp_port);
    if (status == STATUS_OK && http_port != 0) {
        status = browsers_listen(kvstore, http_port);
    }
    if (status != STATUS_OK) {
        log_line("listen: %s", status_text(status));
    }
    return status;
}

static status_t start(struct kvstore *kvstore)
{
    const struct cell_info *info = kvstore->info;
    status_t status = heap_init(&kvstore->heap, info->heap, info->heap_bytes);

    dma_pool_init(&kvstore->dma, info);
    event_loop_init(&kvstore->loop, &info->time, CELL_SLOT_NOTIFICATION, SPIN_ROUNDS);
    if (status == STATUS_OK) {
        status = start_server(kvstore);
    }
    if (status == STATUS_OK) {
        status = open_device(kvstore);
    }
    if (status == STATUS_OK) {
        status = store_open(kvstore);
    }
    if (status == STATUS_OK) {
        status = start_stack(kvstore);
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

    stack_interface(kvstore->stack, &interface);
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
    for (;;) {
        event_loop_round(&kvstore.loop);
        if (!kvstore.ready) {
            tell_ready(&kvstore);
        }
        if ((event_loop_take_events(&kvstore.loop) & CELL_EVENT_SHUTDOWN) != 0) {
            log_line("shutting down: flushing the log");
            store_close(&kvstore);
            supervisor_shutdown_done();
        }
    }
}
