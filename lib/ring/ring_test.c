// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/ring/ring.h"

#include <stdlib.h>

#include "tests/check.h"

#define ENTRIES 16u

static struct ring_shared *make_shared(void)
{
    struct ring_shared *shared = aligned_alloc(PAGE_BYTES, PAGE_BYTES);

    memset(shared, 0, PAGE_BYTES);
    shared->magic = RING_MAGIC;
    shared->version = RING_VERSION;
    shared->entries = ENTRIES;
    return shared;
}

static void open_session(struct ring_client *client, struct ring_server *server)
{
    ring_client_start(client);
    CHECK(!ring_client_connect(client));
    CHECK(ring_server_called(server));
    ring_server_answer(server);
    CHECK(!ring_server_called(server));
    CHECK(!ring_server_connect(server));
    CHECK(ring_client_connect(client));
    CHECK(ring_server_connect(server));
    CHECK(ring_client_alive(client) && ring_server_alive(server));
}

/* Client to server and back, `count` operations. */
static void echo(struct ring_client *client, struct ring_server *server, uint64_t first,
                 uint32_t count)
{
    struct ring_submission submission = {.operation = RING_NOP};
    struct ring_completion completion = {0};

    CHECK(ring_room(&client->submit, count) >= count);
    for (uint32_t i = 0; i < count; i++) {
        submission.user_data = first + i;
        ring_submit(client, &submission);
    }
    CHECK(!ring_publish(&client->submit));
    CHECK_EQ(ring_pending(&server->submit), count);
    for (uint32_t i = 0; i < count; i++) {
        ring_accept(server, &submission);
        CHECK_EQ(submission.user_data, first + i);
        completion.user_data = submission.user_data;
        CHECK(ring_room(&server->complete, 1) >= 1);
        ring_finish(server, &completion);
    }
    CHECK_EQ(ring_pending(&server->submit), 0);
    ring_release(&server->submit);
    CHECK(!ring_publish(&server->complete));
    CHECK_EQ(ring_pending(&client->complete), count);
    for (uint32_t i = 0; i < count; i++) {
        ring_reap(client, &completion);
        CHECK_EQ(completion.user_data, first + i);
    }
    ring_release(&client->complete);
}

TEST(operations_go_round)
{
    struct ring_shared *shared = make_shared();
    struct ring_client client;
    struct ring_server server;

    CHECK_EQ(ring_client_init(&client, shared, ENTRIES), STATUS_OK);
    CHECK_EQ(ring_server_init(&server, shared, ENTRIES), STATUS_OK);
    ring_server_start(&server);
    open_session(&client, &server);
    for (uint32_t i = 0; i < 1000; i++) {
        echo(&client, &server, i * 100u, 1 + i % ENTRIES);
    }
    free(shared);
}

TEST(cursors_wrap)
{
    struct ring_shared *shared = make_shared();
    struct ring_client client;
    struct ring_server server;

    CHECK_EQ(ring_client_init(&client, shared, ENTRIES), STATUS_OK);
    CHECK_EQ(ring_server_init(&server, shared, ENTRIES), STATUS_OK);
    ring_server_start(&server);
    open_session(&client, &server);
    uint32_t start = 0xfffffff8u;
    client.submit.tail = client.submit.head = client.complete.head = client.complete.tail = start;
    server.submit.tail = server.submit.head = server.complete.head = server.complete.tail = start;
    shared->submit_tail = shared->submit_head = start;
    shared->complete_tail = shared->complete_head = start;
    for (uint32_t i = 0; i < 10; i++) {
        echo(&client, &server, i, 5);
    }
    CHECK(client.submit.tail < 100);
    free(shared);
}

TEST(a_full_ring_has_no_room)
{
    struct ring_shared *shared = make_shared();
    struct ring_client client;
    struct ring_server server;
    struct ring_submission submission = {0};

    CHECK_EQ(ring_client_init(&client, shared, ENTRIES), STATUS_OK);
    CHECK_EQ(ring_server_init(&server, shared, ENTRIES), STATUS_OK);
    ring_server_start(&server);
    open_session(&client, &server);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        CHECK_EQ(ring_room(&client.submit, ENTRIES), ENTRIES - i);
        ring_submit(&client, &submission);
    }
    CHECK_EQ(ring_room(&client.submit, 1), 0);
    ring_publish(&client.submit);
    CHECK_EQ(ring_pending(&server.submit), ENTRIES);
    ring_accept(&server, &submission);
    CHECK_EQ(ring_room(&client.submit, 1), 0);
    ring_release(&server.submit);
    CHECK_EQ(ring_room(&client.submit, 1), 1);
    free(shared);
}

TEST(doorbells_ring_only_for_a_sleeper)
{
    struct ring_shared *shared = make_shared();
    struct ring_client client;
    struct ring_server server;
    struct ring_submission submission = {0};

    CHECK_EQ(ring_client_init(&client, shared, ENTRIES), STATUS_OK);
    CHECK_EQ(ring_server_init(&server, shared, ENTRIES), STATUS_OK);
    ring_server_start(&server);
    open_session(&client, &server);
    CHECK(ring_arm(&server.submit));
    ring_submit(&client, &submission);
    CHECK(ring_publish(&client.submit));
    CHECK(!ring_arm(&server.submit));
    ring_disarm(&server.submit);
    ring_submit(&client, &submission);
    CHECK(!ring_publish(&client.submit));
    free(shared);
}

TEST(either_side_starts_anew)
{
    struct ring_shared *shared = make_shared();
    struct ring_client client;
    struct ring_server server;

    CHECK_EQ(ring_client_init(&client, shared, ENTRIES), STATUS_OK);
    ring_client_start(&client); /* before there is a server */
    CHECK(!ring_client_connect(&client));
    CHECK_EQ(ring_server_init(&server, shared, ENTRIES), STATUS_OK);
    ring_server_start(&server);
    for (uint32_t round = 0; round < 50; round++) {
        open_session(&client, &server);
        echo(&client, &server, round, 3);
        switch (round % 4) {
        case 0: /* the server's cell starts anew */
            CHECK_EQ(ring_server_init(&server, shared, ENTRIES), STATUS_OK);
            ring_server_start(&server);
            CHECK(!ring_client_alive(&client));
            break;
        case 1: /* the client's */
            CHECK_EQ(ring_client_init(&client, shared, ENTRIES), STATUS_OK);
            ring_client_start(&client);
            CHECK(!ring_server_alive(&server));
            break;
        case 2: /* the server has had enough of this client */
            ring_server_close(&server);
            CHECK(!ring_client_alive(&client));
            CHECK(!ring_server_connect(&server));
            break;
        default:
            ring_client_close(&client);
            CHECK(!ring_server_alive(&server));
            CHECK(!ring_server_called(&server));
            break;
        }
    }
    free(shared);
}

TEST(a_wrong_ring_is_refused)
{
    struct ring_shared *shared = make_shared();
    struct ring_client client;
    struct ring_server server;

    CHECK_EQ(ring_client_init(&client, shared, 12), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ring_client_init(&client, shared, 4), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ring_server_init(&server, shared, 8192), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ring_server_init(&server, shared, 32), STATUS_WRONG_VERSION);
    shared->version++;
    CHECK_EQ(ring_client_init(&client, shared, ENTRIES), STATUS_WRONG_VERSION);
    free(shared);
}

TEST(a_cursor_that_cannot_be_is_a_violation)
{
    struct ring_shared *shared = make_shared();
    struct ring_client client;
    struct ring_server server;
    struct ring_submission submission = {0};

    CHECK_EQ(ring_client_init(&client, shared, ENTRIES), STATUS_OK);
    CHECK_EQ(ring_server_init(&server, shared, ENTRIES), STATUS_OK);
    ring_server_start(&server);
    open_session(&client, &server);
    shared->submit_tail = ENTRIES + 1u;
    CHECK_EQ(ring_pending(&server.submit), RING_VIOLATION);
    shared->complete_tail = 0xffffffffu;
    CHECK_EQ(ring_pending(&client.complete), RING_VIOLATION);
    ring_submit(&client, &submission);
    shared->submit_head = 2;
    CHECK_EQ(ring_room(&client.submit, ENTRIES), RING_VIOLATION);
    shared->submit_head = 1;
    CHECK_EQ(ring_room(&client.submit, ENTRIES), ENTRIES);
    shared->submit_head = 0; /* back again */
    CHECK_EQ(ring_room(&client.submit, ENTRIES + 1u), RING_VIOLATION);
    free(shared);
}

static uint32_t random_state = 777;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % bound;
}

/* One word of the shared memory gets another value; the first line is the supervisor's. */
static void spoil(struct ring_shared *shared)
{
    uint32_t word = 16u + random_below(PAGE_BYTES / 4u - 16u);

    word = random_below(4) != 0 ? 16u + word % 64u : word;
    ((uint32_t *)shared)[word] = random_below(2) ? random_below(40) : random_state;
}

static uint32_t fuzz_steps(void)
{
    const char *wanted = getenv("RING_FUZZ_STEPS");

    return wanted != NULL ? (uint32_t)strtoul(wanted, NULL, 10) : 1000000u;
}

/* Any bytes in the shared memory, at any time: neither side reads or writes outside of it, or takes
 * more than a ring can hold, and both find together again. */
TEST(no_peer_harms_a_side)
{
    struct ring_shared *shared = make_shared();
    struct ring_client client;
    struct ring_server server;
    struct ring_submission submission = {0};
    struct ring_completion completion = {0};
    uint32_t sessions = 0;
    uint32_t violations = 0;

    CHECK_EQ(ring_client_init(&client, shared, ENTRIES), STATUS_OK);
    CHECK_EQ(ring_server_init(&server, shared, ENTRIES), STATUS_OK);
    ring_server_start(&server);
    ring_client_start(&client);
    for (uint32_t step = 0, steps = fuzz_steps(); step < steps; step++) {
        /* Long stretches of peace, so that sessions open, then something at every step. */
        uint32_t anger = step % 64u < 32u ? 64u : 2u;
        if (random_below(anger) == 0) {
            spoil(shared);
        }
        if (client.session == RING_SESSION_OPEN) {
            uint32_t pending = ring_pending(&client.complete);
            uint32_t room = ring_room(&client.submit, 1);
            if (pending == RING_VIOLATION || room == RING_VIOLATION ||
                !ring_client_alive(&client)) {
                violations++;
                ring_client_start(&client);
                continue;
            }
            CHECK(pending <= ENTRIES && room <= ENTRIES);
            for (; pending > 0; pending--) {
                ring_reap(&client, &completion);
                if (random_below(anger * 4u) == 0) {
                    spoil(shared);
                }
            }
            ring_release(&client.complete);
            for (room = random_below(room + 1u); room > 0; room--) {
                ring_submit(&client, &submission);
            }
            (void)ring_publish(&client.submit);
        } else if (ring_client_connect(&client)) {
            sessions++;
        } else if (random_below(20) == 0) {
            ring_client_start(&client); /* its patience is over */
        }
        if (ring_server_called(&server)) {
            ring_server_answer(&server);
        } else if (ring_server_connect(&server)) {
            uint32_t pending = ring_pending(&server.submit);
            uint32_t room = ring_room(&server.complete, pending);
            if (pending == RING_VIOLATION || room == RING_VIOLATION ||
                !ring_server_alive(&server)) {
                ring_server_close(&server);
                continue;
            }
            CHECK(pending <= ENTRIES && room <= ENTRIES);
            for (; pending > 0 && room > 0; pending--, room--) {
                ring_accept(&server, &submission);
                if (random_below(anger * 4u) == 0) {
                    spoil(shared);
                }
                ring_finish(&server, &completion);
            }
            ring_release(&server.submit);
            (void)ring_publish(&server.complete);
        }
    }
    CHECK(sessions > 1000);
    CHECK(violations > 1000);
    free(shared);
}
