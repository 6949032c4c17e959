// SPDX-License-Identifier: MIT OR Apache-2.0
#include <string.h>

#include "lib/loglet/loglet_digest.h"
#include "tests/check.h"

#define BYTES 4160u

static uint8_t data[BYTES] __attribute__((aligned(64)));
static uint64_t state = 88172645463325252ull;

static uint64_t draw(void) /* xorshift64, Marsaglia 2003 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void digest_of(bool fast, size_t bytes, uint8_t result[DIGEST_BYTES])
{
    struct digest digest;

    digest_begin(&digest);
    digest_end(&digest, fast, data, bytes, result);
}

static void fill(void)
{
    for (uint32_t i = 0; i < BYTES; i++) {
        data[i] = (uint8_t)draw();
    }
}

/* The round itself: FIPS-197, appendix B, round 1, through the digest's own first step is not
 * visible from outside; so the two implementations check each other and this value pins both. */
TEST(both_ways_agree)
{
    uint8_t one[DIGEST_BYTES], other[DIGEST_BYTES];

    CHECK(digest_is_fast());
    fill();
    for (uint32_t bytes = 0; bytes <= 300u; bytes++) {
        digest_of(true, bytes, one);
        digest_of(false, bytes, other);
        CHECK(memcmp(one, other, DIGEST_BYTES) == 0);
    }
    digest_of(true, BYTES, one);
    digest_of(false, BYTES, other);
    CHECK(memcmp(one, other, DIGEST_BYTES) == 0);
}

TEST(pieces_make_the_same_whole)
{
    uint8_t one[DIGEST_BYTES], other[DIGEST_BYTES];
    struct digest digest;

    fill();
    digest_of(true, BYTES - 7u, one);
    digest_begin(&digest);
    digest_add(&digest, true, data, 64);
    digest_add(&digest, false, data + 64, 2048);
    digest_end(&digest, true, data + 2112, BYTES - 7u - 2112u, other);
    CHECK(memcmp(one, other, DIGEST_BYTES) == 0);
}

/* Every length has a digest of its own, zeroes at the end count. */
TEST(length_counts)
{
    uint8_t seen[200][DIGEST_BYTES];

    memset(data, 0, sizeof data);
    for (uint32_t bytes = 0; bytes < 200u; bytes++) {
        digest_of(true, bytes, seen[bytes]);
        for (uint32_t i = 0; i < bytes; i++) {
            CHECK(memcmp(seen[i], seen[bytes], DIGEST_BYTES) != 0);
        }
    }
}

static void expect_change(const uint8_t before[DIGEST_BYTES])
{
    uint8_t after[DIGEST_BYTES];

    digest_of(true, BYTES, after);
    CHECK(memcmp(before, after, DIGEST_BYTES) != 0);
}

TEST(each_single_bit_is_found)
{
    uint8_t before[DIGEST_BYTES];

    fill();
    digest_of(true, BYTES, before);
    for (uint32_t bit = 0; bit < BYTES * 8u; bit++) {
        data[bit / 8u] ^= (uint8_t)(1u << bit % 8u);
        expect_change(before);
        data[bit / 8u] ^= (uint8_t)(1u << bit % 8u);
    }
}

static void flip_some(uint32_t count, uint32_t first, uint32_t bits)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bit = first + (uint32_t)(draw() % bits);
        data[bit / 8u] ^= (uint8_t)(1u << bit % 8u);
    }
}

/* Two to four bits anywhere, bursts of up to 48 bytes, whole sectors swapped, lost, or old. */
TEST(more_damage_is_found)
{
    static uint8_t good[BYTES];
    uint8_t before[DIGEST_BYTES];

    fill();
    memcpy(good, data, BYTES);
    digest_of(true, BYTES, before);
    for (uint32_t round = 0; round < 60000u; round++) {
        uint32_t sector = (uint32_t)(draw() % 8u) * 512u;
        uint32_t other = (uint32_t)(draw() % 8u) * 512u;
        switch (round % 5u) {
        case 0:
            flip_some(2u + (uint32_t)(draw() % 3u), 0, BYTES * 8u);
            break;
        case 1:
            flip_some(40, (uint32_t)(draw() % (BYTES - 48u)) * 8u, 384);
            break;
        case 2:
            memcpy(data + sector, good + other, 512);
            break;
        case 3:
            memset(data + sector, 0, 512);
            break;
        default:
            memcpy(data + sector, good + other, 16);
            memcpy(data + other, good + sector, 16);
            break;
        }
        if (memcmp(good, data, BYTES) != 0) {
            expect_change(before);
        }
        memcpy(data, good, BYTES);
    }
}
