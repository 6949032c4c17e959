// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/checksum.h"

#include "lib/base/endian.h"

#include <x86intrin.h>

/* Adds 32 bytes in one chain of carries. */
static inline uint64_t add_block(uint64_t sum, const uint8_t *at)
{
    unsigned long long total = sum;
    unsigned char carry = _addcarry_u64(0, total, load_le64(at), &total);

    carry = _addcarry_u64(carry, total, load_le64(at + 8), &total);
    carry = _addcarry_u64(carry, total, load_le64(at + 16), &total);
    carry = _addcarry_u64(carry, total, load_le64(at + 24), &total);
    (void)_addcarry_u64(carry, total, 0, &total);
    return total;
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    for (; bytes >= 64u; bytes -= 64u, at += 64) {
        sum = add_block(add_block(sum, at), at + 32);
    }
    if ((bytes & 32u) != 0) {
        sum = add_block(sum, at);
        at += 32;
    }
    for (bytes &= 31u; bytes >= 8u; bytes -= 8u, at += 8) {
        sum = checksum_add_word(sum, load_le64(at));
    }
    if (bytes == 0) {
        return sum;
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
