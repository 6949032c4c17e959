// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/checksum.h"

struct __attribute__((packed, may_alias)) word64 {
    uint64_t value;
};

uint64_t checksum_add(uint64_t sum, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint64_t tail = 0;

    while (bytes >= 32u) {
        const struct word64 *word = (const void *)at;
        sum = checksum_add_word(sum, word[0].value);
        sum = checksum_add_word(sum, word[1].value);
        sum = checksum_add_word(sum, word[2].value);
        sum = checksum_add_word(sum, word[3].value);
        at += 32;
        bytes -= 32u;
    }
    while (bytes >= 8u) {
        sum = checksum_add_word(sum, ((const struct word64 *)(const void *)at)->value);
        at += 8;
        bytes -= 8u;
    }
    for (size_t i = 0; i < bytes; i++) {
        tail |= (uint64_t)at[i] << (8u * i);
    }
    return checksum_add_word(sum, tail);
}
