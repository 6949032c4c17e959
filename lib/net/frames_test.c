// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Sequences of frames through frames_fake.c without libFuzzer: made by chance from seeds of every
 * protocol. NET_FUZZ_RUNS sets how many sequences. Asserts the bound on amplification: what nobody
 * has vouched for is answered by at most one small packet, and one question for the way to it.
 */
#include "lib/net/frames_fake.h"
#include "tests/check.h"

#include <stdlib.h>

static uint64_t random_state = 1;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % below;
}

/* Beginnings of packets, from the IP header on. */
static const struct {
    uint8_t action;
    uint8_t length;
    uint8_t bytes[64];
} seeds[] = {
    {4, 40, {0x45, [8] = 64, [9] = 6, [20] = 9, 9, 0, 80, [32] = 0x50, 0x02, 0xff, 0xff}},
    {12, 48, {0x45, [8] = 64, [9] = 6, [32] = 0x50, 0x10, 0xff, 0xff, [40] = 'd', 'a', 't', 'a'}},
    {12, 40, {0x45, [8] = 64, [9] = 6, [32] = 0x50, 0x11, 0xff, 0xff}},
    {12, 40, {0x45, [8] = 64, [9] = 6, [32] = 0x50, 0x14, 0xff, 0xff}},
    {4, 60, {0x45,     [8] = 64, [9] = 6, [20] = 8, 8, 0, 80, [32] = 0xa0, 0x02, 0xff, 0xff,
             [40] = 2, 4,        5,       0xb4,     4, 2, 8,  10,          0,    0,    0,
             9,        0,        0,       0,        0, 1, 3,  3,           7}},
    {4, 36, {0x45, [8] = 64, [9] = 17, [20] = 9, 9, 0, 7, 0, 16}},
    {4, 36, {0x45, [8] = 64, [9] = 1, [20] = 8}},
    {4,
     56,
     {0x45, [8] = 64, [9] = 1, [20] = 3, 4, [28] = 0x45, [37] = 6, [40] = 10, 0, 0, 1, 10, 0, 0,
      2}},
    {4, 36, {0x45, [6] = 0x20, [8] = 64, [9] = 17, [20] = 9, 9, 0, 7, 0, 40}},
    {5, 60, {0x60, [6] = 6, [7] = 64, [40] = 9, 9, 0, 80, [52] = 0x50, 0x02, 0xff, 0xff}},
    {5, 56, {0x60, [6] = 17, [7] = 64, [40] = 9, 9, 0, 7, 0, 16}},
    {5, 56, {0x60, [6] = 58, [7] = 64, [40] = 128}},
    {5, 64, {0x60, [6] = 58, [7] = 255, [40] = 135, [48] = 0xfd, [63] = 1}},
    {5, 64, {0x60, [6] = 44, [7] = 64, [40] = 17, 0, 0, 1}},
    {5, 64, {0x60, [6] = 0, [7] = 64, [40] = 60, 0, 1, 4}},
    {2, 46, {0, 1, 8, 0, 6, 4, 0, 1, 2, 'p', 'e', 'e', 'r', 1, 10, 0, 0, 2, [24] = 10, 0, 0, 1}},
};

static size_t make_input(uint8_t *input, size_t most)
{
    size_t used = 0;
    uint32_t records = 1u + draw(24);

    for (uint32_t r = 0; r < records && used + 258u < most; r++) {
        uint32_t seed = draw(sizeof seeds / sizeof seeds[0]);
        uint32_t length = seeds[seed].length + (draw(4) == 0 ? draw(190) : 0u);
        uint8_t *at = input + used + 2;
        input[used] = (uint8_t)length;
        input[used + 1u] = seeds[seed].action | (uint8_t)(draw(3) == 0 ? draw(16) << 4 : 0);
        for (uint32_t i = 0; i < length; i++) {
            at[i] = i < seeds[seed].length ? seeds[seed].bytes[i] : (uint8_t)draw(256);
        }
        for (uint32_t m = draw(4); m > 0; m--) {
            at[draw(length)] = (uint8_t)(draw(2) == 0 ? draw(256) : draw(8));
        }
        used += length + 2u;
    }
    return used;
}

TEST(frame_sequences_and_amplification)
{
    const char *text = getenv("NET_FUZZ_RUNS");
    uint64_t runs = text != NULL ? strtoull(text, NULL, 0) : 4000u;
    struct frames_result result = {0};
    static uint8_t input[8192];

    for (uint64_t i = 0; i < runs; i++) {
        size_t bytes = make_input(input, sizeof input);
        frames_run(input, bytes, &result);
    }
    printf("%lu frames, %lu connections; at most %lu frames and %lu bytes more than came\n",
           result.frames, result.accepted, result.worst_frames, result.worst_bytes);
    CHECK(result.accepted > runs / 100u);
    CHECK(result.worst_frames <= 2);
    CHECK(result.worst_bytes <= 160);
}
