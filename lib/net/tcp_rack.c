// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Loss detection by time, RACK, and tail loss probes (RFC 8985), for connections with SACK.
 *
 * RACK: a segment is lost when one that was sent later has arrived and a little more time than a
 * round trip has passed since it was sent; that also finds retransmissions that got lost, and
 * spares segments that were only overtaken. The little more is the reordering window: none until
 * the network has shown that it reorders, then a quarter of the shortest round trip. Duplicates
 * that the peer reports (RFC 2883) do not widen it.
 *
 * TLP: when no acknowledgement comes for two round trips, one segment more (or the last one again)
 * makes the peer tell what is missing, long before the retransmission timeout.
 *
 * Time here is in ticks of 2^10 ns, kept in 32 bits: good for 36 minutes, of which a connection
 * that is idle for longer loses its past (congestion_idle).
 */
#include "lib/net/tcp_internal.h"

/* Whether (time, end) was sent after (other, other_end); RFC 8985, 5.1. */
static bool sent_after(uint32_t time, uint32_t end, uint32_t other, uint32_t other_end)
{
    int32_t later = (int32_t)(time - other);

    return later > 0 || (later == 0 && seq_after(end, other_end));
}

static uint32_t end_of(const struct buffer_meta *meta)
{
    return meta->sequence + meta->length;
}

static struct buffer_meta *meta_of(const struct tcp_connection *c, uint32_t buffer)
{
    return &c->stack->meta[buffer];
}

/* RFC 8985, 6.2, steps 1 to 3. */
void rack_delivered(struct tcp_connection *c, const struct buffer_meta *meta)
{
    uint32_t rtt = rack_ticks(c->stack) - meta->sent;

    /* Sooner than any round trip: it was the first copy that arrived. */
    if (meta->retransmitted != 0 && rtt < c->rtt_min) {
        return;
    }
    if (meta->retransmitted == 0) {
        c->rtt_min = c->rtt_min == 0 || rtt < c->rtt_min ? rtt : c->rtt_min;
        if ((c->flags & TCP_FLAG_SACKED) != 0 && seq_before(end_of(meta), c->sack_high)) {
            c->flags |= TCP_FLAG_REORDERED;
        }
    }
    if (c->rack_rtt == 0 || sent_after(meta->sent, end_of(meta), c->rack_sent, c->rack_end)) {
        c->rack_sent = meta->sent;
        c->rack_end = end_of(meta);
        c->rack_rtt = rtt != 0 ? rtt : 1u;
    }
}

void rack_acknowledged(struct tcp_connection *c, uint32_t acknowledgment)
{
    for (uint32_t b = c->send_head; b != NETBUF_NONE; b = meta_of(c, b)->next) {
        const struct buffer_meta *meta = meta_of(c, b);
        if (seq_after(end_of(meta), acknowledgment)) {
            break;
        }
        if (meta->sacked == 0) {
            rack_delivered(c, meta);
        }
    }
    if (!seq_before(acknowledgment, c->sack_high)) {
        c->flags &= ~(uint32_t)TCP_FLAG_SACKED;
    }
}

/* RFC 8985, 6.2, step 4. */
static uint32_t reordering_window(const struct tcp_connection *c)
{
    if ((c->flags & TCP_FLAG_REORDERED) == 0 &&
        ((c->flags & TCP_FLAG_RECOVERY) != 0 || sack_bytes(c) > 2u * c->mss)) {
        return 0;
    }
    uint32_t smooth = (uint32_t)(c->srtt_ns >> RACK_TICK_SHIFT);
    return c->rtt_min / 4u < smooth ? c->rtt_min / 4u : smooth;
}

bool rack_detect(struct tcp_connection *c)
{
    uint32_t now = rack_ticks(c->stack);
    uint32_t patience = c->rack_rtt + reordering_window(c);
    uint32_t wait = 0;
    bool found = false;

    if (c->rack_rtt == 0) {
        return false;
    }
    for (uint32_t b = c->send_head; b != NETBUF_NONE; b = meta_of(c, b)->next) {
        struct buffer_meta *meta = meta_of(c, b);
        if (!seq_before(meta->sequence, c->snd_max)) {
            break;
        }
        bool known = meta->lost != 0 && meta->retransmitted == 0;
        if (meta->sacked != 0 || known ||
            !sent_after(c->rack_sent, c->rack_end, meta->sent, end_of(meta))) {
            continue;
        }
        int32_t left = (int32_t)(meta->sent + patience - now);
        if (left <= 0) {
            meta->lost = 1;
            meta->retransmitted = 0;
            found = true;
        } else if ((uint32_t)left > wait) {
            wait = (uint32_t)left;
        }
    }
    if (wait != 0) {
        c->flags = (c->flags | TCP_FLAG_REORDER_TIMER) & ~(uint32_t)TCP_FLAG_PROBE_TIMER;
        c->retransmit_deadline = c->stack->now + ((uint64_t)wait << RACK_TICK_SHIFT);
        tcp_timer_update(c);
    }
    return found;
}

void rack_reorder_due(struct tcp_connection *c)
{
    tcp_arm_retransmit(c);
    if (rack_detect(c)) {
        tcp_recover(c);
    }
}

/* ---- Tail loss probes -------------------------------------------------------------------------*/

bool rack_probe_time(const struct tcp_connection *c, uint64_t *wait_ns)
{
    const uint32_t states =
        TCP_FLAG_SACK | TCP_FLAG_RECOVERY | TCP_FLAG_PROBED | TCP_FLAG_SACKED | TCP_FLAG_PERSIST;
    /* The acknowledgement of a single segment may be delayed for longer than the timeout lasts. */
    if ((c->flags & states) != TCP_FLAG_SACK || c->backoff != 0 || c->srtt_ns == 0 ||
        c->snd_max - c->snd_una <= c->mss || 2u * c->srtt_ns + RACK_PROBE_SLACK >= *wait_ns) {
        return false;
    }
    *wait_ns = 2u * c->srtt_ns + RACK_PROBE_SLACK;
    return true;
}

void rack_arm_probe(struct tcp_connection *c)
{
    uint64_t wait =
        c->retransmit_deadline > c->stack->now ? c->retransmit_deadline - c->stack->now : 0;

    if ((c->flags & TCP_FLAG_REORDER_TIMER) == 0 && rack_probe_time(c, &wait)) {
        c->flags |= TCP_FLAG_PROBE_TIMER;
        c->retransmit_deadline = c->stack->now + wait;
        tcp_timer_update(c);
    }
}

/* One segment of new data if there is some that the peer has room for, whatever the congestion
 * window says. */
static bool probe_with_new(struct tcp_connection *c)
{
    uint32_t flight = c->snd_max - c->snd_una;
    uint32_t cwnd = c->cwnd;

    if (c->send_cursor == NETBUF_NONE || c->snd_nxt != c->snd_max || flight + c->mss > c->snd_wnd) {
        return false;
    }
    c->cwnd = flight + c->mss;
    tcp_output(c);
    c->cwnd = cwnd;
    return c->snd_max - c->snd_una != flight;
}

void rack_probe_due(struct tcp_connection *c)
{
    c->stack->counters.tcp_tail_probes++;
    c->flags |= TCP_FLAG_PROBED;
    if (!probe_with_new(c)) {
        uint32_t last = tcp_send_queue_find(c, c->snd_max - 1u);
        last = last != NETBUF_NONE ? last : c->send_tail; /* the FIN is no byte */
        c->flags |= TCP_FLAG_PROBE_REPEAT;
        if (last == NETBUF_NONE) {
            tcp_retransmit_first(c);
        } else if (tcp_retransmit_buffer(c, last)) {
            meta_of(c, last)->retransmitted = 1;
        }
    }
    c->probe_end = c->snd_max;
    tcp_arm_retransmit(c);
}

/* RFC 8985, 7.4. */
void rack_probe_answered(struct tcp_connection *c, const struct tcp_segment *segment)
{
    const uint32_t probe = TCP_FLAG_PROBED | TCP_FLAG_PROBE_REPEAT;
    uint32_t acknowledgment = segment->acknowledgment;
    bool twice = segment->sack_count != 0 && /* RFC 2883: it had arrived already */
                 seq_at_or_before(segment->sack[0].end, acknowledgment);

    if (seq_before(acknowledgment, c->probe_end)) {
        return;
    }
    if ((c->flags & TCP_FLAG_PROBE_REPEAT) == 0 || twice) {
        c->flags &= ~probe;
    } else if (seq_after(acknowledgment, c->probe_end)) {
        c->flags &= ~probe; /* the probe repaired a loss */
        if ((c->flags & TCP_FLAG_RECOVERY) == 0) {
            congestion_recovery_start(c);
        }
    } else if (acknowledgment == c->snd_una && segment->length == 0 && segment->sack_count == 0) {
        c->flags &= ~probe; /* one acknowledgement for each copy */
    }
}
