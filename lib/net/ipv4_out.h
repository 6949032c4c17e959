// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Sending an IPv4 packet, for the layers that do it for every frame. Private to lib/net.
 */
#ifndef LIB_NET_IPV4_OUT_H
#define LIB_NET_IPV4_OUT_H

#include "lib/net/internal.h"

/* ipv4_send once the neighbour (ipv4_route's answer, not IPV4_ANY) is known. */
static inline void ipv4_send_to(struct net_stack *stack, const struct ipv4_send *send,
                                ipv4_t neighbour)
{
    uint32_t offset = send->offset - IPV4_BYTES;
    struct ipv4_header header = {.source = send->source,
                                 .destination = send->destination,
                                 .total_length = send->length + IPV4_BYTES,
                                 .protocol = send->protocol};

    ipv4_write(netbuf_data(stack->pool, send->buffer) + offset, &header);
    arp_transmit(stack, neighbour,
                 (struct netframe){.buffer = send->buffer,
                                   .offset = (uint16_t)(offset - ETHERNET_BYTES),
                                   .length = (uint16_t)(header.total_length + ETHERNET_BYTES)});
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
