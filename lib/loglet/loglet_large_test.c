// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Zones, and extents of plain drives, of more bytes than 32 bits count: written from end to end,
 * read, recovered and trimmed, on a drive whose memory is sparse. What is written is mostly zeroes,
 * which the drive leaves as holes.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/base/assert.h"
#include "lib/loglet/loglet.h"
#include "lib/loglet/loglet_format.h"
#include "tests/check.h"

#define BLOCK_BYTES 4096u
#define ZONE_BLOCKS (5ull << 30 >> 12)
#define CAPACITY_BLOCKS (((4ull << 30) + (64ull << 20)) >> 12)
#define ZONES 5u
#define RECORD_BYTES (15u * 8192u) /* one, a frame */
#define DONE_MAX 256u
#define BUFFER_BYTES (LOGLET_BUFFER_BYTES_MIN + 16u * LOGLET_FRAME_BYTES)

/* A zoned drive that does at once what it is asked. */
struct sparse {
    struct block_device block;
    uint8_t *memory;
    uint64_t written[ZONES]; /* blocks */
    bool finished[ZONES];
    struct block_completion done[DONE_MAX];
    uint32_t done_count;
};

static struct sparse drive;
static struct loglet_device *device;
static struct loglet *large;
static void *memory;
static uint8_t *buffers, *read_buffer;
static uint8_t record[RECORD_BYTES];
static time_ns_t now_ns;

static void put_block(uint64_t block, const uint8_t *from)
{
    static const uint8_t zeroes[BLOCK_BYTES];

    if (memcmp(from, zeroes, BLOCK_BYTES) != 0) {
        memcpy(drive.memory + block * BLOCK_BYTES, from, BLOCK_BYTES);
    }
}

static void append(const struct block_request *request, struct block_completion *done)
{
    uint64_t zone = request->block / ZONE_BLOCKS;
    const uint8_t *from = request->data;

    CHECK_EQ(request->block % ZONE_BLOCKS, 0);
    CHECK(!drive.finished[zone]);
    CHECK(drive.written[zone] + request->blocks <= CAPACITY_BLOCKS);
    CHECK((request->flags & BLOCK_VECTORED) == 0);
    done->block = request->block + drive.written[zone];
    for (uint32_t i = 0; i < request->blocks; i++) {
        put_block(done->block + i, from + (size_t)i * BLOCK_BYTES);
    }
    drive.written[zone] += request->blocks;
}

static void report(const struct block_request *request, struct block_completion *done)
{
    struct block_zone *told = request->data;

    for (uint64_t zone = request->block / ZONE_BLOCKS;
         zone < ZONES && done->block < request->blocks; zone++) {
        uint64_t written = drive.written[zone];
        bool full = drive.finished[zone] || written == CAPACITY_BLOCKS;
        told[done->block++] = (struct block_zone){
            .block = zone * ZONE_BLOCKS,
            .capacity = CAPACITY_BLOCKS,
            .written_blocks = full ? CAPACITY_BLOCKS : written,
            .state = full           ? BLOCK_ZONE_FULL
                     : written != 0 ? BLOCK_ZONE_OPEN_STATE
                                    : BLOCK_ZONE_EMPTY,
        };
    }
}

static void reset_zone(uint64_t zone)
{
    uint8_t *from = drive.memory + zone * ZONE_BLOCKS * BLOCK_BYTES;

    VERIFY(madvise(from, ZONE_BLOCKS * BLOCK_BYTES, MADV_DONTNEED) == 0);
    drive.written[zone] = 0;
    drive.finished[zone] = false;
}

static uint32_t submit(struct block_device *block, const struct block_request *requests,
                       uint32_t count, time_ns_t at_ns)
{
    uint32_t taken = 0;

    (void)block;
    (void)at_ns;
    for (; taken < count && drive.done_count < DONE_MAX; taken++) {
        const struct block_request *request = &requests[taken];
        struct block_completion *done = &drive.done[drive.done_count++];
        *done = (struct block_completion){.cookie = request->cookie};
        switch (request->operation) {
        case BLOCK_ZONE_APPEND:
            append(request, done);
            break;
        case BLOCK_READ:
            memcpy(request->data, drive.memory + request->block * BLOCK_BYTES,
                   (size_t)request->blocks * BLOCK_BYTES);
            break;
        case BLOCK_ZONE_REPORT:
            report(request, done);
            break;
        case BLOCK_ZONE_RESET:
            reset_zone(request->block / ZONE_BLOCKS);
            break;
        case BLOCK_ZONE_FINISH:
            drive.finished[request->block / ZONE_BLOCKS] = true;
            break;
        default:
            CHECK_EQ(request->operation, BLOCK_FLUSH);
            break;
        }
    }
    return taken;
}

static uint32_t poll(struct block_device *block, struct block_completion *completions, uint32_t max,
                     time_ns_t at_ns)
{
    uint32_t count = drive.done_count < max ? drive.done_count : max;

    (void)block;
    (void)at_ns;
    memcpy(completions, drive.done, count * sizeof *completions);
    drive.done_count -= count;
    memmove(drive.done, drive.done + count, drive.done_count * sizeof *drive.done);
    return count;
}

static const struct block_device_ops operations = {.submit = submit, .poll = poll};

static void make_drive(void)
{
    uint64_t bytes = ZONES * ZONE_BLOCKS * BLOCK_BYTES;

    memset(&drive, 0, sizeof drive);
    drive.memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    VERIFY(drive.memory != MAP_FAILED);
    drive.block = (struct block_device){
        .ops = &operations,
        .block_count = ZONES * ZONE_BLOCKS,
        .block_bytes = BLOCK_BYTES,
        .block_shift = 12,
        .flags = BLOCK_DEVICE_ZONED,
        .max_transfer_blocks = 128,
        .max_append_blocks = 128,
        .queue_depth = DONE_MAX,
        .zone_blocks = ZONE_BLOCKS,
        .zone_count = ZONES,
        .max_active_zones = 4,
    };
    memory = calloc(1, loglet_device_bytes());
    buffers = aligned_alloc(PAGE_BYTES, BUFFER_BYTES);
    read_buffer = aligned_alloc(PAGE_BYTES, LOGLET_READ_BYTES);
    VERIFY(memory && buffers && read_buffer);
}

static void free_drive(void)
{
    munmap(drive.memory, ZONES * ZONE_BLOCKS * BLOCK_BYTES);
    free(memory);
    free(buffers);
    free(read_buffer);
}

static void open_log(void)
{
    struct loglet_config config = {.block = &drive.block,
                                   .buffers = buffers,
                                   .buffer_bytes = BUFFER_BYTES,
                                   .random = {4711, 42}};

    drive.done_count = 0; /* as after a loss of power: nobody takes them */
    CHECK_EQ(loglet_device_open(memory, &config, now_ns, &device), STATUS_OK);
    for (uint32_t i = 0; i < 1000 && loglet_device_state(device) == STATUS_AGAIN; i++) {
        (void)loglet_device_poll(device, ++now_ns);
    }
    CHECK_EQ(loglet_device_state(device), STATUS_OK);
    CHECK_EQ(loglet_open(device, "large", 0, &large), STATUS_OK);
    for (uint32_t i = 0; i < 100 && loglet_state(large) == STATUS_AGAIN; i++) {
        (void)loglet_device_poll(device, ++now_ns);
    }
    CHECK_EQ(loglet_state(large), STATUS_OK);
}

/* Record n says so at its beginning and its end. */
static log_position_t append_record(uint64_t n)
{
    struct loglet_piece piece = {record, sizeof record};
    log_position_t position = 0;
    status_t status = STATUS_WOULD_BLOCK;

    memcpy(record, &n, sizeof n);
    memcpy(record + sizeof record - sizeof n, &n, sizeof n);
    for (uint32_t i = 0; i < 100 && status == STATUS_WOULD_BLOCK; i++) {
        status = loglet_append(large, &piece, 1, &position);
        loglet_commit(large, now_ns);
        (void)loglet_device_poll(device, ++now_ns);
    }
    CHECK_EQ(status, STATUS_OK);
    return position;
}

static void settle(void)
{
    for (uint32_t i = 0; i < 1000 && loglet_device_busy(device); i++) {
        (void)loglet_device_poll(device, ++now_ns);
    }
    CHECK(!loglet_device_busy(device));
}

/* Reads from `position` on, where record n lies; returns the number behind the last. */
static uint64_t read_from(log_position_t position, uint64_t n)
{
    struct loglet_reader reader;
    struct loglet_fragment fragment;
    status_t status = loglet_reader_start(&reader, large, position, read_buffer);

    while (status == STATUS_OK || status == STATUS_AGAIN) {
        status = loglet_reader_next(&reader, &fragment);
        if (status == STATUS_AGAIN) {
            (void)loglet_device_poll(device, ++now_ns);
        } else if (status == STATUS_OK) {
            CHECK_EQ(fragment.total_bytes, RECORD_BYTES);
            if (fragment.offset == 0) {
                CHECK_EQ(memcmp(fragment.data, &n, sizeof n), 0);
            }
            if (fragment.offset + fragment.bytes == fragment.total_bytes) {
                const uint8_t *end = fragment.data + fragment.bytes - sizeof n;
                CHECK_EQ(memcmp(end, &n, sizeof n), 0);
                n++;
            }
        }
    }
    CHECK_EQ(status, STATUS_NOT_FOUND);
    CHECK_EQ(loglet_reader_stop(&reader), STATUS_OK);
    return n;
}

static uint32_t zones_begun(void)
{
    uint32_t count = 0;

    for (uint32_t zone = 2; zone < ZONES; zone++) { /* the first two have superblocks */
        count += drive.written[zone] != 0;
    }
    return count;
}

/* Where the power goes: behind 2 GiB of the zone, and behind 4 GiB. */
static bool power_goes(uint64_t before, uint64_t after)
{
    static const uint64_t places[] = {(2ull << 30) + (1u << 20), (4ull << 30) + (1u << 20)};

    return (before < places[0] && after >= places[0]) || (before < places[1] && after >= places[1]);
}

/* From the first zone into the second: what lies behind 2 GiB and behind 4 GiB is found again,
 * after a loss of power there, too, and a whole zone is given back by a trim. */
TEST(a_zone_of_more_than_4_gib)
{
    log_position_t late = 0, last = 0;
    uint64_t late_n = 0, n = 0, bytes = 0;

    make_drive();
    open_log();
    CHECK_EQ(loglet_capacity_bytes(large), 3u * CAPACITY_BLOCKS * BLOCK_BYTES);
    while (zones_begun() < 2u) {
        last = append_record(n++);
        uint64_t after = bytes + RECORD_BYTES + BLOCK_BYTES;
        if (late == 0 && after > 4ull << 30) {
            late = last;
            late_n = n - 1u;
        }
        if (power_goes(bytes, after)) {
            settle();
            open_log();
            CHECK(last < loglet_durable(large));
        }
        bytes = after;
    }
    settle();
    CHECK(late != 0 && late >> 32 != last >> 32);
    CHECK_EQ(read_from(late, late_n), n);
    open_log();
    CHECK_EQ(read_from(late, late_n), n);
    uint64_t used = loglet_used_bytes(large);
    CHECK_EQ(loglet_trim(large, loglet_durable(large)), STATUS_OK);
    settle();
    CHECK_EQ(loglet_used_bytes(large), used - CAPACITY_BLOCKS * BLOCK_BYTES);
    last = append_record(n++);
    settle();
    CHECK_EQ(read_from(last, n - 1u), n);
    free_drive();
}
