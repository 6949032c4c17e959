// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the parts of TCP (tcp_*.c) offer each other and the rest of the stack. Private to lib/net.
 */
#ifndef LIB_NET_TCP_INTERNAL_H
#define LIB_NET_TCP_INTERNAL_H

#include "lib/net/internal.h"

/* tcp_table.c: connections and their table. */
void tcp_table_init(struct net_stack *stack);
struct tcp_ends {
    ipv4_t remote_address;
    uint16_t remote_port;
    uint16_t local_port;
    const struct ipv6_ends *v6; /* when remote_address is a tag */
};
struct tcp_connection *tcp_lookup(struct net_stack *stack, struct tcp_ends ends);
/* A connection in the table, state CLOSED, not attached; the oldest TIME-WAIT makes room. NULL:
 * all are in use. */
struct tcp_connection *tcp_allocate(struct net_stack *stack, struct tcp_ends ends);
/* Ends the connection: out of the table and all queues, its handle is dead; on_closed is called
 * when the application still holds it. */
void tcp_finish(struct tcp_connection *c, status_t reason);
/* Ends it as tcp_finish does, after sending a reset. */
void tcp_reset(struct tcp_connection *c, status_t reason);
void tcp_enter_time_wait(struct tcp_connection *c);
void tcp_leave_half_open(struct tcp_connection *c);
struct tcp_listener *tcp_find_listener(struct net_stack *stack, uint16_t port);
uint32_t tcp_initial_sequence(struct net_stack *stack, struct tcp_ends ends);
/* All IPv4 connections end: the address is gone; and those of one IPv6 address. */
void tcp_address_lost(struct net_stack *stack);
void tcp_address6_lost(struct net_stack *stack, const struct ipv6_address *address);
/* Most payload in a segment without options, as far as our link goes. */
static inline uint32_t tcp_own_mss(const struct net_stack *stack, ipv4_t remote_address)
{
    return is_ipv6_tag(remote_address) ? stack->v6.mtu_bytes - IPV6_BYTES - TCP_BYTES
                                       : stack->dev->mtu_bytes - IPV4_BYTES - TCP_BYTES;
}
/* The same as far as the path goes. */
static inline uint32_t tcp_path_mss(const struct net_stack *stack, ipv4_t remote_address)
{
    return pmtu_of(stack, remote_address) - TCP_BYTES -
           (is_ipv6_tag(remote_address) ? IPV6_BYTES : IPV4_BYTES);
}

/* Puts the connection on the list that the end of the poll works off. */
static inline void tcp_activate(struct tcp_connection *c)
{
    if (list_is_empty(&c->active)) {
        list_append(&c->stack->active, &c->active);
    }
}
/* Callbacks, output and freeing for all connections on the active list. */
void tcp_run_active(struct net_stack *stack);

/* tcp_input.c, tcp_open.c, tcp_ack.c */
void tcp_input(struct net_stack *stack, const struct ipv4_packet *ip);
/* The connection that the segment opens by acknowledging a SYN cookie; NULL: it does not. */
struct tcp_connection *tcp_accept_cookie(struct net_stack *stack,
                                         const struct tcp_segment *segment);
void tcp_input_listen(struct net_stack *stack, const struct tcp_segment *segment);
void tcp_input_syn_sent(struct tcp_connection *c, const struct tcp_segment *segment);
/* True: the connection is now established and goes on with the segment. */
bool tcp_input_syn_received(struct tcp_connection *c, const struct tcp_segment *segment);
/* A challenge acknowledgement (RFC 5961), at most one each 20 ms and connection. */
void tcp_challenge(struct tcp_connection *c);
/* A report about a segment of ours; `hard`: there is nobody. Only believed when the segment is on
 * its way (RFC 5927, 4.1). */
void tcp_icmp_unreachable(struct net_stack *stack, struct tcp_ends ends, bool hard,
                          uint32_t sequence);
void tcp_icmp_too_big(struct net_stack *stack, struct tcp_ends ends, uint32_t sequence,
                      uint32_t mtu);
/* False: the segment must be dropped. */
bool tcp_ack_input(struct tcp_connection *c, const struct tcp_segment *segment);
/* Losses were found: begins a recovery unless one is under way. */
void tcp_recover(struct tcp_connection *c);
void tcp_ack_advance(struct tcp_connection *c, const struct tcp_segment *segment);

/* tcp_receive.c */
void tcp_receive_data(struct tcp_connection *c, const struct tcp_segment *segment);
/* Gives queued data and the end of the stream to the application as far as it takes it. */
void tcp_deliver(struct tcp_connection *c);
/* Delivers `length` new bytes at rcv_nxt that skip the queue. */
void tcp_deliver_direct(struct tcp_connection *c, const struct tcp_segment *segment);
/* Keeps or discards what the application left of `length` bytes at `data` in `buffer`. */
struct tcp_consumed {
    uint32_t length;
    uint32_t consumed;
};
void tcp_deliver_rest(struct tcp_connection *c, uint32_t buffer, const uint8_t *data,
                      struct tcp_consumed taken);
/* The sequence has reached the FIN, if one was seen. */
void tcp_check_fin(struct tcp_connection *c);
void tcp_receive_queue_drop(struct tcp_connection *c);
/* Bytes of window to offer now, the right edge never moving back. */
uint32_t tcp_receive_window(const struct tcp_connection *c);
/* Announces a window that has opened by a useful amount. */
void tcp_window_update(struct tcp_connection *c);
uint32_t tcp_sack_blocks(const struct tcp_connection *c, struct tcp_sack_block *blocks,
                         uint32_t max);

/* tcp_send.c: the send queue. */
void tcp_send_queue_drop(struct tcp_connection *c);
/* Frees everything before snd_una. */
void tcp_send_queue_acknowledged(struct tcp_connection *c);
/* The queued buffer that holds `sequence`; NETBUF_NONE: none does. */
uint32_t tcp_send_queue_find(const struct tcp_connection *c, uint32_t sequence);
void tcp_sendable_check(struct tcp_connection *c);
/* Wakes connections that wait for pool buffers while there are some. */
void tcp_wake_waiting(struct net_stack *stack);

/* tcp_output.c */
void tcp_output(struct tcp_connection *c);
void tcp_send_ack(struct tcp_connection *c);
/* Sends the first unacknowledged segment or FIN again. */
void tcp_retransmit_first(struct tcp_connection *c);
/* Sends again what was sent of one buffer of the queue, from snd_una on.
 * False: not possible now. */
bool tcp_retransmit_buffer(struct tcp_connection *c, uint32_t buffer);
/* Makes the peer answer with its state: an empty segment just before its window. */
void tcp_send_probe(struct tcp_connection *c);
void tcp_send_reset(struct tcp_connection *c);
/* Answers a segment that belongs to no connection (RFC 9293, 3.10.7.1). */
void tcp_send_reset_for(struct net_stack *stack, const struct tcp_segment *segment);
static inline uint32_t tcp_timestamp_now(const struct net_stack *stack)
{
    /* Ticks of 2^20 ns, 1.05 ms; RFC 7323, 5.4 allows 1 ms to 1 s. */
    return (uint32_t)(stack->now >> 20) + stack->timestamp_offset;
}

/* tcp_timer.c */
void tcp_timer_init(struct net_stack *stack);
/* Call after a deadline of the connection was set earlier. */
void tcp_timer_update(struct tcp_connection *c);
time_ns_t tcp_tick(struct net_stack *stack);
void tcp_arm_retransmit(struct tcp_connection *c);

/* tcp_rack.c */
#define RACK_TICK_SHIFT 10u
/* Beyond two round trips, for the timer's grain and the peer's. */
#define RACK_PROBE_SLACK (4u * NS_PER_MS)
static inline uint32_t rack_ticks(const struct net_stack *stack)
{
    return (uint32_t)(stack->now >> RACK_TICK_SHIFT);
}
/* The buffer has arrived. */
void rack_delivered(struct tcp_connection *c, const struct buffer_meta *meta);
/* Everything before `acknowledgment` has; call while it is still queued. */
void rack_acknowledged(struct tcp_connection *c, uint32_t acknowledgment);
/* Marks what is lost by now; whether anything was found. Sets the timer to look again. */
bool rack_detect(struct tcp_connection *c);
void rack_reorder_due(struct tcp_connection *c);
/* Whether a probe is to be sent before *wait_ns is over; *wait_ns is then when. */
bool rack_probe_time(const struct tcp_connection *c, uint64_t *wait_ns);
/* More was sent: the timer, which runs, is to send a probe first if that is due earlier. */
void rack_arm_probe(struct tcp_connection *c);
void rack_probe_due(struct tcp_connection *c);
/* A probe is on its way and this acknowledgement arrives. */
void rack_probe_answered(struct tcp_connection *c, const struct tcp_segment *segment);

/* tcp_ecn.c (RFC 3168); all but the first for connections with TCP_FLAG_ECN. */
/* The flags that a SYN or SYN-ACK of ours carries. */
uint8_t ecn_syn_flags(const struct tcp_connection *c);
/* The peer's SYN or SYN-ACK: whether it is agreed. */
void ecn_take_syn(struct tcp_connection *c, const struct tcp_segment *segment);
/* A segment that was accepted. */
void ecn_input(struct tcp_connection *c, const struct tcp_segment *segment);
/* The flags of an outgoing segment, which carries new data or not; *ecn is for the IP header. */
uint8_t ecn_output(struct tcp_connection *c, bool new_data, uint8_t *ecn);

/* tcp_sack.c: the scoreboard. */
static inline bool tcp_sack_recovery(const struct tcp_connection *c)
{
    return (c->flags & (TCP_FLAG_RECOVERY | TCP_FLAG_SACK)) == (TCP_FLAG_RECOVERY | TCP_FLAG_SACK);
}
/* Marks what the segment's blocks report; whether any of it is news. */
bool sack_input(struct tcp_connection *c, const struct tcp_segment *segment);
/* A new recovery begins: nothing is lost or has been sent again in it; `forget`: nor has anything
 * arrived. */
void sack_clear(struct tcp_connection *c, bool forget);
/* Bytes reported as arrived beyond snd_una. */
uint32_t sack_bytes(const struct tcp_connection *c);
/* Sends lost segments again as far as the congestion window allows; computes c->pipe. False: the
 * device or the pool holds it up. */
bool sack_output(struct tcp_connection *c);

/* tcp_congestion.c: NewReno (RFC 5681, RFC 6582), CUBIC (RFC 9438). */
void congestion_init(struct tcp_connection *c);
void congestion_acked(struct tcp_connection *c, uint32_t bytes);
void congestion_recovery_start(struct tcp_connection *c);
/* The peer tells of congestion; nothing was lost (RFC 3168, 6.1.2). */
void congestion_echoed(struct tcp_connection *c);
void congestion_timeout(struct tcp_connection *c);
/* After an idle time longer than a retransmission timeout (RFC 5681, 4.1). */
void congestion_idle(struct tcp_connection *c);
void rtt_sample(struct tcp_connection *c, uint64_t rtt_ns);

/* tcp_offload.c: buffers of the send queue that leave as one packet. */
#define TCP_LARGE_BUFFERS 16u
_Static_assert(TCP_LARGE_BUFFERS < NETFRAMES_MAX, "a device takes so many");
struct tcp_large {
    struct netframe
        frames[TCP_LARGE_BUFFERS]; /* payload; the first has room for headers before it */
    uint32_t count;
    uint32_t bytes;
    uint32_t segment_bytes; /* 0: one segment */
    uint32_t next;          /* the send cursor behind them */
};
/* Gathers what may leave so now, from the send cursor (not NONE) on. False: nothing. */
bool tcp_large_gather(struct tcp_connection *c, struct tcp_large *large);
bool tcp_large_room(struct net_stack *stack, const struct tcp_large *large);
/* Finishes and queues it: `send` has the TCP header, written but for its checksum, and the first
 * part. There is room. */
void tcp_large_transmit(struct net_stack *stack, const struct ipv4_send *send,
                        const struct tcp_large *large);

#endif
