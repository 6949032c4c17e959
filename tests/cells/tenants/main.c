// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: tenants with contracts on one real drive. Each contract of the manifest is admitted to
 * the drive, declared or measured now; then each tenant puts its load on it for `run_ms`:
 *
 *   load.NAME.write=true      writes (on a zoned drive appends to any of `zones` zones), else reads
 *   load.NAME.depth=N         requests under way
 *   load.NAME.bytes=N         of each
 *   load.NAME.pause_us=N      at most one in so long; 0: as many as go
 *   load.NAME.alone=true      also runs once without the others
 *   unmanaged=true            everything goes to the drive at once, as without a scheduler
 *   paced=true                the drive takes the declared time, on the guest's clock (paced.h)
 *
 * It prints what each got, and Jain's index over the bytes.
 */
#include "drivers/nvme/nvme.h"
#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "lib/block/contract.h"
#include "lib/config/config.h"
#include "runtime/cell.h"
#include "runtime/dma.h"
#include "runtime/syscall.h"
#include "tests/cells/tenants/paced.h"

#define WAIT_NS (120ull * 1000 * 1000 * 1000)
#define DATA_BYTES (128u << 10)
#define LATENCIES 65536u
#define UNMANAGED_UNITS 60u
#define MS 1000000ul

struct load {
    struct share_tenant *tenant;
    const char *name;
    bool write;
    uint32_t depth, bytes;
    time_ns_t pause_ns, next_ns;
    uint32_t flying, number;
    uint64_t done, done_bytes;
    time_ns_t begun[SHARE_QUEUE];
    uint32_t latency_first, latency_count;
};

static struct nvme nvme;
static struct share share;
static struct contract contracts[SHARE_TENANTS_MAX];
static struct load loads[SHARE_TENANTS_MAX];
static struct measure measure;
static struct paced paced;
static uint32_t latencies_ns[LATENCIES];
static uint32_t zones, next_zone;
static uint8_t *data;
static const struct cell_info *cell;

static time_ns_t now_ns(void)
{
    return clock_ns(&cell->time);
}

static uint64_t setting(const char *name, const char *key, uint64_t fallback)
{
    char whole[64];

    (void)format_text(whole, sizeof whole, "load.%s.%s", name, key);
    const char *text = config_find(cell->config, cell->config_bytes, whole);
    uint64_t value = fallback;
    bool flag;
    if (text != NULL && config_parse_bool(text, &flag) == STATUS_OK && text[0] >= 'a') {
        return flag;
    }
    return text != NULL && config_parse_u64(text, &value) != STATUS_OK ? fallback : value;
}

static status_t start_drive(void)
{
    struct nvme_config config = {0};
    struct dma_pool pool;
    struct dma_region region;
    status_t status = nvme_config_from_cell(&config, &cell->devices[0]);

    dma_pool_init(&pool, cell);
    config.data = pool.all;
    if (status == STATUS_OK) {
        status = dma_take(&pool, NVME_QUEUE_MEMORY_BYTES, &config.dma);
    }
    if (status == STATUS_OK) {
        status = dma_take(&pool, MEASURE_DEPTH * MEASURE_BYTES, &region);
        data = region.base;
    }
    if (status == STATUS_OK) {
        status = nvme_start(&nvme, &config, now_ns());
    }
    for (time_ns_t limit = now_ns() + WAIT_NS; status == STATUS_OK && now_ns() < limit;) {
        struct block_completion none;
        (void)nvme_poll(&nvme.port, &none, 1, now_ns());
        if (nvme_state(&nvme) == NVME_READY) {
            return STATUS_OK;
        }
        status = nvme_state(&nvme) == NVME_DEAD ? nvme.last_error : STATUS_OK;
    }
    return status == STATUS_OK ? STATUS_TIMED_OUT : status;
}

/* The drive's figures: declared, or measured with its last blocks (its last zone) for writes. */
static status_t describe_drive(struct share_drive *drive)
{
    struct block_device *block = &nvme.port.block;
    bool zoned = (block->flags & BLOCK_DEVICE_ZONED) != 0;
    uint64_t scratch = zoned ? block->zone_blocks : (16u << 20) >> block->block_shift;
    uint64_t first =
        zoned ? (block->zone_count - 1u) * block->zone_blocks : block->block_count - scratch;
    status_t status = contract_drive(cell->config, cell->config_bytes, drive);

    if (status == STATUS_NOT_FOUND) {
        status = measure_start(&measure, block, data, first, scratch, now_ns());
        while (status == STATUS_OK || status == STATUS_AGAIN) {
            status = measure_poll(&measure, now_ns());
            if (status == STATUS_OK) {
                *drive = measure.result;
                break;
            }
        }
        log_line("measured the drive: %s", status_text(status));
    }
    drive->block = block;
    if (config_bool(cell, "paced", false)) {
        paced_init(&paced, &nvme, cell, drive);
        drive->block = &paced.block;
    }
    drive->units = config_bool(cell, "unmanaged", false) ? UNMANAGED_UNITS : drive->units;
    log_line("drive: %u at a time; read %u ns + %u ps/B, write %u ns + %u ps/B", drive->units,
             drive->read_ns, drive->read_byte_ps, drive->write_ns, drive->write_byte_ps);
    return status;
}

static status_t admit(uint32_t index)
{
    struct contract *contract = &contracts[index];
    struct load *load = &loads[index];
    char line[CONTRACT_LINE_BYTES];
    uint64_t left = nvme.port.block.block_count - share.given_blocks;
    status_t status =
        contract_read(cell->config, cell->config_bytes, index, &nvme.port.block, left, contract);

    if (status == STATUS_OK) {
        status = share_admit(&share, &contract->share, &load->tenant);
    }
    if (status != STATUS_OK) {
        contract_explain(&share, contract, status, line);
        log_line("%s", line);
        return status;
    }
    load->name = contract->name;
    load->write = setting(load->name, "write", 0) != 0;
    load->depth = (uint32_t)setting(load->name, "depth", 1);
    load->bytes = (uint32_t)setting(load->name, "bytes", 4096);
    load->pause_ns = setting(load->name, "pause_us", 0) * 1000u;
    load->depth = load->depth < SHARE_QUEUE ? load->depth : SHARE_QUEUE;
    load->bytes = load->bytes < DATA_BYTES ? load->bytes : DATA_BYTES;
    return STATUS_OK;
}

/* ---- Loads -----------------------------------------------------------------------------------*/

static void reset_loads(uint32_t count)
{
    uint32_t keep = 0;

    for (uint32_t i = 0; i < count; i++) {
        keep += loads[i].pause_ns != 0;
    }
    for (uint32_t i = 0, at = 0; i < count; i++) {
        struct load *load = &loads[i];
        load->flying = 0;
        load->number = 0;
        load->done = 0;
        load->done_bytes = 0;
        load->next_ns = 0;
        load->latency_first = at;
        load->latency_count = 0;
        at += load->pause_ns != 0 ? LATENCIES / keep : 0;
    }
}

static void take_completions(struct load *load, uint32_t kept)
{
    struct block_completion done[16];
    struct block_device *block = &load->tenant->block;
    time_ns_t now = now_ns();
    uint32_t count = block->ops->poll(block, done, 16, now);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = load->latency_count;
        if (load->pause_ns != 0 && at < LATENCIES / kept) {
            latencies_ns[load->latency_first + at] =
                (uint32_t)(now - load->begun[done[i].cookie % SHARE_QUEUE]);
            load->latency_count++;
        }
        load->flying--;
        if (done[i].status == STATUS_OK) {
            load->done++;
            load->done_bytes += load->bytes;
        } else {
            log_line("FAILED request of %s: %s", load->name, status_text(done[i].status));
        }
    }
}

static void give_requests(struct load *load)
{
    struct block_device *block = &load->tenant->block;
    uint32_t blocks = load->bytes >> block->block_shift;

    while (load->flying < load->depth) {
        time_ns_t now = now_ns();
        uint32_t number = load->number;
        struct block_request request = {.cookie = number % SHARE_QUEUE,
                                        .blocks = blocks,
                                        .operation = load->write ? BLOCK_WRITE : BLOCK_READ,
                                        .data = data};
        if (now < load->next_ns) {
            return;
        }
        request.block = (number * 2654435761u) % (block->block_count / blocks) * blocks;
        if (load->write && block->zone_blocks != 0) {
            request.operation = BLOCK_ZONE_APPEND;
            request.block = next_zone++ % zones * block->zone_blocks;
        }
        load->begun[number % SHARE_QUEUE] = now;
        load->next_ns = load->pause_ns != 0 ? now + load->pause_ns : 0;
        load->flying++; /* a slot that waits for its turn is under way, too */
        load->number++;
        if (block->ops->submit(block, &request, 1, now) == 0) {
            load->flying--;
            load->number--;
            return;
        }
    }
}

/* Until the paced drive, or a load that pauses, has something to do; a clock that counts
 * instructions then goes there at once. Other drives are polled. */
static void rest(uint32_t first, uint32_t end)
{
    struct block_device *block = share.drive.block;
    uint64_t word;

    if (block != &paced.block) {
        return;
    }
    time_ns_t due_ns = block->ops->next_due(block);
    for (uint32_t i = first; i < end; i++) {
        if (loads[i].flying < loads[i].depth && loads[i].next_ns < due_ns) {
            due_ns = loads[i].next_ns;
        }
    }
    if (due_ns > now_ns()) {
        (void)notification_wait(CELL_SLOT_NOTIFICATION, due_ns, &word);
    }
}

static void run_loads(uint32_t first, uint32_t end, time_ns_t span_ns)
{
    time_ns_t until = now_ns() + span_ns;
    uint32_t kept = 0;

    for (uint32_t i = first; i < end; i++) {
        kept += loads[i].pause_ns != 0;
    }
    kept = kept != 0 ? kept : 1u;
    while (now_ns() < until) {
        for (uint32_t i = first; i < end; i++) {
            take_completions(&loads[i], kept);
            give_requests(&loads[i]);
        }
        rest(first, end);
    }
    for (uint32_t i = first; i < end; i++) {
        for (time_ns_t limit = now_ns() + WAIT_NS; loads[i].flying != 0 && now_ns() < limit;) {
            uint64_t bytes = loads[i].done_bytes, done = loads[i].done;
            take_completions(&loads[i], kept);
            loads[i].done_bytes = bytes; /* what ends after the time does not count */
            loads[i].done = done;
        }
    }
}

/* ---- Report ----------------------------------------------------------------------------------*/

/* The value of which `permille` of them are below; sorts what it is given (Shell's sort). */
static uint32_t quantile(uint32_t *values, uint32_t count, uint32_t permille)
{
    for (uint32_t gap = count / 2u; gap != 0; gap /= 2u) {
        for (uint32_t i = gap; i < count; i++) {
            uint32_t value = values[i];
            uint32_t at = i;
            for (; at >= gap && values[at - gap] > value; at -= gap) {
                values[at] = values[at - gap];
            }
            values[at] = value;
        }
    }
    return count == 0 ? 0 : values[(uint64_t)count * permille / 1000u];
}

static void report(const char *what, uint32_t first, uint32_t end, uint64_t span_ms)
{
    uint64_t sum = 0;
    uint64_t squares = 0; /* of KiB: far below 2^64 for what a run moves */

    for (uint32_t i = first; i < end; i++) {
        struct load *load = &loads[i];
        uint64_t kib = load->done_bytes >> 10;
        sum += kib;
        squares += kib * kib;
        if (end - first <= 8u) {
            log_line("%s %s: %lu IOPS, %lu KiB/s", what, load->name, load->done * 1000u / span_ms,
                     kib * 1000u / span_ms);
        }
        if (load->latency_count != 0) {
            uint32_t *values = latencies_ns + load->latency_first;
            uint32_t p50 = quantile(values, load->latency_count, 500);
            log_line("%s %s: p50 %u ns, p99 %u ns, p99.9 %u ns", what, load->name, p50,
                     values[load->latency_count * 99u / 100u],
                     quantile(values, load->latency_count, 999));
        }
    }
    uint32_t count = end - first;
    log_line("%s: %u tenants, %lu KiB/s, Jain %lu / 100000", what, count, sum * 1000u / span_ms,
             sum * sum / (squares * count / 100000u + 1u));
}

static void prepare_zones(void)
{
    struct block_device *block = &nvme.port.block;

    zones = (uint32_t)config_u64(cell, "zones", 14);
    for (uint32_t i = 0; block->zone_blocks != 0 && i < block->zone_count; i++) {
        struct block_request reset = {.block = i * block->zone_blocks,
                                      .operation = BLOCK_ZONE_RESET};
        struct block_completion done;
        (void)nvme_submit(&nvme.port, &reset, 1, now_ns());
        while (nvme_poll(&nvme.port, &done, 1, now_ns()) == 0) {
        }
    }
}

static status_t run(void)
{
    struct share_drive drive = {0};
    uint32_t count = contract_count(cell->config, cell->config_bytes);
    uint64_t span_ms = config_u64(cell, "run_ms", 2000);
    status_t status = start_drive();

    status = status == STATUS_OK ? describe_drive(&drive) : status;
    status = status == STATUS_OK ? share_init(&share, &drive) : status;
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        status = admit(i);
    }
    if (status != STATUS_OK) {
        return status;
    }
    log_line("admitted %u contracts, %lu of %lu ms of drive time a second", count,
             share.promised_ns / MS, share_can_promise_ns(&share) / MS);
    prepare_zones();
    reset_loads(count);
    for (uint32_t i = 0; i < count; i++) {
        if (setting(loads[i].name, "alone", 0) != 0) {
            run_loads(i, i + 1u, span_ms * MS);
            report("alone", i, i + 1u, span_ms);
        }
    }
    reset_loads(count);
    run_loads(0, count, span_ms * MS);
    report("together", 0, count, span_ms);
    if (share.drive.block == &paced.block) {
        log_line("the drive below took %lu ns at most", paced.longest_ns);
    }
    return STATUS_OK;
}

status_t cell_main(const struct cell_info *info)
{
    cell = info;
    status_t status = run();
    log_line("tenants done: %s", status_text(status));
    return STATUS_OK;
}
