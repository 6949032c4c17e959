// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the device says of the checksums of received frames (virtio 1.2 §5.1.6.4), in the header
 * that it wrote before each. A sum that its sender left open stays so if it is where a plain TCP or
 * UDP packet has it; any other is made here, as the stack would not find it.
 */
#include "drivers/net/virtio/virtio_net.h"

#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "lib/net/checksum.h"
#include "lib/net/wire.h"

#define IPV4_START (ETHERNET_BYTES + IPV4_BYTES)
#define IPV6_START (ETHERNET_BYTES + IPV6_BYTES)
#define TCP_SUM_AT 16u
#define UDP_SUM_AT 6u

/* Whether the stack takes `start` for the start of TCP or UDP, and finds the sum at `offset`. */
static bool is_plain(const uint8_t *at, uint32_t start, uint32_t offset)
{
    uint32_t type = load_be16(at + 12);
    uint32_t protocol = 0;

    if (type == ETHERTYPE_IPV4 && start == IPV4_START && (at[ETHERNET_BYTES] & 15u) == 5u) {
        protocol = at[ETHERNET_BYTES + 9];
    } else if (type == ETHERTYPE_IPV6 && start == IPV6_START) {
        protocol = at[ETHERNET_BYTES + 6];
    }
    return (protocol == PROTOCOL_TCP && offset == TCP_SUM_AT) ||
           (protocol == PROTOCOL_UDP && offset == UDP_SUM_AT);
}

/* A frame whose sum was left open; the flag to set. */
static uint16_t open_sum(uint8_t *at, uint32_t length, const struct virtio_net_header *header)
{
    uint32_t start = header->checksum_start;
    uint32_t field = start + header->checksum_offset;

    if (length < 2u || field > length - 2u || start < ETHERNET_BYTES) {
        return 0; /* the device knows not where: what stands there is looked at */
    }
    if (is_plain(at, start, header->checksum_offset)) {
        return NETFRAME_SUM_OPEN;
    }
    uint16_t sum = checksum_finish(checksum_add(0, at + start, length - start));
    store_native16(at + field, sum != 0 ? sum : 0xffffu); /* UDP's 0 says that there is none */
    return 0;
}

void virtio_net_mark_sums(struct virtio_net *nic, struct netframe *frames, uint32_t count)
{
    for (struct netframe *frame = frames; frame != frames + count; frame++) {
        uint8_t *at = frame_data(nic->netdev.pool, frame);
        uint32_t flags = __atomic_load_n(at - VIRTIO_NET_HEADER_BYTES, __ATOMIC_RELAXED);
        if ((flags & VIRTIO_NET_HEADER_NEEDS_CHECKSUM) != 0) {
            struct virtio_net_header header;
            memcpy(&header, at - VIRTIO_NET_HEADER_BYTES, sizeof header);
            frame->offset |= open_sum(at, frame->length, &header);
        } else if ((flags & VIRTIO_NET_HEADER_DATA_VALID) != 0) {
            frame->offset |= NETFRAME_SUM_RIGHT;
        }
    }
}
