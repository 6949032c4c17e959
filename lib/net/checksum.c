// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/checksum.h"

#include "lib/base/endian.h"

uint64_t checksum_add(uint64_t sum, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    for (; bytes >= 128u; bytes -= 128u) {
        at += 128;
        sum = checksum_add_words(sum, at, 16);
    }
    at += bytes & ~(size_t)7u;
    sum = checksum_add_words(sum, at, bytes >> 3);
    if ((bytes & 4u) != 0) {
        sum = checksum_add_word(sum, load_le32(at));
        at += 4;
    }
    if ((bytes & 2u) != 0) {
        sum = checksum_add_word(sum, load_le16(at));
        at += 2;
    }
    return (bytes & 1u) != 0 ? checksum_add_word(sum, *at) : sum;
}
