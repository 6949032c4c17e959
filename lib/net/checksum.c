// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/checksum.h"

#include "lib/base/endian.h"

uint64_t checksum_add(uint64_t sum, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    for (; bytes >= 32u; bytes -= 32u, at += 32) {
        sum = checksum_add_word(sum, load_le64(at));
        sum = checksum_add_word(sum, load_le64(at + 8));
        sum = checksum_add_word(sum, load_le64(at + 16));
        sum = checksum_add_word(sum, load_le64(at + 24));
    }
    for (; bytes >= 8u; bytes -= 8u, at += 8) {
        sum = checksum_add_word(sum, load_le64(at));
    }
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
