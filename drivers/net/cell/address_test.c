// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/cell/address.h"

#include "tests/check.h"

TEST(addresses_are_read)
{
    ipv4_t address = 0;
    uint32_t bits = 0;

    CHECK_EQ(address_parse("10.0.2.15", &address), STATUS_OK);
    CHECK_EQ(address, IPV4(10, 0, 2, 15));
    CHECK_EQ(address_parse("255.255.255.255", &address), STATUS_OK);
    CHECK_EQ(address, 0xffffffff);
    CHECK_EQ(address_parse_network("192.168.0.1/24", &address, &bits), STATUS_OK);
    CHECK_EQ(address, IPV4(192, 168, 0, 1));
    CHECK_EQ(bits, 24);
}

TEST(what_is_no_address_is_refused)
{
    static const char *const bad[] = {
        "",           "10",       "10.0.2",     "10.0.2.", "10.0.2.256", "10.0.2.15 ",
        "010.0.2.15", "10..2.15", "10.0.2.15.", "a.b.c.d", "10.0.2.-1",  "10.0.2.99999999999"};
    static const char *const bad_network[] = {"10.0.2.15",    "10.0.2.15/",    "10.0.2.15/0",
                                              "10.0.2.15/31", "10.0.2.15/24x", "/24"};
    ipv4_t address = 7;
    uint32_t bits = 9;

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(address_parse(bad[i], &address), STATUS_INVALID_ARGUMENT);
    }
    for (unsigned i = 0; i < sizeof bad_network / sizeof bad_network[0]; i++) {
        CHECK_EQ(address_parse_network(bad_network[i], &address, &bits), STATUS_INVALID_ARGUMENT);
    }
    CHECK_EQ(address, 7);
    CHECK_EQ(bits, 9);
}
