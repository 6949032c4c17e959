// SPDX-License-Identifier: MIT OR Apache-2.0
/* Logs that get more room, and less, and the power that goes meanwhile. */
#include "lib/loglet/rig_fake.h"
#include "tests/check.h"

#define EXTENT (256u << 10)
#define LOGS 3u

static const struct rig_shape shapes[] = {
    {6u << 20, 512, 0, 0, 4096},
    {6u << 20, 4096, 256u << 10, 256u << 10, 4096},
};
static uint8_t record[100000];

static uint32_t capacity(const struct loglet *log)
{
    return (uint32_t)(loglet_capacity_bytes(log) / EXTENT);
}

/* Appends until the log is full; how many records it took. */
static uint32_t fill(struct rig *rig)
{
    log_position_t position;
    uint32_t count = 0;

    while (rig_append(rig, record, sizeof record, &position) == STATUS_OK) {
        count++;
    }
    return count;
}

static void reopen(struct rig *rig)
{
    CHECK_EQ(rig_close(rig), STATUS_CLOSED);
    CHECK_EQ(rig_open(rig, 0), STATUS_OK);
}

TEST(a_log_gets_more_room_and_less)
{
    for (uint32_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct rig rig;
        struct loglet_space space;
        rig_init(&rig, &shapes[i]);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        loglet_space(rig.device, &space);
        CHECK_EQ(rig_log(&rig, "other", 5u * EXTENT), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 4u * EXTENT), STATUS_OK);
        uint32_t few = fill(&rig);
        CHECK_EQ(loglet_resize(rig.log, 3u * EXTENT), STATUS_IN_USE);
        CHECK_EQ(loglet_resize(rig.log, 0), STATUS_INVALID_ARGUMENT);
        CHECK_EQ(loglet_resize(rig.log, (uint64_t)(space.extents - 4u) * EXTENT), STATUS_FULL);
        CHECK_EQ(loglet_resize(rig.log, UINT64_MAX), STATUS_FULL);
        CHECK(!loglet_resizing(rig.log) && capacity(rig.log) == 4u);
        /* Not used before it is on the drive, but promised to nobody else. */
        CHECK_EQ(loglet_resize(rig.log, 7u * EXTENT + 1u), STATUS_OK);
        CHECK(loglet_resizing(rig.log) && capacity(rig.log) == 4u);
        loglet_space(rig.device, &space);
        CHECK_EQ(space.promised, 5u + 8u);
        rig_settle(&rig);
        CHECK(!loglet_resizing(rig.log) && capacity(rig.log) == 8u);
        uint32_t more = fill(&rig);
        CHECK(more >= few / 4u * 3u);
        CHECK_EQ(loglet_trim(rig.log, loglet_durable(rig.log)), STATUS_OK);
        rig_settle(&rig);
        /* Not promised to others before that, but used no more. */
        CHECK_EQ(loglet_resize(rig.log, 2u * EXTENT), STATUS_OK);
        CHECK_EQ(capacity(rig.log), 2u);
        loglet_space(rig.device, &space);
        CHECK_EQ(space.promised, 5u + 8u);
        rig_settle(&rig);
        loglet_space(rig.device, &space);
        CHECK_EQ(space.promised, 5u + 2u);
        CHECK(fill(&rig) <= few / 2u);
        reopen(&rig);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        CHECK_EQ(capacity(rig.log), 2u);
        CHECK_EQ(rig_log(&rig, "other", 0), STATUS_OK);
        CHECK_EQ(loglet_resize(rig.log, (uint64_t)(space.extents - 2u) * EXTENT), STATUS_OK);
        rig_settle(&rig);
        CHECK_EQ(capacity(rig.log), space.extents - 2u);
        CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
        CHECK_EQ(loglet_resize(rig.log, EXTENT), STATUS_CLOSED);
        rig_free(&rig);
    }
}

/* A change that is made before the one before is on the drive takes its place. */
TEST(the_last_of_several_changes_counts)
{
    struct rig rig;
    struct loglet_space space;

    rig_init(&rig, &shapes[0]);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 4u * EXTENT), STATUS_OK);
    CHECK_EQ(loglet_resize(rig.log, 9u * EXTENT), STATUS_OK);
    (void)loglet_device_poll(rig.device, ++rig.now_ns); /* on its way */
    CHECK_EQ(loglet_resize(rig.log, 3u * EXTENT), STATUS_OK);
    CHECK_EQ(capacity(rig.log), 3u);
    rig_settle(&rig);
    CHECK_EQ(capacity(rig.log), 3u);
    CHECK_EQ(loglet_resize(rig.log, 9u * EXTENT), STATUS_OK);
    CHECK_EQ(loglet_resize(rig.log, 3u * EXTENT), STATUS_OK); /* as it was */
    rig_settle(&rig);
    CHECK(!loglet_resizing(rig.log) && capacity(rig.log) == 3u);
    loglet_space(rig.device, &space);
    CHECK_EQ(space.promised, 3u);
    CHECK_EQ(loglet_resize(rig.log, 6u * EXTENT), STATUS_OK);
    CHECK_EQ(loglet_delete(rig.log), STATUS_OK);
    rig_settle(&rig);
    loglet_space(rig.device, &space);
    CHECK_EQ(space.promised, 0);
    rig_free(&rig);
}

struct sizes {
    uint32_t before[LOGS], after[LOGS]; /* extents: what was on the drive, what may be */
};

/* After a loss of power each log has one of its two sizes, and they are not more than there is. */
static void check_sizes(struct rig *rig, struct sizes *sizes)
{
    static const char *const names[LOGS] = {"a", "b", "c"};
    struct loglet_space space;
    uint32_t sum = 0;

    for (uint32_t i = 0; i < LOGS; i++) {
        CHECK_EQ(rig_log(rig, names[i], 2u * EXTENT), STATUS_OK);
        uint32_t found = capacity(rig->log);
        CHECK(found == sizes->before[i] || found == sizes->after[i]);
        CHECK(loglet_used_bytes(rig->log) <= loglet_capacity_bytes(rig->log));
        sizes->before[i] = sizes->after[i] = found;
        sum += found;
    }
    loglet_space(rig->device, &space);
    CHECK_EQ(space.promised, sum);
    CHECK(sum <= space.extents);
}

TEST(a_loss_of_power_leaves_one_size_or_the_other)
{
    static const char *const names[LOGS] = {"a", "b", "c"};
    uint32_t changed = 0, refused = 0;

    for (uint32_t k = 0; k < 2u * 300u; k++) {
        struct rig rig;
        struct sizes sizes = {{2, 2, 2}, {2, 2, 2}};
        rig_init(&rig, &shapes[k % 2u]);
        rig.fake.media.random += 7919u * k;
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        check_sizes(&rig, &sizes);
        rig.fake.writes_left = media_random(&rig.fake.media) % 40u;
        for (uint32_t step = 0; step < 60u && !rig.fake.off; step++) {
            uint32_t i = (uint32_t)(media_random(&rig.fake.media) % LOGS);
            uint32_t wanted = 1u + (uint32_t)(media_random(&rig.fake.media) % 14u);
            log_position_t position;
            if (loglet_open(rig.device, names[i], 0, &rig.log) != STATUS_OK) {
                break;
            }
            if (loglet_resizing(rig.log)) {
                rig_settle(&rig);
                continue;
            }
            sizes.before[i] = capacity(rig.log); /* on the drive */
            if (step % 3u == 0) {
                (void)rig_append(&rig, record, sizeof record, &position);
            } else if (loglet_resize(rig.log, wanted * (uint64_t)EXTENT) == STATUS_OK) {
                sizes.after[i] = wanted;
                changed++;
                rig_turn(&rig, (uint32_t)(media_random(&rig.fake.media) % 3u));
            } else {
                refused++;
            }
        }
        block_fake_power_cycle(&rig.fake);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        check_sizes(&rig, &sizes);
        rig_free(&rig);
    }
    printf("%u changes, %u refused\n", changed, refused);
    CHECK(changed > 1000 && refused > 100);
}
