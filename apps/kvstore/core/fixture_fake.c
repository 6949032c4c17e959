// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/fixture_fake.h"

#include <stdlib.h>

#include "tests/check.h"

void fixture_heap(struct fixture *fixture, size_t heap_bytes)
{
    fixture->region = aligned_alloc(4096, heap_bytes);
    CHECK_EQ(heap_init(&fixture->heap, fixture->region, heap_bytes), STATUS_OK);
}

void fixture_server(struct fixture *fixture, size_t heap_bytes)
{
    struct server_config config = {.random = {1, 2, 3, 4, 5}, .os = "test"};

    fixture_heap(fixture, heap_bytes);
    CHECK_EQ(server_init(&fixture->server, fixture->heap, &config, 0), STATUS_OK);
    server_set_time(&fixture->server, 0, 1000000000);
}

void fixture_end_heap(struct fixture *fixture)
{
    struct heap_counters counters;

    heap_read_counters(fixture->heap, &counters);
    CHECK_EQ(counters.used_bytes, 0);
    CHECK_EQ(heap_check(fixture->heap), STATUS_OK);
    free(fixture->region);
}

void fixture_end(struct fixture *fixture)
{
    CHECK_EQ(keyspace_check(&fixture->server.database.keyspace), STATUS_OK);
    server_destroy(&fixture->server);
    fixture_end_heap(fixture);
}

uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

void feed_text(struct session *session, const char *text)
{
    session_feed(session, (const uint8_t *)text, strlen(text));
}

const char *take_output(struct session *session)
{
    static char text[65536];
    size_t length = 0;
    const uint8_t *data;
    size_t bytes;

    while ((bytes = session_output(session, &data)) != 0 && length < sizeof text - 1) {
        size_t room = sizeof text - 1 - length;
        bytes = bytes < room ? bytes : room;
        memcpy(text + length, data, bytes);
        length += bytes;
        session_sent(session, bytes);
    }
    text[length] = 0;
    return text;
}

size_t take_journal(struct server *server, uint8_t *to, size_t room)
{
    struct chain *pending = &server->database.journal.pending;
    const uint8_t *data;
    size_t bytes;
    size_t length = 0;

    while ((bytes = chain_peek(pending, &data)) != 0) {
        size_t copied = bytes < room - length ? bytes : room - length;
        if (copied != 0) {
            memcpy(to + length, data, copied);
        }
        length += copied;
        chain_consume(pending, bytes);
    }
    server_set_durable(server, journal_position(&server->database.journal));
    return length;
}
