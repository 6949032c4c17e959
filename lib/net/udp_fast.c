// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The usual datagram on its short way in: IPv4 without options or fragments, with a checksum, from
 * the host that was sent to last, for a bound port. One function checks all that ipv4_input and
 * udp_input check; they take every other frame.
 */
#include "lib/net/fast.h"

#define FRAME_BYTES_MIN (ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES)

bool udp_input_fast(struct net_stack *stack, const struct netframe *frame)
{
    const uint8_t *ip = netbuf_data(stack->pool, frame->buffer) + frame->offset + ETHERNET_BYTES;
    const uint8_t *udp = ip + IPV4_BYTES;

    if (frame->length < FRAME_BYTES_MIN || ip[0] != 0x45u ||
        (load_be16(ip + 6) & IPV4_FRAGMENT_MASK) != 0) {
        return false;
    }
    uint32_t length = load_be16(udp + 4);
    ipv4_t source = load_be32(ip + 12);
    if (length + IPV4_BYTES != load_be16(ip + 2) || length < UDP_BYTES ||
        length + IPV4_BYTES > frame->length - ETHERNET_BYTES || source == IPV4_ANY ||
        source != stack->route_destination || load_be32(ip + 16) != stack->address ||
        load_le16(udp + 6) == 0) {
        return false;
    }
    uint16_t port = load_be16(udp + 2);
    struct udp_socket *socket = port != DHCP_CLIENT_PORT ? udp_find(stack, port) : NULL;
    uint64_t pseudo = (uint64_t)load_le32(ip + 12) + load_le32(ip + 16) +
                      __builtin_bswap32((uint32_t)PROTOCOL_UDP << 16 | length);
    if (socket == NULL || checksum_fold(ipv4_header_sum(ip)) != 0xffffu ||
        checksum_fold(checksum_add(pseudo, udp, length)) != 0xffffu) {
        return false;
    }
    struct udp_datagram datagram = {
        .source = source,
        .destination = stack->address,
        .source_port = load_be16(udp),
        .destination_port = port,
        .data = udp + UDP_BYTES,
        .length = length - UDP_BYTES,
        .buffer = frame->buffer,
        .offset = frame->offset + FRAME_BYTES_MIN,
    };
    stack->counters.ipv4_in++;
    stack->counters.udp_in++;
    stack->receive_buffer = frame->buffer;
    socket->receive(socket, socket->user, &datagram);
    return true;
}
