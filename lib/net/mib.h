// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The stack's counters under the names that netstat and nstat users know: the MIBs of IP and ICMP
 * (RFC 4293), TCP (RFC 4022) and UDP (RFC 4113), and in TcpExt and IpExt names of Linux for what
 * those leave out. Groups and names are those of /proc/net/snmp, snmp6 and netstat. What the stack
 * does not count is left out, not 0.
 *
 * Listeners and bound ports for lists; connections are in stack.h (stack_connection).
 *
 * Thread rule: as stack.h. Nothing here changes the stack.
 */
#ifndef LIB_NET_MIB_H
#define LIB_NET_MIB_H

#include "lib/net/stack.h"

/* Called once for each name, groups together. */
typedef void mib_function(void *user, const char *group, const char *name, uint64_t value);
/* Work: one pass over all connections, for CurrEstab. */
void stack_mib(const struct net_stack *stack, mib_function *tell, void *user);

/* "on", "timewait" and so on, as ss names a connection's timer; "off" without one. */
const char *tcp_timer_name(enum tcp_timer timer);
/* As netstat writes it: "ESTABLISHED", "SYN_RECV". */
const char *tcp_state_netstat_name(enum tcp_state state);

struct tcp_listener_info {
    uint16_t port;
    uint32_t half_open, backlog;
};
/* Listener number `index` (0 .. STACK_LISTENERS_MAX - 1); false where there is none. */
bool stack_listener(const struct net_stack *stack, uint32_t index, struct tcp_listener_info *info);
/* The port of UDP socket number `index` (0 .. STACK_UDP_SOCKETS_MAX - 1); 0 where there is none. */
uint16_t stack_udp_port(const struct net_stack *stack, uint32_t index);

#endif
