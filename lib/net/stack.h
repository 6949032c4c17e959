// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * TCP/IP over one netdev: Ethernet, ARP, IPv4, IPv6 with neighbour discovery, ICMP, UDP, TCP, DHCP.
 *
 * Model. One instance for one core and queue; run to completion. stack_poll takes a burst of frames
 * from the device, calls the application back for what they mean, and sends everything that this
 * caused in one burst at its end: replies written in a callback share segments and carry the
 * acknowledgement. Nothing is sent from inside an API call.
 *
 * Life cycle. memory = stack_memory_bytes(config) from the caller; stack_init; then for ever:
 *     worked = stack_poll(stack, now);
 *     deadline = stack_tick(stack, now);
 *     if (worked == 0 && application is idle && dev->ops->arm(dev))
 *         wait until a device wake-up or `deadline`; dev->ops->disarm(dev);
 *
 * Rules.
 * 1. No locks: one owner calls everything. No clock: `now` is the last time given to stack_poll or
 *    stack_tick; it never goes back. No allocation, no printing.
 * 2. Every function may be called from inside any callback, except stack_poll, stack_tick and
 *    stack_flush.
 * 3. A connection handle is the application's from on_accept (returning true) or tcp_connect until
 *    it calls tcp_close or tcp_abort, or on_closed returns; never use it afterwards. Exactly one of
 *    these ends it. Data pointers given to a callback are valid until the callback returns.
 * 4. Everything from the wire is checked once, counted when dropped, and never asserted on.
 *
 * IPv4 addresses and ports are host-order integers (10.0.2.15 is 0x0a00020f), IPv6 addresses 16
 * bytes as in a packet. A listener or UDP socket serves both; the ends of an IPv6 peer come and go
 * as a struct ipv6_ends, NULL meaning IPv4. Times are ns.
 */
#ifndef LIB_NET_STACK_H
#define LIB_NET_STACK_H

#include "lib/net/netdev.h"

typedef uint32_t ipv4_t;

#define IPV4(a, b, c, d) ((ipv4_t)(a) << 24 | (ipv4_t)(b) << 16 | (ipv4_t)(c) << 8 | (ipv4_t)(d))
#define IPV4_ANY 0u

/* An IPv6 address, in network order. */
struct ipv6_address {
    uint8_t byte[16];
};
/* Both ends of an IPv6 exchange, in the order of a received packet's header. */
struct ipv6_ends {
    struct ipv6_address remote, local;
};

#define STACK_IPV6_ADDRESSES_MAX 4u
#define STACK_LISTENERS_MAX 16u
#define STACK_UDP_SOCKETS_MAX 32u
/* Bytes that the stack needs in front of a payload which is sent from a buffer of the caller's
 * (tcp_send_buffer, udp_send_buffer): Ethernet 14, IPv6 40, TCP 20 and 40 of options. A received
 * payload has enough room in front of it to be sent back the same way. */
#define STACK_HEADROOM_BYTES 128u

struct net_stack;
struct tcp_connection;
struct tcp_listener;
struct udp_socket;

/* ---- Set-up ----------------------------------------------------------------------------------*/

enum stack_ipv6_mode {
    STACK_IPV6_OFF,   /* IPv6 frames are dropped */
    STACK_IPV6_AUTO,  /* a link-local address, and those that a router announces (RFC 4862) */
    STACK_IPV6_STATIC /* a link-local address and the configured one */
};

enum stack_congestion {
    STACK_CUBIC,  /* RFC 9438 */
    STACK_NEWRENO /* RFC 5681 */
};

struct stack_config {
    struct netdev *dev;
    uint32_t connections; /* TCP connections, half-open and TIME-WAIT included; 0: 1024 */
    uint32_t
        receive_window_bytes;  /* most data a connection holds for the application; 0: 256 KiB */
    uint32_t send_queue_bytes; /* most unacknowledged and unsent data a connection; 0: 256 KiB */
    enum stack_congestion congestion;
    bool ecn; /* ask for explicit congestion notification; it is agreed to when a peer asks */
    uint32_t reserve_buffers; /* pool buffers that queued data never takes (they are for receiving
                                 and for acknowledgements); 0: a quarter of the pool, at most 256 */
    uint8_t secret[16]; /* unpredictable; keys sequence numbers, hashes and transaction numbers */
    /* One of several instances on the queue pairs of one device, but not the one of pair 0: it has
     * no DHCP, and stack_follow brings its IPv4 address. */
    bool follower;
    /* With several instances: whether a flow's packets come to this one. `flow`: source and
     * destination address, source and destination port as in a received packet; 12 bytes, 36 for
     * IPv6, none for what is neither TCP nor UDP. Ports of connections are chosen by it, and
     * packets put together from fragments, which every instance has to be given, are the owner's
     * alone. NULL: all flows. */
    bool (*owns)(const void *context, const uint8_t *flow, uint32_t bytes);
    const void *owns_context;
    /* The static alternative; address IPV4_ANY starts DHCP instead. */
    ipv4_t address;
    uint32_t prefix_bits;  /* 1..30 */
    ipv4_t gateway;        /* IPV4_ANY: only the local network is reachable */
    const char *host_name; /* for DHCP, at most 63 bytes; NULL: none. Stays the caller's */
    enum stack_ipv6_mode ipv6_mode;
    struct ipv6_address address6; /* STATIC */
    uint32_t prefix6_bits;        /* STATIC; 1..126 */
    struct ipv6_address gateway6; /* STATIC; all 0: none */
};

/* Bytes that stack_init needs for this configuration; depends on dev->pool and the sizes. */
size_t stack_memory_bytes(const struct stack_config *config);

/* Starts the stack in `memory` (64-byte aligned, of `bytes`), which it keeps for ever.
 * INVALID_ARGUMENT: a size, the prefix, the address, or the device's MTU or buffers (MTU 576..,
 * buffers must hold STACK_HEADROOM_BYTES and an MTU) are out of range; NO_MEMORY: `bytes` is too
 * small; MISALIGNED: memory is. */
status_t stack_init(struct net_stack **stack, const struct stack_config *config, void *memory,
                    size_t bytes, time_ns_t now) HALLOWS_MUST_CHECK;

/* ---- Running ---------------------------------------------------------------------------------*/

/* Receives and handles at most NETDEV_BURST_MAX frames, runs what is due, sends what came of it.
 * Returns how many frames it handled; call again at once while that is not 0. */
uint32_t stack_poll(struct net_stack *stack, time_ns_t now);

/* Runs due timers (the device's too) and returns the next deadline; cheap when nothing is due. */
time_ns_t stack_tick(struct net_stack *stack, time_ns_t now);
/* When the stack wants to be called next. Every stack_poll also does what is due. */
time_ns_t stack_deadline(const struct net_stack *stack);

/* Sends what tcp_send and udp_send queued since the last poll, without receiving. */
void stack_flush(struct net_stack *stack);

/* ---- Interface state -------------------------------------------------------------------------*/

enum stack_address_source { STACK_ADDRESS_STATIC, STACK_ADDRESS_DHCP };

struct stack_interface {
    bool link_up;
    bool configured; /* has an address */
    enum stack_address_source source;
    ipv4_t address;
    ipv4_t netmask;
    ipv4_t gateway;
    ipv4_t dns_server; /* from DHCP; IPV4_ANY: none known */
    uint8_t mac[6];
    uint16_t mtu_bytes;
    time_ns_t lease_end; /* DHCP; DEADLINE_NEVER otherwise */
    /* IPv6 addresses that have been checked to be ours alone; the first is link-local. */
    struct ipv6_address address6[STACK_IPV6_ADDRESSES_MAX];
    uint32_t address6_count;
    struct ipv6_address gateway6;    /* all 0: none */
    struct ipv6_address dns_server6; /* from a router; all 0: none known */
};

void stack_interface(const struct net_stack *stack, struct stack_interface *interface);

/* Gives a follower the IPv4 address of pair 0's instance: address, netmask, gateway and DNS server
 * of *to count; all 0: it has none. */
void stack_follow(struct net_stack *stack, const struct stack_interface *to);

/* Called whenever the link, address, mask, gateway or DNS server changed; NULL: nobody. */
void stack_on_interface_change(struct net_stack *stack, void (*changed)(void *user), void *user);

#define IPV6_TEXT_BYTES 40u
/* The address as text (RFC 5952), with its final 0. */
void ipv6_format(const struct ipv6_address *address, char text[IPV6_TEXT_BYTES]);
/* Reads such a text; with `prefix_bits` not NULL, "/bits" (1..128) must follow. INVALID_ARGUMENT:
 * it is none; nothing is written. No embedded IPv4 address, no zone. */
status_t ipv6_parse(const char *text, struct ipv6_address *address,
                    uint32_t *prefix_bits) HALLOWS_MUST_CHECK;

/* ---- Statistics ------------------------------------------------------------------------------*/

/* X(name, what is counted) */
#define STACK_COUNTER_TABLE(X)                                                                     \
    X(rx_frames, "frames received")                                                                \
    X(tx_frames, "frames sent")                                                                    \
    X(tx_no_buffer, "sends put off or dropped because the pool was empty")                         \
    X(tx_queue_full, "frames dropped because the device did not take them")                        \
    X(ethernet_dropped, "frames too short, for someone else or of another protocol")               \
    X(arp_malformed, "ARP packets with wrong fields")                                              \
    X(arp_requests_in, "ARP requests for this address")                                            \
    X(arp_replies_in, "ARP replies")                                                               \
    X(arp_requests_out, "ARP requests sent")                                                       \
    X(arp_unresolved, "packets dropped for want of a neighbour's answer")                          \
    X(arp_conflicts, "ARP packets of others that claim this address")                              \
    X(ipv4_in, "IPv4 packets that passed all checks")                                              \
    X(ipv4_malformed, "IPv4 headers with wrong fields")                                            \
    X(ipv4_bad_checksum, "IPv4 headers with a wrong checksum")                                     \
    X(ipv4_not_ours, "IPv4 packets for another address")                                           \
    X(ipv4_fragments, "IPv4 fragments received")                                                   \
    X(ipv4_unknown_protocol, "IPv4 packets of an unknown protocol")                                \
    X(ipv4_no_route, "packets without a way to their destination")                                 \
    X(ipv6_in, "IPv6 packets that passed all checks")                                              \
    X(ipv6_malformed, "IPv6 or extension headers with wrong fields")                               \
    X(ipv6_not_ours, "IPv6 packets for another address")                                           \
    X(ipv6_fragments, "IPv6 fragments received")                                                   \
    X(ip_reassembled, "packets put together from fragments")                                       \
    X(ip_reassembly_failed, "packets given up for want of fragments, time or room")                \
    X(ip_fragments_malformed, "fragments with impossible lengths")                                 \
    X(ip_fragment_overlaps, "packets dropped because fragments overlapped")                        \
    X(ip_fragmented_out, "packets sent in fragments")                                              \
    X(path_mtu_reduced, "path MTUs lowered by a router's report")                                  \
    X(icmp_errors_in, "ICMP errors about something that we sent")                                  \
    X(ipv6_unknown_protocol, "IPv6 packets with an unknown next header or option")                 \
    X(ipv6_no_route, "IPv6 packets without a way to their destination")                            \
    X(icmp6_in, "ICMPv6 messages that passed all checks")                                          \
    X(icmp6_malformed, "ICMPv6 messages with wrong length, checksum or fields")                    \
    X(nd_solicitations_in, "neighbour solicitations for an address of ours")                       \
    X(nd_solicitations_out, "neighbour solicitations sent")                                        \
    X(nd_advertisements_in, "neighbour advertisements")                                            \
    X(nd_routers_in, "router advertisements taken")                                                \
    X(nd_unresolved, "packets dropped for want of an IPv6 neighbour's answer")                     \
    X(nd_duplicates, "own IPv6 addresses that someone else has")                                   \
    X(icmp_in, "ICMP messages that passed all checks")                                             \
    X(icmp_malformed, "ICMP messages with wrong length or checksum")                               \
    X(icmp_echoes, "ICMP echo requests answered")                                                  \
    X(icmp_errors_out, "ICMP errors sent")                                                         \
    X(icmp_limited, "ICMP answers and errors held back by the rate limit")                         \
    X(udp_in, "UDP datagrams delivered")                                                           \
    X(udp_out, "UDP datagrams sent")                                                               \
    X(udp_malformed, "UDP datagrams with wrong length or checksum")                                \
    X(udp_no_port, "UDP datagrams to a port nobody listens on")                                    \
    X(tcp_in, "TCP segments that passed all checks")                                               \
    X(tcp_out, "TCP segments sent")                                                                \
    X(tcp_malformed, "TCP segments with wrong fields")                                             \
    X(tcp_large_out, "packets that the device cut into TCP segments, or summed")                   \
    X(tcp_bad_checksum, "TCP segments with a wrong checksum")                                      \
    X(tcp_no_connection, "TCP segments for no connection")                                         \
    X(tcp_fast_path, "segments taken by the short receive path")                                   \
    X(tcp_split_in, "of those, segments whose data the device set apart")                          \
    X(tcp_active_opens, "connections begun from here")                                             \
    X(tcp_passive_opens, "connections begun by peers")                                             \
    X(tcp_attempts_failed, "connections that ended before they were open")                         \
    X(tcp_open_resets, "open connections that ended by a reset of either side")                    \
    X(tcp_accepted, "connections accepted")                                                        \
    X(tcp_connected, "connections opened from here")                                               \
    X(tcp_closed, "connections that ended in order")                                               \
    X(tcp_reset_in, "connections ended by the peer's reset")                                       \
    X(tcp_reset_out, "resets sent")                                                                \
    X(tcp_timed_out, "connections given up")                                                       \
    X(tcp_syn_dropped, "connection requests dropped: table full, or refused")                      \
    X(tcp_syn_cookies_sent, "SYNs answered without keeping anything: the backlog was full")        \
    X(tcp_syn_cookies_taken, "connections opened by such an answer's acknowledgement")             \
    X(tcp_retransmits, "segments sent again")                                                      \
    X(tcp_timeouts, "retransmission timeouts")                                                     \
    X(tcp_fast_retransmits, "losses found by duplicate acknowledgements")                          \
    X(tcp_congestion_echoes, "windows reduced because the peer met congestion (ECN)")              \
    X(tcp_tail_probes, "probes of the last segments, sent before a timeout")                       \
    X(tcp_zero_window_probes, "probes of a closed window")                                         \
    X(tcp_out_of_order, "segments queued out of order")                                            \
    X(tcp_out_of_window, "segments outside the window")                                            \
    X(tcp_duplicate, "segments with only known data")                                              \
    X(tcp_receive_dropped, "segments dropped for want of queue or buffers")                        \
    X(tcp_paws_dropped, "segments with an old timestamp")                                          \
    X(tcp_challenge_acks, "challenge acknowledgements sent")                                       \
    X(tcp_delayed_acks, "acknowledgements sent by the delay timer")                                \
    X(tcp_keepalives, "keep-alive probes sent")                                                    \
    X(dhcp_sent, "DHCP messages sent")                                                             \
    X(dhcp_malformed, "DHCP messages with wrong fields, or not for us")                            \
    X(dhcp_bound, "DHCP leases obtained or renewed")                                               \
    X(dhcp_refused, "DHCP refusals received")

#define STACK_COUNTER_FIELD(name, text) uint64_t name;
struct stack_counters {
    STACK_COUNTER_TABLE(STACK_COUNTER_FIELD)
};
#undef STACK_COUNTER_FIELD

const struct stack_counters *stack_counters(const struct net_stack *stack);

/* ---- TCP -------------------------------------------------------------------------------------*/

enum tcp_state { /* RFC 9293, 3.3.2 */
                 TCP_CLOSED,
                 TCP_SYN_SENT,
                 TCP_SYN_RECEIVED,
                 TCP_ESTABLISHED,
                 TCP_FIN_WAIT_1,
                 TCP_FIN_WAIT_2,
                 TCP_CLOSE_WAIT,
                 TCP_CLOSING,
                 TCP_LAST_ACK,
                 TCP_TIME_WAIT
};

const char *tcp_state_name(enum tcp_state state);

struct tcp_ops {
    /* A peer's connection is established. Returns true to keep it (set its user pointer), false to
     * reset it. `user` is the listener's. Listeners only. */
    bool (*on_accept)(struct tcp_connection *connection, void *user);
    /* tcp_connect succeeded. Connecting side only; may be NULL for listeners. */
    void (*on_connected)(struct tcp_connection *connection, void *user);
    /* `length` > 0 bytes of the stream, in order, inside the receive buffer. Returns how many it
     * consumed. Fewer than `length` pauses delivery: the rest is kept, the window closes as more
     * arrives, until tcp_receive_resume. */
    uint32_t (*on_receive)(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length);
    /* The peer sends no more (its FIN came, all data has been consumed). Sending goes on until
     * tcp_close or tcp_shutdown. */
    void (*on_end)(struct tcp_connection *connection, void *user);
    /* There is room again after tcp_send took less than it was given. */
    void (*on_sendable)(struct tcp_connection *connection, void *user);
    /* The connection is gone, and not by tcp_close or tcp_abort. OK: both sides ended in order
     * after tcp_shutdown; RESET: by the peer; TIMED_OUT: no answer; UNREACHABLE: refused on the
     * way, or the address is lost. */
    void (*on_closed)(struct tcp_connection *connection, void *user, status_t reason);
};

/* Accepts connections to `port` on this stack's addresses. At most `backlog` (1..) are half-open at
 * a time; further ones are answered by SYN cookies (RFC 4987), which cost no memory. `ops` stays
 * the caller's and must outlive the listener; every function but on_connected is needed. IN_USE:
 * the port has a listener; NO_MEMORY: STACK_LISTENERS_MAX are in use; INVALID_ARGUMENT: port or
 * backlog 0. */
status_t tcp_listen(struct net_stack *stack, uint16_t port, uint32_t backlog,
                    const struct tcp_ops *ops, void *user) HALLOWS_MUST_CHECK;
/* Stops listening; half-open connections of that port are reset, open ones live on. NOT_FOUND. */
status_t tcp_unlisten(struct net_stack *stack, uint16_t port);

struct tcp_connect_request {
    ipv4_t address;
    const struct ipv6_ends *v6; /* not NULL: to v6->remote instead; v6->local all 0: any of ours */
    uint16_t port;
    uint16_t local_port;       /* 0: any free one */
    const struct tcp_ops *ops; /* on_accept may be NULL */
    void *user;
};

/* Starts opening a connection; on_connected or on_closed follows. NO_MEMORY: no free connection or
 * port; IN_USE: that pair of ends exists; UNREACHABLE: no address yet or no route;
 * INVALID_ARGUMENT: no ops, port 0, or an address that is ours, multicast or broadcast. */
status_t tcp_connect(struct net_stack *stack, const struct tcp_connect_request *request,
                     struct tcp_connection **connection) HALLOWS_MUST_CHECK;

/* Copies up to `length` bytes into the send queue. Returns how many it took: fewer, down to 0, when
 * the queue or the pool is full (on_sendable follows) or after tcp_shutdown. Work: the copy. */
uint32_t tcp_send(struct tcp_connection *connection, const void *data, uint32_t length);

/* Sends `length` bytes at `offset` (>= STACK_HEADROOM_BYTES, or a received payload's own) in a pool
 * buffer without copying; what lies before `offset` is overwritten. Takes over the caller's
 * reference (OK only); nobody may change the bytes or queue the buffer elsewhere until it is free.
 * FULL: the send queue is full (on_sendable follows); TOO_LARGE: more than tcp_segment_bytes;
 * INVALID_ARGUMENT: length 0 or outside the buffer; BUSY: the buffer is queued already; CLOSED. */
status_t tcp_send_buffer(struct tcp_connection *connection, uint32_t buffer, uint32_t offset,
                         uint32_t length) HALLOWS_MUST_CHECK;

/* Bytes that tcp_send would take now. */
uint32_t tcp_send_space(const struct tcp_connection *connection);
/* Bytes taken by tcp_send that the peer has not acknowledged. */
uint32_t tcp_send_pending(const struct tcp_connection *connection);
/* Most payload bytes in one segment of this connection. */
uint32_t tcp_segment_bytes(const struct tcp_connection *connection);

/* Delivery goes on after on_receive consumed less than it was given; on_receive is called from the
 * next poll, not from here. */
void tcp_receive_resume(struct tcp_connection *connection);

/* The pool buffer that holds the data of the on_receive or on_datagram running now: netbuf_hold it
 * to keep the bytes beyond the callback. */
uint32_t stack_receive_buffer(const struct net_stack *stack);

/* Half-close: sends what is queued, then FIN; receiving goes on. */
void tcp_shutdown(struct tcp_connection *connection);
/* Lets go: sends what is queued, then FIN; the stack finishes alone and no callback follows. Data
 * not consumed yet, or arriving later, resets the connection (RFC 9293, 3.10.4 and RFC 1122,
 * 4.2.2.13). */
void tcp_close(struct tcp_connection *connection);
/* Lets go at once: drops what is queued, sends a reset. No callback follows. */
void tcp_abort(struct tcp_connection *connection);

void tcp_set_user(struct tcp_connection *connection, void *user);
void *tcp_user(const struct tcp_connection *connection);
/* Nagle's rule (RFC 9293, 3.7.4): on, a part of a segment waits while something is unacknowledged.
 * Off at first: what was queued by the end of a poll goes out with it. */
void tcp_set_nagle(struct tcp_connection *connection, bool on);
/* Probes a silent peer after `idle` ns, and gives up after 5 probes 10 s apart; 0: never. */
void tcp_set_keepalive(struct tcp_connection *connection, time_ns_t idle);

enum tcp_timer {
    TCP_TIMER_NONE,
    TCP_TIMER_RETRANSMIT,
    TCP_TIMER_PROBE, /* of the last segments, or of segments overtaken (RACK-TLP) */
    TCP_TIMER_PERSIST,
    TCP_TIMER_KEEPALIVE,
    TCP_TIMER_WAIT, /* TIME-WAIT, or FIN-WAIT-2 of a closed connection */
};

struct tcp_info {
    enum tcp_state state;
    enum tcp_timer timer;  /* the one that matters most; delayed acknowledgements are not told */
    time_ns_t timer_in_ns; /* from the last poll on */
    bool is_v6;
    ipv4_t local_address, remote_address; /* IPv4 */
    struct ipv6_ends v6;                  /* IPv6 */
    uint16_t local_port, remote_port;
    uint32_t send_queue_bytes;    /* not acknowledged */
    uint32_t receive_queue_bytes; /* not consumed */
    uint32_t send_window_bytes, congestion_window_bytes, receive_window_bytes, segment_bytes;
    uint64_t bytes_in, bytes_out; /* payload delivered; acknowledged */
    uint64_t retransmits;
    time_ns_t round_trip_ns, retransmit_timeout_ns, opened;
};

void tcp_info(const struct tcp_connection *connection, struct tcp_info *info);
/* Connection number `index` (0 .. stack_connections_max - 1), for lists; false where there is none.
 */
bool stack_connection(const struct net_stack *stack, uint32_t index, struct tcp_info *info);
uint32_t stack_connections_max(const struct net_stack *stack);
/* Connections in any state now. */
uint32_t stack_connections(const struct net_stack *stack);

/* ---- UDP -------------------------------------------------------------------------------------*/

struct udp_datagram {
    ipv4_t source;
    ipv4_t destination;         /* ours or a broadcast */
    const struct ipv6_ends *v6; /* not NULL: IPv6; sender and receiver. May go into an answer */
    uint16_t source_port;
    uint16_t destination_port;
    const uint8_t *data;
    uint32_t length;
    uint32_t buffer; /* the pool buffer; hold it to keep the bytes, or to send them back.
                        NETBUF_NONE: it came in fragments and is larger than a buffer */
    uint32_t offset; /* of data in the buffer */
    /* Of the data, for a udp_send_request that sends it back as it is; 0: not known. */
    uint64_t data_sum;
};

typedef void udp_receive_function(struct udp_socket *socket, void *user,
                                  const struct udp_datagram *datagram);

/* Receives datagrams to `port` (0: any free one) of this stack's address. IN_USE: the port is
 * bound; NO_MEMORY: STACK_UDP_SOCKETS_MAX are in use. */
status_t udp_bind(struct net_stack *stack, uint16_t port, udp_receive_function *receive, void *user,
                  struct udp_socket **socket) HALLOWS_MUST_CHECK;
void udp_unbind(struct udp_socket *socket);
uint16_t udp_port(const struct udp_socket *socket);

/* Queues one datagram with a copy of the data; it leaves at the end of the poll or by stack_flush.
 * Datagrams are dropped, counted, when the neighbour does not answer. What is larger than the MTU
 * leaves in fragments. TOO_LARGE: more than about 65,000 bytes; NO_MEMORY: no buffer; FULL: the
 * device's queue is full; UNREACHABLE: no address or no route. */
status_t udp_send(struct udp_socket *socket, ipv4_t address, uint16_t port, const void *data,
                  uint32_t length);

/* udp_send to v6->remote, from v6->local (all 0: the best of ours). Further: INVALID_ARGUMENT: the
 * local address is not ours, or the remote one is no host's. */
status_t udp_send_v6(struct udp_socket *socket, const struct ipv6_ends *v6, uint16_t port,
                     const void *data, uint32_t length);

/* What a router or the peer said about a datagram of this socket (RFC 1122, 4.1.3.3). */
struct udp_error {
    status_t status; /* UNREACHABLE, or TOO_LARGE: `mtu_bytes` is all that the path takes */
    ipv4_t address;  /* where the datagram went */
    const struct ipv6_ends *v6; /* not NULL: IPv6 */
    uint16_t port;
    uint32_t mtu_bytes;
};
typedef void udp_error_function(struct udp_socket *socket, void *user,
                                const struct udp_error *error);
/* Calls `failed` for such reports, which anyone on the path may have made up; NULL: nobody. */
void udp_on_error(struct udp_socket *socket, udp_error_function *failed);

struct udp_send_request {
    ipv4_t address;
    const struct ipv6_ends *v6; /* not NULL: IPv6, as udp_send_v6 */
    uint16_t port;
    uint32_t buffer; /* a reference of the caller's, taken over whatever is returned */
    uint32_t offset; /* of the payload: >= STACK_HEADROOM_BYTES, or a received payload's own */
    uint32_t length;
    /* A datagram's, whose data this is, unchanged and all of it; 0: the data is summed. The caller
     * answers for it: with a wrong one the receiver drops what was sent. */
    uint64_t data_sum;
};
/* The same from a pool buffer, without copying unless it leaves in fragments. Further:
 * INVALID_ARGUMENT: outside the buffer. */
status_t udp_send_buffer(struct udp_socket *socket, const struct udp_send_request *request);

#endif
