// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Congestion control: slow start and congestion avoidance with byte counting (RFC 5681, RFC 3465),
 * initial window of ten segments (RFC 6928), NewReno recovery (RFC 6582; driven by tcp_ack.c);
 * round-trip estimation (RFC 6298).
 */
#include "lib/net/internal.h"

#define CWND_MAX (1u << 30)

void congestion_init(struct tcp_connection *c)
{
    uint32_t ten = 10u * c->mss;
    uint32_t floor = 2u * c->mss > 14600u ? 2u * c->mss : 14600u;

    c->cwnd = ten < floor ? ten : floor; /* RFC 6928, 2 */
    c->ssthresh = CWND_MAX;
}

void congestion_acked(struct tcp_connection *c, uint32_t bytes)
{
    if (c->cwnd < c->ssthresh) {
        /* At most two segments for one acknowledgement (RFC 3465, 2.3), but a peer that merges
         * acknowledgements of a burst gets the whole burst counted. */
        uint32_t most = 16u * c->mss;
        c->cwnd += bytes < most ? bytes : most;
    } else {
        /* One segment for each window acknowledged. */
        c->cwnd += (uint32_t)(((uint64_t)c->mss * bytes) / c->cwnd) + 1u;
    }
    if (c->cwnd > CWND_MAX) {
        c->cwnd = CWND_MAX;
    }
}

static uint32_t half_of_flight(const struct tcp_connection *c)
{
    uint32_t half = (c->snd_max - c->snd_una) / 2u;

    return half > 2u * c->mss ? half : 2u * c->mss;
}

void congestion_recovery_start(struct tcp_connection *c)
{
    c->ssthresh = half_of_flight(c);
    /* Without SACK each further duplicate inflates the window; with it the pipe is known. */
    c->cwnd = c->ssthresh + ((c->flags & TCP_FLAG_SACK) != 0 ? 0u : 3u * c->mss);
}

void congestion_timeout(struct tcp_connection *c)
{
    if (c->backoff == 0) { /* RFC 5681, 3.1: not again for the same loss */
        c->ssthresh = half_of_flight(c);
    }
    c->cwnd = c->mss;
}

void congestion_idle(struct tcp_connection *c)
{
    uint32_t initial = 10u * c->mss;

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
