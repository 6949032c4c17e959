// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/mib.h"

#include "lib/net/tcp_internal.h"

static uint64_t established(const struct net_stack *stack)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < stack->connections_max; i++) {
        uint8_t state = stack->connections[i].state;
        count += state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT;
    }
    return count;
}

/* X(group, name, value) with the counters in `c`. */
#define MIB_TABLE(X)                                                                               \
    X(Ip, InReceives, c->ipv4_in + c->ipv4_malformed + c->ipv4_bad_checksum + c->ipv4_not_ours)    \
    X(Ip, InHdrErrors, c->ipv4_malformed + c->ipv4_bad_checksum)                                   \
    X(Ip, InAddrErrors, c->ipv4_not_ours)                                                          \
    X(Ip, InUnknownProtos, c->ipv4_unknown_protocol)                                               \
    X(Ip, OutNoRoutes, c->ipv4_no_route)                                                           \
    X(Ip, ReasmReqds, c->ipv4_fragments)                                                           \
    X(Ip, ReasmOKs, c->ip_reassembled)                                                             \
    X(Ip, ReasmFails, c->ip_reassembly_failed)                                                     \
    X(Ip, FragOKs, c->ip_fragmented_out)                                                           \
    X(Ip6, InReceives, c->ipv6_in + c->ipv6_malformed + c->ipv6_not_ours)                          \
    X(Ip6, InHdrErrors, c->ipv6_malformed)                                                         \
    X(Ip6, InAddrErrors, c->ipv6_not_ours)                                                         \
    X(Ip6, InUnknownProtos, c->ipv6_unknown_protocol)                                              \
    X(Ip6, OutNoRoutes, c->ipv6_no_route)                                                          \
    X(Ip6, ReasmReqds, c->ipv6_fragments)                                                          \
    X(Icmp, InMsgs, c->icmp_in + c->icmp_malformed)                                                \
    X(Icmp, InErrors, c->icmp_malformed)                                                           \
    X(Icmp, InEchos, c->icmp_echoes)                                                               \
    X(Icmp, OutRateLimitGlobal, c->icmp_limited)                                                   \
    X(Icmp6, InMsgs, c->icmp6_in + c->icmp6_malformed)                                             \
    X(Icmp6, InErrors, c->icmp6_malformed)                                                         \
    X(Icmp6, InNeighborSolicits, c->nd_solicitations_in)                                           \
    X(Icmp6, InNeighborAdvertisements, c->nd_advertisements_in)                                    \
    X(Icmp6, InRouterAdvertisements, c->nd_routers_in)                                             \
    X(Icmp6, OutNeighborSolicits, c->nd_solicitations_out)                                         \
    X(Tcp, MaxConn, stack->connections_max)                                                        \
    X(Tcp, ActiveOpens, c->tcp_active_opens)                                                       \
    X(Tcp, PassiveOpens, c->tcp_passive_opens)                                                     \
    X(Tcp, AttemptFails, c->tcp_attempts_failed)                                                   \
    X(Tcp, EstabResets, c->tcp_open_resets)                                                        \
    X(Tcp, CurrEstab, established(stack))                                                          \
    X(Tcp, InSegs, c->tcp_in + c->tcp_malformed + c->tcp_bad_checksum)                             \
    X(Tcp, OutSegs, c->tcp_out - c->tcp_retransmits)                                               \
    X(Tcp, RetransSegs, c->tcp_retransmits)                                                        \
    X(Tcp, InErrs, c->tcp_malformed + c->tcp_bad_checksum)                                         \
    X(Tcp, OutRsts, c->tcp_reset_out)                                                              \
    X(Tcp, InCsumErrors, c->tcp_bad_checksum)                                                      \
    X(Udp, InDatagrams, c->udp_in)                                                                 \
    X(Udp, NoPorts, c->udp_no_port)                                                                \
    X(Udp, InErrors, c->udp_malformed)                                                             \
    X(Udp, OutDatagrams, c->udp_out)                                                               \
    X(TcpExt, SyncookiesSent, c->tcp_syn_cookies_sent)                                             \
    X(TcpExt, SyncookiesRecv, c->tcp_syn_cookies_taken)                                            \
    X(TcpExt, ListenDrops, c->tcp_syn_dropped)                                                     \
    X(TcpExt, PAWSEstab, c->tcp_paws_dropped)                                                      \
    X(TcpExt, DelayedACKs, c->tcp_delayed_acks)                                                    \
    X(TcpExt, TCPHPHits, c->tcp_fast_path)                                                         \
    X(TcpExt, TCPTimeouts, c->tcp_timeouts)                                                        \
    X(TcpExt, TCPLossProbes, c->tcp_tail_probes)                                                   \
    X(TcpExt, TCPFastRetrans, c->tcp_fast_retransmits)                                             \
    X(TcpExt, TCPOFOQueue, c->tcp_out_of_order)                                                    \
    X(TcpExt, TCPRcvQDrop, c->tcp_receive_dropped)                                                 \
    X(TcpExt, TCPChallengeACK, c->tcp_challenge_acks)                                              \
    X(TcpExt, TCPKeepAlive, c->tcp_keepalives)                                                     \
    X(TcpExt, TCPWinProbe, c->tcp_zero_window_probes)                                              \
    X(TcpExt, TCPAbortOnTimeout, c->tcp_timed_out)

void stack_mib(const struct net_stack *stack, mib_function *tell, void *user)
{
    const struct stack_counters *c = &stack->counters;

#define X(group, name, value) tell(user, #group, #name, value);
    MIB_TABLE(X)
#undef X
}

const char *tcp_timer_name(enum tcp_timer timer)
{
    static const char *const names[] = {[TCP_TIMER_NONE] = "off",
                                        [TCP_TIMER_RETRANSMIT] = "on",
                                        [TCP_TIMER_PROBE] = "probe",
                                        [TCP_TIMER_PERSIST] = "persist",
                                        [TCP_TIMER_KEEPALIVE] = "keepalive",
                                        [TCP_TIMER_WAIT] = "timewait"};
    return names[timer];
}

const char *tcp_state_netstat_name(enum tcp_state state)
{
    static const char *const names[] = {
        [TCP_CLOSED] = "CLOSE",          [TCP_SYN_SENT] = "SYN_SENT",
        [TCP_SYN_RECEIVED] = "SYN_RECV", [TCP_ESTABLISHED] = "ESTABLISHED",
        [TCP_FIN_WAIT_1] = "FIN_WAIT1",  [TCP_FIN_WAIT_2] = "FIN_WAIT2",
        [TCP_CLOSE_WAIT] = "CLOSE_WAIT", [TCP_CLOSING] = "CLOSING",
        [TCP_LAST_ACK] = "LAST_ACK",     [TCP_TIME_WAIT] = "TIME_WAIT"};
    return names[state];
}

bool stack_listener(const struct net_stack *stack, uint32_t index, struct tcp_listener_info *info)
{
    if (index >= STACK_LISTENERS_MAX || stack->listeners[index].ops == NULL) {
        return false;
    }
    const struct tcp_listener *listener = &stack->listeners[index];
    *info =
        (struct tcp_listener_info){listener->port, listener->half_open_count, listener->backlog};
    return true;
}

uint16_t stack_udp_port(const struct net_stack *stack, uint32_t index)
{
    bool bound = index < STACK_UDP_SOCKETS_MAX && stack->udp[index].receive != NULL;

    return bound ? stack->udp[index].port : 0;
}
