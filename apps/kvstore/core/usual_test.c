// SPDX-License-Identifier: MIT OR Apache-2.0
/* A request that comes whole goes the short way, if it is usual; one that comes byte by byte never
 * does. Both have to be answered, journaled and counted alike. */
#include "apps/kvstore/core/server.h"

#include "apps/kvstore/core/command.h"
#include "apps/kvstore/core/fixture_fake.h"
#include "tests/check.h"

#define REQUEST_MAX 512u

struct outcome {
    char text[4096];
    uint8_t journal[4096];
    size_t journal_bytes;
    uint64_t commands, errors, gets, sets;
    bool finished;
};

static uint64_t calls_of(const struct server *server, const struct command *command)
{
    return server->command_calls[command_index(command)];
}

/* The outcome of `bytes` bytes for a new server that holds some keys; `step` at a time. */
static void run(const uint8_t *data, size_t bytes, size_t step, struct outcome *outcome)
{
    struct fixture fixture;
    struct server *server = &fixture.server;

    fixture_server(&fixture, 4u << 20);
    struct session *session = session_open(server, "a");
    feed_text(session, "SET k 1\r\nSET long 123456789012345678901234567890\r\nSET e 1 EX 9\r\n");
    (void)take_journal(server, NULL, 0);
    (void)take_output(session);
    for (size_t at = 0; at < bytes; at += step) {
        session_feed(session, data + at, step < bytes - at ? step : bytes - at);
    }
    memset(outcome, 0, sizeof *outcome);
    CHECK(strlen(take_output(session)) < sizeof outcome->text); /* what is not held */
    outcome->journal_bytes = take_journal(server, outcome->journal, sizeof outcome->journal);
    strncpy(outcome->text, take_output(session), sizeof outcome->text - 1);
    outcome->commands = server->counters.commands;
    outcome->errors = server->counters.error_replies;
    outcome->gets = calls_of(server, server->command_map.get);
    outcome->sets = calls_of(server, server->command_map.set);
    outcome->finished = session_finished(session);
    fixture_end(&fixture);
}

static void compare(const uint8_t *data, size_t bytes)
{
    static struct outcome whole, split;

    run(data, bytes, bytes, &whole);
    run(data, bytes, 1, &split);
    CHECK_TEXT(whole.text, split.text);
    CHECK_EQ(whole.journal_bytes, split.journal_bytes);
    CHECK(memcmp(whole.journal, split.journal, sizeof whole.journal) == 0);
    CHECK_EQ(whole.commands, split.commands);
    CHECK_EQ(whole.errors, split.errors);
    CHECK_EQ(whole.gets, split.gets);
    CHECK_EQ(whole.sets, split.sets);
    CHECK_EQ(whole.finished, split.finished);
}

static void compare_text(const char *text)
{
    compare((const uint8_t *)text, strlen(text));
}

TEST(usual_requests_are_executed_as_all_are)
{
    compare_text("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    compare_text("*2\r\n$3\r\nget\r\n$4\r\nlong\r\n*2\r\n$3\r\nGeT\r\n$2\r\nno\r\n");
    compare_text("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    compare_text(
        "*3\r\n$3\r\nset\r\n$1\r\ne\r\n$12\r\nabcdefghijkl\r\n*2\r\n$3\r\nTTL\r\n$1\r\ne\r\n");
    compare_text("*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
    compare_text("MULTI\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nEXEC\r\n");
    compare_text("CLIENT REPLY SKIP\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n");
    compare_text("CLIENT REPLY OFF\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n5\r\n");
    compare_text("HELLO 3\r\n*2\r\n$3\r\nGET\r\n$2\r\nno\r\n");
}

TEST(what_only_looks_usual_is_not)
{
    compare_text("*2\r\n$3\r\nGET\r\n$01\r\nk\r\n");
    compare_text("*2\r\n$3\r\nGET\r\n$1\r\nkk\r\n");
    compare_text("*2\r\n$3\r\nGET\r\n$-1\r\nk\r\n");
    compare_text("*2\r\n$3\r\nGET\r\n$1\rxk\r\n");
    compare_text("*2\r\n$3\r\nGET\r\n:1\r\nk\r\n");
    compare_text("*3\r\n$3\r\nGET\r\n$1\r\nk\r\n$1\r\nk\r\n");
    compare_text("*2\r\n$3\r\nSET\r\n$1\r\nk\r\nPING\r\n");
    compare_text("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nab\nc");
    compare_text("*2\r\n$3\r\nGET\r\n$9");
}

/* Any length of key and value, and requests of which a byte is wrong. */
TEST(spoilt_requests_are_refused_alike)
{
    static uint8_t request[REQUEST_MAX];
    uint64_t random = 7;

    for (unsigned round = 0; round < 600; round++) {
        unsigned key = 1u + (unsigned)(random_next(&random) % 120u);
        unsigned value = (unsigned)(random_next(&random) % 120u);
        bool set = random_next(&random) % 2u != 0;
        int bytes = snprintf((char *)request, sizeof request, "*%c\r\n$3\r\n%s\r\n$%u\r\n%0*d\r\n",
                             set ? '3' : '2', set ? "SET" : "get", key, (int)key, 0);
        if (set) {
            bytes +=
                snprintf((char *)request + bytes, sizeof request - (size_t)bytes, "$%u\r\n", value);
            memset(request + bytes, 'v', value);
            memcpy(request + bytes + value, "\r\n", 2);
            bytes += (int)value + 2;
        }
        if (round % 3u != 0) {
            static const uint8_t bad[] = {0, '\r', '\n', '$', '*', '1', '9', 'x'};
            size_t at = random_next(&random) % (size_t)bytes;
            request[at] = bad[random_next(&random) % sizeof bad];
        }
        compare(request, (size_t)bytes);
    }
}
