// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The short ways through the stack for what is usual (tcp_fast.c, udp_fast.c). Each returns false,
 * with nothing done, for anything else; the general way takes that. Private to lib/net.
 */
#ifndef LIB_NET_FAST_H
#define LIB_NET_FAST_H

#include "lib/net/internal.h"

/* tcp_output for new data that fills the rest of the send queue. */
bool tcp_output_fast(struct tcp_connection *c);
/* The whole way in of a frame with an IPv4 header at least. */
bool tcp_input_fast(struct net_stack *stack, const struct netframe *frame);
bool udp_input_fast(struct net_stack *stack, const struct netframe *frame);
/* An established connection's segment: in order, nothing queued, nothing unusual. */
bool tcp_input_usual(struct tcp_connection *c, const struct tcp_segment *segment);
/* The socket bound to the port, or NULL. */
struct udp_socket *udp_find(struct net_stack *stack, uint16_t port);

#endif
