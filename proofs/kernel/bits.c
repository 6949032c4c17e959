// SPDX-License-Identifier: MIT OR Apache-2.0
/* Bitmaps, as the run queues and page tables use them. Of: kernel/bits.h */
#include "kernel/bits.h"
#include "proofs/proof.h"

#define WORDS 4u /* 256 bits: priorities */
#define BITS (WORDS * 64u)

static void any_words(uint64_t words[WORDS])
{
    for (uint32_t n = 0; n < WORDS; n++) {
        words[n] = nondet_u64();
    }
}

/* One bit is set or cleared, and no other changes. */
void prove_bit_change(void)
{
    uint64_t words[WORDS];
    uint32_t bit = nondet_u32();
    uint32_t other = nondet_u32();
    bool set = nondet_u8() != 0;

    any_words(words);
    ASSUME(bit < BITS && other < BITS);
    bool before = bit_get(words, other);
    if (set) {
        bit_set(words, bit);
    } else {
        bit_clear(words, bit);
    }
    PROVE(bit_get(words, other) == (other == bit ? set : before));
    PROOF_END();
}

/* The first and the last set bit are set, and none is before or after; as the first that is not. */
void prove_bit_ends(void)
{
    uint64_t words[WORDS];
    uint32_t other = nondet_u32();

    any_words(words);
    ASSUME(other < BITS);
    uint32_t first = bit_first(words, WORDS);
    int32_t last = bits_last(words, WORDS);
    PROVE(first <= BITS && last >= -1 && last < (int32_t)BITS);
    PROVE((first == BITS) == (last == -1));
    PROVE(first == BITS || (bit_get(words, first) && bit_get(words, (uint32_t)last)));
    PROVE(!bit_get(words, other) || (first <= other && (int32_t)other <= last));
    uint32_t free = bit_free(words, WORDS);
    PROVE(free <= BITS && (free == BITS || !bit_get(words, free)));
    PROVE(bit_get(words, other) || free <= other);
    PROOF_END();
}

/* A range of up to 64 bits: all of it is set and nothing else, and it says whether any was. */
void prove_bits_range(void)
{
    uint64_t words[WORDS];
    uint32_t first = nondet_u32();
    uint32_t count = nondet_u32();
    uint32_t other = nondet_u32();

    any_words(words);
    ASSUME(count >= 1 && count <= 64 && first < BITS && count <= BITS - first && other < BITS);
    bool inside = other >= first && other - first < count;
    bool before = bit_get(words, other);
    bool any = bits_any(words, first, count);
    PROVE(!inside || !before || any);
    bits_set(words, first, count);
    PROVE(bit_get(words, other) == (inside || before));
    PROVE(bits_any(words, first, count));
    PROOF_END();
}

/* No bit of a range is set if it says so. */
void prove_bits_any_exact(void)
{
    uint64_t words[WORDS] = {0};
    uint32_t first = nondet_u32();
    uint32_t count = nondet_u32();
    uint32_t bit = nondet_u32();

    ASSUME(count >= 1 && count <= 64 && first < BITS && count <= BITS - first && bit < BITS);
    bit_set(words, bit);
    PROVE(bits_any(words, first, count) == (bit >= first && bit - first < count));
    PROOF_END();
}
