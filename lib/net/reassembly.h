// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Reassembly of IPv4 and IPv6 fragments (RFC 791, 3.2; RFC 8200, 4.5; RFC 5722). Private to
 * lib/net; included by internal.h.
 *
 * The fragments' own buffers are kept, ordered by offset, until the packet is whole; then it is put
 * together in a pool buffer when it fits one, else in the stack's one area of 64 KiB, and goes its
 * way from there. Bounds: REASSEMBLY_PACKETS at a time, REASSEMBLY_BUFFERS fragments in all of
 * them (the oldest packet gives way), REASSEMBLY_NS for each.
 */
#ifndef LIB_NET_REASSEMBLY_H
#define LIB_NET_REASSEMBLY_H

#include "lib/net/wire.h"

#define REASSEMBLY_PACKETS 16u
#define REASSEMBLY_BUFFERS 128u
#define REASSEMBLY_NS 30000000000ull
#define REASSEMBLY_BYTES_MAX 65535u /* of payload */
/* Room in front of the payload: the headers of either family. */
#define REASSEMBLY_HEADROOM 64u
#define REASSEMBLY_AREA_BYTES (REASSEMBLY_HEADROOM + REASSEMBLY_BYTES_MAX + 1u)

enum reassembly_state { REASSEMBLY_FREE, REASSEMBLY_OPEN, REASSEMBLY_POISONED };

struct reassembly {
    uint8_t state;    /* enum reassembly_state */
    uint8_t protocol; /* IPv4: part of the key; IPv6: the first fragment's next header */
    bool has_last;
    uint32_t identification;
    struct ipv6_ends ends; /* IPv4 addresses stand in the first four bytes of each */
    bool is_v6;
    uint32_t end;   /* of the payload, once the last fragment is here */
    uint32_t bytes; /* received so far */
    uint32_t count; /* fragments */
    uint32_t head;  /* buffers by offset, linked by buffer_meta.next; sequence is the offset */
    time_ns_t started;
};

struct fragment {
    struct ipv6_ends ends;
    bool is_v6;
    uint8_t protocol;
    uint32_t identification;
    uint32_t offset;
    bool more;
};

/* Takes a fragment whose payload is ip->payload, `ip->length` bytes; keeps its buffer. When that
 * completes the packet: true, *ip describes it (header, payload, protocol; ip->buffer is
 * NETBUF_NONE when it lies in the area, else a buffer to drop when done). */
bool reassembly_input(struct net_stack *stack, const struct fragment *fragment,
                      struct ipv4_packet *ip);
time_ns_t reassembly_tick(struct net_stack *stack);

/* Fragments that leave: sends `length` bytes of payload of `protocol` as one packet, or as several
 * when it does not fit the link. OK; NO_MEMORY: no buffers; FULL: the device's queue; nothing more
 * is sent then. TOO_LARGE; UNREACHABLE. */
struct fragment_send {
    ipv4_t source, destination;
    const struct ipv6_ends *v6; /* not NULL: IPv6 */
    const uint8_t *head;        /* 8 bytes in front of the data: the transport's header */
    const uint8_t *data;
    uint32_t length; /* of the data */
    uint8_t protocol;
};
status_t fragment_send(struct net_stack *stack, const struct fragment_send *send);

#endif
