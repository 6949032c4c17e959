// SPDX-License-Identifier: MIT OR Apache-2.0
#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "kernel/object/object.h"
#include "tests/check.h"

#define SPACE 30
#define TABLES 31
#define SEGMENT 40
#define RW (RIGHT_READ | RIGHT_WRITE)
#define RX (RIGHT_READ | RIGHT_EXECUTE)
#define AT 0x40000000ull

static void space_start(void)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ASPACE, 0, SPACE, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_PAGE_TABLE, 0, TABLES, 4), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SEGMENT, 0, SEGMENT, 2), STATUS_OK);
}

static void tables_map(void)
{
    CHECK_EQ(CALL(aspace_map_table, SPACE, TABLES, AT), STATUS_OK);
    CHECK_EQ(CALL(aspace_map_table, SPACE, TABLES + 1, AT), STATUS_OK);
}

static uint64_t leaf(uint32_t slot, uint32_t page)
{
    struct kernel *k = kernel_under_test;
    const struct segment *s = segment_at(k, (segment_ix){harness_slot(slot)->object});

    return ((const uint64_t *)arch_memory(s->physical))[page];
}

TEST(page_tables)
{
    space_start();
    CHECK_EQ(CALL(aspace_map_table, SPACE, TABLES, USER_ADDRESS_END), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES), STATUS_NOT_MAPPED);
    tables_map();
    CHECK_EQ(CALL(aspace_map_table, SPACE, TABLES, 0), STATUS_BUSY);
    CHECK_EQ(CALL(aspace_map_table, SPACE, TABLES + 2, AT + 0x200000), STATUS_ALREADY_MAPPED);
    CHECK_EQ(CALL(aspace_map_table, SPACE, TABLES + 2, 0), STATUS_OK);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES), STATUS_BUSY);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES + 1), STATUS_OK);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES + 2), STATUS_OK);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES), STATUS_OK);
}

TEST(attach_and_detach)
{
    space_start();
    CHECK_EQ(CALL(segment_attach, SEGMENT, SPACE, AT, RW), STATUS_MISSING_TABLE);
    tables_map();
    CHECK_EQ(CALL(segment_attach, SEGMENT, SPACE, AT + 0x1000, RW), STATUS_MISALIGNED);
    CHECK_EQ(CALL(segment_attach, SEGMENT, SPACE, 1ull << 60, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_attach, SEGMENT, SPACE, AT, RIGHT_WRITE), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_attach, SEGMENT, SPACE, AT, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, SEGMENT + 1, SPACE, AT, RW), STATUS_ALREADY_MAPPED);
    CHECK_EQ(CALL(segment_attach, SEGMENT, SPACE, AT + SEGMENT_BYTES, RW), STATUS_OK);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES + 1), STATUS_BUSY);
    CHECK_EQ(CALL(segment_detach, SEGMENT + 1, SPACE, AT), STATUS_NOT_MAPPED);
    uint64_t flushes = host_machine.flushes;
    CHECK_EQ(CALL(segment_detach, SEGMENT, SPACE, AT), STATUS_OK);
    CHECK(host_machine.flushes > flushes);
    CHECK_EQ(CALL(segment_detach, SEGMENT, SPACE, AT), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(cap_copy, 50, SEGMENT, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, 50, SPACE, AT, RW), STATUS_OK);
    page_table_ix table = {harness_slot(TABLES + 1)->object};
    const uint64_t *entries = arch_memory(page_table_at(kernel_under_test, table)->paging.physical);
    CHECK_EQ(arch_attach_rights(entries[paging_index(AT, 1)]), RIGHT_READ);
}

TEST(deleting_a_segment_detaches_it_everywhere)
{
    space_start();
    tables_map();
    for (uint64_t n = 0; n < 20; n++) {
        CHECK_EQ(CALL(segment_attach, SEGMENT, SPACE, AT + n * SEGMENT_BYTES, RW), STATUS_OK);
    }
    const struct call delete = {.number = CALL_cap_delete, .a = {SEGMENT}};
    CHECK_EQ(harness_repeat(&delete, 10), STATUS_OK);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES + 1), STATUS_OK);
}

TEST(deleting_an_aspace_detaches_all)
{
    space_start();
    tables_map();
    for (uint64_t n = 0; n < 20; n++) {
        CHECK_EQ(CALL(segment_attach, SEGMENT + n % 2, SPACE, AT + n * SEGMENT_BYTES, RW),
                 STATUS_OK);
    }
    const struct call delete = {.number = CALL_cap_delete, .a = {SPACE}};
    CHECK_EQ(harness_repeat(&delete, 10), STATUS_OK);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES + 1), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(cap_delete, SEGMENT), STATUS_OK);
}

TEST(deleting_a_middle_table_takes_those_below_out)
{
    space_start();
    tables_map();
    CHECK_EQ(CALL(segment_attach, SEGMENT, SPACE, AT, RW), STATUS_OK);
    const struct call delete = {.number = CALL_cap_delete, .a = {TABLES}};
    CHECK_EQ(harness_repeat(&delete, 10), STATUS_OK);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES + 1), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(segment_attach, SEGMENT, SPACE, AT, RW), STATUS_MISSING_TABLE);
}

TEST(populate)
{
    space_start();
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 0, SLOT_UNTYPED, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 17, SLOT_UNTYPED, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 511, 2, SLOT_UNTYPED, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate, SEGMENT, ~0ull, 2, SLOT_UNTYPED, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 1, SLOT_UNTYPED, RW | RX), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 1, SLOT_UNTYPED, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 1, SLOT_UNTYPED_2, RW), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 1, BOOT_SLOT_TABLE, RW), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 4, 4, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 7, 2, SLOT_UNTYPED, RW), STATUS_ALREADY_MAPPED);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 8, 1, SLOT_UNTYPED, RX | PAGE_UNCACHED), STATUS_OK);
    CHECK_EQ(arch_leaf_rights(leaf(SEGMENT, 8)), RX | PAGE_UNCACHED);
    CHECK_EQ(arch_leaf_rights(leaf(SEGMENT, 9)), 0);
    CHECK_EQ(CALL(segment_protect, SEGMENT, 4, 4, RX), STATUS_OK);
    CHECK_EQ(CALL(segment_protect, SEGMENT, 4, 4, RW | RX), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_protect, SEGMENT, 8, 2, RIGHT_READ), STATUS_NOT_MAPPED);
    CHECK_EQ(arch_leaf_rights(leaf(SEGMENT, 4)), RX);
    CHECK_EQ(CALL(segment_device_address, SEGMENT, 4, BOOT_SLOT_IOSPACE), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[0], arch_leaf_physical(leaf(SEGMENT, 4)));
    CHECK_EQ(CALL(segment_device_address, SEGMENT, 9, BOOT_SLOT_IOSPACE), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(cap_copy, 50, SEGMENT, RIGHTS_ALL & ~(uint64_t)RIGHT_DMA), STATUS_OK);
    CHECK_EQ(CALL(segment_device_address, 50, 4, BOOT_SLOT_IOSPACE), STATUS_NO_RIGHTS);
}

TEST(device_pages)
{
    space_start();
    harness_current()->registers.word[4] = RW | PAGE_UNCACHED;
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, 0, 2, SLOT_DEVICE, 0x1000), STATUS_OK);
    CHECK_EQ(arch_leaf_physical(leaf(SEGMENT, 1)), HARNESS_DEVICE_BASE + 0x2000);
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, 1, 2, SLOT_DEVICE, 0), STATUS_ALREADY_MAPPED);
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, 4, 2, SLOT_DEVICE, 0xf000),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, 4, 2, SLOT_DEVICE, 0x800), STATUS_MISALIGNED);
    CHECK_EQ(CALL(segment_device_address, SEGMENT, 0, BOOT_SLOT_IOSPACE), STATUS_NOT_MAPPED);
    harness_current()->registers.word[4] = RX;
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, 4, 1, SLOT_DEVICE, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, 50, SLOT_DEVICE, HARNESS_DEVICE_BASE, 0x1000, RIGHT_READ),
             STATUS_OK);
    harness_current()->registers.word[4] = RW;
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, 4, 1, 50, 0), STATUS_NO_RIGHTS);
    harness_current()->registers.word[4] = RIGHT_READ;
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, 4, 1, 50, 0), STATUS_OK);
    CHECK_EQ(CALL(segment_protect, SEGMENT, 4, 1, RW), STATUS_NO_RIGHTS);
}

TEST(the_last_page_and_no_further)
{
    space_start();
    harness_current()->registers.word[4] = RW;
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, SEGMENT_PAGES - 2, 2, SLOT_DEVICE, 0),
             STATUS_OK);
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, 4, 2, SLOT_DEVICE, 0), STATUS_OK);
    CHECK_EQ(leaf(SEGMENT, 6), 0);
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, 8, 16, SLOT_DEVICE, 0), STATUS_OK);
    CHECK_EQ(CALL(segment_populate_device, SEGMENT, SEGMENT_PAGES - 1, 2, SLOT_DEVICE, 0),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate, SEGMENT + 1, SEGMENT_PAGES - 2, 2, SLOT_UNTYPED, RW),
             STATUS_OK);
    CHECK_EQ(CALL(segment_populate, SEGMENT + 1, SEGMENT_PAGES - 1, 2, SLOT_UNTYPED, RW),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_populate, SEGMENT + 1, 4, 2, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(leaf(SEGMENT + 1, 6), 0);
    CHECK_EQ(CALL(segment_protect, SEGMENT + 1, SEGMENT_PAGES - 2, 2, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT + 1, SEGMENT_PAGES - 1, 1), STATUS_OK);
    CHECK_EQ(leaf(SEGMENT + 1, SEGMENT_PAGES - 1), 0);
    CHECK(leaf(SEGMENT + 1, SEGMENT_PAGES - 2) != 0);
    CHECK_EQ(CALL(segment_device_address, SEGMENT + 1, SEGMENT_PAGES, BOOT_SLOT_IOSPACE),
             STATUS_INVALID_ARGUMENT);
    /* One dirty frame that is spare is clean again in the same call. */
    const struct call populate = {.number = CALL_segment_populate,
                                  .a = {SEGMENT + 1, 20, 1, SLOT_UNTYPED, RW}};
    CHECK_EQ(harness_call(&populate), STATUS_OK);
}

TEST(boot_module_pages_stay_read_only)
{
    harness_start();
    struct kernel *k = kernel_under_test;
    start_mark(k, HARNESS_UNTYPED_BASE + HARNESS_UNTYPED_BYTES + 0x80000, 0x1000, PAGE_BUNDLE);
    CHECK_EQ(
        start_bundle_page(k, 0x10000000, HARNESS_UNTYPED_BASE + HARNESS_UNTYPED_BYTES + 0x80000),
        STATUS_OK);
    harness_check("bundle");
    CHECK_EQ(
        start_bundle_page(k, 0x10000000, HARNESS_UNTYPED_BASE + HARNESS_UNTYPED_BYTES + 0x80000),
        STATUS_ALREADY_MAPPED);
}
