// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The hash by which receive-side scaling chooses a queue, with the key that every NIC here is
 * given, so that software steers as the devices do. Source: Microsoft, "RSS hashing functions";
 * virtio 1.2 §5.1.6.4.3; 82576 datasheet 7.1.2.10.1.
 *
 * The hash is linear: each byte of the input adds (exclusive or) a value that depends on it and its
 * place alone, so that a table per place does. It keeps no flow's place secret: an attacker can
 * choose flows that meet on one core, as with every fixed key.
 */
#ifndef DRIVERS_NET_TOEPLITZ_H
#define DRIVERS_NET_TOEPLITZ_H

#include <hallows/types.h>

#define TOEPLITZ_KEY_BYTES 40u
/* Hash values that the devices' tables tell apart. */
#define TOEPLITZ_BUCKETS 128u
/* Two IPv4 addresses or two IPv6 addresses, then both ports. */
#define TOEPLITZ_IPV4_BYTES 12u
#define TOEPLITZ_IPV6_BYTES 36u

extern const uint8_t toeplitz_key[TOEPLITZ_KEY_BYTES];

struct toeplitz {
    uint32_t table[TOEPLITZ_IPV6_BYTES][256];
};

/* For a key of at least TOEPLITZ_IPV6_BYTES + 4 bytes. */
void toeplitz_init(struct toeplitz *toeplitz, const uint8_t *key);

/* Of at most TOEPLITZ_IPV6_BYTES bytes: source address, destination address, ports as in a packet.
 */
static inline uint32_t toeplitz_hash(const struct toeplitz *toeplitz, const uint8_t *input,
                                     uint32_t bytes)
{
    uint32_t hash = 0;

    for (uint32_t i = 0; i < bytes; i++) {
        hash ^= toeplitz->table[i][input[i]];
    }
    return hash;
}

/* The pair, of `queues`, for a hash: as the devices' tables are filled. */
static inline uint32_t toeplitz_queue(uint32_t hash, uint32_t queues)
{
    return hash % TOEPLITZ_BUCKETS % queues;
}

#endif
