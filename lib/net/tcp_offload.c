// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Large packets: several buffers of new data in a row leave as one packet with one header, which
 * the device sums and cuts into segments. Only what is usual (established, IPv4, nothing lost,
 * neighbour known); the rest goes segment by segment.
 */
#include "lib/net/tcp_internal.h"

#define UNUSUAL                                                                                    \
    (TCP_FLAG_SEND_SYN | TCP_FLAG_FORCE_SEND | TCP_FLAG_PERSIST | TCP_FLAG_RECOVERY |              \
     TCP_FLAG_NAGLE | TCP_FLAG_ECN_REDUCED /* of one segment only */)
/* Below this much payload the device's part costs more than it saves. */
#define LARGE_BYTES_MIN 512u
#define HEADERS_MAX (ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES + TCP_TIMESTAMPS_BYTES)

/* What the windows let go, in bytes behind snd_nxt. */
static uint32_t usable_bytes(const struct tcp_connection *c)
{
    uint32_t in_flight = c->snd_nxt - c->snd_una;
    uint32_t window = c->snd_wnd < c->cwnd ? c->snd_wnd : c->cwnd;

    return window > in_flight ? window - in_flight : 0;
}

/* The neighbour's entry when frames to it need not wait. */
static struct arp_entry *neighbour_of(const struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;
    struct arp_entry *entry = stack->arp_recent;

    return entry != NULL && c->remote_address == stack->route_destination &&
                   stack->route_neighbour != IPV4_ANY && entry->address == stack->route_neighbour &&
                   entry->state >= ARP_REACHABLE
               ? entry
               : NULL;
}

bool tcp_large_gather(struct tcp_connection *c, struct tcp_large *large)
{
    struct net_stack *stack = c->stack;
    bool cuts = (stack->dev->offloads & NETDEV_TX_SEGMENTS) != 0;
    uint32_t most = usable_bytes(c);
    uint32_t buffer = c->send_cursor;

    large->count = 0;
    large->bytes = 0;
    if (!cuts && most > c->mss) {
        most = c->mss;
    }
    if (c->state != TCP_ESTABLISHED || (c->flags & UNUSUAL) != 0 || c->snd_nxt != c->snd_max ||
        is_ipv6_tag(c->remote_address) || stack->meta[buffer].sequence != c->snd_nxt ||
        stack->meta[buffer].offset < HEADERS_MAX + sizeof(struct netframe_offload) ||
        neighbour_of(c) == NULL) {
        return false;
    }
    while (buffer != NETBUF_NONE && large->count < TCP_LARGE_BUFFERS) {
        const struct buffer_meta *meta = &stack->meta[buffer];
        if (large->bytes + meta->length > most || stack->pool->references[buffer] != 1) {
            break;
        }
        large->frames[large->count++] = (struct netframe){buffer, meta->offset, meta->length};
        large->bytes += meta->length;
        buffer = meta->next;
    }
    large->next = buffer;
    large->segment_bytes = large->bytes > c->mss ? c->mss : 0;
    /* A FIN rides on the last segment that is sent by itself. */
    return large->bytes >= LARGE_BYTES_MIN &&
           (buffer != NETBUF_NONE || (c->flags & TCP_FLAG_FIN_QUEUED) == 0);
}

bool tcp_large_room(struct net_stack *stack, const struct tcp_large *large)
{
    if (stack->tx_count + large->count > STACK_TX_QUEUE) {
        stack_hand_over(stack);
    }
    return stack->tx_count + large->count <= STACK_TX_QUEUE;
}

void tcp_large_transmit(struct net_stack *stack, const struct ipv4_send *send,
                        const struct tcp_large *large)
{
    uint8_t *tcp = netbuf_data(stack->pool, send->buffer) + send->offset;
    uint8_t *ip = tcp - IPV4_BYTES;
    uint8_t *frame = ip - ETHERNET_BYTES;
    uint32_t first = large->frames[0].length;
    uint32_t segment = send->length + large->bytes - first; /* header and payload */
    bool open = large->segment_bytes != 0 && (stack->dev->offloads & NETDEV_TX_OPEN_LENGTH) != 0;
    uint64_t sum =
        pseudo_header_sum(send->source, send->destination, PROTOCOL_TCP, open ? 0 : segment);
    struct ipv4_header header = {.source = send->source,
                                 .destination = send->destination,
                                 .total_length = segment + IPV4_BYTES,
                                 .protocol = PROTOCOL_TCP,
                                 .ecn = send->ecn};
    struct netframe_offload offload = {
        .segment_bytes = (uint16_t)large->segment_bytes,
        .header_bytes = (uint16_t)(send->length - first + IPV4_BYTES + ETHERNET_BYTES),
        .payload_bytes = large->bytes,
    };

    store_native16(tcp + 16, checksum_fold(sum));
    ipv4_write(ip, &header);
    if (open) {
        store_native16(ip + 2, 0);
        store_native16(ip + 10, 0);
    }
    memcpy(frame, stack->arp_recent->header, ETHERNET_BYTES);
    stack->arp_recent->used = true;
    memcpy(frame - sizeof offload, &offload, sizeof offload);
    stack->tx_large = true;
    for (uint32_t i = 0; i < large->count; i++) {
        struct netframe part = large->frames[i];
        if (i == 0) {
            part.offset = (uint16_t)((uint32_t)(frame - netbuf_data(stack->pool, part.buffer)) |
                                     NETFRAME_OFFLOAD);
            part.length = (uint16_t)(offload.header_bytes + first);
        }
        part.length |= i + 1u < large->count ? (uint16_t)NETFRAME_MORE : 0;
        stack->meta[part.buffer].sent = rack_ticks(stack);
        netbuf_hold(stack->pool, part.buffer); /* the queue keeps it until it is acknowledged */
        stack->tx[stack->tx_count++] = part;
    }
}
