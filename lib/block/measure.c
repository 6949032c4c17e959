// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a drive can do, from runs of requests: small and large, reads and writes, one and
 * MEASURE_DEPTH at a time. From the small reads follows how many the drive works on at a time; from
 * the runs with many, what a request and a byte of each kind take of that.
 */
#include "lib/base/bytes.h"
#include "lib/block/contract.h"

#define SMALL_BYTES 4096u
#define COUNT 256u /* requests of a phase */
#define REAP 16u

enum phase { READ_ALONE, READ_SMALL, READ_LARGE, WRITE_SMALL, WRITE_LARGE, PHASES };

static bool is_zoned(const struct measure *measure)
{
    return (measure->block->flags & BLOCK_DEVICE_ZONED) != 0;
}

static uint32_t blocks_of(const struct measure *measure)
{
    bool large = measure->phase == READ_LARGE || measure->phase == WRITE_LARGE;
    uint32_t blocks = (large ? MEASURE_BYTES : SMALL_BYTES) >> measure->block->block_shift;
    uint32_t most = measure->block->max_transfer_blocks;

    return blocks < most ? blocks : most;
}

static uint32_t count_of(const struct measure *measure)
{
    uint64_t room = measure->scratch_blocks / blocks_of(measure); /* for half of which: */

    /* A zone takes no more than it holds, and both kinds of writes share it. */
    return measure->phase >= WRITE_SMALL && is_zoned(measure) && room / 2u < COUNT
               ? (uint32_t)(room / 2u)
               : COUNT;
}

static uint32_t depth_of(const struct measure *measure)
{
    uint32_t depth = measure->phase == READ_ALONE ? 1u : MEASURE_DEPTH;

    return depth < measure->block->queue_depth ? depth : measure->block->queue_depth;
}

static void make_request(const struct measure *measure, struct block_request *request)
{
    uint32_t blocks = blocks_of(measure);
    bool write = measure->phase >= WRITE_SMALL;
    uint64_t number = measure->begun;
    uint64_t places = (write ? measure->scratch_blocks : measure->block->block_count) / blocks;
    uint64_t place = number * 2654435761u % places; /* all over it, and never the same order */

    *request =
        (struct block_request){.cookie = number,
                               .block = place * blocks,
                               .blocks = blocks,
                               .operation = BLOCK_READ,
                               .data = measure->buffers + number % MEASURE_DEPTH * MEASURE_BYTES};
    if (write) {
        request->operation = is_zoned(measure) ? BLOCK_ZONE_APPEND : BLOCK_WRITE;
        request->block = measure->scratch_block + (is_zoned(measure) ? 0 : place * blocks);
    }
}

static void begin_phase(struct measure *measure, time_ns_t now_ns)
{
    measure->begun = 0;
    measure->done = 0;
    measure->started_ns = now_ns;
}

status_t measure_start(struct measure *measure, struct block_device *block, void *buffers,
                       uint64_t scratch_block, uint64_t scratch_blocks, time_ns_t now_ns)
{
    bool zoned = (block->flags & BLOCK_DEVICE_ZONED) != 0;

    if ((scratch_blocks != 0 && scratch_blocks < MEASURE_BYTES >> block->block_shift) ||
        scratch_block > block->block_count - scratch_blocks ||
        (zoned && scratch_block % block->zone_blocks != 0)) {
        return STATUS_INVALID_ARGUMENT;
    }
    memset(measure, 0, sizeof *measure);
    measure->block = block;
    measure->buffers = buffers;
    measure->scratch_block = scratch_block;
    measure->scratch_blocks = scratch_blocks;
    memset(buffers, 0, (size_t)MEASURE_DEPTH * MEASURE_BYTES);
    begin_phase(measure, now_ns);
    return STATUS_OK;
}

/* Of a phase: a unit's time for one request. */
static uint64_t each_ns(const struct measure *measure, uint32_t phase, uint32_t units)
{
    return measure->span_ns[phase] * units / 1000u;
}

/* spans are stored for 1000 requests. */
static void conclude(struct measure *measure)
{
    struct share_drive *drive = &measure->result;
    uint64_t alone = measure->span_ns[READ_ALONE];
    uint64_t together = measure->span_ns[READ_SMALL] + 1u;
    uint64_t units = (alone + together / 2u) / together;

    units = units < 2u ? 2u : units > MEASURE_DEPTH ? MEASURE_DEPTH : units;
    *drive = (struct share_drive){.block = measure->block, .units = (uint32_t)units};
    for (uint32_t write = 0; write < 2u; write++) {
        uint64_t small = each_ns(measure, write != 0 ? WRITE_SMALL : READ_SMALL, drive->units);
        uint64_t large = each_ns(measure, write != 0 ? WRITE_LARGE : READ_LARGE, drive->units);
        uint64_t bytes = MEASURE_BYTES - SMALL_BYTES;
        uint64_t byte_ps = large > small ? (large - small) * 1000u / bytes : 1u;
        uint64_t fixed =
            small > byte_ps * SMALL_BYTES / 1000u ? small - byte_ps * SMALL_BYTES / 1000u : 1u;
        byte_ps = byte_ps < UINT32_MAX ? byte_ps : UINT32_MAX;
        fixed = fixed < UINT32_MAX ? fixed : UINT32_MAX;
        *(write != 0 ? &drive->write_byte_ps : &drive->read_byte_ps) =
            byte_ps != 0 ? (uint32_t)byte_ps : 1u;
        *(write != 0 ? &drive->write_ns : &drive->read_ns) = fixed != 0 ? (uint32_t)fixed : 1u;
    }
}

static void reap(struct measure *measure, time_ns_t now_ns)
{
    struct block_completion got[REAP];
    uint32_t count = measure->block->ops->poll(measure->block, got, REAP, now_ns);

    for (uint32_t i = 0; i < count; i++) {
        measure->status = got[i].status != STATUS_OK ? got[i].status : measure->status;
        if (measure->waits) {
            measure->waits = false;
            begin_phase(measure, now_ns);
        } else {
            measure->done++;
        }
    }
}

static void finish_phase(struct measure *measure, time_ns_t now_ns)
{
    uint32_t count = count_of(measure);

    measure->span_ns[measure->phase++] = (now_ns - measure->started_ns) * 1000u / count;
    begin_phase(measure, now_ns);
    if (measure->phase == WRITE_SMALL && measure->scratch_blocks == 0) {
        measure->span_ns[WRITE_SMALL] = measure->span_ns[READ_SMALL];
        measure->span_ns[WRITE_LARGE] = measure->span_ns[READ_LARGE];
        measure->phase = PHASES;
    } else if (measure->phase == WRITE_SMALL && is_zoned(measure)) {
        struct block_request reset = {.block = measure->scratch_block,
                                      .operation = BLOCK_ZONE_RESET};
        measure->waits = measure->block->ops->submit(measure->block, &reset, 1, now_ns) == 1;
    }
}

status_t measure_poll(struct measure *measure, time_ns_t now_ns)
{
    struct block_request request;

    if (measure->phase == PHASES) {
        return STATUS_OK;
    }
    reap(measure, now_ns);
    if (measure->status != STATUS_OK) {
        return measure->begun == measure->done ? measure->status : STATUS_AGAIN;
    }
    while (!measure->waits && measure->begun < count_of(measure) &&
           measure->begun - measure->done < depth_of(measure)) {
        make_request(measure, &request);
        if (measure->block->ops->submit(measure->block, &request, 1, now_ns) == 0) {
            break;
        }
        measure->begun++;
    }
    if (!measure->waits && measure->done == count_of(measure)) {
        finish_phase(measure, now_ns);
        if (measure->phase == PHASES) {
            conclude(measure);
            return STATUS_OK;
        }
    }
    return STATUS_AGAIN;
}
