// SPDX-License-Identifier: MIT OR Apache-2.0
/* IPv4 (RFC 791, RFC 1122 section 3): no forwarding, options skipped. */
#include "lib/net/ipv4_out.h"
#include "lib/net/tcp_internal.h"

bool ipv4_is_broadcast(const struct net_stack *stack, ipv4_t address)
{
    return address == IPV4_BROADCAST ||
           (stack->address != IPV4_ANY && address == (stack->address | ~stack->netmask));
}

static ipv4_t find_route(const struct net_stack *stack, ipv4_t destination)
{
    if (destination == IPV4_BROADCAST) {
        return IPV4_BROADCAST;
    }
    if (stack->address == IPV4_ANY) {
        return IPV4_ANY;
    }
    if (((destination ^ stack->address) & stack->netmask) == 0) {
        if (destination == (stack->address | ~stack->netmask)) {
            return IPV4_BROADCAST;
        }
        return destination != stack->address ? destination : IPV4_ANY;
    }
    return ipv4_is_host(destination) ? stack->gateway : IPV4_ANY;
}

ipv4_t ipv4_route_slow(struct net_stack *stack, ipv4_t destination)
{
    ipv4_t neighbour = find_route(stack, destination);

    /* What is remembered may also be the source of a packet. */
    if (neighbour != IPV4_ANY && neighbour != IPV4_BROADCAST && ipv4_is_host(destination)) {
        stack->route_destination = destination;
        stack->route_neighbour = neighbour;
    }
    return neighbour;
}

void ipv4_paths_forget(struct net_stack *stack)
{
    memset(stack->paths, 0, sizeof stack->paths);
}

void ipv4_path_learn(struct net_stack *stack, ipv4_t destination, ipv4_t neighbour)
{
    uint32_t peer = __builtin_bswap32(destination);
    struct ipv4_path *path = ipv4_path_of(stack, peer);
    struct arp_entry *entry = path->peer != peer ? arp_reachable(stack, neighbour) : NULL;
    struct ipv4_header header = {.source = stack->address, .destination = destination};

    /* A path's host may be the source of a packet. */
    if (entry == NULL || destination != stack->route_destination) {
        return;
    }
    memcpy(path->header, entry->header, ETHERNET_BYTES);
    ipv4_write(path->header + ETHERNET_BYTES, &header);
    store_native16(path->header + ETHERNET_BYTES + 2, 0);
    store_native16(path->header + ETHERNET_BYTES + 10, 0);
    uint64_t sum = ipv4_header_sum(path->header + ETHERNET_BYTES);
    path->tcp_sum = checksum_fold(sum + (PROTOCOL_TCP << 8));
    path->udp_sum = checksum_fold(sum + (PROTOCOL_UDP << 8));
    path->ends_sum = (uint64_t)peer + __builtin_bswap32(stack->address);
    path->neighbour = entry;
    path->peer = peer;
}

bool ipv4_send(struct net_stack *stack, const struct ipv4_send *send)
{
    ipv4_t neighbour = ipv4_route(stack, send->destination);

    if (neighbour == IPV4_ANY) {
        stack->counters.ipv4_no_route++;
        netbuf_drop(stack->pool, send->buffer);
        return false;
    }
    ipv4_send_to(stack, send, neighbour);
    return true;
}

bool ipv4_send_fragment(struct net_stack *stack, const struct ipv4_send *send, uint32_t word)
{
    ipv4_t neighbour = ipv4_route(stack, send->destination);

    if (neighbour == IPV4_ANY) {
        stack->counters.ipv4_no_route++;
        netbuf_drop(stack->pool, send->buffer);
        return false;
    }
    uint32_t offset = send->offset - IPV4_BYTES;
    uint8_t *at = netbuf_data(stack->pool, send->buffer) + offset;
    struct ipv4_header header = {.source = send->source,
                                 .destination = send->destination,
                                 .total_length = send->length + IPV4_BYTES,
                                 .protocol = send->protocol};
    ipv4_write(at, &header);
    store_be32(at + 4, word);
    store_native16(at + 10, 0);
    store_native16(at + 10, checksum_finish(ipv4_header_sum(at)));
    struct netframe frame = {.buffer = send->buffer,
                             .offset = (uint16_t)(offset - ETHERNET_BYTES),
                             .length = (uint16_t)(header.total_length + ETHERNET_BYTES)};
    arp_transmit(stack, neighbour, frame);
    return true;
}

/* Whether the packet is addressed to us; marks broadcasts. */
static bool ipv4_accept(const struct net_stack *stack, struct ipv4_packet *ip)
{
    if (ip->destination == stack->address && stack->address != IPV4_ANY) {
        return true;
    }
    ip->broadcast = ipv4_is_broadcast(stack, ip->destination);
    if (ip->broadcast) {
        return ip->protocol == PROTOCOL_UDP;
    }
    /* A DHCP server may answer to the address that it is about to give (RFC 2131, 4.1). */
    return stack->address == IPV4_ANY && stack->dhcp.state != DHCP_OFF &&
           ip->protocol == PROTOCOL_UDP && ipv4_is_host(ip->destination);
}

static inline __attribute__((always_inline)) void ipv4_dispatch(struct net_stack *stack,
                                                                const struct ipv4_packet *ip)
{
    switch (ip->protocol) {
    case PROTOCOL_TCP:
        tcp_input(stack, ip);
        break;
    case PROTOCOL_UDP:
        udp_input(stack, ip);
        break;
    case PROTOCOL_ICMP:
        icmp_input(stack, ip);
        break;
    default:
        stack->counters.ipv4_unknown_protocol++;
        icmp_send_unreachable(stack, ip, ICMP_CODE_PROTOCOL_UNREACHABLE);
        break;
    }
}

/* A fragment: goes on when it makes a packet whole. */
static void ipv4_fragment(struct net_stack *stack, struct ipv4_packet *ip)
{
    struct fragment fragment = {.protocol = ip->protocol,
                                .identification = load_be16(ip->header + 4),
                                .offset = (ip->fragment & 0x1fffu) * 8u,
                                .more = (ip->fragment & 0x2000u) != 0};

    stack->counters.ipv4_fragments++;
    memcpy(fragment.ends.remote.byte, ip->header + 12, 4);
    memcpy(fragment.ends.local.byte, ip->header + 16, 4);
    if (ip->broadcast || !reassembly_input(stack, &fragment, ip)) {
        return;
    }
    stack->counters.ipv4_in++;
    if (ip->buffer == NETBUF_NONE && ip->protocol == PROTOCOL_TCP) {
        stack->counters.tcp_malformed++; /* no segment size of ours allows that */
    } else if (stack_owns_packet(stack, ip, false)) {
        ipv4_dispatch(stack, ip);
    }
    if (ip->buffer != NETBUF_NONE) {
        netbuf_drop(stack->pool, ip->buffer);
    }
}

void ipv4_input(struct net_stack *stack, const struct netframe *frame)
{
    const uint8_t *at = frame_data(stack->pool, frame) + ETHERNET_BYTES;
    struct ipv4_packet ip;

    enum wire_result result = ipv4_decode(at, frame->length - ETHERNET_BYTES, &ip);
    if (result != WIRE_OK) {
        stack->counters.ipv4_malformed += result == WIRE_MALFORMED;
        stack->counters.ipv4_bad_checksum += result == WIRE_BAD_CHECKSUM;
        return;
    }
    if (!ipv4_accept(stack, &ip)) {
        stack->counters.ipv4_not_ours++;
        return;
    }
    if ((ip.source != stack->route_destination || ip.source == IPV4_ANY) &&
        (!ipv4_is_host(ip.source) || ip.source == stack->address ||
         ipv4_is_broadcast(stack, ip.source))) {
        stack->counters.ipv4_malformed++;
        return;
    }
    ip.buffer = frame->buffer;
    ip.summed = (frame->offset & NETFRAME_SUM_FLAGS) != 0;
    if (ip.fragment != 0) {
        ipv4_fragment(stack, &ip);
        return;
    }
    stack->counters.ipv4_in++;
    ipv4_dispatch(stack, &ip);
}
