// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Sending an IPv4 packet, for the layers that do it for every frame. Private to lib/net.
 */
#ifndef LIB_NET_IPV4_OUT_H
#define LIB_NET_IPV4_OUT_H

#include "lib/net/internal.h"

static inline struct ipv4_path *ipv4_path_of(struct net_stack *stack, uint32_t peer)
{
    return &stack->paths[(peer * 0x9e3779b1u) >> 26];
}

_Static_assert(IPV4_PATHS == 64u, "the index is the hash's top six bits");

/* Writes Ethernet's and IPv4's header of a packet of `total` bytes (from the IPv4 header on) of
 * TCP or UDP to `at`. */
static inline void ipv4_path_write(const struct ipv4_path *path, uint8_t *at, uint32_t total,
                                   uint32_t protocol)
{
    uint32_t length = __builtin_bswap16((uint16_t)total);
    uint32_t sum = (protocol == PROTOCOL_TCP ? path->tcp_sum : path->udp_sum) + length;

    memcpy(at, path->header, sizeof path->header);
    store_le16(at + ETHERNET_BYTES + 2, (uint16_t)length);
    at[ETHERNET_BYTES + 9] = (uint8_t)protocol;
    store_le16(at + ETHERNET_BYTES + 10, (uint16_t) ~(sum + (sum >> 16)));
}

/* Queues a frame that was written so; there is room (stack_transmit_room). */
static inline void ipv4_path_transmit(struct net_stack *stack, struct ipv4_path *path,
                                      struct netframe frame)
{
    path->neighbour->used = true;
    stack->tx[stack->tx_count++] = frame;
}

/* ipv4_send once the neighbour (ipv4_route's answer, not IPV4_ANY) is known. */
static inline void ipv4_send_to(struct net_stack *stack, const struct ipv4_send *send,
                                ipv4_t neighbour)
{
    uint32_t offset = send->offset - IPV4_BYTES;
    struct ipv4_header header = {.source = send->source,
                                 .destination = send->destination,
                                 .total_length = send->length + IPV4_BYTES,
                                 .protocol = send->protocol,
                                 .ecn = send->ecn};

    ipv4_write(netbuf_data(stack->pool, send->buffer) + offset, &header);
    arp_transmit(stack, neighbour,
                 (struct netframe){.buffer = send->buffer,
                                   .offset = (uint16_t)(offset - ETHERNET_BYTES),
                                   .length = (uint16_t)(header.total_length + ETHERNET_BYTES)});
    ipv4_path_learn(stack, send->destination, neighbour);
}

/* ipv4_send without a call when the destination was the last one, too. */
static inline bool ipv4_send_inline(struct net_stack *stack, const struct ipv4_send *send)
{
    if (send->destination != stack->route_destination || stack->route_neighbour == IPV4_ANY) {
        return ipv4_send(stack, send);
    }
    ipv4_send_to(stack, send, stack->route_neighbour);
    return true;
}

#endif
