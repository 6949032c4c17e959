// SPDX-License-Identifier: MIT OR Apache-2.0
/* Copy, placement handles, limits of namespaces, zones that are not as they should be. */
#include "drivers/nvme/nvme_rig_test.h"

static struct rig rig;

static struct block_completion ask_for(struct block_request request)
{
    request.cookie = 5;
    rig.done_count = 0;
    CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
    for (uint32_t i = 0; i < 100 && rig.done_count == 0; i++) {
        turn(&rig, 1000);
    }
    CHECK_EQ(rig.done_count, 1);
    CHECK_EQ(rig.done[0].cookie, 5);
    return rig.done[0];
}

static struct block_completion copy(uint64_t to, const struct block_range *ranges, uint8_t count)
{
    struct block_request request = {
        .operation = BLOCK_COPY, .block = to, .pieces = count, .data = (void *)(uintptr_t)ranges};

    for (uint32_t i = 0; i < count; i++) {
        request.blocks += ranges[i].blocks;
    }
    return ask_for(request);
}

TEST(copy_within_the_drive)
{
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    const struct block_device *block = &rig.nvme.port.block;
    CHECK((block->flags & BLOCK_DEVICE_COPY) != 0);
    CHECK_EQ(block->max_copy_ranges, 4);
    CHECK_EQ(block->max_copy_range_blocks, 64);
    CHECK_EQ(block->max_copy_blocks, 100);
    for (uint32_t i = 0; i < 64u * 512u; i++) {
        rig.data[i] = (uint8_t)(i / 512u * 3u + i);
    }
    CHECK_EQ(ask(&rig, BLOCK_WRITE, 100, 64, rig.data, 0).status, STATUS_OK);
    struct block_range ranges[5] = {{163, 1, 0}, {100, 64, 0}, {110, 2, 0}};
    CHECK_EQ(copy(1000, ranges, 3).status, STATUS_OK);
    CHECK_EQ(rig.fake.copies, 1);
    uint8_t *got = rig.data + (1u << 20);
    CHECK_EQ(ask(&rig, BLOCK_READ, 1000, 67, got, 0).status, STATUS_OK);
    CHECK(memcmp(got, rig.data + 63u * 512u, 512) == 0);
    CHECK(memcmp(got + 512, rig.data, 64u * 512u) == 0);
    CHECK(memcmp(got + 65u * 512u, rig.data + 10u * 512u, 1024) == 0);
    /* Refused before the drive sees them: too many, too long, too much, outside, nothing. */
    uint32_t commands = rig.fake.commands;
    CHECK_EQ(copy(1000, ranges, 0).status, STATUS_INVALID_ARGUMENT);
    for (uint32_t i = 0; i < 5; i++) {
        ranges[i] = (struct block_range){i, 1, 0};
    }
    CHECK_EQ(copy(1000, ranges, 5).status, STATUS_INVALID_ARGUMENT);
    ranges[0].blocks = 65;
    CHECK_EQ(copy(1000, ranges, 1).status, STATUS_INVALID_ARGUMENT);
    ranges[0].blocks = 60;
    ranges[1].blocks = 60;
    CHECK_EQ(copy(1000, ranges, 2).status, STATUS_INVALID_ARGUMENT);
    ranges[0] = (struct block_range){block->block_count - 1u, 2, 0};
    CHECK_EQ(copy(1000, ranges, 1).status, STATUS_INVALID_ARGUMENT);
    ranges[0] = (struct block_range){0, 2, 0};
    CHECK_EQ(copy(block->block_count - 1u, ranges, 1).status, STATUS_INVALID_ARGUMENT);
    struct block_request short_of = {
        .operation = BLOCK_COPY, .block = 9, .blocks = 3, .pieces = 1, .data = ranges};
    CHECK_EQ(ask_for(short_of).status, STATUS_INVALID_ARGUMENT);
    CHECK_EQ(rig.fake.commands, commands);
    rig_free(&rig);
}

TEST(placement_handles)
{
    for (uint32_t offered = 0; offered < 2; offered++) {
        rig_init(&rig, 4096, false);
        rig.fake.placement = offered != 0;
        CHECK_EQ(bring_up(&rig), NVME_READY);
        CHECK_EQ(rig.nvme.port.block.placements, offered != 0 ? NVME_FAKE_PLACEMENTS : 0);
        struct block_request request = {.block = 3,
                                        .blocks = 2,
                                        .operation = BLOCK_WRITE,
                                        .flags = BLOCK_PLACED | BLOCK_FUA,
                                        .placement = 2,
                                        .data = rig.data};
        CHECK_EQ(ask_for(request).status, offered != 0 ? STATUS_OK : STATUS_INVALID_ARGUMENT);
        CHECK_EQ(rig.fake.placed_blocks[2], offered != 0 ? 2u : 0);
        request.placement = NVME_FAKE_PLACEMENTS;
        CHECK_EQ(ask_for(request).status, STATUS_INVALID_ARGUMENT);
        request.placement = 0;
        request.operation = BLOCK_READ;
        CHECK_EQ(ask_for(request).status, STATUS_INVALID_ARGUMENT);
        /* A plain write in the same queue entry has no placement. */
        for (uint32_t i = 0; i < 2u * NVME_QUEUE_ENTRIES; i++) {
            CHECK_EQ(ask(&rig, BLOCK_WRITE, 1, 1, rig.data, 0).status, STATUS_OK);
        }
        CHECK_EQ(rig.fake.placed_blocks[0], 0);
        rig_free(&rig);
    }
}

TEST(a_namespace_has_limits_of_its_own)
{
    rig_init(&rig, 512, false);
    rig.fake.nawupf = 31;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK_EQ(rig.nvme.port.block.atomic_blocks, 32);
    rig_free(&rig);
    rig_init(&rig, 512, false);
    rig.fake.nawupf = 31;
    rig.fake.nabspf = 15; /* nothing across a boundary is kept whole */
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK_EQ(rig.nvme.port.block.atomic_blocks, 1);
    rig_free(&rig);
}

static struct block_completion append_to(uint32_t zone)
{
    return ask(&rig, BLOCK_ZONE_APPEND, (uint64_t)zone * rig.nvme.port.block.zone_blocks, 1,
               rig.data, 0);
}

static struct block_completion to_zone(uint8_t operation, uint32_t zone)
{
    return ask(&rig, operation, (uint64_t)zone * rig.nvme.port.block.zone_blocks, 0, NULL, 0);
}

/* As many zones as the drive takes, and no more; each way of giving one up makes room. */
TEST(active_and_open_limits)
{
    rig_init(&rig, 512, true);
    rig.fake.max_active = 4;
    rig.fake.max_open = 2;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    rig.fake.media.max_active = 4;
    rig.fake.media.max_open = 2;
    CHECK_EQ(rig.nvme.port.block.max_active_zones, 4);
    CHECK_EQ(rig.nvme.port.block.max_open_zones, 2);
    for (uint32_t zone = 0; zone < 4; zone++) {
        CHECK_EQ(append_to(zone).status, STATUS_OK);
    }
    struct block_completion done = append_to(4);
    CHECK_EQ(done.status, STATUS_FULL);
    CHECK_EQ(done.device_status, NVME_SC_TOO_MANY_ACTIVE);
    done = to_zone(BLOCK_ZONE_OPEN, 5);
    CHECK_EQ(done.device_status, NVME_SC_TOO_MANY_ACTIVE);
    /* Closed zones stay active; open ones are limited by themselves. */
    CHECK_EQ(to_zone(BLOCK_ZONE_CLOSE, 2).status, STATUS_OK);
    CHECK_EQ(to_zone(BLOCK_ZONE_CLOSE, 3).status, STATUS_OK);
    CHECK_EQ(append_to(4).device_status, NVME_SC_TOO_MANY_ACTIVE);
    CHECK_EQ(to_zone(BLOCK_ZONE_OPEN, 0).status, STATUS_OK);
    CHECK_EQ(to_zone(BLOCK_ZONE_OPEN, 1).status, STATUS_OK);
    CHECK_EQ(to_zone(BLOCK_ZONE_OPEN, 2).device_status, NVME_SC_TOO_MANY_OPEN);
    CHECK_EQ(to_zone(BLOCK_ZONE_FINISH, 0).status, STATUS_OK);
    CHECK_EQ(append_to(4).status, STATUS_OK);
    CHECK_EQ(append_to(5).status, STATUS_FULL);
    CHECK_EQ(to_zone(BLOCK_ZONE_RESET, 1).status, STATUS_OK);
    CHECK_EQ(append_to(5).status, STATUS_OK);
    rig_free(&rig);
}

TEST(read_only_and_offline_zones)
{
    rig_init(&rig, 512, true);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    for (uint32_t zone = 0; zone < 3; zone++) {
        CHECK_EQ(append_to(zone).status, STATUS_OK);
    }
    rig.fake.media.zones[1].read_only = true;
    rig.fake.media.zones[2].offline = true;
    uint64_t zone_blocks = rig.nvme.port.block.zone_blocks;
    CHECK_EQ(append_to(1).device_status, NVME_SC_ZONE_READ_ONLY);
    CHECK_EQ(append_to(1).status, STATUS_DEVICE_ERROR);
    CHECK_EQ(append_to(2).device_status, NVME_SC_ZONE_OFFLINE);
    CHECK_EQ(to_zone(BLOCK_ZONE_RESET, 1).status, STATUS_DEVICE_ERROR);
    CHECK_EQ(to_zone(BLOCK_ZONE_FINISH, 2).status, STATUS_DEVICE_ERROR);
    CHECK_EQ(ask(&rig, BLOCK_READ, zone_blocks, 1, rig.data, 0).status, STATUS_OK);
    CHECK_EQ(ask(&rig, BLOCK_READ, 2u * zone_blocks, 1, rig.data, 0).status, STATUS_DEVICE_ERROR);
    struct block_completion done = ask(&rig, BLOCK_ZONE_REPORT, 0, 3, rig.data, 0);
    CHECK_EQ(done.block, 3);
    struct block_zone zones[3];
    memcpy(zones, rig.data, sizeof zones);
    CHECK_EQ(zones[0].state, BLOCK_ZONE_OPEN_STATE);
    CHECK_EQ(zones[1].state, BLOCK_ZONE_READ_ONLY);
    CHECK_EQ(zones[1].written_blocks, zones[1].capacity);
    CHECK_EQ(zones[2].state, BLOCK_ZONE_DEAD);
    CHECK_EQ(zones[2].written_blocks, 0);
    rig_free(&rig);
}

/* Virtual functions get a queue pair and an interrupt each and go online; after a reset those that
 * still are stay as they are. */
TEST(secondary_controllers)
{
    rig_init(&rig, 512, false);
    rig.fake.secondaries = 3;
    rig.config.virtual_functions = 2;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK_EQ(rig.nvme.secondaries_online, 2);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(rig.fake.secondary[i].online, i < 2);
        CHECK_EQ(rig.fake.secondary[i].queues, i < 2 ? 2u : 0);
        CHECK_EQ(rig.fake.secondary[i].interrupts, i < 2 ? 1u : 0);
    }
    rig.fake.secondary[0].online = false;
    rig.fake.hostility = HOSTILE_BAD_CID;
    CHECK_EQ(ask(&rig, BLOCK_READ, 0, 1, rig.data, 0).status, STATUS_DEVICE_ERROR);
    for (uint32_t i = 0; i < 40; i++) {
        turn(&rig, 1000);
    }
    CHECK_EQ(nvme_state(&rig.nvme), NVME_READY);
    CHECK(rig.fake.secondary[0].online && rig.fake.secondary[1].online);
    rig_free(&rig);
    for (uint32_t k = 0; k < 3; k++) {
        rig_init(&rig, 512, false);
        rig.fake.secondaries = k; /* too few of them, or none at all */
        rig.fake.secondary_stuck = k == 2;
        rig.config.virtual_functions = 2;
        for (uint32_t i = 0; i < 5 && bring_up(&rig) != NVME_DEAD; i++) {
        }
        CHECK_EQ(nvme_state(&rig.nvme), NVME_DEAD);
        CHECK_EQ(rig.nvme.last_error, k == 2 ? STATUS_CORRUPT : STATUS_TOO_LARGE);
        rig_free(&rig);
    }
}

/* Queues and data in the controller's own memory, which a reset takes away for a while; not used
 * where the BAR is not mapped or too small. */
TEST(controller_memory)
{
    static uint8_t own[64][PAGE_BYTES] __attribute__((aligned(4096)));

    for (uint32_t mapped_pages = 0; mapped_pages <= 64; mapped_pages += 32) {
        rig_init(&rig, 512, false);
        rig.fake.own_memory = own[0];
        rig.fake.own_pages = 64;
        rig.config.controller_memory = true;
        rig.config.bar[2] = mapped_pages != 0 ? own[0] : NULL;
        rig.config.bar_bytes[2] = (uint64_t)mapped_pages * PAGE_BYTES;
        CHECK_EQ(bring_up(&rig), NVME_READY);
        CHECK_EQ(rig.nvme.memory_bytes, mapped_pages == 64 ? 63u * PAGE_BYTES : 0);
        CHECK_EQ(rig.nvme.port.queue.submissions == own[0], mapped_pages == 64);
        for (uint32_t round = 0; round < 2 && mapped_pages == 64; round++) {
            uint8_t *from = rig.nvme.memory + 512;
            uint8_t *to = rig.nvme.memory + 30u * PAGE_BYTES;
            for (uint32_t blocks = 1; blocks <= 128; blocks *= 2) {
                for (uint32_t i = 0; i < blocks * 512u; i++) {
                    from[i] = (uint8_t)(i * 3u + i / 512u + blocks + round);
                }
                CHECK_EQ(ask(&rig, BLOCK_WRITE, 5, blocks, from, 0).status, STATUS_OK);
                CHECK_EQ(ask(&rig, BLOCK_READ, 5, blocks, to, 0).status, STATUS_OK);
                CHECK(memcmp(from, to, blocks * 512u) == 0);
            }
            uint8_t *end = rig.nvme.memory + rig.nvme.memory_bytes - 512;
            CHECK_EQ(ask(&rig, BLOCK_READ, 5, 1, end, 0).status, STATUS_OK);
            CHECK_EQ(ask(&rig, BLOCK_READ, 5, 2, end, 0).status, STATUS_INVALID_ARGUMENT);
            rig.fake.hostility = HOSTILE_BAD_CID;
            CHECK_EQ(ask(&rig, BLOCK_READ, 5, 1, to, 0).status, STATUS_DEVICE_ERROR);
            for (uint32_t i = 0; i < 40; i++) {
                turn(&rig, 1000);
            }
        }
        CHECK_EQ(ask(&rig, BLOCK_READ, 5, 1, rig.data, 0).status, STATUS_OK);
        rig_free(&rig);
    }
}
