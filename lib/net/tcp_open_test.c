// SPDX-License-Identifier: MIT OR Apache-2.0
/* One stack against hand-made segments: opening connections as the RFCs ask for. */
#include "lib/net/script_test.h"

/* ---- No connection, LISTEN, SYN-RECEIVED -----------------------------------------------------*/

TEST(closed_port_resets)
{
    start();
    s.stack_port = 81;
    script_send(&s, TCP_SYN, 0);
    EXPECT(TCP_RST | TCP_ACK, 0, 1001, 0);
    s.ack = 777;
    script_send(&s, TCP_ACK, 5);
    EXPECT(TCP_RST, 777, 0, 0);
    script_send(&s, TCP_RST | TCP_ACK, 0);
    CHECK(script_quiet(&s));
    CHECK_EQ(stack_counters(s.stack)->tcp_no_connection, 2);
    stop();
}

TEST(listen_answers_ack_with_reset_and_ignores_reset)
{
    start();
    s.ack = 5;
    script_send(&s, TCP_ACK, 0);
    EXPECT(TCP_RST, 5, 0, 0);
    script_send(&s, TCP_RST, 0);
    script_send(&s, TCP_SYN | TCP_FIN, 0);
    script_send(&s, 0, 0);
    CHECK(script_quiet(&s));
    CHECK_EQ(stack_connections(s.stack), 0);
    stop();
}

TEST(syn_options_are_agreed)
{
    static const uint8_t all[] = {2, 4, 0x02, 0x00, 4, 2, 8, 10, 0, 0,
                                  0, 9, 0,    0,    0, 0, 1, 3,  3, 5};

    start();
    s.options = all;
    s.option_bytes = sizeof all;
    script_send(&s, TCP_SYN, 0);
    CHECK(script_expect(&s, &got));
    CHECK_EQ(got.mss, 1460);
    CHECK(got.has_timestamps && got.sack_permitted && got.has_window_scale);
    CHECK_EQ(got.timestamp_echo, 9);
    CHECK_EQ(got.window_scale, 3); /* 256 KiB */
    s.option_bytes = 0;
    s.peer_port++;
    script_send(&s, TCP_SYN, 0);
    CHECK(script_expect(&s, &got));
    CHECK(!got.has_timestamps && !got.sack_permitted && !got.has_window_scale);
    stop();
}

TEST(syn_ack_is_repeated_and_given_up)
{
    start();
    script_send(&s, TCP_SYN, 0);
    CHECK(script_expect(&s, &got));
    uint32_t iss = got.sequence;
    /* The peer's own retransmission gets the same answer. */
    script_send(&s, TCP_SYN, 0);
    EXPECT(TCP_SYN | TCP_ACK, iss, 1001, 0);
    sim_run(s.sim, 200u * NS_PER_S);
    for (unsigned i = 0; i < TCP_SYN_RETRIES; i++) {
        EXPECT(TCP_SYN | TCP_ACK, iss, 1001, 0);
    }
    CHECK_EQ(stack_connections(s.stack), 0);
    CHECK_EQ(s.accepted, 0);
    stop();
}

TEST(syn_received_takes_only_the_right_ack)
{
    start();
    script_send(&s, TCP_SYN, 0);
    CHECK(script_expect(&s, &got));
    uint32_t iss = got.sequence;
    s.seq++;
    s.ack = iss + 2u;
    script_send(&s, TCP_ACK, 0);
    EXPECT(TCP_RST, iss + 2u, 0, 0);
    CHECK_EQ(state(), TCP_SYN_RECEIVED);
    s.ack = iss;
    script_send(&s, TCP_ACK, 0);
    EXPECT(TCP_RST, iss, 0, 0);
    s.ack = iss + 1u;
    script_send(&s, TCP_ACK, 10);
    CHECK_EQ(s.accepted, 1);
    CHECK_EQ(s.received, 10);
    tcp_abort(s.c);
    stop();
}

TEST(a_reset_ends_a_half_open_connection)
{
    start();
    script_send(&s, TCP_SYN, 0);
    s.seq++;
    script_send(&s, TCP_RST, 0);
    CHECK_EQ(stack_connections(s.stack), 0);
    CHECK_EQ(s.accepted + s.closed, 0);
    stop();
}

/* Ten SYNs at a backlog of four; `got` is the answer to the last one, which kept nothing. */
static void flood(void)
{
    start();
    for (unsigned i = 0; i < 10; i++) {
        s.peer_port = (uint16_t)(40000u + i);
        script_send(&s, TCP_SYN, 0);
        EXPECT(TCP_SYN | TCP_ACK, got.sequence, s.seq + 1u, 0);
    }
    CHECK_EQ(stack_connections(s.stack), 4);
    CHECK_EQ(stack_counters(s.stack)->tcp_syn_cookies_sent, 6);
}

TEST(a_full_backlog_answers_with_cookies)
{
    flood();
    s.seq++;
    s.ack = got.sequence + 1u;
    script_send(&s, TCP_ACK, 7);
    CHECK_EQ(s.accepted, 1);
    CHECK_EQ(s.received, 7);
    CHECK_EQ(stack_counters(s.stack)->tcp_syn_cookies_taken, 1);
    CHECK_EQ(tcp_segment_bytes(s.c), 536);
    tcp_abort(s.c);
    stop();
}

TEST(a_cookie_remembers_the_options)
{
    /* MSS 1452, SACK, timestamps, window scale 9. */
    static const uint8_t offers[] = {2, 4, 5, 0xac, 4, 2, 8, 10, 0, 0,
                                     3, 9, 0, 0,    0, 0, 1, 3,  3, 9};
    uint8_t answer[12] = {1, 1, 8, 10, 0, 0, 3, 10};

    flood();
    s.options = offers;
    s.option_bytes = sizeof offers;
    s.peer_port = 50000;
    script_send(&s, TCP_SYN, 0);
    EXPECT(TCP_SYN | TCP_ACK, got.sequence, s.seq + 1u, 0);
    CHECK(got.has_timestamps && got.sack_permitted && got.has_window_scale);
    CHECK_EQ(got.timestamp_echo, 0x309);
    CHECK(!seq_after(got.timestamp, tcp_timestamp_now(s.stack)));
    CHECK(tcp_timestamp_now(s.stack) - got.timestamp < 128u);
    store_be32(answer + 8, got.timestamp);
    s.options = answer;
    s.option_bytes = sizeof answer;
    s.seq++;
    s.ack = got.sequence + 1u;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(s.accepted, 1);
    if (s.c != NULL) {
        CHECK_EQ(s.c->send_shift, 9);
        CHECK_EQ(tcp_segment_bytes(s.c), 1440 - 12);
        CHECK((s.c->flags & TCP_FLAG_SACK) != 0);
        tcp_abort(s.c);
    }
    stop();
}

TEST(made_up_and_old_cookies_open_nothing)
{
    struct tcp_segment reset;

    flood();
    s.seq++;
    for (unsigned bit = 0; bit < 32; bit++) {
        s.ack = (got.sequence ^ 1u << bit) + 1u;
        script_send(&s, TCP_ACK, 0);
        CHECK(script_expect(&s, &reset));
        CHECK_EQ(reset.flags, TCP_RST);
    }
    s.ack = got.sequence + 1u;
    s.seq++; /* another peer sequence */
    script_send(&s, TCP_ACK, 0);
    s.seq--;
    CHECK_EQ(s.accepted, 0);
    sim_run(s.sim, 130u * NS_PER_S); /* the half-open ones have gone */
    s.count = 0;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(s.accepted, 0);
    EXPECT(TCP_RST, s.ack, 0, 0);
    stop();
}

TEST(the_application_may_refuse)
{
    start();
    s.refuse = true;
    script_handshake(&s);
    CHECK(script_expect(&s, &got));
    CHECK_EQ(got.flags, TCP_RST | TCP_ACK);
    CHECK_EQ(stack_connections(s.stack), 0);
    CHECK_EQ(s.closed, 0);
    stop();
}

/* ---- SYN-SENT --------------------------------------------------------------------------------*/

static uint32_t connect_out(void)
{
    struct tcp_connect_request request = {.address = SIM_ADDRESS(1),
                                          .port = 7000,
                                          .local_port = 7001,
                                          .ops = &script_ops,
                                          .user = &s};

    start();
    s.peer_port = 7000;
    s.stack_port = 7001;
    CHECK_EQ(tcp_connect(s.stack, &request, &s.c), STATUS_OK);
    struct tcp_connection *second;
    CHECK_EQ(tcp_connect(s.stack, &request, &second), STATUS_IN_USE);
    sim_settle(s.sim);
    CHECK(script_expect(&s, &got));
    CHECK_EQ(got.flags, TCP_SYN);
    return got.sequence;
}

TEST(syn_sent_connects)
{
    uint32_t iss = connect_out();

    s.ack = iss + 1u;
    script_send(&s, TCP_SYN | TCP_ACK, 0);
    EXPECT(TCP_ACK, iss + 1u, 1001, 0);
    CHECK_EQ(s.connected, 1);
    CHECK_EQ(state(), TCP_ESTABLISHED);
    tcp_abort(s.c);
    stop();
}

TEST(syn_sent_checks_the_ack)
{
    uint32_t iss = connect_out();

    s.ack = iss;
    script_send(&s, TCP_SYN | TCP_ACK, 0);
    EXPECT(TCP_RST, iss, 0, 0);
    s.ack = iss + 2u;
    script_send(&s, TCP_RST | TCP_ACK, 0);
    CHECK_EQ(s.closed, 0);
    script_send(&s, TCP_RST, 0);
    CHECK_EQ(s.closed, 0);
    s.ack = iss + 1u;
    script_send(&s, TCP_RST | TCP_ACK, 0);
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(s.reason, STATUS_RESET);
    stop();
}

TEST(simultaneous_open)
{
    uint32_t iss = connect_out();

    script_send(&s, TCP_SYN, 0);
    EXPECT(TCP_SYN | TCP_ACK, iss, 1001, 0);
    CHECK_EQ(state(), TCP_SYN_RECEIVED);
    s.ack = iss + 1u;
    script_send(&s, TCP_SYN | TCP_ACK, 0); /* the peer did the same */
    s.seq++;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(s.connected, 1);
    CHECK_EQ(state(), TCP_ESTABLISHED);
    tcp_abort(s.c);
    stop();
}

TEST(hard_icmp_errors_end_only_an_opening)
{
    uint32_t iss = connect_out();
    uint8_t icmp[8 + 28] = {3, 3};

    struct ipv4_header header = {.source = SIM_ADDRESS(0),
                                 .destination = SIM_ADDRESS(1),
                                 .total_length = 40,
                                 .protocol = PROTOCOL_TCP};
    ipv4_write(icmp + 8, &header);
    store_be16(icmp + 28, 7001);
    store_be16(icmp + 30, 7000);
    store_be32(icmp + 32, iss + 99u); /* not ours */
    store_native16(icmp + 2, checksum_finish(checksum_add(0, icmp, sizeof icmp)));
    script_send_ipv4(&s, PROTOCOL_ICMP, icmp, sizeof icmp);
    CHECK_EQ(s.closed, 0);
    store_be32(icmp + 32, iss);
    store_native16(icmp + 2, 0);
    store_native16(icmp + 2, checksum_finish(checksum_add(0, icmp, sizeof icmp)));
    script_send_ipv4(&s, PROTOCOL_ICMP, icmp, sizeof icmp);
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(s.reason, STATUS_UNREACHABLE);
    stop();
}
