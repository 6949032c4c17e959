// SPDX-License-Identifier: MIT OR Apache-2.0
/* Records by reference: what the drive took from the caller's pages comes back, among copied ones.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/loglet/rig_fake.h"
#include "tests/check.h"

static const struct rig_shape shapes[] = {
    {16u << 20, 512, 0, 0, 1u << 20},
    {16u << 20, 4096, 0, 0, 1u << 20},
    {16u << 20, 512, 1u << 20, 1u << 20, 1u << 20},
    {16u << 20, 4096, 1u << 20, 768u << 10, 1u << 20},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])
#define PAGES_MAX 32u

static uint8_t *pages;
static uint8_t first[LOGLET_PAGE_FIRST_BYTES_MAX];

static uint32_t page_count(uint32_t n)
{
    return n % 11u == 0 ? PAGES_MAX : n % 5u;
}

static uint32_t first_bytes(uint32_t n)
{
    return n % 5u == 0 && n % 11u != 0 ? 50u : n % 7u == 0 ? 0 : n % 13u == 0 ? 2048u : n % 90u;
}

static void make(uint32_t n)
{
    memset(first, (int)(n * 3u + 1u), sizeof first);
    for (uint32_t i = 0; i < PAGES_MAX * PAGE_BYTES; i++) {
        pages[i] = (uint8_t)(n + i * 5u + (i >> 12));
    }
}

struct expected {
    uint32_t next;
    uint32_t wrong;
};

static bool take(void *context, log_position_t position, const uint8_t *data, uint32_t bytes)
{
    struct expected *expected = context;
    uint32_t n = expected->next++;
    uint32_t head = first_bytes(n);

    (void)position;
    make(n);
    if (bytes != head + page_count(n) * PAGE_BYTES || memcmp(data, first, head) != 0 ||
        memcmp(data + head, pages, bytes - head) != 0) {
        expected->wrong++;
        return false;
    }
    return true;
}

static status_t append(struct rig *rig, uint32_t n, log_position_t *position)
{
    struct loglet_piece head = {first, first_bytes(n)};

    make(n);
    return page_count(n) == 0 ? rig_append(rig, first, first_bytes(n), position)
                              : rig_append_pages(rig, head, pages, page_count(n), position);
}

TEST(referenced_records_come_back)
{
    pages = aligned_alloc(PAGE_BYTES, PAGES_MAX * PAGE_BYTES);
    for (uint32_t s = 0; s < SHAPES; s++) {
        struct rig rig;
        struct expected expected = {0};
        log_position_t position, before = 0;
        rig_init(&rig, &shapes[s]);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        for (uint32_t n = 0; n < 200; n++) {
            CHECK_EQ(append(&rig, n, &position), STATUS_OK);
            CHECK(position > before);
            before = position;
        }
        CHECK_EQ(rig_read(&rig, loglet_tail(rig.log), take, &expected), STATUS_NOT_FOUND);
        CHECK_EQ(expected.wrong, 0);
        CHECK_EQ(expected.next, 200);
        block_fake_power_cycle(&rig.fake);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        expected = (struct expected){0};
        CHECK_EQ(rig_read(&rig, loglet_tail(rig.log), take, &expected), STATUS_NOT_FOUND);
        CHECK_EQ(expected.next, 200);
        /* From a record in the middle of a frame on, too. */
        expected = (struct expected){199, 0};
        CHECK_EQ(rig_read(&rig, before, take, &expected), STATUS_NOT_FOUND);
        CHECK_EQ(expected.next, 200);
        rig_free(&rig);
    }
    free(pages);
}

static uint32_t batch_next;

static bool take_batched(void *context, log_position_t position, const uint8_t *data,
                         uint32_t bytes)
{
    const struct loglet_piece *records = context;

    (void)position;
    CHECK_EQ(bytes, PAGE_BYTES);
    CHECK(memcmp(data, records[batch_next].data, bytes) == 0);
    batch_next++;
    return true;
}

/* Thirty-two pages are one frame, whose overhead is one block. */
TEST(a_batch_of_pages_is_one_write)
{
    struct rig rig;
    log_position_t position = 0;

    pages = aligned_alloc(PAGE_BYTES, PAGES_MAX * PAGE_BYTES);
    make(1);
    rig_init(&rig, &shapes[0]);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
    uint64_t writes = rig.fake.writes;
    struct loglet_piece records[32];
    log_position_t positions[32];
    uint32_t taken;
    for (uint32_t i = 0; i < 32; i++) {
        uint32_t at = i < 16 ? i : 47u - i; /* half of them not one behind the other */
        records[i] = (struct loglet_piece){pages + (size_t)at * PAGE_BYTES, PAGE_BYTES};
    }
    CHECK_EQ(loglet_append_batch(rig.log, records, 32, &taken, positions), STATUS_OK);
    CHECK_EQ(taken, 32);
    for (uint32_t i = 1; i < 32; i++) {
        CHECK_EQ(positions[i], positions[i - 1u] + 1u);
    }
    position = positions[31];
    loglet_commit(rig.log, rig.now_ns);
    rig_settle(&rig);
    CHECK(position < loglet_durable(rig.log));
    CHECK_EQ(rig.fake.writes, writes + 1);
    CHECK_EQ(loglet_counters(rig.log)->frame_bytes, 32u * PAGE_BYTES + 512u);
    batch_next = 0;
    CHECK_EQ(rig_read(&rig, positions[0], take_batched, records), STATUS_NOT_FOUND);
    CHECK_EQ(batch_next, 32);
    rig_free(&rig);
    free(pages);
}

TEST(wrong_pages_are_refused)
{
    struct rig rig;
    log_position_t position = 77;
    struct loglet_piece none = {NULL, 0};

    pages = aligned_alloc(PAGE_BYTES, PAGES_MAX * PAGE_BYTES);
    rig_init(&rig, &shapes[0]);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
    const struct loglet_piece wrong[] = {
        {pages + 512, PAGE_BYTES}, {pages, 100}, {pages, 0}, {pages, 33u * PAGE_BYTES}};
    for (uint32_t i = 0; i < 4; i++) {
        log_position_t head = loglet_head(rig.log);
        CHECK_EQ(loglet_append_pages(rig.log, &none, &wrong[i], 1, &position),
                 STATUS_INVALID_ARGUMENT);
        CHECK_EQ(loglet_head(rig.log), head);
        CHECK_EQ(position, 77);
    }
    struct loglet_piece page = {pages, PAGE_BYTES};
    struct loglet_piece long_first = {first, LOGLET_PAGE_FIRST_BYTES_MAX + 1u};
    CHECK_EQ(loglet_append_pages(rig.log, &long_first, &page, 1, &position),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(loglet_append_pages(rig.log, &none, &page, 0, &position), STATUS_INVALID_ARGUMENT);
    rig_free(&rig);
    free(pages);
}
