// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * IPv6 inside the stack: its state, and what its files call of each other. Private to lib/net;
 * included by internal.h.
 *
 *     ipv6.c    headers, extension headers, routes, sources (RFC 8200, RFC 6724 in short)
 *     icmp6.c   echo and errors (RFC 4443)
 *     nd.c      neighbours (RFC 4861)
 *     slaac.c   own addresses, duplicate detection, routers (RFC 4862, RFC 8106)
 *
 * TCP and UDP keep their 32-bit address fields. For an IPv6 peer the field holds a tag, a keyed
 * hash in a range where no IPv4 host can be, and the 128-bit addresses lie beside it; whoever finds
 * a tag compares those too. So IPv4 pays one comparison for IPv6 and no memory access.
 */
#ifndef LIB_NET_IPV6_H
#define LIB_NET_IPV6_H

#include "lib/net/wire.h"

#define ND_SETS 16u /* power of two */
#define ND_WAYS 4u
#define ND_PENDING_MAX 8u
#define ND_PENDING_TOTAL_MAX 64u
#define IPV6_PREFIXES 4u
#define IPV6_ROUTERS 2u

static inline bool is_ipv6_tag(ipv4_t address)
{
    return address >= 0xf0000000u;
}

static inline bool ipv6_equal(const struct ipv6_address *a, const struct ipv6_address *b)
{
    return load_le64(a->byte) == load_le64(b->byte) &&
           load_le64(a->byte + 8) == load_le64(b->byte + 8);
}

static inline bool ipv6_is_any(const struct ipv6_address *a)
{
    return (load_le64(a->byte) | load_le64(a->byte + 8)) == 0;
}

static inline bool ipv6_is_multicast(const struct ipv6_address *a)
{
    return a->byte[0] == 0xffu;
}

static inline bool ipv6_is_link_local(const struct ipv6_address *a)
{
    return a->byte[0] == 0xfeu && (a->byte[1] & 0xc0u) == 0x80u;
}

/* May be a peer's or an own address: not multicast, unspecified, loopback or IPv4-mapped. */
bool ipv6_is_host(const struct ipv6_address *a);
bool ipv6_same_prefix(const struct ipv6_address *a, const struct ipv6_address *b, uint32_t bits);

enum ipv6_own_state { OWN_FREE, OWN_TENTATIVE, OWN_READY, OWN_DUPLICATE };

struct ipv6_own {
    struct ipv6_address address;
    uint8_t state;             /* enum ipv6_own_state */
    time_ns_t deadline;        /* tentative: when it becomes ready */
    time_ns_t preferred_until; /* deprecated afterwards: not for new connections */
    time_ns_t valid_until;
};

struct ipv6_prefix {
    struct ipv6_address prefix;
    uint8_t bits; /* 0: free */
    time_ns_t valid_until;
};

struct ipv6_router {
    struct ipv6_address address; /* link-local; any: free */
    time_ns_t until;
};

/* FREE -> INCOMPLETE (asked, packets wait) -> REACHABLE -> STALE (old, still used) -> DELAY (used,
 * soon asked) -> PROBE (asked) -> REACHABLE, or FREE after ND_TRIES without an answer. */
enum nd_state { ND_FREE, ND_INCOMPLETE, ND_REACHABLE, ND_STALE, ND_DELAY, ND_PROBE };

struct nd_entry {
    struct ipv6_address address;
    uint8_t header[ETHERNET_BYTES];
    uint8_t state; /* enum nd_state */
    uint8_t tries;
    uint8_t pending_count;
    time_ns_t deadline; /* DEADLINE_NEVER in STALE */
    time_ns_t used;
    struct netframe pending[ND_PENDING_MAX];
};

struct ipv6_state {
    uint8_t mode;          /* enum stack_ipv6_mode */
    uint8_t solicitations; /* router solicitations sent */
    uint16_t mtu_bytes;    /* of the link, at most the device's */
    uint8_t hop_limit;
    struct ipv6_own own[STACK_IPV6_ADDRESSES_MAX]; /* [0]: link-local */
    struct ipv6_prefix prefixes[IPV6_PREFIXES];
    struct ipv6_router routers[IPV6_ROUTERS];
    struct ipv6_address dns_server;
    time_ns_t dns_until;
    time_ns_t solicit_at;
    time_ns_t slaac_deadline;
    struct nd_entry nd[ND_SETS][ND_WAYS];
    struct nd_entry *nd_recent; /* the last one sent to */
    uint32_t nd_pending;
    time_ns_t nd_deadline;
};

/* ---- ipv6.c -----------------------------------------------------------------------------------*/

void ipv6_input(struct net_stack *stack, const struct netframe *frame);
/* The 32-bit stand-in for a peer's address. */
ipv4_t ipv6_tag(const struct net_stack *stack, const struct ipv6_address *address);
/* The ends of a received packet: its sender is the remote one. */
static inline const struct ipv6_ends *ipv6_ends_of(const struct ipv4_packet *ip)
{
    return (const struct ipv6_ends *)(const void *)(ip->header + 8);
}
/* Own address in use; NULL: not ours. */
struct ipv6_own *ipv6_find_own(struct net_stack *stack, const struct ipv6_address *address);
/* Best own address to reach `remote` from; NULL: none. */
const struct ipv6_address *ipv6_source(const struct net_stack *stack,
                                       const struct ipv6_address *remote);
/* Where packets to `remote` go first; false: there is no way. */
bool ipv6_route(const struct net_stack *stack, const struct ipv6_address *remote,
                struct ipv6_address *next_hop);
/* Fills ends->local when it is unspecified, and checks that it is ours and that there is a route.
 * INVALID_ARGUMENT, UNREACHABLE. */
status_t ipv6_complete(struct net_stack *stack, struct ipv6_ends *ends);

struct ipv6_send {
    const struct ipv6_ends *ends; /* may lie in the buffer: it is read before anything is written */
    uint32_t buffer;
    uint32_t offset; /* of the payload, ETHERNET_BYTES + IPV6_BYTES or more */
    uint32_t length;
    uint8_t protocol;
    uint8_t hop_limit; /* 0: the usual one */
    uint8_t ecn;       /* enum ip_ecn */
};
/* Writes the headers in front and sends. Takes over the buffer's reference in every case. False:
 * there is no way to the destination. */
bool ipv6_send(struct net_stack *stack, const struct ipv6_send *send);
uint64_t ipv6_pseudo_sum(const struct ipv6_ends *ends, uint32_t protocol, uint32_t length);

/* ---- icmp6.c ----------------------------------------------------------------------------------*/

void icmp6_input(struct net_stack *stack, const struct ipv4_packet *ip);
/* Answers `ip` with an error, if that is allowed (RFC 4443, 2.4); `argument` is the second word. */
void icmp6_send_error(struct net_stack *stack, const struct ipv4_packet *ip, uint16_t type_code,
                      uint32_t argument);

/* ---- nd.c -------------------------------------------------------------------------------------*/

/* Neighbour solicitations and advertisements; the checksum and hop limit are right. */
void nd_input(struct net_stack *stack, const struct ipv4_packet *ip);
/* Sends the frame (ETHERNET_BYTES of room at its start) to `next_hop`, or lets it wait. */
void nd_transmit(struct net_stack *stack, const struct ipv6_address *next_hop,
                 struct netframe frame);
/* Asks, from an unspecified source, whether someone has `address` (RFC 4862, 5.4.2). */
void nd_probe(struct net_stack *stack, const struct ipv6_address *address);
/* Tells everyone our address. */
void nd_announce(struct net_stack *stack, const struct ipv6_address *address);
/* Nothing comes back through this neighbour: asks for it again soon. */
void nd_suspect(struct net_stack *stack, const struct ipv6_address *remote);
/* The neighbour told its hardware address in a packet of its own. */
void nd_learn(struct net_stack *stack, const struct ipv6_address *address, const uint8_t *mac);
void nd_flush(struct net_stack *stack);
time_ns_t nd_tick(struct net_stack *stack);

/* Link-layer address in the options `kind` from `at`; NULL: none. False: malformed options. */
bool nd_option(const uint8_t *at, uint32_t length, uint8_t kind, const uint8_t **value);

struct icmp6_send {
    struct ipv6_ends ends;
    uint8_t type;
    uint32_t word;       /* the second one of the header */
    const uint8_t *body; /* behind it */
    uint32_t length;
};
/* Sends a small ICMPv6 message with hop limit 255. */
void icmp6_send(struct net_stack *stack, const struct icmp6_send *send);

/* ---- slaac.c ----------------------------------------------------------------------------------*/

void ipv6_start(struct net_stack *stack, const struct stack_config *config);
void slaac_router_advertisement(struct net_stack *stack, const struct ipv4_packet *ip);
/* Someone else has this address of ours that was still being tried. */
void slaac_duplicate(struct net_stack *stack, struct ipv6_own *own);
time_ns_t slaac_tick(struct net_stack *stack);
void ipv6_solicited_node(const struct ipv6_address *address, struct ipv6_address *group);
extern const struct ipv6_address ipv6_any, ipv6_all_nodes, ipv6_all_routers;

#endif
