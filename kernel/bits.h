// SPDX-License-Identifier: MIT OR Apache-2.0
/* Bitmaps in words of 64 bits. */
#ifndef KERNEL_BITS_H
#define KERNEL_BITS_H

#include <stdbool.h>
#include <stdint.h>

static inline bool bit_get(const uint64_t *words, uint32_t bit)
{
    return ((words[bit / 64u] >> (bit % 64u)) & 1u) != 0;
}

static inline void bit_set(uint64_t *words, uint32_t bit)
{
    words[bit / 64u] |= (uint64_t)1 << (bit % 64u);
}

static inline void bit_clear(uint64_t *words, uint32_t bit)
{
    words[bit / 64u] &= ~((uint64_t)1 << (bit % 64u));
}

/* The lowest set bit of `count` words, or count * 64. */
static inline uint32_t bit_first(const uint64_t *words, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (words[i] != 0) {
            return i * 64u + (uint32_t)__builtin_ctzll(words[i]);
        }
    }
    return count * 64u;
}

/* The highest set bit of `count` words, or -1. */
static inline int32_t bits_last(const uint64_t *words, uint32_t count)
{
    for (uint32_t i = count; i-- > 0;) {
        if (words[i] != 0) {
            return (int32_t)(i * 64u + 63u - (uint32_t)__builtin_clzll(words[i]));
        }
    }
    return -1;
}

#endif
