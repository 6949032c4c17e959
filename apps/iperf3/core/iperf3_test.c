// SPDX-License-Identifier: MIT OR Apache-2.0
/* iperf3's protocol against a client played by hand, over the virtual wire. */
#include "apps/iperf3/core/iperf3.h"

#include "lib/net/sim_fake.h"
#include "tests/check.h"

#define STREAM_BYTES 100000u

struct side {
    struct tcp_connection *connection;
    bool connected, closed;
    uint64_t received;
    uint32_t kept;
    uint8_t data[8192];
};

static struct sim *sim;
static struct iperf3_server server;
static struct side sides[IPERF3_STREAMS_MAX + 4u];

static void usage(void *context, struct iperf3_usage *to)
{
    (void)context;
    *to = (struct iperf3_usage){.busy = sim->now / 2u, .all = sim->now};
}

static void on_connected(struct tcp_connection *connection, void *user)
{
    (void)connection;
    ((struct side *)user)->connected = true;
}

static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct side *side = user;
    uint32_t room = (uint32_t)sizeof side->data - side->kept;
    uint32_t keep = length < room ? length : room;

    (void)connection;
    memcpy(side->data + side->kept, data, keep);
    side->kept += keep;
    side->received += length;
    return length;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    ((struct side *)user)->closed = true;
    tcp_close(connection);
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    (void)connection;
    (void)user;
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    (void)connection;
    (void)reason;
    ((struct side *)user)->closed = true;
}

static const struct tcp_ops ops = {.on_connected = on_connected,
                                   .on_receive = on_receive,
                                   .on_end = on_end,
                                   .on_sendable = on_sendable,
                                   .on_closed = on_closed};

static void start(void)
{
    sim = sim_create(&(struct sim_config){.seed = 5});
    server = (struct iperf3_server){.stack = sim->stack[1], .usage = usage};
    memset(sides, 0, sizeof sides);
    CHECK_EQ(iperf3_listen(&server), STATUS_OK);
}

static void stop(void)
{
    sim_run(sim, 200u * NS_PER_S);
    CHECK_EQ(sim_buffers_used(sim, 1), 0);
    CHECK(server.control == NULL);
    sim_destroy(sim);
}

static void settle(void)
{
    stack_flush(sim->stack[0]);
    sim_run(sim, 20u * NS_PER_MS);
}

static void open_side(unsigned n, char cookie)
{
    uint8_t bytes[IPERF3_COOKIE_BYTES];
    struct tcp_connect_request request = {
        .address = SIM_ADDRESS(1), .port = IPERF3_PORT, .ops = &ops, .user = &sides[n]};

    sides[n] = (struct side){0};
    CHECK_EQ(tcp_connect(sim->stack[0], &request, &sides[n].connection), STATUS_OK);
    settle();
    CHECK(sides[n].connected);
    memset(bytes, cookie, sizeof bytes);
    CHECK_EQ(tcp_send(sides[n].connection, bytes, sizeof bytes), sizeof bytes);
    settle();
}

static void say_json(unsigned n, const char *text)
{
    uint32_t length = (uint32_t)strlen(text);
    uint8_t head[4] = {0, 0, (uint8_t)(length >> 8), (uint8_t)length};

    CHECK_EQ(tcp_send(sides[n].connection, head, 4), 4);
    CHECK_EQ(tcp_send(sides[n].connection, text, length), length);
    settle();
}

static void say_state(unsigned n, uint8_t state)
{
    CHECK_EQ(tcp_send(sides[n].connection, &state, 1), 1);
    settle();
}

/* What has come on the control connection is these states. */
static void expect_states(unsigned n, const char *states, uint32_t count)
{
    CHECK_EQ(sides[n].kept, count);
    CHECK_EQ(memcmp(sides[n].data, states, count), 0);
    sides[n].kept = 0;
}

static void run_test(const char *parameters, unsigned streams, bool reverse)
{
    static uint8_t zeros[STREAM_BYTES];

    open_side(0, 'c');
    expect_states(0, "\x09", 1);
    say_json(0, parameters);
    expect_states(0, "\x0a", 1);
    for (unsigned i = 1; i <= streams; i++) {
        open_side(i, 'c');
    }
    expect_states(0, "\x01\x02", 2);
    for (unsigned i = 1; i <= streams && !reverse; i++) {
        CHECK_EQ(tcp_send(sides[i].connection, zeros, STREAM_BYTES), STREAM_BYTES);
    }
    sim_run(sim, NS_PER_S);
    say_state(0, 4);
    expect_states(0, "\x0d", 1);
    sim_run(sim, NS_PER_S);
    say_json(0, "{\"cpu_util_total\":1}");
    CHECK(sides[0].kept > 5);
    CHECK_EQ(sides[0].data[sides[0].kept - 1u], 14);
    sides[0].data[sides[0].kept - 1u] = '\0';
    const char *json = (const char *)sides[0].data + 4;
    CHECK_EQ((uint32_t)sides[0].data[2] << 8 | sides[0].data[3], strlen(json));
    CHECK(strstr(json, "\"cpu_util_total\":50.0") != NULL);
    char wanted[64];
    for (unsigned i = 1; i <= streams; i++) {
        snprintf(wanted, sizeof wanted, "{\"id\":%u,\"bytes\":%llu,", i == 1 ? 1 : i + 1u,
                 reverse ? (unsigned long long)sides[i].received : STREAM_BYTES);
        CHECK(strstr(json, wanted) != NULL);
        CHECK(!reverse || sides[i].received > STREAM_BYTES);
        CHECK_EQ(sides[i].closed, reverse); /* before results are exchanged */
    }
    say_state(0, 16);
    CHECK(sides[0].closed);
}

TEST(data_goes_both_ways)
{
    start();
    run_test("{\"tcp\":true,\"omit\":0,\"time\":1,\"parallel\":1,\"len\":131072}", 1, false);
    run_test("{ \"tcp\" : true, \"parallel\" : 3 }", 3, false);
    run_test("{\"tcp\":true,\"parallel\":2,\"reverse\":true}", 2, true);
    CHECK_EQ(server.tests, 3);
    stop();
}

TEST(what_is_not_served_is_said)
{
    static const char *const refused[] = {"{\"udp\":true}", "{\"tcp\":true,\"parallel\":17}",
                                          "{\"tcp\":true,\"bidirectional\":true}", "{",
                                          "{\"tcp\":true,\"parallel\":0}"};

    start();
    for (unsigned i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        open_side(0, 'c');
        expect_states(0, "\x09", 1);
        say_json(0, refused[i]);
        CHECK_EQ(sides[0].kept, 9);
        CHECK_EQ(sides[0].data[0], 0xfe);
        CHECK(sides[0].closed);
    }
    open_side(0, 'c');
    open_side(1, 'd'); /* a second client */
    CHECK_EQ(sides[1].kept, 1);
    CHECK_EQ(sides[1].data[0], 0xff);
    tcp_abort(sides[0].connection);
    settle();
    run_test("{\"tcp\":true}", 1, false);
    stop();
}

TEST(any_bytes_and_ends_are_survived)
{
    uint32_t random = 7;

    start();
    for (unsigned round = 0; round < 400; round++) {
        unsigned count = 1 + round % 5u;
        for (unsigned i = 0; i < count; i++) {
            open_side(i, (char)('a' + round % 2u));
        }
        for (unsigned step = 0; step < 8; step++) {
            uint8_t bytes[64];
            random = random * 1664525u + 1013904223u;
            struct side *side = &sides[(random >> 8) % count];
            for (unsigned i = 0; i < sizeof bytes; i++) {
                random = random * 1664525u + 1013904223u;
                bytes[i] = (uint8_t)(random >> 24 & (step % 2u == 0 ? 15u : 255u));
            }
            if (!side->closed) {
                (void)tcp_send(side->connection, bytes, 1 + (random >> 9) % sizeof bytes);
            }
            settle();
        }
        for (unsigned i = 0; i < count; i++) {
            if (!sides[i].closed) {
                tcp_abort(sides[i].connection);
            }
        }
        settle();
        CHECK(server.control == NULL);
    }
    run_test("{\"tcp\":true}", 1, false);
    stop();
}
