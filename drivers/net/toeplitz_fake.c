// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/toeplitz_fake.h"

uint32_t toeplitz_fake(const uint8_t *key, const uint8_t *input, uint32_t bytes)
{
    uint32_t hash = 0;

    for (uint32_t bit = 0; bit < 8u * bytes; bit++) {
        uint32_t window = 0;
        for (uint32_t at = bit; at < bit + 32u; at++) {
            window = window << 1 | ((uint32_t)key[at / 8u] >> (7u - at % 8u) & 1u);
        }
        hash ^= ((uint32_t)input[bit / 8u] >> (7u - bit % 8u) & 1u) != 0 ? window : 0u;
    }
    return hash;
}
