// SPDX-License-Identifier: MIT OR Apache-2.0
/* Losses found by time, and tail loss probes (RFC 8985), against hand-made acknowledgements. */
#include "lib/net/script_test.h"

#define MSS 536u /* the peer names none */
#define ROUND_TRIP (10u * NS_PER_MS)

static uint8_t options[12];

/* The peer acknowledges `ack` and reports [start, end) as arrived; 0, 0: nothing more. */
static void acknowledge(uint32_t ack, uint32_t start, uint32_t end)
{
    static const uint8_t head[4] = {1, 1, 5, 10};

    memcpy(options, head, sizeof(head));
    store_be32(options + 4, start);
    store_be32(options + 8, end);
    s.options = options;
    s.option_bytes = start != end ? sizeof(options) : 0;
    s.ack = ack;
    script_send(&s, TCP_ACK, 0);
    s.option_bytes = 0;
}

/* The next segment is the one that begins at `sequence`, and a full one. */
#define EXPECT_DATA(sequence_wanted)                                                               \
    do {                                                                                           \
        bool any = script_expect(&s, &got);                                                        \
        CHECK(any &&got.sequence == (uint32_t)(sequence_wanted) && got.length == MSS);             \
    } while (0)

static void send_data(uint32_t segments)
{
    static const uint8_t zeroes[64u * MSS];

    CHECK_EQ(tcp_send(s.c, zeroes, segments * MSS), segments * MSS);
    sim_settle(s.sim);
}

/* A connection with SACK whose round trip of 10 ms is known; the next byte's number. */
static uint32_t open_with_sack(void)
{
    static const uint8_t sack_permitted[] = {1, 1, 4, 2};

    start();
    s.options = sack_permitted;
    s.option_bytes = sizeof(sack_permitted);
    script_handshake(&s);
    s.option_bytes = 0;
    uint32_t next = s.ack;
    for (uint32_t n = 0; n < 40u; n++) {
        send_data(1);
        EXPECT_DATA(next);
        next += MSS;
        sim_run(s.sim, ROUND_TRIP);
        acknowledge(next, 0, 0);
    }
    CHECK(script_quiet(&s));
    CHECK(s.c->srtt_ns > ROUND_TRIP * 9u / 10u && s.c->srtt_ns < ROUND_TRIP * 11u / 10u);
    s.c->cwnd = 10u * MSS;
    return next;
}

/* Sends that many and takes them off the wire. */
static void send_flight(uint32_t first, uint32_t segments)
{
    send_data(segments);
    for (uint32_t n = 0; n < segments; n++) {
        EXPECT_DATA(first + n * MSS);
    }
}

static void end(void)
{
    CHECK_EQ(stack_counters(s.stack)->tcp_timeouts, 0);
    tcp_abort(s.c);
    stop();
}

TEST(a_lost_tail_is_probed_before_the_timeout)
{
    uint32_t first = open_with_sack();

    send_flight(first, 5);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first + 2u * MSS, 0, 0);
    sim_run(s.sim, 2u * ROUND_TRIP);
    CHECK(script_quiet(&s));
    sim_run(s.sim, ROUND_TRIP);
    EXPECT_DATA(first + 4u * MSS);
    CHECK(script_quiet(&s));
    CHECK_EQ(stack_counters(s.stack)->tcp_tail_probes, 1);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first + 2u * MSS, first + 4u * MSS, first + 5u * MSS);
    EXPECT_DATA(first + 2u * MSS);
    EXPECT_DATA(first + 3u * MSS);
    CHECK(script_quiet(&s));
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first + 5u * MSS, 0, 0);
    CHECK(script_quiet(&s));
    end();
}

TEST(new_data_is_the_better_probe)
{
    uint32_t first = open_with_sack();

    send_data(12);
    for (uint32_t n = 0; n < 10u; n++) {
        EXPECT_DATA(first + n * MSS);
    }
    CHECK(script_quiet(&s));
    sim_run(s.sim, 3u * ROUND_TRIP);
    EXPECT_DATA(first + 10u * MSS);
    CHECK(script_quiet(&s));
    sim_run(s.sim, 4u * ROUND_TRIP); /* one probe, then only the timeout */
    CHECK(script_quiet(&s));
    acknowledge(first + 11u * MSS, 0, 0);
    EXPECT_DATA(first + 11u * MSS);
    acknowledge(first + 12u * MSS, 0, 0);
    CHECK_EQ(s.c->ssthresh, 1u << 30); /* nothing was lost */
    end();
}

TEST(a_probe_that_repaired_a_loss_shrinks_the_window)
{
    uint32_t first = open_with_sack();

    send_flight(first, 4);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first + 3u * MSS, 0, 0); /* the last is lost; one alone is left to the timeout */
    acknowledge(first + 3u * MSS, 0, 0);
    send_flight(first + 4u * MSS, 1);
    sim_run(s.sim, 4u * ROUND_TRIP);
    EXPECT_DATA(first + 4u * MSS); /* the probe */
    acknowledge(first + 3u * MSS, first + 4u * MSS, first + 5u * MSS);
    EXPECT_DATA(first + 3u * MSS);
    CHECK(s.c->ssthresh < 1u << 30);
    acknowledge(first + 5u * MSS, 0, 0);
    end();

    first = open_with_sack();
    send_flight(first, 4);
    sim_run(s.sim, 3u * ROUND_TRIP);
    EXPECT_DATA(first + 3u * MSS);
    acknowledge(first + 4u * MSS, 0, 0); /* only one copy arrived */
    CHECK_EQ(s.c->ssthresh, 1u << 30);   /* that is not known yet */
    send_flight(first + 4u * MSS, 1);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first + 5u * MSS, 0, 0);
    CHECK(s.c->ssthresh < 1u << 30);
    end();
}

TEST(a_probe_in_vain_costs_nothing)
{
    uint32_t first = open_with_sack();

    send_flight(first, 4);
    sim_run(s.sim, 3u * ROUND_TRIP);
    EXPECT_DATA(first + 3u * MSS);
    acknowledge(first + 4u * MSS, 0, 0);
    acknowledge(first + 4u * MSS, 0, 0); /* the other copy */
    send_flight(first + 4u * MSS, 1);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first + 5u * MSS, 0, 0);
    CHECK_EQ(s.c->ssthresh, 1u << 30);

    send_flight(first + 5u * MSS, 4);
    sim_run(s.sim, 3u * ROUND_TRIP);
    EXPECT_DATA(first + 8u * MSS);
    acknowledge(first + 9u * MSS, first + 8u * MSS, first + 9u * MSS); /* RFC 2883 */
    send_flight(first + 9u * MSS, 1);
    acknowledge(first + 10u * MSS, 0, 0);
    CHECK_EQ(s.c->ssthresh, 1u << 30);
    end();
}

TEST(a_lost_retransmission_is_found)
{
    uint32_t first = open_with_sack();

    send_flight(first, 5);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first, first + MSS, first + 5u * MSS);
    EXPECT_DATA(first);
    CHECK(script_quiet(&s));
    send_flight(first + 5u * MSS, 2);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first, first + MSS, first + 7u * MSS);
    EXPECT_DATA(first);
    CHECK(script_quiet(&s));
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first + 7u * MSS, 0, 0);
    CHECK_EQ(stack_counters(s.stack)->tcp_fast_retransmits, 1);
    end();
}

/* Reordering is waited for once the network has shown it, and a loss is found all the same. */
TEST(what_was_overtaken_is_not_lost)
{
    uint32_t first = open_with_sack();

    send_flight(first, 5);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first, first + 4u * MSS, first + 5u * MSS);
    CHECK(script_quiet(&s));
    sim_run(s.sim, NS_PER_MS);
    acknowledge(first + 5u * MSS, 0, 0);
    first += 5u * MSS;

    send_flight(first, 8);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first, first + 3u * MSS, first + 8u * MSS);
    CHECK(script_quiet(&s)); /* five behind it would be a loss otherwise */
    sim_run(s.sim, NS_PER_MS);
    acknowledge(first + 8u * MSS, 0, 0);
    CHECK_EQ(stack_counters(s.stack)->tcp_retransmits, 0);
    first += 8u * MSS;

    send_flight(first, 6);
    sim_run(s.sim, ROUND_TRIP);
    acknowledge(first, first + MSS, first + 6u * MSS);
    CHECK(script_quiet(&s));
    sim_run(s.sim, ROUND_TRIP); /* a quarter of it, and the timer's grain */
    EXPECT_DATA(first);
    CHECK(script_quiet(&s));
    acknowledge(first + 6u * MSS, 0, 0);
    end();
}
