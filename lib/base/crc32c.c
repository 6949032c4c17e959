// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/base/crc32c.h"

#include "lib/base/endian.h"

/* The CRC32 instruction (SSE4.2) computes this polynomial; every CPU that the system supports has
 * it (Intel SDM vol. 2, CRC32). */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint64_t state = ~crc;

    for (; bytes >= 8u; bytes -= 8u, at += 8) {
        uint64_t word = load_le64(at);
        __asm__("crc32q %1, %0" : "+r"(state) : "rm"(word));
    }
    for (; bytes > 0; bytes--, at++) {
        __asm__("crc32b %1, %0" : "+r"(state) : "rm"(*at));
    }
    return ~(uint32_t)state;
}
