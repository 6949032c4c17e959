// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The short ways through the stack for what is usual (tcp_fast.c, udp_fast.c). Each returns false,
 * with nothing done, for anything else; the general way takes that. Private to lib/net.
 */
#ifndef LIB_NET_FAST_H
#define LIB_NET_FAST_H

#include "lib/net/tcp_internal.h"

/* The whole way in of `count` Ethernet frames; drops their buffers' references. */
void input_burst(struct net_stack *stack, const struct netframe *frames, uint32_t count);
/* The general way in of one, whose bytes are at `at`. */
void ethernet_input(struct net_stack *stack, const struct netframe *frame, const uint8_t *at);
/* tcp_output for new data that fills the rest of the send queue, or for nothing but an
 * acknowledgement that can wait. */
bool tcp_output_fast(struct tcp_connection *c);
/* udp_send_buffer the general way. */
status_t udp_send_buffer_slow(struct udp_socket *socket, const struct udp_send_request *request);
/* An established connection's segment: in order, nothing queued, nothing unusual. */
bool tcp_input_usual(struct tcp_connection *c, const struct tcp_segment *segment);
/* The socket bound to the port, or NULL. */
static inline struct udp_socket *udp_find(struct net_stack *stack, uint16_t port)
{
    uint8_t index = stack->udp_bucket[port & (UDP_BUCKETS - 1u)];

    while (index != UDP_NONE && stack->udp[index].port != port) {
        index = stack->udp[index].next;
    }
    return index != UDP_NONE ? &stack->udp[index] : NULL;
}

/* The bucket for a connection with these addresses and ports, as they stand in the peer's packets.
 * The key is secret, so that peers cannot aim at one bucket; all bits of the product that are used
 * depend on all bits of the ends. */
static inline struct tcp_connection **tcp_bucket_of(struct net_stack *stack, uint32_t peer,
                                                    uint32_t ports)
{
    uint64_t ends = ((uint64_t)ports << 32 | peer) ^ stack->hash_key[0];
    unsigned __int128 product = (unsigned __int128)ends * stack->hash_key[1];

    return &stack->hash[((uint32_t)product ^ (uint32_t)(product >> 64)) & stack->hash_mask];
}

/* rtt_sample (RFC 6298, 2). */
static inline void rtt_take(struct tcp_connection *c, uint64_t rtt_ns)
{
    uint64_t difference = c->srtt_ns > rtt_ns ? c->srtt_ns - rtt_ns : rtt_ns - c->srtt_ns;

    if (c->srtt_ns == 0 || rtt_ns > TCP_RTO_MAX) {
        rtt_sample(c, rtt_ns);
        return;
    }
    c->rttvar_ns = (3u * c->rttvar_ns + difference) / 4u;
    c->srtt_ns = (7u * c->srtt_ns + rtt_ns) / 8u;
    uint64_t rto_ns = c->srtt_ns + 4u * c->rttvar_ns;
    rto_ns = rto_ns > TCP_RTO_MIN ? rto_ns : TCP_RTO_MIN;
    c->rto_ns = rto_ns < TCP_RTO_MAX ? rto_ns : TCP_RTO_MAX;
}

#endif
