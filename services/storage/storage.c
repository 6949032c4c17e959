// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The storage service: drives one NVMe drive and hands its loglets to other cells, each over the
 * ring that system.toml's [loglet.NAME] makes. Its settings, written by the image tool:
 *
 *   contracts, contract.NAME.*, drive.*   as in lib/block/contract.h
 *   loglet.NAME.rights=N                  enum ring_log_rights
 *   loglet.NAME.of=OTHER                  the same log as that one's
 *   format=true                           overwrite a drive that holds something else, at the first
 *                                         start only
 */
#include "drivers/nvme/nvme.h"
#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "lib/block/zones.h"
#include "lib/config/config.h"
#include "runtime/cell.h"
#include "runtime/dma.h"
#include "runtime/event_loop.h"
#include "runtime/random.h"
#include "runtime/syscall.h"
#include "services/storage/server/server.h"

#define START_NS (120ull * 1000 * 1000 * 1000)
#define CLOSE_NS (20ull * 1000 * 1000 * 1000)
#define POLL_NS 20000u /* longer, and clients on the same CPU would wait */

struct storage {
    const struct cell_info *info;
    struct dma_pool dma;
    struct dma_region pools[STORAGE_PORTS_MAX]; /* of the rings, as the drive sees them */
    struct nvme nvme;
    struct nvme_port zones_port; /* through which zones are asked for */
    struct zones zones;
    struct storage_server server;
    struct storage_grant grants[STORAGE_PORTS_MAX];
    uint32_t grant_count;
};

static struct storage storage;

static time_ns_t now_ns(void)
{
    return clock_ns(&storage.info->time);
}

static void doorbell(void *context, cap_slot_t slot)
{
    (void)context;
    (void)notification_signal(slot);
}

/* ---- Grants -----------------------------------------------------------------------------------
 */

static const char *setting(const char *name, const char *key)
{
    char whole[64];

    (void)format_text(whole, sizeof whole, "loglet.%s.%s", name, key);
    return config_find(storage.info->config, storage.info->config_bytes, whole);
}

static const struct cell_ring *find_ring(const char *name)
{
    for (uint32_t i = 0; i < storage.info->ring_count; i++) {
        const struct cell_ring *ring = &storage.info->rings[i];
        if (ring->kind == SYSTEM_RING_LOG && ring->role == CELL_RING_SERVER &&
            strcmp(ring->name, name) == 0) {
            return ring;
        }
    }
    return NULL;
}

static status_t read_grant(uint32_t index)
{
    const struct cell_info *info = storage.info;
    struct storage_grant *grant = &storage.grants[index];
    struct contract contract;
    uint64_t rights = 0;
    status_t status = contract_read(info->config, info->config_bytes, index,
                                    &storage.nvme.port.block, 0, &contract);

    if (status != STATUS_OK) {
        return status;
    }
    const char *of = setting(contract.name, "of");
    const char *text = setting(contract.name, "rights");
    if (text == NULL || config_parse_u64(text, &rights) != STATUS_OK ||
        (of != NULL && strnlen(of, CONTRACT_NAME_BYTES) == CONTRACT_NAME_BYTES)) {
        return STATUS_INVALID_ARGUMENT;
    }
    *grant = (struct storage_grant){
        .ring = find_ring(contract.name),
        .rights = (uint32_t)rights,
        .contract = contract.share,
        .capacity_bytes = contract.share.blocks << storage.nvme.port.block.block_shift,
    };
    const char *name = of != NULL ? of : contract.name;
    memcpy(grant->log, name, strlen(name));
    return grant->ring != NULL ? STATUS_OK : STATUS_NOT_FOUND;
}

/* ---- The drive --------------------------------------------------------------------------------
 */

/* A queue pair of its own for questions about zones; before the drive is started. */
static status_t zones_port(struct nvme_port_config *config)
{
    struct dma_region buffer;
    status_t status = dma_take(&storage.dma, BLOCK_ZONE_REPORT_BYTES, &buffer);

    *config = (struct nvme_port_config){.port = &storage.zones_port};
    if (status == STATUS_OK) {
        storage.zones = (struct zones){.block = &storage.zones_port.block, .buffer = buffer.base};
        status = dma_take(&storage.dma, NVME_PORT_MEMORY_BYTES, &config->dma);
    }
    return status;
}

static status_t start_drive(void)
{
    const struct cell_info *info = storage.info;
    struct nvme_config config = {0};
    struct nvme_port_config zones_config;
    const struct cell_device *device = NULL;

    for (uint32_t i = 0; i < info->device_count && device == NULL; i++) {
        device = info->devices[i].kind == SYSTEM_DEVICE_NVME ? &info->devices[i] : NULL;
    }
    if (device == NULL) {
        log_line("the manifest gives this cell no drive");
        return STATUS_NOT_FOUND;
    }
    status_t status = nvme_config_from_cell(&config, device);
    if (status != STATUS_OK && status != STATUS_UNSUPPORTED) {
        return status;
    }
    for (uint32_t i = 0; i < info->ring_count && i < STORAGE_PORTS_MAX; i++) {
        const struct cell_ring *ring = &info->rings[i];
        uint64_t bytes = (uint64_t)ring->buffer_count * ring->buffer_bytes;
        storage.pools[i] = (struct dma_region){(uint8_t *)ring->address + ring->pool_offset,
                                               bytes & ~(uint64_t)(PAGE_BYTES - 1u),
                                               ring->pool_page_device_address};
        config.more_data_count = i + 1u;
    }
    config.more_data = storage.pools;
    config.data = storage.dma.all;
    config.more_ports = &zones_config;
    config.more_count = 1;
    status = zones_port(&zones_config);
    if (status == STATUS_OK) {
        status = dma_take(&storage.dma, NVME_QUEUE_MEMORY_BYTES, &config.dma);
    }
    if (status == STATUS_OK) {
        status = nvme_start(&storage.nvme, &config, now_ns());
    }
    for (time_ns_t limit = now_ns() + START_NS; status == STATUS_OK && now_ns() < limit;) {
        struct block_completion none;
        (void)nvme_poll(&storage.nvme.port, &none, 1, now_ns());
        if (nvme_state(&storage.nvme) == NVME_READY) {
            return STATUS_OK;
        }
        status = nvme_state(&storage.nvme) == NVME_DEAD ? storage.nvme.last_error : STATUS_OK;
        (void)yield();
    }
    log_line("drive %s: %s", device->name, status_text(status));
    return status == STATUS_OK ? STATUS_TIMED_OUT : status;
}

/* Declared, or measured by reading: the drive may hold logs, so nothing is written for that. The
 * memory is not taken: whoever takes it next gets it. */
static status_t describe(struct share_drive *drive)
{
    const struct cell_info *info = storage.info;
    size_t used = storage.dma.used_bytes;
    status_t status = contract_drive(info->config, info->config_bytes, drive);
    struct measure measure;

    if (status == STATUS_NOT_FOUND) {
        if (storage.dma.all.bytes - used < (size_t)MEASURE_DEPTH * MEASURE_BYTES) {
            return STATUS_NO_MEMORY;
        }
        status = measure_start(&measure, &storage.nvme.port.block, storage.dma.all.base + used, 0,
                               0, now_ns());
        if (status == STATUS_OK) {
            do {
                status = measure_poll(&measure, now_ns());
            } while (status == STATUS_AGAIN);
        }
        if (status == STATUS_OK) {
            *drive = measure.result;
        }
        log_line("drive measured: %u at a time, a read takes %u ns and %u ps a byte", drive->units,
                 drive->read_ns, drive->read_byte_ps);
    }
    drive->block = &storage.nvme.port.block;
    return status;
}

/* For whoever asks; what the drive is asked now is for whoever asks next. */
static void tell_account(void *context, const struct account *account)
{
    (void)context;
    account_print(account, "{\"cell\":");
    account_text(account, storage.info->name);
    nvme_account(&storage.nvme, account);
    account_zones(account, &storage.zones);
    storage_server_account(&storage.server, account);
    account_print(account, "}");
    (void)nvme_ask(&storage.nvme, now_ns());
    zones_look(&storage.zones, now_ns());
}

static status_t start_server(void)
{
    const struct cell_info *info = storage.info;
    struct storage_server_config config = {
        .grants = storage.grants,
        .grant_count = storage.grant_count,
        .memory = info->heap,
        .memory_bytes = info->heap_bytes,
        .doorbell = doorbell,
        .account = tell_account,
    };
    struct dma_region buffers;
    status_t status = describe(&config.drive);

    if (status == STATUS_OK) {
        status = dma_take(&storage.dma, storage.dma.all.bytes - storage.dma.used_bytes, &buffers);
    }
    if (status != STATUS_OK) {
        return status;
    }
    config.buffers = buffers.base;
    config.buffer_bytes = buffers.bytes;
    /* Once: what was acknowledged since must survive a restart of the cell. */
    config.flags = info->generation == 0 && config_bool(info, "format", false) ? LOGLET_FORMAT : 0;
    (void)random_bytes(config.random, sizeof config.random);
    status = storage_server_init(&storage.server, &config, now_ns());
    for (time_ns_t limit = now_ns() + START_NS; status == STATUS_OK && now_ns() < limit;) {
        if (!storage_server_poll(&storage.server, now_ns())) {
            (void)yield();
        }
        if (storage.server.state == STORAGE_SERVING) {
            return STATUS_OK;
        }
        status = storage.server.state == STORAGE_FAILED ? storage.server.status : STATUS_OK;
    }
    if (storage.server.device != NULL) {
        log_line("the drive holds %s", loglet_device_seen(storage.server.device));
    }
    return status == STATUS_OK ? STATUS_TIMED_OUT : status;
}

static status_t start(void)
{
    const struct cell_info *info = storage.info;
    uint32_t count = contract_count(info->config, info->config_bytes);
    status_t status = start_drive();

    storage.grant_count = count < STORAGE_PORTS_MAX ? count : STORAGE_PORTS_MAX;
    for (uint32_t i = 0; i < storage.grant_count && status == STATUS_OK; i++) {
        status = read_grant(i);
    }
    if (status == STATUS_OK) {
        status = start_server();
    }
    for (uint32_t i = 0; i < storage.grant_count && status == STATUS_OK; i++) {
        const struct storage_port *port = &storage.server.ports[i];
        log_line("loglet %s: %s, %lu MiB", port->grant->ring->name, status_text(port->status),
                 port->log != NULL ? loglet_capacity_bytes(port->log) >> 20 : 0);
    }
    return status;
}

/* ---- Running ----------------------------------------------------------------------------------
 */

static bool poll(void *context, time_ns_t now)
{
    return storage_server_poll(context, now);
}

static bool arm(void *context)
{
    return storage_server_arm(context);
}

static void disarm(void *context)
{
    storage_server_disarm(context);
}

static time_ns_t deadline(void *context)
{
    return storage_server_deadline(context);
}

static void stop(void)
{
    time_ns_t limit = now_ns() + CLOSE_NS;

    storage_server_close(&storage.server);
    while (storage.server.state == STORAGE_CLOSING && now_ns() < limit) {
        (void)storage_server_poll(&storage.server, now_ns());
        (void)yield();
    }
    nvme_stop(&storage.nvme, now_ns());
    while (nvme_state(&storage.nvme) != NVME_STOPPED && nvme_state(&storage.nvme) != NVME_DEAD &&
           now_ns() < limit) {
        struct block_completion none;
        (void)nvme_poll(&storage.nvme.port, &none, 1, now_ns());
        (void)nvme_poll(&storage.zones_port, &none, 1, now_ns());
        (void)yield();
    }
    for (uint32_t i = 0; i < storage.grant_count; i++) {
        const struct storage_counters *told = &storage.server.ports[i].counters;
        log_line("%s: %lu appends, %lu reads, %lu refused, %lu violations",
                 storage.grants[i].ring->name, told->appends, told->reads, told->refused,
                 told->violations);
    }
}

status_t cell_main(const struct cell_info *info)
{
    struct event_loop loop;

    storage.info = info;
    dma_pool_init(&storage.dma, info);
    status_t status = start();
    if (status != STATUS_OK) {
        log_line("cannot start: %s", status_text(status));
        return status;
    }
    event_loop_init(&loop, &info->time, CELL_SLOT_NOTIFICATION, POLL_NS);
    status = event_loop_add(&loop, &(struct event_source){
                                       .poll = poll,
                                       .arm = arm,
                                       .disarm = disarm,
                                       .deadline = deadline,
                                       .context = &storage.server,
                                   });
    if (status != STATUS_OK || (status = supervisor_ready()) != STATUS_OK) {
        return status;
    }
    while ((event_loop_take_events(&loop) & CELL_EVENT_SHUTDOWN) == 0 &&
           storage.server.state == STORAGE_SERVING) {
        event_loop_round(&loop);
        if (loglet_device_state(storage.server.device) != STATUS_OK) {
            break;
        }
    }
    if (storage.server.state == STORAGE_SERVING &&
        loglet_device_state(storage.server.device) != STATUS_OK) {
        return loglet_device_state(storage.server.device); /* started anew by its contract */
    }
    stop();
    supervisor_shutdown_done();
}
