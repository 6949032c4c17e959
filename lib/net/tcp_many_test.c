// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * 100,000 connections open at the same time over a wire with faults, each moving data that is
 * checked, in at most 100 MiB for one side: stack, packet buffers and their bookkeeping.
 * NET_MANY sets another number of connections.
 */
#include "lib/net/sim_fake.h"
#include "tests/check.h"

#include <stdlib.h>

#define MEMORY_MAX (100u << 20)
#define BUFFERS 16384u
#define PORTS 8u
#define FIRST_PORT 1000u
#define BYTES 96u
#define BATCH 500u

struct many {
    struct sim *sim;
    uint32_t count;
    struct tcp_connection **client; /* [count] */
    uint8_t *received;              /* [count] bytes that came back */
    uint32_t connected, accepted, finished, gone, wrong;
};

static struct many m;

static uint8_t byte_of(uint32_t number, uint32_t at)
{
    return (uint8_t)((number * 2654435761u >> (at % 24u)) + at);
}

/* ---- The server sends back what comes --------------------------------------------------------*/

static bool on_accept(struct tcp_connection *c, void *user)
{
    (void)c;
    (void)user;
    m.accepted++;
    return true;
}

static uint32_t server_receive(struct tcp_connection *c, void *user, const uint8_t *data,
                               uint32_t length)
{
    (void)user;
    return tcp_send(c, data, length);
}

static void server_sendable(struct tcp_connection *c, void *user)
{
    (void)user;
    tcp_receive_resume(c);
}

static void server_end(struct tcp_connection *c, void *user)
{
    (void)user;
    tcp_close(c);
}

static void server_closed(struct tcp_connection *c, void *user, status_t reason)
{
    (void)c;
    (void)user;
    (void)reason;
    m.wrong++;
}

static const struct tcp_ops server_ops = {.on_accept = on_accept,
                                          .on_receive = server_receive,
                                          .on_end = server_end,
                                          .on_sendable = server_sendable,
                                          .on_closed = server_closed};

/* ---- The clients -----------------------------------------------------------------------------*/

static void on_connected(struct tcp_connection *c, void *user)
{
    uint32_t number = (uint32_t)(uintptr_t)user;
    uint8_t data[BYTES];

    m.connected++;
    for (uint32_t i = 0; i < BYTES; i++) {
        data[i] = byte_of(number, i);
    }
    m.wrong += tcp_send(c, data, BYTES) != BYTES;
}

static uint32_t client_receive(struct tcp_connection *c, void *user, const uint8_t *data,
                               uint32_t length)
{
    uint32_t number = (uint32_t)(uintptr_t)user;

    (void)c;
    for (uint32_t i = 0; i < length; i++) {
        m.wrong += data[i] != byte_of(number, m.received[number] + i);
    }
    m.received[number] = (uint8_t)(m.received[number] + length);
    m.wrong += m.received[number] > BYTES;
    m.finished += m.received[number] == BYTES;
    return length;
}

static void client_end(struct tcp_connection *c, void *user)
{
    (void)c;
    (void)user;
}

static void client_closed(struct tcp_connection *c, void *user, status_t reason)
{
    (void)c;
    (void)user;
    m.gone++;
    m.wrong += reason != STATUS_OK;
}

static const struct tcp_ops client_ops = {.on_connected = on_connected,
                                          .on_receive = client_receive,
                                          .on_end = client_end,
                                          .on_sendable = client_end,
                                          .on_closed = client_closed};

static bool all_finished(void *user)
{
    return m.finished >= (uint32_t)(uintptr_t)user;
}

static bool all_gone(void *user)
{
    (void)user;
    return m.gone == m.count;
}

static void open_clients(void)
{
    struct tcp_connect_request request = {.address = SIM_ADDRESS(1), .ops = &client_ops};

    for (uint32_t i = 0; i < m.count; i++) {
        request.port = (uint16_t)(FIRST_PORT + i % PORTS);
        request.user = (void *)(uintptr_t)i;
        CHECK_EQ(tcp_connect(m.sim->stack[0], &request, &m.client[i]), STATUS_OK);
        if (i % BATCH == BATCH - 1u || i + 1u == m.count) {
            sim_run(m.sim, 2u * NS_PER_MS);
        }
    }
    CHECK(sim_run_until(m.sim, 300u * NS_PER_S, all_finished, (void *)(uintptr_t)m.count));
}

TEST(a_hundred_thousand_connections)
{
    const char *wanted = getenv("NET_MANY");
    struct sim_config config = {.seed = 11, .buffers = {BUFFERS, BUFFERS}};

    memset(&m, 0, sizeof m);
    m.count = wanted != NULL ? (uint32_t)strtoul(wanted, NULL, 0) : 100000u;
    m.client = calloc(m.count, sizeof *m.client);
    m.received = calloc(m.count, 1);
    for (unsigned end = 0; end < 2; end++) {
        config.stack[end].connections = m.count + 64u;
    }
    m.sim = sim_create(&config);
    struct stack_config sizes = config.stack[1];
    sizes.dev = &m.sim->wire.end[1].dev;
    size_t memory = stack_memory_bytes(&sizes) + (size_t)BUFFERS * 2048u +
                    netbuf_pool_bookkeeping_bytes(BUFFERS);
    CHECK(m.count > 100000u || memory <= MEMORY_MAX);
    for (unsigned i = 0; i < PORTS; i++) {
        CHECK_EQ(tcp_listen(m.sim->stack[1], (uint16_t)(FIRST_PORT + i), 256, &server_ops, NULL),
                 STATUS_OK);
    }
    m.sim->wire.faults = (struct wire_faults){.loss = 300,
                                              .duplicate = 300,
                                              .reorder = 1000,
                                              .corrupt = 300,
                                              .delay_ns = 50000,
                                              .reorder_delay_ns = 300000};
    open_clients();
    CHECK_EQ(m.connected, m.count);
    CHECK_EQ(m.accepted, m.count);
    CHECK_EQ(m.finished, m.count);
    CHECK_EQ(stack_connections(m.sim->stack[1]), m.count); /* all of them at once */
    for (uint32_t i = 0; i < m.count; i++) {
        tcp_shutdown(m.client[i]);
        if (i % BATCH == 0) {
            sim_run(m.sim, 2u * NS_PER_MS);
        }
    }
    CHECK(sim_run_until(m.sim, 300u * NS_PER_S, all_gone, NULL));
    sim_run(m.sim, 300u * NS_PER_S);
    CHECK_EQ(m.wrong, 0);
    for (unsigned end = 0; end < 2; end++) {
        CHECK_EQ(stack_connections(m.sim->stack[end]), 0); /* TIME-WAIT too */
        CHECK_EQ(sim_buffers_used(m.sim, end), 0);
    }
    printf("%u connections: %zu bytes each, %zu MiB for one side\n", m.count,
           sizeof(struct tcp_connection), memory >> 20);
    sim_destroy(m.sim);
    free(m.client);
    free(m.received);
}
