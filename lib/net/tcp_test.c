// SPDX-License-Identifier: MIT OR Apache-2.0
/* Whole TCP connections between two stacks over a good and a bad wire. */
#include "lib/net/sim_fake.h"
#include "tests/check.h"

#include <stdlib.h>

#define PORT 6379u
#define PEERS_MAX 4096u

enum closing { CLOSE_WHEN_DONE, SHUTDOWN_WHEN_DONE, ABORT_WHEN_DONE, CLOSE_AT_END };

/* One side of a connection: sends `to_send` bytes of a pattern, checks what it receives. */
struct peer {
    struct world *world;
    struct tcp_connection *c;
    unsigned side;
    uint32_t pattern; /* of what this side sends */
    uint64_t sent, to_send;
    uint64_t received, to_receive;
    enum closing closing;
    bool slow;      /* consumes now and then only a part */
    bool by_buffer; /* sends with tcp_send_buffer */
    bool connected, ended, closed, done, aborted, paused;
    status_t reason;
};

struct world {
    struct sim *sim;
    struct peer peers[PEERS_MAX];
    unsigned count;
    unsigned closed;
    unsigned wrong;
    unsigned accepted;
    unsigned pages; /* times that data began at a page's start */
    uint64_t bytes_up, bytes_down;
    enum closing closing[2];
    bool slow;
    bool by_buffer;
    bool v6;
    bool persistent; /* connects until it works */
};

static uint8_t pattern_at(uint32_t pattern, uint64_t at)
{
    uint64_t x = (at >> 3) * 0x9e3779b97f4a7c15ull + pattern;

    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9ull;
    return (uint8_t)(x >> (8u * (at & 7u)));
}

static void peer_finish(struct peer *peer)
{
    if (peer->done || peer->closed || peer->sent < peer->to_send) {
        return;
    }
    bool all_in = peer->received == peer->to_receive;
    switch (peer->closing) {
    case SHUTDOWN_WHEN_DONE:
        peer->done = true;
        tcp_shutdown(peer->c);
        break;
    case CLOSE_WHEN_DONE:
        if (all_in) {
            peer->done = peer->closed = true;
            tcp_close(peer->c);
        }
        break;
    case ABORT_WHEN_DONE:
        if (all_in) {
            peer->done = peer->closed = peer->aborted = true;
            tcp_abort(peer->c);
        }
        break;
    case CLOSE_AT_END:
        if (all_in && peer->ended) {
            peer->done = peer->closed = true;
            tcp_close(peer->c);
        }
        break;
    }
    peer->world->closed += peer->closed;
}

static uint32_t send_as_buffer(struct peer *peer, const uint8_t *data, uint32_t length)
{
    struct net_stack *stack = peer->world->sim->stack[peer->side];
    uint32_t most = tcp_segment_bytes(peer->c);

    if (!stack_data_buffer_free(stack)) {
        return tcp_send(peer->c, data, length); /* takes what it can, and asks to be called */
    }
    length = length < most ? length : most;
    uint32_t buffer = netbuf_take(stack->pool);
    memcpy(netbuf_data(stack->pool, buffer) + STACK_HEADROOM_BYTES, data, length);
    if (tcp_send_buffer(peer->c, buffer, STACK_HEADROOM_BYTES, length) != STATUS_OK) {
        netbuf_drop(stack->pool, buffer);
        return 0;
    }
    return length;
}

static void peer_send(struct peer *peer)
{
    uint8_t data[5000];

    while (peer->sent < peer->to_send && !peer->closed) {
        uint64_t left = peer->to_send - peer->sent;
        uint32_t length = 1u + (uint32_t)(wire_random(&peer->world->sim->wire) % sizeof data);
        length = length < left ? length : (uint32_t)left;
        for (uint32_t i = 0; i < length; i++) {
            data[i] = pattern_at(peer->pattern, peer->sent + i);
        }
        uint32_t took =
            peer->by_buffer ? send_as_buffer(peer, data, length) : tcp_send(peer->c, data, length);
        peer->sent += took;
        if (took == 0 || (took < length && !peer->by_buffer)) {
            return;
        }
    }
    peer_finish(peer);
}

static void peer_init(struct world *world, struct peer *peer, struct tcp_connection *c,
                      unsigned side)
{
    struct tcp_info info;

    tcp_info(c, &info);
    uint16_t id = side == 0 ? info.local_port : info.remote_port;
    peer->world = world;
    peer->c = c;
    peer->side = side;
    peer->pattern = (uint32_t)id << 1 | side;
    peer->to_send = side == 0 ? world->bytes_up : world->bytes_down;
    peer->to_receive = side == 0 ? world->bytes_down : world->bytes_up;
    peer->closing = world->closing[side];
    peer->slow = world->slow;
    peer->by_buffer = world->by_buffer;
    tcp_set_user(c, peer);
}

static bool on_accept(struct tcp_connection *c, void *user)
{
    struct world *world = user;
    struct peer *peer = &world->peers[world->count++];

    world->accepted++;
    peer_init(world, peer, c, 1);
    peer_send(peer);
    return true;
}

static void on_connected(struct tcp_connection *c, void *user)
{
    struct peer *peer = user;

    (void)c;
    peer->connected = true;
    peer_send(peer);
}

static uint32_t on_receive(struct tcp_connection *c, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct peer *peer = user;

    if (peer->c != c || peer->closed) {
        peer->world->wrong++;
        return length;
    }
    peer->world->pages += (uintptr_t)data % PAGE_BYTES == 0;
    if (peer->slow && wire_random(&peer->world->sim->wire) % 8u == 0) {
        length = (uint32_t)(wire_random(&peer->world->sim->wire) % length);
        peer->paused = true;
    }
    for (uint32_t i = 0; i < length; i++) {
        peer->world->wrong += data[i] != pattern_at(peer->pattern ^ 1u, peer->received + i);
    }
    peer->received += length;
    peer_finish(peer);
    return length;
}

static void on_sendable(struct tcp_connection *c, void *user)
{
    (void)c;
    peer_send(user);
}

static void on_end(struct tcp_connection *c, void *user)
{
    struct peer *peer = user;

    (void)c;
    peer->world->wrong += peer->ended || peer->closed;
    peer->ended = true;
    peer_finish(peer);
}

static void world_connect_peer(struct world *world, struct peer *peer);

static void on_closed(struct tcp_connection *c, void *user, status_t reason)
{
    struct peer *peer = user;

    if (reason == STATUS_TIMED_OUT && !peer->connected && peer->world->persistent) {
        world_connect_peer(peer->world, peer); /* every SYN was lost */
        return;
    }
    peer->world->wrong += peer->closed || peer->c != c;
    peer->closed = true;
    peer->reason = reason;
    peer->world->closed++;
}

static const struct tcp_ops ops = {.on_accept = on_accept,
                                   .on_connected = on_connected,
                                   .on_receive = on_receive,
                                   .on_sendable = on_sendable,
                                   .on_end = on_end,
                                   .on_closed = on_closed};

static struct world *world_create(const struct sim_config *config)
{
    struct world *world = calloc(1, sizeof *world);

    world->sim = sim_create(config);
    CHECK_EQ(tcp_listen(world->sim->stack[1], PORT, 64, &ops, world), STATUS_OK);
    return world;
}

static void world_destroy(struct world *world)
{
    sim_destroy(world->sim);
    free(world);
}

static void world_connect_peer(struct world *world, struct peer *peer)
{
    struct tcp_connect_request request = {
        .address = SIM_ADDRESS(1), .port = PORT, .ops = &ops, .user = peer};
    struct ipv6_ends ends = {.remote = SIM_ADDRESS6(1)};
    struct tcp_connection *c;

    request.v6 = world->v6 ? &ends : NULL;
    status_t status = tcp_connect(world->sim->stack[0], &request, &c);

    CHECK_EQ(status, STATUS_OK);
    if (status == STATUS_OK) {
        peer_init(world, peer, c, 0);
    }
}

static void world_connect(struct world *world, unsigned connections)
{
    for (unsigned i = 0; i < connections; i++) {
        world_connect_peer(world, &world->peers[world->count++]);
    }
}

static bool all_closed(void *user)
{
    struct world *world = user;

    for (unsigned i = 0; i < world->count; i++) {
        struct peer *peer = &world->peers[i];
        if (peer->paused && !peer->closed) {
            peer->paused = false;
            tcp_receive_resume(peer->c);
        }
    }
    return world->closed == world->count && world->accepted * 2u >= world->count;
}

static bool no_connections(void *user)
{
    struct world *world = user;

    return stack_connections(world->sim->stack[0]) + stack_connections(world->sim->stack[1]) == 0;
}

/* Runs to the end and checks that every byte arrived and nothing is left over. */
static void world_finish(struct world *world, time_ns_t ns)
{
    struct sim *sim = world->sim;

    CHECK(sim_run_until(sim, ns, all_closed, world));
    CHECK(sim_run_until(sim, 600u * NS_PER_S, no_connections, world));
    sim_run(sim, 200u * NS_PER_S); /* neighbours and their waiting packets expire */
    CHECK_EQ(world->wrong, 0);
    for (unsigned i = 0; i < world->count; i++) {
        struct peer *peer = &world->peers[i];
        if (peer->reason != STATUS_OK || peer->received != peer->to_receive) {
            CHECK_EQ(i, -1);
            CHECK_EQ(peer->reason, STATUS_OK);
            CHECK_EQ(peer->received, peer->to_receive);
            break;
        }
    }
    for (unsigned end = 0; end < 2; end++) {
        CHECK_EQ(sim_buffers_used(sim, end), 0);
        CHECK_EQ(stack_connections(sim->stack[end]), 0);
    }
}

static const struct sim_config plain = {.seed = 3};

TEST(small_exchange)
{
    struct world *world = world_create(&plain);

    world->bytes_up = 64;
    world->bytes_down = 64;
    world->closing[1] = CLOSE_AT_END;
    world_connect(world, 1);
    world_finish(world, 10u * NS_PER_S);
    CHECK_EQ(stack_counters(world->sim->stack[0])->tcp_retransmits, 0);
    CHECK_EQ(stack_counters(world->sim->stack[1])->tcp_retransmits, 0);
    world_destroy(world);
}

TEST(large_transfers_both_ways)
{
    struct world *world = world_create(&plain);

    world->bytes_up = 8u << 20;
    world->bytes_down = (8u << 20) + 17u;
    world->closing[1] = CLOSE_AT_END;
    world_connect(world, 1);
    time_ns_t start = world->sim->now;
    CHECK(sim_run_until(world->sim, 100u * NS_PER_S, all_closed, world));
    CHECK(world->sim->now - start < 3u * NS_PER_S);
    world_finish(world, 0);
    CHECK_EQ(stack_counters(world->sim->stack[0])->tcp_timeouts, 0);
    world_destroy(world);
}

TEST(slow_readers_and_buffers_by_reference)
{
    struct world *world = world_create(&plain);

    world->bytes_up = 1u << 20;
    world->bytes_down = 1u << 20;
    world->slow = true;
    world->by_buffer = true;
    world->closing[1] = CLOSE_AT_END;
    world_connect(world, 8);
    world_finish(world, 100u * NS_PER_S);
    world_destroy(world);
}

TEST(every_order_of_closing)
{
    static const enum closing orders[][2] = {
        {CLOSE_WHEN_DONE, CLOSE_AT_END},          {CLOSE_AT_END, CLOSE_WHEN_DONE},
        {SHUTDOWN_WHEN_DONE, SHUTDOWN_WHEN_DONE}, {SHUTDOWN_WHEN_DONE, CLOSE_AT_END},
        {CLOSE_AT_END, SHUTDOWN_WHEN_DONE},       {CLOSE_WHEN_DONE, SHUTDOWN_WHEN_DONE}};

    for (unsigned i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        for (unsigned lossy = 0; lossy < 2; lossy++) {
            struct world *world = world_create(&plain);
            world->sim->wire.faults.loss = lossy * 10000u;
            world->bytes_up = 3000;
            world->bytes_down = i % 2u * 4000u;
            memcpy(world->closing, orders[i], sizeof orders[i]);
            world_connect(world, 20);
            world_finish(world, 300u * NS_PER_S);
            world_destroy(world);
        }
    }
}

TEST(abort_reaches_the_other_side)
{
    struct world *world = world_create(&plain);

    world->bytes_up = 5000;
    world->closing[0] = SHUTDOWN_WHEN_DONE;
    world->closing[1] = ABORT_WHEN_DONE;
    world_connect(world, 5);
    CHECK(sim_run_until(world->sim, 10u * NS_PER_S, all_closed, world));
    CHECK(sim_run_until(world->sim, 100u * NS_PER_S, no_connections, world));
    unsigned reset = 0;
    for (unsigned i = 0; i < world->count; i++) {
        reset += world->peers[i].reason == STATUS_RESET;
    }
    CHECK_EQ(reset, 5);
    CHECK_EQ(stack_counters(world->sim->stack[0])->tcp_reset_in, 5);
    sim_run(world->sim, 200u * NS_PER_S);
    CHECK_EQ(sim_buffers_used(world->sim, 0), 0);
    CHECK_EQ(sim_buffers_used(world->sim, 1), 0);
    world_destroy(world);
}

TEST(a_thousand_connections)
{
    struct sim_config config = {.seed = 5, .buffers = {8192, 8192}};
    struct world *world;

    config.stack[0].connections = config.stack[1].connections = 1500;
    world = world_create(&config);
    world->bytes_up = 3000;
    world->bytes_down = 5000;
    world->closing[1] = CLOSE_AT_END;
    for (unsigned i = 0; i < 24; i++) {
        world_connect(world, 50);
        sim_run(world->sim, 5u * NS_PER_MS);
    }
    world_finish(world, 100u * NS_PER_S);
    CHECK_EQ(world->accepted, 1200);
    world_destroy(world);
}

TEST(tiny_pools_starve_nobody)
{
    struct sim_config config = {.seed = 6, .buffers = {96, 96}};
    struct world *world = world_create(&config);

    world->bytes_up = 100000;
    world->bytes_down = 100000;
    world->closing[1] = CLOSE_AT_END;
    world->slow = true;
    world_connect(world, 30);
    world_finish(world, 1000u * NS_PER_S);
    world_destroy(world);
}

TEST(a_refused_port_and_a_silent_host)
{
    struct world *world = world_create(&plain);
    struct peer *peers = world->peers;
    struct tcp_connect_request request = {
        .address = SIM_ADDRESS(1), .port = 99, .ops = &ops, .user = &peers[0]};
    struct tcp_connection *c;

    CHECK_EQ(tcp_connect(world->sim->stack[0], &request, &c), STATUS_OK);
    peer_init(world, &peers[0], c, 0);
    sim_run(world->sim, NS_PER_S);
    CHECK_EQ(peers[0].reason, STATUS_RESET);
    request.address = IPV4(10, 0, 0, 200);
    request.user = &peers[1];
    CHECK_EQ(tcp_connect(world->sim->stack[0], &request, &c), STATUS_OK);
    peer_init(world, &peers[1], c, 0);
    sim_run(world->sim, 200u * NS_PER_S);
    CHECK_EQ(peers[1].reason, STATUS_TIMED_OUT);
    request.address = SIM_ADDRESS(0);
    CHECK_EQ(tcp_connect(world->sim->stack[0], &request, &c), STATUS_INVALID_ARGUMENT);
    request.address = IPV4(8, 8, 8, 8);
    CHECK_EQ(tcp_connect(world->sim->stack[0], &request, &c), STATUS_UNREACHABLE);
    CHECK_EQ(sim_buffers_used(world->sim, 0), 0);
    world_destroy(world);
}

/* ---- A bad wire ------------------------------------------------------------------------------*/

static void torture(uint64_t seed, struct wire_faults faults, uint64_t bytes, unsigned connections)
{
    static const uint32_t offloads[] = {
        0,
        NETDEV_TX_CHECKSUM | NETDEV_TX_SEGMENTS,
        NETDEV_TX_CHECKSUM | NETDEV_TX_SEGMENTS | NETDEV_TX_OPEN_LENGTH,
        NETDEV_TX_CHECKSUM,
    };
    static const enum wire_sums sums[] = {WIRE_SUMS_NONE, WIRE_SUMS_CHECKED, WIRE_SUMS_OPEN};
    struct sim_config config = {.seed = seed};

    config.sums[0] = sums[seed % 3u];
    config.sums[1] = sums[seed / 2u % 3u];
    config.split[0] = seed % 4u == 1;
    config.split[1] = seed % 5u < 2u;
    config.offloads[0] = offloads[seed / 2u % 4u];
    config.offloads[1] = offloads[seed / 3u % 4u];
    config.stack[0].ipv6_mode = config.stack[1].ipv6_mode = STACK_IPV6_STATIC;
    struct world *world = world_create(&config);

    sim_run(world->sim, 2u * NS_PER_S); /* until the IPv6 addresses are known to be free */
    world->v6 = seed % 2u == 0;
    world->sim->wire.faults = faults;
    world->persistent = true;
    world->bytes_up = bytes;
    world->bytes_down = bytes + seed % 1000u;
    world->slow = seed % 3u == 0;
    world->by_buffer = seed % 4u < 2u;
    world->closing[0] = seed % 5u == 0 ? SHUTDOWN_WHEN_DONE : CLOSE_WHEN_DONE;
    world->closing[1] = CLOSE_AT_END;
    world_connect(world, connections);
    world_finish(world, 4000u * NS_PER_S);
    world_destroy(world);
}

/* A device that cuts: few packets for many segments, and the same bytes. */
TEST(large_packets_are_cut_by_the_device)
{
    struct sim_config config = {.seed = 11};

    config.offloads[0] = NETDEV_TX_CHECKSUM | NETDEV_TX_SEGMENTS;
    struct world *world = world_create(&config);
    const struct stack_counters *sent = stack_counters(world->sim->stack[0]);
    world->bytes_up = 1000000;
    world->bytes_down = 1000;
    world->closing[0] = CLOSE_WHEN_DONE;
    world->closing[1] = CLOSE_AT_END;
    world_connect(world, 2);
    world_finish(world, 100u * NS_PER_S);
    CHECK(sent->tcp_large_out > 50);
    CHECK_EQ(sent->tcp_retransmits, 0);
    CHECK(sent->tcp_out < stack_counters(world->sim->stack[1])->tcp_in / 2u);
    world_destroy(world);
}

/* A device that sets data apart and checks sums: nearly all of it is taken where it lies. */
TEST(data_set_apart_stays_where_it_is)
{
    struct sim_config config = {.seed = 12, .split = {false, true}};

    config.sums[1] = WIRE_SUMS_CHECKED;
    struct world *world = world_create(&config);
    const struct stack_counters *taken = stack_counters(world->sim->stack[1]);
    world->bytes_up = 1000000;
    world->bytes_down = 1000;
    world->closing[0] = CLOSE_WHEN_DONE;
    world->closing[1] = CLOSE_AT_END;
    world_connect(world, 2);
    world_finish(world, 100u * NS_PER_S);
    CHECK(taken->tcp_split_in > taken->tcp_in / 2u);
    CHECK(world->pages > 500);
    world_destroy(world);
}

TEST(torture_with_every_fault)
{
    static const struct wire_faults faults[] = {
        {.loss = 3000, .delay_ns = 200000},
        {.loss = 13000, .delay_ns = 200000},
        {.reorder = 20000, .delay_ns = 200000, .reorder_delay_ns = 3000000},
        {.duplicate = 20000, .delay_ns = 200000},
        {.corrupt = 6000, .delay_ns = 200000},
        {.loss = 4000,
         .duplicate = 4000,
         .reorder = 8000,
         .corrupt = 3000,
         .delay_ns = 5000000,
         .reorder_delay_ns = 20000000},
    };

    const char *more = getenv("NET_TORTURE_SEEDS");
    uint64_t last = more != NULL ? strtoull(more, NULL, 0) : 18u;

    for (uint64_t seed = 1; seed <= last; seed++) {
        torture(seed, faults[seed % 6u], 60000, 6);
    }
}

TEST(torture_with_a_third_lost)
{
    struct wire_faults faults = {.loss = 19660,
                                 .duplicate = 3000,
                                 .reorder = 6000,
                                 .corrupt = 3000,
                                 .delay_ns = 1000000,
                                 .reorder_delay_ns = 5000000};

    for (uint64_t seed = 100; seed < 104; seed++) {
        torture(seed, faults, 20000, 8);
    }
}
