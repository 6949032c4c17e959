// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/base/crc32c.h"

#include "lib/base/endian.h"

/* The CRC32 instruction (SSE4.2) computes this polynomial; every CPU that the system supports has
 * it (Intel SDM vol. 2, CRC32). */
static inline uint64_t add_word(uint64_t state, const uint8_t *at)
{
    __asm__("crc32q %1, %0" : "+r"(state) : "rm"(load_le64(at)));
    return state;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint64_t state = ~crc;

    for (; bytes >= 64u; bytes -= 64u, at += 64) {
        state = add_word(state, at);
        state = add_word(state, at + 8);
        state = add_word(state, at + 16);
        state = add_word(state, at + 24);
        state = add_word(state, at + 32);
        state = add_word(state, at + 40);
        state = add_word(state, at + 48);
        state = add_word(state, at + 56);
    }
    for (; bytes >= 8u; bytes -= 8u, at += 8) {
        state = add_word(state, at);
    }
    if (bytes >= 4u) {
        __asm__("crc32l %1, %k0" : "+r"(state) : "rm"(load_le32(at)));
        bytes -= 4u;
        at += 4;
    }
    for (; bytes > 0; bytes--, at++) {
        __asm__("crc32b %1, %0" : "+r"(state) : "rm"(*at));
    }
    return ~(uint32_t)state;
}
