// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The usual segment on its short way out: new data that fills the rest of the send queue, on an
 * established IPv4 connection, to a host whose path is known, from the buffer in which it lies.
 * Does what tcp_send_new, tcp_send_piece and tcp_emit_open do for it, in one place; whatever is
 * unusual goes that way.
 */
#include "lib/net/fast.h"
#include "lib/net/ipv4_out.h"
#include "lib/net/tcp_internal.h"

#define UNUSUAL                                                                                    \
    (TCP_FLAG_SEND_SYN | TCP_FLAG_FORCE_SEND | TCP_FLAG_FIN_QUEUED | TCP_FLAG_PERSIST |            \
     TCP_FLAG_RECOVERY | TCP_FLAG_V6 | TCP_FLAG_ECN)
/* Whether the windows let the whole piece go now. */
static inline bool fits(const struct tcp_connection *c, uint32_t length)
{
    uint32_t in_flight = c->snd_nxt - c->snd_una;
    uint32_t needed = in_flight + length;

    if (in_flight == 0) {
        /* After a pause the congestion window starts anew. */
        return needed <= c->snd_wnd && needed <= c->cwnd &&
               c->stack->now - c->last_send <= c->rto_ns;
    }
    return needed <= c->snd_wnd && needed <= c->cwnd && (c->flags & TCP_FLAG_NAGLE) == 0;
}

/* tcp_receive_window, nearly always with nothing unread. */
static inline uint32_t window_to_offer(const struct tcp_connection *c)
{
    uint32_t limit = c->stack->receive_window_bytes;
    uint32_t most = 0xffffu << c->receive_shift;
    uint32_t offered = c->rcv_adv - c->rcv_nxt;
    uint32_t space = limit < most ? limit : most;
    uint32_t step = 2u * c->mss < limit / 2u ? 2u * c->mss : limit / 2u;

    if (c->receive_unread != 0) {
        return tcp_receive_window(c);
    }
    return (int32_t)(space - offered) >= (int32_t)step ? space : offered;
}

/* What a segment tells of the receiving side; returns the window field. */
static inline uint32_t tell_receiver(struct tcp_connection *c)
{
    uint32_t window = window_to_offer(c) >> c->receive_shift;
    window = window < 0xffffu ? window : 0xffffu;
    uint32_t edge = c->rcv_nxt + (window << c->receive_shift);

    if (seq_after(edge, c->rcv_adv)) {
        c->rcv_adv = edge;
    }
    c->last_ack_sent = c->rcv_nxt;
    c->unacked_bytes = 0;
    c->flags &= ~(uint32_t)(TCP_FLAG_ACK_NOW | TCP_FLAG_ACK_DELAYED);
    c->ack_deadline = DEADLINE_NEVER;
    return window;
}

/* Writes all headers in front of the payload of `length` bytes; returns how long they are. */
static inline __attribute__((always_inline)) uint32_t write_headers(struct tcp_connection *c,
                                                                    const struct ipv4_path *path,
                                                                    uint8_t *payload,
                                                                    uint32_t length, bool stamped)
{
    struct net_stack *stack = c->stack;
    uint32_t bytes = TCP_BYTES;
    uint64_t sum = path->ends_sum;

    if (stamped) {
        uint64_t kind = __builtin_bswap32(TCP_TIMESTAMPS_WORD);
        uint64_t sent = __builtin_bswap32(tcp_timestamp_now(stack));
        uint64_t seen = __builtin_bswap32(c->timestamp_recent);
        bytes += TCP_TIMESTAMPS_BYTES;
        store_le32(payload - 12, (uint32_t)kind);
        store_le64(payload - 8, sent | seen << 32);
        sum += kind + sent + seen;
    }
    uint64_t ports = c->peer_ports << 16 | c->peer_ports >> 16;
    uint64_t sequence = __builtin_bswap32(c->snd_nxt);
    uint64_t acknowledgment = __builtin_bswap32(c->rcv_nxt);
    uint64_t rest = __builtin_bswap32(bytes << 26 | (TCP_ACK | TCP_PSH) << 16 | tell_receiver(c));
    uint8_t *at = payload - bytes;

    sum += ports + sequence + acknowledgment + rest + (PROTOCOL_TCP << 8) +
           __builtin_bswap16((uint16_t)(bytes + length));
    ipv4_path_write(path, at - IPV4_BYTES - ETHERNET_BYTES, bytes + length + IPV4_BYTES,
                    PROTOCOL_TCP);
    store_le64(at, ports | sequence << 32);
    store_le64(at + 8, acknowledgment | rest << 32);
    sum = length >= 8u ? checksum_add_packet(sum, payload, length)
                       : checksum_add(sum, payload, length);
    store_le32(at + 16, checksum_finish(sum));
    return bytes + IPV4_BYTES + ETHERNET_BYTES;
}

/* One copy of the code for each kind, so that all offsets are constants. */
static inline uint32_t write_segment(struct tcp_connection *c, const struct ipv4_path *path,
                                     uint8_t *payload, uint32_t length)
{
    return (c->flags & TCP_FLAG_TIMESTAMPS) != 0 ? write_headers(c, path, payload, length, true)
                                                 : write_headers(c, path, payload, length, false);
}

/* The segment to `end` is on its way: what tcp_send_piece and sent_to note. */
static inline void note_sent(struct tcp_connection *c, uint32_t length)
{
    struct net_stack *stack = c->stack;
    uint32_t end = c->snd_nxt + length;

    if ((c->flags & TCP_FLAG_ROUND_TRIP) == 0) {
        c->flags |= TCP_FLAG_ROUND_TRIP;
        c->rtt_start = stack->now;
        c->rtt_sequence = end;
    }
    c->last_send = stack->now;
    stack->meta[c->send_cursor].sent = rack_ticks(stack);
    c->send_cursor = NETBUF_NONE;
    c->pipe += length;
    c->snd_nxt = c->snd_max = end;
    if (c->retransmit_deadline != DEADLINE_NEVER) {
        if (end - c->snd_una > c->mss && (c->flags & TCP_FLAG_PROBE_TIMER) == 0) {
            rack_arm_probe(c);
        }
        return;
    }
    c->flags &= ~(uint32_t)(TCP_FLAG_PROBE_TIMER | TCP_FLAG_REORDER_TIMER);
    time_ns_t deadline = stack->now + c->rto_ns;
    if (c->backoff != 0 || deadline < c->wheel_deadline) {
        tcp_arm_retransmit(c);
    } else {
        c->retransmit_deadline = deadline;
    }
}

/* Nothing to send: an acknowledgement that may wait. */
static inline bool wait_to_acknowledge(struct tcp_connection *c)
{
    if ((c->flags & TCP_FLAG_ACK_NOW) != 0 || c->unacked_bytes >= 2u * c->mss) {
        return false;
    }
    if ((c->flags & TCP_FLAG_ACK_DELAYED) != 0 && c->ack_deadline == DEADLINE_NEVER) {
        c->ack_deadline = c->stack->now + TCP_DELAYED_ACK;
        if (c->ack_deadline < c->wheel_deadline) {
            tcp_timer_update(c);
        }
    }
    return true;
}

bool tcp_output_fast(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;
    uint32_t buffer = c->send_cursor;

    if (c->state != TCP_ESTABLISHED || (c->flags & UNUSUAL) != 0) {
        return false;
    }
    if (buffer == NETBUF_NONE) {
        return wait_to_acknowledge(c);
    }
    const struct buffer_meta *meta = &stack->meta[buffer];
    uint32_t peer = (uint32_t)c->peer_ends;
    struct ipv4_path *path = ipv4_path_of(stack, peer);
    uint32_t length = meta->length;
    if (buffer != c->send_tail || c->snd_nxt != c->snd_max || path->peer != peer ||
        meta->sequence != c->snd_nxt || length > c->mss || !fits(c, length) ||
        stack->pool->references[buffer] != 1 || !stack_transmit_room(stack)) {
        return false;
    }
    netbuf_hold(stack->pool, buffer); /* the queue keeps it until it is acknowledged */
    uint32_t bytes =
        write_segment(c, path, netbuf_data(stack->pool, buffer) + meta->offset, length);
    note_sent(c, length);
    stack->counters.tcp_out++;
    ipv4_path_transmit(stack, path,
                       (struct netframe){.buffer = buffer,
                                         .offset = (uint16_t)(meta->offset - bytes),
                                         .length = (uint16_t)(length + bytes)});
    return true;
}
