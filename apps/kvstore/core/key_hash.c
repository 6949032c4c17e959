// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/key_hash.h"

struct __attribute__((packed)) unaligned64 {
    uint64_t value;
};

static inline uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64u - bits);
}

#define SIP_ROUND(a, b, c, d)                                                                      \
    do {                                                                                           \
        (a) += (b);                                                                                \
        (b) = rotate((b), 13) ^ (a);                                                               \
        (a) = rotate((a), 32);                                                                     \
        (c) += (d);                                                                                \
        (d) = rotate((d), 16) ^ (c);                                                               \
        (a) += (d);                                                                                \
        (d) = rotate((d), 21) ^ (a);                                                               \
        (c) += (b);                                                                                \
        (b) = rotate((b), 17) ^ (c);                                                               \
        (c) = rotate((c), 32);                                                                     \
    } while (0)

/* The last 0 to 7 bytes, little-endian. */
static inline uint64_t load_rest(const uint8_t *from, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++) {
        value |= (uint64_t)from[i] << (8u * i);
    }
    return value;
}

uint64_t key_hash(const uint64_t key[2], const void *data, size_t bytes)
{
    uint64_t a = key[0] ^ 0x736f6d6570736575ull;
    uint64_t b = key[1] ^ 0x646f72616e646f6dull;
    uint64_t c = key[0] ^ 0x6c7967656e657261ull;
    uint64_t d = key[1] ^ 0x7465646279746573ull;
    const uint8_t *at = data;
    size_t left = bytes;

    for (; left >= 8u; left -= 8u, at += 8u) {
        uint64_t word = ((const struct unaligned64 *)(const void *)at)->value;
        d ^= word;
        SIP_ROUND(a, b, c, d);
        a ^= word;
    }
    uint64_t last = (uint64_t)bytes << 56 | load_rest(at, left);
    d ^= last;
    SIP_ROUND(a, b, c, d);
    a ^= last;
    c ^= 0xff;
    SIP_ROUND(a, b, c, d);
    SIP_ROUND(a, b, c, d);
    SIP_ROUND(a, b, c, d);
    return a ^ b ^ c ^ d;
}
