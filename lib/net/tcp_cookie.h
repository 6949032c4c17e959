// SPDX-License-Identifier: MIT OR Apache-2.0
/* SYN cookies (tcp_cookie.c) and what they share with ordinary SYNs. Private to lib/net. */
#ifndef LIB_NET_TCP_COOKIE_H
#define LIB_NET_TCP_COOKIE_H

#include "lib/net/tcp_internal.h"

struct tcp_syn_options {
    uint32_t mss;
    bool sack, timestamps, scaled;
    uint8_t window_scale;
    uint32_t timestamp, timestamp_echo;
};
/* Answers a SYN that there is no room for; remembers nothing of it. */
void tcp_cookie_answer(struct net_stack *stack, struct tcp_listener *listener,
                       const struct tcp_segment *segment, struct tcp_ends ends);
/* Whether the segment acknowledges such an answer; then *syn is what the SYN had said. */
bool tcp_cookie_check(struct net_stack *stack, const struct tcp_listener *listener,
                      const struct tcp_segment *segment, struct tcp_segment *syn);
/* A SYN-ACK to the segment's sender, for no connection. */
void tcp_send_syn_ack(struct net_stack *stack, const struct tcp_segment *segment, uint32_t sequence,
                      const struct tcp_syn_options *options);

#endif
