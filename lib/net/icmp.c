// SPDX-License-Identifier: MIT OR Apache-2.0
/* ICMP (RFC 792, RFC 1122 section 3.2.2): echo, destination unreachable both ways. */
#include "lib/net/tcp_internal.h"

#define ICMP_ERROR_INTERVAL (10u * NS_PER_MS)
#define ICMP_ERROR_BURST 20u

static void icmp_echo(struct net_stack *stack, const struct ipv4_packet *ip)
{
    uint8_t head[ICMP_BYTES];
    struct fragment_send send = {.source = stack->address,
                                 .destination = ip->source,
                                 .head = head,
                                 .data = ip->payload + ICMP_BYTES,
                                 .length = ip->length - ICMP_BYTES,
                                 .protocol = PROTOCOL_ICMP};

    memcpy(head, ip->payload, sizeof head);
    head[0] = ICMP_ECHO_REPLY;
    store_native16(head + 2, 0);
    uint64_t sum = checksum_add(0, head, sizeof head);
    store_native16(head + 2, checksum_finish(checksum_add(sum, send.data, send.length)));
    status_t status = fragment_send(stack, &send);
    stack->counters.icmp_echoes += status == STATUS_OK;
    stack->counters.icmp_limited += status != STATUS_OK;
}

void icmp_send_unreachable(struct net_stack *stack, const struct ipv4_packet *ip, uint8_t code)
{
    if (ip->broadcast || stack->address == IPV4_ANY) {
        return;
    }
    if (!rate_limit_take(&stack->icmp_limit, stack->now, ICMP_ERROR_INTERVAL, ICMP_ERROR_BURST)) {
        stack->counters.icmp_limited++;
        return;
    }
    uint32_t buffer = stack_take_buffer(stack);
    if (buffer == NETBUF_NONE) {
        return;
    }
    uint32_t offset = ETHERNET_BYTES + IPV4_BYTES;
    uint8_t *at = netbuf_data(stack->pool, buffer) + offset;
    uint32_t quoted = ip->header_length + (ip->length < 8u ? ip->length : 8u);
    at[0] = ICMP_UNREACHABLE;
    at[1] = code;
    memset(at + 2, 0, 6);
    memcpy(at + ICMP_BYTES, ip->header, quoted);
    store_native16(at + 2, checksum_finish(checksum_add(0, at, ICMP_BYTES + quoted)));
    struct ipv4_send send = {.source = stack->address,
                             .destination = ip->source,
                             .buffer = buffer,
                             .offset = offset,
                             .length = ICMP_BYTES + quoted,
                             .protocol = PROTOCOL_ICMP};
    stack->counters.icmp_errors_out += ipv4_send(stack, &send);
}

void icmp_send_port_unreachable(struct net_stack *stack, const struct ipv4_packet *ip)
{
    if (is_ipv6_tag(ip->source)) {
        icmp6_send_error(stack, ip, ICMP6_UNREACHABLE << 8 | ICMP6_CODE_PORT_UNREACHABLE, 0);
    } else {
        icmp_send_unreachable(stack, ip, ICMP_CODE_PORT_UNREACHABLE);
    }
}

static void icmp_tcp_error(struct net_stack *stack, const uint8_t *quoted, uint8_t code,
                           uint32_t mtu)
{
    struct tcp_ends ends = {.remote_address = load_be32(quoted + 16),
                            .remote_port = load_be16(quoted + IPV4_BYTES + 2),
                            .local_port = load_be16(quoted + IPV4_BYTES)};
    uint32_t sequence = load_be32(quoted + IPV4_BYTES + 4);

    if (code == ICMP_CODE_TOO_BIG) {
        tcp_icmp_too_big(stack, ends, sequence, mtu);
    } else {
        bool hard = code == ICMP_CODE_PROTOCOL_UNREACHABLE || code == ICMP_CODE_PORT_UNREACHABLE;
        tcp_icmp_unreachable(stack, ends, hard, sequence);
    }
}

/* An error about a packet that we sent: it quotes the IPv4 header and 8 bytes. */
static void icmp_unreachable(struct net_stack *stack, const struct ipv4_packet *ip)
{
    const uint8_t *quoted = ip->payload + ICMP_BYTES;
    uint32_t length = ip->length - ICMP_BYTES;
    uint8_t code = ip->payload[1];

    if (length < IPV4_BYTES + 8u || quoted[0] != 0x45u ||
        load_be32(quoted + 12) != stack->address || !ipv4_is_host(load_be32(quoted + 16))) {
        stack->counters.icmp_malformed++;
        return;
    }
    stack->counters.icmp_errors_in++;
    uint32_t mtu = load_be16(ip->payload + 6); /* RFC 1191, 4 */
    mtu = mtu != 0 ? mtu : pmtu_plateau(load_be16(quoted + 2));
    if (quoted[9] == PROTOCOL_TCP) {
        icmp_tcp_error(stack, quoted, code, mtu);
    } else if (quoted[9] == PROTOCOL_UDP) {
        bool too_big = code == ICMP_CODE_TOO_BIG;
        struct udp_error error = {.status = too_big ? STATUS_TOO_LARGE : STATUS_UNREACHABLE,
                                  .address = load_be32(quoted + 16),
                                  .port = load_be16(quoted + IPV4_BYTES + 2),
                                  .mtu_bytes = too_big ? mtu : 0};
        udp_input_error(stack, load_be16(quoted + IPV4_BYTES), &error);
    }
}

void icmp_input(struct net_stack *stack, const struct ipv4_packet *ip)
{
    if (ip->length < ICMP_BYTES ||
        checksum_fold(checksum_add(0, ip->payload, ip->length)) != 0xffffu) {
        stack->counters.icmp_malformed++;
        return;
    }
    stack->counters.icmp_in++;
    if (ip->payload[0] == ICMP_ECHO_REQUEST) {
        icmp_echo(stack, ip);
    } else if (ip->payload[0] == ICMP_UNREACHABLE) {
        icmp_unreachable(stack, ip);
    }
}
