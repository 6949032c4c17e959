// SPDX-License-Identifier: MIT OR Apache-2.0
/* Fragments of both families, path MTUs, and ICMP errors that reach sockets. */
#include "lib/net/script_test.h"

static struct {
    unsigned datagrams, errors;
    uint32_t length;
    uint32_t buffer;
    uint32_t sum;
    struct udp_error error;
} u;

static uint8_t byte_at(uint32_t i)
{
    return (uint8_t)(i * 7u + (i >> 8));
}

static void take_datagram(struct udp_socket *socket, void *user,
                          const struct udp_datagram *datagram)
{
    (void)socket;
    (void)user;
    u.datagrams++;
    u.length = datagram->length;
    u.buffer = datagram->buffer;
    for (uint32_t i = 0; i < datagram->length; i++) {
        u.sum += datagram->data[i] != byte_at(i);
    }
}

static void take_error(struct udp_socket *socket, void *user, const struct udp_error *error)
{
    (void)socket;
    (void)user;
    u.errors++;
    u.error = *error;
}

static struct udp_socket *begin(void)
{
    struct udp_socket *socket = NULL;

    memset(&u, 0, sizeof u);
    start();
    CHECK_EQ(udp_bind(s.stack, 7, take_datagram, NULL, &socket), STATUS_OK);
    udp_on_error(socket, take_error);
    return socket;
}

/* One IPv4 fragment of a UDP datagram of `total` bytes of data. */
static void put_fragment(uint16_t id, uint32_t from, uint32_t to, uint32_t total)
{
    static uint8_t datagram[70000];
    uint8_t frame[WIRE_FRAME_BYTES];
    struct ipv4_header header = {.source = SIM_ADDRESS(1),
                                 .destination = SIM_ADDRESS(0),
                                 .total_length = to - from + IPV4_BYTES,
                                 .protocol = PROTOCOL_UDP};

    for (uint32_t i = 0; i < total; i++) {
        datagram[8u + i] = byte_at(i);
    }
    store_be32(datagram, 0x00090007u);
    store_be16(datagram + 4, (uint16_t)(total + 8u));
    store_be16(datagram + 6, 0);
    ethernet_write(frame, s.sim->wire.end[0].dev.mac, s.sim->wire.end[1].dev.mac, ETHERTYPE_IPV4);
    ipv4_write(frame + 14, &header);
    store_be32(frame + 18, (uint32_t)id << 16 | (to < total + 8u ? 0x2000u : 0) | from / 8u);
    store_native16(frame + 24, 0);
    store_native16(frame + 24, checksum_finish(ipv4_header_sum(frame + 14)));
    memcpy(frame + 34, datagram + from, to - from);
    wire_inject(&s.sim->wire, 0, frame, 34u + to - from);
    sim_settle(s.sim);
}

TEST(fragments_in_any_order)
{
    static const uint8_t orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 1, 0, 3}};

    (void)begin();
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned k = 0; k < 4; k++) {
            uint32_t from = orders[i][k] * 400u;
            put_fragment((uint16_t)i, from, orders[i][k] == 3 ? 1308u : from + 400u, 1300);
        }
        if (i == 3) {
            put_fragment(3, 800, 1200, 1300);
        }
        CHECK_EQ(u.datagrams, i + 1u);
        CHECK_EQ(u.length, 1300);
    }
    CHECK(u.buffer != NETBUF_NONE);
    CHECK_EQ(u.sum, 0);
    CHECK_EQ(stack_counters(s.stack)->ip_reassembled, 4);
    stop();
}

static bool owns_nothing(const void *context, const uint8_t *flow, uint32_t bytes)
{
    uint32_t *asked = (uint32_t *)(uintptr_t)context;

    CHECK_EQ(bytes, 12);
    CHECK_EQ(load_be32(flow), SIM_ADDRESS(1));
    CHECK_EQ(load_be32(flow + 4), SIM_ADDRESS(0));
    CHECK_EQ(load_be32(flow + 8), 0x00090007u);
    (*asked)++;
    return false;
}

/* Another instance answers. */
TEST(a_whole_packet_is_its_owners_alone)
{
    uint32_t asked = 0;

    (void)begin();
    s.stack->owns = owns_nothing;
    s.stack->owns_context = &asked;
    put_fragment(1, 0, 400, 1300);
    put_fragment(1, 400, 1308, 1300);
    CHECK_EQ(asked, 1);
    CHECK_EQ(u.datagrams, 0);
    CHECK_EQ(stack_counters(s.stack)->ip_reassembled, 1);
    s.stack->owns = NULL;
    put_fragment(2, 0, 400, 1300);
    put_fragment(2, 400, 1308, 1300);
    CHECK_EQ(u.datagrams, 1);
    stop();
}

TEST(large_datagrams_use_the_area)
{
    (void)begin();
    for (uint32_t from = 0; from < 60008u; from += 1480u) {
        put_fragment(9, from, from + 1480u < 60008u ? from + 1480u : 60008u, 60000);
    }
    CHECK_EQ(u.datagrams, 1);
    CHECK_EQ(u.length, 60000);
    CHECK_EQ(u.buffer, NETBUF_NONE);
    CHECK_EQ(u.sum, 0);
    stop();
}

TEST(overlaps_end_the_packet)
{
    const struct stack_counters *counters;

    (void)begin();
    counters = stack_counters(s.stack);
    put_fragment(1, 0, 400, 1300);
    put_fragment(1, 392, 800, 1300); /* RFC 5722: all of it goes, and what is still to come */
    CHECK_EQ(counters->ip_fragment_overlaps, 1);
    put_fragment(1, 400, 800, 1300);
    put_fragment(1, 800, 1308, 1300);
    put_fragment(1, 0, 400, 1300);
    CHECK_EQ(u.datagrams, 0);
    put_fragment(2, 800, 1308, 1300);
    put_fragment(2, 1200, 1600, 4000); /* behind the end */
    CHECK_EQ(counters->ip_fragment_overlaps, 2);
    put_fragment(3, 1600, 2000, 4000);
    put_fragment(3, 800, 1308, 1300); /* an end before what is known */
    CHECK_EQ(counters->ip_fragment_overlaps, 3);
    put_fragment(4, 0, 404, 1300); /* not a multiple of eight */
    CHECK_EQ(counters->ip_fragments_malformed, 1);
    sim_run(s.sim, 31u * NS_PER_S); /* then the same number is a new packet */
    put_fragment(1, 0, 400, 700);
    put_fragment(1, 400, 708, 700);
    CHECK_EQ(u.datagrams, 1);
    CHECK_EQ(u.sum, 0);
    stop();
}

TEST(fragments_are_bounded)
{
    const struct stack_counters *counters;

    (void)begin();
    counters = stack_counters(s.stack);
    for (uint32_t i = 0; i < 1000u; i++) { /* a flood of beginnings */
        put_fragment((uint16_t)i, 0, 400, 1300);
        CHECK(sim_buffers_used(s.sim, 0) <= REASSEMBLY_PACKETS);
    }
    CHECK_EQ(counters->ip_reassembly_failed, 1000u - REASSEMBLY_PACKETS);
    for (uint32_t i = 0; i < 1000u; i++) { /* and of tiny pieces of two packets */
        put_fragment((uint16_t)(2000u + i % 2u), 8u * (i / 2u), 8u * (i / 2u) + 8u, 60000);
        CHECK(s.stack->fragments_held <= REASSEMBLY_BUFFERS);
    }
    sim_run(s.sim, 31u * NS_PER_S);
    CHECK_EQ(s.stack->fragments_held, 0);
    put_fragment(1, 0, 400, 700);
    put_fragment(1, 400, 708, 700);
    CHECK_EQ(u.datagrams, 1);
    stop();
}

/* ---- Two stacks ------------------------------------------------------------------------------*/

static void echo_back(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    (void)user;
    status_t status = datagram->v6 != NULL
                          ? udp_send_v6(socket, datagram->v6, datagram->source_port, datagram->data,
                                        datagram->length)
                          : udp_send(socket, datagram->source, datagram->source_port,
                                     datagram->data, datagram->length);
    CHECK_EQ(status, STATUS_OK);
}

TEST(large_datagrams_both_ways)
{
    struct sim_config config = {.seed = 8};
    struct ipv6_ends ends = {.remote = SIM_ADDRESS6(1)};
    struct udp_socket *client, *server;
    static uint8_t data[60000];

    memset(&u, 0, sizeof u);
    for (uint32_t i = 0; i < sizeof data; i++) {
        data[i] = byte_at(i);
    }
    config.stack[0].ipv6_mode = config.stack[1].ipv6_mode = STACK_IPV6_STATIC;
    struct sim *sim = sim_create(&config);
    CHECK_EQ(udp_bind(sim->stack[0], 0, take_datagram, NULL, &client), STATUS_OK);
    CHECK_EQ(udp_bind(sim->stack[1], 7, echo_back, NULL, &server), STATUS_OK);
    sim_run(sim, 2u * NS_PER_S);
    CHECK_EQ(udp_send(client, SIM_ADDRESS(1), 7, "", 0), STATUS_OK); /* ARP */
    CHECK_EQ(udp_send_v6(client, &ends, 7, "", 0), STATUS_OK);
    sim_run(sim, NS_PER_S);
    CHECK_EQ(u.datagrams, 2);
    static const uint32_t sizes[] = {1472, 1473, 1452, 1453, 2000, 3000, 30000, 60000};
    for (unsigned i = 0; i < 8; i++) {
        CHECK_EQ(udp_send(client, SIM_ADDRESS(1), 7, data, sizes[i]), STATUS_OK);
        sim_run(sim, NS_PER_S);
        CHECK_EQ(u.datagrams, 2u * i + 3u);
        CHECK_EQ(u.length, sizes[i]);
        CHECK_EQ(udp_send_v6(client, &ends, 7, data, sizes[i]), STATUS_OK);
        sim_run(sim, NS_PER_S);
        CHECK_EQ(u.datagrams, 2u * i + 4u);
        CHECK_EQ(u.length, sizes[i]);
    }
    CHECK_EQ(u.sum, 0);
    sim_run(sim, 400u * NS_PER_S);
    sim_settle(sim);
    CHECK_EQ(sim_buffers_used(sim, 0) + sim_buffers_used(sim, 1), 0);
    sim_destroy(sim);
}

/* ---- Path MTU and errors ---------------------------------------------------------------------*/

/* A router's message about a packet of ours with these first 8 bytes of payload. */
static void put_icmp(uint8_t code, uint16_t mtu, uint8_t protocol, const uint8_t *first)
{
    uint8_t message[ICMP_BYTES + IPV4_BYTES + 8] = {ICMP_UNREACHABLE, code};
    struct ipv4_header quoted = {.source = SIM_ADDRESS(0),
                                 .destination = SIM_ADDRESS(1),
                                 .total_length = 1500,
                                 .protocol = protocol};

    store_be16(message + 6, mtu);
    ipv4_write(message + ICMP_BYTES, &quoted);
    memcpy(message + ICMP_BYTES + IPV4_BYTES, first, 8);
    store_native16(message + 2, checksum_finish(checksum_add(0, message, sizeof message)));
    script_send_ipv4(&s, PROTOCOL_ICMP, message, sizeof message);
}

static void put_tcp_icmp(uint8_t code, uint16_t mtu, uint32_t sequence)
{
    uint8_t first[8];

    store_be16(first, s.stack_port);
    store_be16(first + 2, s.peer_port);
    store_be32(first + 4, sequence);
    put_icmp(code, mtu, PROTOCOL_TCP, first);
}

TEST(a_smaller_path_makes_smaller_segments)
{
    static const uint8_t offer[] = {2, 4, 5, 0xb4}; /* MSS 1460 */
    static uint8_t data[4000];

    start();
    s.options = offer;
    s.option_bytes = sizeof offer;
    script_send(&s, TCP_SYN, 0);
    s.option_bytes = 0;
    CHECK(script_expect(&s, &got));
    s.seq++;
    s.ack = got.sequence + 1u;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(tcp_send(s.c, data, sizeof data), sizeof data);
    sim_settle(s.sim);
    EXPECT(TCP_ACK, s.ack, s.seq, 1460);
    EXPECT(TCP_ACK, s.ack + 1460u, s.seq, 1460);
    EXPECT(TCP_ACK | TCP_PSH, s.ack + 2920u, s.seq, 1080);
    put_tcp_icmp(ICMP_CODE_TOO_BIG, 1000, s.ack - 1u); /* not on its way */
    put_tcp_icmp(ICMP_CODE_TOO_BIG, 1000, s.ack + 4000u);
    put_tcp_icmp(ICMP_CODE_TOO_BIG, 1500, s.ack); /* no news */
    CHECK(script_quiet(&s));
    CHECK_EQ(tcp_segment_bytes(s.c), 1460);
    put_tcp_icmp(ICMP_CODE_TOO_BIG, 1000, s.ack + 1460u);
    CHECK_EQ(tcp_segment_bytes(s.c), 960);
    uint32_t at = s.ack;
    while (script_expect(&s, &got)) {
        CHECK_EQ(got.sequence, at);
        CHECK(got.length <= 960u && got.length > 0);
        at += got.length;
    }
    CHECK_EQ(at, s.ack + 4000u);
    put_tcp_icmp(ICMP_CODE_TOO_BIG, 100, s.ack); /* nobody's MTU: taken as 552 */
    CHECK_EQ(tcp_segment_bytes(s.c), 512);
    put_tcp_icmp(ICMP_CODE_TOO_BIG, 0, s.ack); /* a router that does not tell: 1492, no news */
    CHECK_EQ(tcp_segment_bytes(s.c), 512);
    s.ack += 4000u;
    s.count = 0;
    script_send(&s, TCP_ACK, 0);
    tcp_abort(s.c);
    sim_settle(s.sim);
    s.peer_port++; /* the next connection to that peer knows */
    s.seq = 5000;
    s.options = offer;
    s.option_bytes = sizeof offer;
    s.count = 0;
    script_handshake(&s);
    s.option_bytes = 0;
    CHECK_EQ(tcp_segment_bytes(s.c), 512);
    tcp_abort(s.c);
    stop();
}

TEST(a_lost_segment_of_before_goes_again_in_pieces)
{
    static const uint8_t offer[] = {2, 4, 5, 0xb4, 4, 2, 1, 1}; /* MSS 1460, SACK */
    static uint8_t data[1460];

    start();
    s.options = offer;
    s.option_bytes = sizeof offer;
    script_send(&s, TCP_SYN, 0);
    s.option_bytes = 0;
    CHECK(script_expect(&s, &got));
    s.seq++;
    s.ack = got.sequence + 1u;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(tcp_send(s.c, data, sizeof data), sizeof data);
    sim_settle(s.sim);
    s.count = 0;
    put_tcp_icmp(ICMP_CODE_TOO_BIG, 576, s.ack);
    s.count = 0;
    sim_run(s.sim, 1500u * NS_PER_MS); /* lost again: the timer, and slow start from one segment */
    CHECK(script_expect(&s, &got));
    CHECK_EQ(got.sequence, s.ack);
    CHECK_EQ(got.length, 536);
    uint32_t end = s.ack + 1460u;
    for (unsigned i = 0; i < 10 && s.ack != end; i++) {
        s.ack = got.sequence + got.length;
        script_send(&s, TCP_ACK, 0);
        if (!script_expect(&s, &got)) {
            break;
        }
    }
    CHECK_EQ(s.ack, end);
    CHECK_EQ(tcp_send_pending(s.c), 0);
    tcp_abort(s.c);
    stop();
}

TEST(errors_reach_their_sockets)
{
    uint8_t first[8] = {0, 7, 0x12, 0x34};
    struct tcp_info info;

    (void)begin();
    put_icmp(ICMP_CODE_PORT_UNREACHABLE, 0, PROTOCOL_UDP, first);
    CHECK_EQ(u.errors, 1);
    CHECK_EQ(u.error.status, STATUS_UNREACHABLE);
    CHECK_EQ(u.error.port, 0x1234);
    CHECK_EQ(u.error.address, SIM_ADDRESS(1));
    put_icmp(ICMP_CODE_TOO_BIG, 1280, PROTOCOL_UDP, first);
    CHECK_EQ(u.error.status, STATUS_TOO_LARGE);
    CHECK_EQ(u.error.mtu_bytes, 1280);
    first[1] = 8; /* nobody there */
    put_icmp(ICMP_CODE_PORT_UNREACHABLE, 0, PROTOCOL_UDP, first);
    CHECK_EQ(u.errors, 2);
    script_handshake(&s);
    (void)tcp_send(s.c, "x", 1);
    sim_settle(s.sim);
    put_tcp_icmp(ICMP_CODE_PORT_UNREACHABLE, 0, s.ack); /* does not end what is open */
    CHECK_EQ(state(), TCP_ESTABLISHED);
    tcp_info(s.c, &info);
    sim_run(s.sim, 1000u * NS_PER_S); /* but tells why in the end */
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(s.reason, STATUS_UNREACHABLE);
    stop();
}
