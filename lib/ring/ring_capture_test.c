// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/ring/ring.h"

#include <stdlib.h>

#include "tests/check.h"

#define ENTRIES 16u

/* A ring with both sides in an open session, and what a snapshot of all of it holds. */
struct pair {
    struct ring_shared *shared;
    struct ring_client client;
    struct ring_server server;
};

struct snapshot {
    uint8_t shared[PAGE_BYTES];
    struct ring_capture client;
    struct ring_capture server;
};

static void pair_open(struct pair *pair)
{
    pair->shared = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    memset(pair->shared, 0, PAGE_BYTES);
    pair->shared->magic = RING_MAGIC;
    pair->shared->version = RING_VERSION;
    pair->shared->entries = ENTRIES;
    CHECK_EQ(ring_client_init(&pair->client, pair->shared, ENTRIES), STATUS_OK);
    CHECK_EQ(ring_server_init(&pair->server, pair->shared, ENTRIES), STATUS_OK);
    ring_server_start(&pair->server);
    ring_client_start(&pair->client);
    ring_server_answer(&pair->server);
    CHECK(ring_client_connect(&pair->client) && ring_server_connect(&pair->server));
}

static void submit(struct pair *pair, uint64_t first, uint32_t count)
{
    CHECK(ring_room(&pair->client.submit, count) >= count);
    for (uint32_t i = 0; i < count; i++) {
        ring_submit(&pair->client, &(struct ring_submission){.user_data = first + i});
    }
    (void)ring_publish(&pair->client.submit);
}

/* The server finishes `count` operations, of which the first is number `first`. */
static void serve(struct pair *pair, uint64_t first, uint32_t count)
{
    struct ring_submission submission = {0};

    for (uint32_t i = 0; i < count; i++) {
        CHECK(ring_pending(&pair->server.submit) != 0);
        ring_accept(&pair->server, &submission);
        CHECK_EQ(submission.user_data, first + i);
        CHECK(ring_room(&pair->server.complete, 1) >= 1);
        ring_finish(&pair->server, &(struct ring_completion){.user_data = submission.user_data});
    }
    ring_release(&pair->server.submit);
    (void)ring_publish(&pair->server.complete);
}

static void reap(struct pair *pair, uint64_t first, uint32_t count)
{
    struct ring_completion completion = {0};

    for (uint32_t i = 0; i < count; i++) {
        CHECK(ring_pending(&pair->client.complete) != 0);
        ring_reap(&pair->client, &completion);
        CHECK_EQ(completion.user_data, first + i);
    }
    ring_release(&pair->client.complete);
}

static void take(const struct pair *pair, struct snapshot *snapshot)
{
    memcpy(snapshot->shared, pair->shared, PAGE_BYTES);
    ring_client_capture(&pair->client, &snapshot->client);
    ring_server_capture(&pair->server, &snapshot->server);
}

static void roll_back(struct pair *pair, const struct snapshot *snapshot)
{
    memcpy(pair->shared, snapshot->shared, PAGE_BYTES);
    memset(&pair->client, 0xee, sizeof pair->client);
    memset(&pair->server, 0xee, sizeof pair->server);
    CHECK_EQ(ring_client_restore(&pair->client, pair->shared, ENTRIES, &snapshot->client),
             STATUS_OK);
    CHECK_EQ(ring_server_restore(&pair->server, pair->shared, ENTRIES, &snapshot->server),
             STATUS_OK);
}

TEST(both_sides_go_on_where_they_were)
{
    static struct snapshot snapshot;
    struct pair pair;

    pair_open(&pair);
    for (uint64_t n = 0; n < 100; n += 5) { /* the cursors wrap in the ring */
        submit(&pair, n, 5);
        serve(&pair, n, 5);
        reap(&pair, n, 5);
    }
    submit(&pair, 100, 9);
    serve(&pair, 100, 6);
    reap(&pair, 100, 2);
    take(&pair, &snapshot);
    CHECK_EQ(ring_capture_outstanding(&snapshot.client), 7);
    for (unsigned round = 0; round < 3; round++) {
        serve(&pair, 106, 3);
        reap(&pair, 102, 7);
        submit(&pair, 109, 12);
        serve(&pair, 109, 12);
        reap(&pair, 109, 12);
        roll_back(&pair, &snapshot);
    }
    serve(&pair, 106, 3);
    reap(&pair, 102, 7);
    free(pair.shared);
}

TEST(pushed_and_not_published_is_not_lost)
{
    static struct snapshot snapshot;
    struct pair pair;

    pair_open(&pair);
    ring_submit(&pair.client, &(struct ring_submission){.user_data = 7});
    take(&pair, &snapshot);
    roll_back(&pair, &snapshot);
    CHECK_EQ(ring_pending(&pair.server.submit), 0);
    (void)ring_publish(&pair.client.submit);
    serve(&pair, 7, 1);
    reap(&pair, 7, 1);
    free(pair.shared);
}

/* Only one side is put back: a side that went on must begin anew, the other may stay. */
TEST(a_side_alone_cannot_take_back_what_it_showed)
{
    struct ring_capture client;
    struct ring_capture server;
    struct pair pair;

    pair_open(&pair);
    submit(&pair, 0, 3);
    ring_client_capture(&pair.client, &client);
    serve(&pair, 0, 3); /* the peer may go on */
    CHECK_EQ(ring_client_restore(&pair.client, pair.shared, ENTRIES, &client), STATUS_OK);
    reap(&pair, 0, 3);
    CHECK_EQ(ring_client_restore(&pair.client, pair.shared, ENTRIES, &client), STATUS_RESET);
    CHECK_EQ(pair.client.session, RING_SESSION_CLOSED);
    ring_server_capture(&pair.server, &server);
    ring_client_start(&pair.client);
    CHECK_EQ(ring_server_restore(&pair.server, pair.shared, ENTRIES, &server), STATUS_RESET);
    CHECK(ring_server_called(&pair.server));
    ring_server_answer(&pair.server);
    CHECK(ring_client_connect(&pair.client) && ring_server_connect(&pair.server));
    submit(&pair, 9, 2);
    serve(&pair, 9, 2);
    reap(&pair, 9, 2);
    free(pair.shared);
}

TEST(numbers_that_cannot_be_are_refused_and_change_nothing)
{
    struct ring_capture good;
    struct pair pair;
    uint32_t refused = 0;

    pair_open(&pair);
    submit(&pair, 0, 3);
    ring_client_capture(&pair.client, &good);
    for (uint32_t word = 3; word < sizeof good / 4u; word++) {
        struct ring_capture bad = good;
        struct ring_client before = pair.client;
        ((uint32_t *)(void *)&bad)[word] += 1000;
        status_t status = ring_client_restore(&pair.client, pair.shared, ENTRIES, &bad);
        CHECK(status != STATUS_OK);
        if (status == STATUS_INVALID_ARGUMENT) {
            refused++;
            CHECK(memcmp(&before, &pair.client, sizeof before) == 0);
        } else {
            CHECK_EQ(ring_client_restore(&pair.client, pair.shared, ENTRIES, &good), STATUS_OK);
        }
    }
    CHECK(refused >= 5);
    good.session = 3;
    CHECK_EQ(ring_client_restore(&pair.client, pair.shared, ENTRIES, &good),
             STATUS_INVALID_ARGUMENT);
    free(pair.shared);
}
