// SPDX-License-Identifier: MIT OR Apache-2.0
/* What ICMP tells TCP about its segments, taken with care (RFC 5927). */
#include "lib/net/tcp_internal.h"

/* The connection, if the quoted segment is on its way: then whoever tells has seen it. */
static struct tcp_connection *concerned(struct net_stack *stack, struct tcp_ends ends,
                                        uint32_t sequence)
{
    struct tcp_connection *c = tcp_lookup(stack, ends);

    if (c == NULL || seq_before(sequence, c->snd_una) || !seq_before(sequence, c->snd_max)) {
        return NULL;
    }
    return c;
}

void tcp_icmp_unreachable(struct net_stack *stack, struct tcp_ends ends, bool hard,
                          uint32_t sequence)
{
    struct tcp_connection *c = concerned(stack, ends, sequence);

    if (c == NULL) {
        return;
    }
    if (hard && c->state == TCP_SYN_SENT) {
        tcp_finish(c, STATUS_UNREACHABLE);
    } else {
        /* No reason to give up before the time (RFC 1122, 4.2.3.9), but one to tell then. */
        c->flags |= TCP_FLAG_SOFT_ERROR;
    }
}

void tcp_icmp_too_big(struct net_stack *stack, struct tcp_ends ends, uint32_t sequence,
                      uint32_t mtu)
{
    struct tcp_connection *c = concerned(stack, ends, sequence);
    uint32_t headers = TCP_BYTES + (is_ipv6_tag(ends.remote_address) ? IPV6_BYTES : IPV4_BYTES);

    if (c == NULL || mtu >= pmtu_of(stack, ends.remote_address)) {
        return;
    }
    uint32_t mss = pmtu_learn(stack, ends.remote_address, mtu) - headers;
    if ((c->flags & TCP_FLAG_TIMESTAMPS) != 0) {
        mss -= TCP_TIMESTAMPS_BYTES;
    }
    if (mss >= c->mss || c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED) {
        return;
    }
    /* All of it goes again in smaller pieces; that is no sign of congestion (RFC 1191, 6.5). */
    c->mss = mss;
    c->flags &= ~(uint32_t)(TCP_FLAG_RECOVERY | TCP_FLAG_ROUND_TRIP);
    c->recover = c->snd_max;
    c->snd_nxt = c->snd_una;
    c->send_cursor = c->send_head;
    sack_clear(c, false);
    tcp_activate(c);
}
