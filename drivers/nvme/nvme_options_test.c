// SPDX-License-Identifier: MIT OR Apache-2.0
/* What a drive may have: pieces, lists, shadow doorbells, health. */
#include "drivers/nvme/nvme_rig_test.h"

static struct rig rig;

/* Pieces that lie apart, the first with an odd start, the last with an odd end, are one write. */
TEST(pieces_become_one_command)
{
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    uint8_t *to = rig.data + (1u << 20);
    for (uint32_t k = 0; k < 16u * PAGE_BYTES; k++) {
        rig.data[k] = (uint8_t)(k * 7u + (k >> 12));
    }
    for (uint32_t count = 1; count <= 4; count++) {
        struct block_piece pieces[4] = {
            {rig.data + PAGE_BYTES - 512u, 512u, 0},
            {rig.data + 7u * PAGE_BYTES, PAGE_BYTES, 0},
            {rig.data + 3u * PAGE_BYTES, 2u * PAGE_BYTES, 0},
            {rig.data + 9u * PAGE_BYTES, PAGE_BYTES - 512u, 0},
        };
        struct block_request request = {.cookie = 5,
                                        .block = 100,
                                        .operation = BLOCK_WRITE,
                                        .flags = BLOCK_VECTORED | BLOCK_FUA,
                                        .pieces = (uint8_t)count,
                                        .data = pieces};
        uint32_t at = 0;
        for (uint32_t i = 0; i < count; i++) {
            request.blocks += pieces[i].bytes / 512u;
        }
        rig.done_count = 0;
        CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
        turn(&rig, 1000);
        turn(&rig, 1000);
        CHECK_EQ(rig.done_count, 1);
        CHECK_EQ(rig.done[0].status, STATUS_OK);
        CHECK_EQ(ask(&rig, BLOCK_READ, 100, request.blocks, to, 0).status, STATUS_OK);
        for (uint32_t i = 0; i < count; i++) {
            CHECK(memcmp(to + at, pieces[i].data, pieces[i].bytes) == 0);
            at += pieces[i].bytes;
        }
        /* One block too few: refused. */
        pieces[0].bytes -= 4u;
        rig.done_count = 0;
        CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
        turn(&rig, 1000);
        CHECK_EQ(rig.done[0].status, STATUS_INVALID_ARGUMENT);
    }
    CHECK_EQ(rig.fake.faults, 0);
    rig_free(&rig);
}

/* With many requests under way most doorbells are not written: the controller looks by itself. None
 * of the requests is forgotten for it. */
TEST(shadow_doorbells)
{
    for (uint32_t shadows = 0; shadows < 2; shadows++) {
        rig_init(&rig, 512, false);
        rig.fake.no_shadow_doorbells = shadows == 0;
        CHECK_EQ(bring_up(&rig), NVME_READY);
        CHECK_EQ(rig.fake.shadow_address != 0, shadows != 0);
        rig.nvme.port.counters.doorbells = 0;
        uint32_t done = 0;
        for (uint32_t i = 0; i < 2000; i++) {
            struct block_request request = {.cookie = i,
                                            .block = i % 64u,
                                            .blocks = 1,
                                            .operation = BLOCK_READ,
                                            .data = rig.data};
            (void)nvme_submit(&rig.nvme.port, &request, 1, ++rig.now_ns);
            if (i % 3u == 0) {
                nvme_fake_run(&rig.fake, 2);
            }
            done += nvme_poll(&rig.nvme.port, rig.done, 64, rig.now_ns);
        }
        for (uint32_t i = 0; i < 100; i++) {
            nvme_fake_run(&rig.fake, 64);
            done += nvme_poll(&rig.nvme.port, rig.done, 64, ++rig.now_ns);
        }
        CHECK_EQ(done, rig.nvme.port.counters.submitted);
        CHECK_EQ(rig.nvme.port.queue.free_count, rig.nvme.port.queue.depth);
        CHECK_EQ(rig.nvme.port.counters.shadowed != 0, shadows != 0);
        CHECK(shadows == 0 ||
              rig.nvme.port.counters.doorbells < rig.nvme.port.counters.submitted / 4u);
        /* They are set up again after a reset. */
        nvme_fake_break(&rig.fake);
        struct block_request request = {
            .cookie = 1, .block = 1, .blocks = 1, .operation = BLOCK_READ, .data = rig.data};
        (void)nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns);
        rig.done_count = 0;
        for (uint32_t i = 0; i < 100 && rig.nvme.counters.resets == 0; i++) {
            turn(&rig, 60ull * 1000 * 1000 * 1000);
        }
        for (uint32_t i = 0; i < 100 && nvme_state(&rig.nvme) != NVME_READY; i++) {
            turn(&rig, 1000);
        }
        CHECK_EQ(ask(&rig, BLOCK_WRITE, 3, 1, rig.data, 0).status, STATUS_OK);
        CHECK_EQ(rig.fake.shadow_address != 0, shadows != 0);
        CHECK_EQ(rig.fake.faults, 0);
        rig_free(&rig);
    }
}

/* What went wrong on the drive, the newest first; what it does not tell any more stays. */
TEST(error_log)
{
    struct nvme *nvme = &rig.nvme;

    rig_init(&rig, 4096, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    for (uint32_t round = 0; round < 4u; round++) {
        static const uint32_t errors[] = {0, 2, 9, 12};
        rig.fake.errors = errors[round];
        rig.fake.no_error_log = round == 3u;
        CHECK(nvme_ask(nvme, rig.now_ns));
        for (uint32_t i = 0; i < 50 && nvme->answers == round; i++) {
            turn(&rig, 1000);
        }
        CHECK_EQ(nvme->answers, round + 1u);
        CHECK_EQ(nvme->health.error_log_entries, errors[round]);
        uint32_t newest = round == 3u ? 9 : errors[round];
        CHECK_EQ(nvme->error_count, newest < NVME_FAKE_ERRORS ? newest : NVME_FAKE_ERRORS);
        for (uint32_t i = 0; i < nvme->error_count; i++) {
            CHECK_EQ(nvme->errors[i].number, newest - i);
            CHECK_EQ(nvme->errors[i].block, 1000u + newest - i);
            CHECK_EQ(nvme->errors[i].device_status, 0x281);
            CHECK_EQ(nvme->errors[i].namespace_id, 1);
        }
    }
    rig_free(&rig);
}

TEST(health_and_compare)
{
    rig_init(&rig, 4096, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK_EQ(rig.nvme.port.block.atomic_blocks, 8);
    CHECK(!rig.nvme.health.valid);
    CHECK(nvme_ask(&rig.nvme, rig.now_ns));
    CHECK(!nvme_ask(&rig.nvme, rig.now_ns)); /* one at a time */
    for (uint32_t i = 0; i < 10 && !rig.nvme.health.valid; i++) {
        turn(&rig, 1000);
    }
    CHECK(rig.nvme.health.valid);
    CHECK_EQ(rig.nvme.health.critical_warning, 4);
    CHECK_EQ(rig.nvme.health.temperature_kelvin, 310);
    CHECK_EQ(rig.nvme.health.used_percent, 3);
    CHECK_EQ(rig.nvme.health.written_units, 2000);
    CHECK_EQ(rig.nvme.health.media_errors, 1);
    memset(rig.data, 0x77, PAGE_BYTES);
    CHECK_EQ(ask(&rig, BLOCK_WRITE, 9, 1, rig.data, 0).status, STATUS_OK);
    CHECK_EQ(ask(&rig, BLOCK_COMPARE, 9, 1, rig.data, 0).status, STATUS_OK);
    rig.data[100] ^= 1u;
    CHECK_EQ(ask(&rig, BLOCK_COMPARE, 9, 1, rig.data, 0).status, STATUS_CORRUPT);
    CHECK_EQ(rig.fake.faults, 0);
    rig_free(&rig);
}

/* Pieces that begin and end anywhere, where the drive has SGLs; refused where it has not. */
TEST(odd_pieces)
{
    for (uint32_t sgl = 0; sgl < 2; sgl++) {
        rig_init(&rig, 512, false);
        rig.fake.no_sgl = sgl == 0;
        CHECK_EQ(bring_up(&rig), NVME_READY);
        CHECK_EQ((rig.nvme.port.block.flags & BLOCK_DEVICE_ANY_PIECES) != 0, sgl != 0);
        uint8_t *to = rig.data + (1u << 20);
        for (uint32_t k = 0; k < 16u * PAGE_BYTES; k++) {
            rig.data[k] = (uint8_t)(k * 7u + (k >> 12));
        }
        struct block_piece pieces[3] = {{rig.data + 100, 5000, 0},
                                        {rig.data + 9u * PAGE_BYTES + 8u, 12, 0},
                                        {rig.data + 20004, 14u * 512u - 5012u, 0}};
        struct block_request request = {.block = 100,
                                        .blocks = 14,
                                        .operation = BLOCK_WRITE,
                                        .flags = BLOCK_VECTORED,
                                        .pieces = 3,
                                        .data = pieces};
        rig.done_count = 0;
        CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
        turn(&rig, 1000);
        turn(&rig, 1000);
        CHECK_EQ(rig.done_count, 1);
        CHECK_EQ(rig.done[0].status, sgl != 0 ? STATUS_OK : STATUS_INVALID_ARGUMENT);
        if (sgl != 0) {
            CHECK_EQ(ask(&rig, BLOCK_READ, 100, 14, to, 0).status, STATUS_OK);
            CHECK(memcmp(to, pieces[0].data, 5000) == 0);
            CHECK(memcmp(to + 5000, pieces[1].data, 12) == 0);
            CHECK(memcmp(to + 5012, pieces[2].data, pieces[2].bytes) == 0);
            /* And read into odd pieces. */
            memset(rig.data, 0, 16u * PAGE_BYTES);
            request.operation = BLOCK_READ;
            rig.done_count = 0;
            CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
            turn(&rig, 1000);
            turn(&rig, 1000);
            CHECK_EQ(rig.done[0].status, STATUS_OK);
            CHECK(memcmp(to + 5012, pieces[2].data, pieces[2].bytes) == 0);
            CHECK_EQ(rig.data[99], 0);
        }
        CHECK_EQ(rig.fake.faults, 0);
        rig_free(&rig);
    }
}
