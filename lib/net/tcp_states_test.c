// SPDX-License-Identifier: MIT OR Apache-2.0
/* One stack against hand-made segments: open and closing connections as the RFCs ask for. */
#include "lib/net/script_test.h"

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

TEST(holes_between_selective_acknowledgements_are_filled)
{
    static const uint8_t sack_permitted[] = {1, 1, 4, 2};
    uint8_t sack[20] = {1, 1, 5, 18};
    uint8_t data[536 * 10] = {0};

    start();
    s.options = sack_permitted;
    s.option_bytes = sizeof sack_permitted;
    script_handshake(&s);
    s.option_bytes = 0;
    uint32_t first = s.ack;
    CHECK_EQ(tcp_send(s.c, data, sizeof data), sizeof data);
    sim_settle(s.sim);
    CHECK_EQ(s.count, 10);
    s.count = 0;
    /* The first, the fourth and the last are missing. */
    store_be32(sack + 4, first + 536 * 4);
    store_be32(sack + 8, first + 536 * 9);
    store_be32(sack + 12, first + 536);
    store_be32(sack + 16, first + 536 * 3);
    s.options = sack;
    s.option_bytes = sizeof sack;
    script_send(&s, TCP_ACK, 0);
    bool any = script_expect(&s, &got);
    CHECK(any && got.sequence == first && got.length == 536);
    any = script_expect(&s, &got);
    CHECK(any && got.sequence == first + 536 * 3 && got.length == 536);
    CHECK(script_quiet(&s));
    /* Nonsense about what was never sent, or is long acknowledged, changes nothing. */
    store_be32(sack + 4, first + 536 * 20);
    store_be32(sack + 8, first + 536 * 30);
    store_be32(sack + 12, first - 100u);
    store_be32(sack + 16, first + 100u);
    script_send(&s, TCP_ACK, 0);
    CHECK(script_quiet(&s));
    s.option_bytes = 0;
    s.ack = first + 536 * 9; /* partial: the last one was lost too */
    script_send(&s, TCP_ACK, 0);
    any = script_expect(&s, &got);
    CHECK(any && got.sequence == first + 536 * 9 && got.length == 536);
    s.ack = first + 536 * 10;
    script_send(&s, TCP_ACK, 0);
    CHECK(script_quiet(&s));
    CHECK_EQ(stack_counters(s.stack)->tcp_fast_retransmits, 1);
    CHECK_EQ(stack_counters(s.stack)->tcp_retransmits, 3);
    CHECK_EQ(stack_counters(s.stack)->tcp_timeouts, 0);
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
