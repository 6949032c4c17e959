// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/toeplitz.h"

/* 320 bits of the binary digits of pi's fraction: nobody's choice, and no two windows alike. */
const uint8_t toeplitz_key[TOEPLITZ_KEY_BYTES] = {
    0x24, 0x3f, 0x6a, 0x88, 0x85, 0xa3, 0x08, 0xd3, 0x13, 0x19, 0x8a, 0x2e, 0x03, 0x70,
    0x73, 0x44, 0xa4, 0x09, 0x38, 0x22, 0x29, 0x9f, 0x31, 0xd0, 0x08, 0x2e, 0xfa, 0x98,
    0xec, 0x4e, 0x6c, 0x89, 0x45, 0x28, 0x21, 0xe6, 0x38, 0xd0, 0x13, 0x77,
};

/* The 32 bits of the key from bit `at` on. */
static uint32_t window(const uint8_t *key, uint32_t at)
{
    const uint8_t *from = key + at / 8u;
    uint64_t five = (uint64_t)from[0] << 32 | (uint64_t)from[1] << 24 | (uint64_t)from[2] << 16 |
                    (uint64_t)from[3] << 8 | from[4];

    return (uint32_t)(five >> (8u - at % 8u));
}

void toeplitz_init(struct toeplitz *toeplitz, const uint8_t *key)
{
    for (uint32_t place = 0; place < TOEPLITZ_IPV6_BYTES; place++) {
        for (uint32_t value = 0; value < 256u; value++) {
            uint32_t sum = 0;
            for (uint32_t bit = 0; bit < 8u; bit++) {
                sum ^= (value >> (7u - bit) & 1u) != 0 ? window(key, 8u * place + bit) : 0u;
            }
            toeplitz->table[place][value] = sum;
        }
    }
}
