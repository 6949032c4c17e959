// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/siphash.h"

#include "lib/base/endian.h"

struct siphash_state {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64u - bits);
}

static void siphash_rounds(struct siphash_state *s, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        s->v0 += s->v1;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v2 = rotate(s->v2, 32);
    }
}

uint64_t siphash(const struct siphash_key *key, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint64_t last = (uint64_t)bytes << 56;
    /* The constants spell "somepseudorandomlygeneratedbytes" (section 2.1). */
    struct siphash_state s = {
        key->word[0] ^ 0x736f6d6570736575ull,
        key->word[1] ^ 0x646f72616e646f6dull,
        key->word[0] ^ 0x6c7967656e657261ull,
        key->word[1] ^ 0x7465646279746573ull,
    };

    for (; bytes >= 8u; bytes -= 8u, at += 8) {
        uint64_t word = load_le64(at);
        s.v3 ^= word;
        siphash_rounds(&s, 2);
        s.v0 ^= word;
    }
    for (size_t i = 0; i < bytes; i++) {
        last |= (uint64_t)at[i] << (8u * i);
    }
    s.v3 ^= last;
    siphash_rounds(&s, 2);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    siphash_rounds(&s, 4);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
