// SPDX-License-Identifier: MIT OR Apache-2.0
/* One stack against hand-made segments: what the RFCs ask for, state by state. */
#include "lib/net/script_fake.h"
#include "tests/check.h"

static struct script s;
static struct tcp_segment got;

static enum tcp_state state(void)
{
    struct tcp_info info;

    for (uint32_t i = 0; i < stack_connections_max(s.stack); i++) {
        if (stack_connection(s.stack, i, &info)) {
            return info.state;
        }
    }
    return TCP_CLOSED;
}

/* The next segment has these flags, sequence and acknowledgment, and `length` bytes. */
#define EXPECT(wanted_flags, wanted_seq, wanted_ack, wanted_length)                                \
    do {                                                                                           \
        bool any = script_expect(&s, &got);                                                        \
        CHECK(any);                                                                                \
        if (any) {                                                                                 \
            CHECK_EQ(got.flags, wanted_flags);                                                     \
            CHECK_EQ(got.sequence, (uint32_t)(wanted_seq));                                        \
            CHECK_EQ(got.acknowledgment, (uint32_t)(wanted_ack));                                  \
            CHECK_EQ(got.length, wanted_length);                                                   \
        }                                                                                          \
    } while (0)

static void start(void)
{
    script_start(&s, NULL);
}

static void open_connection(void)
{
    start();
    script_handshake(&s);
    CHECK_EQ(s.accepted, 1);
    CHECK(script_quiet(&s));
}

static void stop(void)
{
    sim_run(s.sim, 1000u * NS_PER_S);
    CHECK_EQ(sim_buffers_used(s.sim, 0), 0);
    script_stop(&s);
}

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

TEST(a_full_backlog_drops_the_oldest)
{
    start();
    for (unsigned i = 0; i < 10; i++) {
        s.peer_port = (uint16_t)(40000u + i);
        script_send(&s, TCP_SYN, 0);
        CHECK(script_expect(&s, &got));
    }
    CHECK_EQ(stack_connections(s.stack), 4);
    CHECK_EQ(stack_counters(s.stack)->tcp_syn_dropped, 6);
    s.seq++;
    s.ack = got.sequence + 1u;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(s.accepted, 1);
    tcp_abort(s.c);
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

    struct ipv4_header header = {SIM_ADDRESS(0), SIM_ADDRESS(1), 40, PROTOCOL_TCP};
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

/* ---- Synchronized states ---------------------------------------------------------------------*/

TEST(reset_needs_the_exact_sequence)
{
    open_connection();
    s.seq += 10;
    script_send(&s, TCP_RST, 0);
    EXPECT(TCP_ACK, s.ack, 1001, 0); /* RFC 5961, 3.2 */
    s.seq -= 11;
    script_send(&s, TCP_RST, 0);
    CHECK(script_quiet(&s));
    s.seq += 1u << 20;
    script_send(&s, TCP_RST, 0);
    CHECK(script_quiet(&s));
    CHECK_EQ(s.closed, 0);
    s.seq = 1001;
    script_send(&s, TCP_RST, 0);
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(s.reason, STATUS_RESET);
    stop();
}

TEST(syn_in_a_connection_is_challenged)
{
    open_connection();
    script_send(&s, TCP_SYN, 0);
    EXPECT(TCP_ACK, s.ack, 1001, 0);
    script_send(&s, TCP_SYN, 0); /* limited */
    CHECK(script_quiet(&s));
    sim_run(s.sim, NS_PER_S);
    script_send(&s, TCP_SYN | TCP_ACK, 0);
    EXPECT(TCP_ACK, s.ack, 1001, 0);
    CHECK_EQ(state(), TCP_ESTABLISHED);
    CHECK_EQ(stack_counters(s.stack)->tcp_challenge_acks, 2);
    tcp_abort(s.c);
    stop();
}

TEST(acks_out_of_range_are_challenged)
{
    open_connection();
    s.ack += 1;
    script_send(&s, TCP_ACK, 5);
    EXPECT(TCP_ACK, s.ack - 1u, 1001, 0);
    CHECK_EQ(s.received, 0);
    sim_run(s.sim, NS_PER_S);
    s.ack -= 1u + 70000u; /* older than any window */
    script_send(&s, TCP_ACK, 5);
    EXPECT(TCP_ACK, s.ack + 70000u, 1001, 0);
    CHECK_EQ(s.received, 0);
    tcp_abort(s.c);
    stop();
}

TEST(data_without_ack_is_dropped)
{
    open_connection();
    script_send(&s, TCP_PSH, 5);
    CHECK(script_quiet(&s));
    CHECK_EQ(s.received, 0);
    tcp_abort(s.c);
    stop();
}

TEST(acknowledgement_is_delayed_or_carried)
{
    open_connection();
    script_send(&s, TCP_ACK, 100);
    CHECK_EQ(s.received, 100);
    CHECK(script_quiet(&s));
    sim_run(s.sim, 60u * NS_PER_MS);
    EXPECT(TCP_ACK, s.ack, 1101, 0);
    s.answer = "yes";
    s.seq += 100;
    script_send(&s, TCP_ACK, 100);
    EXPECT(TCP_ACK | TCP_PSH, s.ack, 1201, 3);
    s.answer = NULL;
    s.seq += 100;
    s.ack += 3;
    script_send(&s, TCP_ACK, 536);
    CHECK(script_quiet(&s));
    s.seq += 536;
    script_send(&s, TCP_ACK, 536); /* the second full segment */
    EXPECT(TCP_ACK, s.ack, 1201 + 1072, 0);
    tcp_abort(s.c);
    stop();
}

TEST(out_of_order_data_waits_and_is_reported)
{
    static const uint8_t sack_permitted[] = {1, 1, 4, 2};

    start();
    s.options = sack_permitted;
    s.option_bytes = sizeof sack_permitted;
    script_handshake(&s);
    s.option_bytes = 0;
    s.seq = 1001 + 100;
    script_send(&s, TCP_ACK, 100);
    EXPECT(TCP_ACK, s.ack, 1001, 0);
    CHECK_EQ(got.sack_count, 1);
    CHECK_EQ(got.sack[0].start, 1101);
    CHECK_EQ(got.sack[0].end, 1201);
    s.seq = 1001 + 300;
    script_send(&s, TCP_ACK, 100);
    EXPECT(TCP_ACK, s.ack, 1001, 0);
    CHECK_EQ(got.sack_count, 2);
    CHECK_EQ(got.sack[0].start, 1301);
    CHECK_EQ(got.sack[1].start, 1101);
    s.seq = 1001 + 50; /* overlaps both ways */
    script_send(&s, TCP_ACK, 300);
    EXPECT(TCP_ACK, s.ack, 1001, 0);
    CHECK_EQ(got.sack_count, 1);
    CHECK_EQ(got.sack[0].start, 1051);
    CHECK_EQ(got.sack[0].end, 1401);
    s.seq = 1001;
    script_send(&s, TCP_ACK, 60);
    EXPECT(TCP_ACK, s.ack, 1401, 0);
    CHECK_EQ(s.received, 400);
    s.seq = 1001;
    script_send(&s, TCP_ACK, 400); /* all of it again */
    EXPECT(TCP_ACK, s.ack, 1401, 0);
    CHECK_EQ(s.received, 400);
    tcp_abort(s.c);
    stop();
}

TEST(old_timestamps_are_dropped)
{
    uint8_t options[] = {1, 1, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0};

    start();
    s.options = options;
    s.option_bytes = sizeof options;
    script_handshake(&s);
    options[7] = 5;
    script_send(&s, TCP_ACK, 10);
    CHECK_EQ(s.received, 10);
    sim_run(s.sim, NS_PER_S);
    CHECK(script_expect(&s, &got));
    CHECK_EQ(got.timestamp_echo, 0x105);
    s.seq += 10;
    options[7] = 4;
    script_send(&s, TCP_ACK, 10);
    CHECK_EQ(s.received, 10);
    CHECK_EQ(stack_counters(s.stack)->tcp_paws_dropped, 1);
    CHECK(script_expect(&s, &got));
    s.option_bytes = 0; /* agreed, but missing */
    script_send(&s, TCP_ACK, 10);
    CHECK_EQ(s.received, 10);
    s.option_bytes = sizeof options;
    options[7] = 6;
    script_send(&s, TCP_ACK, 10);
    CHECK_EQ(s.received, 20);
    tcp_abort(s.c);
    stop();
}

TEST(retransmission_backs_off)
{
    open_connection();
    CHECK_EQ(tcp_send(s.c, "abc", 3), 3);
    sim_settle(s.sim);
    EXPECT(TCP_ACK | TCP_PSH, s.ack, 1001, 3);
    time_ns_t last = s.sim->now;
    time_ns_t gap = 0;
    for (unsigned i = 0; i < 6; i++) {
        while (script_quiet(&s)) {
            CHECK(sim_step(s.sim, s.sim->now + 100u * NS_PER_S));
        }
        EXPECT(TCP_ACK | TCP_PSH, s.ack, 1001, 3);
        CHECK(gap == 0 || (s.sim->now - last > 2u * gap - 10u * NS_PER_MS &&
                           s.sim->now - last < 2u * gap + 10u * NS_PER_MS));
        gap = s.sim->now - last;
        last = s.sim->now;
    }
    CHECK(gap > 6u * NS_PER_S && gap < 7u * NS_PER_S); /* 200 ms doubled five times */
    sim_run(s.sim, 2000u * NS_PER_S);
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(s.reason, STATUS_TIMED_OUT);
    s.count = 0;
    stop();
}

TEST(three_duplicates_retransmit_at_once)
{
    uint8_t data[536 * 8] = {0};

    open_connection();
    CHECK_EQ(tcp_send(s.c, data, sizeof data), sizeof data);
    sim_settle(s.sim);
    uint32_t first = s.ack;
    for (unsigned i = 0; i < 8; i++) {
        CHECK(script_expect(&s, &got));
    }
    CHECK(script_quiet(&s));
    script_send(&s, TCP_ACK, 0);
    script_send(&s, TCP_ACK, 0);
    CHECK(script_quiet(&s));
    script_send(&s, TCP_ACK, 0);
    EXPECT(TCP_ACK, first, 1001, 536);
    CHECK_EQ(stack_counters(s.stack)->tcp_fast_retransmits, 1);
    s.ack = first + 536 * 3; /* partial: the next hole follows at once */
    script_send(&s, TCP_ACK, 0);
    EXPECT(TCP_ACK, first + 536 * 3, 1001, 536);
    s.ack = first + 536 * 8;
    script_send(&s, TCP_ACK, 0);
    CHECK(script_quiet(&s));
    tcp_abort(s.c);
    stop();
}

TEST(a_closed_window_is_probed)
{
    open_connection();
    s.window = 0;
    script_send(&s, TCP_ACK, 1);
    s.seq++;
    CHECK_EQ(tcp_send(s.c, "abcdef", 6), 6);
    sim_run(s.sim, 100u * NS_PER_MS);
    CHECK(script_expect(&s, &got)); /* the acknowledgement only */
    CHECK_EQ(got.length, 0);
    CHECK(script_quiet(&s));
    for (unsigned i = 0; i < 20; i++) {
        sim_run(s.sim, 61u * NS_PER_S);
        CHECK(script_expect(&s, &got));
        CHECK_EQ(got.sequence, s.ack - 1u);
        script_send(&s, TCP_ACK, 0);
        s.count = 0;
    }
    CHECK_EQ(s.closed, 0);
    s.window = 4; /* less than the data, more than half of what it ever was? no: waits */
    script_send(&s, TCP_ACK, 0);
    CHECK(script_quiet(&s));
    sim_run(s.sim, 61u * NS_PER_S);
    CHECK(script_expect(&s, &got)); /* the override timer sends what fits */
    CHECK_EQ(got.length, 4);
    s.ack += 4;
    s.window = 1000;
    s.count = 0;
    script_send(&s, TCP_ACK, 0);
    EXPECT(TCP_ACK | TCP_PSH, s.ack, 1002, 2);
    tcp_abort(s.c);
    stop();
}

TEST(a_paused_reader_closes_and_opens_the_window)
{
    struct stack_config config = {.receive_window_bytes = 4096};

    script_start(&s, &config);
    script_handshake(&s);
    s.consume = 100;
    for (unsigned i = 0; i < 8; i++) {
        script_send(&s, TCP_ACK, 512);
        s.seq += 512;
    }
    CHECK_EQ(s.received, 100);
    sim_run(s.sim, NS_PER_S);
    while (script_expect(&s, &got)) {
    }
    CHECK_EQ(got.acknowledgment, 1001 + 4096);
    CHECK_EQ(got.window, 0);
    script_send(&s, TCP_ACK, 1); /* a probe: refused, answered */
    EXPECT(TCP_ACK, s.ack, 1001 + 4096, 0);
    CHECK_EQ(got.window, 0);
    s.consume = 10000;
    tcp_receive_resume(s.c);
    sim_settle(s.sim);
    CHECK_EQ(s.received, 4096);
    EXPECT(TCP_ACK, s.ack, 1001 + 4096, 0);
    CHECK_EQ(got.window, 4096);
    tcp_abort(s.c);
    stop();
}

/* ---- Closing ---------------------------------------------------------------------------------*/

TEST(passive_close)
{
    open_connection();
    script_send(&s, TCP_FIN | TCP_ACK, 5);
    EXPECT(TCP_ACK, s.ack, 1007, 0);
    CHECK_EQ(s.ended, 1);
    CHECK_EQ(s.received, 5);
    CHECK_EQ(state(), TCP_CLOSE_WAIT);
    tcp_shutdown(s.c);
    sim_settle(s.sim);
    EXPECT(TCP_FIN | TCP_ACK, s.ack, 1007, 0);
    CHECK_EQ(state(), TCP_LAST_ACK);
    s.seq += 6;
    s.ack++;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(s.reason, STATUS_OK);
    CHECK_EQ(stack_connections(s.stack), 0);
    stop();
}

TEST(active_close_waits_for_two_lifetimes)
{
    open_connection();
    tcp_shutdown(s.c);
    sim_settle(s.sim);
    EXPECT(TCP_FIN | TCP_ACK, s.ack, 1001, 0);
    CHECK_EQ(state(), TCP_FIN_WAIT_1);
    s.ack++;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(state(), TCP_FIN_WAIT_2);
    script_send(&s, TCP_ACK, 7); /* half-closed: data still comes */
    s.seq += 7;
    CHECK_EQ(s.received, 7);
    script_send(&s, TCP_FIN | TCP_ACK, 0);
    EXPECT(TCP_ACK, s.ack, 1009, 0);
    CHECK_EQ(state(), TCP_TIME_WAIT);
    CHECK_EQ(s.ended, 1);
    CHECK_EQ(s.closed, 1);
    sim_run(s.sim, 50u * NS_PER_S);
    script_send(&s, TCP_FIN | TCP_ACK, 0); /* our ACK was lost: the time starts again */
    EXPECT(TCP_ACK, s.ack, 1009, 0);
    sim_run(s.sim, 50u * NS_PER_S);
    CHECK_EQ(state(), TCP_TIME_WAIT);
    sim_run(s.sim, 11u * NS_PER_S);
    CHECK_EQ(stack_connections(s.stack), 0);
    stop();
}

TEST(simultaneous_close)
{
    open_connection();
    tcp_shutdown(s.c);
    sim_settle(s.sim);
    EXPECT(TCP_FIN | TCP_ACK, s.ack, 1001, 0);
    script_send(&s, TCP_FIN | TCP_ACK, 0); /* does not acknowledge ours */
    EXPECT(TCP_ACK, s.ack + 1u, 1002, 0);
    CHECK_EQ(state(), TCP_CLOSING);
    s.seq++;
    s.ack++;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(state(), TCP_TIME_WAIT);
    CHECK_EQ(s.closed, 1);
    stop();
}

TEST(data_for_nobody_resets)
{
    open_connection();
    tcp_close(s.c);
    sim_settle(s.sim);
    EXPECT(TCP_FIN | TCP_ACK, s.ack, 1001, 0);
    s.ack++;
    script_send(&s, TCP_ACK, 10);
    CHECK(script_expect(&s, &got));
    CHECK_EQ(got.flags, TCP_RST | TCP_ACK);
    CHECK_EQ(got.sequence, s.ack);
    CHECK_EQ(stack_connections(s.stack), 0);
    CHECK_EQ(s.closed, 0);
    stop();
}

TEST(an_orphan_does_not_wait_for_ever)
{
    open_connection();
    tcp_close(s.c);
    sim_settle(s.sim);
    s.ack++;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(state(), TCP_FIN_WAIT_2);
    sim_run(s.sim, 31u * NS_PER_S);
    CHECK_EQ(stack_connections(s.stack), 0);
    stop();
}

TEST(a_fin_out_of_order_waits_for_the_data)
{
    open_connection();
    s.seq += 10;
    script_send(&s, TCP_FIN | TCP_ACK, 0);
    EXPECT(TCP_ACK, s.ack, 1001, 0);
    CHECK_EQ(s.ended, 0);
    s.seq += 5;
    script_send(&s, TCP_ACK, 10); /* behind the end: never delivered */
    s.count = 0;
    s.seq = 1001;
    script_send(&s, TCP_ACK, 10);
    EXPECT(TCP_ACK, s.ack, 1012, 0);
    CHECK_EQ(s.ended, 1);
    CHECK_EQ(s.received, 10);
    tcp_abort(s.c);
    stop();
}

TEST(time_wait_gives_way_to_a_new_connection)
{
    open_connection();
    tcp_close(s.c);
    sim_settle(s.sim);
    s.ack++;
    script_send(&s, TCP_FIN | TCP_ACK, 0);
    CHECK_EQ(state(), TCP_TIME_WAIT);
    s.count = 0;
    s.seq = 900; /* an old SYN: acknowledged only */
    script_send(&s, TCP_SYN, 0);
    CHECK(script_expect(&s, &got));
    CHECK_EQ(got.flags, TCP_ACK);
    s.seq = 5000;
    script_handshake(&s);
    CHECK_EQ(s.accepted, 2);
    tcp_abort(s.c);
    stop();
}

TEST(keepalive_finds_a_dead_peer)
{
    open_connection();
    tcp_set_keepalive(s.c, 100u * NS_PER_S);
    sim_run(s.sim, 101u * NS_PER_S);
    CHECK(script_expect(&s, &got));
    CHECK_EQ(got.sequence, s.ack - 1u);
    script_send(&s, TCP_ACK, 0);
    sim_run(s.sim, 99u * NS_PER_S);
    CHECK(script_quiet(&s));
    sim_run(s.sim, 60u * NS_PER_S);
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(s.reason, STATUS_TIMED_OUT);
    stop();
}

TEST(a_lost_address_ends_everything)
{
    struct interface_address none = {.address = IPV4_ANY};

    open_connection();
    stack_set_address(s.stack, &none);
    sim_settle(s.sim);
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(s.reason, STATUS_UNREACHABLE);
    CHECK_EQ(stack_connections(s.stack), 0);
    stop();
}
