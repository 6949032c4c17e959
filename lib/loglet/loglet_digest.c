// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/loglet/loglet_digest.h"

#include "lib/base/bytes.h"
#include "lib/base/endian.h"

#define LANES 4u
#define LANE_BYTES 16u
#define STIR_ROUNDS 3u /* after two rounds each byte depends on all */

/* The lanes at the beginning, and what the rounds of the end add: the fraction of pi. */
static const uint8_t start[DIGEST_STEP_BYTES] __attribute__((aligned(16))) = {
    0x24, 0x3f, 0x6a, 0x88, 0x85, 0xa3, 0x08, 0xd3, 0x13, 0x19, 0x8a, 0x2e, 0x03, 0x70, 0x73, 0x44,
    0xa4, 0x09, 0x38, 0x22, 0x29, 0x9f, 0x31, 0xd0, 0x08, 0x2e, 0xfa, 0x98, 0xec, 0x4e, 0x6c, 0x89,
    0x45, 0x28, 0x21, 0xe6, 0x38, 0xd0, 0x13, 0x77, 0xbe, 0x54, 0x66, 0xcf, 0x34, 0xe9, 0x0c, 0x6c,
    0xc0, 0xac, 0x29, 0xb7, 0xc9, 0x7c, 0x50, 0xdd, 0x3f, 0x84, 0xd5, 0xb5, 0xb5, 0x47, 0x09, 0x17,
};

/* ---- Without the instruction ---- */

/* FIPS-197, figure 7. */
static const uint8_t substitution[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76,
    0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0,
    0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
    0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75,
    0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
    0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
    0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8,
    0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2,
    0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
    0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
    0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79,
    0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
    0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a,
    0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e,
    0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
    0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
};

static uint8_t twice(uint8_t value) /* in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 */
{
    return (uint8_t)((uint32_t)value << 1 ^ (value >> 7) * 0x1bu);
}

/* One round of AES with `key`, as AESENC does it (Intel SDM vol. 2). */
static void round_slowly(uint8_t lane[LANE_BYTES], const uint8_t key[LANE_BYTES])
{
    uint8_t out[LANE_BYTES];

    for (uint32_t column = 0; column < 4u; column++) {
        uint8_t in[4];
        for (uint32_t row = 0; row < 4u; row++) {
            in[row] = substitution[lane[row + 4u * ((column + row) & 3u)]];
        }
        for (uint32_t row = 0; row < 4u; row++) {
            uint8_t next = in[(row + 1u) & 3u];
            out[row + 4u * column] = (uint8_t)(twice(in[row]) ^ twice(next) ^ next ^
                                               in[(row + 2u) & 3u] ^ in[(row + 3u) & 3u]);
        }
    }
    for (uint32_t i = 0; i < LANE_BYTES; i++) {
        lane[i] = out[i] ^ key[i];
    }
}

static __attribute__((noinline)) void add_slowly(struct digest *digest, const uint8_t *data,
                                                 size_t bytes)
{
    for (size_t at = 0; at < bytes; at += LANE_BYTES) {
        round_slowly(&digest->lanes[at % DIGEST_STEP_BYTES], data + at);
    }
}

/* ---- With it ---- */

typedef long long lane_t __attribute__((vector_size(16), may_alias));

#define UNROLL_BYTES 2048u

static __attribute__((target("aes"), noinline)) void add_fast(struct digest *digest,
                                                              const uint8_t *data, size_t bytes)
{
    lane_t *lanes = (lane_t *)(void *)digest->lanes;
    const lane_t *from = (const lane_t *)(const void *)data;
    lane_t a = lanes[0], b = lanes[1], c = lanes[2], d = lanes[3];

    for (; bytes >= UNROLL_BYTES; bytes -= UNROLL_BYTES, from += UNROLL_BYTES / LANE_BYTES) {
#pragma GCC unroll 32
        for (uint32_t i = 0; i < UNROLL_BYTES / LANE_BYTES; i += LANES) {
            a = __builtin_ia32_aesenc128(a, from[i]);
            b = __builtin_ia32_aesenc128(b, from[i + 1u]);
            c = __builtin_ia32_aesenc128(c, from[i + 2u]);
            d = __builtin_ia32_aesenc128(d, from[i + 3u]);
        }
    }
    for (; bytes != 0; bytes -= DIGEST_STEP_BYTES, from += LANES) {
        a = __builtin_ia32_aesenc128(a, from[0]);
        b = __builtin_ia32_aesenc128(b, from[1]);
        c = __builtin_ia32_aesenc128(c, from[2]);
        d = __builtin_ia32_aesenc128(d, from[3]);
    }
    lanes[0] = a;
    lanes[1] = b;
    lanes[2] = c;
    lanes[3] = d;
}

__attribute__((target("aes"))) static void fold_fast(struct digest *digest)
{
    lane_t *lanes = (lane_t *)(void *)digest->lanes;
    const lane_t *keys = (const lane_t *)(const void *)start;
    lane_t all = lanes[0];

    for (uint32_t i = 1; i < LANES; i++) {
        all = __builtin_ia32_aesenc128(all, lanes[i]);
    }
    for (uint32_t i = 0; i < STIR_ROUNDS; i++) {
        all = __builtin_ia32_aesenc128(all, keys[i]);
    }
    lanes[0] = all;
}

static void fold_slowly(struct digest *digest)
{
    for (uint32_t i = 1; i < LANES; i++) {
        round_slowly(digest->lanes, digest->lanes + (size_t)i * LANE_BYTES);
    }
    for (uint32_t i = 0; i < STIR_ROUNDS; i++) {
        round_slowly(digest->lanes, start + (size_t)i * LANE_BYTES);
    }
}

/* ---- Both ---- */

bool digest_is_fast(void)
{
    uint32_t a = 1, b, c = 0, d;

    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (c >> 25 & 1u) != 0; /* AESNI (Intel SDM vol. 2, CPUID) */
}

void digest_begin(struct digest *digest)
{
    __builtin_memcpy(digest->lanes, start, sizeof digest->lanes);
    digest->bytes = 0;
}

void digest_add(struct digest *digest, bool fast, const void *data, size_t bytes)
{
    digest->bytes += bytes;
    if (__builtin_expect(fast, 1)) {
        add_fast(digest, data, bytes);
    } else {
        add_slowly(digest, data, bytes);
    }
}

void digest_end(struct digest *digest, bool fast, const void *data, size_t bytes,
                uint8_t result[DIGEST_BYTES])
{
    uint8_t last[2u * DIGEST_STEP_BYTES] __attribute__((aligned(16)));
    size_t whole = bytes & ~(size_t)(DIGEST_STEP_BYTES - 1u);
    size_t rest = bytes - whole;
    size_t at = rest == 0 ? 0 : DIGEST_STEP_BYTES;

    if (whole != 0) {
        digest_add(digest, fast, data, whole);
    }
    /* The length stands alone in the last 64 bytes, whatever was padded before it. */
    __builtin_memset(last, 0, sizeof last);
    memcpy(last, (const uint8_t *)data + whole, rest);
    store_le64(last + at, digest->bytes + rest);
    digest_add(digest, fast, last, at + DIGEST_STEP_BYTES);
    if (fast) {
        fold_fast(digest);
    } else {
        fold_slowly(digest);
    }
    __builtin_memcpy(result, digest->lanes, DIGEST_BYTES);
}
