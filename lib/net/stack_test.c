// SPDX-License-Identifier: MIT OR Apache-2.0
/* The stack below TCP: ARP, IPv4, ICMP, UDP, buffers, checksums. */
#include "lib/net/ipv4_out.h"
#include "lib/net/sim_fake.h"
#include "tests/check.h"

static const struct sim_config plain = {.seed = 1};

TEST(checksum_matches_the_definition)
{
    uint8_t data[1501];
    uint64_t random = 7;

    for (unsigned i = 0; i < sizeof data; i++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        data[i] = (uint8_t)(random >> 56);
    }
    for (unsigned start = 0; start < 9; start++) {
        for (unsigned length = 0; length < 1400; length += 1u + length / 40u) {
            uint32_t sum = 0;
            for (unsigned i = 0; i < length; i++) {
                sum += (uint32_t)data[start + i] << (i % 2u != 0 ? 0 : 8);
                sum = (sum & 0xffffu) + (sum >> 16);
            }
            uint16_t fold = checksum_fold(checksum_add(0, data + start, length));
            uint16_t expected = (uint16_t)((sum & 0xffu) << 8 | sum >> 8);
            CHECK_EQ(fold, expected);
        }
    }
    memset(data, 0xff, sizeof data);
    CHECK_EQ(checksum_fold(checksum_add(0, data, 1500)), 0xffff);
}

TEST(siphash_matches_its_paper)
{
    /* Appendix A of the paper: key 00..0f, message 00..0e. */
    struct siphash_key key;
    uint8_t bytes[16];

    for (unsigned i = 0; i < 16; i++) {
        bytes[i] = (uint8_t)i;
    }
    memcpy(&key, bytes, sizeof key);
    CHECK_EQ(siphash(&key, bytes, 15), 0xa129ca6149be45e5ull);
}

struct received {
    unsigned count;
    uint32_t length;
    uint8_t data[2048];
    ipv4_t source;
    uint16_t port;
};

static void take_datagram(struct udp_socket *socket, void *user,
                          const struct udp_datagram *datagram)
{
    struct received *to = user;

    (void)socket;
    to->count++;
    to->length = datagram->length;
    to->source = datagram->source;
    to->port = datagram->source_port;
    memcpy(to->data, datagram->data, datagram->length);
}

/* Echoes without copying, nor summing where the sum is known. */
static void echo_datagram(struct udp_socket *socket, void *user,
                          const struct udp_datagram *datagram)
{
    struct netbuf_pool *pool = user;
    struct udp_send_request request = {.address = datagram->source,
                                       .port = datagram->source_port,
                                       .buffer = datagram->buffer,
                                       .offset = datagram->offset,
                                       .length = datagram->length,
                                       .data_sum = datagram->data_sum};

    netbuf_hold(pool, datagram->buffer);
    CHECK_EQ(udp_send_buffer(socket, &request), STATUS_OK);
}

TEST(udp_echo_resolves_and_returns)
{
    struct sim *sim = sim_create(&plain);
    struct udp_socket *server, *client;
    struct received got = {0};
    uint8_t data[1472];

    for (uint32_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 7u + i / 256u);
    }
    CHECK_EQ(udp_bind(sim->stack[1], 7, echo_datagram, &sim->pool[1], &server), STATUS_OK);
    CHECK_EQ(udp_bind(sim->stack[1], 7, echo_datagram, &sim->pool[1], &server), STATUS_IN_USE);
    CHECK_EQ(udp_bind(sim->stack[0], 0, take_datagram, &got, &client), STATUS_OK);
    for (uint32_t length = 0; length <= sizeof data; length += 91) {
        data[0] = (uint8_t)length;
        CHECK_EQ(udp_send(client, SIM_ADDRESS(1), 7, data, length), STATUS_OK);
        sim_run(sim, 10u * NS_PER_MS);
        CHECK_EQ(got.length, length);
        CHECK(memcmp(got.data, data, length) == 0);
    }
    CHECK_EQ(got.count, 17);
    CHECK_EQ(got.source, SIM_ADDRESS(1));
    CHECK_EQ(got.port, 7);
    CHECK_EQ(udp_send(client, SIM_ADDRESS(1), 7, data, 65500), STATUS_TOO_LARGE);
    CHECK_EQ(udp_send(client, IPV4(8, 8, 8, 8), 7, data, 1), STATUS_UNREACHABLE);
    CHECK_EQ(stack_counters(sim->stack[0])->arp_requests_out, 2); /* one was the announcement */
    udp_unbind(server);
    CHECK_EQ(udp_send(client, SIM_ADDRESS(1), 7, data, 10), STATUS_OK);
    sim_run(sim, 10u * NS_PER_MS);
    CHECK_EQ(got.count, 17);
    CHECK_EQ(stack_counters(sim->stack[1])->udp_no_port, 1);
    CHECK_EQ(stack_counters(sim->stack[1])->icmp_errors_out, 1);
    CHECK_EQ(stack_counters(sim->stack[0])->icmp_in, 1);
    udp_unbind(client);
    CHECK_EQ(sim_buffers_used(sim, 0), 0);
    CHECK_EQ(sim_buffers_used(sim, 1), 0);
    sim_destroy(sim);
}

/* Packets leave by a remembered path, which is forgotten when the neighbour's MAC address or our
 * own address changes. */
TEST(paths_follow_changes)
{
    static const uint8_t moved[6] = {2, 0, 0, 9, 9, 9};
    struct sim *sim = sim_create(&plain);
    struct udp_socket *server, *client;
    struct received got = {0};
    uint8_t packet[ARP_BYTES] = {0, 1, 8, 0, 6, 4, 0, 2};

    CHECK_EQ(udp_bind(sim->stack[1], 7, echo_datagram, &sim->pool[1], &server), STATUS_OK);
    CHECK_EQ(udp_bind(sim->stack[0], 0, take_datagram, &got, &client), STATUS_OK);
    for (uint32_t i = 1; i <= 3; i++) {
        CHECK_EQ(udp_send(client, SIM_ADDRESS(1), 7, "abcdefgh", 8), STATUS_OK);
        sim_run(sim, 10u * NS_PER_MS);
        CHECK_EQ(got.count, i);
    }
    const struct ipv4_path *path = ipv4_path_of(sim->stack[1], __builtin_bswap32(SIM_ADDRESS(0)));
    CHECK_EQ(path->peer, __builtin_bswap32(SIM_ADDRESS(0)));
    CHECK(memcmp(path->header, sim->stack[0]->dev->mac, 6) == 0);
    memcpy(packet + 8, moved, 6);
    store_be32(packet + 14, SIM_ADDRESS(0));
    memcpy(packet + 18, sim->stack[1]->dev->mac, 6);
    store_be32(packet + 24, SIM_ADDRESS(1));
    arp_input(sim->stack[1], packet, sizeof packet);
    CHECK_EQ(path->peer, 0);
    CHECK_EQ(udp_send(client, SIM_ADDRESS(1), 7, "abcdefgh", 8), STATUS_OK);
    sim_run(sim, 10u * NS_PER_MS);
    CHECK_EQ(got.count, 3); /* the answer went elsewhere */
    CHECK(memcmp(path->header, moved, 6) == 0);
    struct interface_address to = {.address = SIM_ADDRESS(1) + 1u,
                                   .netmask = sim->stack[1]->netmask};
    stack_set_address(sim->stack[1], &to);
    CHECK_EQ(path->peer, 0);
    sim_destroy(sim);
}

static bool owns_odd_ports(const void *context, const uint8_t *flow, uint32_t bytes)
{
    (void)context;
    return bytes == 12 && flow[11] % 2u != 0;
}

static const struct tcp_ops no_ops;

/* One of several instances: no DHCP, the first one's address, ports whose answers come to it. */
TEST(a_follower_takes_its_address_and_its_ports)
{
    struct sim_config config = {.seed = 3, .dhcp = {true}};
    struct stack_interface interface = {
        .address = SIM_ADDRESS(0), .netmask = 0xffffff00u, .gateway = SIM_ADDRESS(1)};

    config.stack[0].follower = true;
    config.stack[0].owns = owns_odd_ports;
    struct sim *sim = sim_create(&config);
    sim_run(sim, 20u * NS_PER_S);
    CHECK_EQ(stack_counters(sim->stack[0])->tx_frames, 0);
    stack_follow(sim->stack[0], &interface);
    stack_interface(sim->stack[0], &interface);
    CHECK(interface.configured);
    for (uint32_t i = 0; i < 50; i++) {
        struct tcp_connect_request request = {.address = SIM_ADDRESS(1), .port = 7, .ops = &no_ops};
        struct tcp_connection *connection;
        struct tcp_info info;
        CHECK_EQ(tcp_connect(sim->stack[0], &request, &connection), STATUS_OK);
        tcp_info(connection, &info);
        CHECK_EQ(info.local_port % 2u, 1);
        tcp_abort(connection);
    }
    stack_follow(sim->stack[0], &(struct stack_interface){0});
    stack_interface(sim->stack[0], &interface);
    CHECK(!interface.configured);
    sim_destroy(sim);
}

TEST(udp_ports_share_buckets)
{
    struct sim *sim = sim_create(&plain);
    struct udp_socket *sockets[STACK_UDP_SOCKETS_MAX], *more;
    struct received got[STACK_UDP_SOCKETS_MAX] = {0};

    for (unsigned i = 0; i < STACK_UDP_SOCKETS_MAX; i++) {
        CHECK_EQ(udp_bind(sim->stack[0], (uint16_t)(1000u + 16u * i), take_datagram, &got[i],
                          &sockets[i]),
                 STATUS_OK);
    }
    CHECK_EQ(udp_bind(sim->stack[0], 5, take_datagram, got, &more), STATUS_NO_MEMORY);
    for (unsigned i = 0; i < STACK_UDP_SOCKETS_MAX; i += 2) {
        udp_unbind(sockets[i]);
    }
    CHECK_EQ(udp_bind(sim->stack[1], 9, take_datagram, got, &more), STATUS_OK);
    for (unsigned i = 0; i < STACK_UDP_SOCKETS_MAX; i++) {
        CHECK_EQ(udp_send(more, SIM_ADDRESS(0), (uint16_t)(1000u + 16u * i), "x", 1), STATUS_OK);
        sim_run(sim, NS_PER_MS);
    }
    for (unsigned i = 0; i < STACK_UDP_SOCKETS_MAX; i++) {
        CHECK_EQ(got[i].count, i % 2u);
    }
    sim_destroy(sim);
}

TEST(arp_gives_up_and_frees_what_waits)
{
    struct sim *sim = sim_create(&plain);
    struct udp_socket *client;
    struct received got = {0};

    CHECK_EQ(udp_bind(sim->stack[0], 0, take_datagram, &got, &client), STATUS_OK);
    for (unsigned i = 0; i < ARP_PENDING_MAX + 3u; i++) {
        CHECK_EQ(udp_send(client, IPV4(10, 0, 0, 77), 7, "x", 1), STATUS_OK);
    }
    sim_settle(sim);
    sim_settle(sim); /* the device gives its buffers back */
    CHECK_EQ(sim_buffers_used(sim, 0), ARP_PENDING_MAX);
    sim_run(sim, 10u * NS_PER_S);
    CHECK_EQ(sim_buffers_used(sim, 0), 0);
    CHECK_EQ(stack_counters(sim->stack[0])->arp_unresolved, ARP_PENDING_MAX + 3u);
    CHECK_EQ(stack_counters(sim->stack[0])->arp_requests_out, 1 + 4);
    /* Many neighbours together hold a bounded number of buffers. */
    for (unsigned i = 0; i < 200; i++) {
        (void)udp_send(client, IPV4(10, 0, 0, 20u + i), 7, "x", 1);
        sim_settle(sim);
    }
    sim_settle(sim);
    CHECK(sim_buffers_used(sim, 0) <= ARP_PENDING_TOTAL_MAX);
    sim_run(sim, 10u * NS_PER_S);
    CHECK_EQ(sim_buffers_used(sim, 0), 0);
    CHECK_EQ(sim->stack[0]->arp_pending, 0);
    sim_destroy(sim);
}

TEST(arp_survives_a_change_of_address)
{
    struct sim *sim = sim_create(&plain);
    struct udp_socket *client, *server;
    struct received got = {0};

    CHECK_EQ(udp_bind(sim->stack[1], 7, take_datagram, &got, &server), STATUS_OK);
    CHECK_EQ(udp_bind(sim->stack[0], 0, take_datagram, &got, &client), STATUS_OK);
    CHECK_EQ(udp_send(client, SIM_ADDRESS(1), 7, "x", 1), STATUS_OK);
    sim_run(sim, NS_PER_S);
    CHECK_EQ(got.count, 1);
    /* The neighbour gets another card: used entries are asked again after a minute. */
    sim->wire.end[1].dev.mac[5] = 0x77;
    for (unsigned i = 0; i < 75; i++) {
        CHECK_EQ(udp_send(client, SIM_ADDRESS(1), 7, "x", 1), STATUS_OK);
        sim_run(sim, NS_PER_S);
    }
    CHECK(got.count > 8 && got.count < 20);
    CHECK_EQ(sim_buffers_used(sim, 0), 0);
    sim_destroy(sim);
}

TEST(arp_conflict_is_defended_now_and_then)
{
    struct sim *sim = sim_create(&plain);
    uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 9, 9, 9, 9, 9, 8, 6,
                         0,    1,    8,    0,    6,    4,    0, 1, 2, 9, 9, 9, 9, 9};

    store_be32(frame + 28, SIM_ADDRESS(0));
    store_be32(frame + 38, SIM_ADDRESS(0));
    for (unsigned i = 0; i < 10; i++) {
        wire_inject(&sim->wire, 0, frame, sizeof frame);
    }
    sim_run(sim, NS_PER_S);
    CHECK_EQ(stack_counters(sim->stack[0])->arp_conflicts, 10);
    CHECK_EQ(stack_counters(sim->stack[0])->arp_requests_out, 2);
    sim_destroy(sim);
}

struct ping {
    unsigned replies;
};

static bool see_ping(void *user, unsigned from, uint8_t *data, uint32_t length)
{
    struct ping *ping = user;

    if (from == 0 && length == 14u + 28u + 56u && data[23] == PROTOCOL_ICMP) {
        CHECK_EQ(data[34], ICMP_ECHO_REPLY);
        CHECK_EQ(data[14 + 28 + 55], 55);
        CHECK_EQ(checksum_fold(checksum_add(0, data + 34, length - 34u)), 0xffff);
        ping->replies++;
    }
    return true;
}

TEST(icmp_echo_is_answered)
{
    struct sim *sim = sim_create(&plain);
    struct ping ping = {0};
    uint8_t frame[14 + 28 + 56];

    ethernet_write(frame, sim->wire.end[0].dev.mac, sim->wire.end[1].dev.mac, ETHERTYPE_IPV4);
    struct ipv4_header header = {.source = SIM_ADDRESS(1),
                                 .destination = SIM_ADDRESS(0),
                                 .total_length = 28 + 56,
                                 .protocol = PROTOCOL_ICMP};
    ipv4_write(frame + 14, &header);
    memset(frame + 34, 0, 8);
    frame[34] = ICMP_ECHO_REQUEST;
    for (unsigned i = 0; i < 56; i++) {
        frame[42 + i] = (uint8_t)i;
    }
    store_native16(frame + 36, checksum_finish(checksum_add(0, frame + 34, 64)));
    sim->wire.tap = see_ping;
    sim->wire.tap_user = &ping;
    wire_inject(&sim->wire, 0, frame, sizeof frame);
    sim_run(sim, NS_PER_S);
    CHECK_EQ(ping.replies, 1);
    frame[50] ^= 1;
    wire_inject(&sim->wire, 0, frame, sizeof frame);
    sim_run(sim, NS_PER_S);
    CHECK_EQ(ping.replies, 1);
    CHECK_EQ(stack_counters(sim->stack[0])->icmp_malformed, 1);
    sim_destroy(sim);
}

TEST(a_stuck_device_blocks_nothing)
{
    struct sim *sim = sim_create(&plain);
    struct udp_socket *client;
    struct received got = {0};
    unsigned full = 0;

    sim->wire.end[0].transmit_limit = 0;
    CHECK_EQ(udp_bind(sim->stack[0], 0, take_datagram, &got, &client), STATUS_OK);
    for (unsigned i = 0; i < 100; i++) {
        full += udp_send(client, IPV4_BROADCAST, 7, "x", 1) == STATUS_FULL;
    }
    CHECK_EQ(full, 100u + 1u - STACK_TX_QUEUE);
    sim_settle(sim);
    time_ns_t next = stack_tick(sim->stack[0], sim->now);
    CHECK(next > sim->now && next < sim->now + 10u * NS_PER_MS);
    sim->wire.end[0].transmit_limit = 5;
    sim_run(sim, NS_PER_S);
    CHECK_EQ(sim_buffers_used(sim, 0), 0);
    sim_destroy(sim);
}

TEST(configuration_is_checked)
{
    struct sim *sim = sim_create(&plain);
    struct net_stack *stack;
    struct stack_config good = {
        .dev = &sim->wire.end[0].dev, .address = IPV4(192, 168, 1, 5), .prefix_bits = 24};
    size_t bytes = stack_memory_bytes(&good);
    uint8_t *memory = sim->memory[0][2];

    struct stack_config bad = good;
    bad.prefix_bits = 31;
    CHECK_EQ(stack_init(&stack, &bad, memory, bytes, 0), STATUS_INVALID_ARGUMENT);
    bad = good;
    bad.address = IPV4(224, 0, 0, 1);
    CHECK_EQ(stack_init(&stack, &bad, memory, bytes, 0), STATUS_INVALID_ARGUMENT);
    bad = good;
    bad.receive_window_bytes = 100;
    CHECK_EQ(stack_init(&stack, &bad, memory, bytes, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(stack_init(&stack, &good, memory, bytes - 1u, 0), STATUS_NO_MEMORY);
    CHECK_EQ(stack_init(&stack, &good, memory + 8, bytes, 0), STATUS_MISALIGNED);
    sim_destroy(sim);
}

static void count_link_change(void *user)
{
    ++*(unsigned *)user;
}

/* The device's housekeeping: when the link is up again the neighbours hear of the address. */
static time_ns_t tick_each_second(struct netdev *dev, time_ns_t now_ns)
{
    (void)dev;
    return now_ns + 1000000000u;
}

static bool count_announcements(void *user, unsigned from, uint8_t *data, uint32_t length)
{
    if (from == 0 && length >= 42 && data[12] == 0x08 && data[13] == 0x06) {
        ++*(unsigned *)user;
    }
    return true;
}

TEST(a_link_that_comes_up_again_is_told)
{
    struct sim *sim = sim_create(&plain);
    struct netdev_ops ops = *sim->wire.end[0].dev.ops;
    struct stack_interface interface;
    unsigned changes = 0;
    unsigned announced = 0;

    ops.tick = tick_each_second;
    sim->wire.end[0].dev.ops = &ops;
    sim->stack[0]->device_deadline = 0;
    sim->stack[0]->next_deadline = 0;
    stack_on_interface_change(sim->stack[0], count_link_change, &changes);
    sim_run(sim, 3000000000u);
    sim->wire.tap = count_announcements;
    sim->wire.tap_user = &announced;
    sim_run(sim, 3000000000u);
    CHECK_EQ(changes, 0);
    CHECK_EQ(announced, 0);
    sim->wire.end[0].link_up = false;
    sim_run(sim, 2000000000u);
    CHECK_EQ(changes, 1);
    stack_interface(sim->stack[0], &interface);
    CHECK(!interface.link_up);
    CHECK_EQ(announced, 0);
    sim->wire.end[0].link_up = true;
    sim_run(sim, 2000000000u);
    CHECK_EQ(changes, 2);
    CHECK_EQ(announced, 1);
    sim_destroy(sim);
}
