// SPDX-License-Identifier: MIT OR Apache-2.0
/* ICMPv6 (RFC 4443): echo and errors; neighbour discovery goes to nd.c and slaac.c. */
#include "lib/net/tcp_internal.h"

#define ICMP_ERROR_INTERVAL (10u * NS_PER_MS)
#define ICMP_ERROR_BURST 20u
#define HOP_LIMIT_LOCAL 255u /* RFC 4861, 6.1 and 7.1: the packet has passed no router */

/* Sums the message of `length` bytes at `at` and sends it. */
static bool icmp6_finish(struct net_stack *stack, struct ipv6_send *send)
{
    uint8_t *at = netbuf_data(stack->pool, send->buffer) + send->offset;

    send->protocol = PROTOCOL_ICMP6;
    store_native16(at + 2, 0);
    uint64_t sum = ipv6_pseudo_sum(send->ends, PROTOCOL_ICMP6, send->length);
    store_native16(at + 2, checksum_finish(checksum_add(sum, at, send->length)));
    return ipv6_send(stack, send);
}

void icmp6_send(struct net_stack *stack, const struct icmp6_send *message)
{
    struct ipv6_send send = {.ends = &message->ends,
                             .buffer = stack_take_buffer(stack),
                             .offset = STACK_HEADROOM_BYTES,
                             .length = ICMP_BYTES + message->length,
                             .hop_limit = HOP_LIMIT_LOCAL};

    if (send.buffer == NETBUF_NONE) {
        return;
    }
    uint8_t *at = netbuf_data(stack->pool, send.buffer) + send.offset;
    store_be32(at, (uint32_t)message->type << 24);
    store_be32(at + 4, message->word);
    memcpy(at + ICMP_BYTES, message->body, message->length);
    (void)icmp6_finish(stack, &send);
}

static void icmp6_echo(struct net_stack *stack, const struct ipv4_packet *ip)
{
    struct ipv6_ends ends = *ipv6_ends_of(ip);
    uint8_t head[ICMP_BYTES];
    struct fragment_send send = {.v6 = &ends,
                                 .head = head,
                                 .data = ip->payload + ICMP_BYTES,
                                 .length = ip->length - ICMP_BYTES,
                                 .protocol = PROTOCOL_ICMP6};

    if (ip->broadcast) {
        const struct ipv6_address *source = ipv6_source(stack, &ends.remote);
        if (source == NULL) {
            return;
        }
        ends.local = *source;
    }
    memcpy(head, ip->payload, sizeof head);
    head[0] = ICMP6_ECHO_REPLY;
    store_native16(head + 2, 0);
    uint64_t sum = ipv6_pseudo_sum(&ends, PROTOCOL_ICMP6, ip->length);
    sum = checksum_add(sum, head, sizeof head);
    store_native16(head + 2, checksum_finish(checksum_add(sum, send.data, send.length)));
    status_t status = fragment_send(stack, &send);
    stack->counters.icmp_echoes += status == STATUS_OK;
    stack->counters.icmp_limited += status != STATUS_OK;
}

void icmp6_send_error(struct net_stack *stack, const struct ipv4_packet *ip, uint16_t type_code,
                      uint32_t argument)
{
    struct ipv6_ends ends = *ipv6_ends_of(ip);
    struct ipv6_send send = {.ends = &ends, .offset = STACK_HEADROOM_BYTES};
    bool about_error = ip->protocol == PROTOCOL_ICMP6 && ip->length != 0 && ip->payload[0] < 128u;

    if (ip->broadcast || about_error || ipv6_is_any(&ends.remote)) {
        return;
    }
    if (!rate_limit_take(&stack->icmp_limit, stack->now, ICMP_ERROR_INTERVAL, ICMP_ERROR_BURST)) {
        stack->counters.icmp_limited++;
        return;
    }
    send.buffer = stack_take_buffer(stack);
    if (send.buffer == NETBUF_NONE) {
        return;
    }
    /* As much of the packet as leaves the error short of the smallest MTU (RFC 4443, 2.4). */
    uint32_t most = IPV6_MTU_MIN - IPV6_BYTES - ICMP_BYTES;
    uint32_t quoted = ip->header_length + ip->length;
    quoted = quoted < most ? quoted : most;
    uint8_t *at = netbuf_data(stack->pool, send.buffer) + send.offset;
    store_be32(at, (uint32_t)type_code << 16);
    store_be32(at + 4, argument);
    memcpy(at + ICMP_BYTES, ip->header, quoted);
    send.length = ICMP_BYTES + quoted;
    stack->counters.icmp_errors_out += icmp6_finish(stack, &send);
}

/* An error about a packet that we sent: what it quotes begins with that packet's header. */
static void icmp6_error(struct net_stack *stack, const struct ipv4_packet *ip)
{
    const uint8_t *quoted = ip->payload + ICMP_BYTES;
    uint32_t length = ip->length - ICMP_BYTES;
    struct ipv6_ends ends;

    if (length < IPV6_BYTES + 8u || quoted[0] >> 4 != 6u) {
        stack->counters.icmp6_malformed++;
        return;
    }
    memcpy(&ends.local, quoted + 8, 16);
    memcpy(&ends.remote, quoted + 24, 16);
    const struct ipv6_own *own = ipv6_find_own(stack, &ends.local);
    if (own == NULL || own->state != OWN_READY) {
        stack->counters.icmp6_malformed++;
        return;
    }
    stack->counters.icmp_errors_in++;
    const uint8_t *inner = quoted + IPV6_BYTES;
    uint8_t type = ip->payload[0];
    uint32_t mtu = load_be32(ip->payload + 4);
    bool port = type == ICMP6_UNREACHABLE && ip->payload[1] == ICMP6_CODE_PORT_UNREACHABLE;
    if (quoted[6] == PROTOCOL_TCP) {
        struct tcp_ends tcp = {.remote_address = ipv6_tag(stack, &ends.remote),
                               .remote_port = load_be16(inner + 2),
                               .local_port = load_be16(inner),
                               .v6 = &ends};
        if (type == ICMP6_TOO_BIG) {
            tcp_icmp_too_big(stack, tcp, load_be32(inner + 4), mtu);
        } else {
            tcp_icmp_unreachable(stack, tcp, port, load_be32(inner + 4));
        }
    } else if (quoted[6] == PROTOCOL_UDP) {
        bool too_big = type == ICMP6_TOO_BIG;
        struct udp_error error = {.status = too_big ? STATUS_TOO_LARGE : STATUS_UNREACHABLE,
                                  .v6 = &ends,
                                  .port = load_be16(inner + 2),
                                  .mtu_bytes = too_big ? mtu : 0};
        udp_input_error(stack, load_be16(inner), &error);
    }
}

void icmp6_input(struct net_stack *stack, const struct ipv4_packet *ip)
{
    uint64_t sum = ipv6_pseudo_sum(ipv6_ends_of(ip), PROTOCOL_ICMP6, ip->length);

    if (ip->length < ICMP_BYTES ||
        checksum_fold(checksum_add(sum, ip->payload, ip->length)) != 0xffffu) {
        stack->counters.icmp6_malformed++;
        return;
    }
    uint8_t type = ip->payload[0];
    bool unspecified = ipv6_is_any(&ipv6_ends_of(ip)->remote);
    bool discovery = type >= ICMP6_ROUTER_SOLICITATION && type <= ICMP6_REDIRECT;
    if (discovery ? ip->header[7] != HOP_LIMIT_LOCAL || ip->payload[1] != 0 ||
                        ip->header_length != IPV6_BYTES
                  : unspecified) {
        stack->counters.icmp6_malformed++; /* RFC 6980 too: discovery in no fragment */
        return;
    }
    stack->counters.icmp6_in++;
    switch (type) {
    case ICMP6_ECHO_REQUEST:
        icmp6_echo(stack, ip);
        break;
    case ICMP6_UNREACHABLE:
    case ICMP6_TOO_BIG:
        icmp6_error(stack, ip);
        break;
    case ICMP6_ROUTER_ADVERTISEMENT:
        slaac_router_advertisement(stack, ip);
        break;
    case ICMP6_NEIGHBOUR_SOLICITATION:
    case ICMP6_NEIGHBOUR_ADVERTISEMENT:
        nd_input(stack, ip);
        break;
    default: /* redirects are not believed */
        break;
    }
}
