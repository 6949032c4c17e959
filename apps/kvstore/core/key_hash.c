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

static uint64_t siphash_1_3(const uint64_t key[2], const void *data, size_t bytes)
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

/* ---- AES ----------------------------------------------------------------------------------------
 */

typedef long long lane_t __attribute__((vector_size(16), may_alias));

static inline uint64_t load64(const uint8_t *at)
{
    return ((const struct unaligned64 *)(const void *)at)->value;
}

/* Up to 16 bytes in a block of which the length is known: no two messages give the same one. */
static inline lane_t load_short(const uint8_t *at, size_t bytes)
{
    if (bytes >= 8u) {
        return (lane_t){(long long)load64(at), (long long)load64(at + bytes - 8u)};
    }
    return (lane_t){(long long)load_rest(at, bytes), 0};
}

__attribute__((target("aes"))) static inline lane_t stir(lane_t lane, const lane_t *rounds)
{
    for (uint32_t i = 0; i < KEY_HASH_ROUNDS; i++) {
        lane = __builtin_ia32_aesenc128(lane, rounds[i]);
    }
    return lane;
}

__attribute__((target("aes"))) static uint64_t aes_hash(const struct key_hash_key *key,
                                                        const uint8_t *at, size_t bytes)
{
    const lane_t *rounds = (const lane_t *)(const void *)key->rounds;
    lane_t lane = rounds[KEY_HASH_ROUNDS] ^ (lane_t) { (long long)bytes, 0 };

    for (; bytes > 16u; bytes -= 16u, at += 16) {
        lane = stir(lane ^ (lane_t){(long long)load64(at), (long long)load64(at + 8)}, rounds);
    }
    lane = stir(lane ^ load_short(at, bytes), rounds);
    return (uint64_t)lane[0];
}

bool key_hash_has_aes(void)
{
    uint32_t a = 1;
    uint32_t b;
    uint32_t c = 0;
    uint32_t d;

    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (c & 1u << 25) != 0; /* Intel SDM vol. 2, CPUID leaf 1 */
}

void key_hash_init(struct key_hash_key *key, const uint64_t secret[2], bool fast)
{
    uint8_t label = 0;

    *key = (struct key_hash_key){.words = {secret[0], secret[1]}, .fast = fast};
    for (uint32_t i = 0; i <= KEY_HASH_ROUNDS; i++) {
        for (uint32_t half = 0; half < 2; half++, label++) {
            key->rounds[i][half] = siphash_1_3(secret, &label, 1);
        }
    }
}

uint64_t key_hash(const struct key_hash_key *key, const void *data, size_t bytes)
{
    return __builtin_expect(key->fast, 1) ? aes_hash(key, data, bytes)
                                          : siphash_1_3(key->words, data, bytes);
}
