// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The usual segment on its short way in: from the host that was sent to last, IPv4 without options,
 * TCP with nothing but timestamps, ACK and data for an established connection. One function checks
 * all that ethernet_input, ipv4_input and tcp_input check; the general way takes every other frame.
 *
 * And out: new data that fills the rest of the send queue, on an
 * established IPv4 connection, to the neighbour that was sent to last, from the buffer in which it
 * lies. Does what tcp_send_new, tcp_send_piece and tcp_emit_open do for it, in one place; whatever
 * is unusual goes that way.
 */
#include "lib/net/fast.h"
#include "lib/net/ipv4_out.h"
#include "lib/net/tcp_internal.h"

#define UNUSUAL                                                                                    \
    (TCP_FLAG_SEND_SYN | TCP_FLAG_FORCE_SEND | TCP_FLAG_FIN_QUEUED | TCP_FLAG_PERSIST |            \
     TCP_FLAG_RECOVERY)

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

/* What a segment tells of the receiving side; returns the window field. */
static inline uint32_t tell_receiver(struct tcp_connection *c)
{
    uint32_t window = tcp_receive_window(c) >> c->receive_shift;
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

/* Writes header and timestamps in front of the payload; send is of the segment then. */
static inline void write_segment(struct tcp_connection *c, struct ipv4_send *send)
{
    struct net_stack *stack = c->stack;
    uint8_t *payload = netbuf_data(stack->pool, send->buffer) + send->offset;
    uint32_t bytes = TCP_BYTES;
    uint64_t sum = 0;

    if ((c->flags & TCP_FLAG_TIMESTAMPS) != 0) {
        uint64_t kind = __builtin_bswap32(TCP_TIMESTAMPS_WORD);
        uint64_t sent = __builtin_bswap32(tcp_timestamp_now(stack));
        uint64_t seen = __builtin_bswap32(c->timestamp_recent);
        bytes += TCP_TIMESTAMPS_BYTES;
        store_le32(payload - 12, (uint32_t)kind);
        store_le64(payload - 8, sent | seen << 32);
        sum = kind + sent + seen;
    }
    uint64_t ports = __builtin_bswap32((uint32_t)c->local_port << 16 | c->remote_port);
    uint64_t sequence = __builtin_bswap32(c->snd_nxt);
    uint64_t acknowledgment = __builtin_bswap32(c->rcv_nxt);
    uint64_t rest = __builtin_bswap32(bytes << 26 | (TCP_ACK | TCP_PSH) << 16 | tell_receiver(c));
    uint32_t length = send->length;
    uint8_t *at = payload - bytes;

    send->offset -= bytes;
    send->length += bytes;
    sum += pseudo_header_sum(send->source, send->destination, PROTOCOL_TCP, send->length);
    sum += ports + sequence + acknowledgment + rest;
    store_le64(at, ports | sequence << 32);
    store_le64(at + 8, acknowledgment | rest << 32);
    store_le32(at + 16, checksum_finish(checksum_add(sum, payload, length)));
}

bool tcp_output_fast(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;
    uint32_t buffer = c->send_cursor;

    if (buffer == NETBUF_NONE || buffer != c->send_tail || c->state != TCP_ESTABLISHED ||
        (c->flags & UNUSUAL) != 0 || c->snd_nxt != c->snd_max ||
        c->remote_address != stack->route_destination || stack->route_neighbour == IPV4_ANY) {
        return false;
    }
    struct ipv4_send send = {.source = stack->address,
                             .destination = c->remote_address,
                             .buffer = buffer,
                             .offset = stack->meta[buffer].offset,
                             .length = stack->meta[buffer].length,
                             .protocol = PROTOCOL_TCP};
    uint32_t length = send.length;
    if (stack->meta[buffer].sequence != c->snd_nxt || length > c->mss || !fits(c, length) ||
        stack->pool->references[buffer] != 1 || !stack_transmit_room(stack)) {
        return false;
    }
    netbuf_hold(stack->pool, buffer); /* the queue keeps it until it is acknowledged */
    write_segment(c, &send);
    uint32_t end = c->snd_nxt + length;
    if ((c->flags & TCP_FLAG_ROUND_TRIP) == 0) {
        c->flags |= TCP_FLAG_ROUND_TRIP;
        c->rtt_start = stack->now;
        c->rtt_sequence = end;
    }
    c->last_send = stack->now;
    c->send_cursor = NETBUF_NONE;
    c->pipe += length;
    c->snd_nxt = c->snd_max = end;
    if (c->retransmit_deadline == DEADLINE_NEVER) {
        tcp_arm_retransmit(c);
    }
    stack->counters.tcp_out++;
    ipv4_send_to(stack, &send, stack->route_neighbour);
    return true;
}

/* ---- In --------------------------------------------------------------------------------------*/

#define FRAME_BYTES_MIN (ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES)

/* Length of the TCP header when it is a usual one, else 0. */
static inline uint32_t usual_header(const uint8_t *tcp)
{
    if ((tcp[13] & (uint8_t)~TCP_PSH) != TCP_ACK) {
        return 0;
    }
    if (tcp[12] == TCP_BYTES << 2) {
        return TCP_BYTES;
    }
    return tcp[12] == (TCP_BYTES + TCP_TIMESTAMPS_BYTES) << 2 ? TCP_BYTES + TCP_TIMESTAMPS_BYTES
                                                              : 0;
}

static inline bool sums_are_right(const uint8_t *ip, uint32_t length)
{
    uint64_t pseudo = (uint64_t)load_le32(ip + 12) + load_le32(ip + 16) +
                      __builtin_bswap32((uint32_t)PROTOCOL_TCP << 16 | length);

    return checksum_fold(ipv4_header_sum(ip)) == 0xffffu &&
           checksum_fold(checksum_add(pseudo, ip + IPV4_BYTES, length)) == 0xffffu;
}

bool tcp_input_fast(struct net_stack *stack, const struct netframe *frame)
{
    const uint8_t *ip = netbuf_data(stack->pool, frame->buffer) + frame->offset + ETHERNET_BYTES;
    const uint8_t *tcp = ip + IPV4_BYTES;

    if (frame->length < FRAME_BYTES_MIN || ip[9] != PROTOCOL_TCP || ip[0] != 0x45u) {
        return false;
    }
    uint32_t total = load_be16(ip + 2);
    ipv4_t source = load_be32(ip + 12);
    uint32_t header = usual_header(tcp);
    if (total > frame->length - ETHERNET_BYTES || header == 0 || total < IPV4_BYTES + header ||
        (load_be16(ip + 6) & IPV4_FRAGMENT_MASK) != 0 || source == IPV4_ANY ||
        source != stack->route_destination || load_be32(ip + 16) != stack->address) {
        return false;
    }
    bool timestamps = header != TCP_BYTES;
    if ((timestamps && load_be32(tcp + TCP_BYTES) != TCP_TIMESTAMPS_WORD) ||
        !sums_are_right(ip, total - IPV4_BYTES)) {
        return false;
    }
    struct ipv4_packet packet = {.header = ip,
                                 .payload = tcp,
                                 .header_length = IPV4_BYTES,
                                 .length = total - IPV4_BYTES,
                                 .source = source,
                                 .destination = stack->address,
                                 .protocol = PROTOCOL_TCP,
                                 .buffer = frame->buffer};
    struct tcp_segment segment = {.source_port = load_be16(tcp),
                                  .destination_port = load_be16(tcp + 2),
                                  .sequence = load_be32(tcp + 4),
                                  .acknowledgment = load_be32(tcp + 8),
                                  .flags = tcp[13],
                                  .window = load_be16(tcp + 14),
                                  .data = tcp + header,
                                  .length = total - IPV4_BYTES - header,
                                  .has_timestamps = timestamps,
                                  .ip = &packet};
    if (timestamps) {
        segment.timestamp = load_be32(tcp + 24);
        segment.timestamp_echo = load_be32(tcp + 28);
    }
    struct tcp_connection *c =
        tcp_lookup(stack, (struct tcp_ends){.remote_address = source,
                                            .remote_port = segment.source_port,
                                            .local_port = segment.destination_port});
    if (c == NULL || !tcp_input_usual(c, &segment)) {
        return false;
    }
    stack->counters.ipv4_in++;
    stack->counters.tcp_in++;
    return true;
}
