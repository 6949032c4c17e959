// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A recorded run of a log, cut at every boundary of a write and inside the writes under way, with
 * what no flush ordered in any order (lib/block/crash_fake.h). After each cut the log must hold
 * everything that was acknowledged by then, in order and unchanged, and nothing else. HALLOWS_CUTS
 * says how many cuts (10,000).
 */
#include <stdlib.h>

#include "lib/block/crash_fake.h"
#include "lib/loglet/rig_fake.h"
#include "tests/check.h"

static const struct rig_shape shapes[] = {
    {2u << 20, 512, 0, 0, 4096},
    {2u << 20, 4096, 0, 0, 4096},
    {2u << 20, 512, 256u << 10, 256u << 10, 4096},
    {2u << 20, 4096, 256u << 10, 192u << 10, 4096},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])
#define RECORDS_MAX 4096u
#define RECORD_BYTES_MAX 40000u
#define SESSIONS 3u
#define TURNS 130u /* of a session */
#define LIVE_BYTES (96u << 10)
#define CUTS_DEFAULT 10000u

/* What the user knew at a mark. */
struct knowledge {
    uint32_t first;        /* records before it may be gone */
    uint32_t acknowledged; /* records before it must not */
};

struct run {
    struct rig rig;
    struct crash_recorder recorder;
    struct knowledge *known; /* by mark */
    uint32_t marks;
    struct knowledge now;
    uint32_t next;
    log_position_t positions[RECORDS_MAX];
    uint8_t *lent; /* pages given to the drive, never used twice */
    uint32_t lent_pages;
    bool relaxed; /* this session flushes now and then */
    uint64_t random;
};

static struct run run;
static uint8_t scratch[RECORD_BYTES_MAX] __attribute__((aligned(4096)));

static uint64_t draw(void) /* xorshift64, Marsaglia 2003 */
{
    run.random ^= run.random << 13;
    run.random ^= run.random >> 7;
    run.random ^= run.random << 17;
    return run.random;
}

static uint32_t record_size(uint32_t n)
{
    uint64_t x = (n + 1u) * 0x9e3779b97f4a7c15ull;
    x ^= x >> 29;
    if (n % 8u == 3) {
        return (1u + (uint32_t)(x >> 8) % 5u) * PAGE_BYTES; /* by reference */
    }
    return 8u + (uint32_t)(x >> 8) % (x % 16u == 0 ? RECORD_BYTES_MAX - 8u : 500u);
}

static void make_record(uint32_t n, uint8_t *to)
{
    memset(to, (int)(n * 29u + 5u), record_size(n));
    for (uint32_t at = 0; at + 4u <= record_size(n); at += 512u) {
        uint32_t mark = n * 1000u + at / 512u; /* so that swapped or old blocks are seen */
        memcpy(to + at, &mark, 4);
    }
    memcpy(to, &n, 4);
}

/* ---- The recorded run ---- */

static void note(void)
{
    log_position_t durable = loglet_durable(run.rig.log);
    struct knowledge before = run.now;

    while (run.now.acknowledged < run.next && run.positions[run.now.acknowledged] < durable) {
        run.now.acknowledged++;
    }
    if (run.now.acknowledged != before.acknowledged || run.marks == 0 ||
        run.now.first != run.known[run.marks - 1u].first) {
        run.known[run.marks] = run.now;
        crash_mark(&run.recorder, run.marks++);
    }
}

static status_t append_next(void)
{
    uint32_t bytes = record_size(run.next);
    log_position_t *position = &run.positions[run.next];

    if (run.next % 8u != 3) {
        struct loglet_piece piece = {scratch, bytes};
        make_record(run.next, scratch);
        return loglet_append(run.rig.log, &piece, 1, position);
    }
    uint8_t *lent = run.lent + (size_t)run.lent_pages * PAGE_BYTES;
    struct loglet_piece none = {NULL, 0};
    struct loglet_piece pages = {lent, bytes};
    make_record(run.next, lent);
    run.lent_pages += bytes / PAGE_BYTES;
    return loglet_append_pages(run.rig.log, &none, &pages, 1, position);
}

static uint64_t live_bytes(void)
{
    uint64_t bytes = 0;

    for (uint32_t n = run.now.first; n < run.next; n++) {
        bytes += record_size(n);
    }
    return bytes;
}

static void work(void)
{
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        for (uint64_t count = draw() % 4u; count != 0; count--) {
            status_t status = append_next();
            if (status == STATUS_WOULD_BLOCK || status == STATUS_FULL) {
                break;
            }
            CHECK_EQ(status, STATUS_OK);
            run.next++;
        }
        if (draw() % 3u != 0) {
            loglet_commit(run.rig.log, run.rig.now_ns);
        }
        if (run.relaxed && draw() % 8u == 0) {
            loglet_flush(run.rig.log, run.rig.now_ns);
        }
        rig_turn(&run.rig, (uint32_t)(draw() % 4u));
        note();
        if (live_bytes() > LIVE_BYTES && run.now.first < run.now.acknowledged) {
            uint32_t first = run.now.first + (run.now.acknowledged - run.now.first + 1u) / 2u;
            log_position_t to =
                first < run.now.acknowledged ? run.positions[first] : loglet_durable(run.rig.log);
            CHECK_EQ(loglet_trim(run.rig.log, to), STATUS_OK);
            run.now.first = first;
            note();
        }
    }
}

static void open_log(struct rig *rig)
{
    CHECK_EQ(rig_open(rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(rig, "main", 0), STATUS_OK);
}

static void record(const struct rig_shape *shape, uint64_t seed)
{
    memset(&run, 0, sizeof run);
    run.random = seed;
    rig_init(&run.rig, shape);
    run.rig.fake.any_order = true;
    crash_recorder_init(&run.recorder, &run.rig.fake.block);
    run.rig.drive = &run.recorder.block;
    run.known = calloc(RECORDS_MAX * 4u, sizeof *run.known);
    run.lent = aligned_alloc(PAGE_BYTES, (size_t)RECORDS_MAX * PAGE_BYTES);
    for (uint32_t session = 0; session < SESSIONS; session++) {
        open_log(&run.rig);
        run.relaxed = session % 2u == 1;
        loglet_set_relaxed(run.rig.log, run.relaxed, run.rig.now_ns);
        work();
        loglet_set_relaxed(run.rig.log, false, run.rig.now_ns);
        loglet_commit(run.rig.log, run.rig.now_ns);
        rig_settle(&run.rig);
        note();
    }
    CHECK(run.next > 200);
    CHECK_EQ(run.now.acknowledged, run.next);
}

static void forget(void)
{
    crash_recorder_free(&run.recorder);
    rig_free(&run.rig);
    free(run.known);
    free(run.lent);
}

/* ---- After a cut ---- */

struct found {
    uint32_t first, next;
    bool any, wrong;
};

static bool take(void *context, log_position_t position, const uint8_t *data, uint32_t bytes)
{
    struct found *found = context;
    uint32_t n = 0;

    (void)position;
    memcpy(&n, data, bytes < 4u ? bytes : 4u);
    found->first = found->any ? found->first : n;
    found->wrong = found->wrong || (found->any && n != found->next) || n >= run.next ||
                   bytes != record_size(n);
    found->any = true;
    found->next = n + 1u;
    if (!found->wrong) {
        make_record(n, scratch);
        found->wrong = memcmp(data, scratch, bytes) != 0;
    }
    return !found->wrong;
}

/* Opens the drive and looks whether it holds what it must; OK, or what the log said, or NOT_FOUND
 * for a loss or falsehood that nobody told of. */
static status_t look(struct rig *rig, const struct knowledge *known)
{
    struct found found = {0};
    status_t status = rig_open(rig, 0);

    if (status == STATUS_OK) {
        status = rig_log(rig, "main", 0);
    }
    if (status == STATUS_OK) {
        status = rig_read(rig, loglet_tail(rig->log), take, &found);
    }
    if (found.wrong) {
        return STATUS_NOT_FOUND;
    }
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    bool complete = found.any ? found.first <= known->first && found.next >= known->acknowledged
                              : known->first == known->acknowledged;
    return complete ? STATUS_OK : STATUS_NOT_FOUND;
}

static uint32_t cuts_wanted(void)
{
    const char *text = getenv("HALLOWS_CUTS");
    uint32_t wanted = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 0;

    return wanted != 0 ? wanted : CUTS_DEFAULT;
}

static bool is_boundary(const struct crash_event *event)
{
    const struct crash_operation *operation = &run.recorder.operations[event->index];

    return event->kind != CRASH_MARK && operation->operation != BLOCK_READ &&
           operation->operation != BLOCK_ZONE_REPORT;
}

static uint32_t boundaries(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < run.recorder.event_count; i++) {
        count += is_boundary(&run.recorder.events[i]);
    }
    return count;
}

/* Every boundary `times` times. */
static uint32_t cut_everywhere(const struct rig_shape *shape, uint32_t times)
{
    static const struct knowledge nothing;
    struct crash_replayer replayer;
    struct rig after;
    uint32_t cuts = 0;

    rig_init(&after, shape);
    crash_replayer_init(&replayer, &run.recorder, &run.rig.fake.media);
    while (crash_replayer_step(&replayer)) {
        if (!is_boundary(&run.recorder.events[replayer.at - 1u])) {
            continue;
        }
        for (uint32_t i = 0; i < times; i++) {
            const struct knowledge *known =
                run.marks != 0 && replayer.marked ? &run.known[replayer.mark] : &nothing;
            crash_replayer_cut(&replayer, &after.fake.media, draw());
            status_t status = look(&after, known);
            CHECK_EQ(status, STATUS_OK);
            if (status != STATUS_OK) {
                printf("    shape %u event %u cut %u: %s\n", (uint32_t)(shape - shapes),
                       replayer.at, i, loglet_device_seen(after.device));
                times = 0;
            }
            cuts++;
        }
    }
    crash_replayer_free(&replayer);
    rig_free(&after);
    return cuts;
}

TEST(cuts_everywhere)
{
    uint32_t wanted = cuts_wanted() / (uint32_t)SHAPES;
    uint32_t cuts = 0;

    for (uint32_t s = 0; s < SHAPES; s++) {
        uint32_t mine = 0;
        for (uint64_t seed = 1; mine < wanted; seed++) {
            record(&shapes[s], seed * 88172645463325252ull);
            uint32_t times = (wanted - mine) / boundaries() + 1u;
            mine += cut_everywhere(&shapes[s], times < 8u ? times : 8u);
            forget();
        }
        cuts += mine;
    }
    printf("  %u cuts\n", cuts);
    CHECK(cuts >= cuts_wanted());
}

/* ---- Writes that the drive acknowledges and forgets ---- */

/* After a clean close nothing may be missing without a word. */
TEST(lost_writes_are_told)
{
    uint32_t told = 0, harmless = 0;

    for (uint32_t s = 0; s < SHAPES; s += 1u) {
        struct rig after;
        record(&shapes[s], 7777777);
        CHECK_EQ(rig_close(&run.rig), STATUS_CLOSED);
        rig_init(&after, &shapes[s]);
        for (uint32_t i = 0; i < run.recorder.operation_count; i += 1u + i % 3u) {
            struct crash_replayer replayer;
            if (run.recorder.operations[i].operation != BLOCK_WRITE || s >= 2u) {
                continue; /* a zone cannot go on behind a write that did not happen */
            }
            crash_replayer_init(&replayer, &run.recorder, &run.rig.fake.media);
            replayer.skip = i;
            while (crash_replayer_step(&replayer)) {
            }
            crash_replayer_cut(&replayer, &after.fake.media, 99);
            status_t status = look(&after, &run.known[run.marks - 1u]);
            CHECK(status == STATUS_OK || status == STATUS_CORRUPT);
            if (status == STATUS_NOT_FOUND) {
                printf("    lost operation %u of %u at block %lu\n", i,
                       run.recorder.operation_count,
                       (unsigned long)run.recorder.operations[i].block);
            }
            told += status == STATUS_CORRUPT;
            harmless += status == STATUS_OK;
            crash_replayer_free(&replayer);
        }
        rig_free(&after);
        forget();
    }
    printf("  %u told, %u of no consequence\n", told, harmless);
    CHECK(told > 20);
}
