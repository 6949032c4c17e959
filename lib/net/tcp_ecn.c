// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them; the
 * receiver echoes the mark until the sender says that it has reduced its window.
 *
 * A connection with ECN takes the general ways, in and out: the short ones neither look at marks
 * nor set them.
 */
#include "lib/net/tcp_internal.h"

uint8_t ecn_syn_flags(const struct tcp_connection *c)
{
    if ((c->flags & TCP_FLAG_ECN) == 0) {
        return 0;
    }
    if (c->state == TCP_SYN_RECEIVED) {
        return TCP_ECE;
    }
    /* Something on the way may drop what asks for it (6.1.1.1): the next SYN does not. */
    return c->backoff == 0 ? TCP_ECE | TCP_CWR : 0;
}

void ecn_take_syn(struct tcp_connection *c, const struct tcp_segment *segment)
{
    uint8_t said = segment->flags & (TCP_ECE | TCP_CWR);
    bool answer = (segment->flags & TCP_ACK) != 0;
    bool asked = (c->flags & TCP_FLAG_ECN) != 0 && c->backoff == 0;
    bool agreed = answer ? asked && said == TCP_ECE : said == (TCP_ECE | TCP_CWR);

    c->flags = agreed ? c->flags | TCP_FLAG_ECN : c->flags & ~(uint32_t)TCP_FLAG_ECN;
    c->ecn_recover = c->iss;
}

/* The mark of the packet that carried the segment. */
static uint32_t mark_of(const struct ipv4_packet *ip)
{
    return ip->header[0] >> 4 == 4u ? ip->header[1] & 3u : ip->header[1] >> 4 & 3u;
}

void ecn_input(struct tcp_connection *c, const struct tcp_segment *segment)
{
    if ((segment->flags & TCP_CWR) != 0) {
        c->flags &= ~(uint32_t)TCP_FLAG_ECN_ECHO;
    }
    if (segment->length != 0 && mark_of(segment->ip) == IP_CE) {
        c->flags |= TCP_FLAG_ECN_ECHO | TCP_FLAG_ACK_NOW;
        tcp_activate(c);
    }
    /* Once for each window of data (6.1.2), and not where a loss has reduced it already. */
    if ((segment->flags & TCP_ECE) != 0 && c->state != TCP_SYN_RECEIVED &&
        (c->flags & TCP_FLAG_RECOVERY) == 0 && c->snd_una != c->snd_max &&
        !seq_before(segment->acknowledgment, c->ecn_recover)) {
        c->stack->counters.tcp_congestion_echoes++;
        congestion_echoed(c);
        c->ecn_recover = c->snd_max;
        c->flags |= TCP_FLAG_ECN_REDUCED;
    }
}

uint8_t ecn_output(struct tcp_connection *c, bool new_data, uint8_t *ecn)
{
    uint8_t flags = (c->flags & TCP_FLAG_ECN_ECHO) != 0 ? TCP_ECE : 0;

    /* Neither what is sent again nor probes of a closed window (6.1.5, 6.1.6). */
    if (new_data && (c->flags & TCP_FLAG_FORCE_SEND) == 0) {
        *ecn = IP_ECT_0;
        flags |= (c->flags & TCP_FLAG_ECN_REDUCED) != 0 ? TCP_CWR : 0;
        c->flags &= ~(uint32_t)TCP_FLAG_ECN_REDUCED;
    }
    return flags;
}
