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

/* The parts of bits [first, first + count) in word first / 64 and in the next. Precondition: count
 * is 1..64. */
struct bits_range {
    uint64_t low;
    uint64_t high;
};

static inline struct bits_range bits_range(uint32_t first, uint32_t count)
{
    uint64_t ones = ~(uint64_t)0 >> (64u - count);
    uint32_t shift = first % 64u;

    return (struct bits_range){ones << shift, shift == 0 ? 0 : ones >> (64u - shift)};
}

/* Whether one of them is set. Precondition: they lie inside the words. */
static inline bool bits_any(const uint64_t *words, uint32_t first, uint32_t count)
{
    struct bits_range range = bits_range(first, count);
    const uint64_t *word = &words[first / 64u];

    return (word[0] & range.low) != 0 || (range.high != 0 && (word[1] & range.high) != 0);
}

static inline void bits_set(uint64_t *words, uint32_t first, uint32_t count)
{
    struct bits_range range = bits_range(first, count);
    uint64_t *word = &words[first / 64u];

    word[0] |= range.low;
    if (range.high != 0) {
        word[1] |= range.high;
    }
}

/* The lowest bit of `count` words that differs from those of `other`, or count * 64. */
static inline uint32_t bit_unlike(const uint64_t *words, uint32_t count, uint64_t other)
{
    for (uint32_t i = 0; i < count; i++) {
        if (words[i] != other) {
            return i * 64u + (uint32_t)__builtin_ctzll(words[i] ^ other);
        }
    }
    return count * 64u;
}

/* The lowest set bit of `count` words, or count * 64. */
static inline uint32_t bit_first(const uint64_t *words, uint32_t count)
{
    return bit_unlike(words, count, 0);
}

/* The lowest bit that is not set, or count * 64. */
static inline uint32_t bit_free(const uint64_t *words, uint32_t count)
{
    return bit_unlike(words, count, ~(uint64_t)0);
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
