// SPDX-License-Identifier: MIT OR Apache-2.0
#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "tests/check.h"

#define S0 40
#define FIRST 0x400u /* the ports of BOOT_SLOT_IO_PORTS, as the harness makes them */
#define COUNT 0x400u
#define DEVICE_BYTES 0x10000u

TEST(a_range_ends_where_its_source_ends)
{
    harness_start();
    CHECK_EQ(CALL(range_derive, S0, BOOT_SLOT_IO_PORTS, FIRST, COUNT, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(harness_slot(S0)->length, COUNT);
    CHECK_EQ(CALL(range_derive, S0 + 1, S0, FIRST + COUNT - 1, 1, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(harness_slot(S0 + 1)->base, FIRST + COUNT - 1);
    CHECK_EQ(CALL(range_derive, S0 + 2, S0, FIRST + COUNT, 1, RIGHTS_ALL), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, S0 + 2, S0, FIRST + COUNT - 1, 2, RIGHTS_ALL),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, S0 + 2, S0, FIRST - 1, 2, RIGHTS_ALL), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, S0 + 2, S0, FIRST + 1, UINT64_MAX, RIGHTS_ALL),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, S0 + 2, SLOT_DEVICE, HARNESS_DEVICE_BASE, DEVICE_BYTES, RIGHTS_ALL),
             STATUS_OK);
    CHECK_EQ(CALL(range_derive, S0 + 3, SLOT_DEVICE, HARNESS_DEVICE_BASE, DEVICE_BYTES + PAGE_BYTES,
                  RIGHTS_ALL),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(
        CALL(range_derive, S0 + 3, SLOT_DEVICE, HARNESS_DEVICE_BASE + 1, PAGE_BYTES, RIGHTS_ALL),
        STATUS_MISALIGNED);
    CHECK_EQ(
        CALL(range_derive, S0 + 3, SLOT_DEVICE, HARNESS_DEVICE_BASE, PAGE_BYTES + 1, RIGHTS_ALL),
        STATUS_MISALIGNED);
}

TEST(ports_are_reached_inside_the_range_only)
{
    static const uint64_t widths[] = {1, 2, 4};

    harness_start();
    for (uint32_t n = 0; n < 3; n++) {
        uint64_t width = widths[n];
        host_machine.port_value = 0xaabbccdd;
        CHECK_EQ(CALL(port_in, BOOT_SLOT_IO_PORTS, FIRST, width), STATUS_OK);
        CHECK_EQ(CALL(port_in, BOOT_SLOT_IO_PORTS, FIRST + COUNT - width, width), STATUS_OK);
        CHECK_EQ(CALL(port_in, BOOT_SLOT_IO_PORTS, FIRST + COUNT - width + 1, width),
                 STATUS_INVALID_ARGUMENT);
        CHECK_EQ(CALL(port_in, BOOT_SLOT_IO_PORTS, FIRST - 1, width), STATUS_INVALID_ARGUMENT);
        CHECK_EQ(CALL(port_out, BOOT_SLOT_IO_PORTS, FIRST + COUNT - width, width, 0x11 * width),
                 STATUS_OK);
        CHECK_EQ(host_machine.port_value, 0x11 * width);
        CHECK_EQ(CALL(port_out, BOOT_SLOT_IO_PORTS, FIRST + COUNT, width, 1),
                 STATUS_INVALID_ARGUMENT);
        CHECK_EQ(CALL(port_out, BOOT_SLOT_IO_PORTS, (1ull << 32) + FIRST, width, 1),
                 STATUS_INVALID_ARGUMENT);
    }
    CHECK_EQ(CALL(port_in, BOOT_SLOT_IO_PORTS, FIRST, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(port_in, BOOT_SLOT_IO_PORTS, FIRST, 3), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(port_in, BOOT_SLOT_IO_PORTS, FIRST, 8), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, S0, BOOT_SLOT_IO_PORTS, FIRST, 8, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(port_in, S0, FIRST + 4, 4), STATUS_OK);
    CHECK_EQ(CALL(port_out, S0, FIRST, 1, 1), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(port_in, S0, FIRST + 8, 1), STATUS_INVALID_ARGUMENT);
}

TEST(the_console_takes_a_message_and_no_more)
{
    harness_start();
    CHECK_EQ(CALL(console_write, BOOT_SLOT_CONSOLE, MESSAGE_WORDS_MAX * 8), STATUS_OK);
    CHECK_EQ(CALL(console_write, BOOT_SLOT_CONSOLE, MESSAGE_WORDS_MAX * 8 + 1),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_copy, S0, BOOT_SLOT_CONSOLE, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(console_write, S0, 1), STATUS_NO_RIGHTS);
}
