// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/nvme/nvme_rig_test.h"

static struct rig rig;

TEST(plain_namespace_reads_what_it_wrote)
{
    for (uint32_t block_bytes = 512; block_bytes <= 4096; block_bytes *= 8) {
        rig_init(&rig, block_bytes, false);
        CHECK_EQ(bring_up(&rig), NVME_READY);
        CHECK_TEXT(rig.nvme.model, "Fake controller");
        CHECK_TEXT(rig.nvme.serial, "SERIAL 1");
        CHECK_EQ(rig.nvme.port.block.block_bytes, block_bytes);
        CHECK_EQ(rig.nvme.port.block.max_transfer_blocks, (512u << 10) / block_bytes);
        CHECK_EQ(rig.fake.msix[0][0], 0xfee00000);
        CHECK_EQ(rig.fake.msix[0][2], 0x41);
        uint32_t sizes[] = {1, 2, 8, 9, 16, 17, 100, (512u << 10) / block_bytes};
        for (uint32_t i = 0; i < 8; i++) {
            uint32_t bytes = sizes[i] * block_bytes;
            uint8_t *from = rig.data + 512u * (i % 3u);
            uint8_t *to = rig.data + (1u << 20) + 1024u * (i % 2u);
            if (bytes > (512u << 10) - 1024u) {
                from = rig.data;
                to = rig.data + (1u << 20);
            }
            for (uint32_t k = 0; k < bytes; k++) {
                from[k] = (uint8_t)(k * 31u + i);
            }
            memset(to, 0, bytes);
            CHECK_EQ(ask(&rig, BLOCK_WRITE, 5 + i, sizes[i], from, BLOCK_FUA).status, STATUS_OK);
            CHECK_EQ(ask(&rig, BLOCK_READ, 5 + i, sizes[i], to, 0).status, STATUS_OK);
            CHECK(memcmp(from, to, bytes) == 0);
        }
        CHECK_EQ(ask(&rig, BLOCK_WRITE_ZEROES, 5, 3, NULL, 0).status, STATUS_OK);
        CHECK_EQ(ask(&rig, BLOCK_DISCARD, 9, 3, NULL, 0).status, STATUS_OK);
        CHECK_EQ(ask(&rig, BLOCK_FLUSH, 0, 0, NULL, 0).status, STATUS_OK);
        CHECK_EQ(rig.fake.flushes, 1);
        CHECK_EQ(ask(&rig, BLOCK_READ, 5, 1, rig.data, 0).status, STATUS_OK);
        CHECK_EQ(rig.data[0] | rig.data[block_bytes - 1], 0);
        rig_free(&rig);
    }
}

TEST(wrong_requests_change_nothing)
{
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    uint64_t count = rig.nvme.port.block.block_count;
    uint32_t commands = rig.fake.commands;
    CHECK_EQ(ask(&rig, BLOCK_READ, count, 1, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_READ, count - 1, 2, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_READ, UINT64_MAX, 2, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_READ, 0, 0, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_READ, 0, 1025, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_READ, 0, 1, rig.data + 1, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_READ, 0, 1, &rig, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_WRITE, 0, 9, rig.data + DATA_BYTES - 4096, 0).status,
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_ZONE_APPEND, 0, 1, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_ZONE_RESET, 0, 0, NULL, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, 99, 0, 1, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, 0, 0, 1, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(rig.fake.commands, commands);
    CHECK_EQ(rig.nvme.port.queue.free_count, rig.nvme.port.queue.depth);
    rig_free(&rig);
}

TEST(zoned_namespace)
{
    rig_init(&rig, 512, true);
    rig.fake.zasl = 5;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    const struct block_device *block = &rig.nvme.port.block;
    CHECK((block->flags & BLOCK_DEVICE_ZONED) != 0);
    CHECK_EQ(block->zone_count, 8);
    CHECK_EQ(block->zone_blocks, 2048);
    CHECK_EQ(block->max_active_zones, 0);
    CHECK_EQ(block->max_open_zones, 14);
    CHECK_EQ(block->max_append_blocks, (128u << 10) / 512u);
    struct block_completion done = ask(&rig, BLOCK_ZONE_APPEND, 4096, 3, rig.data, BLOCK_FUA);
    CHECK_EQ(done.status, STATUS_OK);
    CHECK_EQ(done.block, 4096);
    done = ask(&rig, BLOCK_ZONE_APPEND, 4096, 256, rig.data, 0);
    CHECK_EQ(done.block, 4099);
    CHECK_EQ(ask(&rig, BLOCK_ZONE_APPEND, 4097, 1, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_WRITE, 4096, 1, rig.data, 0).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ask(&rig, BLOCK_ZONE_FINISH, 0, 0, NULL, 0).status, STATUS_OK);
    CHECK_EQ(ask(&rig, BLOCK_ZONE_APPEND, 0, 1, rig.data, 0).status, STATUS_FULL);
    done = ask(&rig, BLOCK_ZONE_REPORT, 0, 63, rig.data, 0);
    CHECK_EQ(done.status, STATUS_OK);
    CHECK_EQ(done.block, 8);
    struct block_zone zone[3];
    memcpy(zone, rig.data, sizeof zone);
    CHECK_EQ(zone[0].state, BLOCK_ZONE_FULL);
    CHECK_EQ(zone[1].state, BLOCK_ZONE_EMPTY);
    CHECK_EQ(zone[2].state, BLOCK_ZONE_OPEN_STATE);
    CHECK_EQ(zone[2].written_blocks, 259);
    CHECK_EQ(zone[2].capacity, 1536);
    CHECK_EQ(ask(&rig, BLOCK_ZONE_RESET, 4096, 0, NULL, 0).status, STATUS_OK);
    done = ask(&rig, BLOCK_ZONE_APPEND, 4096, 1, rig.data, 0);
    CHECK_EQ(done.block, 4096);
    rig.fake.hostility = HOSTILE_APPEND_PLACE;
    CHECK_EQ(ask(&rig, BLOCK_ZONE_APPEND, 4096, 1, rig.data, 0).status, STATUS_DEVICE_ERROR);
    CHECK_EQ(rig.nvme.port.counters.violations, 1);
    rig_free(&rig);
}

TEST(batches_and_queue_full)
{
    struct block_request requests[64];
    uint64_t seen = 0;
    rig_init(&rig, 512, false);
    rig.fake.any_order = true;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < 64; i++) {
            requests[i] = (struct block_request){.cookie = i,
                                                 .block = i,
                                                 .blocks = 1,
                                                 .operation = i % 2 ? BLOCK_READ : BLOCK_WRITE,
                                                 .data = rig.data + 512u * i};
        }
        uint32_t doorbells = rig.fake.doorbell_writes;
        CHECK_EQ(nvme_submit(&rig.nvme.port, requests, 64, rig.now_ns), 63);
        CHECK_EQ(nvme_submit(&rig.nvme.port, requests + 63, 1, rig.now_ns), 0);
        CHECK_EQ(rig.fake.doorbell_writes, doorbells + 1);
        rig.done_count = 0;
        seen = 0;
        for (uint32_t i = 0; i < 10 && rig.done_count < 63; i++) {
            turn(&rig, 1000);
        }
        CHECK_EQ(rig.done_count, 63);
        for (uint32_t i = 0; i < rig.done_count; i++) {
            CHECK_EQ(rig.done[i].status, STATUS_OK);
            seen |= 1ull << rig.done[i].cookie;
        }
        CHECK_EQ(seen, (1ull << 63) - 1u);
    }
    rig_free(&rig);
}

TEST(small_queues_and_transfers)
{
    rig_init(&rig, 4096, false);
    rig.fake.mqes = 4; /* five entries: not a power of two */
    rig.fake.mdts = 1;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK_EQ(rig.nvme.port.block.queue_depth, 4);
    CHECK_EQ(rig.nvme.port.block.max_transfer_blocks, 2);
    for (uint32_t i = 0; i < 40; i++) {
        CHECK_EQ(ask(&rig, BLOCK_WRITE, i, 2, rig.data, 0).status, STATUS_OK);
    }
    rig_free(&rig);
}

TEST(sleeping_loses_no_wake_up)
{
    struct block_request request = {.blocks = 1, .operation = BLOCK_READ, .cookie = 1};
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    request.data = rig.data;
    CHECK_EQ(nvme_next_due(&rig.nvme.port), DEADLINE_NEVER);
    /* Completed before arming: arm refuses. */
    CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
    nvme_fake_run(&rig.fake, 1);
    uint32_t interrupts = rig.fake.interrupts;
    CHECK(!nvme_arm(&rig.nvme.port));
    CHECK(rig.fake.msix[0][3] == NVME_MSIX_MASKED);
    rig.done_count = 0;
    turn(&rig, 1000);
    CHECK_EQ(rig.done_count, 1);
    /* Completed after arming: an interrupt comes. */
    CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
    CHECK(nvme_arm(&rig.nvme.port));
    time_ns_t due_ns = nvme_next_due(&rig.nvme.port);
    CHECK(due_ns > rig.now_ns && due_ns <= rig.now_ns + 40 * SECOND);
    interrupts = rig.fake.interrupts;
    nvme_fake_run(&rig.fake, 1);
    CHECK_EQ(rig.fake.interrupts, interrupts + 1);
    nvme_disarm(&rig.nvme.port);
    rig.done_count = 0;
    turn(&rig, 1000);
    CHECK_EQ(rig.done_count, 1);
    rig_free(&rig);
}

TEST(late_command_is_aborted)
{
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    rig.fake.swallow = 1;
    struct block_request request = {
        .blocks = 1, .operation = BLOCK_READ, .cookie = 5, .data = rig.data};
    CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
    rig.done_count = 0;
    for (uint32_t i = 0; i < 39; i++) {
        turn(&rig, SECOND);
        CHECK_EQ(rig.done_count, 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        turn(&rig, SECOND);
    }
    CHECK_EQ(rig.done_count, 1);
    CHECK_EQ(rig.done[0].status, STATUS_DEVICE_TIMEOUT);
    CHECK_EQ(rig.nvme.port.counters.aborts, 1);
    CHECK_EQ(rig.nvme.counters.resets, 0);
    CHECK_EQ(ask(&rig, BLOCK_READ, 0, 1, rig.data, 0).status, STATUS_OK);
    rig_free(&rig);
}

TEST(deaf_controller_is_reset)
{
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    rig.fake.swallow = 2;
    rig.fake.ignore_abort = true;
    struct block_request requests[3] = {
        {.blocks = 1, .operation = BLOCK_READ, .cookie = 5, .data = rig.data},
        {.blocks = 1, .operation = BLOCK_WRITE, .cookie = 6, .data = rig.data + 4096},
        {.blocks = 1, .operation = BLOCK_WRITE, .cookie = 7, .data = rig.data + 8192}};
    CHECK_EQ(nvme_submit(&rig.nvme.port, requests, 3, rig.now_ns), 3);
    rig.done_count = 0;
    for (uint32_t i = 0; i < 70 && rig.done_count < 3; i++) {
        turn(&rig, SECOND);
    }
    CHECK_EQ(rig.done_count, 3);
    CHECK_EQ(rig.done[0].cookie, 7);
    CHECK_EQ(rig.done[0].status, STATUS_OK);
    CHECK_EQ(rig.done[1].status, STATUS_DEVICE_TIMEOUT);
    CHECK_EQ(rig.done[2].status, STATUS_DEVICE_TIMEOUT);
    CHECK_EQ(rig.nvme.counters.resets, 1);
    for (uint32_t i = 0; i < 20; i++) {
        turn(&rig, 1000);
    }
    CHECK_EQ(nvme_state(&rig.nvme), NVME_READY);
    CHECK_EQ(ask(&rig, BLOCK_READ, 0, 1, rig.data, 0).status, STATUS_OK);
    rig_free(&rig);
}

TEST(fatal_status_resets)
{
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    struct block_request request = {
        .blocks = 1, .operation = BLOCK_WRITE, .cookie = 5, .data = rig.data};
    CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
    nvme_fake_break(&rig.fake);
    rig.done_count = 0;
    for (uint32_t i = 0; i < 60 && rig.done_count == 0; i++) {
        turn(&rig, SECOND);
    }
    CHECK_EQ(rig.done_count, 1);
    CHECK_EQ(rig.done[0].status, STATUS_DEVICE_ERROR);
    for (uint32_t i = 0; i < 20; i++) {
        turn(&rig, 1000);
    }
    CHECK_EQ(ask(&rig, BLOCK_READ, 0, 1, rig.data, 0).status, STATUS_OK);
    rig_free(&rig);
}

TEST(hostile_completions_reset_and_end_dead)
{
    static const enum nvme_fake_hostility kinds[] = {HOSTILE_BAD_CID, HOSTILE_DOUBLE,
                                                     HOSTILE_BAD_SQ_HEAD};
    for (uint32_t k = 0; k < 3; k++) {
        rig_init(&rig, 512, false);
        CHECK_EQ(bring_up(&rig), NVME_READY);
        for (uint32_t round = 0; round < 3; round++) {
            rig.fake.hostility = kinds[k];
            struct block_completion done = ask(&rig, BLOCK_READ, 0, 1, rig.data, 0);
            CHECK_EQ(done.status, kinds[k] == HOSTILE_DOUBLE ? STATUS_OK : STATUS_DEVICE_ERROR);
            for (uint32_t i = 0; i < 20; i++) {
                turn(&rig, 1000);
            }
            CHECK_EQ(rig.nvme.port.counters.violations, round + 1);
            CHECK_EQ(nvme_state(&rig.nvme), NVME_READY);
        }
        for (uint32_t round = 0; round < 5 && nvme_state(&rig.nvme) == NVME_READY; round++) {
            rig.fake.hostility = HOSTILE_BAD_CID;
            (void)ask(&rig, BLOCK_READ, 0, 1, rig.data, 0);
            for (uint32_t i = 0; i < 20; i++) {
                turn(&rig, 1000);
            }
        }
        CHECK_EQ(nvme_state(&rig.nvme), NVME_DEAD);
        CHECK_EQ(ask(&rig, BLOCK_READ, 0, 1, rig.data, 0).status, STATUS_DEVICE_ERROR);
        rig_free(&rig);
    }
}

TEST(errors_are_told)
{
    static const struct {
        uint32_t device;
        status_t status;
    } cases[] = {{NVME_SC_UNRECOVERED_READ, STATUS_DEVICE_ERROR},
                 {NVME_SC_CAPACITY, STATUS_FULL},
                 {NVME_SC_INVALID_OPCODE, STATUS_UNSUPPORTED},
                 {NVME_SC_INTERNAL, STATUS_DEVICE_ERROR},
                 {0x7ff, STATUS_DEVICE_ERROR}};
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    for (uint32_t i = 0; i < 5; i++) {
        rig.fake.fail_next = 1;
        rig.fake.fail_status = cases[i].device;
        struct block_completion done = ask(&rig, BLOCK_READ, 0, 1, rig.data, 0);
        CHECK_EQ(done.status, cases[i].status);
        CHECK_EQ(done.device_status, cases[i].device);
    }
    rig_free(&rig);
}

TEST(stop_deletes_queues_and_notifies)
{
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    struct block_request request = {
        .blocks = 1, .operation = BLOCK_WRITE, .cookie = 5, .data = rig.data};
    CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
    nvme_stop(&rig.nvme, rig.now_ns);
    rig.done_count = 0;
    for (uint32_t i = 0; i < 20; i++) {
        turn(&rig, 1000);
    }
    CHECK_EQ(rig.done_count, 1);
    CHECK_EQ(nvme_state(&rig.nvme), NVME_STOPPED);
    CHECK_EQ(rig.fake.shutdowns, 1);
    CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 0);
    rig_free(&rig);
}

TEST(controller_that_never_answers)
{
    rig_init(&rig, 512, false);
    rig.fake.never_ready = true;
    CHECK_EQ(nvme_start(&rig.nvme, &rig.config, 0), STATUS_OK);
    for (uint32_t i = 0; i < 100; i++) {
        turn(&rig, SECOND);
    }
    CHECK_EQ(nvme_state(&rig.nvme), NVME_DEAD);
    CHECK_EQ(rig.nvme.last_error, STATUS_DEVICE_TIMEOUT);
    rig_free(&rig);
}

/* Any identify data: brought up or refused, never a crash or a wild access. */
static uint8_t corrupt(void *context, uint32_t cns, uint32_t offset, uint8_t byte)
{
    struct nvme_fake *fake = context;
    (void)cns;
    (void)offset;
    return media_random(&fake->media) % 16u == 0 ? (uint8_t)media_random(&fake->media) : byte;
}

TEST(identify_data_is_not_believed)
{
    uint32_t ready = 0;
    for (uint32_t round = 0; round < 400; round++) {
        rig_init(&rig, 512, round % 2 == 0);
        rig.fake.media.random += round * 7919u;
        rig.fake.corrupt_identify = corrupt;
        rig.fake.corrupt_context = &rig.fake;
        ready += bring_up(&rig) == NVME_READY;
        rig.fake.faults = 0; /* a wrong namespace is the fake's own fault here */
        rig.fake.fault = NULL;
        rig_free(&rig);
    }
    CHECK(ready < 400);
}
