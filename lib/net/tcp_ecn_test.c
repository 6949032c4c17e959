// SPDX-License-Identifier: MIT OR Apache-2.0
/* Explicit congestion notification (RFC 3168) against hand-made segments, and over a wire whose
 * router marks instead of dropping. */
#include "lib/net/script_test.h"

#define MSS 536u

/* The mark of the packet that script_expect has just taken. */
static uint32_t mark(void)
{
    return got.ip->header[1] & 3u;
}

/* The peer asks for ECN; whether we agree. */
static bool open_asking(uint8_t flags)
{
    start();
    script_send(&s, TCP_SYN | flags, 0);
    bool any = script_expect(&s, &got);
    VERIFY(any && (got.flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK));
    CHECK_EQ(mark(), IP_NOT_ECT);
    s.seq++;
    s.ack = got.sequence + 1u;
    script_send(&s, TCP_ACK, 0);
    return (got.flags & (TCP_ECE | TCP_CWR)) == TCP_ECE;
}

/* Sends data from the peer in a packet that a router has marked. */
static void send_marked(uint32_t length)
{
    uint8_t at[TCP_BYTES + 64] = {0};
    uint8_t frame[WIRE_FRAME_BYTES];
    struct ipv4_header header = {.source = SIM_ADDRESS(1),
                                 .destination = SIM_ADDRESS(0),
                                 .total_length = TCP_BYTES + length + IPV4_BYTES,
                                 .protocol = PROTOCOL_TCP,
                                 .ecn = IP_CE};

    store_be16(at, s.peer_port);
    store_be16(at + 2, s.stack_port);
    store_be32(at + 4, s.seq);
    store_be32(at + 8, s.ack);
    store_be16(at + 12, TCP_BYTES << 10 | TCP_ACK);
    store_be16(at + 14, s.window);
    uint64_t sum =
        pseudo_header_sum(SIM_ADDRESS(1), SIM_ADDRESS(0), PROTOCOL_TCP, TCP_BYTES + length);
    store_native16(at + 16, checksum_finish(checksum_add(sum, at, TCP_BYTES + length)));
    ethernet_write(frame, s.sim->wire.end[0].dev.mac, s.sim->wire.end[1].dev.mac, ETHERTYPE_IPV4);
    ipv4_write(frame + ETHERNET_BYTES, &header);
    memcpy(frame + ETHERNET_BYTES + IPV4_BYTES, at, TCP_BYTES + length);
    wire_inject(&s.sim->wire, 0, frame, ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES + length);
    sim_settle(s.sim);
    s.seq += length;
}

static void send_data(uint32_t bytes)
{
    static const uint8_t zeroes[16u * MSS];

    CHECK_EQ(tcp_send(s.c, zeroes, bytes), bytes);
    sim_settle(s.sim);
}

static void end(void)
{
    tcp_abort(s.c);
    stop();
}

TEST(it_is_agreed_to_only_when_asked_for)
{
    CHECK(!open_asking(0));
    send_data(1);
    CHECK(script_expect(&s, &got) && mark() == IP_NOT_ECT);
    end();
    CHECK(!open_asking(TCP_ECE));
    end();
    CHECK(open_asking(TCP_ECE | TCP_CWR));
    send_data(1);
    CHECK(script_expect(&s, &got) && mark() == IP_ECT_0);
    sim_run(s.sim, NS_PER_S); /* what is sent again has no mark */
    CHECK(script_expect(&s, &got) && got.length == 1 && mark() == IP_NOT_ECT);
    end();
}

TEST(a_mark_is_echoed_until_the_peer_has_reduced)
{
    CHECK(open_asking(TCP_ECE | TCP_CWR));
    send_marked(10);
    EXPECT(TCP_ACK | TCP_ECE, s.ack, s.seq, 0);
    CHECK_EQ(mark(), IP_NOT_ECT); /* bare acknowledgements have none */
    send_data(1);
    EXPECT(TCP_ACK | TCP_PSH | TCP_ECE, s.ack, s.seq, 1);
    s.ack++;
    script_send(&s, TCP_ACK | TCP_CWR, 10);
    s.seq += 10u;
    sim_run(s.sim, NS_PER_S / 2u);
    EXPECT(TCP_ACK, s.ack, s.seq, 0);
    CHECK_EQ(s.received, 20);
    end();
}

TEST(an_echo_reduces_the_window_once_a_round_trip)
{
    CHECK(open_asking(TCP_ECE | TCP_CWR));
    uint32_t first = s.ack;
    send_data(8u * MSS);
    for (uint32_t n = 0; n < 8u; n++) {
        CHECK(script_expect(&s, &got) && mark() == IP_ECT_0 && (got.flags & TCP_CWR) == 0);
    }
    s.ack = first + MSS;
    script_send(&s, TCP_ACK | TCP_ECE, 0);
    uint32_t reduced = s.c->ssthresh;
    CHECK(reduced <= 8u * MSS * 7u / 10u && reduced >= 2u * MSS);
    s.ack = first + 2u * MSS;
    script_send(&s, TCP_ACK | TCP_ECE, 0); /* the same congestion */
    CHECK_EQ(s.c->ssthresh, reduced);
    CHECK_EQ(stack_counters(s.stack)->tcp_congestion_echoes, 1);
    s.ack = first + 8u * MSS;
    script_send(&s, TCP_ACK | TCP_ECE, 0);
    send_data(MSS);
    CHECK(script_expect(&s, &got) && (got.flags & TCP_CWR) != 0);
    s.ack += MSS;
    script_send(&s, TCP_ACK, 0);
    send_data(MSS);
    CHECK(script_expect(&s, &got) && (got.flags & TCP_CWR) == 0);
    CHECK_EQ(stack_counters(s.stack)->tcp_retransmits, 0);
    end();
}

/* ---- Two stacks ------------------------------------------------------------------------------*/

static struct tcp_connection *opened;
static uint64_t arrived;
static uint64_t marked;

static bool on_accept(struct tcp_connection *c, void *user)
{
    (void)c;
    (void)user;
    return true;
}

static uint32_t on_receive(struct tcp_connection *c, void *user, const uint8_t *data,
                           uint32_t length)
{
    (void)c;
    (void)user;
    (void)data;
    arrived += length;
    return length;
}

static void on_end(struct tcp_connection *c, void *user)
{
    (void)c;
    (void)user;
}

static void on_closed(struct tcp_connection *c, void *user, status_t reason)
{
    (void)c;
    (void)user;
    (void)reason;
    opened = NULL;
}

/* A router that marks every 40th packet that may be marked. */
static bool mark_some(void *user, unsigned from, uint8_t *data, uint32_t length)
{
    static unsigned count;
    uint8_t *ip = data + ETHERNET_BYTES;

    (void)user;
    (void)from;
    (void)length;
    if (load_be16(data + 12) == ETHERTYPE_IPV4 && (ip[1] & 3u) == IP_ECT_0 && ++count % 40u == 0) {
        ip[1] |= IP_CE;
        store_native16(ip + 10, 0);
        store_native16(ip + 10, checksum_finish(ipv4_header_sum(ip)));
        marked++;
    }
    return true;
}

TEST(marks_slow_a_stream_down_without_a_loss)
{
    static const struct tcp_ops ops = {.on_end = on_end,
                                       .on_sendable = on_end,
                                       .on_accept = on_accept,
                                       .on_receive = on_receive,
                                       .on_closed = on_closed};
    static const uint8_t zeroes[65536];
    struct sim_config config = {.seed = 3};

    config.stack[1].ecn = true;
    struct sim *sim = sim_create(&config);
    sim->wire.tap = mark_some;
    sim->wire.faults.delay_ns = 5u * NS_PER_MS;
    CHECK_EQ(tcp_listen(sim->stack[0], 80, 4, &ops, NULL), STATUS_OK);
    struct tcp_connect_request request = {.address = SIM_ADDRESS(0), .port = 80, .ops = &ops};
    CHECK_EQ(tcp_connect(sim->stack[1], &request, &opened), STATUS_OK);
    uint64_t sent = 0;
    for (unsigned n = 0; n < 400u && opened != NULL; n++) {
        sim_run(sim, 5u * NS_PER_MS);
        sent += tcp_send(opened, zeroes, sizeof(zeroes));
    }
    sim_run(sim, 2u * NS_PER_S);
    const struct stack_counters *counters = stack_counters(sim->stack[1]);
    CHECK(arrived == sent && sent > 1000000u);
    CHECK(marked > 10u && counters->tcp_congestion_echoes > 10u);
    CHECK(counters->tcp_congestion_echoes <= marked);
    CHECK_EQ(counters->tcp_retransmits, 0);
    CHECK_EQ(counters->tcp_timeouts, 0);
    sim_destroy(sim);
}
