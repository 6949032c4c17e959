// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/object/cap.h"

#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "tests/check.h"

#define S0 SLOT_FREE

TEST(retype_makes_every_type)
{
    harness_start();
    for (uint64_t type = OBJECT_TABLE; type <= OBJECT_SEGMENT; type++) {
        uint64_t size = type == OBJECT_TABLE ? 8 : 0;
        uint64_t slot = S0 + type * 4;
        CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, type, size, slot, 3), STATUS_OK);
        CHECK_EQ(CALL(cap_identify, slot + 2), STATUS_OK);
        CHECK_EQ(harness_current()->registers.word[0], type | RIGHTS_ALL << 8 | 1u << 16);
    }
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_UNTYPED, 0x3000, S0, 2), STATUS_OK);
    CHECK_EQ(CALL(untyped_info, S0), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[0], 0x3000);
    CHECK_EQ(harness_current()->registers.word[1], 0x3000);
}

TEST(retype_refuses)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, 0, OBJECT_THREAD, 0, S0, 1), STATUS_INVALID_SLOT);
    CHECK_EQ(CALL(untyped_retype, 10000, OBJECT_THREAD, 0, S0, 1), STATUS_INVALID_SLOT);
    CHECK_EQ(CALL(untyped_retype, S0, OBJECT_THREAD, 0, S0, 1), STATUS_EMPTY_SLOT);
    CHECK_EQ(CALL(untyped_retype, BOOT_SLOT_TABLE, OBJECT_THREAD, 0, S0, 1), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 1, S0, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NONE, 0, S0, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_IRQ, 0, S0, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, 1u << 20, 0, S0, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_UNTYPED, 100, S0, 1), STATUS_MISALIGNED);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_UNTYPED, 0, S0, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_UNTYPED, 0x400000, S0, 1), STATUS_NO_MEMORY);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_UNTYPED, 1ull << 60, S0, 1),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_TABLE, 1, S0, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_TABLE, 65537, S0, 1),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, S0, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, S0, 17), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, 255, 2), STATUS_INVALID_SLOT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, SLOT_UNTYPED, 1),
             STATUS_OCCUPIED_SLOT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, cap_ref(S0, 1), 1),
             STATUS_EMPTY_SLOT);
    CHECK_EQ(CALL(cap_copy, S0, BOOT_SLOT_TABLE, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, cap_ref(S0, 100), 1),
             STATUS_NO_RIGHTS);
}

TEST(bounds_are_reached)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_TABLE, 2, S0, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, cap_ref(S0, 1), 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, 254, 2), STATUS_OK);
    CHECK_EQ(CALL(cap_identify, 255), STATUS_OK);
    CHECK_EQ(CALL(cap_identify, 253), STATUS_EMPTY_SLOT);
}

TEST(retype_takes_the_last_page)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_UNTYPED, 0x4000, S0, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, S0, OBJECT_PAGE_TABLE, 0, S0 + 1, 2), STATUS_NO_MEMORY);
    CHECK_EQ(CALL(untyped_retype, S0, OBJECT_PAGE_TABLE, 0, S0 + 1, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_info, S0), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[1], 0);
    CHECK_EQ(CALL(untyped_retype, S0, OBJECT_ENDPOINT, 0, S0 + 2, 1), STATUS_NO_MEMORY);
    CHECK_EQ(CALL(untyped_reset, S0), STATUS_BUSY);
    CHECK_EQ(CALL(cap_delete, S0 + 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_reset, S0), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, S0, OBJECT_THREAD, 0, S0 + 1, 0x4000 / THREAD_BYTES), STATUS_OK);
    CHECK_EQ(CALL(untyped_info, S0), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[1], 0);
}

TEST(large_table_is_made_in_steps)
{
    harness_start();
    const struct call call = {.number = CALL_untyped_retype,
                              .a = {SLOT_UNTYPED, OBJECT_TABLE, 10000, S0, 1}};
    CHECK_EQ(harness_call(&call), STATUS_AGAIN);
    CHECK_EQ(harness_repeat(&call, 700), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, cap_ref(S0, 9999), BOOT_SLOT_CONSOLE, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, cap_ref(S0, 10000), BOOT_SLOT_CONSOLE, RIGHTS_ALL),
             STATUS_INVALID_SLOT);
    const struct call delete = {.number = CALL_cap_delete, .a = {S0}};
    CHECK_EQ(harness_repeat(&delete, 1000), STATUS_OK);
    CHECK_EQ(harness_slot(S0)->type, OBJECT_NONE);
    CHECK_EQ(harness_slot(BOOT_SLOT_CONSOLE)->child.n, NIL);
}

TEST(copies_have_no_more_rights)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, S0, 1), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, S0 + 1, S0, RIGHT_SEND | RIGHT_GRANT), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, S0 + 2, S0 + 1, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(harness_slot(S0 + 2)->rights, RIGHT_SEND | RIGHT_GRANT);
    CHECK_EQ(CALL(cap_mint, S0 + 3, S0 + 2, RIGHT_SEND, 77), STATUS_OK);
    CHECK_EQ(harness_slot(S0 + 3)->badge, 77);
    CHECK_EQ(CALL(cap_mint, S0 + 4, S0 + 3, RIGHT_SEND, 78), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_mint, S0 + 4, BOOT_SLOT_CONSOLE, RIGHT_SEND, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_mint, S0 + 4, BOOT_SLOT_SCHED_CONTROL, 0, 201), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_mint, S0 + 4, BOOT_SLOT_SCHED_CONTROL, 0, 200), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, S0 + 7, S0 + 4, 0, 50), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, S0 + 8, S0 + 7, 0, 51), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_copy, S0 + 5, SLOT_UNTYPED, RIGHTS_ALL), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(cap_copy, S0 + 3, S0, RIGHTS_ALL), STATUS_OCCUPIED_SLOT);
    CHECK_EQ(CALL(cap_copy, S0 + 6, S0 + 5, RIGHTS_ALL), STATUS_EMPTY_SLOT);
}

TEST(derivation_depth_is_bounded)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, S0, 1), STATUS_OK);
    for (uint32_t n = 1; n < DERIVATION_DEPTH_MAX; n++) {
        CHECK_EQ(CALL(cap_copy, S0 + n, S0 + n - 1, RIGHTS_ALL), STATUS_OK);
    }
    CHECK_EQ(CALL(cap_copy, 100, S0 + DERIVATION_DEPTH_MAX - 1, RIGHTS_ALL),
             STATUS_DERIVATION_DEPTH);
    CHECK_EQ(CALL(cap_delete, S0), STATUS_BUSY);
    const struct call revoke = {.number = CALL_cap_revoke, .a = {S0}};
    CHECK_EQ(harness_call(&revoke), STATUS_AGAIN);
    CHECK_EQ(harness_repeat(&revoke, 10), STATUS_OK);
    CHECK_EQ(harness_slot(S0 + 1)->type, OBJECT_NONE);
    CHECK_EQ(CALL(cap_delete, S0), STATUS_OK);
    CHECK_EQ(CALL(cap_delete, S0), STATUS_EMPTY_SLOT);
    CHECK_EQ(CALL(cap_revoke, S0), STATUS_EMPTY_SLOT);
}

TEST(untyped_memory_nests_to_the_last_level)
{
    harness_start();
    uint64_t from = SLOT_UNTYPED;
    uint64_t level =
        untyped_at(kernel_under_test, (untyped_ix){harness_slot(SLOT_UNTYPED)->object})->level;
    uint64_t slot = S0;
    for (; level < LEVEL_MAX; level++, slot++) {
        uint64_t bytes = 0x100000 - (slot - S0) * 0x4000;
        CHECK_EQ(CALL(untyped_retype, from, OBJECT_UNTYPED, bytes, slot, 1), STATUS_OK);
        from = slot;
    }
    CHECK_EQ(CALL(untyped_retype, from, OBJECT_UNTYPED, PAGE_BYTES, slot, 1),
             STATUS_DERIVATION_DEPTH);
    CHECK_EQ(CALL(untyped_retype, from, OBJECT_TABLE, 8, slot, 1), STATUS_DERIVATION_DEPTH);
    CHECK_EQ(CALL(untyped_retype, from, OBJECT_ENDPOINT, 0, slot, 1), STATUS_OK);
}

TEST(a_large_table_dies_with_all_it_holds)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_TABLE, 256, S0, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, S0 + 1, 1), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, cap_ref(S0, 2), S0 + 1, RIGHTS_ALL), STATUS_OK);
    CHECK(harness_slot(S0 + 1)->child.n != NIL);
    const struct call destroy = {.number = CALL_cap_delete, .a = {S0}};
    CHECK_EQ(harness_call(&destroy), STATUS_AGAIN); /* empty slots are passed in steps */
    CHECK_EQ(harness_repeat(&destroy, 64), STATUS_OK);
    CHECK_EQ(harness_slot(S0 + 1)->child.n, NIL);
    CHECK_EQ(harness_slot(S0)->type, OBJECT_NONE);
}

TEST(move_keeps_the_place_in_the_tree)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, S0, 3), STATUS_OK);
    CHECK_EQ(CALL(cap_move, 100, S0 + 1), STATUS_OK);
    CHECK_EQ(harness_slot(S0 + 1)->type, OBJECT_NONE);
    CHECK_EQ(CALL(cap_copy, 101, 100, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(CALL(cap_move, 102, 100), STATUS_BUSY);
    CHECK_EQ(CALL(cap_move, 102, 101), STATUS_OK);
    CHECK_EQ(CALL(cap_move, 102, 100), STATUS_OCCUPIED_SLOT);
    CHECK_EQ(CALL(cap_move, 103, 101), STATUS_EMPTY_SLOT);
    CHECK_EQ(CALL(untyped_reset, SLOT_UNTYPED), STATUS_BUSY);
    const struct call revoke = {.number = CALL_cap_revoke, .a = {SLOT_UNTYPED}};
    CHECK_EQ(harness_repeat(&revoke, 100), STATUS_OK);
    CHECK_EQ(harness_slot(102)->type, OBJECT_NONE);
    CHECK_EQ(CALL(untyped_reset, SLOT_UNTYPED), STATUS_OK);
    CHECK_EQ(CALL(untyped_info, SLOT_UNTYPED), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[1], HARNESS_UNTYPED_BYTES);
}

/* Two tables can never hold each other's originals, so teardown always ends. */
TEST(tables_nest_upwards_only)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_TABLE, 16, S0, 2), STATUS_OK);
    CHECK_EQ(CALL(cap_move, cap_ref(S0, 1), S0), STATUS_DERIVATION_DEPTH);
    CHECK_EQ(CALL(cap_move, cap_ref(S0, 1), S0 + 1), STATUS_DERIVATION_DEPTH);
    CHECK_EQ(CALL(cap_move, cap_ref(S0, 1), SLOT_UNTYPED_2), STATUS_DERIVATION_DEPTH);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_TABLE, 16, cap_ref(S0, 1), 2), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED_2, OBJECT_UNTYPED, 0x10000, cap_ref(S0, 5), 1),
             STATUS_OK);
    CHECK_EQ(CALL(cap_move, 100, cap_ref(S0, 5)), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, 100, OBJECT_TABLE, 16, 101, 1), STATUS_OK);
    CHECK_EQ(CALL(cap_move, cap_ref(101, 3), 100), STATUS_BUSY);
    CHECK_EQ(CALL(cap_copy, cap_ref(101, 4), BOOT_SLOT_CONSOLE, RIGHTS_ALL), STATUS_OK);
    const struct call delete = {.number = CALL_cap_delete, .a = {101}};
    CHECK_EQ(harness_repeat(&delete, 100), STATUS_OK);
    CHECK_EQ(CALL(cap_move, cap_ref(S0, 9), 100), STATUS_OK);
    const struct call revoke = {.number = CALL_cap_revoke, .a = {SLOT_UNTYPED}};
    CHECK_EQ(harness_repeat(&revoke, 1000), STATUS_OK);
    CHECK_EQ(harness_slot(S0)->type, OBJECT_NONE);
    CHECK_EQ(harness_slot(SLOT_UNTYPED_2)->child.n, NIL);
}

/* A cell with its own table, aspace, threads and endpoints dies with its untyped memory. */
TEST(cell_teardown)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_UNTYPED, 0x80000, 30, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, 30, OBJECT_TABLE, 64, 31, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, 30, OBJECT_ASPACE, 0, 32, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, 30, OBJECT_THREAD, 0, 33, 4), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, 30, OBJECT_UNTYPED, 0x10000, cap_ref(31, 2), 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, 40, 1), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, cap_ref(31, 1), 40, RIGHTS_ALL, 5), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, cap_ref(31, 3), BOOT_SLOT_CONSOLE, RIGHTS_ALL), STATUS_OK);
    for (uint64_t n = 0; n < 4; n++) {
        CHECK_EQ(CALL(thread_configure, 33 + n, 31, 32, 40), STATUS_OK);
        CHECK_EQ(CALL(thread_set_priority, 33 + n, BOOT_SLOT_SCHED_CONTROL, 150 + n), STATUS_OK);
        CHECK_EQ(CALL(thread_resume, 33 + n), STATUS_OK);
        CHECK(harness_current() == harness_thread((uint32_t)(33 + n)));
        CHECK_EQ(CALL(ipc_call, 1, message_info(1, 2), 3, 4), BLOCKED);
    }
    const struct call revoke = {.number = CALL_cap_revoke, .a = {30}};
    CHECK_EQ(harness_repeat(&revoke, 1000), STATUS_OK);
    const struct call reset = {.number = CALL_untyped_reset, .a = {30}};
    CHECK_EQ(harness_repeat(&reset, 100), STATUS_OK);
    CHECK_EQ(harness_slot(40)->child.n, NIL);
    CHECK_EQ(endpoint_at(kernel_under_test, (endpoint_ix){harness_slot(40)->object})->head.n, NIL);
    CHECK_EQ(CALL(untyped_info, 30), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[1], 0x80000);
    CHECK_EQ(CALL(untyped_retype, 30, OBJECT_TABLE, 64, 31, 1), STATUS_OK);
}

TEST(ranges)
{
    harness_start();
    CHECK_EQ(CALL(range_derive, S0, BOOT_SLOT_IO_PORTS, 0x3f8, 8, RIGHTS_ALL),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, S0, BOOT_SLOT_IO_PORTS, 0x7ff, 2, RIGHTS_ALL),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, S0, BOOT_SLOT_IO_PORTS, 0x500, 0, RIGHTS_ALL),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, S0, BOOT_SLOT_IO_PORTS, ~0ull, 2, RIGHTS_ALL),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, S0, BOOT_SLOT_IO_PORTS, 0x500, 8, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(port_out, S0, 0x500, 1, 6), STATUS_NO_RIGHTS);
    CHECK_EQ(host_machine.port_value, 0);
    CHECK_EQ(CALL(port_out, BOOT_SLOT_IO_PORTS, 0x500, 1, 7), STATUS_OK);
    CHECK_EQ(CALL(port_in, S0, 0x507, 1), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[0], 7);
    CHECK_EQ(CALL(port_in, S0, 0x507, 2), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(port_in, S0, 0x500, 3), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(port_in, S0, 0x4ff, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(
        CALL(range_derive, S0 + 1, SLOT_DEVICE, HARNESS_DEVICE_BASE + 0x800, 0x1000, RIGHTS_ALL),
        STATUS_MISALIGNED);
    CHECK_EQ(
        CALL(range_derive, S0 + 1, SLOT_DEVICE, HARNESS_DEVICE_BASE + 0x1000, 0x1000, RIGHTS_ALL),
        STATUS_OK);
    CHECK_EQ(CALL(range_derive, S0 + 2, BOOT_SLOT_CONSOLE, 0, 1, RIGHTS_ALL), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(range_derive, S0 + 2, S0 + 3, 0, 1, RIGHTS_ALL), STATUS_EMPTY_SLOT);
    CHECK_EQ(CALL(range_derive, S0 + 1, S0, 0x500, 1, RIGHTS_ALL), STATUS_OCCUPIED_SLOT);
}

TEST(console_and_unknown_calls)
{
    harness_start();
    CHECK_EQ(CALL(console_write, BOOT_SLOT_CONSOLE, 5, 0x6f6c6c6568), STATUS_OK);
    CHECK_EQ(host_machine.console_bytes, 5);
    CHECK(memcmp(host_machine.console, "hello", 5) == 0);
    CHECK_EQ(CALL(console_write, BOOT_SLOT_CONSOLE, 65), STATUS_INVALID_ARGUMENT);
    for (uint32_t number = 0; number < 0x10000; number += 131) {
        if (number > CALL_console_write) {
            CHECK_EQ(harness_call(&(struct call){.number = number}), STATUS_INVALID_CALL);
        }
    }
    CHECK_EQ(harness_call(&(struct call){.number = 9}), STATUS_INVALID_CALL);
    CHECK_EQ(harness_call(&(struct call){.number = 199}), STATUS_INVALID_CALL);
    CHECK_EQ(harness_call(&(struct call){.number = 45}), STATUS_INVALID_CALL);
    CHECK_EQ(harness_call(&(struct call){.number = 75}), STATUS_INVALID_CALL);
}
