// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The Internet checksum (RFC 1071), summed eight bytes at a time in memory order: a sum and the
 * finished checksum are stored and compared as memory words, never byte-swapped.
 */
#ifndef LIB_NET_CHECKSUM_H
#define LIB_NET_CHECKSUM_H

#include <stdbool.h>
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

struct __attribute__((may_alias)) checksum_row {
    uint8_t bytes[128];
};

/* Adds the `words` (at most 16) times eight bytes before `end`. */
static inline uint64_t checksum_words_in_a_row(uint64_t sum, const uint8_t *end, size_t words)
{
    size_t skip = words * 4u; /* each addition below is four bytes of code */
    uint64_t entry;

    /* Enters the row where `words` are left; the subtraction leaves no carry. */
    __asm__("lea 1f(%%rip), %[entry]\n\t"
            "sub %[skip], %[entry]\n\t"
            "jmp *%[entry]\n\t"
            "adc -128(%%rsi), %[sum]\n\t"
            "adc -120(%%rsi), %[sum]\n\t"
            "adc -112(%%rsi), %[sum]\n\t"
            "adc -104(%%rsi), %[sum]\n\t"
            "adc -96(%%rsi), %[sum]\n\t"
            "adc -88(%%rsi), %[sum]\n\t"
            "adc -80(%%rsi), %[sum]\n\t"
            "adc -72(%%rsi), %[sum]\n\t"
            "adc -64(%%rsi), %[sum]\n\t"
            "adc -56(%%rsi), %[sum]\n\t"
            "adc -48(%%rsi), %[sum]\n\t"
            "adc -40(%%rsi), %[sum]\n\t"
            "adc -32(%%rsi), %[sum]\n\t"
            "adc -24(%%rsi), %[sum]\n\t"
            "adc -16(%%rsi), %[sum]\n\t"
            "adc -8(%%rsi), %[sum]\n\t"
            "1: adc $0, %[sum]"
            : [sum] "+r"(sum), [entry] "=&r"(entry)
            : [skip] "r"(skip), "S"(end),
              "m"(*(const struct checksum_row *)(const void *)(end - 128))
            : "cc");
    return sum;
}

/* The same; what sanitizers can watch on the host. */
static inline uint64_t checksum_add_words(uint64_t sum, const uint8_t *end, size_t words)
{
#ifndef HALLOWS_HOST
    return checksum_words_in_a_row(sum, end, words);
#else
    for (size_t i = words; i != 0; i--) {
        uint64_t word;
        __builtin_memcpy(&word, end - i * 8u, sizeof word);
        sum = checksum_add_word(sum, word);
    }
    return sum;
#endif
}

#define CHECKSUM_SHORT_BYTES 136u

/* The same as checksum_add for the usual packet: 8 bytes at least, inlined. */
static inline uint64_t checksum_add_packet(uint64_t sum, const uint8_t *data, size_t bytes)
{
    size_t rest = bytes & 7u;
    uint64_t last;

    if (bytes >= CHECKSUM_SHORT_BYTES) {
        return checksum_add(sum, data, bytes);
    }
    sum = checksum_add_words(sum, data + bytes - rest, bytes >> 3);
    if (rest == 0) {
        return sum;
    }
    __builtin_memcpy(&last, data + bytes - 8u, sizeof last);
    return checksum_add_word(sum, last >> (64u - 8u * rest));
}

/* Whether a sum over a whole message says that its checksum is right: 65535 divides it. (The sum of
 * a message that is not all zeroes is not 0.) */
static inline bool checksum_is_right(uint64_t sum)
{
    /* Division of multiples by multiplying with the inverse of 65535 modulo 2^64. */
    return sum * 0xfffefffefffeffffull <= 0x0001000100010001ull;
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
