// SPDX-License-Identifier: MIT OR Apache-2.0
/* A log over the real driver over the fake controller: the whole path of an acknowledged write. */
#include <stdlib.h>

#include "drivers/nvme/nvme.h"
#include "drivers/nvme/nvme_fake.h"
#include "lib/loglet/loglet.h"
#include "tests/check.h"

#define BUFFER_BYTES LOGLET_BUFFER_BYTES(300000)
#define BUFFERS_AT NVME_QUEUE_MEMORY_BYTES
#define READER_AT (BUFFERS_AT + BUFFER_BYTES)
#define MEMORY_BYTES (READER_AT + LOGLET_READ_BYTES)
#define SECOND 1000000000ull

struct rig {
    struct dma_region memory;
    uint64_t addresses[MEMORY_BYTES / PAGE_BYTES];
    struct nvme_fake fake;
    struct nvme nvme;
    void *device_memory;
    struct loglet_device *device;
    struct loglet *log;
    time_ns_t now_ns;
    time_ns_t step_ns;
};

static struct rig rig;

static void rig_init(bool zoned)
{
    uint32_t pages = MEMORY_BYTES / PAGE_BYTES;
    memset(&rig, 0, sizeof rig);
    rig.memory =
        (struct dma_region){aligned_alloc(PAGE_BYTES, MEMORY_BYTES), MEMORY_BYTES, rig.addresses};
    for (uint32_t i = 0; i < pages; i++) {
        rig.addresses[i] = 0x5500000000ull + (uint64_t)(pages - i) * 3u * PAGE_BYTES;
    }
    rig.device_memory = malloc(loglet_device_bytes());
    rig.step_ns = 1000;
    nvme_fake_init(&rig.fake, &rig.memory);
    nvme_fake_namespace(&rig.fake, (8u << 20) / 512u, 512, zoned ? 1024 : 0, 1000);
    rig.fake.any_order = true;
    rig.fake.mdts = 4; /* 64 KiB: frames smaller than buffers */
}

static void rig_free(void)
{
    CHECK_EQ(rig.fake.faults, 0);
    nvme_fake_free(&rig.fake);
    free(rig.memory.base);
    free(rig.device_memory);
}

static void turn(void)
{
    rig.now_ns += rig.step_ns;
    nvme_fake_run(&rig.fake, 3);
    loglet_device_poll(rig.device, rig.now_ns);
}

static status_t rig_open(void)
{
    struct nvme_config config = {.registers = rig.fake.space,
                                 .register_bytes = NVME_FAKE_REGISTER_BYTES,
                                 .deadline_ns = 40 * SECOND,
                                 .dma = dma_part(&rig.memory, 0, NVME_QUEUE_MEMORY_BYTES),
                                 .data = rig.memory};
    struct loglet_config log_config = {.block = &rig.nvme.port.block,
                                       .buffers = rig.memory.base + BUFFERS_AT,
                                       .buffer_bytes = BUFFER_BYTES,
                                       .random = {1, 2}};
    struct block_completion none;
    CHECK_EQ(nvme_start(&rig.nvme, &config, rig.now_ns), STATUS_OK);
    for (uint32_t i = 0; i < 100 && nvme_state(&rig.nvme) != NVME_READY; i++) {
        nvme_fake_run(&rig.fake, 3);
        nvme_poll(&rig.nvme.port, &none, 1, ++rig.now_ns);
    }
    CHECK_EQ(nvme_state(&rig.nvme), NVME_READY);
    status_t status = loglet_device_open(rig.device_memory, &log_config, rig.now_ns, &rig.device);
    for (uint32_t i = 0; i < 10000 && status == STATUS_OK; i++) {
        status = loglet_device_state(rig.device);
        if (status != STATUS_AGAIN) {
            break;
        }
        status = STATUS_OK;
        turn();
    }
    if (status == STATUS_OK) {
        status = loglet_open(rig.device, "main", 0, &rig.log);
    }
    for (uint32_t i = 0; i < 1000 && status == STATUS_OK && loglet_state(rig.log) == STATUS_AGAIN;
         i++) {
        turn();
    }
    return status == STATUS_OK ? loglet_state(rig.log) : status;
}

static status_t append(uint32_t n)
{
    static uint8_t record[200000];
    struct loglet_piece piece = {record, n % 9u == 0 ? 200000 : 100u + n};
    log_position_t position;
    memset(record, (int)n, piece.bytes);
    memcpy(record, &n, 4);
    status_t status = loglet_append(rig.log, &piece, 1, &position);
    if (status != STATUS_OK) {
        return status;
    }
    loglet_commit(rig.log, rig.now_ns);
    for (uint32_t i = 0; i < 2000 && position >= loglet_durable(rig.log); i++) {
        if (loglet_state(rig.log) != STATUS_OK) {
            return loglet_state(rig.log);
        }
        turn();
    }
    return position < loglet_durable(rig.log) ? STATUS_OK : STATUS_TIMED_OUT;
}

/* How many records the log holds, numbered from 0. */
static uint32_t count_records(void)
{
    struct loglet_reader reader;
    struct loglet_fragment fragment;
    uint32_t count = 0;
    CHECK_EQ(
        loglet_reader_start(&reader, rig.log, loglet_tail(rig.log), rig.memory.base + READER_AT),
        STATUS_OK);
    for (;;) {
        status_t status = loglet_reader_next(&reader, &fragment);
        if (status == STATUS_AGAIN) {
            turn();
            continue;
        }
        if (status != STATUS_OK) {
            CHECK_EQ(status, STATUS_NOT_FOUND);
            return count;
        }
        if (fragment.offset == 0) {
            uint32_t n;
            memcpy(&n, fragment.data, 4);
            CHECK_EQ(n, count);
        }
        count += fragment.offset + fragment.bytes == fragment.total_bytes;
    }
}

TEST(log_over_the_driver_survives_power_cuts)
{
    for (uint32_t zoned = 0; zoned < 2; zoned++) {
        uint32_t next = 0;
        rig_init(zoned != 0);
        for (uint32_t round = 0; round < 12; round++) {
            CHECK_EQ(rig_open(), STATUS_OK);
            CHECK_EQ(count_records(), next);
            for (uint32_t i = 0; i < 7; i++) {
                CHECK_EQ(append(next), STATUS_OK);
                next++;
            }
            media_cut(&rig.fake.media);
        }
        rig_free();
    }
}

/* A drive that stops answering is reset, and the writes are made again. */
TEST(log_survives_controller_resets)
{
    for (uint32_t zoned = 0; zoned < 2; zoned++) {
        uint32_t next = 0;
        rig_init(zoned != 0);
        CHECK_EQ(rig_open(), STATUS_OK);
        rig.step_ns = SECOND;
        for (uint32_t round = 0; round < 6; round++) {
            rig.fake.swallow = 1;
            rig.fake.ignore_abort = round % 2u == 0;
            CHECK_EQ(append(next++), STATUS_OK);
            CHECK_EQ(append(next++), STATUS_OK);
        }
        CHECK_EQ(rig.nvme.counters.resets, 3);
        CHECK_EQ(rig.nvme.port.counters.aborts, 6);
        rig.step_ns = 1000;
        CHECK_EQ(rig_open(), STATUS_OK);
        CHECK_EQ(count_records(), next);
        rig_free();
    }
}

/* One that never comes back: the log says so and acknowledges nothing more. */
TEST(log_tells_of_a_dead_drive)
{
    rig_init(false);
    CHECK_EQ(rig_open(), STATUS_OK);
    CHECK_EQ(append(0), STATUS_OK);
    rig.step_ns = SECOND;
    rig.fake.swallow = 1000000;
    rig.fake.ignore_abort = true;
    status_t status = append(1);
    CHECK(status == STATUS_DEVICE_TIMEOUT || status == STATUS_DEVICE_ERROR);
    CHECK_EQ(append(2), loglet_state(rig.log));
    rig_free();
}
