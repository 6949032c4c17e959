// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: everything that the NVMe driver does with a drive, on the drive it is given. It tells
 * what the drive has, tries it, says FAILED for what is not as it should be, and ends with "drives
 * done". What is expected comes from the manifest:
 *
 *   queues = 2        ports on the first namespace, each with a vector of its own
 *   active, open = N  limits of zones of the zoned namespaces
 *   memory = true     uses the controller's memory buffer for queues and data
 *   workers (of [cell])  nothing but this: all threads use the first namespace at once
 *   virtual = N       brings so many virtual functions online, says that it is ready, and stays
 */
#include "drivers/nvme/nvme.h"
#include "lib/base/bytes.h"
#include "runtime/cell.h"
#include "runtime/dma.h"
#include "runtime/syscall.h"
#include "tests/cells/drives/together.h"

#define PORTS 6u
#define WAIT_NS (120ull * 1000 * 1000 * 1000)
#define STAY_NS 100000000ull
#define BUFFER_BYTES (64u << 10)

static struct nvme nvme;
static struct nvme_port more[PORTS];
static struct nvme_port_config more_configs[PORTS];
static struct dma_pool pool;
static struct dma_region buffer;
static const struct cell_info *cell;
static uint32_t failures;

static time_ns_t now_ns(void)
{
    return clock_ns(&cell->time);
}

#define EXPECT(condition) expect((condition), #condition, __LINE__)

static bool expect(bool condition, const char *what, uint32_t line)
{
    if (!condition) {
        failures++;
        log_line("FAILED %s (line %u)", what, line);
    }
    return condition;
}

/* Polls until the controller is in that state. */
static status_t wait_for_state(enum nvme_state wanted)
{
    for (time_ns_t limit = now_ns() + WAIT_NS; now_ns() < limit;) {
        struct block_completion none;

        (void)nvme_poll(&nvme.port, &none, 1, now_ns());
        if (nvme_state(&nvme) == wanted) {
            return STATUS_OK;
        }
        if (nvme_state(&nvme) == NVME_DEAD) {
            return nvme.last_error;
        }
    }
    return STATUS_TIMED_OUT;
}

/* One request to its completion, asleep in between where the port can. */
static struct block_completion ask_for(struct nvme_port *port, struct block_request request)
{
    struct block_completion done = {.status = STATUS_TIMED_OUT};
    time_ns_t limit = now_ns() + WAIT_NS;

    request.cookie = 11;
    if (port->block.ops->submit(&port->block, &request, 1, now_ns()) != 1) {
        done.status = STATUS_BUSY;
        return done;
    }
    while (port->block.ops->poll(&port->block, &done, 1, now_ns()) == 0 && now_ns() < limit) {
        uint64_t word;

        if (port->block.ops->arm(&port->block)) {
            (void)notification_wait(CELL_SLOT_NOTIFICATION, nvme_next_due(port), &word);
            port->block.ops->disarm(&port->block);
        }
    }
    return done;
}

static struct block_completion ask(struct nvme_port *port, uint8_t operation, uint64_t block,
                                   uint32_t blocks, void *data)
{
    return ask_for(port,
                   (struct block_request){
                       .block = block, .blocks = blocks, .operation = operation, .data = data});
}

static void fill(uint8_t *to, size_t bytes, uint32_t seed)
{
    for (size_t i = 0; i < bytes; i++) {
        to[i] = (uint8_t)(seed * 31u + i * 7u + (i >> 9));
    }
}

static bool holds(const uint8_t *at, size_t bytes, uint32_t seed)
{
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] != (uint8_t)(seed * 31u + i * 7u + (i >> 9))) {
            return false;
        }
    }
    return true;
}

/* ---- What is tried ---------------------------------------------------------------------------*/

static void describe(const struct nvme_port *port)
{
    const struct block_device *block = &port->block;

    log_line("namespace %u: %lu blocks of %u, %u zones, %u active, %u open", port->namespace_id,
             block->block_count, block->block_bytes, block->zone_count, block->max_active_zones,
             block->max_open_zones);
    log_line("namespace %u: copy %u x %u, placements %u, atomic %u", port->namespace_id,
             block->max_copy_ranges, block->max_copy_range_blocks, block->placements,
             block->atomic_blocks);
}

/* Content of its own in the first 16 blocks, or at the start of the first zone. */
static void write_own(struct nvme_port *port)
{
    const struct block_device *block = &port->block;
    bool zoned = (block->flags & BLOCK_DEVICE_ZONED) != 0;

    if (zoned) {
        EXPECT(ask(port, BLOCK_ZONE_RESET, 0, 0, NULL).status == STATUS_OK);
    }
    fill(buffer.base, 16u * block->block_bytes, port->namespace_id);
    EXPECT(ask(port, zoned ? BLOCK_ZONE_APPEND : BLOCK_WRITE, 0, 16, buffer.base).status ==
           STATUS_OK);
}

static void read_own(struct nvme_port *port)
{
    uint32_t bytes = 16u * port->block.block_bytes;

    memset(buffer.base, 0, bytes);
    EXPECT(ask(port, BLOCK_READ, 0, 16, buffer.base).status == STATUS_OK);
    EXPECT(holds(buffer.base, bytes, port->namespace_id));
    EXPECT(ask(port, BLOCK_READ, port->block.block_count, 1, buffer.base).status ==
           STATUS_INVALID_ARGUMENT);
}

static void try_copy(struct nvme_port *port)
{
    const struct block_device *block = &port->block;
    struct block_range ranges[2] = {{8, 8, 0}, {0, 8, 0}};
    uint32_t half = 8u * block->block_bytes;
    struct block_request request = {
        .operation = BLOCK_COPY, .block = 64, .blocks = 16, .pieces = 2, .data = ranges};

    if ((block->flags & BLOCK_DEVICE_COPY) == 0 || (block->flags & BLOCK_DEVICE_ZONED) != 0) {
        return;
    }
    EXPECT(ask_for(port, request).status == STATUS_OK);
    fill(buffer.base + 2u * half, 2u * half, port->namespace_id);
    EXPECT(ask(port, BLOCK_READ, 64, 16, buffer.base).status == STATUS_OK);
    EXPECT(memcmp(buffer.base, buffer.base + 3u * half, half) == 0);
    EXPECT(memcmp(buffer.base + half, buffer.base + 2u * half, half) == 0);
    log_line("copied in namespace %u", port->namespace_id);
}

static void try_placements(struct nvme_port *port)
{
    uint32_t bytes = port->block.block_bytes;

    for (uint32_t i = 0; i < port->block.placements; i++) {
        struct block_request request = {.operation = BLOCK_WRITE,
                                        .block = 200u + i,
                                        .blocks = 1,
                                        .flags = BLOCK_PLACED | BLOCK_FUA,
                                        .placement = (uint8_t)i,
                                        .data = buffer.base};
        fill(buffer.base, bytes, 90u + i);
        EXPECT(ask_for(port, request).status == STATUS_OK);
        EXPECT(ask(port, BLOCK_READ, 200u + i, 1, buffer.base).status == STATUS_OK);
        EXPECT(holds(buffer.base, bytes, 90u + i));
    }
    if (port->block.placements != 0) {
        log_line("placed with %u handles", port->block.placements);
    }
}

/* Data in the controller's own memory: written from there, read into it, one page and many. */
static void try_memory(struct nvme_port *port)
{
    uint32_t most = nvme.memory_bytes < 2u * BUFFER_BYTES ? 0 : BUFFER_BYTES;

    for (uint32_t bytes = PAGE_BYTES; bytes <= most; bytes *= 4u) {
        uint32_t blocks = bytes >> port->block.block_shift;
        uint8_t *from = nvme.memory + 512u;
        uint8_t *to = nvme.memory + BUFFER_BYTES;
        fill(from, bytes, bytes >> 8);
        EXPECT(ask(port, BLOCK_WRITE, 4096, blocks, from).status == STATUS_OK);
        EXPECT(ask(port, BLOCK_READ, 4096, blocks, to).status == STATUS_OK);
        EXPECT(holds(to, bytes, bytes >> 8));
        EXPECT(ask(port, BLOCK_READ, 4096, blocks, buffer.base).status == STATUS_OK);
        EXPECT(holds(buffer.base, bytes, bytes >> 8));
    }
    if (most != 0) {
        EXPECT(ask(port, BLOCK_READ, 0, 2, nvme.memory + nvme.memory_bytes - 512u).status ==
               STATUS_INVALID_ARGUMENT);
        log_line("queues and %lu KiB of data in the controller", nvme.memory_bytes >> 10);
    }
}

static struct block_completion append(struct nvme_port *port, uint32_t zone)
{
    return ask(port, BLOCK_ZONE_APPEND, zone * port->block.zone_blocks, 1, buffer.base);
}

static struct block_completion to_zone(struct nvme_port *port, uint8_t operation, uint32_t zone)
{
    return ask(port, operation, zone * port->block.zone_blocks, 0, NULL);
}

static void try_zone_limits(struct nvme_port *port, uint32_t active, uint32_t open)
{
    if ((port->block.flags & BLOCK_DEVICE_ZONED) == 0 || active == 0) {
        return;
    }
    EXPECT(port->block.max_active_zones == active);
    EXPECT(port->block.max_open_zones == open);
    for (uint32_t zone = 0; zone < port->block.zone_count; zone++) {
        EXPECT(to_zone(port, BLOCK_ZONE_RESET, zone).status == STATUS_OK);
    }
    for (uint32_t zone = 0; zone < active; zone++) {
        EXPECT(append(port, zone).status == STATUS_OK);
    }
    EXPECT(append(port, active).status == STATUS_FULL);
    EXPECT(to_zone(port, BLOCK_ZONE_OPEN, active).status == STATUS_FULL);
    EXPECT(to_zone(port, BLOCK_ZONE_FINISH, 0).status == STATUS_OK);
    EXPECT(append(port, active).status == STATUS_OK);
    EXPECT(append(port, 0).status == STATUS_FULL); /* it is full */
    for (uint32_t zone = 1; zone <= active; zone++) {
        EXPECT(to_zone(port, BLOCK_ZONE_CLOSE, zone).status == STATUS_OK);
    }
    for (uint32_t zone = 1; zone <= open; zone++) {
        EXPECT(to_zone(port, BLOCK_ZONE_OPEN, zone).status == STATUS_OK);
    }
    EXPECT(to_zone(port, BLOCK_ZONE_OPEN, open + 1u).status == STATUS_FULL);
    EXPECT(to_zone(port, BLOCK_ZONE_RESET, 1).status == STATUS_OK);
    EXPECT(to_zone(port, BLOCK_ZONE_OPEN, open + 1u).status == STATUS_OK);
    struct block_completion done = ask(port, BLOCK_ZONE_REPORT, 0, active + 1u, buffer.base);
    const struct block_zone *zones = (const struct block_zone *)(const void *)buffer.base;
    EXPECT(done.status == STATUS_OK && done.block == active + 1u);
    EXPECT(zones[0].state == BLOCK_ZONE_FULL);
    EXPECT(zones[1].state == BLOCK_ZONE_EMPTY);
    EXPECT(zones[open + 1u].state == BLOCK_ZONE_OPEN_STATE);
    EXPECT(zones[active].state == BLOCK_ZONE_CLOSED && zones[active].written_blocks == 1);
    log_line("zone limits hold in namespace %u", port->namespace_id);
}

/* ---- All -------------------------------------------------------------------------------------*/

static status_t start(struct nvme_config *config, uint32_t count)
{
    config->more_ports = more_configs;
    config->more_count = count;
    status_t status = nvme_start(&nvme, config, now_ns());

    return status == STATUS_OK ? wait_for_state(NVME_READY) : status;
}

static void add_port(uint32_t *count, uint32_t namespace_id, uint32_t vector, bool own_thread)
{
    struct nvme_port_config *config = &more_configs[*count];

    if (*count == PORTS) {
        return;
    }
    *config = (struct nvme_port_config){
        .port = &more[*count], .namespace_id = namespace_id, .own_thread = own_thread};
    if (vector != 0) {
        EXPECT(nvme_vector_from_cell(&config->vector, &cell->devices[0], vector) == STATUS_OK);
    }
    EXPECT(dma_take(&pool, NVME_PORT_MEMORY_BYTES, &config->dma) == STATUS_OK);
    (*count)++;
}

/* Each of the controller's ports in turn. */
static void try_ports(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        describe(nvme.ports[i]);
        write_own(nvme.ports[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        read_own(nvme.ports[i]);
        try_copy(nvme.ports[i]);
        try_placements(nvme.ports[i]);
        try_memory(nvme.ports[i]);
        try_zone_limits(nvme.ports[i], (uint32_t)config_u64(cell, "active", 0),
                        (uint32_t)config_u64(cell, "open", 0));
    }
}

static status_t run(void)
{
    struct nvme_config config = {0};
    uint32_t count = 0;
    uint32_t queues = (uint32_t)config_u64(cell, "queues", 1);
    status_t status = nvme_config_from_cell(&config, &cell->devices[0]);

    dma_pool_init(&pool, cell);
    config.data = pool.all;
    config.controller_memory = config_bool(cell, "memory", false);
    config.virtual_functions = (uint32_t)config_u64(cell, "virtual", 0);
    if (status == STATUS_OK) {
        status = dma_take(&pool, NVME_QUEUE_MEMORY_BYTES, &config.dma);
    }
    if (status == STATUS_OK) {
        status = dma_take(&pool, BUFFER_BYTES * 2u, &buffer);
    }
    if (status == STATUS_OK) {
        status = start(&config, 0); /* to see the namespaces */
    }
    if (status != STATUS_OK) {
        return status;
    }
    bool together = cell->thread_count > 1u;
    for (uint32_t i = 1; i < (together ? cell->thread_count : queues); i++) {
        add_port(&count, nvme.namespaces[0].id, i, together);
    }
    for (uint32_t i = 1; i < nvme.namespace_count && !together; i++) {
        add_port(&count, nvme.namespaces[i].id, 0, false);
    }
    log_line("%s: %u namespaces, %u ports", nvme.model, nvme.namespace_count, count + 1u);
    nvme_stop(&nvme, now_ns());
    status = wait_for_state(NVME_STOPPED);
    status = status == STATUS_OK ? start(&config, count) : status;
    if (status == STATUS_OK && together) {
        EXPECT(together_run(cell, nvme.ports, buffer.base) == 0);
    } else if (status == STATUS_OK) {
        try_ports(count + 1u);
    }
    struct nvme_counters sum;
    nvme_count_all(&nvme, &sum);
    EXPECT(sum.violations == 0 && sum.timeouts == 0 && sum.resets == 0);
    if (config.virtual_functions != 0) {
        return status; /* without it they would go offline */
    }
    nvme_stop(&nvme, now_ns());
    return status == STATUS_OK ? wait_for_state(NVME_STOPPED) : status;
}

/* The physical function goes on while others use the virtual ones. */
static void stay(void)
{
    for (;;) {
        uint64_t word;
        struct block_completion none;

        (void)notification_wait(CELL_SLOT_NOTIFICATION, now_ns() + STAY_NS, &word);
        (void)nvme_poll(&nvme.port, &none, 1, now_ns());
    }
}

status_t cell_main(const struct cell_info *info)
{
    cell = info;
    status_t status = run();
    EXPECT(status == STATUS_OK);
    log_line("drives done: %s, %u failed", status_text(status), failures);
    if (status == STATUS_OK && nvme.config.virtual_functions != 0) {
        EXPECT(supervisor_ready() == STATUS_OK);
        stay();
    }
    return STATUS_OK;
}
