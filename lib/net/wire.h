// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Packet formats. Each *_decode does the length checks once and fills a struct of plain values that
 * cannot be wrong to use; each writer needs room for a whole header.
 */
#ifndef LIB_NET_WIRE_H
#define LIB_NET_WIRE_H

#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "lib/net/checksum.h"
#include "lib/net/stack.h"

/* Ethernet II. */
#define ETHERNET_BYTES 14u
#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_ARP 0x0806u
#define ETHERTYPE_IPV6 0x86ddu

/* RFC 826. */
#define ARP_BYTES 28u
#define ARP_REQUEST 1u
#define ARP_REPLY 2u

/* RFC 791. */
#define IPV4_BYTES 20u
#define IPV4_FLAG_DONT_FRAGMENT 0x4000u
#define IPV4_FRAGMENT_MASK 0x3fffu /* more fragments, or an offset */
#define IPV4_TTL 64u
#define PROTOCOL_ICMP 1u
#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u
#define IPV4_BROADCAST 0xffffffffu

/* RFC 792. */
#define ICMP_BYTES 8u
#define ICMP_ECHO_REPLY 0u
#define ICMP_UNREACHABLE 3u
#define ICMP_ECHO_REQUEST 8u
#define ICMP_CODE_PROTOCOL_UNREACHABLE 2u
#define ICMP_CODE_PORT_UNREACHABLE 3u
#define ICMP_CODE_TOO_BIG 4u

/* RFC 8200. */
#define IPV6_BYTES 40u
#define IPV6_MTU_MIN 1280u
#define IPV6_HOP_BY_HOP 0u
#define IPV6_ROUTING 43u
#define IPV6_FRAGMENT 44u
#define IPV6_NONE 59u
#define IPV6_DESTINATION 60u
#define PROTOCOL_ICMP6 58u

/* RFC 4443; RFC 4861, 4. */
#define ICMP6_UNREACHABLE 1u
#define ICMP6_TOO_BIG 2u
#define ICMP6_TIME_EXCEEDED 3u
#define ICMP6_PARAMETER 4u
#define ICMP6_CODE_PORT_UNREACHABLE 4u
#define ICMP6_ECHO_REQUEST 128u
#define ICMP6_ECHO_REPLY 129u
#define ICMP6_ROUTER_SOLICITATION 133u
#define ICMP6_ROUTER_ADVERTISEMENT 134u
#define ICMP6_NEIGHBOUR_SOLICITATION 135u
#define ICMP6_NEIGHBOUR_ADVERTISEMENT 136u
#define ICMP6_REDIRECT 137u
#define ND_OPTION_SOURCE 1u
#define ND_OPTION_TARGET 2u
#define ND_OPTION_PREFIX 3u
#define ND_OPTION_MTU 5u
#define ND_OPTION_RDNSS 25u /* RFC 8106 */

/* RFC 768. */
#define UDP_BYTES 8u

/* RFC 9293, 3.1. */
#define TCP_BYTES 20u
#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_PSH 0x08u
#define TCP_ACK 0x10u
#define TCP_URG 0x20u
#define TCP_ECE 0x40u
#define TCP_CWR 0x80u
#define TCP_OPTION_END 0u
#define TCP_OPTION_NOP 1u
#define TCP_OPTION_MSS 2u
#define TCP_OPTION_WINDOW_SCALE 3u
#define TCP_OPTION_SACK_PERMITTED 4u
#define TCP_OPTION_SACK 5u
#define TCP_OPTION_TIMESTAMPS 8u
/* NOP NOP timestamps(10): the layout of RFC 7323, appendix A, as one big-endian word. */
#define TCP_TIMESTAMPS_WORD 0x0101080au
#define TCP_TIMESTAMPS_BYTES 12u
#define TCP_WINDOW_SCALE_MAX 14u
#define TCP_SACK_BLOCKS_MAX 4u

static inline void store_native16(void *at, uint16_t value)
{
    memcpy(at, &value, sizeof value);
}

static inline bool ipv4_is_multicast(ipv4_t address)
{
    return address >> 28 == 0xeu;
}

/* May stand as a source or as a host's own address (RFC 1122, 3.2.1.3). */
static inline bool ipv4_is_host(ipv4_t address)
{
    return address >> 24 != 0 && address >> 24 != 127u && address < 0xe0000000u;
}

struct arp_packet {
    uint16_t operation;
    uint8_t sender_mac[6];
    ipv4_t sender;
    ipv4_t target;
};

/* False: not an Ethernet/IPv4 ARP packet of at least 28 bytes. */
bool arp_decode(const uint8_t *packet, uint32_t length, struct arp_packet *arp);

/* A packet of either family, named for the more common one; `source` is a tag for IPv6 (ipv6.h),
 * and the addresses are read through ipv6_ends_of. */
/* Explicit congestion notification (RFC 3168, 5). */
enum ip_ecn { IP_NOT_ECT = 0, IP_ECT_1 = 1, IP_ECT_0 = 2, IP_CE = 3 };

struct ipv4_packet {
    const uint8_t *header;
    const uint8_t *payload;
    uint32_t header_length;
    uint32_t length; /* of the payload */
    ipv4_t source;
    ipv4_t destination;
    uint16_t fragment; /* not 0: a fragment */
    uint8_t protocol;
    bool broadcast; /* to everyone, set by the receive path */
    bool summed;    /* TCP's or UDP's checksum needs no look: NETFRAME_SUM_FLAGS, likewise set */
    uint32_t buffer;
};

enum wire_result { WIRE_OK, WIRE_MALFORMED, WIRE_BAD_CHECKSUM };

/* Sum of a header without options. */
static inline uint64_t ipv4_header_sum(const uint8_t *at)
{
    return (uint64_t)load_le32(at) + load_le32(at + 4) + load_le32(at + 8) + load_le32(at + 12) +
           load_le32(at + 16);
}

static inline enum wire_result ipv4_decode(const uint8_t *packet, uint32_t length,
                                           struct ipv4_packet *ip)
{
    if (length < IPV4_BYTES || packet[0] >> 4 != 4u) {
        return WIRE_MALFORMED;
    }
    uint32_t header_length = (packet[0] & 15u) * 4u;
    uint32_t total = load_be16(packet + 2);
    /* A frame may be longer than the packet: Ethernet pads to 60 bytes. */
    if (header_length < IPV4_BYTES || total < header_length || total > length) {
        return WIRE_MALFORMED;
    }
    uint64_t sum = ipv4_header_sum(packet);
    if (header_length != IPV4_BYTES) {
        sum = checksum_add(sum, packet + IPV4_BYTES, header_length - IPV4_BYTES);
    }
    if (checksum_fold(sum) != 0xffffu) {
        return WIRE_BAD_CHECKSUM;
    }
    ip->header = packet;
    ip->payload = packet + header_length;
    ip->header_length = header_length;
    ip->length = total - header_length;
    ip->source = load_be32(packet + 12);
    ip->destination = load_be32(packet + 16);
    ip->fragment = load_be16(packet + 6) & IPV4_FRAGMENT_MASK;
    ip->protocol = packet[9];
    ip->broadcast = false;
    ip->summed = false;
    return WIRE_OK;
}

/* The header without options, checksum included. */
struct ipv4_header {
    ipv4_t source;
    ipv4_t destination;
    uint32_t total_length;
    uint8_t protocol;
    uint8_t ecn; /* enum ip_ecn */
};
static inline void ipv4_write(uint8_t *at, const struct ipv4_header *header)
{
    /* Words in memory order. Identification 0 is right for packets that are never fragmented
     * (RFC 6864, 4.1). */
    uint64_t first =
        __builtin_bswap32(0x45000000u | (uint32_t)header->ecn << 16 | header->total_length);
    uint64_t fragment = __builtin_bswap32(IPV4_FLAG_DONT_FRAGMENT);
    uint64_t third = IPV4_TTL | (uint32_t)header->protocol << 8;
    uint64_t source = __builtin_bswap32(header->source);
    uint64_t destination = __builtin_bswap32(header->destination);
    uint64_t checksum = checksum_finish(first + fragment + third + source + destination);

    store_le64(at, first | fragment << 32);
    store_le64(at + 8, third | checksum << 16 | source << 32);
    store_le32(at + 16, (uint32_t)destination);
}

/* Sum of the pseudo header (RFC 9293, 3.1; RFC 768). */
static inline uint64_t pseudo_header_sum(ipv4_t source, ipv4_t destination, uint32_t protocol,
                                         uint32_t length)
{
    return (uint64_t)__builtin_bswap32(source) + __builtin_bswap32(destination) +
           __builtin_bswap32(protocol << 16 | length);
}

struct tcp_sack_block {
    uint32_t start;
    uint32_t end;
};

struct tcp_segment {
    uint32_t sequence;
    uint32_t acknowledgment;
    uint32_t window; /* as in the header, not scaled */
    uint32_t length; /* of data */
    const uint8_t *data;
    const struct ipv4_packet *ip;
    uint8_t flags;
    bool has_timestamps;
    bool sack_permitted;
    bool has_window_scale;
    uint8_t window_scale;
    uint8_t sack_count;
    uint16_t mss; /* 0: not given */
    uint32_t timestamp;
    uint32_t timestamp_echo;
    struct tcp_sack_block sack[TCP_SACK_BLOCKS_MAX]; /* [0, sack_count) */
    uint16_t source_port;
    uint16_t destination_port;
};

/* Decodes fields and options; the checksum is verified unless ip->summed. */
enum wire_result tcp_decode(const struct ipv4_packet *ip, struct tcp_segment *segment);

/* Sequence number arithmetic modulo 2^32 (RFC 9293, 3.4). */
static inline bool seq_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool seq_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

static inline bool seq_at_or_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) <= 0;
}

#endif
