// SPDX-License-Identifier: MIT OR Apache-2.0
/* Several appends of a log under way on a zoned drive: they land in any order, and are read in
 * theirs. */
#include <stdlib.h>

#include "lib/loglet/loglet_format.h"
#include "lib/loglet/rig_fake.h"
#include "tests/check.h"

#define RECORDS 3000u
#define RECORD_BYTES_MAX 20000u

static const struct rig_shape shape = {48u << 20, 512, 2u << 20, 2u << 20, 200000};

static log_position_t positions[RECORDS];

static uint32_t record_bytes(uint32_t n)
{
    static const uint32_t sizes[] = {8, 3000, 20000, 500, 9000, 44, 12000};
    return sizes[n % 7u];
}

static void make_record(uint32_t n, uint8_t *to)
{
    for (uint32_t i = 4; i < record_bytes(n); i++) {
        to[i] = (uint8_t)(n * 11u + i * 3u + (i >> 8));
    }
    memcpy(to, &n, 4);
}

/* Appends without waiting, a frame a record; returns the most appends that were under way at once.
 */
static uint32_t append_all(struct rig *rig, uint32_t first, uint32_t end)
{
    uint8_t data[RECORD_BYTES_MAX];
    uint32_t most = 0;

    for (uint32_t n = first; n < end; n++) {
        struct loglet_piece piece = {data, record_bytes(n)};
        make_record(n, data);
        status_t status = loglet_append(rig->log, &piece, 1, &positions[n]);
        for (uint32_t i = 0; status == STATUS_WOULD_BLOCK && i < 1000; i++) {
            rig_turn(rig, 1 + (uint32_t)(media_random(&rig->fake.media) % 3u));
            status = loglet_append(rig->log, &piece, 1, &positions[n]);
        }
        CHECK_EQ(status, STATUS_OK);
        loglet_commit(rig->log, rig->now_ns);
        most = rig->fake.queued > most ? rig->fake.queued : most;
        if (media_random(&rig->fake.media) % 2u != 0) {
            rig_turn(rig, (uint32_t)(media_random(&rig->fake.media) % 4u));
        }
    }
    return most;
}

struct expected {
    uint32_t next, wrong;
};

static bool take(void *context, log_position_t position, const uint8_t *data, uint32_t bytes)
{
    struct expected *expected = context;
    uint8_t right[RECORD_BYTES_MAX];

    make_record(expected->next, right);
    expected->wrong += bytes != record_bytes(expected->next) || memcmp(data, right, bytes) != 0 ||
                       position != positions[expected->next];
    expected->next++;
    return expected->wrong == 0;
}

static void expect(struct rig *rig, uint32_t first, uint32_t end)
{
    struct expected expected = {.next = first};

    CHECK_EQ(rig_read(rig, positions[first], take, &expected), STATUS_NOT_FOUND);
    CHECK_EQ(expected.wrong, 0);
    CHECK_EQ(expected.next, end);
}

/* Frames that lie elsewhere than their position says. */
static uint32_t displaced(const struct rig *rig)
{
    const struct media_fake *media = &rig->fake.media;
    uint32_t count = 0;

    for (uint64_t block = 2u * media->zone_blocks; block < media->block_count; block++) {
        struct frame_header header;
        if (frame_decode(media->current + block * 512u, &header)) {
            uint64_t place = header.position & ((2u << 20) - 1u) & ~511ull;
            count += place != block % media->zone_blocks * 512u;
        }
    }
    return count;
}

TEST(appends_land_in_any_order_and_are_read_in_theirs)
{
    struct rig rig;

    rig_init(&rig, &shape);
    rig.fake.any_order = true;
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
    uint32_t most = append_all(&rig, 0, RECORDS / 2u);
    rig_settle(&rig);
    expect(&rig, 0, RECORDS / 2u);
    most = most < append_all(&rig, RECORDS / 2u, RECORDS) ? LOGLET_ZONE_WINDOW : most;
    rig_settle(&rig);
    printf("  %u of %u frames lie elsewhere; up to %u appends under way\n", displaced(&rig),
           RECORDS, most);
    CHECK(displaced(&rig) > RECORDS / 4u);
    CHECK(most > 3u && most <= LOGLET_ZONE_WINDOW + 1u);
    expect(&rig, 0, RECORDS);
    for (uint32_t first = 1; first < RECORDS; first += 97u) { /* from anywhere */
        expect(&rig, first, RECORDS);
    }
    struct loglet_reader reader;
    log_position_t where;
    CHECK_EQ(loglet_scrub_start(&reader, rig.log, rig.read_buffer), STATUS_OK);
    status_t status = loglet_scrub_next(&reader, &where);
    for (uint32_t i = 0; status == STATUS_AGAIN && i < 100000; i++) {
        rig_turn(&rig, 8);
        status = loglet_scrub_next(&reader, &where);
    }
    CHECK_EQ(status, STATUS_OK);
    for (uint32_t life = 0; life < 2u; life++) {
        if (life == 0) {
            CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
        } else {
            block_fake_power_cycle(&rig.fake);
        }
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        expect(&rig, 0, RECORDS);
    }
    rig_free(&rig);
}

/* The power goes while several are under way: what is durable is a prefix, and all of it is there.
 */
TEST(what_is_durable_is_a_prefix)
{
    uint32_t displacements = 0;

    for (uint32_t round = 0; round < 60; round++) {
        struct rig rig;
        uint32_t next = 0;
        rig_init(&rig, &shape);
        rig.fake.any_order = true;
        rig.fake.media.random += round;
        for (uint32_t life = 0; life < 6; life++) {
            CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
            CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
            uint32_t found = next;
            struct expected expected = {.next = 0};
            if (next != 0) {
                CHECK_EQ(rig_read(&rig, loglet_tail(rig.log), take, &expected), STATUS_NOT_FOUND);
                CHECK_EQ(expected.wrong, 0);
                CHECK(expected.next >= next);
                found = expected.next;
            }
            uint32_t end = found + 20u + (uint32_t)(media_random(&rig.fake.media) % 60u);
            (void)append_all(&rig, found, end);
            next = found;
            while (next < end && positions[next] < loglet_durable(rig.log)) {
                next++;
            }
            displacements += displaced(&rig);
            block_fake_power_cycle(&rig.fake);
        }
        rig_free(&rig);
    }
    CHECK(displacements > 1000);
}

/* Appends that the drive makes and denies, or fails, among others under way. */
TEST(denied_and_failed_appends_are_found_out)
{
    uint32_t good = 0;

    for (uint32_t round = 0; round < 60; round++) {
        struct rig rig;
        rig_init(&rig, &shape);
        rig.fake.any_order = true;
        rig.fake.media.random += round;
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        (void)append_all(&rig, 0, 50);
        if (round % 2u != 0) {
            rig.fake.deny_next = 1;
        } else {
            rig.fake.fail_next = 1u + round % 3u;
        }
        rig_turn(&rig, 4);
        rig_settle(&rig);
        status_t state = loglet_state(rig.log);
        CHECK(state == STATUS_OK || state == STATUS_DEVICE_ERROR || state == STATUS_DEVICE_TIMEOUT);
        if (state == STATUS_OK) {
            (void)append_all(&rig, 50, 100);
            rig_settle(&rig);
            expect(&rig, 0, 100);
            good++;
        }
        uint32_t durable = 0;
        while (durable < 100 && positions[durable] < loglet_durable(rig.log)) {
            durable++;
        }
        block_fake_power_cycle(&rig.fake);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        struct expected expected = {.next = 0};
        CHECK_EQ(rig_read(&rig, loglet_tail(rig.log), take, &expected), STATUS_NOT_FOUND);
        CHECK(expected.wrong == 0 && expected.next >= (durable < 50 ? durable : 50));
        rig_free(&rig);
    }
    CHECK(good > 20);
}
