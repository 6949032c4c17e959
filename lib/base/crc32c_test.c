// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/base/crc32c.h"

#include "tests/check.h"

/* One bit at a time, from the definition: polynomial 0x1EDC6F41, reflected. */
static uint32_t slow(uint32_t crc, const uint8_t *data, size_t bytes)
{
    crc = ~crc;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (uint32_t bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

TEST(known_values)
{
    uint8_t bytes[32];
    memset(bytes, 0, sizeof bytes);
    CHECK_EQ(crc32c(0, bytes, 32), 0x8a9136aau); /* RFC 3720, B.4 */
    memset(bytes, 0xff, sizeof bytes);
    CHECK_EQ(crc32c(0, bytes, 32), 0x62a8ab43u);
    for (uint32_t i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    CHECK_EQ(crc32c(0, bytes, 32), 0x46dd794eu);
    CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283u);
    CHECK_EQ(crc32c(0, bytes, 0), 0);
}

TEST(every_length_and_split)
{
    uint8_t bytes[300];
    for (uint32_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 151u + 7u);
    }
    for (uint32_t length = 0; length < 290; length++) {
        uint32_t whole = slow(0, bytes + 3, length);
        CHECK_EQ(crc32c(0, bytes + 3, length), whole);
        uint32_t split = length / 3u;
        CHECK_EQ(crc32c(crc32c(0, bytes + 3, split), bytes + 3 + split, length - split), whole);
    }
}
