// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Power cuts at every write and at random ones. The model: record n holds its number; after a cut
 * the log is records [first, end) without a gap, everything acknowledged among them.
 */
#include <stdlib.h>

#include "lib/loglet/rig_fake.h"
#include "tests/check.h"

static const struct rig_shape shapes[] = {
    {4u << 20, 512, 0, 0, 200000},
    {6u << 20, 4096, 0, 0, 200000},
    {4u << 20, 512, 256u << 10, 256u << 10, 200000},
    {6u << 20, 4096, 512u << 10, 384u << 10, 200000},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])
#define RECORDS_MAX 200000u
#define RECORD_BYTES_MAX 150000u
#define LENT 64u /* more than can be under way */
#define LENT_BYTES (160u * 1024u)

struct model {
    struct rig rig;
    uint32_t first;        /* oldest record that must be there */
    uint32_t first_before; /* oldest that may still be there: the trim may not have reached it */
    uint32_t acknowledged; /* records before this one were */
    uint32_t next;         /* to be appended */
    uint64_t cuts;
    log_position_t *positions; /* of record n */
    uint8_t *scratch;
    uint8_t *lent; /* pages that the drive takes by reference, used in turn */
    uint32_t lent_next;
};

static uint32_t record_size(uint32_t n)
{
    uint64_t x = (n + 1u) * 0x9e3779b97f4a7c15ull;
    x ^= x >> 29;
    switch (x % 16u) {
    case 0:
        return 4u + (uint32_t)(x >> 8) % (RECORD_BYTES_MAX - 4u);
    case 1:
    case 2:
        return 4u + (uint32_t)(x >> 8) % 9000u;
    default:
        return 4u + (uint32_t)(x >> 8) % 300u;
    }
}

static void make_record(uint32_t n, uint8_t *to)
{
    uint32_t bytes = record_size(n);
    for (uint32_t i = 4; i < bytes; i++) {
        to[i] = (uint8_t)(n * 11u + i * 3u + (i >> 9));
    }
    memcpy(to, &n, 4);
}

struct replay {
    struct model *model;
    uint32_t first, next;
    bool any, wrong;
};

static bool replay_record(void *context, log_position_t position, const uint8_t *data,
                          uint32_t bytes)
{
    struct replay *replay = context;
    uint32_t n;

    if (bytes < 4) {
        replay->wrong = true;
        return false;
    }
    memcpy(&n, data, 4);
    if (!replay->any) {
        replay->any = true;
        replay->first = n;
        replay->next = n;
    }
    if (n != replay->next || n >= RECORDS_MAX || bytes != record_size(n)) {
        replay->wrong = true;
        return false;
    }
    make_record(n, replay->model->scratch);
    if (memcmp(data, replay->model->scratch, bytes) != 0) {
        replay->wrong = true;
        return false;
    }
    replay->model->positions[n] = position;
    replay->next++;
    return true;
}

/* What is in the log now must fit the model; the model then follows the log. */
static void verify(struct model *model)
{
    struct replay replay = {.model = model};
    status_t status = rig_read(&model->rig, loglet_tail(model->rig.log), replay_record, &replay);

    CHECK_EQ(status, STATUS_NOT_FOUND);
    if (status != STATUS_NOT_FOUND) {
        printf("    zoned %d block %u tail %lx durable %lx any %d next %u acked %u\n",
               model->rig.fake.media.zone_blocks != 0, model->rig.fake.block.block_bytes,
               (unsigned long)loglet_tail(model->rig.log),
               (unsigned long)loglet_durable(model->rig.log), replay.any, replay.next,
               model->acknowledged);
    }
    CHECK(!replay.wrong);
    if (!replay.any) {
        replay.first = replay.next = model->acknowledged;
        CHECK(model->first == model->acknowledged);
    }
    CHECK(replay.first <= model->first);
    CHECK(replay.first >= model->first_before);
    CHECK(replay.next >= model->acknowledged);
    CHECK(replay.next <= model->next);
    model->first = replay.first;
    model->first_before = replay.first;
    model->acknowledged = replay.next;
    model->next = replay.next;
}

/* Opens and verifies, with the power going away in the middle now and then. */
static void recover(struct model *model)
{
    struct rig *rig = &model->rig;

    for (uint32_t tries = 0; tries < 20; tries++) {
        if (media_random(&rig->fake.media) % 4u == 0) {
            rig->fake.writes_left = media_random(&rig->fake.media) % 4u;
        }
        status_t status = rig_open(rig, 0);
        if (status == STATUS_OK) {
            status = rig_log(rig, "main", 0);
        }
        if (rig->fake.off) {
            block_fake_power_cycle(&rig->fake);
            model->cuts++;
            continue;
        }
        CHECK_EQ(status, STATUS_OK);
        rig->fake.writes_left = UINT64_MAX;
        if (status == STATUS_OK) {
            verify(model);
        }
        return;
    }
}

static void acknowledge(struct model *model)
{
    log_position_t durable = loglet_durable(model->rig.log);

    while (model->acknowledged < model->next && model->positions[model->acknowledged] < durable) {
        model->acknowledged++;
    }
}

static void trim_to(struct model *model, uint32_t n)
{
    log_position_t position =
        n < model->acknowledged ? model->positions[n] : loglet_durable(model->rig.log);

    CHECK_EQ(loglet_trim(model->rig.log, position), STATUS_OK);
    model->first = n;
}

/* Every third record whose size allows it leaves its last pages where they lie, for good: what the
 * drive takes by reference must not change, so those pages are made anew for each record. */
static status_t append_record(struct model *model, uint32_t n)
{
    struct loglet *log = model->rig.log;
    log_position_t *position = &model->positions[n];
    uint32_t bytes = record_size(n);
    uint32_t first = bytes % PAGE_BYTES;
    uint8_t *lent;

    if (n % 3u != 0 || bytes < PAGE_BYTES || bytes - first > loglet_page_bytes_max(log) ||
        first > LOGLET_PAGE_FIRST_BYTES_MAX) {
        struct loglet_piece pieces[2] = {{model->scratch, 4}, {model->scratch + 4, bytes - 4u}};
        return loglet_append(log, pieces, 2, position);
    }
    lent = model->lent + (size_t)(model->lent_next++ % LENT) * LENT_BYTES;
    memcpy(lent, model->scratch + first, bytes - first);
    struct loglet_piece head = {model->scratch, first};
    struct loglet_piece pages = {lent, bytes - first};
    return loglet_append_pages(log, &head, &pages, 1, position);
}

static void append_some(struct model *model)
{
    struct rig *rig = &model->rig;
    uint32_t count = (uint32_t)(media_random(&rig->fake.media) % 6u);

    for (uint32_t i = 0; i < count; i++) {
        make_record(model->next, model->scratch);
        status_t status = append_record(model, model->next);
        if (status == STATUS_FULL) {
            acknowledge(model);
            uint32_t held = model->acknowledged - model->first;
            trim_to(model, model->first + held / 2u + (held < 4u ? held - held / 2u : 0));
            return;
        }
        if (status == STATUS_WOULD_BLOCK) {
            return;
        }
        CHECK_EQ(status, STATUS_OK);
        model->next++;
    }
}

static void work(struct model *model, uint64_t writes)
{
    struct rig *rig = &model->rig;

    rig->fake.writes_left = writes;
    for (uint32_t turn = 0; turn < 4000 && !rig->fake.off && model->next < RECORDS_MAX - 8u;
         turn++) {
        append_some(model);
        if (media_random(&rig->fake.media) % 3u != 0) {
            loglet_commit(rig->log, rig->now_ns);
        }
        rig_turn(rig, (uint32_t)(media_random(&rig->fake.media) % 5u));
        acknowledge(model);
    }
    CHECK_EQ(loglet_state(rig->log), STATUS_OK);
}

static void model_init(struct model *model, const struct rig_shape *shape)
{
    memset(model, 0, sizeof *model);
    rig_init(&model->rig, shape);
    model->rig.fake.any_order = true;
    model->positions = calloc(RECORDS_MAX, sizeof *model->positions);
    model->scratch = malloc(RECORD_BYTES_MAX);
    model->lent = aligned_alloc(PAGE_BYTES, (size_t)LENT * LENT_BYTES);
}

static void model_free(struct model *model)
{
    rig_free(&model->rig);
    free(model->positions);
    free(model->scratch);
    free(model->lent);
}

TEST(random_cuts)
{
    static struct model model;
    uint64_t cuts = 0;

    for (uint32_t s = 0; s < SHAPES; s++) {
        model_init(&model, &shapes[s]);
        for (uint32_t i = 0; i < 460; i++) {
            recover(&model);
            work(&model, media_random(&model.rig.fake.media) % 24u);
            block_fake_power_cycle(&model.rig.fake);
            model.cuts++;
        }
        recover(&model);
        cuts += model.cuts;
        CHECK(model.next > 1000);
        model_free(&model);
    }
    printf("  %" PRIu64 " power cuts\n", cuts);
    CHECK(cuts >= 2000);
}

TEST(cut_at_every_write)
{
    static struct model model;

    for (uint32_t s = 0; s < SHAPES; s++) {
        for (uint32_t cut = 0; cut < 40; cut++) {
            model_init(&model, &shapes[s]);
            model.rig.fake.media.random += cut / 20u;
            recover(&model);
            work(&model, cut);
            block_fake_power_cycle(&model.rig.fake);
            recover(&model);
            work(&model, 3);
            block_fake_power_cycle(&model.rig.fake);
            recover(&model);
            model_free(&model);
        }
    }
}

/* A power cut during formatting leaves a drive that is formatted again or complete. */
TEST(cut_while_formatting)
{
    for (uint32_t s = 0; s < SHAPES; s++) {
        for (uint32_t cut = 0; cut < 8; cut++) {
            struct rig rig;
            rig_init(&rig, &shapes[s]);
            rig.fake.writes_left = cut;
            (void)rig_open(&rig, 0);
            block_fake_power_cycle(&rig.fake);
            status_t status = rig_open(&rig, 0);
            CHECK_EQ(status, STATUS_OK);
            if (status != STATUS_OK) {
                printf("    shape %u cut %u: %s\n", s, cut, loglet_device_seen(rig.device));
            }
            rig_free(&rig);
        }
    }
}

/* Write errors are tried again; when they do not end, the log says so and acknowledges nothing. */
TEST(write_errors)
{
    for (uint32_t s = 0; s < SHAPES; s++) {
        struct rig rig;
        log_position_t position;
        rig_init(&rig, &shapes[s]);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        CHECK_EQ(rig_append(&rig, "one", 3, &position), STATUS_OK);
        rig.fake.fail_next = 3;
        CHECK_EQ(rig_append(&rig, "two", 3, &position), STATUS_OK);
        rig.fake.deny_next = 1; /* done, but said to have failed */
        CHECK_EQ(rig_append(&rig, "three", 5, &position), STATUS_OK);
        CHECK_EQ(rig_append(&rig, "four", 4, &position), STATUS_OK);
        rig.fake.fail_next = 100;
        CHECK_EQ(rig_append(&rig, "five", 4, &position), STATUS_DEVICE_ERROR);
        CHECK(loglet_durable(rig.log) <= position);
        CHECK_EQ(rig_append(&rig, "six", 3, &position), STATUS_DEVICE_ERROR);
        rig_free(&rig);
    }
}
