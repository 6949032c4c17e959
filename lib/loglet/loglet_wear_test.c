// SPDX-License-Identifier: MIT OR Apache-2.0
/* Where logs lie: wear, write amplification, active zones, zones that die, promises that are kept.
 */
#include <stdlib.h>

#include "lib/loglet/rig_fake.h"
#include "tests/check.h"

#define LOGS 4u
#define BATCH_BYTES (96u << 10)

static const struct rig_shape shapes[] = {
    {64u << 20, 512, 0, 0, 400000},
    {64u << 20, 512, 1u << 20, 1u << 20, 400000},
    {64u << 20, 4096, 1u << 20, 768u << 10, 400000},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

struct run {
    struct rig rig;
    struct loglet *logs[LOGS];
    log_position_t marks[LOGS][64]; /* positions to trim to, a ring */
    uint32_t marked[LOGS];
    uint64_t given, written, books, wasted;
    uint8_t *data;
};

static uint32_t draw(struct run *run, uint32_t bound)
{
    return (uint32_t)(media_random(&run->rig.fake.media) % bound);
}

static void open_all(struct run *run, uint32_t count, uint32_t flags)
{
    static const char *const names[LOGS] = {"a", "b", "c", "d"};

    CHECK_EQ(rig_open(&run->rig, flags), STATUS_OK);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(rig_log(&run->rig, names[i], 10u << 20), STATUS_OK);
        run->logs[i] = run->rig.log;
    }
}

/* Adds up what this opening has cost. */
static void count_written(struct run *run)
{
    struct loglet_space space;

    loglet_space(run->rig.device, &space);
    run->given += space.append_bytes;
    run->written += space.frame_bytes;
    run->books += space.super_bytes;
    run->wasted += space.wasted_bytes;
}

/* A batch of records of mixed sizes for one log; old ones are given up when it gets full. */
static void append_batch(struct run *run, uint32_t index)
{
    static const uint32_t sizes[] = {100, 4096, 700, 16384, 40, 65536, 9000, 250, 200000, 1500};
    struct loglet *log = run->logs[index];
    log_position_t position = 0;
    uint32_t bytes = 0;

    while (bytes < BATCH_BYTES) {
        uint32_t size = sizes[draw(run, sizeof sizes / sizeof sizes[0])];
        struct loglet_piece piece = {run->data, size};
        bool room = size + size / 1024u + 8192u <= loglet_free_bytes(log);
        status_t status = loglet_append(log, &piece, 1, &position);
        for (uint32_t i = 0; status == STATUS_WOULD_BLOCK && i < 10000; i++) {
            loglet_commit(log, run->rig.now_ns);
            rig_turn(&run->rig, 8);
            status = loglet_append(log, &piece, 1, &position);
        }
        CHECK(status == STATUS_OK || (status == STATUS_FULL && !room));
        if (status != STATUS_OK) {
            break;
        }
        bytes += size;
    }
    loglet_commit(log, run->rig.now_ns);
    if (position != 0) {
        run->marks[index][run->marked[index]++ % 64u] = position;
    }
    rig_turn(&run->rig, 1 + draw(run, 8));
    if (loglet_free_bytes(log) < (4u << 20) && run->marked[index] > 40u) {
        log_position_t to = run->marks[index][(run->marked[index] - 8u - draw(run, 24)) % 64u];
        if (to <= loglet_durable(log)) {
            CHECK_EQ(loglet_trim(log, to), STATUS_OK);
        }
    }
    if (draw(run, 50) == 0) {
        CHECK_EQ(loglet_checkpoint(log), STATUS_OK);
    }
}

static void run_init(struct run *run, const struct rig_shape *shape)
{
    memset(run, 0, sizeof *run);
    rig_init(&run->rig, shape);
    run->data = malloc(200000);
    memset(run->data, 7, 200000);
}

static void run_free(struct run *run)
{
    rig_free(&run->rig);
    free(run->data);
}

/* Several logs, mixed records, trims, checkpoints, clean restarts and lost power. Every byte that
 * went to the drive counts: headers, padding, superblocks, and what zones finished early leave
 * unused. */
TEST(little_more_is_written_than_was_given_and_all_wear_alike)
{
    for (uint32_t shape = 0; shape < SHAPES; shape++) {
        struct run run;
        struct loglet_space space;
        uint64_t uses = 0;
        run_init(&run, &shapes[shape]);
        for (uint32_t life = 0; life < 12; life++) {
            open_all(&run, LOGS, 0);
            loglet_space(run.rig.device, &space);
            /* Kept, but for extents that the power took between their reset and their first frame:
             * those are known to be worn as little as any. */
            CHECK(space.uses + LOGS * 2u >= uses && space.uses <= uses + LOGS * 2u);
            for (uint32_t i = 0; i < 400; i++) {
                /* The first log gets much more than the others: its zones must not wear alone. */
                append_batch(&run, draw(&run, 2) ? 0 : draw(&run, LOGS));
            }
            if (life % 3u == 2u) {
                rig_settle(&run.rig);
            }
            count_written(&run);
            loglet_space(run.rig.device, &space);
            uses = space.uses;
            if (life % 3u == 2u) {
                CHECK_EQ(rig_close(&run.rig), STATUS_CLOSED);
            } else {
                block_fake_power_cycle(&run.rig.fake);
            }
        }
        uint64_t all = run.written + run.books + run.wasted;
        printf("  %lu MiB given, written: frames %lu KiB, superblocks %lu KiB, unused %lu KiB: "
               "x%lu.%03lu;"
               " extents begun %u to %u times\n",
               (unsigned long)(run.given >> 20), (unsigned long)(run.written >> 10),
               (unsigned long)(run.books >> 10), (unsigned long)(run.wasted >> 10),
               (unsigned long)(all / run.given), (unsigned long)(all * 1000u / run.given % 1000u),
               space.uses_least, space.uses_most);
        CHECK(all * 100u <= run.given * 105u);
        CHECK(space.uses_least > 5 && space.uses_most - space.uses_least <= space.uses_most / 3u);
        run_free(&run);
    }
}

/* Three logs and the superblocks on four active zones, and not one log more. */
TEST(active_zones_suffice_for_the_logs_that_there_are)
{
    for (uint32_t uneven = 0; uneven < 2u; uneven++) {
        struct run run;
        struct loglet *refused;
        run_init(&run, &shapes[2]);
        run.rig.fake.block.max_active_zones = 4;
        run.rig.fake.media.max_active = 4;
        run.rig.fake.any_order = true;
        for (uint32_t i = 2; i < run.rig.fake.media.zone_count && uneven != 0; i += 3u) {
            run.rig.fake.media.zones[i].capacity += 32u; /* more room than is used */
        }
        for (uint32_t life = 0; life < 8; life++) {
            open_all(&run, 3, 0);
            CHECK_EQ(loglet_open(run.rig.device, "more", 1u << 20, &refused), STATUS_FULL);
            for (uint32_t i = 0; i < 300; i++) {
                append_batch(&run, draw(&run, 3));
            }
            rig_settle(&run.rig);
            /* One log goes with its zone half full, another takes its place. */
            for (uint32_t i = 0; i < 20 && loglet_delete(run.logs[2]) != STATUS_OK; i++) {
                rig_settle(&run.rig);
            }
            rig_settle(&run.rig);
            CHECK_EQ(loglet_state(run.logs[2]), STATUS_CANCELLED);
            CHECK_EQ(rig_log(&run.rig, "c", 10u << 20), STATUS_OK);
            run.logs[2] = run.rig.log;
            run.marked[2] = 0;
            for (uint32_t i = 0; i < 100; i++) {
                append_batch(&run, draw(&run, 3));
            }
            for (uint32_t i = 0; i < 3; i++) {
                CHECK_EQ(loglet_state(run.logs[i]), STATUS_OK);
                CHECK_EQ(loglet_counters(run.logs[i])->retries, 0);
            }
            if (life % 2u != 0) {
                CHECK_EQ(rig_close(&run.rig), STATUS_CLOSED);
            } else {
                block_fake_power_cycle(&run.rig.fake);
            }
        }
        run_free(&run);
    }
}

static bool take_any(void *context, log_position_t position, const uint8_t *data, uint32_t bytes)
{
    (void)position;
    (void)data;
    (void)bytes;
    ++*(uint32_t *)context;
    return true;
}

/* Zones that become read-only keep what they have; zones that die take capacity that was promised,
 * and then nobody is told of more room than there is (append_batch checks). */
TEST(dying_zones_take_no_data_and_break_no_promise)
{
    struct run run;
    struct loglet_space space;
    uint32_t before = 0, after = 0;

    run_init(&run, &shapes[1]);
    open_all(&run, LOGS, 0);
    for (uint32_t i = 0; i < 300; i++) {
        append_batch(&run, draw(&run, LOGS));
    }
    rig_settle(&run.rig);
    run.rig.log = run.logs[0];
    CHECK_EQ(rig_read(&run.rig, loglet_tail(run.logs[0]), take_any, &before), STATUS_NOT_FOUND);
    CHECK(before > 30);
    CHECK_EQ(rig_close(&run.rig), STATUS_CLOSED);
    /* Every third full zone can only be read from now on, some empty ones are gone. */
    for (uint32_t i = 2; i < run.rig.fake.media.zone_count; i++) {
        struct media_zone *zone = &run.rig.fake.media.zones[i];
        zone->read_only = zone->written == zone->capacity && i % 3u == 0;
        zone->offline = zone->written == 0 && i % 2u == 0;
    }
    open_all(&run, LOGS, 0);
    run.rig.log = run.logs[0];
    CHECK_EQ(rig_read(&run.rig, loglet_tail(run.logs[0]), take_any, &after), STATUS_NOT_FOUND);
    CHECK_EQ(after, before);
    loglet_space(run.rig.device, &space);
    uint32_t dead = space.dead;
    uint64_t told = 0;
    for (uint32_t i = 0; i < LOGS; i++) {
        uint64_t left = loglet_free_bytes(run.logs[i]);
        told += left > space.extent_bytes ? left - space.extent_bytes : 0;
    }
    CHECK(told <= space.free * space.extent_bytes);
    for (uint32_t i = 0; i < 3000; i++) {
        append_batch(&run, draw(&run, LOGS));
    }
    loglet_space(run.rig.device, &space);
    CHECK(space.dead > dead); /* given up at last, and not written again */
    for (uint32_t i = 0; i < LOGS; i++) {
        CHECK_EQ(loglet_state(run.logs[i]), STATUS_OK);
    }
    CHECK_EQ(rig_close(&run.rig), STATUS_CLOSED);
    run_free(&run);
}

/* A drive with placement handles: each log has its own, superblocks the first. */
static const struct block_device_ops *below;
static uint32_t placed[8];

static uint32_t note_placements(struct block_device *dev, const struct block_request *requests,
                                uint32_t count, time_ns_t now_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        bool is_placed = (requests[i].flags & BLOCK_PLACED) != 0;
        CHECK(!is_placed || requests[i].operation == BLOCK_WRITE);
        CHECK(!is_placed || requests[i].placement < dev->placements);
        placed[is_placed ? requests[i].placement : 0] += requests[i].operation == BLOCK_WRITE;
    }
    return below->submit(dev, requests, count, now_ns);
}

TEST(logs_have_placement_handles_of_their_own)
{
    struct run run;
    struct block_device_ops ops;

    run_init(&run, &shapes[0]);
    below = run.rig.fake.block.ops;
    ops = *below;
    ops.submit = note_placements;
    run.rig.fake.block.ops = &ops;
    run.rig.fake.block.placements = 8;
    open_all(&run, LOGS, 0);
    for (uint32_t i = 0; i < 200; i++) {
        append_batch(&run, i % LOGS);
    }
    rig_settle(&run.rig);
    for (uint32_t i = 0; i < 8; i++) {
        CHECK_EQ(placed[i] != 0, i <= LOGS);
    }
    for (uint32_t i = 0; i < LOGS; i++) {
        CHECK_EQ(placed[loglet_placement(run.logs[i])], loglet_counters(run.logs[i])->frames);
    }
    run_free(&run);
}
