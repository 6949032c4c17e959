// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Benchmark cell: what one storage operation costs in this cell, in TSC ticks. Under QEMU's
 * `-icount shift=0,sleep=off` a tick is a guest instruction.
 *
 * Counted are submission and every poll that found a completion; polls that found nothing are idle
 * time of a slow emulated drive. Nothing of that makes a system call.
 *
 * With `sleeping_reads` in the manifest it does something else: so many reads, one after the other,
 * for each of which it sleeps until the drive's interrupt. Whoever counts the guest's instructions
 * from outside looks while it rests before and after.
 */
#include <hallows/cell.h>

#include "drivers/nvme/nvme.h"
#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "lib/loglet/loglet.h"
#include "runtime/cell.h"
#include "runtime/dma.h"
#include "runtime/syscall.h"

#define READ_BYTES 4096u
#define READS 4096u
#define DEPTH_MAX 32u
#define APPEND_BYTES 4096u
#define APPEND_BATCHES 256u
#define LOG_BUFFER_BYTES LOGLET_BUFFER_BYTES(4u << 20)
/* An emulated drive can be arbitrarily slow in guest time (docs: device waits). */
#define REST_NS 2000000000ull
#define WAIT_NS (300ull * 1000 * 1000 * 1000)

struct bench {
    const struct cell_info *info;
    struct nvme nvme;
    struct dma_region data;
    struct loglet_device *device;
    struct loglet *log;
    uint64_t busy_ticks;
    uint64_t put_ticks, commit_ticks; /* of them, stages of an append; the rest is completion */
};

static struct bench bench;

static time_ns_t now_ns(void)
{
    return clock_ns(&bench.info->time);
}

static void print_figure(const char *name, uint64_t operations)
{
    char line[LOG_LINE_BYTES];
    size_t length = format_text(line, sizeof(line), "BENCH %s %lu instr\n", name,
                                bench.busy_ticks / operations);

    log_text(line, length);
}

/* Operations a second of this clock; says something only where the clock runs with the wall's. */
static void print_rate(const char *name, uint64_t operations, time_ns_t started_ns)
{
    log_line("RATE %s %lu", name, operations * 1000000000u / (now_ns() - started_ns + 1u));
}

static void print_stage(const char *name, const char *stage, uint64_t ticks, uint64_t operations)
{
    char line[LOG_LINE_BYTES];
    size_t length =
        format_text(line, sizeof(line), "BENCH %s.%s %lu instr\n", name, stage, ticks / operations);

    log_text(line, length);
}

/* An append, and its stages: into the frame, the frame to the drive, its completion. */
static void print_append(const char *name, uint64_t operations)
{
    print_figure(name, operations);
    print_stage(name, "put", bench.put_ticks, operations);
    print_stage(name, "commit", bench.commit_ticks, operations);
    print_stage(name, "complete", bench.busy_ticks - bench.put_ticks - bench.commit_ticks,
                operations);
}

/* ---- Drive -----------------------------------------------------------------------------------*/

static status_t start_drive(struct dma_pool *pool)
{
    struct nvme_config config = {0};
    status_t status = nvme_config_from_cell(&config, &bench.info->devices[0]);

    if (status == STATUS_OK) {
        status = dma_take(pool, NVME_QUEUE_MEMORY_BYTES, &config.dma);
    }
    if (status != STATUS_OK) {
        return status;
    }
    config.data = pool->all;
    status = nvme_start(&bench.nvme, &config, now_ns());
    for (time_ns_t limit = now_ns() + WAIT_NS; status == STATUS_OK && now_ns() < limit;) {
        struct block_completion unused;

        nvme_poll(&bench.nvme.port, &unused, 1, now_ns());
        if (nvme_state(&bench.nvme) == NVME_READY) {
            return STATUS_OK;
        }
        if (nvme_state(&bench.nvme) == NVME_DEAD) {
            return bench.nvme.last_error;
        }
    }
    return status == STATUS_OK ? STATUS_DEVICE_TIMEOUT : status;
}

/* What is read, or written, in order; `writes` of ten are writes. */
static struct {
    uint32_t page;
    uint32_t operation;
} plan[READS];

static void make_plan(uint32_t writes)
{
    uint64_t pages =
        bench.nvme.port.block.block_count * bench.nvme.port.block.block_bytes / READ_BYTES;

    for (uint32_t i = 0; i < READS; i++) {
        uint64_t page = (uint64_t)i * 2654435761u % pages;
        plan[i].page = (uint32_t)page;
        plan[i].operation = (page >> 3) % 10u < writes ? BLOCK_WRITE : BLOCK_READ;
    }
}

/* Keeps `depth` requests in flight until READS are done. */
static status_t run_at_depth(uint32_t depth)
{
    uint32_t blocks = READ_BYTES >> bench.nvme.port.block.block_shift;
    struct block_request requests[DEPTH_MAX];
    struct block_completion done[DEPTH_MAX];
    uint32_t started = 0;
    uint32_t finished = 0;
    uint32_t idle = depth;
    time_ns_t limit = now_ns() + WAIT_NS;

    bench.busy_ticks = 0;
    while (finished < READS) {
        uint64_t before = clock_ticks();
        time_ns_t now = clock_ns_at(&bench.info->time, before);
        uint32_t count = idle < READS - started ? idle : READS - started;

        for (uint32_t i = 0; i < count; i++) {
            requests[i] = (struct block_request){
                .cookie = i,
                .block = (uint64_t)plan[started + i].page * blocks,
                .blocks = blocks,
                .operation = (uint8_t)plan[started + i].operation,
                .data =
                    (uint8_t *)bench.data.base + (size_t)((started + i) % DEPTH_MAX) * READ_BYTES,
            };
        }
        uint32_t taken = count > 0 ? nvme_submit(&bench.nvme.port, requests, count, now) : 0;
        started += taken;
        idle -= taken;
        uint32_t reaped = nvme_poll(&bench.nvme.port, done, DEPTH_MAX, now);
        if (reaped > 0 || taken > 0) {
            bench.busy_ticks += clock_ticks() - before;
        }
        for (uint32_t i = 0; i < reaped; i++) {
            if (done[i].status != STATUS_OK) {
                return done[i].status;
            }
        }
        finished += reaped;
        idle += reaped;
        if (now > limit) {
            return STATUS_DEVICE_TIMEOUT;
        }
    }
    return STATUS_OK;
}

static status_t measure_requests(const char *name, uint32_t depth, uint32_t writes)
{
    make_plan(writes);
    time_ns_t started_ns = now_ns();
    status_t status = run_at_depth(depth);

    if (status == STATUS_OK) {
        print_figure(name, READS);
        print_rate(name, READS, started_ns);
    }
    return status;
}

static void rest(void)
{
    uint64_t word;

    (void)notification_wait(CELL_SLOT_NOTIFICATION, now_ns() + REST_NS, &word);
}

/* One 4 KiB read, asleep until it is done. */
static status_t read_asleep(uint32_t number)
{
    struct nvme_port *port = &bench.nvme.port;
    uint32_t blocks = READ_BYTES >> port->block.block_shift;
    struct block_request request = {.block = (uint64_t)(number % 1024u) * blocks,
                                    .blocks = blocks,
                                    .operation = BLOCK_READ,
                                    .data = bench.data.base};
    struct block_completion done;
    time_ns_t now = now_ns();
    time_ns_t limit = now + WAIT_NS;

    (void)nvme_submit(port, &request, 1, now);
    while (nvme_poll(port, &done, 1, now) == 0) {
        uint64_t word;

        if (nvme_arm(port)) {
            (void)notification_wait(CELL_SLOT_NOTIFICATION, nvme_next_due(port), &word);
            nvme_disarm(port);
        }
        now = now_ns();
        if (now > limit) {
            return STATUS_DEVICE_TIMEOUT;
        }
    }
    return done.status;
}

static status_t read_sleeping(uint32_t count)
{
    status_t status = STATUS_OK;

    log_line("resting before");
    rest();
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        status = read_asleep(i);
    }
    log_line("resting after");
    rest();
    return status;
}

/* ---- Log -------------------------------------------------------------------------------------*/

static status_t wait_for(status_t (*state)(void))
{
    for (time_ns_t limit = now_ns() + WAIT_NS; now_ns() < limit;) {
        status_t status = state();

        if (status != STATUS_AGAIN) {
            return status;
        }
        loglet_device_poll(bench.device, now_ns());
    }
    return STATUS_DEVICE_TIMEOUT;
}

static status_t device_state(void)
{
    return loglet_device_state(bench.device);
}

static status_t log_state(void)
{
    return loglet_state(bench.log);
}

static status_t open_log(struct dma_pool *pool)
{
    struct dma_region buffers;
    status_t status = dma_take(pool, LOG_BUFFER_BYTES, &buffers);

    if (status != STATUS_OK) {
        return status;
    }
    struct loglet_config config = {
        .block = &bench.nvme.port.block,
        .buffers = buffers.base,
        .buffer_bytes = LOG_BUFFER_BYTES,
        .random = {clock_ticks(), bench.info->time.tsc_base},
        .flags = LOGLET_FORMAT, /* the drive is the benchmark's own */
    };
    if (loglet_device_bytes() > bench.info->heap_bytes) {
        return STATUS_NO_MEMORY;
    }
    status = loglet_device_open(bench.info->heap, &config, now_ns(), &bench.device);
    if (status == STATUS_OK) {
        status = wait_for(device_state);
    }
    if (status == STATUS_OK) {
        status = loglet_open(bench.device, "bench", 0, &bench.log);
    }
    return status == STATUS_OK ? wait_for(log_state) : status;
}

/* One batch of `count` records, appended, committed, and polled until it is durable. */
static status_t append_batch(uint32_t count, bool by_reference, time_ns_t limit)
{
    struct loglet_piece pieces[DEPTH_MAX];
    log_position_t positions[DEPTH_MAX];
    log_position_t last = 0;
    uint32_t taken;
    uint64_t before = clock_ticks();

    for (uint32_t i = 0; i < count; i++) {
        pieces[i] = (struct loglet_piece){bench.data.base + (size_t)i * APPEND_BYTES, APPEND_BYTES};
    }
    if (by_reference) {
        status_t status = loglet_append_batch(bench.log, pieces, count, &taken, positions);

        if (status != STATUS_OK) {
            return status;
        }
        last = positions[count - 1u];
    }
    for (uint32_t i = 0; i < count && !by_reference; i++) {
        status_t status = loglet_append(bench.log, &pieces[i], 1, &last);

        if (status != STATUS_OK) {
            return status;
        }
    }
    uint64_t put = clock_ticks();
    loglet_commit(bench.log, clock_ns_at(&bench.info->time, before));
    uint64_t committed = clock_ticks();
    bench.put_ticks += put - before;
    bench.commit_ticks += committed - put;
    bench.busy_ticks += committed - before;
    while (loglet_durable(bench.log) <= last) {
        before = clock_ticks();
        time_ns_t now = clock_ns_at(&bench.info->time, before);
        if (loglet_device_poll(bench.device, now) > 0) {
            bench.busy_ticks += clock_ticks() - before;
        }
        if (now > limit) {
            return STATUS_DEVICE_TIMEOUT;
        }
    }
    return STATUS_OK;
}

static status_t append_batches(uint32_t count, bool by_reference)
{
    status_t status = append_batch(count, by_reference, now_ns() + WAIT_NS); /* warm */

    bench.busy_ticks = 0;
    bench.put_ticks = 0;
    bench.commit_ticks = 0;
    for (uint32_t i = 0; i < APPEND_BATCHES && status == STATUS_OK; i++) {
        status = append_batch(count, by_reference, now_ns() + WAIT_NS);
    }
    return status;
}

/* ---- All -------------------------------------------------------------------------------------*/

static status_t run(void)
{
    struct dma_pool pool;
    status_t status;

    dma_pool_init(&pool, bench.info);
    status = start_drive(&pool);
    if (status == STATUS_OK) {
        status = dma_take(&pool, DEPTH_MAX * READ_BYTES, &bench.data);
    }
    uint32_t sleeping = (uint32_t)config_u64(bench.info, "sleeping_reads", 0);
    if (status == STATUS_OK && sleeping != 0) {
        return read_sleeping(sleeping);
    }
    if (status == STATUS_OK) {
        status = measure_requests("nvme-read-1", 1, 0);
    }
    if (status == STATUS_OK) {
        status = measure_requests("nvme-read-32", DEPTH_MAX, 0);
    }
    if (status == STATUS_OK) {
        status = measure_requests("nvme-mixed-32", DEPTH_MAX, 3);
    }
    if (status == STATUS_OK) {
        status = open_log(&pool);
    }
    for (uint32_t count = 1; count <= DEPTH_MAX && status == STATUS_OK; count *= DEPTH_MAX) {
        time_ns_t started_ns = now_ns();
        status = append_batches(count, true);
        if (status == STATUS_OK) {
            print_rate(count == 1 ? "log-append-1" : "log-append-32",
                       (uint64_t)(APPEND_BATCHES + 1u) * count, started_ns);
            print_append(count == 1 ? "log-append-1" : "log-append-32",
                         (uint64_t)APPEND_BATCHES * count);
            status = append_batches(count, false);
        }
        if (status == STATUS_OK) {
            print_figure(count == 1 ? "log-append-copy-1" : "log-append-copy-32",
                         (uint64_t)APPEND_BATCHES * count);
        }
    }
    return status;
}

status_t cell_main(const struct cell_info *info)
{
    bench.info = info;
    if (info->device_count != 1) {
        log_line("the manifest has to give exactly one drive");
        return STATUS_INVALID_ARGUMENT;
    }
    status_t status = run();
    log_line("bench ended: %s", status_text(status));
    return status;
}
