// SPDX-License-Identifier: MIT OR Apache-2.0
/* TCP sending: segments, acknowledgements, resets (RFC 9293, 3.8 and 3.10). */
#include "lib/net/ipv4_out.h"
#include "lib/net/tcp_cookie.h"
#include "lib/net/tcp_internal.h"

#define RESET_INTERVAL (2u * NS_PER_MS)
#define RESET_BURST 100u

struct tcp_emit {
    uint32_t buffer; /* its reference is taken over */
    uint32_t offset; /* of the payload */
    uint32_t length; /* of the payload */
    uint32_t sequence;
    uint32_t option_bytes; /* between the header and the payload, already written, multiple of 4 */
    uint8_t flags;
    uint8_t ecn;                   /* enum ip_ecn */
    const struct tcp_large *large; /* NULL: this segment alone */
};

struct tcp_header {
    ipv4_t remote_address;
    const struct ipv6_ends *v6; /* when remote_address is a tag */
    uint16_t source_port;
    uint16_t destination_port;
    uint32_t acknowledgment;
    uint16_t window;
};

/* The rest for IPv6: sums and sends the segment that lies at send->offset. */
static void tcp_emit_v6(struct net_stack *stack, const struct ipv6_ends *ends,
                        const struct ipv4_send *segment)
{
    struct ipv6_send send = {.ends = ends,
                             .buffer = segment->buffer,
                             .offset = segment->offset,
                             .length = segment->length,
                             .protocol = PROTOCOL_TCP,
                             .ecn = segment->ecn};
    uint8_t *at = netbuf_data(stack->pool, send.buffer) + send.offset;
    uint64_t sum = ipv6_pseudo_sum(ends, PROTOCOL_TCP, send.length);

    store_native16(at + 16, checksum_finish(checksum_add(sum, at, send.length)));
    (void)ipv6_send(stack, &send);
}

/* Writes the header in front of options and payload, sums, sends. */
static void tcp_emit_segment(struct net_stack *stack, const struct tcp_header *header,
                             const struct tcp_emit *emit)
{
    struct ipv4_send send = {.source = stack->address,
                             .destination = header->remote_address,
                             .buffer = emit->buffer,
                             .offset = emit->offset - emit->option_bytes - TCP_BYTES,
                             .length = emit->length + emit->option_bytes + TCP_BYTES,
                             .protocol = PROTOCOL_TCP,
                             .ecn = emit->ecn};
    uint8_t *at = netbuf_data(stack->pool, emit->buffer) + send.offset;

    store_be32(at, (uint32_t)header->source_port << 16 | header->destination_port);
    store_be32(at + 4, emit->sequence);
    store_be32(at + 8, header->acknowledgment);
    store_be32(at + 12, (TCP_BYTES + emit->option_bytes) << 26 | (uint32_t)emit->flags << 16 |
                            header->window);
    store_be32(at + 16, 0);
    stack->counters.tcp_out++;
    if (emit->large != NULL) {
        tcp_large_transmit(stack, &send, emit->large);
        return;
    }
    if (is_ipv6_tag(header->remote_address)) {
        tcp_emit_v6(stack, header->v6, &send);
        return;
    }
    uint64_t sum = pseudo_header_sum(send.source, send.destination, PROTOCOL_TCP, send.length);
    store_native16(at + 16, checksum_finish(checksum_add(sum, at, send.length)));
    (void)ipv4_send_inline(stack, &send);
}

static void write_timestamps(const struct tcp_connection *c, uint8_t *at)
{
    store_be32(at, TCP_TIMESTAMPS_WORD);
    store_be32(at + 4, tcp_timestamp_now(c->stack));
    store_be32(at + 8, c->timestamp_recent);
}

/* Sends a segment of an open connection; it carries the acknowledgement and the window. The caller
 * wrote no options: timestamps are added when agreed, in front of emit->option_bytes. */
static void tcp_emit_open(struct tcp_connection *c, struct tcp_emit *emit)
{
    struct net_stack *stack = c->stack;
    uint32_t window = tcp_receive_window(c) >> c->receive_shift;
    struct tcp_header header = {.remote_address = c->remote_address,
                                .v6 = &c->v6,
                                .source_port = c->local_port,
                                .destination_port = c->remote_port,
                                .acknowledgment = c->rcv_nxt,
                                .window = (uint16_t)(window < 0xffffu ? window : 0xffffu)};

    if ((c->flags & TCP_FLAG_TIMESTAMPS) != 0) {
        emit->option_bytes += TCP_TIMESTAMPS_BYTES;
        write_timestamps(c, netbuf_data(stack->pool, emit->buffer) + emit->offset -
                                emit->option_bytes);
    }
    if ((c->flags & TCP_FLAG_ECN) != 0) {
        emit->flags |= ecn_output(c, emit->length != 0 && emit->sequence == c->snd_max, &emit->ecn);
    }
    uint32_t edge = c->rcv_nxt + ((uint32_t)header.window << c->receive_shift);
    if (seq_after(edge, c->rcv_adv)) {
        c->rcv_adv = edge;
    }
    c->last_ack_sent = c->rcv_nxt;
    c->unacked_bytes = 0;
    c->flags &= ~(uint32_t)(TCP_FLAG_ACK_NOW | TCP_FLAG_ACK_DELAYED);
    c->ack_deadline = DEADLINE_NEVER;
    c->last_send = stack->now;
    tcp_emit_segment(stack, &header, emit);
}

/* An empty segment with room for options of 40 bytes; false: no buffer or no room. */
static bool tcp_empty_segment(struct net_stack *stack, struct tcp_emit *emit)
{
    if (!stack_transmit_room(stack)) {
        return false;
    }
    emit->buffer = stack_take_buffer(stack);
    emit->offset = STACK_HEADROOM_BYTES;
    emit->length = 0;
    return emit->buffer != NETBUF_NONE;
}

static uint32_t write_sack(const struct tcp_connection *c, uint8_t *end)
{
    struct tcp_sack_block blocks[3];
    uint32_t count = tcp_sack_blocks(c, blocks, 3);
    uint32_t bytes = count != 0 ? 4u + 8u * count : 0;
    uint8_t *at = end - bytes;

    if (count != 0) {
        store_be32(at, (uint32_t)TCP_OPTION_NOP << 24 | (uint32_t)TCP_OPTION_NOP << 16 |
                           TCP_OPTION_SACK << 8 | (2u + 8u * count));
    }
    for (uint32_t i = 0; i < count; i++) {
        store_be32(at + 4u + 8u * i, blocks[i].start);
        store_be32(at + 8u + 8u * i, blocks[i].end);
    }
    return bytes;
}

void tcp_send_ack(struct tcp_connection *c)
{
    struct tcp_emit emit = {.sequence = c->snd_max, .flags = TCP_ACK};

    if (!tcp_empty_segment(c->stack, &emit)) {
        c->flags |= TCP_FLAG_ACK_NOW;
        tcp_activate(c);
        return;
    }
    if ((c->flags & TCP_FLAG_SACK) != 0 && c->receive_head != NETBUF_NONE) {
        emit.option_bytes = write_sack(c, netbuf_data(c->stack->pool, emit.buffer) + emit.offset);
    }
    tcp_emit_open(c, &emit);
}

void tcp_send_probe(struct tcp_connection *c)
{
    struct tcp_emit emit = {.sequence = c->snd_una - 1u, .flags = TCP_ACK};

    if (tcp_empty_segment(c->stack, &emit)) {
        tcp_emit_open(c, &emit);
    }
}

void tcp_send_reset(struct tcp_connection *c)
{
    struct tcp_emit emit = {.sequence = c->snd_nxt, .flags = TCP_RST | TCP_ACK};

    if (tcp_empty_segment(c->stack, &emit)) {
        c->stack->counters.tcp_reset_out++;
        tcp_emit_open(c, &emit);
    }
}

void tcp_send_reset_for(struct net_stack *stack, const struct tcp_segment *segment)
{
    struct tcp_header header = {.remote_address = segment->ip->source,
                                .v6 = ipv6_ends_of(segment->ip),
                                .source_port = segment->destination_port,
                                .destination_port = segment->source_port};
    struct tcp_emit emit = {.flags = TCP_RST};

    if ((segment->flags & TCP_RST) != 0 ||
        !rate_limit_take(&stack->reset_limit, stack->now, RESET_INTERVAL, RESET_BURST) ||
        !tcp_empty_segment(stack, &emit)) {
        return;
    }
    if ((segment->flags & TCP_ACK) != 0) {
        emit.sequence = segment->acknowledgment;
    } else {
        emit.flags = TCP_RST | TCP_ACK;
        header.acknowledgment = segment->sequence + segment->length +
                                ((segment->flags & TCP_SYN) != 0) +
                                ((segment->flags & TCP_FIN) != 0);
    }
    stack->counters.tcp_reset_out++;
    tcp_emit_segment(stack, &header, &emit);
}

/* Returns the bytes written. */
static uint32_t write_syn_options(const struct tcp_syn_options *options, uint8_t *at)
{
    uint8_t *start = at;

    store_be32(at, (uint32_t)TCP_OPTION_MSS << 24 | 4u << 16 | options->mss);
    at += 4;
    if (options->sack) {
        store_be32(at, (uint32_t)TCP_OPTION_NOP << 24 | (uint32_t)TCP_OPTION_NOP << 16 |
                           TCP_OPTION_SACK_PERMITTED << 8 | 2u);
        at += 4;
    }
    if (options->timestamps) {
        store_be32(at, TCP_TIMESTAMPS_WORD);
        store_be32(at + 4, options->timestamp);
        store_be32(at + 8, options->timestamp_echo);
        at += TCP_TIMESTAMPS_BYTES;
    }
    if (options->scaled) {
        store_be32(at, (uint32_t)TCP_OPTION_NOP << 24 | (uint32_t)TCP_OPTION_WINDOW_SCALE << 16 |
                           3u << 8 | options->window_scale);
        at += 4;
    }
    return (uint32_t)(at - start);
}

/* Puts the options where the headers of a SYN go. */
static void place_syn_options(const struct net_stack *stack, struct tcp_emit *emit,
                              const struct tcp_syn_options *options)
{
    uint8_t *at = netbuf_data(stack->pool, emit->buffer) + STACK_HEADROOM_BYTES - 40u;

    emit->option_bytes = write_syn_options(options, at);
    emit->offset = STACK_HEADROOM_BYTES - 40u + emit->option_bytes;
}

static uint32_t syn_window(const struct net_stack *stack)
{
    return stack->receive_window_bytes < 0xffffu ? stack->receive_window_bytes : 0xffffu;
}

void tcp_send_syn_ack(struct net_stack *stack, const struct tcp_segment *segment, uint32_t sequence,
                      const struct tcp_syn_options *options)
{
    struct tcp_header header = {.remote_address = segment->ip->source,
                                .v6 = ipv6_ends_of(segment->ip),
                                .source_port = segment->destination_port,
                                .destination_port = segment->source_port,
                                .acknowledgment = segment->sequence + 1u,
                                .window = (uint16_t)syn_window(stack)};
    struct tcp_emit emit = {.sequence = sequence, .flags = TCP_SYN | TCP_ACK};

    if (tcp_empty_segment(stack, &emit)) {
        place_syn_options(stack, &emit, options);
        tcp_emit_segment(stack, &header, &emit);
    }
}

static void tcp_send_syn(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;
    uint32_t window = syn_window(stack);
    struct tcp_header header = {.remote_address = c->remote_address,
                                .v6 = &c->v6,
                                .source_port = c->local_port,
                                .destination_port = c->remote_port,
                                .window = (uint16_t)window};
    struct tcp_emit emit = {.sequence = c->iss, .flags = TCP_SYN};

    if (!tcp_empty_segment(stack, &emit)) {
        tcp_activate(c);
        return;
    }
    if (c->state == TCP_SYN_RECEIVED) {
        emit.flags = TCP_SYN | TCP_ACK;
        header.acknowledgment = c->rcv_nxt;
        c->last_ack_sent = c->rcv_nxt;
        c->rcv_adv = c->rcv_nxt + window;
    }
    emit.flags |= ecn_syn_flags(c);
    /* What this side offers, or the peer offered too. */
    struct tcp_syn_options options = {.mss = tcp_own_mss(stack, c->remote_address),
                                      .sack = (c->flags & TCP_FLAG_SACK) != 0,
                                      .timestamps = (c->flags & TCP_FLAG_TIMESTAMPS) != 0,
                                      .scaled = (c->flags & TCP_FLAG_WINDOW_SCALE) != 0,
                                      .window_scale = c->receive_shift,
                                      .timestamp = tcp_timestamp_now(stack),
                                      .timestamp_echo = c->timestamp_recent};
    place_syn_options(stack, &emit, &options);
    c->flags &= ~(uint32_t)(TCP_FLAG_SEND_SYN | TCP_FLAG_ACK_NOW);
    if (c->snd_max == c->iss) {
        c->snd_nxt = c->snd_max = c->iss + 1u;
        c->rtt_sequence = c->snd_max;
        c->rtt_start = stack->now;
        c->flags |= TCP_FLAG_ROUND_TRIP;
    } else {
        stack->counters.tcp_retransmits++;
        c->retransmits++;
    }
    tcp_emit_segment(stack, &header, &emit);
    if (c->retransmit_deadline == DEADLINE_NEVER) {
        tcp_arm_retransmit(c);
    }
}

struct tcp_piece {
    uint32_t buffer; /* of the send queue; NETBUF_NONE: a bare FIN */
    uint32_t sequence;
    uint32_t length;
    bool fin;
};

/* Sends a part of the send queue, from its own buffer when its headers fit in front and the device
 * is not still reading there, else from a copy. False: no buffer or no room now. */
static bool tcp_send_piece(struct tcp_connection *c, const struct tcp_piece *piece)
{
    struct net_stack *stack = c->stack;
    struct tcp_emit emit = {.offset = STACK_HEADROOM_BYTES,
                            .length = piece->length,
                            .sequence = piece->sequence,
                            .flags = TCP_ACK};

    if (!stack_transmit_room(stack)) {
        return false;
    }
    const struct buffer_meta *meta =
        piece->buffer != NETBUF_NONE ? &stack->meta[piece->buffer] : NULL;
    if (meta != NULL && piece->sequence == meta->sequence &&
        stack->pool->references[piece->buffer] == 1) {
        emit.buffer = piece->buffer;
        emit.offset = meta->offset;
        netbuf_hold(stack->pool, piece->buffer);
    } else {
        emit.buffer = stack_take_buffer(stack);
        if (emit.buffer == NETBUF_NONE) {
            return false;
        }
        if (meta != NULL) {
            memcpy(netbuf_data(stack->pool, emit.buffer) + emit.offset,
                   netbuf_data(stack->pool, piece->buffer) + meta->offset +
                       (piece->sequence - meta->sequence),
                   piece->length);
        }
    }
    if (piece->fin) {
        emit.flags |= TCP_FIN;
    }
    /* What is noted here of new data, tcp_output_fast notes, too. */
    if (meta != NULL) {
        stack->meta[piece->buffer].sent = rack_ticks(stack);
    }
    uint32_t end = piece->sequence + piece->length;
    if (end == c->send_end && piece->length != 0) {
        emit.flags |= TCP_PSH;
    }
    if (seq_before(piece->sequence, c->snd_max)) {
        stack->counters.tcp_retransmits++;
        c->retransmits++;
    } else if ((c->flags & TCP_FLAG_ROUND_TRIP) == 0) {
        c->flags |= TCP_FLAG_ROUND_TRIP;
        c->rtt_start = stack->now;
        c->rtt_sequence = end + piece->fin;
    }
    tcp_emit_open(c, &emit);
    return true;
}

/* Whether the piece that starts at `sequence` and reaches to `end` takes the FIN along. */
static bool takes_fin(const struct tcp_connection *c, uint32_t end)
{
    return (c->flags & TCP_FLAG_FIN_QUEUED) != 0 && end == c->send_end;
}

bool tcp_retransmit_buffer(struct tcp_connection *c, uint32_t buffer)
{
    const struct buffer_meta *meta = &c->stack->meta[buffer];
    uint32_t end = meta->sequence + meta->length;
    struct tcp_piece piece = {.buffer = buffer, .sequence = meta->sequence};

    if (seq_before(piece.sequence, c->snd_una)) {
        piece.sequence = c->snd_una;
    }
    end = seq_before(c->snd_max, end) ? c->snd_max : end;
    /* A round-trip sample of this range would mean nothing (Karn; RFC 6298, 3). */
    c->flags &= ~(uint32_t)TCP_FLAG_ROUND_TRIP;
    /* Several pieces only where the segment size has become smaller than the buffer's payload. */
    do {
        piece.length = end - piece.sequence < c->mss ? end - piece.sequence : c->mss;
        piece.fin = takes_fin(c, piece.sequence + piece.length) && c->snd_max == c->send_end + 1u;
        if (!tcp_send_piece(c, &piece)) {
            return false;
        }
        piece.sequence += piece.length;
    } while (seq_before(piece.sequence, end));
    return true;
}

void tcp_retransmit_first(struct tcp_connection *c)
{
    uint32_t buffer = tcp_send_queue_find(c, c->snd_una);

    if (buffer != NETBUF_NONE) {
        (void)tcp_retransmit_buffer(c, buffer);
    } else if (c->snd_max == c->send_end + 1u && c->snd_una == c->send_end) {
        struct tcp_piece fin = {.buffer = NETBUF_NONE, .sequence = c->send_end, .fin = true};
        (void)tcp_send_piece(c, &fin);
    }
}

/* Bytes of the next piece that may go now, 0 if none (RFC 9293, 3.8.6.2.1). */
static uint32_t sendable_bytes(const struct tcp_connection *c, uint32_t remaining)
{
    uint32_t in_flight = c->snd_nxt - c->snd_una;
    uint32_t on_the_way = tcp_sack_recovery(c) ? c->pipe : in_flight;
    uint32_t cwnd = c->cwnd;

    if ((c->flags & TCP_FLAG_RECOVERY) == 0) {
        /* Limited transmit (RFC 3042). */
        cwnd += (c->duplicate_acks < 2u ? c->duplicate_acks : 2u) * c->mss;
    }
    if (c->snd_wnd <= in_flight || cwnd <= on_the_way) {
        return 0;
    }
    uint32_t by_peer = c->snd_wnd - in_flight;
    uint32_t by_network = cwnd - on_the_way;
    uint32_t usable = by_peer < by_network ? by_peer : by_network;
    uint32_t wanted = remaining < c->mss ? remaining : c->mss;
    if (usable >= wanted) {
        bool waits = (c->flags & (TCP_FLAG_NAGLE | TCP_FLAG_FIN_QUEUED)) == TCP_FLAG_NAGLE &&
                     wanted < c->mss && in_flight != 0;
        return waits ? 0 : wanted;
    }
    bool worthwhile = usable == by_peer && usable >= c->snd_wnd_max / 2u;
    return worthwhile || (c->flags & TCP_FLAG_FORCE_SEND) != 0 ? usable : 0;
}

static void sent_to(struct tcp_connection *c, uint32_t sequence)
{
    c->snd_nxt = sequence;
    if (seq_after(sequence, c->snd_max)) {
        c->snd_max = sequence;
    }
    if (c->retransmit_deadline == DEADLINE_NEVER || (c->flags & TCP_FLAG_PERSIST) != 0) {
        c->flags &= ~(uint32_t)TCP_FLAG_PERSIST;
        tcp_arm_retransmit(c);
    } else if ((c->flags & TCP_FLAG_PROBE_TIMER) == 0) {
        rack_arm_probe(c);
    }
}

/* Sends several buffers as one packet where the device cuts it. False: nothing was sent. */
static bool tcp_send_large(struct tcp_connection *c)
{
    struct tcp_large large;

    if (!tcp_large_gather(c, &large) || !tcp_large_room(c->stack, &large)) {
        return false;
    }
    uint32_t end = c->snd_nxt + large.bytes;
    struct tcp_emit emit = {.buffer = large.frames[0].buffer,
                            .offset = large.frames[0].offset,
                            .length = large.frames[0].length,
                            .sequence = c->snd_nxt,
                            .flags = end == c->send_end ? TCP_ACK | TCP_PSH : TCP_ACK,
                            .large = &large};
    if ((c->flags & TCP_FLAG_ROUND_TRIP) == 0) {
        c->flags |= TCP_FLAG_ROUND_TRIP;
        c->rtt_start = c->stack->now;
        c->rtt_sequence = end;
    }
    c->stack->counters.tcp_large_out++;
    tcp_emit_open(c, &emit);
    c->send_cursor = large.next;
    c->pipe += large.bytes;
    sent_to(c, end);
    return true;
}

/* Sends what the windows allow. False: the device or the pool holds it up. */
static bool tcp_send_new(struct tcp_connection *c)
{
    while (c->send_cursor != NETBUF_NONE) {
        if (c->stack->dev->offloads != 0 && tcp_send_large(c)) {
            continue;
        }
        const struct buffer_meta *meta = &c->stack->meta[c->send_cursor];
        uint32_t buffer_end = meta->sequence + meta->length;
        if (meta->sacked != 0 && c->send_cursor != c->send_head &&
            seq_at_or_before(buffer_end, c->snd_max)) {
            c->snd_nxt = buffer_end; /* going over it again after a timeout: it has arrived */
            c->send_cursor = meta->next;
            continue;
        }
        struct tcp_piece piece = {.buffer = c->send_cursor,
                                  .sequence = c->snd_nxt,
                                  .length = sendable_bytes(c, buffer_end - c->snd_nxt)};
        if (piece.length == 0) {
            return true;
        }
        uint32_t end = c->snd_nxt + piece.length;
        piece.fin = takes_fin(c, end);
        if (!tcp_send_piece(c, &piece)) {
            return false;
        }
        if (end == buffer_end) {
            c->send_cursor = meta->next;
        }
        c->pipe += piece.length;
        sent_to(c, end + piece.fin);
    }
    if ((c->flags & TCP_FLAG_FIN_QUEUED) != 0 && c->snd_nxt == c->send_end) {
        struct tcp_piece fin = {.buffer = NETBUF_NONE, .sequence = c->send_end, .fin = true};
        if (!tcp_send_piece(c, &fin)) {
            return false;
        }
        sent_to(c, c->send_end + 1u);
    }
    return true;
}

/* Data waits, nothing is in flight, and the peer's window keeps it back: the timer will probe. */
static void tcp_check_persist(struct tcp_connection *c)
{
    if (c->send_cursor != NETBUF_NONE && c->snd_una == c->snd_max &&
        c->retransmit_deadline == DEADLINE_NEVER) {
        c->flags |= TCP_FLAG_PERSIST;
        tcp_arm_retransmit(c);
    }
}

void tcp_output(struct tcp_connection *c)
{
    if ((c->flags & TCP_FLAG_SEND_SYN) != 0) {
        tcp_send_syn(c);
        return;
    }
    if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED) {
        return;
    }
    if (c->send_cursor != NETBUF_NONE && c->snd_una == c->snd_max &&
        c->stack->now - c->last_send > c->rto_ns) {
        congestion_idle(c);
    }
    bool forced = (c->flags & TCP_FLAG_FORCE_SEND) != 0;
    uint32_t before = c->snd_nxt;
    if ((tcp_sack_recovery(c) && !sack_output(c)) || !tcp_send_new(c)) {
        tcp_activate(c); /* again with the next poll */
        return;
    }
    c->flags &= ~(uint32_t)TCP_FLAG_FORCE_SEND;
    if (forced && c->snd_nxt == before && c->send_cursor != NETBUF_NONE) {
        c->stack->counters.tcp_zero_window_probes++;
        tcp_send_probe(c);
    }
    tcp_check_persist(c);
    if ((c->flags & TCP_FLAG_ACK_NOW) != 0 ||
        ((c->flags & TCP_FLAG_ACK_DELAYED) != 0 && c->unacked_bytes >= 2u * c->mss)) {
        tcp_send_ack(c);
    } else if ((c->flags & TCP_FLAG_ACK_DELAYED) != 0 && c->ack_deadline == DEADLINE_NEVER) {
        c->ack_deadline = c->stack->now + TCP_DELAYED_ACK;
        tcp_timer_update(c);
    }
}
