// SPDX-License-Identifier: MIT OR Apache-2.0
#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "kernel/object/object.h"
#include "tests/check.h"

#define TABLES 31
#define SEGMENT 40
#define RW (RIGHT_READ | RIGHT_WRITE)
#define AT 0x8000000000ull
#define GIB 0x40000000ull

static void start(void)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_PAGE_TABLE, 0, TABLES, 3), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SEGMENT, 0, SEGMENT, 4), STATUS_OK);
    CHECK_EQ(CALL(aspace_map_table, BOOT_SLOT_ASPACE, TABLES, AT), STATUS_OK);
}

static uint64_t entry_of(uint32_t table, uint32_t n)
{
    struct kernel *k = kernel_under_test;
    page_table_ix i = {harness_slot(table)->object};

    return ((const uint64_t *)arch_memory(page_table_at(k, i)->paging.physical))[n];
}

TEST(large_pages_are_checked)
{
    start();
#define LARGE(...) CALL(segment_populate_large, __VA_ARGS__)
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, 0, 0, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, 0, 3, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, 4096, 1, RW), STATUS_MISALIGNED);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, SEGMENT_BYTES, 2, RW), STATUS_MISALIGNED);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, 2 * GIB, 1, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, ~0ull, 1, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, 0, 1, RW | RIGHT_EXECUTE), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, 0, 1, RIGHT_READ | RIGHT_EXECUTE),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, 0, 1, RW | 1u << 10), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(LARGE(SEGMENT, SLOT_UNTYPED, 0, 2, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(LARGE(SEGMENT, SLOT_UNTYPED_2, 0, 1, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(LARGE(SEGMENT, SLOT_UNTYPED, 0, 1, RW), STATUS_MISALIGNED);
    CHECK_EQ(LARGE(SEGMENT, BOOT_SLOT_TABLE, 0, 1, RW), STATUS_WRONG_TYPE);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, SEGMENT_BYTES, 1, RW | PAGE_WRITE_COMBINING),
             STATUS_OK);
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, 0, 1, RW), STATUS_ALREADY_MAPPED);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 1, SLOT_UNTYPED, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 0, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_protect, SEGMENT, 0, 1, RIGHT_READ), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_derive, SEGMENT, SEGMENT + 1, 1, 0, 0, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_device_address, SEGMENT, 0, BOOT_SLOT_IOSPACE), STATUS_NOT_MAPPED);
}

TEST(large_pages_are_attached)
{
    start();
    CHECK_EQ(LARGE(SEGMENT, SLOT_DEVICE_LARGE, SEGMENT_BYTES, 1, RW | PAGE_UNCACHED), STATUS_OK);
    CHECK_EQ(LARGE(SEGMENT + 1, SLOT_DEVICE_LARGE, GIB, 2, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT, RW), STATUS_MISSING_TABLE);
    CHECK_EQ(CALL(segment_attach, SEGMENT + 1, BOOT_SLOT_ASPACE, AT + SEGMENT_BYTES, RW),
             STATUS_MISALIGNED);
    CHECK_EQ(CALL(segment_attach, SEGMENT + 1, BOOT_SLOT_ASPACE, AT, RIGHT_READ), STATUS_OK);
    CHECK(arch_entry_large(entry_of(TABLES, 0)));
    CHECK_EQ(arch_leaf_physical(entry_of(TABLES, 0)), HARNESS_DEVICE_LARGE_BASE + GIB);
    CHECK_EQ(arch_leaf_rights(entry_of(TABLES, 0)), RIGHT_READ);
    /* There is no table below it, and none may come. */
    CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT, RW), STATUS_MISSING_TABLE);
    CHECK_EQ(CALL(aspace_map_table, BOOT_SLOT_ASPACE, TABLES + 1, AT), STATUS_ALREADY_MAPPED);
    CHECK_EQ(CALL(aspace_map_table, BOOT_SLOT_ASPACE, TABLES + 1, AT + GIB), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, SEGMENT + 1, BOOT_SLOT_ASPACE, AT + GIB, RW),
             STATUS_ALREADY_MAPPED);
    CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT + GIB, RW), STATUS_OK);
    CHECK_EQ(arch_leaf_rights(entry_of(TABLES + 1, 0)), RW | PAGE_UNCACHED);
    CHECK_EQ(CALL(segment_detach, SEGMENT + 1, BOOT_SLOT_ASPACE, AT), STATUS_OK);
    CHECK_EQ(CALL(segment_detach, SEGMENT + 1, BOOT_SLOT_ASPACE, AT), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(segment_attach, SEGMENT + 1, BOOT_SLOT_ASPACE, AT + 2 * GIB, RW), STATUS_OK);
    /* A level-2 table dies with both kinds of entries in it. */
    const struct call delete = {.number = CALL_cap_delete, .a = {TABLES}};
    CHECK_EQ(harness_repeat(&delete, 10), STATUS_OK);
    CHECK_EQ(CALL(segment_detach, SEGMENT + 1, BOOT_SLOT_ASPACE, AT + 2 * GIB), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(cap_delete, SEGMENT + 1), STATUS_OK);
}
