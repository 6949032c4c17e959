// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The stack's whole state and what its files call of each other. Private to lib/net.
 *
 * Layers, each calling only the next lower one to send and the next higher one to receive:
 *     tcp*.c, udp.c, dhcp.c, icmp.c  ->  ipv4.c  ->  arp.c  ->  stack.c (device queue)
 */
#ifndef LIB_NET_INTERNAL_H
#define LIB_NET_INTERNAL_H

#include "lib/base/assert.h"
#include "lib/net/dns.h"
#include "lib/net/ipv6.h"
#include "lib/net/list.h"
#include "lib/net/pmtu.h"
#include "lib/net/reassembly.h"
#include "lib/net/siphash.h"
#include "lib/net/stack.h"
#include "lib/net/wire.h"

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

#define STACK_TX_QUEUE 64u
#define UDP_BUCKETS 32u /* power of two */
#define UDP_NONE 0xffu

#define IPV4_PATHS 64u /* power of two */
#define ARP_SETS 16u   /* power of two */
#define ARP_WAYS 4u
#define ARP_PENDING_MAX 32u       /* packets that wait for one neighbour */
#define ARP_PENDING_TOTAL_MAX 64u /* and for all of them together */

#define EPHEMERAL_PORT_FIRST 49152u /* RFC 6335, 6 */
#define EPHEMERAL_PORTS 16384u

/* ---- TCP parameters --------------------------------------------------------------------------*/

#define TCP_DEFAULT_MSS 536u /* RFC 9293, 3.7.1 */
#define TCP_RTO_INITIAL NS_PER_S
#define TCP_RTO_MIN (200u * NS_PER_MS) /* below RFC 6298's 1 s, as Linux and BSD do */
#define TCP_RTO_MAX (60u * NS_PER_S)
#define TCP_SYN_RETRIES 5u
#define TCP_DATA_RETRIES 15u
#define TCP_ORPHAN_RETRIES 15u
#define TCP_DELAYED_ACK (40u * NS_PER_MS)
#define TCP_TIME_WAIT_NS (60u * NS_PER_S) /* 2 MSL of 30 s */
#define TCP_FIN_WAIT_2_NS (30u * NS_PER_S)
#define TCP_KEEPALIVE_INTERVAL (10u * NS_PER_S)
#define TCP_KEEPALIVE_PROBES 5u
#define TCP_CHALLENGE_INTERVAL (20u * NS_PER_MS)
#define TCP_PAWS_AGE_MAX (24u * 86400u * NS_PER_S) /* RFC 7323, 5.5 */

/* Timer wheel: slots of 2^22 ns (4.2 ms), one turn 2.1 s. Deadlines further off take more turns. */
#define TCP_TICK_SHIFT 22u
#define TCP_WHEEL_SLOTS 512u

/* Bookkeeping beside each pool buffer, for the one queue that holds it. */
struct buffer_meta {
    uint32_t next; /* buffer, or NETBUF_NONE */
    uint32_t sequence;
    uint16_t offset; /* of the payload in the buffer */
    uint16_t length;
    uint8_t queued;        /* in a connection's send or receive queue */
    uint8_t sacked;        /* send queue: the peer said it has it */
    uint8_t retransmitted; /* send queue: sent again in this recovery, or as a probe */
    uint8_t lost;          /* send queue: RACK says so */
    uint32_t sent;         /* send queue: when it was sent last (rack_ticks) */
};

enum tcp_flag {
    TCP_FLAG_SEND_SYN = 1u << 0,       /* the SYN or SYN-ACK has to go out (again) */
    TCP_FLAG_ACK_NOW = 1u << 1,        /* an acknowledgement has to go out */
    TCP_FLAG_ACK_DELAYED = 1u << 2,    /* may wait for TCP_DELAYED_ACK */
    TCP_FLAG_FIN_QUEUED = 1u << 3,     /* FIN follows the send queue */
    TCP_FLAG_FIN_SEEN = 1u << 4,       /* fin_sequence holds */
    TCP_FLAG_END_DUE = 1u << 5,        /* FIN received, on_end not called yet */
    TCP_FLAG_PAUSED = 1u << 6,         /* on_receive did not take everything */
    TCP_FLAG_WANTS_SPACE = 1u << 7,    /* tcp_send took less than it was given */
    TCP_FLAG_SENDABLE_DUE = 1u << 8,   /* on_sendable to be called */
    TCP_FLAG_ATTACHED = 1u << 9,       /* the application holds the handle */
    TCP_FLAG_ACTIVE_OPEN = 1u << 10,   /* tcp_connect made it */
    TCP_FLAG_TIMESTAMPS = 1u << 11,    /* RFC 7323 timestamps agreed */
    TCP_FLAG_SACK = 1u << 12,          /* RFC 2018 agreed */
    TCP_FLAG_WINDOW_SCALE = 1u << 13,  /* RFC 7323 window scaling agreed */
    TCP_FLAG_RECOVERY = 1u << 14,      /* loss recovery until `recover` is acknowledged */
    TCP_FLAG_PERSIST = 1u << 15,       /* the retransmit timer probes a closed window */
    TCP_FLAG_ROUND_TRIP = 1u << 16,    /* timing the segment that ends at rtt_sequence */
    TCP_FLAG_FORCE_SEND = 1u << 17,    /* window probe: send whatever fits, at least one byte */
    TCP_FLAG_HALF_OPEN = 1u << 18,     /* counted in the listener's backlog */
    TCP_FLAG_FREE_DUE = 1u << 19,      /* closed; the active pass frees it */
    TCP_FLAG_SOFT_ERROR = 1u << 21,    /* a router cannot reach the peer, says it */
    TCP_FLAG_V6 = 1u << 22,            /* remote_address is a tag */
    TCP_FLAG_REORDERED = 1u << 28,     /* the network has been seen to reorder */
    TCP_FLAG_SACKED = 1u << 23,        /* something before sack_high was reported as arrived */
    TCP_FLAG_PROBE_TIMER = 1u << 24,   /* the retransmit timer sends a tail loss probe */
    TCP_FLAG_REORDER_TIMER = 1u << 25, /* the retransmit timer looks for losses again */
    TCP_FLAG_PROBED = 1u << 26,        /* a probe is on its way until probe_end is acknowledged */
    TCP_FLAG_PROBE_REPEAT = 1u << 27,  /* and it was sent before */
    TCP_FLAG_ECN = 1u << 29,           /* RFC 3168 agreed; in a SYN: asked for */
    TCP_FLAG_ECN_ECHO = 1u << 30,      /* congestion was met: told until the peer has reduced */
    TCP_FLAG_ECN_REDUCED = 1u << 31,   /* the next new data says that the window was reduced */
    TCP_FLAG_NAGLE = 1u << 20,         /* hold back parts of segments while data is in flight */
};

/* RFC 9438; windows in bytes. */
struct cubic {
    time_ns_t epoch;      /* when this congestion avoidance began; 0: not yet */
    uint32_t window_max;  /* just before the last reduction */
    uint32_t inflection;  /* time from the epoch to window_max, in ticks of 2^20 ns */
    uint32_t window_reno; /* what Reno would have */
    uint32_t origin;      /* window_max, or the window at the epoch when that is larger */
};

struct tcp_connection {
    struct net_stack *stack; /* [const] */
    struct tcp_connection *hash_next;
    ipv4_t remote_address;
    uint16_t remote_port;
    uint16_t local_port;
    uint32_t flags;
    uint8_t state;      /* enum tcp_state */
    uint8_t send_shift; /* scale of the peer's window */
    uint8_t receive_shift;
    uint8_t duplicate_acks;
    const struct tcp_ops *ops;
    void *user;
    struct list active; /* in stack->active */
    uint64_t
        peer_ends; /* [const] IPv4: source and destination as they stand in the peer's packets */
    uint32_t peer_ports; /* [const] likewise */

    /* Sending. Sequence order: snd_una <= snd_nxt <= snd_max; send_end is behind the last queued
     * byte, the FIN's own number. */
    uint32_t snd_una;
    uint32_t snd_nxt;
    uint32_t snd_max;
    uint32_t send_end;
    uint32_t snd_wnd; /* bytes from snd_una */
    uint32_t snd_wnd_max;
    uint32_t snd_wl1;
    uint32_t snd_wl2;
    uint32_t send_head; /* buffers, linked by buffer_meta.next */
    uint32_t send_tail;
    uint32_t send_cursor; /* holds snd_nxt; NETBUF_NONE when snd_nxt == send_end */
    uint32_t mss;         /* payload bytes in a full segment sent */
    uint32_t cwnd;
    uint32_t ssthresh;
    uint32_t recover;
    uint32_t pipe;       /* in a recovery with SACK: bytes thought to be on the way */
    uint32_t send_count; /* buffers in the send queue */

    /* Receiving. rcv_nxt <= rcv_adv. */
    uint32_t rcv_nxt;
    uint32_t rcv_adv; /* right edge the peer may send up to */
    uint32_t last_ack_sent;
    uint32_t receive_unread; /* bytes in order, not consumed */
    uint32_t receive_head;   /* unread, then out of order; by sequence, not overlapping */
    uint32_t receive_tail;
    uint32_t receive_count; /* buffers in the receive queue */
    uint32_t unacked_bytes; /* received since the last acknowledgement */
    uint32_t fin_sequence;
    uint32_t timestamp_recent;
    time_ns_t timestamp_recent_at;
    uint32_t last_sack; /* sequence in the most recent out-of-order segment */

    /* Timers; DEADLINE_NEVER: off. */
    time_ns_t retransmit_deadline;
    time_ns_t ack_deadline;
    time_ns_t misc_deadline;  /* TIME-WAIT, FIN-WAIT-2, keep-alive */
    time_ns_t wheel_deadline; /* when the wheel will look at this connection */
    struct list wheel;
    uint64_t srtt_ns;
    uint64_t rttvar_ns;
    uint64_t rto_ns;
    time_ns_t rtt_start;
    uint32_t rtt_sequence;
    uint8_t backoff; /* timeouts in a row */
    uint8_t keepalive_probes;
    uint8_t listener;
    uint8_t sack_pending;
    time_ns_t last_receive;
    time_ns_t last_send;
    time_ns_t last_challenge;
    time_ns_t keepalive_idle; /* 0: off */

    struct list age;     /* in the listener's half-open list or stack->time_wait, oldest first */
    struct list waiting; /* in stack->waiting: for pool buffers */
    uint32_t iss;
    uint32_t irs;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t retransmits;
    time_ns_t opened;
    struct cubic cubic;
    /* RACK-TLP (tcp_rack.c); times in rack_ticks. */
    uint32_t rack_sent; /* of all that has arrived, what was sent last: when, */
    uint32_t rack_end;  /* where it ends, */
    uint32_t rack_rtt;  /* and how long it took; 0: nothing has */
    uint32_t rtt_min;   /* 0: not known */
    uint32_t sack_high; /* end of the highest that was reported as arrived */
    uint32_t probe_end;
    uint32_t ecn_recover; /* the window was reduced for what lies before this */
    struct ipv6_ends v6;  /* when remote_address is a tag */
};

struct tcp_listener {
    const struct tcp_ops *ops; /* NULL: free */
    void *user;
    struct list half_open; /* connections in SYN-RECEIVED, oldest first */
    uint32_t backlog;
    uint32_t half_open_count;
    uint16_t port;
    time_ns_t cookies_until; /* cookies sent before are good until then */
};

struct udp_socket {
    struct net_stack *stack;
    udp_receive_function *receive; /* NULL: free */
    udp_error_function *failed;    /* may be NULL */
    void *user;
    uint16_t port;
    uint8_t next; /* in the bucket */
};

enum arp_state { ARP_FREE, ARP_INCOMPLETE, ARP_REACHABLE, ARP_PROBE };

struct arp_entry {
    ipv4_t address;
    uint8_t header[ETHERNET_BYTES]; /* for IPv4 frames to this neighbour */
    uint8_t state;
    uint8_t tries;
    bool used; /* since it became reachable */
    uint8_t pending_count;
    time_ns_t deadline;
    struct netframe pending[ARP_PENDING_MAX];
};

/* How to reach a host: what stands in front of each packet to it. Entry of a cache; valid as long
 * as the neighbour's entry and our address are what they were. */
struct ipv4_path {
    uint32_t peer;               /* the host's address as in a packet; IPV4_ANY: unused */
    uint16_t tcp_sum, udp_sum;   /* of the IPv4 header below with that protocol, folded */
    struct arp_entry *neighbour; /* to be marked as used */
    uint64_t ends_sum;           /* of both addresses */
    /* Ethernet and IPv4; length, protocol and checksum are 0. */
    uint8_t header[ETHERNET_BYTES + IPV4_BYTES];
};

enum dhcp_state {
    DHCP_OFF,
    DHCP_INIT,
    DHCP_SELECTING,
    DHCP_REQUESTING,
    DHCP_PROBING, /* asking by ARP whether someone has the address */
    DHCP_BOUND,
    DHCP_RENEWING,
    DHCP_REBINDING
};

struct dhcp_client {
    uint8_t state; /* enum dhcp_state */
    uint8_t tries;
    uint32_t transaction;
    ipv4_t server;
    ipv4_t offered;
    ipv4_t netmask, gateway, dns_server; /* of the last acknowledgement */
    time_ns_t deadline;                  /* of the next step */
    time_ns_t started;
    time_ns_t request_sent;
    time_ns_t renew_at, rebind_at, lease_end;
};

/* A token bucket: one token each interval, at most `burst`. */
struct rate_limit {
    time_ns_t refilled;
    uint32_t tokens;
};

struct net_stack {
    struct netdev *dev;
    struct netbuf_pool *pool;
    struct buffer_meta *meta; /* [pool->buffer_count] */
    time_ns_t now;
    ipv4_t address; /* IPV4_ANY: none */
    ipv4_t netmask;
    ipv4_t gateway;
    ipv4_t route_destination; /* the last host that was sent to; IPV4_ANY: none */
    ipv4_t route_neighbour;   /* and its neighbour, IPV4_ANY for none */
    uint32_t reserve_buffers;
    uint32_t tx_count;
    uint32_t receive_buffer; /* of the callback running now */
    struct list active;      /* connections with something to do at the end of this poll */
    struct tcp_connection **hash;
    uint32_t hash_mask;
    uint32_t connection_count;
    uint64_t hash_key[2];
    struct netframe tx[STACK_TX_QUEUE];
    struct stack_counters counters;

    struct list free_connections;
    struct list time_wait; /* oldest first */
    struct list waiting;   /* connections that want pool buffers, longest first */
    struct tcp_connection *connections;
    uint32_t connections_max;
    uint32_t receive_window_bytes;
    uint32_t send_queue_bytes;
    uint32_t send_buffers_max;    /* buffers in one send queue */
    uint32_t receive_buffers_max; /* buffers in one receive queue */
    uint8_t receive_shift;
    uint8_t congestion; /* enum stack_congestion */
    bool ecn;
    uint64_t wheel_tick; /* every slot before this tick has been run */
    uint64_t wheel_bits[TCP_WHEEL_SLOTS / 64u];
    struct list wheel[TCP_WHEEL_SLOTS];
    struct tcp_listener listeners[STACK_LISTENERS_MAX];
    uint32_t timestamp_offset;

    struct udp_socket udp[STACK_UDP_SOCKETS_MAX];
    uint8_t udp_bucket[UDP_BUCKETS]; /* index into udp, or UDP_NONE */

    struct ipv4_path paths[IPV4_PATHS];
    struct arp_entry arp[ARP_SETS][ARP_WAYS];
    struct arp_entry *arp_recent; /* the last one sent to */
    uint32_t arp_pending;         /* packets that wait, in all entries */
    time_ns_t arp_deadline;
    time_ns_t arp_defended;

    time_ns_t next_deadline; /* nothing is due before */
    time_ns_t device_deadline;
    bool link;     /* as last seen */
    bool tx_large; /* the queue holds frames with flags */
    struct dhcp_client dhcp;
    ipv4_t dns_server;
    const char *host_name;
    struct siphash_key secret;
    uint64_t random_counter;
    struct rate_limit icmp_limit, reset_limit;
    bool (*owns)(const void *context, const uint8_t *flow, uint32_t bytes);
    const void *owns_context;
    void (*interface_changed)(void *user);
    void *interface_user;
    struct ipv6_state v6;
    struct dns_pending dns[DNS_QUERIES_MAX];
    struct pmtu_entry pmtu[PMTU_ENTRIES];
    struct reassembly reassembly[REASSEMBLY_PACKETS];
    uint32_t fragments_held;
    uint8_t reassembly_area[REASSEMBLY_AREA_BYTES];
};

/* ---- stack.c: device queue, buffers, small services -------------------------------------------*/

/* Gives the queue to the device. */
void stack_hand_over(struct net_stack *stack);
/* Whether a frame would be taken now; hands the queue to the device first when it is full. */
static inline bool stack_transmit_room(struct net_stack *stack)
{
    if (stack->tx_count == STACK_TX_QUEUE) {
        stack_hand_over(stack);
    }
    return stack->tx_count < STACK_TX_QUEUE;
}
/* Queues one frame; takes over its reference in every case. False: dropped, no room. */
static inline bool stack_transmit(struct net_stack *stack, struct netframe frame)
{
    if (!stack_transmit_room(stack)) {
        stack->counters.tx_queue_full++;
        netbuf_drop(stack->pool, frame.buffer);
        return false;
    }
    stack->tx[stack->tx_count++] = frame;
    return true;
}
/* A buffer for a packet of ours, from the reserve too; NETBUF_NONE is counted. */
uint32_t stack_take_buffer(struct net_stack *stack);
/* Whether queued data may take a buffer: the reserve is left alone. */
static inline bool stack_data_buffer_free(const struct net_stack *stack)
{
    return stack->pool->free_count > stack->reserve_buffers;
}
/* Unpredictable to anyone who does not know the secret. */
uint64_t stack_random(struct net_stack *stack);
bool rate_limit_take(struct rate_limit *limit, time_ns_t now, time_ns_t interval, uint32_t burst);
/* Makes stack_tick look again at `deadline` or earlier. */
static inline void stack_due(struct net_stack *stack, time_ns_t deadline)
{
    if (deadline < stack->next_deadline) {
        stack->next_deadline = deadline;
    }
}
/* Takes a new address, mask, gateway and DNS server into use; IPV4_ANY: none. Connections of
 * another address are ended. */
struct interface_address {
    ipv4_t address, netmask, gateway, dns_server;
};
void stack_set_address(struct net_stack *stack, const struct interface_address *to);
/* Whether a packet that was put together from fragments is for this instance. */
bool stack_owns_packet(const struct net_stack *stack, const struct ipv4_packet *ip, bool is_v6);

/* ---- arp.c ------------------------------------------------------------------------------------*/

void arp_input(struct net_stack *stack, const uint8_t *packet, uint32_t length);
/* Sends the frame (14 bytes of room for its Ethernet header at its start) to the neighbour, or lets
 * it wait for the neighbour's answer. Takes over its reference. */
void arp_transmit_slow(struct net_stack *stack, ipv4_t neighbour, struct netframe frame);
static inline void arp_transmit_to(struct net_stack *stack, struct arp_entry *entry,
                                   struct netframe frame)
{
    uint8_t *at = netbuf_data(stack->pool, frame.buffer) + frame.offset;

    entry->used = true;
    memcpy(at, entry->header, ETHERNET_BYTES);
    (void)stack_transmit(stack, frame);
}
static inline void arp_transmit(struct net_stack *stack, ipv4_t neighbour, struct netframe frame)
{
    struct arp_entry *entry = stack->arp_recent;

    if (entry != NULL && entry->address == neighbour && entry->state >= ARP_REACHABLE) {
        arp_transmit_to(stack, entry, frame);
    } else {
        arp_transmit_slow(stack, neighbour, frame);
    }
}
/* Nothing comes back from the neighbour: asks everyone for it again (RFC 1122, 2.3.2.1). */
void arp_suspect(struct net_stack *stack, ipv4_t neighbour);
/* Runs what is due; returns the next deadline. */
time_ns_t arp_tick(struct net_stack *stack);
/* Tells the neighbours our address (RFC 5227, 2.3). */
void arp_announce(struct net_stack *stack);
/* Asks who has `address` without claiming it (RFC 5227, 2.1.1). */
void arp_probe(struct net_stack *stack, ipv4_t address);
/* The entry of a neighbour that frames can be sent to, or NULL. */
struct arp_entry *arp_reachable(struct net_stack *stack, ipv4_t neighbour);
/* Forgets all neighbours. */
void arp_flush(struct net_stack *stack);
void ethernet_write(uint8_t *at, const uint8_t *destination, const uint8_t *source, uint16_t type);

/* ---- ipv4.c, icmp.c, udp.c --------------------------------------------------------------------*/

void ipv4_input(struct net_stack *stack, const struct netframe *frame);
/* The neighbour that packets to `destination` go to; IPV4_ANY: there is no way. */
ipv4_t ipv4_route_slow(struct net_stack *stack, ipv4_t destination);
static inline ipv4_t ipv4_route(struct net_stack *stack, ipv4_t destination)
{
    return destination == stack->route_destination ? stack->route_neighbour
                                                   : ipv4_route_slow(stack, destination);
}
bool ipv4_is_broadcast(const struct net_stack *stack, ipv4_t address);
/* Remembers how packets to `destination` leave, if its neighbour is known. */
void ipv4_path_learn(struct net_stack *stack, ipv4_t destination, ipv4_t neighbour);
/* Forgets all paths: a neighbour or our address has changed. */
void ipv4_paths_forget(struct net_stack *stack);

struct ipv4_send {
    ipv4_t source;
    ipv4_t destination;
    uint32_t buffer;
    uint32_t offset; /* of the IPv4 payload, ETHERNET_BYTES + IPV4_BYTES or more */
    uint32_t length; /* of the IPv4 payload */
    uint8_t protocol;
    uint8_t ecn; /* enum ip_ecn */
};
/* Writes the headers in front and sends. Takes over the buffer's reference in every case. False:
 * there is no way to the destination. */
bool ipv4_send(struct net_stack *stack, const struct ipv4_send *send);
/* The same with this second word of the header: identification, flags, offset. */
bool ipv4_send_fragment(struct net_stack *stack, const struct ipv4_send *send, uint32_t word);

void icmp_input(struct net_stack *stack, const struct ipv4_packet *ip);
/* Answers `ip` with a destination-unreachable, if that is allowed (RFC 1122, 3.2.2). */
void icmp_send_unreachable(struct net_stack *stack, const struct ipv4_packet *ip, uint8_t code);

void udp_input(struct net_stack *stack, const struct ipv4_packet *ip);
/* Sends a datagram whose payload lies at send->offset; addresses in `send`. */
struct udp_ports {
    uint16_t source, destination;
};
/* A report about a datagram of ours. */
void udp_input_error(struct net_stack *stack, uint16_t port, const struct udp_error *error);
/* A port unreachable for either family. */
void icmp_send_port_unreachable(struct net_stack *stack, const struct ipv4_packet *ip);
bool udp_output(struct net_stack *stack, const struct ipv4_send *send, struct udp_ports ports);

/* ---- dhcp.c -----------------------------------------------------------------------------------*/

#define DHCP_SERVER_PORT 67u
#define DHCP_CLIENT_PORT 68u

void dhcp_start(struct net_stack *stack);
void dhcp_input(struct net_stack *stack, const struct udp_datagram *datagram);
time_ns_t dhcp_tick(struct net_stack *stack);
/* Someone else uses `address`. */
void dhcp_conflict(struct net_stack *stack, ipv4_t address);

#endif
