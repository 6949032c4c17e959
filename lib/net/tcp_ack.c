// SPDX-License-Identifier: MIT OR Apache-2.0
/* Acknowledgements received: progress, round-trip samples, loss recovery (RFC 5681, RFC 6582; by
 * time: tcp_rack.c). */
#include "lib/net/tcp_internal.h"

#define DUPLICATE_ACKS_LOSS 3u /* RFC 5681, 3.2 */

static void take_rtt_sample(struct tcp_connection *c, const struct tcp_segment *segment)
{
    if ((c->flags & TCP_FLAG_ROUND_TRIP) != 0) {
        if (seq_at_or_before(c->rtt_sequence, segment->acknowledgment)) {
            c->flags &= ~(uint32_t)TCP_FLAG_ROUND_TRIP;
            rtt_sample(c, c->stack->now - c->rtt_start);
        }
        return;
    }
    /* After a retransmission only the echoed timestamp tells (RFC 7323, 4). */
    if ((c->flags & TCP_FLAG_TIMESTAMPS) != 0 && segment->has_timestamps &&
        segment->timestamp_echo != 0) {
        uint32_t ticks = tcp_timestamp_now(c->stack) - segment->timestamp_echo;
        if (ticks < 1u << 16) {
            rtt_sample(c, (uint64_t)ticks << 20);
        }
    }
}

static void advance_recovery(struct tcp_connection *c, uint32_t acked)
{
    if (seq_at_or_before(c->recover, c->snd_una)) {
        uint32_t flight = c->snd_max - c->snd_una + c->mss;
        c->cwnd = flight < c->ssthresh ? flight : c->ssthresh;
        c->cwnd = c->cwnd > c->mss ? c->cwnd : c->mss;
        c->flags &= ~(uint32_t)TCP_FLAG_RECOVERY;
        c->duplicate_acks = 0;
        return;
    }
    if ((c->flags & TCP_FLAG_SACK) != 0) {
        tcp_activate(c); /* the scoreboard tells what to send */
        return;
    }
    /* A partial acknowledgement: the next hole is lost too (RFC 6582, 3.2, step 3). */
    c->cwnd = c->cwnd > acked ? c->cwnd - acked : 0;
    c->cwnd += acked >= c->mss ? c->mss : 0;
    c->cwnd = c->cwnd > c->mss ? c->cwnd : c->mss;
    tcp_retransmit_first(c);
}

void tcp_ack_advance(struct tcp_connection *c, const struct tcp_segment *segment)
{
    uint32_t acked = segment->acknowledgment - c->snd_una;

    take_rtt_sample(c, segment);
    c->backoff = 0;
    if ((c->flags & (TCP_FLAG_RECOVERY | TCP_FLAG_SACKED | TCP_FLAG_PROBED)) != 0) {
        rack_acknowledged(c, segment->acknowledgment);
    }
    c->snd_una = segment->acknowledgment;
    /* The FIN's number is not a byte. */
    c->bytes_out += acked - seq_after(c->snd_una, c->send_end);
    tcp_send_queue_acknowledged(c);
    if (seq_before(c->snd_nxt, c->snd_una)) {
        c->snd_nxt = c->snd_una;
        c->send_cursor = tcp_send_queue_find(c, c->snd_nxt);
    }
    if ((c->flags & TCP_FLAG_RECOVERY) != 0) {
        advance_recovery(c, acked);
    } else {
        c->duplicate_acks = 0;
        congestion_acked(c, acked);
    }
    if (c->snd_una == c->snd_max) {
        c->retransmit_deadline = DEADLINE_NEVER;
    } else {
        tcp_arm_retransmit(c);
    }
    tcp_sendable_check(c);
    if (c->send_cursor != NETBUF_NONE || (c->flags & TCP_FLAG_FIN_QUEUED) != 0) {
        tcp_activate(c);
    }
}

static void enter_recovery(struct tcp_connection *c)
{
    c->stack->counters.tcp_fast_retransmits++;
    c->recover = c->snd_max;
    c->flags |= TCP_FLAG_RECOVERY;
    congestion_recovery_start(c);
    if ((c->flags & TCP_FLAG_SACK) != 0) {
        sack_clear(c, false); /* tcp_output sends the first hole at least */
    } else {
        tcp_retransmit_first(c);
    }
    tcp_arm_retransmit(c);
}

void tcp_recover(struct tcp_connection *c)
{
    if ((c->flags & TCP_FLAG_RECOVERY) == 0) {
        enter_recovery(c);
        (void)rack_detect(c); /* the scoreboard was cleared */
    }
    tcp_activate(c);
}

static void duplicate_ack(struct tcp_connection *c)
{
    bool sack = (c->flags & TCP_FLAG_SACK) != 0;

    if (c->duplicate_acks < 255u) {
        c->duplicate_acks++;
    }
    tcp_activate(c);
    if ((c->flags & TCP_FLAG_RECOVERY) != 0) {
        c->cwnd += sack ? 0u : c->mss;
        return;
    }
    /* Not again for losses of the window that the last recovery repaired (RFC 6582, 3.2); nor by
     * numbers where the network reorders. */
    if (!seq_after(c->snd_una, c->recover) || (c->flags & TCP_FLAG_REORDERED) != 0) {
        return;
    }
    if (c->duplicate_acks == DUPLICATE_ACKS_LOSS || (sack && sack_bytes(c) > 2u * c->mss)) {
        enter_recovery(c);
    }
}

/* RFC 5681, 2; with SACK, whatever reports something new (RFC 6675, 2). */
static bool is_duplicate(struct tcp_connection *c, const struct tcp_segment *segment)
{
    if (segment->acknowledgment != c->snd_una || c->snd_una == c->snd_max) {
        return false;
    }
    if (segment->sack_count != 0 && (c->flags & TCP_FLAG_SACK) != 0) {
        return sack_input(c, segment);
    }
    return segment->length == 0 && (segment->flags & TCP_FIN) == 0 &&
           segment->window << c->send_shift == c->snd_wnd;
}

/* Takes the peer's window from a segment that is not older than the last one that set it. */
static void set_send_window(struct tcp_connection *c, const struct tcp_segment *segment)
{
    uint32_t window = segment->window << c->send_shift;

    if (segment->acknowledgment != c->snd_una || seq_before(segment->sequence, c->snd_wl1) ||
        (segment->sequence == c->snd_wl1 && seq_before(segment->acknowledgment, c->snd_wl2))) {
        return;
    }
    c->snd_wl1 = segment->sequence;
    c->snd_wl2 = segment->acknowledgment;
    if (window == c->snd_wnd) {
        return;
    }
    bool opened = window > c->snd_wnd;
    c->snd_wnd = window;
    if (window > c->snd_wnd_max) {
        c->snd_wnd_max = window;
    }
    if (opened && c->send_cursor != NETBUF_NONE) {
        if ((c->flags & TCP_FLAG_PERSIST) != 0) {
            c->flags &= ~(uint32_t)TCP_FLAG_PERSIST;
            c->retransmit_deadline = DEADLINE_NEVER;
            c->backoff = 0;
        }
        tcp_activate(c);
    }
}

bool tcp_ack_input(struct tcp_connection *c, const struct tcp_segment *segment)
{
    uint32_t acknowledgment = segment->acknowledgment;

    /* RFC 5961, 5.2. */
    if (seq_after(acknowledgment, c->snd_max) ||
        seq_before(acknowledgment, c->snd_una - c->snd_wnd_max)) {
        tcp_challenge(c);
        return false;
    }
    if ((c->flags & TCP_FLAG_PROBED) != 0) {
        rack_probe_answered(c, segment);
    }
    if (seq_after(acknowledgment, c->snd_una)) {
        tcp_ack_advance(c, segment);
        if (segment->sack_count != 0 && (c->flags & TCP_FLAG_SACK) != 0) {
            (void)sack_input(c, segment);
        }
    } else if (is_duplicate(c, segment)) {
        duplicate_ack(c);
    }
    if ((c->flags & (TCP_FLAG_SACKED | TCP_FLAG_RECOVERY)) != 0 &&
        (c->flags & TCP_FLAG_SACK) != 0 && rack_detect(c)) {
        tcp_recover(c);
    }
    set_send_window(c, segment);
    return true;
}
