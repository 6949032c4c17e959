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

#define SERVERS 2u

/* A wire to each server, with the client's stack at the other end. */
static struct sim *sims[SERVERS];
static struct iperf3_test test;
static struct iperf3_server servers[SERVERS];
static bool woken[SERVERS];
static uint32_t count; /* of servers */
static struct side sides[IPERF3_STREAMS_MAX + 4u];

static void usage(void *context, struct iperf3_usage *to)
{
    (void)context;
    *to = (struct iperf3_usage){.busy = sims[0]->now / 2u, .all = sims[0]->now};
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

static void wake(void *context, uint32_t number)
{
    (void)context;
    woken[number] = true;
}

static void start(uint32_t number)
{
    count = number;
    test = (struct iperf3_test){.servers = count, .wake = wake};
    memset(sides, 0, sizeof sides);
    for (uint32_t i = 0; i < count; i++) {
        sims[i] = sim_create(&(struct sim_config){.seed = 5});
        servers[i] = (struct iperf3_server){
            .stack = sims[i]->stack[1], .test = &test, .number = i, .usage = usage};
        woken[i] = false;
        CHECK_EQ(iperf3_listen(&servers[i]), STATUS_OK);
    }
}

/* Time passes; who was woken looks. */
static void run_for(time_ns_t ns)
{
    for (unsigned round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < count; i++) {
            stack_flush(sims[i]->stack[0]);
            sim_run(sims[i], ns / 4u);
            if (woken[i]) {
                woken[i] = false;
                (void)iperf3_poll(&servers[i]);
                stack_flush(sims[i]->stack[1]);
            }
        }
    }
}

static void stop(void)
{
    run_for(200u * NS_PER_S);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(sim_buffers_used(sims[i], 1), 0);
        CHECK_EQ(stack_connections(sims[i]->stack[1]), 0);
        CHECK(servers[i].control == NULL);
        sim_destroy(sims[i]);
    }
    CHECK_EQ(test.owner, 0);
}

static void settle(void)
{
    run_for(40u * NS_PER_MS);
}

/* The wire of a connection of the client. */
static struct sim *sim_of(unsigned n)
{
    return sims[(n + test.word / 256u) % count];
}

static void open_side(unsigned n, char cookie)
{
    uint8_t bytes[IPERF3_COOKIE_BYTES];
    struct tcp_connect_request request = {
        .address = SIM_ADDRESS(1), .port = IPERF3_PORT, .ops = &ops, .user = &sides[n]};

    sides[n] = (struct side){0};
    CHECK_EQ(tcp_connect(sim_of(n)->stack[0], &request, &sides[n].connection), STATUS_OK);
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
static void expect_states(unsigned n, const char *states, uint32_t bytes)
{
    CHECK_EQ(sides[n].kept, bytes);
    CHECK_EQ(memcmp(sides[n].data, states, bytes), 0);
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
    run_for(reverse ? 20u * NS_PER_MS : NS_PER_S);
    say_state(0, 4);
    expect_states(0, "\x0d", 1);
    run_for(NS_PER_S);
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

static void both_ways(uint32_t number)
{
    start(number);
    run_test("{\"tcp\":true,\"omit\":0,\"time\":1,\"parallel\":1,\"len\":131072}", 1, false);
    run_test("{ \"tcp\" : true, \"parallel\" : 3 }", 3, false);
    run_test("{\"tcp\":true,\"parallel\":2,\"reverse\":true}", 2, true);
    run_test("{\"tcp\":true,\"parallel\":3,\"reverse\":true}", 3, true);
    run_test("{\"tcp\":true,\"parallel\":16}", 16, false);
    CHECK_EQ(servers[0].tests + servers[1].tests, 5);
    CHECK(number == 1 || (servers[0].tests != 0 && servers[1].tests != 0));
    stop();
    servers[1] = servers[0] = (struct iperf3_server){0};
}

TEST(data_goes_both_ways)
{
    both_ways(1);
}

/* Streams of one test come to both servers, the control connection now to one, now to the other. */
TEST(data_goes_both_ways_on_two_servers)
{
    both_ways(2);
}

static void refusals(uint32_t number)
{
    static const char *const refused[] = {"{\"udp\":true}", "{\"tcp\":true,\"parallel\":17}",
                                          "{\"tcp\":true,\"bidirectional\":true}", "{",
                                          "{\"tcp\":true,\"parallel\":0}"};

    start(number);
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

/* The next test's client comes to one server before the other has heard that the last is over. */
TEST(the_next_client_waits_for_the_end_of_a_test)
{
    start(2);
    open_side(0, 'c');
    say_json(0, "{\"tcp\":true}");
    open_side(1, 'c');
    say_state(0, 4);
    sides[0].kept = 0;
    say_json(0, "{}");
    CHECK_EQ(sides[0].data[sides[0].kept - 1u], 14);
    open_side(3, 'e');
    CHECK(sim_of(3) != sim_of(0));
    CHECK(!sides[3].closed);
    CHECK_EQ(sides[3].kept, 0);
    say_state(0, 16);
    settle();
    expect_states(3, "\x09", 1);
    tcp_abort(sides[3].connection);
    settle();
    CHECK_EQ(servers[0].tests + servers[1].tests, 1);
    CHECK_EQ(servers[0].refused + servers[1].refused, 0);
    stop();
}

TEST(what_is_not_served_is_said)
{
    refusals(1);
    refusals(2);
}

static void any_bytes(uint32_t number)
{
    uint32_t random = 7;

    start(number);
    for (unsigned round = 0; round < 400; round++) {
        unsigned open = 1 + round % 5u;
        for (unsigned i = 0; i < open; i++) {
            open_side(i, (char)('a' + round % 2u));
        }
        for (unsigned step = 0; step < 8; step++) {
            uint8_t bytes[64];
            random = random * 1664525u + 1013904223u;
            struct side *side = &sides[(random >> 8) % open];
            for (unsigned i = 0; i < sizeof bytes; i++) {
                random = random * 1664525u + 1013904223u;
                bytes[i] = (uint8_t)(random >> 24 & (step % 2u == 0 ? 15u : 255u));
            }
            if (!side->closed) {
                (void)tcp_send(side->connection, bytes, 1 + (random >> 9) % sizeof bytes);
            }
            settle();
        }
        for (unsigned i = 0; i < open; i++) {
            if (!sides[i].closed) {
                tcp_abort(sides[i].connection);
            }
        }
        settle();
        CHECK(servers[0].control == NULL && (number == 1 || servers[1].control == NULL));
        CHECK_EQ(test.owner, 0);
    }
    run_test("{\"tcp\":true}", 1, false);
    stop();
}

TEST(any_bytes_and_ends_are_survived)
{
    any_bytes(1);
    any_bytes(2);
}
