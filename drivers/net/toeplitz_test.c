// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/toeplitz.h"

#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "tests/check.h"

/* The key and the values that Microsoft gives to verify an implementation. */
static const uint8_t known_key[TOEPLITZ_KEY_BYTES] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

#define IPV4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

static struct toeplitz hash;

TEST(known_values_of_ipv4)
{
    static const struct {
        uint32_t source, destination;
        uint16_t source_port, destination_port;
        uint32_t with_ports, without;
    } known[] = {
        {IPV4(66, 9, 149, 187), IPV4(161, 142, 100, 80), 2794, 1766, 0x51ccc178, 0x323e8fc2},
        {IPV4(199, 92, 111, 2), IPV4(65, 69, 140, 83), 14230, 4739, 0xc626b0ea, 0xd718262a},
        {IPV4(24, 19, 198, 95), IPV4(12, 22, 207, 184), 12898, 38024, 0x5c2b394a, 0xd2d0a5de},
        {IPV4(38, 27, 205, 30), IPV4(209, 142, 163, 6), 48228, 2217, 0xafc7327f, 0x82989176},
        {IPV4(153, 39, 163, 191), IPV4(202, 188, 127, 2), 44251, 1303, 0x10e828a2, 0x5d1809c5},
    };

    toeplitz_init(&hash, known_key);
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint8_t input[TOEPLITZ_IPV4_BYTES];
        store_be32(input, known[i].source);
        store_be32(input + 4, known[i].destination);
        store_be16(input + 8, known[i].source_port);
        store_be16(input + 10, known[i].destination_port);
        CHECK_EQ(toeplitz_hash(&hash, input, 12), known[i].with_ports);
        CHECK_EQ(toeplitz_hash(&hash, input, 8), known[i].without);
    }
}

TEST(a_known_value_of_ipv6)
{
    static const uint8_t ends[32] = {0x3f, 0xfe, 0x25, 0x01, 0x02, 0,    0x1f, 0xff, 0, 0, 0,
                                     0,    0,    0,    0,    7,    0x3f, 0xfe, 0x25, 1, 2, 0,
                                     0,    3,    0,    0,    0,    0,    0,    0,    0, 1};
    uint8_t input[TOEPLITZ_IPV6_BYTES];

    toeplitz_init(&hash, known_key);
    memcpy(input, ends, sizeof ends);
    store_be16(input + 32, 2794);
    store_be16(input + 34, 1766);
    CHECK_EQ(toeplitz_hash(&hash, input, 32), 0x2cc18cd5);
    CHECK_EQ(toeplitz_hash(&hash, input, 36), 0x40207d3d);
}

TEST(our_key_spreads_the_ports_of_one_client)
{
    uint32_t count[4] = {0};

    toeplitz_init(&hash, toeplitz_key);
    for (uint32_t port = 32768; port < 32768 + 4000; port++) {
        uint8_t input[TOEPLITZ_IPV4_BYTES];
        store_be32(input, IPV4(10, 0, 2, 2));
        store_be32(input + 4, IPV4(10, 0, 2, 15));
        store_be16(input + 8, (uint16_t)port);
        store_be16(input + 10, 7);
        count[toeplitz_queue(toeplitz_hash(&hash, input, sizeof input), 4)]++;
    }
    for (unsigned i = 0; i < 4; i++) {
        CHECK(count[i] > 800 && count[i] < 1200);
    }
}
