// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/server.h"

#include "apps/kvstore/core/fixture_fake.h"
#include "tests/check.h"

TEST(replies_wait_for_the_log)
{
    struct fixture fixture;
    struct server *server = &fixture.server;

    fixture_server(&fixture, 4u << 20);
    struct session *a = session_open(server, "a");
    struct session *b = session_open(server, "b");
    feed_text(a, "PING\r\nSET k 1\r\nGET k\r\nPING\r\n");
    CHECK_TEXT(take_output(a), "+PONG\r\n");
    feed_text(b, "GET other\r\nGET k\r\nPING\r\n");
    CHECK_TEXT(take_output(b), "$-1\r\n"); /* k's value is not durable yet */
    CHECK(server_next_ready(server) == a);
    CHECK(server_next_ready(server) == b);
    CHECK(server_next_ready(server) == NULL);
    uint64_t first = journal_position(&server->database.journal);
    feed_text(a, "SET k 2\r\n");
    server_set_durable(server, first);
    CHECK(server_next_ready(server) == a);
    CHECK(server_next_ready(server) == b);
    CHECK_TEXT(take_output(a), "+OK\r\n$1\r\n1\r\n+PONG\r\n");
    CHECK_TEXT(take_output(b), "$1\r\n1\r\n+PONG\r\n");
    server_set_durable(server, journal_position(&server->database.journal));
    CHECK_TEXT(take_output(a), "+OK\r\n");
    feed_text(a, "DEL k\r\n");
    feed_text(b, "GET k\r\n");
    CHECK_TEXT(take_output(b), ""); /* that it is gone is not durable yet */
    (void)take_journal(server, NULL, 0);
    CHECK_TEXT(take_output(a), ":1\r\n");
    CHECK_TEXT(take_output(b), "$-1\r\n");
    fixture_end(&fixture);
}

static bool told(struct session *session, const char *field)
{
    feed_text(session, "INFO persistence\r\n");
    return strstr(take_output(session), field) != NULL;
}

TEST(saves_are_told_from_their_begin_to_their_end)
{
    struct fixture fixture;
    struct server *server = &fixture.server;
    struct database *database = &server->database;

    fixture_server(&fixture, 4u << 20);
    struct session *a = session_open(server, "a");
    feed_text(a, "BGSAVE\r\n");
    CHECK(strncmp(take_output(a), "-ERR ", 5) == 0); /* a log that cannot be rewritten */
    database->checkpoint_possible = true;
    CHECK(told(a, "rdb_last_bgsave_time_sec:-1\r\n") && told(a, "rdb_bgsave_in_progress:0\r\n"));
    feed_text(a, "BGSAVE\r\nBGREWRITEAOF\r\nBGSAVE NOW\r\n");
    CHECK_TEXT(take_output(a), "+Background saving started\r\n"
                               "-ERR Background append only file rewriting already in progress\r\n"
                               "-ERR syntax error\r\n");
    CHECK(told(a, "aof_rewrite_scheduled:1\r\n"));
    database_checkpoint_begin(database);
    while (database_checkpoint_step(database, 1000) != STATUS_OK) {
    }
    /* Written, not yet durable. */
    CHECK(told(a, "rdb_bgsave_in_progress:1\r\n") && told(a, "aof_rewrite_scheduled:0\r\n"));
    server_set_time(server, server->now_ns, database->now_ms + 2500);
    CHECK(told(a, "rdb_current_bgsave_time_sec:2\r\n"));
    feed_text(a, "BGSAVE\r\nBGSAVE SCHEDULE\r\n");
    CHECK_TEXT(take_output(a), "-ERR Background save already in progress\r\n"
                               "+Background saving scheduled\r\n");
    database_checkpoint_end(database, STATUS_OK);
    CHECK(told(a, "rdb_last_bgsave_time_sec:2\r\n") && told(a, "aof_rewrite_scheduled:1\r\n"));
    CHECK(told(a, "rdb_last_bgsave_status:ok\r\n") && told(a, "rdb_saves:1\r\n"));
    database_checkpoint_begin(database);
    database_checkpoint_end(database, STATUS_DEVICE_ERROR);
    CHECK(told(a, "aof_last_bgrewrite_status:err\r\n") && told(a, "rdb_saves:1\r\n"));
    fixture_end(&fixture);
}

TEST(a_failed_log_refuses_changes_and_goes_on_reading)
{
    struct fixture fixture;
    struct server *server = &fixture.server;

    fixture_server(&fixture, 4u << 20);
    struct session *a = session_open(server, "a");
    struct session *b = session_open(server, "b");
    feed_text(a, "SET k 1\r\n");
    (void)take_journal(server, NULL, 0);
    CHECK_TEXT(take_output(a), "+OK\r\n");
    feed_text(a, "SET k 2\r\n");
    server_log_failed(server, STATUS_DEVICE_ERROR);
    CHECK(session_finished(a)); /* nobody knows whether its change is in the log */
    CHECK_TEXT(take_output(a), "");
    feed_text(b, "SET x 1\r\nGET x\r\n");
    CHECK(strncmp(take_output(b), "-MISCONF ", 9) == 0);
    feed_text(b, "INCR n\r\nDEL k\r\nFLUSHALL\r\nMSET a 1 b 2\r\nAPPEND k x\r\nEXISTS k n a\r\n");
    const char *output = take_output(b);
    unsigned refused = 0;
    for (const char *at = output; (at = strstr(at, "-MISCONF ")) != NULL; at++) {
        refused++;
    }
    CHECK_EQ(refused, 5);
    CHECK_TEXT(output + strlen(output) - 4, ":1\r\n");
    fixture_end(&fixture);
}

TEST(input_waits_while_output_piles_up)
{
    struct fixture fixture;
    struct server *server = &fixture.server;

    fixture_server(&fixture, 16u << 20);
    struct session *session = session_open(server, "a");
    feed_text(session, "SETRANGE big 1999 x\r\n");
    (void)take_journal(server, NULL, 0);
    (void)take_output(session);
    for (unsigned i = 0; i < 1000; i++) {
        feed_text(session, "GET big\r\n");
    }
    CHECK(!session_wants_input(session));
    const uint8_t *data;
    size_t total = 0;
    size_t bytes;
    while ((bytes = session_output(session, &data)) != 0) {
        total += bytes;
        session_sent(session, bytes);
    }
    CHECK_EQ(total, 1000 * (7 + 2000 + 2));
    CHECK(session_wants_input(session));
    CHECK_EQ(server->counters.commands, 1001);
    fixture_end(&fixture);
}

TEST(a_transaction_is_one_record)
{
    struct fixture fixture;
    struct server *server = &fixture.server;
    uint8_t log[1024];

    fixture_server(&fixture, 4u << 20);
    struct session *session = session_open(server, "a");
    feed_text(session, "MULTI\r\nSET a 1\r\nINCR a\r\nDEL a\r\nEXEC\r\n");
    size_t bytes = take_journal(server, log, sizeof log);
    struct journal_record record;
    size_t used;
    CHECK_EQ(journal_decode(slice_of(log, bytes), &record, &used), STATUS_OK);
    CHECK_EQ(record.type, JOURNAL_GROUP);
    CHECK_EQ(record.argument, 3);
    CHECK_EQ(used, bytes);
    fixture_end(&fixture);
}

/* A group of one record leaves its own header out: nothing may wait for what is never written. */
TEST(a_transaction_of_one_change_is_answered_when_that_is_durable)
{
    struct fixture fixture;
    struct server *server = &fixture.server;

    fixture_server(&fixture, 4u << 20);
    struct session *session = session_open(server, "a");
    feed_text(session, "MULTI\r\nSET a 1\r\nEXEC\r\nGET a\r\n");
    CHECK_TEXT(take_output(session), "+OK\r\n+QUEUED\r\n");
    (void)take_journal(server, NULL, 0);
    CHECK_TEXT(take_output(session), "*1\r\n+OK\r\n$1\r\n1\r\n");
    feed_text(session, "MULTI\r\nGET a\r\nDEL a\r\nEXEC\r\nGET a\r\n");
    CHECK_TEXT(take_output(session), "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    (void)take_journal(server, NULL, 0);
    CHECK_TEXT(take_output(session), "*2\r\n$1\r\n1\r\n:1\r\n$-1\r\n");
    fixture_end(&fixture);
}

/* Random requests, whole and damaged, with little memory: no crash, a sound heap and keyspace. */
TEST(sessions_survive_anything)
{
    static const char *const words[] = {
        "SET",         "GET",      "APPEND",  "SETRANGE", "DEL",   "MSET",   "INCR",
        "INCRBYFLOAT", "EXPIRE",   "RENAME",  "COPY",     "SCAN",  "KEYS",   "MULTI",
        "EXEC",        "DISCARD",  "GETEX",   "CLIENT",   "LIST",  "CONFIG", "GETDEL",
        "FLUSHALL",    "INFO",     "COMMAND", "DOCS",     "HELLO", "3",      "2",
        "OBJECT",      "ENCODING", "MEMORY",  "USAGE",    "k1",    "k2",     "k3",
        "k4",          "*",        "0",       "-1",       "100",   "EX",     "PX",
        "NX",          "XX",       "KEEPTTL", "PERSIST",  "COUNT", "MATCH",  "REPLACE",
        "GETRANGE",    "KILL",     "ID",      "RANDOMKEY"};
    static uint8_t data[40000];
    struct fixture fixture;
    struct server *server = &fixture.server;
    uint64_t random = 2024;

    fixture_server(&fixture, 512u << 10);
    struct session *sessions[4] = {0};
    for (unsigned round = 0; round < 40000; round++) {
        size_t which = random_next(&random) % 4;
        if (sessions[which] == NULL || session_finished(sessions[which]) ||
            random_next(&random) % 300 == 0) {
            if (sessions[which] != NULL) {
                session_close(sessions[which]);
            }
            sessions[which] = session_open(server, "fuzz");
            if (sessions[which] == NULL) {
                continue;
            }
        }
        unsigned count = 1 + (unsigned)(random_next(&random) % 5);
        size_t length = (size_t)snprintf((char *)data, 64, "*%u\r\n", count);
        for (unsigned i = 0; i < count; i++) {
            const char *word = words[random_next(&random) % (sizeof words / sizeof words[0])];
            size_t bytes = random_next(&random) % 40 == 0 ? random_next(&random) % 7000 : 0;
            bytes = bytes == 0 ? strlen(word) : bytes;
            length += (size_t)snprintf((char *)data + length, 64, "$%zu\r\n", bytes);
            memset(data + length, 'v', bytes);
            memcpy(data + length, word, bytes < strlen(word) ? bytes : strlen(word));
            length += bytes;
            memcpy(data + length, "\r\n", 2);
            length += 2;
        }
        if (random_next(&random) % 50 == 0) {
            data[random_next(&random) % length] = (uint8_t)random_next(&random);
        }
        session_feed(sessions[which], data, length);
        if (random_next(&random) % 4 == 0) {
            (void)take_journal(server, NULL, 0);
            server_set_time(server, round * 1000000ull, 1000000000 + round);
            (void)server_upkeep(server);
        }
        (void)take_output(sessions[which]);
        while (server_next_ready(server) != NULL) {
        }
        if (round % 1000 == 0) {
            CHECK_EQ(keyspace_check(&server->database.keyspace), STATUS_OK);
            CHECK_EQ(heap_check(fixture.heap), STATUS_OK);
        }
    }
    fixture_end(&fixture);
}
