// SPDX-License-Identifier: MIT OR Apache-2.0
#include <stdlib.h>

#include "lib/base/endian.h"
#include "lib/loglet/rig_fake.h"
#include "tests/check.h"

static const struct rig_shape shapes[] = {
    {16u << 20, 512, 0, 0, 1u << 20},
    {16u << 20, 4096, 0, 0, 1u << 20},
    {16u << 20, 512, 1u << 20, 1u << 20, 1u << 20},
    {16u << 20, 4096, 1u << 20, 768u << 10, 1u << 20},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

/* Record number n: its own number, then bytes that depend on it. */
static uint32_t record_size(uint32_t n)
{
    static const uint32_t sizes[] = {4, 20, 4, 333, 4096, 70000, 8, 131072, 300000, 5};
    return sizes[n % 10u];
}

static void make_record(uint32_t n, uint8_t *to)
{
    uint32_t bytes = record_size(n);
    for (uint32_t i = 4; i < bytes; i++) {
        to[i] = (uint8_t)(n * 7u + i * 13u + (i >> 8));
    }
    memcpy(to, &n, 4);
}

struct expected {
    uint32_t next; /* number of the next record */
    uint32_t wrong;
    uint32_t count;
    uint8_t *scratch;
};

static bool take_expected(void *context, log_position_t position, const uint8_t *data,
                          uint32_t bytes)
{
    struct expected *expected = context;
    (void)position;
    make_record(expected->next, expected->scratch);
    if (bytes != record_size(expected->next) || memcmp(data, expected->scratch, bytes) != 0) {
        expected->wrong++;
        return false;
    }
    expected->next++;
    expected->count++;
    return true;
}

static void expect_records(struct rig *rig, uint32_t first, uint32_t end)
{
    struct expected expected = {.next = first, .scratch = malloc(1u << 20)};
    status_t status = rig_read(rig, loglet_tail(rig->log), take_expected, &expected);
    CHECK_EQ(status, STATUS_NOT_FOUND);
    CHECK_EQ(expected.wrong, 0);
    CHECK_EQ(expected.next, end);
    free(expected.scratch);
}

TEST(records_come_back)
{
    uint8_t *record = malloc(1u << 20);
    for (uint32_t s = 0; s < SHAPES; s++) {
        struct rig rig;
        log_position_t position, last = 0;
        rig_init(&rig, &shapes[s]);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK(loglet_device_formatted(rig.device));
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        for (uint32_t n = 0; n < 30; n++) {
            make_record(n, record);
            CHECK_EQ(rig_append(&rig, record, record_size(n), &position), STATUS_OK);
            CHECK(position > last);
            last = position;
        }
        expect_records(&rig, 0, 30);
        CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
        for (uint32_t again = 0; again < 3; again++) {
            CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
            CHECK(!loglet_device_formatted(rig.device));
            CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
            expect_records(&rig, 0, 30 + again);
            make_record(30 + again, record);
            CHECK_EQ(rig_append(&rig, record, record_size(30 + again), &position), STATUS_OK);
            CHECK(position > last);
            if (again != 1) {
                CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
            } else {
                block_fake_power_cycle(&rig.fake);
            }
        }
        rig_free(&rig);
    }
    free(record);
}

TEST(log_wraps_around_and_refuses_when_full)
{
    uint8_t *record = malloc(1u << 20);
    for (uint32_t s = 0; s < SHAPES; s++) {
        struct rig rig;
        log_position_t position, tail = 0;
        uint32_t first = 0, n = 0, refused = 0;
        rig_init(&rig, &shapes[s]);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 4u << 20), STATUS_OK);
        for (; n < 800; n++) {
            uint64_t free_bytes = loglet_free_bytes(rig.log);
            make_record(n, record);
            status_t status = rig_append(&rig, record, record_size(n), &position);
            if (status == STATUS_FULL) {
                CHECK(record_size(n) + record_size(n) / 1024u + 8192u > free_bytes);
                refused++;
                expect_records(&rig, first, n);
                first = n;
                CHECK_EQ(loglet_trim(rig.log, loglet_durable(rig.log)), STATUS_OK);
                rig_settle(&rig);
                status = rig_append(&rig, record, record_size(n), &position);
            }
            CHECK_EQ(status, STATUS_OK);
            CHECK(position > tail);
            tail = position;
            if (status != STATUS_OK) {
                break;
            }
        }
        CHECK(refused > 3);
        expect_records(&rig, first, n);
        block_fake_power_cycle(&rig.fake);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        expect_records(&rig, first, n);
        rig_free(&rig);
    }
    free(record);
}

TEST(batches_share_a_write)
{
    struct rig rig;
    log_position_t position;
    rig_init(&rig, &shapes[0]);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
    uint64_t writes = rig.fake.writes;
    for (uint32_t i = 0; i < 32; i++) {
        struct loglet_piece pieces[2] = {{"hello", 5}, {"world", 5}};
        CHECK_EQ(loglet_append(rig.log, pieces, 2, &position), STATUS_OK);
        CHECK(position >= loglet_durable(rig.log));
    }
    loglet_commit(rig.log, rig.now_ns);
    rig_settle(&rig);
    CHECK(position < loglet_durable(rig.log));
    CHECK_EQ(rig.fake.writes, writes + 1);
    rig_free(&rig);
}

/* Frames on the drive; each one's padding is looked at. */
static uint32_t frames_padded_with_zeroes(struct rig *rig)
{
    uint32_t block_bytes = rig->fake.media.block_bytes;
    uint64_t blocks = rig->fake.block.block_count;
    uint8_t *disk = malloc(blocks * block_bytes);
    uint32_t frames = 0;

    CHECK_EQ(media_read(&rig->fake.media, 0, (uint32_t)blocks, disk), MEDIA_OK);
    for (uint64_t block = 0; block < blocks; block++) {
        const uint8_t *at = disk + block * block_bytes;
        if (memcmp(at, "HLFR", 4) != 0) {
            continue;
        }
        uint32_t used = 96u + load_le32(at + 56);
        for (frames++; used % block_bytes != 0; used++) {
            CHECK_EQ(at[used], 0);
        }
    }
    free(disk);
    return frames;
}

TEST(padding_is_zero_whatever_the_frame_held_before)
{
    static const uint32_t sizes[] = {300,  20,   20,  21,  19,    600,   20,   3000, 2990,
                                     3010, 4000, 400, 401, 70000, 69990, 7000, 1,    2};
    uint8_t *record = malloc(70000);
    log_position_t position;

    memset(record, 0xa5, 70000);
    for (uint32_t s = 0; s < 2; s++) {
        struct rig rig;
        rig_init(&rig, &shapes[s]);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            CHECK_EQ(rig_append(&rig, record, sizes[i], &position), STATUS_OK);
        }
        CHECK(frames_padded_with_zeroes(&rig) >= sizeof sizes / sizeof sizes[0]);
        rig_free(&rig);
    }
    free(record);
}

TEST(several_logs_keep_apart)
{
    struct rig rig;
    log_position_t position;
    struct loglet *logs[3];
    uint8_t *record = malloc(1u << 20);
    static const char *const names[] = {"a", "b", "c"};
    rig_init(&rig, &shapes[2]);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(rig_log(&rig, names[i], 3u << 20), STATUS_OK);
        logs[i] = rig.log;
    }
    CHECK_EQ(rig_log(&rig, "too much", 8u << 20), STATUS_FULL);
    CHECK_EQ(rig_log(&rig, "", 0), STATUS_INVALID_ARGUMENT);
    for (uint32_t n = 0; n < 20; n++) {
        for (uint32_t i = 0; i < 3; i++) {
            if (n % (i + 1u) == 0) {
                rig.log = logs[i];
                make_record(n / (i + 1u), record);
                CHECK_EQ(rig_append(&rig, record, record_size(n / (i + 1u)), &position), STATUS_OK);
            }
        }
    }
    block_fake_power_cycle(&rig.fake);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(rig_log(&rig, names[i], 0), STATUS_OK);
        expect_records(&rig, 0, (20 + i) / (i + 1u));
    }
    free(record);
    rig_free(&rig);
}

TEST(large_records)
{
    struct rig_shape shape = {80u << 20, 512, 0, 0, 16u << 20};
    struct rig rig;
    log_position_t position;
    uint32_t bytes = 16u << 20;
    uint8_t *record = malloc(bytes);
    memset(record, 7, bytes);
    rig_init(&rig, &shape);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
    CHECK(loglet_record_bytes_max(rig.log) >= bytes);
    CHECK_EQ(rig_append(&rig, record, bytes, &position), STATUS_OK);
    CHECK_EQ(rig_append(&rig, record, bytes, &position), STATUS_OK);
    free(record);
    rig_free(&rig);
}

/* Relaxed frames are accepted when the drive has them, and durable after a flush; strict ones do
 * not become durable before what came before them. */
TEST(accepted_is_not_durable)
{
    for (uint32_t s = 0; s < SHAPES; s++) {
        struct rig rig;
        log_position_t one, two, three;
        rig_init(&rig, &shapes[s]);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        CHECK_EQ(rig_append(&rig, "strict", 6, &one), STATUS_OK);
        loglet_set_relaxed(rig.log, true, rig.now_ns);
        CHECK_EQ(loglet_append(rig.log, &(struct loglet_piece){"a", 1}, 1, &two), STATUS_OK);
        CHECK(loglet_accepted(rig.log) <= two);
        loglet_commit(rig.log, rig.now_ns);
        rig_settle(&rig);
        CHECK(loglet_accepted(rig.log) > two);
        CHECK(loglet_durable(rig.log) <= two);
        loglet_flush(rig.log, rig.now_ns);
        rig_settle(&rig);
        CHECK(loglet_durable(rig.log) > two);
        uint64_t writes = rig.fake.writes;
        loglet_flush(rig.log, rig.now_ns); /* nothing to do */
        rig_settle(&rig);
        CHECK_EQ(rig.fake.writes, writes);
        CHECK_EQ(loglet_append(rig.log, &(struct loglet_piece){"b", 1}, 1, &two), STATUS_OK);
        loglet_commit(rig.log, rig.now_ns);
        rig_settle(&rig);
        loglet_set_relaxed(rig.log, false, rig.now_ns);
        CHECK_EQ(rig_append(&rig, "strict", 6, &three), STATUS_OK);
        CHECK(loglet_durable(rig.log) > three);
        loglet_set_relaxed(rig.log, true, rig.now_ns);
        CHECK_EQ(loglet_append(rig.log, &(struct loglet_piece){"c", 1}, 1, &two), STATUS_OK);
        CHECK_EQ(rig_close(&rig), STATUS_CLOSED); /* flushes */
        block_fake_power_cycle(&rig.fake);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        CHECK(loglet_durable(rig.log) > two);
        rig.fake.fail_next = 0;
        loglet_set_relaxed(rig.log, true, rig.now_ns);
        CHECK_EQ(loglet_append(rig.log, &(struct loglet_piece){"d", 1}, 1, &two), STATUS_OK);
        loglet_commit(rig.log, rig.now_ns);
        rig_settle(&rig);
        rig.fake.fail_next = 1; /* a flush that fails leaves it open what is there */
        loglet_flush(rig.log, rig.now_ns);
        rig_settle(&rig);
        CHECK_EQ(loglet_state(rig.log), STATUS_DEVICE_ERROR);
        CHECK(loglet_durable(rig.log) <= two);
        rig_free(&rig);
    }
}

/* Recovery reads what was written since the last checkpoint, however long the log is. */
TEST(recovery_is_bounded_by_the_checkpoint)
{
    struct rig_shape shape = {600u << 20, 4096, 0, 0, 1u << 20};
    struct rig rig;
    log_position_t position;
    uint8_t *record = calloc(1, 100000);
    rig_init(&rig, &shape);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
    for (uint32_t n = 0; n < 600; n++) {
        CHECK_EQ(rig_append(&rig, record, 100000, &position), STATUS_OK);
    }
    CHECK(loglet_counters(rig.log)->superblocks >= 3); /* by itself, after every 16 MiB */
    CHECK_EQ(loglet_checkpoint(rig.log), STATUS_OK);
    rig_settle(&rig);
    for (uint32_t n = 0; n < 5; n++) {
        CHECK_EQ(rig_append(&rig, record, 100000, &position), STATUS_OK);
    }
    block_fake_power_cycle(&rig.fake);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
    CHECK(position < loglet_durable(rig.log));
    uint64_t read = loglet_counters(rig.log)->read_bytes;
    printf("  60 MB of log, 0.5 MB since the checkpoint: recovery read %" PRIu64 " bytes\n", read);
    CHECK(read < 1u << 20);
    free(record);
    rig_free(&rig);
}

TEST(deleted_logs_give_all_back)
{
    for (uint32_t s = 0; s < SHAPES; s++) {
        struct rig rig;
        log_position_t position;
        struct loglet_info info;
        rig_init(&rig, &shapes[s]);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "stays", 1u << 20), STATUS_OK);
        CHECK_EQ(rig_append(&rig, "one", 3, &position), STATUS_OK);
        for (uint32_t round = 0; round < 6; round++) {
            CHECK_EQ(rig_log(&rig, "goes", 8u << 20), STATUS_OK);
            CHECK_EQ(rig_append(&rig, "x", 1, &position), STATUS_OK);
            CHECK_EQ(rig_log(&rig, "no room", 8u << 20), STATUS_FULL);
            CHECK_EQ(rig_log(&rig, "goes", 0), STATUS_OK);
            CHECK_EQ(loglet_append(rig.log, &(struct loglet_piece){"y", 1}, 1, &position),
                     STATUS_OK);
            CHECK_EQ(loglet_delete(rig.log), STATUS_BUSY); /* something is under way */
            loglet_commit(rig.log, rig.now_ns);
            rig_settle(&rig);
            CHECK_EQ(loglet_delete(rig.log), STATUS_OK);
            CHECK_EQ(loglet_append(rig.log, &(struct loglet_piece){"z", 1}, 1, &position),
                     STATUS_CLOSED);
            if (round % 2u == 0) {
                rig_settle(&rig);
                CHECK_EQ(loglet_state(rig.log), STATUS_CANCELLED);
                CHECK(!loglet_enumerate(rig.device, 1, &info));
            } else {
                rig_settle(&rig);
                block_fake_power_cycle(&rig.fake);
                CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
            }
            CHECK(loglet_enumerate(rig.device, 0, &info));
            CHECK_TEXT(info.name, "stays");
            CHECK(info.used_bytes != 0 && info.used_bytes <= info.capacity_bytes);
        }
        CHECK_EQ(rig_log(&rig, "stays", 0), STATUS_OK);
        CHECK(loglet_durable(rig.log) > loglet_tail(rig.log));
        rig_free(&rig);
    }
}
