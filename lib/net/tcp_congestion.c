// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Congestion control: slow start and congestion avoidance with byte counting (RFC 5681, RFC 3465),
 * initial window of ten segments (RFC 6928), NewReno recovery (RFC 6582; driven by tcp_ack.c), or
 * CUBIC's window (RFC 9438); round-trip estimation (RFC 6298).
 */
#include "lib/net/tcp_internal.h"

#define CWND_MAX (1u << 30)

void congestion_init(struct tcp_connection *c)
{
    uint32_t ten = 10u * c->mss;
    uint32_t floor = 2u * c->mss > 14600u ? 2u * c->mss : 14600u;

    c->cwnd = ten < floor ? ten : floor; /* RFC 6928, 2 */
    c->ssthresh = CWND_MAX;
}

/* ---- CUBIC -----------------------------------------------------------------------------------*/

#define CUBIC_TICK_SHIFT 20u /* 2^20 ns, 1.05 ms */
/* Further from the inflection the window is at its limits anyway; keeps the cube in 64 bits. */
#define CUBIC_TICKS_MAX (1u << 17)
/* C = 0.4 segments/s^3 in 2^-42 segments/tick^3: 0.4 * (2^20 / 10^9)^3 * 2^42. */
#define CUBIC_C_SCALED 2028u
#define CUBIC_C_SHIFT 42u
/* Ticks^3 for each segment: 1 / (0.4 * (2^20 / 10^9)^3). */
#define CUBIC_TICKS3_PER_SEGMENT 2168404345ull

static uint32_t cube_root(uint64_t value)
{
    uint32_t root = 0;

    for (uint32_t bit = 1u << 20; bit != 0; bit >>= 1) {
        uint64_t next = root | bit;
        root |= next * next * next <= value ? bit : 0u;
    }
    return root;
}

/* A new congestion avoidance begins (RFC 9438, 4.2). */
static void cubic_begin(struct tcp_connection *c)
{
    struct cubic *cubic = &c->cubic;

    cubic->epoch = c->stack->now;
    cubic->window_reno = c->cwnd;
    cubic->inflection = 0;
    cubic->origin = c->cwnd;
    if (c->cwnd < cubic->window_max) {
        uint64_t missing = cubic->window_max - c->cwnd;
        cubic->inflection = cube_root(missing * CUBIC_TICKS3_PER_SEGMENT / c->mss);
        cubic->origin = cubic->window_max;
    }
}

/* The cubic function a round trip from now. */
static uint32_t cubic_target(const struct tcp_connection *c)
{
    const struct cubic *cubic = &c->cubic;
    uint64_t ticks = (c->stack->now - cubic->epoch + c->srtt_ns) >> CUBIC_TICK_SHIFT;
    bool before = ticks < cubic->inflection;
    uint64_t distance = before ? cubic->inflection - ticks : ticks - cubic->inflection;

    distance = distance < CUBIC_TICKS_MAX ? distance : CUBIC_TICKS_MAX;
    uint64_t bytes =
        ((distance * distance * distance >> 10) * c->mss * CUBIC_C_SCALED) >> (CUBIC_C_SHIFT - 10u);
    if (before) {
        return bytes < cubic->origin ? cubic->origin - (uint32_t)bytes : 0;
    }
    return bytes < CWND_MAX ? cubic->origin + (uint32_t)bytes : CWND_MAX;
}

/* RFC 9438, 4.3 to 4.5. */
static void cubic_acked(struct tcp_connection *c, uint32_t bytes)
{
    struct cubic *cubic = &c->cubic;

    if (cubic->epoch == 0) {
        cubic_begin(c);
    }
    /* Reno's growth for a reduction to 0.7: 9/17 segments a window, one once it has caught up. */
    uint64_t reno = (uint64_t)c->mss * bytes / c->cwnd;
    cubic->window_reno +=
        (uint32_t)(cubic->window_reno < cubic->window_max ? reno * 9u / 17u : reno);
    uint32_t target = cubic_target(c);
    uint32_t most = c->cwnd + c->cwnd / 2u;
    target = target < most ? target : most;
    if (target > c->cwnd) {
        c->cwnd += (uint32_t)((uint64_t)(target - c->cwnd) * bytes / c->cwnd);
    }
    c->cwnd = c->cwnd > cubic->window_reno ? c->cwnd : cubic->window_reno;
}

/* A loss: remembers the window, less of it when it was still below the last one (RFC 9438, 4.7). */
static void cubic_reduced(struct tcp_connection *c)
{
    uint32_t window = c->cwnd;

    c->cubic.window_max =
        window < c->cubic.window_max ? (uint32_t)((uint64_t)window * 17u / 20u) : window;
    c->cubic.epoch = 0;
}

/* ---- Either ----------------------------------------------------------------------------------*/

void congestion_acked(struct tcp_connection *c, uint32_t bytes)
{
    if (c->cwnd < c->ssthresh) {
        /* At most two segments for one acknowledgement (RFC 3465, 2.3), but a peer that merges
         * acknowledgements of a burst gets the whole burst counted. */
        uint32_t most = 16u * c->mss;
        c->cwnd += bytes < most ? bytes : most;
    } else if (c->stack->congestion == STACK_CUBIC) {
        cubic_acked(c, bytes);
    } else {
        /* One segment for each window acknowledged. */
        c->cwnd += (uint32_t)(((uint64_t)c->mss * bytes) / c->cwnd) + 1u;
    }
    if (c->cwnd > CWND_MAX) {
        c->cwnd = CWND_MAX;
    }
}

/* The threshold after a loss: half of what is in flight, with CUBIC 0.7 of it. */
static uint32_t reduced_flight(struct tcp_connection *c)
{
    uint64_t flight = c->snd_max - c->snd_una;
    uint32_t reduced = (uint32_t)(flight / 2u);

    if (c->stack->congestion == STACK_CUBIC) {
        cubic_reduced(c);
        reduced = (uint32_t)(flight * 7u / 10u);
    }
    return reduced > 2u * c->mss ? reduced : 2u * c->mss;
}

void congestion_recovery_start(struct tcp_connection *c)
{
    c->ssthresh = reduced_flight(c);
    /* Without SACK each further duplicate inflates the window; with it the pipe is known. */
    c->cwnd = c->ssthresh + ((c->flags & TCP_FLAG_SACK) != 0 ? 0u : 3u * c->mss);
}

void congestion_echoed(struct tcp_connection *c)
{
    c->ssthresh = reduced_flight(c);
    c->cwnd = c->ssthresh;
}

void congestion_timeout(struct tcp_connection *c)
{
    if (c->backoff == 0) { /* RFC 5681, 3.1: not again for the same loss */
        c->ssthresh = reduced_flight(c);
    }
    c->cwnd = c->mss;
    c->cubic.epoch = 0;
}

void congestion_idle(struct tcp_connection *c)
{
    uint32_t initial = 10u * c->mss;

    c->cubic.epoch = 0; /* the time away does not count (RFC 9438, 4.8) */
    c->rack_rtt = 0;
    if (c->cwnd > initial) {
        c->cwnd = initial;
    }
}

void rtt_sample(struct tcp_connection *c, uint64_t rtt_ns)
{
    if (rtt_ns > TCP_RTO_MAX) {
        rtt_ns = TCP_RTO_MAX;
    }
    if (c->srtt_ns == 0) {
        c->srtt_ns = rtt_ns > 0 ? rtt_ns : 1u;
        c->rttvar_ns = rtt_ns / 2u;
    } else {
        uint64_t difference = c->srtt_ns > rtt_ns ? c->srtt_ns - rtt_ns : rtt_ns - c->srtt_ns;
        c->rttvar_ns = (3u * c->rttvar_ns + difference) / 4u;
        c->srtt_ns = (7u * c->srtt_ns + rtt_ns) / 8u;
    }
    c->rto_ns = c->srtt_ns + 4u * c->rttvar_ns;
    if (c->rto_ns < TCP_RTO_MIN) {
        c->rto_ns = TCP_RTO_MIN;
    }
    if (c->rto_ns > TCP_RTO_MAX) {
        c->rto_ns = TCP_RTO_MAX;
    }
}
