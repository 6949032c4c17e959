// SPDX-License-Identifier: MIT OR Apache-2.0
/* Tests only: a driver and a fake controller that share memory. */
#ifndef DRIVERS_NVME_RIG_TEST_H
#define DRIVERS_NVME_RIG_TEST_H

#include <stdlib.h>

#include "drivers/nvme/nvme.h"
#include "drivers/nvme/nvme_fake.h"
#include "drivers/nvme/nvme_spec.h"
#include "tests/check.h"

#define DATA_BYTES (2u << 20)
#define MEMORY_BYTES (NVME_QUEUE_MEMORY_BYTES + DATA_BYTES)
#define SECOND 1000000000ull

struct rig {
    struct dma_region memory;
    uint64_t addresses[MEMORY_BYTES / PAGE_BYTES];
    uint8_t *data;
    struct nvme_fake fake;
    struct nvme_config config;
    struct nvme nvme;
    time_ns_t now_ns;
    struct block_completion done[64];
    uint32_t done_count;
};

static inline void rig_init(struct rig *rig, uint32_t block_bytes, bool zoned)
{
    uint32_t pages = MEMORY_BYTES / PAGE_BYTES;
    memset(rig, 0, sizeof *rig);
    rig->memory =
        (struct dma_region){aligned_alloc(PAGE_BYTES, MEMORY_BYTES), MEMORY_BYTES, rig->addresses};
    memset(rig->memory.base, 0xee, MEMORY_BYTES);
    /* No two neighbours are neighbours for the device. */
    for (uint32_t i = 0; i < pages; i++) {
        rig->addresses[i] = 0x7700000000ull + (uint64_t)(i * 37u % pages) * 2u * PAGE_BYTES;
    }
    rig->data = rig->memory.base + NVME_QUEUE_MEMORY_BYTES;
    nvme_fake_init(&rig->fake, &rig->memory);
    nvme_fake_namespace(&rig->fake, (8u << 20) / block_bytes, block_bytes,
                        zoned ? (1u << 20) / block_bytes : 0, (768u << 10) / block_bytes);
    rig->config = (struct nvme_config){
        .registers = rig->fake.space,
        .register_bytes = NVME_FAKE_REGISTER_BYTES,
        .vector = {rig->fake.space + NVME_FAKE_MSIX_OFFSET, 0xfee00000, 0x41, 0},
        .shadow_doorbells = true,
        .deadline_ns = 40 * SECOND,
        .dma = dma_part(&rig->memory, 0, NVME_QUEUE_MEMORY_BYTES),
        .data = rig->memory,
    };
}

static inline void rig_free(struct rig *rig)
{
    CHECK_EQ(rig->fake.faults, 0);
    CHECK_TEXT(rig->fake.fault == NULL ? "" : rig->fake.fault, "");
    nvme_fake_free(&rig->fake);
    free(rig->memory.base);
}

static inline void turn(struct rig *rig, time_ns_t step_ns)
{
    rig->now_ns += step_ns;
    nvme_fake_run(&rig->fake, 64);
    rig->done_count +=
        nvme_poll(&rig->nvme.port, rig->done + rig->done_count, 64u - rig->done_count, rig->now_ns);
}

static inline enum nvme_state bring_up(struct rig *rig)
{
    CHECK_EQ(nvme_start(&rig->nvme, &rig->config, rig->now_ns), STATUS_OK);
    for (uint32_t i = 0;
         i < 1000 && nvme_state(&rig->nvme) != NVME_READY && nvme_state(&rig->nvme) != NVME_DEAD;
         i++) {
        turn(rig, 1000);
    }
    return nvme_state(&rig->nvme);
}

/* One request, to its completion. */
static inline struct block_completion ask(struct rig *rig, uint8_t operation, uint64_t block,
                                          uint32_t blocks, void *data, uint8_t flags)
{
    struct block_request request = {.cookie = 77,
                                    .block = block,
                                    .blocks = blocks,
                                    .operation = operation,
                                    .flags = flags,
                                    .data = data};
    rig->done_count = 0;
    CHECK_EQ(nvme_submit(&rig->nvme.port, &request, 1, rig->now_ns), 1);
    for (uint32_t i = 0; i < 1000 && rig->done_count == 0; i++) {
        turn(rig, 1000);
    }
    CHECK_EQ(rig->done_count, 1);
    CHECK_EQ(rig->done[0].cookie, 77);
    return rig->done[0];
}

#endif
