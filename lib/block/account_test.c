// SPDX-License-Identifier: MIT OR Apache-2.0
/* What is told of a drive: strings that end where they should, zones as the drive has them. */
#include "lib/block/account.h"
#include "lib/block/block_fake.h"
#include "tests/check.h"

#define ZONE_BLOCKS 64u
#define ZONES 200u /* more than a report holds */

static char told[65536];
static size_t told_bytes;

static void put(void *context, const void *data, size_t bytes)
{
    (void)context;
    CHECK(bytes < sizeof told - told_bytes);
    memcpy(told + told_bytes, data, bytes);
    told_bytes += bytes;
    told[told_bytes] = '\0';
}

static const struct account account = {put, NULL};

TEST(nothing_ends_a_string)
{
    uint8_t bytes[2000];

    told_bytes = 0;
    account_text(&account, "a\"b\\c\n\x7f\xff");
    CHECK_TEXT(told, "\"a\\\"b\\\\c???\"");
    /* Longer than what is written at a time, with an escape at every place of its end. */
    for (size_t count = 1000; count < 1100; count++) {
        memset(bytes, '"', sizeof bytes);
        told_bytes = 0;
        account_bytes(&account, bytes, count);
        CHECK_EQ(told_bytes, 2u * count + 2u);
        for (size_t i = 0; i < count; i++) {
            CHECK(told[1u + 2u * i] == '\\' && told[2u + 2u * i] == '"');
        }
    }
}

TEST(zones_are_told_in_several_reports)
{
    static uint8_t buffer[BLOCK_ZONE_REPORT_BYTES];
    static uint8_t block[512];
    struct zones zones = {0};
    struct block_fake drive;
    struct block_completion done;

    zones_look(&zones, 1); /* none */
    CHECK_EQ(zones.known, 0);
    block_fake_init(&drive, (uint64_t)ZONES * ZONE_BLOCKS, 512, ZONE_BLOCKS, ZONE_BLOCKS);
    zones.block = &drive.block;
    zones.buffer = buffer;
    struct block_request append = {
        .block = 150u * ZONE_BLOCKS, .blocks = 1, .operation = BLOCK_ZONE_APPEND, .data = block};
    CHECK_EQ(drive.block.ops->submit(&drive.block, &append, 1, 1), 1);
    block_fake_run(&drive, 1);
    CHECK_EQ(drive.block.ops->poll(&drive.block, &done, 1, 1), 1);
    for (uint32_t i = 0; i < 2u * (ZONES / BLOCK_ZONE_REPORT_MAX + 2u); i++) {
        zones_look(&zones, 2u + i);
        CHECK(zones.known <= ZONES);
        block_fake_run(&drive, 1);
    }
    CHECK_EQ(zones.known, ZONES);
    for (uint32_t i = 0; i < ZONES; i++) {
        CHECK_EQ(zones.zone[i].written_blocks, i == 150 ? 1 : 0);
    }
    told_bytes = 0;
    account_zones(&account, &zones);
    CHECK(strstr(told, "{\"state\":\"open\",\"written\":1,\"capacity\":64}") != NULL);
    block_fake_free(&drive);
}
