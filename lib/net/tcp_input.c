// SPDX-License-Identifier: MIT OR Apache-2.0
/* TCP segments received, for synchronized connections (RFC 9293, 3.10.7.4). */
#include "lib/net/fast.h"
#include "lib/net/tcp_internal.h"

void tcp_challenge(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;

    if (c->last_challenge != 0 && stack->now - c->last_challenge < TCP_CHALLENGE_INTERVAL) {
        return;
    }
    c->last_challenge = stack->now;
    stack->counters.tcp_challenge_acks++;
    tcp_send_ack(c);
}

/* Numbers that the segment takes up, SYN and FIN included. */
static uint32_t sequence_length(const struct tcp_segment *segment)
{
    return segment->length + ((segment->flags & TCP_SYN) != 0) + ((segment->flags & TCP_FIN) != 0);
}

/* RFC 9293, table 6. */
static bool acceptable(const struct tcp_connection *c, const struct tcp_segment *segment)
{
    uint32_t window = c->rcv_adv - c->rcv_nxt;
    uint32_t length = sequence_length(segment);
    uint32_t start = segment->sequence - c->rcv_nxt;

    if (length == 0) {
        return window == 0 ? start == 0 : start < window;
    }
    return window != 0 && (start < window || start + length - 1u < window);
}

/* False: an old duplicate, or a segment without the agreed timestamp (RFC 7323, 3.2 and 5). */
static bool timestamp_valid(struct tcp_connection *c, const struct tcp_segment *segment)
{
    if ((c->flags & TCP_FLAG_TIMESTAMPS) == 0 || (segment->flags & TCP_RST) != 0) {
        return true;
    }
    if (!segment->has_timestamps) {
        return false;
    }
    return !seq_before(segment->timestamp, c->timestamp_recent) ||
           c->stack->now - c->timestamp_recent_at > TCP_PAWS_AGE_MAX;
}

static void take_timestamp(struct tcp_connection *c, const struct tcp_segment *segment)
{
    if (segment->has_timestamps && (c->flags & TCP_FLAG_TIMESTAMPS) != 0 &&
        seq_at_or_before(segment->sequence, c->last_ack_sent)) {
        c->timestamp_recent = segment->timestamp;
        c->timestamp_recent_at = c->stack->now;
    }
}

static void not_acceptable(struct tcp_connection *c, const struct tcp_segment *segment)
{
    if ((segment->flags & TCP_RST) != 0) {
        return;
    }
    c->stack->counters.tcp_out_of_window++;
    if (c->state == TCP_SYN_RECEIVED && (segment->flags & TCP_SYN) != 0 &&
        segment->sequence == c->irs) {
        c->flags |= TCP_FLAG_SEND_SYN; /* our SYN-ACK was lost */
        tcp_activate(c);
        return;
    }
    if (c->state == TCP_TIME_WAIT && (segment->flags & TCP_FIN) != 0) {
        c->misc_deadline = c->stack->now + TCP_TIME_WAIT_NS;
    }
    /* Data always gets its answer; what is empty only now and then, so that two sides with
     * different ideas of the sequence do not answer each other for ever. */
    if (segment->length != 0 || (segment->flags & TCP_FIN) != 0) {
        tcp_send_ack(c);
    } else {
        tcp_challenge(c);
    }
}

static void reset_received(struct tcp_connection *c, const struct tcp_segment *segment)
{
    if (segment->sequence != c->rcv_nxt) {
        tcp_challenge(c); /* RFC 5961, 3.2 */
        return;
    }
    tcp_finish(c, c->state == TCP_TIME_WAIT ? STATUS_OK : STATUS_RESET);
}

/* Our FIN is acknowledged. False: the connection is gone. */
static bool fin_acknowledged(struct tcp_connection *c)
{
    switch (c->state) {
    case TCP_FIN_WAIT_1:
        c->state = TCP_FIN_WAIT_2;
        if ((c->flags & TCP_FLAG_ATTACHED) == 0) {
            c->misc_deadline = c->stack->now + TCP_FIN_WAIT_2_NS;
            tcp_timer_update(c);
        }
        return true;
    case TCP_CLOSING:
        tcp_enter_time_wait(c);
        return true;
    case TCP_LAST_ACK:
        tcp_finish(c, STATUS_OK);
        return false;
    default:
        return true;
    }
}

/* Cuts off what lies before rcv_nxt and behind the window or the end of the stream. */
static void trim(const struct tcp_connection *c, struct tcp_segment *segment)
{
    uint32_t edge = c->rcv_adv;

    if (seq_before(segment->sequence, c->rcv_nxt)) {
        uint32_t cut = c->rcv_nxt - segment->sequence;
        cut = cut < segment->length ? cut : segment->length;
        segment->sequence += cut;
        segment->data += cut;
        segment->length -= cut;
    }
    if ((c->flags & TCP_FLAG_FIN_SEEN) != 0 && seq_before(c->fin_sequence, edge)) {
        edge = c->fin_sequence;
        segment->flags &= (uint8_t)~TCP_FIN;
    }
    if (seq_after(segment->sequence + segment->length, edge)) {
        uint32_t room = seq_before(segment->sequence, edge) ? edge - segment->sequence : 0;
        segment->length = room < segment->length ? room : segment->length;
        segment->flags &= (uint8_t)~TCP_FIN;
    }
    if ((segment->flags & TCP_FIN) != 0 && !seq_before(segment->sequence + segment->length, edge)) {
        segment->flags &= (uint8_t)~TCP_FIN;
    }
}

static void input_text(struct tcp_connection *c, struct tcp_segment *segment)
{
    bool receives =
        c->state == TCP_ESTABLISHED || c->state == TCP_FIN_WAIT_1 || c->state == TCP_FIN_WAIT_2;

    if (!receives || (segment->length == 0 && (segment->flags & TCP_FIN) == 0)) {
        return;
    }
    uint32_t had = segment->length;
    trim(c, segment);
    if (segment->length == 0 && had != 0) {
        c->stack->counters.tcp_duplicate++;
        c->flags |= TCP_FLAG_ACK_NOW;
        tcp_activate(c);
    }
    if ((segment->flags & TCP_FIN) != 0 &&
        !seq_before(segment->sequence + segment->length, c->rcv_nxt)) {
        c->flags |= TCP_FLAG_FIN_SEEN;
        c->fin_sequence = segment->sequence + segment->length;
        if (segment->length == 0 && c->fin_sequence != c->rcv_nxt) {
            tcp_send_ack(c); /* something before the FIN is missing */
        }
    }
    if (segment->length != 0) {
        if ((c->flags & TCP_FLAG_ATTACHED) == 0) {
            tcp_reset(c, STATUS_CANCELLED); /* nobody will read it (RFC 1122, 4.2.2.13) */
            return;
        }
        tcp_receive_data(c, segment);
    }
    if (c->state != TCP_CLOSED) {
        tcp_check_fin(c);
    }
}

/* A segment for a connection past SYN-SENT; may end the connection. */
static void input_open(struct tcp_connection *c, struct tcp_segment *segment)
{
    if (!timestamp_valid(c, segment)) {
        c->stack->counters.tcp_paws_dropped++;
        if (segment->has_timestamps) {
            tcp_challenge(c);
        }
        return;
    }
    if (!acceptable(c, segment)) {
        /* With a closed window, acknowledgements are still good. */
        if (c->rcv_adv != c->rcv_nxt || segment->sequence != c->rcv_nxt ||
            (segment->flags & (TCP_RST | TCP_SYN | TCP_ACK)) != TCP_ACK) {
            not_acceptable(c, segment);
            return;
        }
        c->stack->counters.tcp_out_of_window++;
        segment->length = 0;
        segment->flags &= (uint8_t)~TCP_FIN;
        c->flags |= TCP_FLAG_ACK_NOW;
        tcp_activate(c);
    }
    if ((segment->flags & TCP_RST) != 0) {
        reset_received(c, segment);
        return;
    }
    if ((segment->flags & TCP_SYN) != 0) {
        tcp_challenge(c); /* RFC 5961, 4.2 */
        return;
    }
    if ((segment->flags & TCP_ACK) == 0) {
        return;
    }
    take_timestamp(c, segment);
    c->last_receive = c->stack->now;
    c->keepalive_probes = 0;
    if ((c->flags & TCP_FLAG_ECN) != 0) {
        ecn_input(c, segment);
    }
    if (c->state == TCP_SYN_RECEIVED && !tcp_input_syn_received(c, segment)) {
        return;
    }
    if (!tcp_ack_input(c, segment)) {
        return;
    }
    if ((c->flags & TCP_FLAG_FIN_QUEUED) != 0 && c->snd_una == c->send_end + 1u &&
        !fin_acknowledged(c)) {
        return;
    }
    input_text(c, segment);
}

bool tcp_input_usual(struct tcp_connection *c, const struct tcp_segment *segment)
{
    uint32_t unusual =
        TCP_FLAG_PAUSED | TCP_FLAG_FIN_SEEN | TCP_FLAG_PERSIST | TCP_FLAG_RECOVERY | TCP_FLAG_ECN;
    uint32_t acked = segment->acknowledgment - c->snd_una;

    if (c->state != TCP_ESTABLISHED || (segment->flags & (uint8_t)~TCP_PSH) != TCP_ACK ||
        segment->sequence != c->rcv_nxt || (c->flags & unusual) != 0 ||
        c->receive_head != NETBUF_NONE || segment->length > c->rcv_adv - c->rcv_nxt ||
        acked > c->snd_max - c->snd_una || (acked == 0 && segment->length == 0) ||
        (c->flags & TCP_FLAG_ATTACHED) == 0) {
        return false;
    }
    if ((c->flags & TCP_FLAG_TIMESTAMPS) != 0) {
        if (!segment->has_timestamps || seq_before(segment->timestamp, c->timestamp_recent)) {
            return false;
        }
        take_timestamp(c, segment);
    }
    c->stack->counters.tcp_fast_path++;
    c->last_receive = c->stack->now;
    c->keepalive_probes = 0;
    (void)tcp_ack_input(c, segment);
    if (segment->length != 0) {
        tcp_deliver_direct(c, segment);
    }
    return true;
}

/* A new connection may take over the ends of one in TIME-WAIT (RFC 1122, 4.2.2.13; RFC 6191). */
static bool reopens(const struct tcp_connection *c, const struct tcp_segment *segment)
{
    if (c->state != TCP_TIME_WAIT || (c->flags & TCP_FLAG_ATTACHED) != 0 ||
        (segment->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN) {
        return false;
    }
    bool newer_time = (c->flags & TCP_FLAG_TIMESTAMPS) != 0 && segment->has_timestamps &&
                      seq_after(segment->timestamp, c->timestamp_recent);
    return newer_time || seq_after(segment->sequence, c->rcv_nxt);
}

void tcp_input(struct net_stack *stack, const struct ipv4_packet *ip)
{
    struct tcp_segment segment;

    enum wire_result result = tcp_decode(ip, &segment);
    if (result != WIRE_OK) {
        stack->counters.tcp_malformed += result == WIRE_MALFORMED;
        stack->counters.tcp_bad_checksum += result == WIRE_BAD_CHECKSUM;
        return;
    }
    stack->counters.tcp_in++;
    struct tcp_ends ends = {.remote_address = ip->source,
                            .remote_port = segment.source_port,
                            .local_port = segment.destination_port,
                            .v6 = ipv6_ends_of(ip)};
    struct tcp_connection *c = tcp_lookup(stack, ends);
    if (c != NULL && reopens(c, &segment)) {
        tcp_finish(c, STATUS_OK);
        c = NULL;
    }
    if (c == NULL && (segment.flags & (TCP_ACK | TCP_SYN | TCP_RST)) == TCP_ACK) {
        c = tcp_accept_cookie(stack, &segment);
    }
    if (c == NULL) {
        tcp_input_listen(stack, &segment);
    } else if (c->state == TCP_SYN_SENT) {
        tcp_input_syn_sent(c, &segment);
    } else if (!tcp_input_usual(c, &segment)) {
        input_open(c, &segment);
    }
}
