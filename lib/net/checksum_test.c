// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/checksum.h"

#include <string.h>

#include "tests/check.h"

#define BYTES_MAX 300u

/* RFC 1071, 4.1, two bytes at a time. */
static uint16_t reference(const uint8_t *at, size_t bytes)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < bytes; i += 2) {
        sum += at[i] | (uint32_t)(i + 1 < bytes ? at[i + 1] : 0) << 8;
    }
    while (sum > 0xffffu) {
        sum = (sum & 0xffffu) + (sum >> 16);
    }
    return (uint16_t)sum;
}

static void check_all(const uint8_t *data)
{
    for (size_t offset = 0; offset < 8; offset++) {
        for (size_t bytes = 0; bytes + offset <= BYTES_MAX; bytes++) {
            uint16_t wanted = reference(data + offset, bytes);
            uint16_t found = checksum_fold(checksum_add(0, data + offset, bytes));
            /* 0 and 0xffff are the same sum. */
            CHECK(found == wanted || (found % 0xffffu == 0 && wanted % 0xffffu == 0));
        }
    }
}

TEST(sums_equal_the_reference)
{
    uint8_t data[BYTES_MAX];
    uint32_t random = 1;

    for (size_t i = 0; i < BYTES_MAX; i++) {
        random = random * 1664525u + 1013904223u;
        data[i] = (uint8_t)(random >> 24);
    }
    check_all(data);
    memset(data, 0xff, sizeof data); /* every addition carries */
    check_all(data);
    memset(data, 0, sizeof data);
    check_all(data);
}

TEST(a_running_sum_may_be_continued)
{
    static const uint8_t data[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

    CHECK(checksum_fold(checksum_add(checksum_add(0, data, 8), data + 8, 4)) ==
          checksum_fold(checksum_add(0, data, 12)));
    CHECK(checksum_fold(checksum_add(~0ull, data, 12)) == checksum_fold(checksum_add(0, data, 12)));
}

TEST(words_in_a_row_are_added_with_their_carries)
{
    uint8_t data[128];

    for (uint32_t fill = 0; fill < 3; fill++) {
        for (size_t i = 0; i < sizeof data; i++) {
            data[i] = fill == 0 ? 0xff : fill == 1 ? 0 : (uint8_t)(i * 167u + 13u);
        }
        for (size_t words = 0; words <= 16; words++) {
            const uint8_t *end = data + sizeof data;
            CHECK_EQ(checksum_words_in_a_row(0, end, words), checksum_add_words(0, end, words));
            CHECK_EQ(checksum_words_in_a_row(~0ull, end, words),
                     checksum_add_words(~0ull, end, words));
        }
    }
}

TEST(packets_sum_as_anything_else_does)
{
    uint8_t data[BYTES_MAX];

    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 89u + 7u);
    }
    for (size_t bytes = 8; bytes <= sizeof data; bytes++) {
        CHECK(checksum_fold(checksum_add_packet(5, data, bytes)) ==
              checksum_fold(checksum_add(5, data, bytes)));
    }
}

TEST(right_sums_are_the_multiples)
{
    for (uint64_t sum = 1; sum < 200000u; sum++) {
        CHECK_EQ(checksum_is_right(sum), checksum_fold(sum) == 0xffffu);
        CHECK_EQ(checksum_is_right(~sum), checksum_fold(~sum) == 0xffffu);
        CHECK_EQ(checksum_is_right(sum << 31), checksum_fold(sum << 31) == 0xffffu);
    }
}
