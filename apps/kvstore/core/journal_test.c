// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/journal.h"

#include <stdlib.h>

#include "apps/kvstore/core/fixture_fake.h"
#include "tests/check.h"

enum { LOG_BYTES = 32 << 20, HEAP_BYTES = 64 << 20, KEYS = 60 };

static status_t apply(void *context, const struct journal_record *record)
{
    struct server *server = context;

    return database_apply(&server->database, record);
}

/* Replays a log in pieces of random size, as frames. */
static status_t replay(struct server *server, const uint8_t *log, size_t bytes, uint64_t *random)
{
    struct journal_reader reader;
    uint8_t header[JOURNAL_FRAME_HEADER_BYTES];
    status_t status = STATUS_OK;
    size_t at = 0;

    journal_reader_init(&reader, server->heap, apply, server);
    journal_frame_header(header, true);
    status = journal_reader_feed(&reader, slice_of(header, sizeof header), 0);
    while (status == STATUS_OK && at < bytes) {
        size_t piece = 1 + random_next(random) % 9000;
        piece = piece < bytes - at ? piece : bytes - at;
        status = journal_reader_feed(&reader, slice_of(log + at, piece), sizeof header + at);
        at += piece;
    }
    journal_reader_free(&reader);
    return status;
}

static struct slice key_of(char *text, uint64_t number)
{
    return slice_of(text, (size_t)snprintf(text, 16, "k%u", (unsigned)(number % KEYS)));
}

/* One random change. */
static void change(struct database *database, uint64_t *random)
{
    static uint8_t bytes[20000];
    char a_text[16];
    char b_text[16];
    struct slice a = key_of(a_text, random_next(random));
    struct slice b = key_of(b_text, random_next(random));
    size_t size = random_next(random) % (random_next(random) % 10 == 0 ? sizeof bytes : 60);
    struct slice value = slice_of(bytes, size);
    struct slice pairs[4] = {a, value, b, slice_text("many")};
    struct entry *entry = database_find(database, a);
    size_t length;

    memset(bytes, (int)(random_next(random) & 0xff), size);
    switch (random_next(random) % 8) {
    case 0:
    case 1:
        CHECK_EQ(database_set(database, a, value, EXPIRES_NEVER), STATUS_OK);
        break;
    case 2:
        CHECK_EQ(database_set(database, a, value, 2000000000), STATUS_OK);
        break;
    case 3:
        CHECK_EQ(database_write(database, a, random_next(random) % 100, value, &length), STATUS_OK);
        break;
    case 4:
        CHECK(entry == NULL || database_delete(database, entry) == STATUS_OK);
        break;
    case 5:
        CHECK(entry == NULL || slice_equal(a, b) ||
              database_rename(database, entry, b) == STATUS_OK);
        break;
    case 6:
        CHECK(entry == NULL || database_expire(database, entry, 3000000000) == STATUS_OK);
        break;
    default:
        CHECK_EQ(database_set_many(database, pairs, 2), STATUS_OK);
        break;
    }
}

static void check_same(struct database *a, struct database *b)
{
    char text[16];

    CHECK_EQ(keyspace_count(&a->keyspace), keyspace_count(&b->keyspace));
    for (unsigned i = 0; i < KEYS; i++) {
        struct entry *in_a = database_find(a, key_of(text, i));
        struct entry *in_b = database_find(b, key_of(text, i));
        CHECK((in_a == NULL) == (in_b == NULL));
        if (in_a != NULL && in_b != NULL) {
            CHECK(slice_equal(entry_value(in_a), entry_value(in_b)));
            CHECK_EQ(in_a->expires_ms, in_b->expires_ms);
        }
    }
}

/* The log alone gives the same database; replayed twice as well. */
TEST(journal_replay_restores_everything)
{
    struct fixture original;
    struct fixture restored;
    uint8_t *log = malloc(LOG_BYTES);
    uint64_t random = 77;

    fixture_server(&original, HEAP_BYTES);
    fixture_server(&restored, HEAP_BYTES);
    for (unsigned i = 0; i < 3000; i++) {
        change(&original.server.database, &random);
        if (i == 1500) {
            CHECK_EQ(database_flush(&original.server.database), STATUS_OK);
        }
    }
    size_t bytes = take_journal(&original.server, log, LOG_BYTES);
    CHECK(bytes < LOG_BYTES);
    CHECK_EQ(replay(&restored.server, log, bytes, &random), STATUS_OK);
    check_same(&original.server.database, &restored.server.database);
    CHECK_EQ(replay(&restored.server, log, bytes, &random), STATUS_OK);
    check_same(&original.server.database, &restored.server.database);
    fixture_end(&original);
    fixture_end(&restored);
    free(log);
}

/* What is written from a checkpoint's begin on is enough, whatever changes while it runs. */
TEST(checkpoint_makes_the_log_before_it_needless)
{
    uint8_t *log = malloc(LOG_BYTES);
    uint64_t random = 5;

    for (unsigned round = 0; round < 12; round++) {
        struct fixture original;
        struct fixture restored;
        fixture_server(&original, HEAP_BYTES);
        fixture_server(&restored, HEAP_BYTES);
        struct database *database = &original.server.database;
        for (unsigned i = 0; i < 400; i++) {
            change(database, &random);
        }
        (void)take_journal(&original.server, log, LOG_BYTES); /* what will be trimmed */
        database_checkpoint_begin(database);
        status_t status = STATUS_AGAIN;
        while (status == STATUS_AGAIN) {
            for (uint64_t i = random_next(&random) % 20; i > 0; i--) {
                change(database, &random);
            }
            if (round == 3 && database->checkpoint_position > UINT32_MAX / 2 &&
                keyspace_count(&database->keyspace) > 10) {
                CHECK_EQ(database_flush(database), STATUS_OK);
            }
            status = database_checkpoint_step(database, 1);
        }
        CHECK_EQ(status, STATUS_OK);
        for (unsigned i = 0; i < 100; i++) {
            change(database, &random);
        }
        size_t bytes = take_journal(&original.server, log, LOG_BYTES);
        CHECK_EQ(replay(&restored.server, log, bytes, &random), STATUS_OK);
        check_same(database, &restored.server.database);
        fixture_end(&original);
        fixture_end(&restored);
    }
    free(log);
}

TEST(journal_refusals_change_nothing)
{
    struct fixture fixture;

    fixture_server(&fixture, 1u << 20);
    struct database *database = &fixture.server.database;
    CHECK_EQ(database_set(database, slice_text("a"), slice_text("1"), EXPIRES_NEVER), STATUS_OK);
    uint64_t position = journal_position(&database->journal);
    database->journal.space_bytes = 100;
    size_t length;
    struct slice pairs[4] = {slice_text("a"), slice_text("2"), slice_text("b"), slice_text("2")};
    CHECK_EQ(database_set_many(database, pairs, 2), STATUS_FULL);
    CHECK_EQ(database_write(database, slice_text("a"), 1, slice_text("x"), &length), STATUS_FULL);
    struct entry *entry = database_find(database, slice_text("a"));
    CHECK_EQ(database_rename(database, entry, slice_text("c")), STATUS_FULL);
    CHECK_EQ(database_copy(database, entry, slice_text("c")), STATUS_FULL);
    CHECK_EQ(database_expire(database, entry, 5), STATUS_FULL);
    database->journal.refusal = STATUS_DEVICE_ERROR;
    CHECK_EQ(database_flush(database), STATUS_DEVICE_ERROR);
    CHECK_EQ(database_delete(database, entry), STATUS_DEVICE_ERROR);
    CHECK_EQ(journal_position(&database->journal), position);
    CHECK_EQ(keyspace_count(&database->keyspace), 1);
    CHECK(slice_equal(entry_value(database_find(database, slice_text("a"))), slice_text("1")));
    fixture_end(&fixture);
}

TEST(journal_voids_what_was_torn)
{
    struct fixture original;
    struct fixture restored;
    struct journal_reader reader;
    uint8_t log[4096];
    uint8_t header[JOURNAL_FRAME_HEADER_BYTES];

    fixture_server(&original, 1u << 20);
    fixture_server(&restored, 1u << 20);
    struct database *database = &original.server.database;
    CHECK_EQ(database_set(database, slice_text("torn"), slice_text("1"), EXPIRES_NEVER), STATUS_OK);
    size_t torn = take_journal(&original.server, log, sizeof log) - 1;
    CHECK_EQ(database_set(database, slice_text("whole"), slice_text("2"), EXPIRES_NEVER),
             STATUS_OK);
    size_t whole = take_journal(&original.server, log + torn, sizeof log - torn);
    journal_reader_init(&reader, restored.heap, apply, &restored.server);
    journal_frame_header(header, true);
    CHECK_EQ(journal_reader_feed(&reader, slice_of(header, 4), 0), STATUS_OK);
    CHECK_EQ(journal_reader_feed(&reader, slice_of(log, torn), 4), STATUS_OK);
    CHECK_EQ(journal_reader_feed(&reader, slice_of(header, 4), 0), STATUS_OK);
    CHECK_EQ(journal_reader_feed(&reader, slice_of(log + torn, whole), 4), STATUS_OK);
    CHECK_EQ(reader.torn, 1);
    CHECK_EQ(keyspace_count(&restored.server.database.keyspace), 1);
    header[0] = 9;
    CHECK_EQ(journal_reader_feed(&reader, slice_of(header, 4), 0), STATUS_WRONG_VERSION);
    journal_reader_free(&reader);
    fixture_end(&original);
    fixture_end(&restored);
}

/* Damaged logs: a clear status, no crash, a sound database. */
TEST(journal_reader_survives_anything)
{
    struct fixture original;
    static uint8_t log[1 << 20];
    static uint8_t damaged[1 << 20];
    uint64_t random = 31;

    fixture_server(&original, HEAP_BYTES);
    for (unsigned i = 0; i < 40; i++) {
        change(&original.server.database, &random);
    }
    size_t bytes = take_journal(&original.server, log, sizeof log);
    for (unsigned round = 0; round < 250; round++) {
        struct fixture restored;
        fixture_server(&restored, 8u << 20);
        memcpy(damaged, log, bytes);
        for (uint64_t flips = 1 + random_next(&random) % 6; flips > 0; flips--) {
            damaged[random_next(&random) % bytes] = (uint8_t)random_next(&random);
        }
        status_t status = replay(&restored.server, damaged, bytes, &random);
        CHECK(status == STATUS_OK || status == STATUS_CORRUPT || status == STATUS_NO_MEMORY);
        fixture_end(&restored);
    }
    fixture_end(&original);
}
