// SPDX-License-Identifier: MIT OR Apache-2.0
/* Congestion windows against their formulas, and Nagle's rule. */
#include "lib/net/script_test.h"

#include <math.h>

#define MSS 1460u

static double cubic_window(double window_max, double at_start, double seconds)
{
    double k = cbrt((window_max - at_start) / MSS / 0.4);

    return 0.4 * pow(seconds - k, 3) * MSS + window_max;
}

/* RFC 9438, figure 1: after a loss at 1,000 segments with a round trip of 100 ms. */
TEST(cubic_follows_its_curve)
{
    struct net_stack stack = {.congestion = STACK_CUBIC, .now = 5u * NS_PER_S};
    struct tcp_connection c = {.stack = &stack, .mss = MSS, .srtt_ns = 100u * NS_PER_MS};
    uint32_t round = 0;

    c.cwnd = 1000u * MSS;
    c.snd_max = c.cwnd;
    c.flags = TCP_FLAG_SACK;
    congestion_recovery_start(&c);
    CHECK_EQ(c.cwnd, 700u * MSS);
    c.cwnd = c.ssthresh;
    double worst = 0;
    for (; round < 200u; round++) { /* one window acknowledged in a round trip, in 50 pieces */
        uint32_t piece = c.cwnd / 50u;
        for (unsigned i = 0; i < 50u; i++) {
            congestion_acked(&c, piece);
        }
        stack.now += 100u * NS_PER_MS;
        double expected = cubic_window(1000.0 * MSS, 700.0 * MSS, (round + 1.0) / 10);
        double error = fabs(c.cwnd - expected) / expected;
        worst = error > worst ? error : worst;
    }
    CHECK(worst < 0.05);
    CHECK(c.cwnd > 1400u * MSS); /* and well beyond the old maximum after 20 s */
}

TEST(cubic_is_no_slower_than_reno)
{
    struct net_stack stack = {.congestion = STACK_CUBIC, .now = NS_PER_S};
    struct tcp_connection c = {.stack = &stack, .mss = MSS, .srtt_ns = NS_PER_MS};

    c.cwnd = c.snd_max = 20u * MSS;
    c.flags = TCP_FLAG_SACK;
    congestion_recovery_start(&c);
    c.cwnd = c.ssthresh;
    for (unsigned round = 0; round < 40; round++) { /* 40 ms: the cubic part has hardly begun */
        for (unsigned i = 0; i < 20; i++) {
            congestion_acked(&c, c.cwnd / 20u);
        }
        stack.now += NS_PER_MS;
    }
    CHECK(c.cwnd > 14u * MSS + 15u * MSS);
}

TEST(a_second_loss_below_the_maximum_yields)
{
    struct net_stack stack = {.congestion = STACK_CUBIC, .now = NS_PER_S};
    struct tcp_connection c = {.stack = &stack, .mss = MSS, .flags = TCP_FLAG_SACK};

    c.cwnd = c.snd_max = 100u * MSS;
    congestion_recovery_start(&c);
    CHECK_EQ(c.cubic.window_max, 100u * MSS);
    c.cwnd = c.snd_max = 80u * MSS;
    congestion_recovery_start(&c);
    CHECK_EQ(c.cubic.window_max, 68u * MSS); /* 0.85 of 80 */
    CHECK_EQ(c.ssthresh, 56u * MSS);
}

TEST(new_reno_halves_and_adds_one)
{
    struct net_stack stack = {.congestion = STACK_NEWRENO};
    struct tcp_connection c = {.stack = &stack, .mss = MSS, .flags = TCP_FLAG_SACK};

    c.cwnd = c.snd_max = 100u * MSS;
    congestion_recovery_start(&c);
    CHECK_EQ(c.cwnd, 50u * MSS);
    for (unsigned i = 0; i < 50; i++) {
        congestion_acked(&c, MSS);
    }
    CHECK(c.cwnd >= 51u * MSS - MSS / 50u && c.cwnd <= 51u * MSS + 50u);
}

TEST(nagle_holds_back_small_parts)
{
    open_connection();
    (void)tcp_send(s.c, "a", 1);
    sim_settle(s.sim);
    EXPECT(TCP_ACK | TCP_PSH, s.ack, s.seq, 1);
    (void)tcp_send(s.c, "b", 1); /* off: goes out at once */
    sim_settle(s.sim);
    EXPECT(TCP_ACK | TCP_PSH, s.ack + 1u, s.seq, 1);
    tcp_set_nagle(s.c, true);
    (void)tcp_send(s.c, "c", 1);
    sim_settle(s.sim);
    CHECK(script_quiet(&s));
    (void)tcp_send(s.c, "d", 1);
    s.ack += 2u;
    script_send(&s, TCP_ACK, 0);
    EXPECT(TCP_ACK | TCP_PSH, s.ack, s.seq, 2);
    (void)tcp_send(s.c, "e", 1);
    sim_settle(s.sim);
    CHECK(script_quiet(&s));
    tcp_shutdown(s.c); /* nothing more comes: the rest goes with the FIN */
    sim_settle(s.sim);
    EXPECT(TCP_ACK | TCP_PSH | TCP_FIN, s.ack + 2u, s.seq, 1);
    tcp_abort(s.c);
    stop();
}
