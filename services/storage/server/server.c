// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/storage/server/server.h"

#include "lib/base/bytes.h"

/* What of a frame records can count on: the rest is headers, and blocks that are not full. */
#define FRAME_RECORD_BYTES (LOGLET_FRAME_BYTES - 16384u)

static size_t round_up(size_t bytes)
{
    return (bytes + 63u) & ~(size_t)63u;
}

/* ---- Start ------------------------------------------------------------------------------------
 */

size_t storage_server_memory_bytes(const struct storage_server_config *config)
{
    size_t bytes = round_up(sizeof(struct share)) + round_up(sizeof(struct streams)) +
                   round_up(loglet_device_bytes());

    for (uint32_t i = 0; i < config->grant_count; i++) {
        bytes += round_up(config->grants[i].ring->entries * sizeof(struct storage_waiting));
    }
    return bytes;
}

static bool grant_is_good(const struct storage_grant *grant)
{
    const struct cell_ring *ring = grant->ring;
    uint64_t pool_bytes = (uint64_t)ring->buffer_count * ring->buffer_bytes;

    return ring->role == CELL_RING_SERVER && ring->kind == SYSTEM_RING_LOG &&
           ring_entries_valid(ring->entries) && ring->pool_offset >= ring_bytes(ring->entries) &&
           ring->pool_offset <= ring->bytes && pool_bytes <= ring->bytes - ring->pool_offset &&
           (ring->pool_offset & (PAGE_BYTES - 1u)) == 0 && pool_bytes <= UINT32_MAX;
}

static status_t check_config(const struct storage_server_config *config)
{
    if (config->grant_count == 0 || config->grant_count > STORAGE_PORTS_MAX) {
        return STATUS_INVALID_ARGUMENT;
    }
    for (uint32_t i = 0; i < config->grant_count; i++) {
        if (!grant_is_good(&config->grants[i])) {
            return STATUS_INVALID_ARGUMENT;
        }
    }
    uint64_t readers = (uint64_t)config->grant_count * LOGLET_READ_BYTES;
    if (((uintptr_t)config->memory & 63u) != 0 ||
        config->memory_bytes < storage_server_memory_bytes(config) ||
        config->buffer_bytes < readers + LOGLET_BUFFER_BYTES_MIN) {
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

/* The ports, their rings closed until the loglets are there. */
static status_t make_ports(struct storage_server *server, uint8_t *memory)
{
    const struct storage_server_config *config = &server->config;

    for (uint32_t i = 0; i < config->grant_count; i++) {
        struct storage_port *port = &server->ports[i];
        const struct cell_ring *ring = config->grants[i].ring;
        port->grant = &config->grants[i];
        port->status = STATUS_AGAIN;
        port->pool = (uint8_t *)ring->address + ring->pool_offset;
        port->pool_bytes = (uint64_t)ring->buffer_count * ring->buffer_bytes;
        port->waiting = (struct storage_waiting *)(void *)memory;
        memory += round_up(ring->entries * sizeof(struct storage_waiting));
        port->read_buffer = (uint8_t *)config->buffers + (size_t)i * LOGLET_READ_BYTES;
        status_t status = ring_server_init(&port->ring, ring->address, ring->entries);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* The service's own requests (superblocks, recovery) are a tenant, too. */
static status_t make_share(struct storage_server *server)
{
    const struct share_contract own = {.iops = STORAGE_OWN_IOPS, .whole_drive = true};
    struct share_tenant *tenant;
    status_t status = share_init(server->share, &server->config.drive);

    if (status == STATUS_OK) {
        status = share_admit(server->share, &own, &tenant);
    }
    if (status == STATUS_OK) {
        streams_init(server->streams, server->share);
    }
    return status;
}

status_t storage_server_init(struct storage_server *server,
                             const struct storage_server_config *config, time_ns_t now_ns)
{
    status_t status = check_config(config);
    size_t readers = (size_t)config->grant_count * LOGLET_READ_BYTES;

    if (status != STATUS_OK) {
        return status;
    }
    memset(server, 0, sizeof *server);
    server->config = *config;
    uint8_t *memory = config->memory;
    server->share = (struct share *)(void *)memory;
    memory += round_up(sizeof(struct share));
    server->streams = (struct streams *)(void *)memory;
    memory += round_up(sizeof(struct streams));
    void *device = memory;
    memory += round_up(loglet_device_bytes());
    status = make_ports(server, memory);
    if (status == STATUS_OK) {
        status = make_share(server);
    }
    struct loglet_config loglets = {
        .block = &server->streams->block,
        .buffers = (uint8_t *)config->buffers + readers,
        .buffer_bytes = config->buffer_bytes - readers,
        .random = {config->random[0], config->random[1]},
        .flags = config->flags,
    };
    if (status == STATUS_OK) {
        status = loglet_device_open(device, &loglets, now_ns, &server->device);
    }
    server->state = STORAGE_OPENING;
    return status;
}

/* ---- Loglets by name --------------------------------------------------------------------------
 */

/* An earlier grant of the same log; NULL: this is the first. */
static struct storage_port *same_log(struct storage_server *server, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(server->config.grants[i].log, server->config.grants[index].log) == 0) {
            return &server->ports[i];
        }
    }
    return NULL;
}

/* A log that was there gets the capacity of its contract. One that holds more keeps what it has,
 * which is promised to it. */
static status_t set_capacity(struct storage_port *port)
{
    status_t status = loglet_resizing(port->log)
                          ? STATUS_OK
                          : loglet_resize(port->log, port->grant->capacity_bytes);

    if (status == STATUS_OK && loglet_resizing(port->log)) {
        return STATUS_AGAIN;
    }
    return status == STATUS_IN_USE ? STATUS_OK : status;
}

/* The contract first: a log that cannot be served is not made. AGAIN: the drive is at work. */
static status_t open_log(struct storage_server *server, uint32_t index)
{
    struct storage_port *port = &server->ports[index];
    const struct storage_grant *grant = &server->config.grants[index];
    const struct storage_port *first = same_log(server, index);
    status_t status;

    if (first != NULL) {
        port->log = first->log;
        return first->status;
    }
    if (server->tenants[index] == NULL) {
        struct share_contract contract = grant->contract;
        contract.whole_drive = true;
        status = share_admit(server->share, &contract, &server->tenants[index]);
        if (status != STATUS_OK) {
            return status;
        }
    }
    status = loglet_open(server->device, grant->log, grant->capacity_bytes, &port->log);
    if (status != STATUS_OK) {
        port->log = NULL;
        return status == STATUS_BUSY ? STATUS_AGAIN : status;
    }
    streams_assign(server->streams, loglet_placement(port->log), server->tenants[index]);
    status = loglet_state(port->log);
    return status == STATUS_OK ? set_capacity(port) : status;
}

static void divide_frames(struct storage_server *server)
{
    uint32_t logs = 0;

    for (uint32_t i = 0; i < server->config.grant_count; i++) {
        logs += server->ports[i].log != NULL && same_log(server, i) == NULL;
    }
    uint32_t each = loglet_device_frames(server->device) / (logs != 0 ? logs : 1u);
    /* A record may be begun with one frame less than `most` in use, and takes so many more. */
    uint32_t most = each / 2u;
    server->frames_most = most > 1u ? most : 1u;
    uint32_t record = most > 2u ? most - 2u : 1u;
    server->record_bytes_max = (uint64_t)record * FRAME_RECORD_BYTES;
}

static void open_logs(struct storage_server *server)
{
    while (server->opening < server->config.grant_count) {
        struct storage_port *port = &server->ports[server->opening];
        port->status = open_log(server, server->opening);
        if (port->status == STATUS_AGAIN) {
            return;
        }
        if (port->status != STATUS_OK) {
            port->log = NULL;
        }
        server->opening++;
    }
    divide_frames(server);
    for (uint32_t i = 0; i < server->config.grant_count; i++) {
        ring_server_start(&server->ports[i].ring);
        server->config.doorbell(server->config.context,
                                server->ports[i].grant->ring->doorbell_slot);
    }
    server->state = STORAGE_SERVING;
}

/* ---- The loop ---------------------------------------------------------------------------------
 */

static bool serve(struct storage_server *server, time_ns_t now_ns)
{
    uint32_t count = server->config.grant_count;
    bool worked = false;

    for (uint32_t i = 0; i < count; i++) {
        worked = storage_port_poll(server, &server->ports[i], now_ns) || worked;
        storage_port_commit(server, &server->ports[i], now_ns);
    }
    worked = loglet_device_poll(server->device, now_ns) != 0 || worked;
    for (uint32_t i = 0; i < count; i++) {
        worked = storage_port_complete(server, &server->ports[i], now_ns) || worked;
    }
    return worked;
}

bool storage_server_poll(struct storage_server *server, time_ns_t now_ns)
{
    enum storage_state before = server->state;
    bool worked = false;

    if (before == STORAGE_SERVING) {
        return serve(server, now_ns);
    }
    if (before == STORAGE_CLOSED || before == STORAGE_FAILED) {
        return false;
    }
    worked = loglet_device_poll(server->device, now_ns) != 0;
    status_t status = loglet_device_state(server->device);
    if (status == STATUS_OK && before == STORAGE_OPENING) {
        server->state = STORAGE_LOGS;
    } else if (status == STATUS_CLOSED) {
        server->state = STORAGE_CLOSED;
    } else if (status != STATUS_OK && status != STATUS_AGAIN) {
        server->state = STORAGE_FAILED;
        server->status = status;
    }
    if (server->state == STORAGE_LOGS) {
        open_logs(server);
    }
    return worked || server->state != before;
}

bool storage_server_arm(struct storage_server *server)
{
    struct block_device *block = &server->streams->block;

    if (server->state == STORAGE_SERVING) {
        for (uint32_t i = 0; i < server->config.grant_count; i++) {
            if (!storage_port_arm(&server->ports[i])) {
                while (i-- > 0) {
                    storage_port_disarm(&server->ports[i]);
                }
                return false;
            }
        }
    }
    if (block->ops->arm(block)) {
        return true;
    }
    for (uint32_t i = 0; i < server->config.grant_count && server->state == STORAGE_SERVING; i++) {
        storage_port_disarm(&server->ports[i]);
    }
    return false;
}

void storage_server_disarm(struct storage_server *server)
{
    struct block_device *block = &server->streams->block;

    for (uint32_t i = 0; i < server->config.grant_count && server->state == STORAGE_SERVING; i++) {
        storage_port_disarm(&server->ports[i]);
    }
    block->ops->disarm(block);
}

time_ns_t storage_server_deadline(struct storage_server *server)
{
    struct block_device *block = &server->streams->block;

    return block->ops->next_due(block);
}

void storage_server_account(const struct storage_server *server, const struct account *account)
{
    account_promises(account, server->share);
    account_print(account, ",\"contracts\":[");
    account_contract(account, "(service)", NULL, &server->share->tenants[0], 0);
    for (uint32_t i = 0; i < server->config.grant_count; i++) {
        const struct storage_grant *grant = &server->config.grants[i];
        if (server->tenants[i] != NULL) {
            account_print(account, ",");
            account_contract(account, grant->ring->name, grant->log, server->tenants[i],
                             grant->capacity_bytes);
        }
    }
    account_print(account, "]");
    loglet_account(server->device, account);
}

void storage_server_close(struct storage_server *server)
{
    if (server->state == STORAGE_SERVING) {
        for (uint32_t i = 0; i < server->config.grant_count; i++) {
            ring_server_close(&server->ports[i].ring);
            server->config.doorbell(server->config.context,
                                    server->ports[i].grant->ring->doorbell_slot);
        }
    }
    if (server->state != STORAGE_CLOSED && server->state != STORAGE_FAILED) {
        loglet_device_close(server->device);
        server->state = STORAGE_CLOSING;
    }
}
