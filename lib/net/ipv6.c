// SPDX-License-Identifier: MIT OR Apache-2.0
/* IPv6 (RFC 8200): no forwarding; extension headers are walked, at most HEADERS_MAX of them. */
#include "lib/net/tcp_internal.h"

#define HEADERS_MAX 6u
#define IPV6_SOURCE 8u
#define IPV6_DESTINATION_AT 24u

const struct ipv6_address ipv6_any;
const struct ipv6_address ipv6_all_nodes = {{0xff, 2, [15] = 1}};
const struct ipv6_address ipv6_all_routers = {{0xff, 2, [15] = 2}};

bool ipv6_is_host(const struct ipv6_address *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291, 2.5.5.2 */
    bool loopback =
        load_le64(a->byte) == 0 && load_be32(a->byte + 8) == 0 && load_be32(a->byte + 12) <= 1u;

    return !loopback && !ipv6_is_multicast(a) && memcmp(a->byte, mapped, sizeof mapped) != 0;
}

bool ipv6_same_prefix(const struct ipv6_address *a, const struct ipv6_address *b, uint32_t bits)
{
    uint32_t whole = bits / 8u;

    if (memcmp(a->byte, b->byte, whole) != 0) {
        return false;
    }
    return bits % 8u == 0 || ((a->byte[whole] ^ b->byte[whole]) >> (8u - bits % 8u)) == 0;
}

ipv4_t ipv6_tag(const struct net_stack *stack, const struct ipv6_address *address)
{
    /* Secret multipliers, so that a peer cannot aim at one bucket of TCP's table. */
    uint64_t mixed = (load_le64(address->byte) ^ stack->hash_key[0]) * stack->hash_key[1];

    mixed ^= mixed >> 32;
    mixed = (mixed ^ load_le64(address->byte + 8)) * stack->hash_key[1];
    return 0xf0000000u | (ipv4_t)(mixed >> 37);
}

uint64_t ipv6_pseudo_sum(const struct ipv6_ends *ends, uint32_t protocol, uint32_t length)
{
    uint64_t sum = (uint64_t)__builtin_bswap32(length) + __builtin_bswap32(protocol);

    return checksum_add(sum, ends, sizeof *ends);
}

/* ---- Own addresses and routes ----------------------------------------------------------------*/

struct ipv6_own *ipv6_find_own(struct net_stack *stack, const struct ipv6_address *address)
{
    for (uint32_t i = 0; i < STACK_IPV6_ADDRESSES_MAX; i++) {
        struct ipv6_own *own = &stack->v6.own[i];
        if (own->state != OWN_FREE && ipv6_equal(&own->address, address)) {
            return own;
        }
    }
    return NULL;
}

static bool is_ready(struct net_stack *stack, const struct ipv6_address *address)
{
    const struct ipv6_own *own = ipv6_find_own(stack, address);

    return own != NULL && own->state == OWN_READY;
}

/* RFC 6724, 5 in short: same scope, then not deprecated, then the longest common prefix. */
const struct ipv6_address *ipv6_source(const struct net_stack *stack,
                                       const struct ipv6_address *remote)
{
    const struct ipv6_own *best = NULL;
    uint32_t best_score = 0;
    bool link_local = ipv6_is_link_local(remote) || ipv6_is_multicast(remote);

    for (uint32_t i = 0; i < STACK_IPV6_ADDRESSES_MAX; i++) {
        const struct ipv6_own *own = &stack->v6.own[i];
        if (own->state != OWN_READY) {
            continue;
        }
        uint64_t different = __builtin_bswap64(load_le64(own->address.byte)) ^
                             __builtin_bswap64(load_le64(remote->byte));
        uint32_t common = different == 0 ? 64u : (uint32_t)__builtin_clzll(different);
        uint32_t score = 1u + common;
        score += stack->now < own->preferred_until ? 128u : 0u;
        score += ipv6_is_link_local(&own->address) == link_local ? 256u : 0u;
        if (score > best_score) {
            best_score = score;
            best = own;
        }
    }
    return best != NULL ? &best->address : NULL;
}

bool ipv6_route(const struct net_stack *stack, const struct ipv6_address *remote,
                struct ipv6_address *next_hop)
{
    *next_hop = *remote;
    if (ipv6_is_multicast(remote) || ipv6_is_link_local(remote)) {
        return true;
    }
    for (uint32_t i = 0; i < IPV6_PREFIXES; i++) {
        const struct ipv6_prefix *prefix = &stack->v6.prefixes[i];
        if (prefix->bits != 0 && ipv6_same_prefix(&prefix->prefix, remote, prefix->bits)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < IPV6_ROUTERS; i++) {
        if (!ipv6_is_any(&stack->v6.routers[i].address)) {
            *next_hop = stack->v6.routers[i].address;
            return true;
        }
    }
    return false;
}

status_t ipv6_complete(struct net_stack *stack, struct ipv6_ends *ends)
{
    struct ipv6_address next_hop;

    if (!ipv6_is_host(&ends->remote) || ipv6_find_own(stack, &ends->remote) != NULL) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (!ipv6_is_any(&ends->local)) {
        if (!is_ready(stack, &ends->local)) {
            return STATUS_INVALID_ARGUMENT;
        }
    } else {
        const struct ipv6_address *source = ipv6_source(stack, &ends->remote);
        if (source == NULL) {
            return STATUS_UNREACHABLE;
        }
        ends->local = *source;
    }
    return ipv6_route(stack, &ends->remote, &next_hop) ? STATUS_OK : STATUS_UNREACHABLE;
}

bool ipv6_send(struct net_stack *stack, const struct ipv6_send *send)
{
    struct ipv6_ends ends = *send->ends;
    struct ipv6_address next_hop;

    if (!ipv6_route(stack, &ends.remote, &next_hop)) {
        stack->counters.ipv6_no_route++;
        netbuf_drop(stack->pool, send->buffer);
        return false;
    }
    uint32_t offset = send->offset - IPV6_BYTES;
    uint8_t *at = netbuf_data(stack->pool, send->buffer) + offset;
    uint32_t hops = send->hop_limit != 0 ? send->hop_limit : stack->v6.hop_limit;
    store_be32(at, 6u << 28 | (uint32_t)send->ecn << 20);
    store_be32(at + 4, send->length << 16 | (uint32_t)send->protocol << 8 | hops);
    memcpy(at + IPV6_SOURCE, &ends.local, 16);
    memcpy(at + IPV6_DESTINATION_AT, &ends.remote, 16);
    struct netframe frame = {.buffer = send->buffer,
                             .offset = (uint16_t)(offset - ETHERNET_BYTES),
                             .length = (uint16_t)(send->length + IPV6_BYTES + ETHERNET_BYTES)};
    nd_transmit(stack, &next_hop, frame);
    return true;
}

/* ---- Receiving -------------------------------------------------------------------------------*/

static bool is_our_group(struct net_stack *stack, const struct ipv6_address *group)
{
    struct ipv6_address solicited;

    if (ipv6_equal(group, &ipv6_all_nodes)) {
        return true;
    }
    for (uint32_t i = 0; i < STACK_IPV6_ADDRESSES_MAX; i++) {
        const struct ipv6_own *own = &stack->v6.own[i];
        if (own->state == OWN_TENTATIVE || own->state == OWN_READY) {
            ipv6_solicited_node(&own->address, &solicited);
            if (ipv6_equal(group, &solicited)) {
                return true;
            }
        }
    }
    return false;
}

/* What an unknown option asks for (RFC 8200, 4.2). False: the packet is dropped. */
static bool unknown_option(struct net_stack *stack, const struct ipv4_packet *ip,
                           const uint8_t *option)
{
    uint32_t action = *option >> 6;

    if (action == 0) {
        return true;
    }
    stack->counters.ipv6_unknown_protocol++;
    if (action == 2u || (action == 3u && !ip->broadcast)) {
        icmp6_send_error(stack, ip, ICMP6_PARAMETER << 8 | 2u, (uint32_t)(option - ip->header));
    }
    return false;
}

/* Walks the options of a hop-by-hop or destination header. */
static bool options_valid(struct net_stack *stack, const struct ipv4_packet *ip, const uint8_t *at,
                          uint32_t length)
{
    uint32_t i = 2;

    while (i < length) {
        if (at[i] == 0) { /* Pad1 */
            i++;
            continue;
        }
        if (length - i < 2u || at[i + 1u] > length - i - 2u) {
            stack->counters.ipv6_malformed++;
            return false;
        }
        if (at[i] != 1u && !unknown_option(stack, ip, at + i)) { /* 1: PadN */
            return false;
        }
        i += 2u + at[i + 1u];
    }
    return true;
}

/* One extension header of `size` bytes at `at`. False: the packet is dropped. */
static bool extension_valid(struct net_stack *stack, const struct ipv4_packet *ip,
                            const uint8_t *at, uint32_t size)
{
    if (ip->protocol != IPV6_ROUTING) {
        return options_valid(stack, ip, at, size);
    }
    if (at[3] == 0) {
        return true; /* no segment left: we are the last */
    }
    stack->counters.ipv6_unknown_protocol++;
    icmp6_send_error(stack, ip, ICMP6_PARAMETER << 8, (uint32_t)(at + 2 - ip->header));
    return false;
}

static void ipv6_dispatch(struct net_stack *stack, struct ipv4_packet *ip, const uint8_t *pointer)
{
    switch (ip->protocol) {
    case PROTOCOL_TCP:
        if (!ip->broadcast) {
            tcp_input(stack, ip);
        }
        break;
    case PROTOCOL_UDP:
        udp_input(stack, ip);
        break;
    case PROTOCOL_ICMP6:
        icmp6_input(stack, ip);
        break;
    case IPV6_NONE:
        break;
    default:
        stack->counters.ipv6_unknown_protocol++;
        icmp6_send_error(stack, ip, ICMP6_PARAMETER << 8 | 1u, (uint32_t)(pointer - ip->header));
        break;
    }
}

static void ipv6_walk(struct net_stack *stack, struct ipv4_packet *ip, bool whole);

/* A fragment header: goes on when it makes a packet whole. */
static void ipv6_fragment(struct net_stack *stack, struct ipv4_packet *ip)
{
    const uint8_t *at = ip->payload;
    struct fragment fragment = {.ends = *ipv6_ends_of(ip),
                                .is_v6 = true,
                                .protocol = at[0],
                                .identification = load_be32(at + 4),
                                .offset = load_be16(at + 2) & 0xfff8u,
                                .more = (at[3] & 1u) != 0};

    stack->counters.ipv6_fragments++;
    ip->payload += 8;
    ip->length -= 8u;
    if (ip->broadcast || !reassembly_input(stack, &fragment, ip)) {
        return;
    }
    if (ip->buffer == NETBUF_NONE && ip->protocol == PROTOCOL_TCP) {
        stack->counters.tcp_malformed++;
    } else if (stack_owns_packet(stack, ip, true)) {
        ipv6_walk(stack, ip, true);
    }
    if (ip->buffer != NETBUF_NONE) {
        netbuf_drop(stack->pool, ip->buffer);
    }
}

/* From the header that ip->protocol names at ip->payload on. `whole`: put together from fragments,
 * so that it can be none itself. */
static void ipv6_walk(struct net_stack *stack, struct ipv4_packet *ip, bool whole)
{
    const uint8_t *pointer = ip->header + 6; /* at the next-header field that names ip->protocol */

    for (uint32_t i = 0; i < HEADERS_MAX; i++) {
        bool options = ip->protocol == IPV6_DESTINATION || ip->protocol == IPV6_ROUTING ||
                       (ip->protocol == IPV6_HOP_BY_HOP && i == 0 && !whole);
        if (!options && ip->protocol != IPV6_FRAGMENT) {
            ipv6_dispatch(stack, ip, pointer);
            return;
        }
        const uint8_t *at = ip->payload;
        uint32_t size = ip->length < 8u ? 8u : options ? (at[1] + 1u) * 8u : 8u;
        if (size > ip->length) {
            stack->counters.ipv6_malformed++;
            return;
        }
        if (!options && (load_be16(at + 2) & 0xfff9u) != 0) {
            if (whole) {
                stack->counters.ipv6_malformed++;
            } else {
                ipv6_fragment(stack, ip);
            }
            return;
        }
        if (options && !extension_valid(stack, ip, at, size)) {
            return;
        }
        pointer = at;
        ip->protocol = at[0];
        ip->payload += size;
        ip->header_length += size;
        ip->length -= size;
    }
    stack->counters.ipv6_malformed++;
}

void ipv6_input(struct net_stack *stack, const struct netframe *frame)
{
    const uint8_t *at = frame_data(stack->pool, frame) + ETHERNET_BYTES;
    uint32_t length = frame->length - ETHERNET_BYTES;

    if (length < IPV6_BYTES || at[0] >> 4 != 6u || load_be16(at + 4) > length - IPV6_BYTES) {
        stack->counters.ipv6_malformed++;
        return;
    }
    struct ipv4_packet ip = {.header = at,
                             .payload = at + IPV6_BYTES,
                             .header_length = IPV6_BYTES,
                             .length = load_be16(at + 4),
                             .protocol = at[6],
                             .summed = (frame->offset & NETFRAME_SUM_FLAGS) != 0,
                             .buffer = frame->buffer};
    const struct ipv6_ends *ends = ipv6_ends_of(&ip);
    ip.broadcast = ipv6_is_multicast(&ends->local);
    if (ip.broadcast ? !is_our_group(stack, &ends->local) : !is_ready(stack, &ends->local)) {
        stack->counters.ipv6_not_ours++;
        return;
    }
    /* Without a source only to ask whether an address is free (RFC 4861, 7.1.1). */
    bool asks = ipv6_is_any(&ends->remote) && ip.broadcast && ip.protocol == PROTOCOL_ICMP6;
    if (!asks && (!ipv6_is_host(&ends->remote) || is_ready(stack, &ends->remote))) {
        stack->counters.ipv6_malformed++;
        return;
    }
    stack->counters.ipv6_in++;
    ip.source = ipv6_tag(stack, &ends->remote);
    ipv6_walk(stack, &ip, false);
}
