// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Tenants on a model of a drive in virtual time: `units` servers that take requests in the order in
 * which they came, and a service time of a fixed part and one for each byte, varied by a tenth; on
 * the zoned drive writes are served by its active zones, each one request at a time.
 */
#include <stdlib.h>

#include "lib/base/assert.h"
#include "lib/block/block_fake.h"
#include "lib/block/contract.h"
#include "tests/check.h"

#define UNITS 16u
#define ACTIVE_ZONES 14u
#define READ_NS 70000u
#define WRITE_NS 20000u
#define WRITE_BYTE_PS 2000u /* 128 KiB: 262 us */
#define READ_BYTE_PS 500u
#define MODEL_DEPTH 1024u
#define MS 1000000ull

struct model {
    struct block_device block;
    time_ns_t read_free[UNITS], write_free[UNITS];
    uint32_t writers;
    struct {
        struct block_completion completion;
        time_ns_t at;
    } queue[MODEL_DEPTH];
    uint32_t queued;
    uint64_t random;
};

static uint64_t draw(uint64_t *state) /* xorshift64, Marsaglia 2003 */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint32_t model_submit(struct block_device *dev, const struct block_request *requests,
                             uint32_t count, time_ns_t now_ns)
{
    struct model *model = (struct model *)dev;

    for (uint32_t i = 0; i < count; i++) {
        bool write = requests[i].operation != BLOCK_READ;
        uint64_t bytes = (uint64_t)requests[i].blocks << 12;
        uint64_t service = write ? WRITE_NS + bytes * WRITE_BYTE_PS / 1000u
                                 : READ_NS + bytes * READ_BYTE_PS / 1000u;
        time_ns_t *free_at =
            write && model->writers != UNITS ? model->write_free : model->read_free;
        uint32_t servers = write ? model->writers : UNITS;
        uint32_t best = 0;
        for (uint32_t k = 1; k < servers; k++) {
            best = free_at[k] < free_at[best] ? k : best;
        }
        time_ns_t start = free_at[best] > now_ns ? free_at[best] : now_ns;
        service = service * (950u + draw(&model->random) % 100u) / 1000u;
        free_at[best] = start + service;
        VERIFY(model->queued < MODEL_DEPTH);
        model->queue[model->queued].completion =
            (struct block_completion){.cookie = requests[i].cookie};
        model->queue[model->queued++].at = start + service;
    }
    return count;
}

static uint32_t model_poll(struct block_device *dev, struct block_completion *completions,
                           uint32_t max, time_ns_t now_ns)
{
    struct model *model = (struct model *)dev;
    uint32_t done = 0;

    for (uint32_t i = 0; i < model->queued && done < max;) {
        if (model->queue[i].at > now_ns) {
            i++;
            continue;
        }
        completions[done++] = model->queue[i].completion;
        model->queue[i] = model->queue[--model->queued];
    }
    return done;
}

static time_ns_t model_next_due(struct block_device *dev)
{
    const struct model *model = (const struct model *)dev;
    time_ns_t next = DEADLINE_NEVER;

    for (uint32_t i = 0; i < model->queued; i++) {
        next = model->queue[i].at < next ? model->queue[i].at : next;
    }
    return next;
}

static const struct block_device_ops model_ops = {model_submit, model_poll, NULL, NULL,
                                                  model_next_due};

static void model_init(struct model *model, uint32_t writers)
{
    memset(model, 0, sizeof *model);
    model->random = 88172645463325252ull;
    model->writers = writers;
    model->block = (struct block_device){.ops = &model_ops,
                                         .block_count = 1u << 24,
                                         .block_bytes = 4096,
                                         .block_shift = 12,
                                         .max_transfer_blocks = 128,
                                         .queue_depth = MODEL_DEPTH};
}

/* A tenant that always has `depth` requests of one size under way, or one every `pause_ns`. */
struct load {
    struct block_device *block;
    uint32_t depth, blocks;
    uint8_t operation;
    time_ns_t pause_ns;
    uint32_t flying;
    time_ns_t next_ns;
    time_ns_t begun[SHARE_QUEUE + MODEL_DEPTH];
    uint32_t free_count;
    uint16_t free_list[MODEL_DEPTH];
    uint64_t done, bytes;
    uint32_t *latencies;
};

static void load_init(struct load *load, uint32_t latencies)
{
    load->free_count = 0;
    for (uint32_t i = 0; i < load->depth; i++) {
        load->free_list[load->free_count++] = (uint16_t)i;
    }
    load->latencies = latencies != 0 ? calloc(latencies, sizeof *load->latencies) : NULL;
}

static void load_turn(struct load *load, time_ns_t now_ns)
{
    struct block_completion done[32];
    uint32_t count = load->block->ops->poll(load->block, done, 32, now_ns);

    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(done[i].status, STATUS_OK);
        if (load->latencies != NULL) {
            load->latencies[load->done] = (uint32_t)(now_ns - load->begun[done[i].cookie]);
        }
        load->free_list[load->free_count++] = (uint16_t)done[i].cookie;
        load->done++;
        load->bytes += (uint64_t)load->blocks << 12;
    }
    while (load->free_count != 0 && now_ns >= load->next_ns) {
        uint16_t cookie = load->free_list[--load->free_count];
        struct block_request request = {
            .cookie = cookie, .block = 8, .blocks = load->blocks, .operation = load->operation};
        load->begun[cookie] = now_ns;
        load->next_ns = load->pause_ns != 0 ? now_ns + load->pause_ns : 0;
        if (load->block->ops->submit(load->block, &request, 1, now_ns) == 0) {
            load->free_list[load->free_count++] = cookie;
            return;
        }
    }
}

/* Runs the loads to the end of virtual time. */
static void run_loads(struct model *model, struct load *loads, uint32_t count, time_ns_t end_ns)
{
    for (time_ns_t now_ns = 0; now_ns < end_ns;) {
        time_ns_t next = DEADLINE_NEVER;
        for (uint32_t i = 0; i < count; i++) {
            load_turn(&loads[i], now_ns);
        }
        next = model_next_due(&model->block);
        for (uint32_t i = 0; i < count; i++) {
            if (loads[i].pause_ns != 0 && loads[i].free_count != 0 && loads[i].next_ns < next) {
                next = loads[i].next_ns;
            }
        }
        now_ns = next > now_ns ? next : now_ns + 1u;
    }
}

static struct share_drive drive_like(struct model *model)
{
    return (struct share_drive){.block = &model->block,
                                .units = model->writers,
                                .read_ns = READ_NS,
                                .write_ns = WRITE_NS,
                                .read_byte_ps = READ_BYTE_PS,
                                .write_byte_ps = WRITE_BYTE_PS};
}

static struct share share;
static struct model model;

/* Jain, Chiu, Hawe 1984: 1 when all are equal. */
static double jain(const struct load *loads, uint32_t count)
{
    double sum = 0, squares = 0;

    for (uint32_t i = 0; i < count; i++) {
        double x = (double)loads[i].bytes;
        sum += x;
        squares += x * x;
    }
    return sum * sum / (count * squares);
}

/* 64 tenants with the same contract on 14 active zones, each wanting more than its share with
 * another number of requests: equal bytes for all, and the drive never idles. */
TEST(equals_get_equal_shares)
{
    static struct load loads[SHARE_TENANTS_MAX];
    static const uint32_t depths[] = {16, 8, 4, 2};
    double sum = 0;

    model_init(&model, ACTIVE_ZONES);
    struct share_drive drive = drive_like(&model);
    CHECK_EQ(share_init(&share, &drive), STATUS_OK);
    for (uint32_t i = 0; i < SHARE_TENANTS_MAX; i++) {
        struct share_contract contract = {.blocks = 4096, .bytes_per_second = 90000000};
        struct share_tenant *tenant;
        CHECK_EQ(share_admit(&share, &contract, &tenant), STATUS_OK);
        loads[i] = (struct load){.block = &tenant->block,
                                 .depth = depths[i % 4u],
                                 .blocks = 16,
                                 .operation = BLOCK_WRITE};
        load_init(&loads[i], 0);
    }
    run_loads(&model, loads, SHARE_TENANTS_MAX, 400 * MS);
    for (uint32_t i = 0; i < SHARE_TENANTS_MAX; i++) {
        sum += (double)loads[i].bytes;
    }
    double fairness = jain(loads, SHARE_TENANTS_MAX);
    double service_ns = WRITE_NS + 65536.0 * WRITE_BYTE_PS / 1000.0;
    double used = sum / 65536.0 * service_ns / (400e6 * ACTIVE_ZONES);
    printf("  64 tenants, 14 zones: Jain %.5f, drive %.1f %% used\n", fairness, used * 100.0);
    CHECK(fairness >= 0.99);
    CHECK(used > 0.95);
}

/* Twice the contract, twice the bytes, when both want all; all of it when the other wants nothing.
 */
TEST(shares_follow_contracts)
{
    static struct load loads[2];
    struct share_drive drive;
    struct share_tenant *tenants[2];

    model_init(&model, UNITS);
    drive = drive_like(&model);
    CHECK_EQ(share_init(&share, &drive), STATUS_OK);
    for (uint32_t i = 0; i < 2; i++) {
        struct share_contract contract = {.blocks = 4096,
                                          .bytes_per_second = 1000000000u * (i + 1u)};
        CHECK_EQ(share_admit(&share, &contract, &tenants[i]), STATUS_OK);
        loads[i] = (struct load){
            .block = &tenants[i]->block, .depth = 32, .blocks = 8, .operation = BLOCK_WRITE};
        load_init(&loads[i], 0);
    }
    run_loads(&model, loads, 2, 200 * MS);
    double ratio = (double)loads[1].bytes / (double)loads[0].bytes;
    CHECK(ratio > 1.95 && ratio < 2.05);
    /* Alone, the smaller one has all. */
    uint64_t before = loads[0].bytes;
    uint64_t both = before + loads[1].bytes;
    model_init(&model, UNITS);
    CHECK_EQ(share_init(&share, &drive), STATUS_OK);
    struct share_contract contract = {.blocks = 4096, .bytes_per_second = 1000000000u};
    CHECK_EQ(share_admit(&share, &contract, &tenants[0]), STATUS_OK);
    loads[0] = (struct load){
        .block = &tenants[0]->block, .depth = 32, .blocks = 8, .operation = BLOCK_WRITE};
    load_init(&loads[0], 0);
    run_loads(&model, loads, 1, 200 * MS);
    CHECK(loads[0].bytes > both - both / 50u);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t p999(struct load *load)
{
    qsort(load->latencies, load->done, sizeof *load->latencies, compare);
    return load->latencies[load->done * 999u / 1000u];
}

enum beside { ALONE, SHARED, UNMANAGED };

/* A reader of 4 KiB every 200 us, alone or beside one that writes 128 KiB with all it has. */
static uint32_t victim_p999(enum beside beside)
{
    static struct load loads[2];
    struct share_drive drive;
    struct share_tenant *victim, *noisy;
    struct share_contract small = {.blocks = 4096, .iops = 6000, .service = SHARE_LATENCY};
    struct share_contract large = {.blocks = 4096, .bytes_per_second = 4000000000u};

    model_init(&model, UNITS);
    drive = drive_like(&model);
    if (beside == UNMANAGED) {
        drive.units = 512; /* everything goes to the drive at once, as without a scheduler */
    }
    CHECK_EQ(share_init(&share, &drive), STATUS_OK);
    if (beside == UNMANAGED) {
        small.service = SHARE_NORMAL;
    }
    CHECK_EQ(share_admit(&share, &small, &victim), STATUS_OK);
    CHECK_EQ(share_admit(&share, &large, &noisy), STATUS_OK);
    loads[0] = (struct load){.block = &victim->block,
                             .depth = 4,
                             .blocks = 1,
                             .operation = BLOCK_READ,
                             .pause_ns = 200000};
    loads[1] =
        (struct load){.block = &noisy->block, .depth = 32, .blocks = 32, .operation = BLOCK_WRITE};
    load_init(&loads[0], 30000);
    load_init(&loads[1], 0);
    run_loads(&model, loads, beside == ALONE ? 1 : 2, 4000 * MS);
    CHECK(loads[0].done > 19000);
    uint32_t result = p999(&loads[0]);
    free(loads[0].latencies);
    return result;
}

TEST(noisy_neighbour_is_not_heard)
{
    uint32_t alone = victim_p999(ALONE);
    uint32_t shared_ns = victim_p999(SHARED);
    uint32_t unmanaged = victim_p999(UNMANAGED);

    printf("  p99.9 of 4 KiB reads: alone %u ns, beside a noisy one %u (x%.3f), unmanaged %u\n",
           alone, shared_ns, (double)shared_ns / alone, unmanaged);
    CHECK(shared_ns <= alone + alone / 5u);
    CHECK(unmanaged > 2u * alone); /* so the scheduler is what does it */
}

TEST(promises_are_kept_small_enough)
{
    struct share_drive drive;
    struct share_tenant *tenant;
    uint32_t admitted = 0;
    status_t status;

    model_init(&model, UNITS);
    drive = drive_like(&model);
    CHECK_EQ(share_init(&share, &drive), STATUS_OK);
    /* 16 units, 90 percent, 70 us each: 205,714 requests a second. */
    struct share_contract contract = {.blocks = 100, .iops = 10000};
    while ((status = share_admit(&share, &contract, &tenant)) == STATUS_OK) {
        admitted++;
    }
    CHECK_EQ(status, STATUS_FULL);
    CHECK_EQ(admitted, 20);
    CHECK_EQ(share.count, 20);
    contract = (struct share_contract){.blocks = 1u << 25};
    CHECK_EQ(share_admit(&share, &contract, &tenant), STATUS_TOO_LARGE);
    contract = (struct share_contract){.blocks = 1, .bytes_per_second = UINT64_MAX};
    CHECK_EQ(share_admit(&share, &contract, &tenant), STATUS_FULL);
    contract = (struct share_contract){.blocks = 0};
    CHECK_EQ(share_admit(&share, &contract, &tenant), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(share.count, 20);
}

/* A tenant reaches its own blocks and no others. */
TEST(tenants_keep_to_their_blocks)
{
    static struct block_fake fake;
    static uint8_t data[4096] __attribute__((aligned(4096)));
    struct share_drive drive;
    struct share_tenant *tenants[2];
    struct block_completion done;

    block_fake_init(&fake, 1024, 512, 0, 0);
    drive = (struct share_drive){.block = &fake.block, .units = 4, .read_ns = 1, .write_ns = 1};
    CHECK_EQ(share_init(&share, &drive), STATUS_OK);
    for (uint32_t i = 0; i < 2; i++) {
        struct share_contract contract = {.blocks = 100};
        CHECK_EQ(share_admit(&share, &contract, &tenants[i]), STATUS_OK);
        CHECK_EQ(tenants[i]->block.block_count, 100);
        struct block_request write = {
            .cookie = 9, .block = 99, .blocks = 1, .operation = BLOCK_WRITE, .data = data};
        memset(data, (int)i + 1, sizeof data);
        struct block_device *block = &tenants[i]->block;
        CHECK_EQ(block->ops->submit(block, &write, 1, 0), 1);
        block_fake_run(&fake, 8);
        CHECK_EQ(block->ops->poll(block, &done, 1, 0), 1);
        CHECK_EQ(done.status, STATUS_OK);
        CHECK_EQ(done.cookie, 9);
        write.blocks = 2; /* one too many */
        CHECK_EQ(block->ops->submit(block, &write, 1, 0), 1);
        CHECK_EQ(block->ops->poll(block, &done, 1, 0), 1);
        CHECK_EQ(done.status, STATUS_INVALID_ARGUMENT);
    }
    CHECK_EQ(fake.executed, 2);
    CHECK_EQ(fake.media.current[99u * 512u], 1);
    CHECK_EQ(fake.media.current[199u * 512u], 2);
    block_fake_free(&fake);
}

/* A drive that says nothing of itself is measured: the model's own figures come out. */
TEST(a_drive_is_measured)
{
    static uint8_t buffers[MEASURE_DEPTH * MEASURE_BYTES];
    struct measure measure;
    status_t status;

    model_init(&model, UNITS);
    model.block.queue_depth = MODEL_DEPTH;
    CHECK_EQ(measure_start(&measure, &model.block, buffers, 0, 8, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(measure_start(&measure, &model.block, buffers, 1u << 23, 1u << 20, 0), STATUS_OK);
    for (time_ns_t now_ns = 0; (status = measure_poll(&measure, now_ns)) == STATUS_AGAIN;) {
        time_ns_t next = model_next_due(&model.block);
        now_ns = next != DEADLINE_NEVER && next > now_ns ? next : now_ns + 1u;
    }
    CHECK_EQ(status, STATUS_OK);
    const struct share_drive *drive = &measure.result;
    printf("  measured: %u units, read %u ns + %u ps, write %u ns + %u ps\n", drive->units,
           drive->read_ns, drive->read_byte_ps, drive->write_ns, drive->write_byte_ps);
    CHECK(drive->units >= 14u && drive->units <= 16u);
    CHECK(drive->read_ns > READ_NS * 8u / 10u && drive->read_ns < READ_NS * 12u / 10u);
    CHECK(drive->write_ns > WRITE_NS * 7u / 10u && drive->write_ns < WRITE_NS * 13u / 10u);
    CHECK(drive->read_byte_ps > 350u && drive->read_byte_ps < 650u);
    CHECK(drive->write_byte_ps > 1600u && drive->write_byte_ps < 2400u);
    /* Without a place for writes they are taken for reads. */
    CHECK_EQ(measure_start(&measure, &model.block, buffers, 0, 0, 0), STATUS_OK);
    for (time_ns_t now_ns = 1u << 30; (status = measure_poll(&measure, now_ns)) == STATUS_AGAIN;) {
        time_ns_t next = model_next_due(&model.block);
        now_ns = next != DEADLINE_NEVER && next > now_ns ? next : now_ns + 1u;
    }
    CHECK_EQ(status, STATUS_OK);
    CHECK_EQ(drive->write_ns, drive->read_ns);
    CHECK_EQ(drive->write_byte_ps, drive->read_byte_ps);
}
