// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/internal.h"

#define HEAD_BYTES 8u

static struct buffer_meta *meta_of(const struct net_stack *stack, uint32_t buffer)
{
    return &stack->meta[buffer];
}

static void release_buffers(struct net_stack *stack, struct reassembly *packet)
{
    while (packet->head != NETBUF_NONE) {
        uint32_t buffer = packet->head;
        packet->head = meta_of(stack, buffer)->next;
        meta_of(stack, buffer)->queued = 0;
        netbuf_drop(stack->pool, buffer);
    }
    stack->fragments_held -= packet->count;
    packet->count = 0;
}

static void release(struct net_stack *stack, struct reassembly *packet)
{
    release_buffers(stack, packet);
    packet->state = REASSEMBLY_FREE;
}

/* Given up. A poisoned one has been counted already. */
static void fail(struct net_stack *stack, struct reassembly *packet)
{
    stack->counters.ip_reassembly_failed += packet->state == REASSEMBLY_OPEN;
    release(stack, packet);
}

/* Two fragments overlap: the whole packet is dropped, with what is still to come of it. */
static void poison(struct net_stack *stack, struct reassembly *packet)
{
    stack->counters.ip_fragment_overlaps++;
    stack->counters.ip_reassembly_failed += packet->state == REASSEMBLY_OPEN;
    release_buffers(stack, packet);
    packet->state = REASSEMBLY_POISONED;
}

static struct reassembly *oldest(struct net_stack *stack)
{
    struct reassembly *found = NULL;

    for (uint32_t i = 0; i < REASSEMBLY_PACKETS; i++) {
        struct reassembly *packet = &stack->reassembly[i];
        if (packet->state == REASSEMBLY_FREE) {
            continue;
        }
        if (found == NULL || packet->started < found->started) {
            found = packet;
        }
    }
    return found;
}

static bool same_packet(const struct reassembly *packet, const struct fragment *fragment)
{
    return packet->state != REASSEMBLY_FREE && packet->is_v6 == fragment->is_v6 &&
           packet->identification == fragment->identification &&
           (packet->is_v6 || packet->protocol == fragment->protocol) &&
           memcmp(&packet->ends, &fragment->ends, sizeof packet->ends) == 0;
}

static struct reassembly *find(struct net_stack *stack, const struct fragment *fragment)
{
    struct reassembly *empty = NULL;

    for (uint32_t i = 0; i < REASSEMBLY_PACKETS; i++) {
        struct reassembly *packet = &stack->reassembly[i];
        if (same_packet(packet, fragment)) {
            return packet;
        }
        if (packet->state == REASSEMBLY_FREE && empty == NULL) {
            empty = packet;
        }
    }
    if (empty == NULL) {
        empty = oldest(stack);
        fail(stack, empty);
    }
    *empty = (struct reassembly){.state = REASSEMBLY_OPEN,
                                 .protocol = fragment->protocol,
                                 .identification = fragment->identification,
                                 .ends = fragment->ends,
                                 .is_v6 = fragment->is_v6,
                                 .head = NETBUF_NONE,
                                 .started = stack->now};
    stack_due(stack, stack->now + REASSEMBLY_NS);
    return empty;
}

enum place { PLACE_OK, PLACE_KNOWN, PLACE_OVERLAP };

/* Where [start, end) goes: *previous is the fragment before it. */
static enum place find_place(const struct net_stack *stack, const struct reassembly *packet,
                             uint32_t start, uint32_t end, uint32_t *previous)
{
    *previous = NETBUF_NONE;
    for (uint32_t b = packet->head; b != NETBUF_NONE; b = meta_of(stack, b)->next) {
        const struct buffer_meta *meta = meta_of(stack, b);
        uint32_t other_end = meta->sequence + meta->length;
        if (meta->sequence == start && other_end == end) {
            return PLACE_KNOWN; /* the network repeated it (RFC 8200, 4.5) */
        }
        if (start < other_end && meta->sequence < end) {
            return PLACE_OVERLAP;
        }
        if (meta->sequence >= end) {
            break;
        }
        *previous = b;
    }
    return PLACE_OK;
}

/* Whether a fragment of these bounds may belong to the packet. */
static bool bounds_fit(const struct reassembly *packet, const struct fragment *fragment,
                       uint32_t end)
{
    if (packet->has_last && (end > packet->end || (!fragment->more && end != packet->end))) {
        return false;
    }
    return fragment->more || end >= packet->end;
}

static bool insert(struct net_stack *stack, struct reassembly *packet,
                   const struct fragment *fragment, const struct ipv4_packet *ip)
{
    uint32_t end = fragment->offset + ip->length;
    uint32_t previous;

    enum place place = find_place(stack, packet, fragment->offset, end, &previous);
    if (place == PLACE_KNOWN) {
        return false;
    }
    if (place == PLACE_OVERLAP || !bounds_fit(packet, fragment, end)) {
        poison(stack, packet);
        return false;
    }
    uint32_t *link = previous == NETBUF_NONE ? &packet->head : &meta_of(stack, previous)->next;
    *meta_of(stack, ip->buffer) = (struct buffer_meta){
        .next = *link,
        .sequence = fragment->offset,
        .offset = (uint16_t)(ip->payload - netbuf_data(stack->pool, ip->buffer)),
        .length = (uint16_t)ip->length,
        .queued = 1};
    *link = ip->buffer;
    netbuf_hold(stack->pool, ip->buffer);
    stack->fragments_held++;
    packet->count++;
    packet->bytes += ip->length;
    /* Without the last one, `end` is the furthest seen, so that a last one before it is refused. */
    packet->end = end > packet->end ? end : packet->end;
    packet->has_last = packet->has_last || !fragment->more;
    if (fragment->offset == 0) {
        packet->protocol = fragment->protocol;
    }
    return packet->has_last && packet->bytes == packet->end;
}

static void write_header(uint8_t *at, const struct reassembly *packet)
{
    if (packet->is_v6) {
        store_be32(at, 6u << 28);
        store_be32(at + 4, packet->end << 16 | (uint32_t)packet->protocol << 8 | 64u);
        memcpy(at + 8, &packet->ends, sizeof packet->ends);
        return;
    }
    struct ipv4_header header = {.source = load_be32(packet->ends.remote.byte),
                                 .destination = load_be32(packet->ends.local.byte),
                                 .total_length = packet->end + IPV4_BYTES,
                                 .protocol = packet->protocol};
    ipv4_write(at, &header);
}

/* Puts the whole packet together; *ip describes it. False: no buffer. */
static bool assemble(struct net_stack *stack, struct reassembly *packet, struct ipv4_packet *ip)
{
    uint32_t header = packet->is_v6 ? IPV6_BYTES : IPV4_BYTES;
    uint32_t front = STACK_HEADROOM_BYTES;
    uint8_t *payload = stack->reassembly_area + REASSEMBLY_HEADROOM;

    ip->buffer = NETBUF_NONE;
    if (front + packet->end <= stack->pool->buffer_bytes) {
        ip->buffer = stack_take_buffer(stack);
        if (ip->buffer == NETBUF_NONE) {
            return false;
        }
        payload = netbuf_data(stack->pool, ip->buffer) + front;
    }
    for (uint32_t b = packet->head; b != NETBUF_NONE; b = meta_of(stack, b)->next) {
        const struct buffer_meta *meta = meta_of(stack, b);
        memcpy(payload + meta->sequence, netbuf_data(stack->pool, b) + meta->offset, meta->length);
    }
    write_header(payload - header, packet);
    ip->header = payload - header;
    ip->payload = payload;
    ip->header_length = header;
    ip->length = packet->end;
    ip->protocol = packet->protocol;
    ip->fragment = 0;
    ip->summed = false;
    return true;
}

bool reassembly_input(struct net_stack *stack, const struct fragment *fragment,
                      struct ipv4_packet *ip)
{
    uint32_t end = fragment->offset + ip->length;

    if (ip->length == 0 || end > REASSEMBLY_BYTES_MAX - IPV6_BYTES ||
        (fragment->more && ip->length % 8u != 0)) {
        stack->counters.ip_fragments_malformed++;
        return false;
    }
    struct reassembly *packet = find(stack, fragment);
    if (packet->state == REASSEMBLY_POISONED) {
        return false;
    }
    if (stack->fragments_held == REASSEMBLY_BUFFERS || !stack_data_buffer_free(stack)) {
        struct reassembly *victim = oldest(stack);
        fail(stack, victim);
        if (victim == packet) {
            return false;
        }
    }
    if (!insert(stack, packet, fragment, ip)) {
        return false;
    }
    bool whole = assemble(stack, packet, ip);
    stack->counters.ip_reassembled += whole;
    stack->counters.ip_reassembly_failed += !whole;
    release(stack, packet);
    return whole;
}

time_ns_t reassembly_tick(struct net_stack *stack)
{
    struct reassembly *packet;

    while ((packet = oldest(stack)) != NULL) {
        if (stack->now < packet->started + REASSEMBLY_NS) {
            return packet->started + REASSEMBLY_NS;
        }
        fail(stack, packet);
    }
    return DEADLINE_NEVER;
}

/* ---- Sending ---------------------------------------------------------------------------------*/

struct piece {
    uint32_t start, length; /* of head and data together */
    uint32_t identification;
    bool more;
};

static void copy_piece(uint8_t *at, const struct fragment_send *send, const struct piece *piece)
{
    uint32_t head = piece->start == 0 ? HEAD_BYTES : 0;

    memcpy(at, send->head, head);
    memcpy(at + head, send->data + (piece->start + head - HEAD_BYTES), piece->length - head);
}

static status_t send_piece(struct net_stack *stack, const struct fragment_send *send,
                           const struct piece *piece)
{
    bool whole = piece->start == 0 && !piece->more;

    if (!stack_transmit_room(stack)) {
        return STATUS_FULL;
    }
    uint32_t buffer = stack_take_buffer(stack);
    if (buffer == NETBUF_NONE) {
        return STATUS_NO_MEMORY;
    }
    uint8_t *at = netbuf_data(stack->pool, buffer) + STACK_HEADROOM_BYTES;
    copy_piece(at, send, piece);
    if (send->v6 == NULL) {
        struct ipv4_send packet = {.source = send->source,
                                   .destination = send->destination,
                                   .buffer = buffer,
                                   .offset = STACK_HEADROOM_BYTES,
                                   .length = piece->length,
                                   .protocol = send->protocol};
        uint32_t word =
            piece->identification << 16 | (piece->more ? 0x2000u : 0) | piece->start / 8u;
        bool sent = whole ? ipv4_send(stack, &packet) : ipv4_send_fragment(stack, &packet, word);
        return sent ? STATUS_OK : STATUS_UNREACHABLE;
    }
    struct ipv6_send packet = {.ends = send->v6,
                               .buffer = buffer,
                               .offset = STACK_HEADROOM_BYTES,
                               .length = piece->length,
                               .protocol = send->protocol};
    if (!whole) {
        packet.offset -= 8u;
        packet.length += 8u;
        packet.protocol = IPV6_FRAGMENT;
        store_be32(at - 8, (uint32_t)send->protocol << 24 | piece->start | piece->more);
        store_be32(at - 4, piece->identification);
    }
    return ipv6_send(stack, &packet) ? STATUS_OK : STATUS_UNREACHABLE;
}

status_t fragment_send(struct net_stack *stack, const struct fragment_send *send)
{
    uint32_t mtu = send->v6 != NULL ? stack->v6.mtu_bytes : stack->dev->mtu_bytes;
    uint32_t header = send->v6 != NULL ? IPV6_BYTES : IPV4_BYTES;
    uint32_t total = send->length + HEAD_BYTES;
    struct piece piece = {.length = total};

    if (total > REASSEMBLY_BYTES_MAX - IPV6_BYTES) {
        return STATUS_TOO_LARGE;
    }
    if (total + header <= mtu) {
        return send_piece(stack, send, &piece);
    }
    uint32_t room = (mtu - header - (send->v6 != NULL ? 8u : 0)) & ~7u;
    piece.identification = (uint32_t)stack_random(stack);
    for (; piece.start < total; piece.start += piece.length) {
        piece.length = total - piece.start < room ? total - piece.start : room;
        piece.more = piece.start + piece.length < total;
        status_t status = send_piece(stack, send, &piece);
        if (status != STATUS_OK) {
            return status;
        }
    }
    stack->counters.ip_fragmented_out++;
    return STATUS_OK;
}
