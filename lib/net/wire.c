// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/wire.h"

#include "lib/net/ipv6.h"

bool arp_decode(const uint8_t *packet, uint32_t length, struct arp_packet *arp)
{
    if (length < ARP_BYTES || load_be16(packet) != 1u || load_be16(packet + 2) != ETHERTYPE_IPV4 ||
        packet[4] != 6u || packet[5] != 4u) {
        return false;
    }
    arp->operation = load_be16(packet + 6);
    memcpy(arp->sender_mac, packet + 8, 6);
    arp->sender = load_be32(packet + 14);
    arp->target = load_be32(packet + 24);
    return true;
}

/* Reads the option of `size` bytes at `at`; a known kind of a wrong size is malformed. */
static bool tcp_option_decode(const uint8_t *at, uint32_t size, struct tcp_segment *segment)
{
    switch (at[0]) {
    case TCP_OPTION_MSS:
        segment->mss = size == 4u ? load_be16(at + 2) : 0;
        return size == 4u;
    case TCP_OPTION_WINDOW_SCALE:
        segment->has_window_scale = true;
        segment->window_scale = size == 3u ? at[2] : 0;
        return size == 3u;
    case TCP_OPTION_SACK_PERMITTED:
        segment->sack_permitted = true;
        return size == 2u;
    case TCP_OPTION_TIMESTAMPS:
        if (size != 10u) {
            return false;
        }
        segment->has_timestamps = true;
        segment->timestamp = load_be32(at + 2);
        segment->timestamp_echo = load_be32(at + 6);
        return true;
    case TCP_OPTION_SACK:
        if (size < 10u || (size - 2u) % 8u != 0) {
            return false;
        }
        segment->sack_count = 0;
        for (uint32_t i = 2; i < size && segment->sack_count < TCP_SACK_BLOCKS_MAX; i += 8u) {
            struct tcp_sack_block *block = &segment->sack[segment->sack_count++];
            block->start = load_be32(at + i);
            block->end = load_be32(at + i + 4u);
        }
        return true;
    default:
        return true;
    }
}

static bool tcp_options_decode(const uint8_t *at, uint32_t length, struct tcp_segment *segment)
{
    uint32_t i = 0;

    while (i < length && at[i] != TCP_OPTION_END) {
        if (at[i] == TCP_OPTION_NOP) {
            i++;
            continue;
        }
        if (length - i < 2u || at[i + 1u] < 2u || at[i + 1u] > length - i ||
            !tcp_option_decode(at + i, at[i + 1u], segment)) {
            return false;
        }
        i += at[i + 1u];
    }
    return true;
}

static bool tcp_sum_is_right(const struct ipv4_packet *ip)
{
    uint64_t sum = is_ipv6_tag(ip->source)
                       ? ipv6_pseudo_sum(ipv6_ends_of(ip), PROTOCOL_TCP, ip->length)
                       : pseudo_header_sum(ip->source, ip->destination, PROTOCOL_TCP, ip->length);

    return checksum_fold(checksum_add(sum, ip->payload, ip->length)) == 0xffffu;
}

enum wire_result tcp_decode(const struct ipv4_packet *ip, struct tcp_segment *segment)
{
    const uint8_t *at = ip->payload;

    if (ip->length < TCP_BYTES) {
        return WIRE_MALFORMED;
    }
    uint32_t header_length = (at[12] >> 4) * 4u;
    if (header_length < TCP_BYTES || header_length > ip->length) {
        return WIRE_MALFORMED;
    }
    if (!ip->summed && !tcp_sum_is_right(ip)) {
        return WIRE_BAD_CHECKSUM;
    }
    segment->source_port = load_be16(at);
    segment->destination_port = load_be16(at + 2);
    segment->sequence = load_be32(at + 4);
    segment->acknowledgment = load_be32(at + 8);
    segment->flags = at[13];
    segment->window = load_be16(at + 14);
    segment->data = at + header_length;
    segment->length = ip->length - header_length;
    segment->ip = ip;
    segment->mss = 0;
    segment->has_timestamps = false;
    segment->sack_permitted = false;
    segment->has_window_scale = false;
    segment->sack_count = 0;
    if (header_length == TCP_BYTES) {
        return WIRE_OK;
    }
    if (header_length == TCP_BYTES + TCP_TIMESTAMPS_BYTES &&
        load_be32(at + 20) == TCP_TIMESTAMPS_WORD) {
        segment->has_timestamps = true;
        segment->timestamp = load_be32(at + 24);
        segment->timestamp_echo = load_be32(at + 28);
        return WIRE_OK;
    }
    return tcp_options_decode(at + TCP_BYTES, header_length - TCP_BYTES, segment) ? WIRE_OK
                                                                                  : WIRE_MALFORMED;
}
