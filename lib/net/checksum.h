// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The Internet checksum (RFC 1071), summed eight bytes at a time in memory order: a sum and the
 * finished checksum are stored and compared as memory words, never byte-swapped.
 */
#ifndef LIB_NET_CHECKSUM_H
#define LIB_NET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Adds `bytes` bytes to a running sum that starts at 0. Only the last piece of a message may have
 * an odd length. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t bytes);

static inline uint64_t checksum_add_word(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

/* Folds a sum to 16 bits in memory order, not complemented: 0xffff over a message whose checksum
 * field is right. */
static inline uint16_t checksum_fold(uint64_t sum)
{
    /* Adding a word to itself with its halves swapped leaves in the upper half the sum of the
     * halves with the carry added in. */
    uint32_t half = (uint32_t)((sum + (sum >> 32 | sum << 32)) >> 32);
    return (uint16_t)((half + (half >> 16 | half << 16)) >> 16);
}

/* The value for the checksum field, to be stored in memory order. */
static inline uint16_t checksum_finish(uint64_t sum)
{
    return (uint16_t)~checksum_fold(sum);
}

#endif
