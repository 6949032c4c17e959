// SPDX-License-Identifier: MIT OR Apache-2.0
/* Taking frames out of a segment, and copies of segments. The CPU is played by looking at the
 * tables: a write is the fault that it would raise while the tables withhold it. */
#include <hallows/boot.h>

#include <string.h>

#include "kernel/arch/host/harness.h"
#include "kernel/object/object.h"
#include "tests/check.h"

#define SPACE 30
#define TABLES 31
#define SEGMENT 40 /* 40..47 */
#define RW (RIGHT_READ | RIGHT_WRITE)
#define AT 0x40000000ull
#define AT_COPY (AT + 8 * SEGMENT_BYTES)

static void start(void)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_PAGE_TABLE, 0, TABLES, 2), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SEGMENT, 0, SEGMENT, 8), STATUS_OK);
    for (uint32_t n = 0; n < 2; n++) {
        int64_t status = CALL(aspace_map_table, BOOT_SLOT_ASPACE, TABLES + n, AT);
        CHECK(status == STATUS_OK || status == STATUS_ALREADY_MAPPED);
    }
}

static uint64_t *entry_of(uint64_t address)
{
    struct kernel *k = kernel_under_test;
    page_table_ix table = aspace_directory(k, k->initial_aspace, address);

    return (uint64_t *)arch_memory(page_table_at(k, table)->paging.physical) +
           paging_index(address, 1);
}

/* The word that a read at the address gives. */
static uint64_t *word_at(uint64_t address)
{
    const uint64_t *table = arch_memory(arch_leaf_physical(*entry_of(address)));
    uint64_t leaf = table[paging_index(address, 0)];

    CHECK(arch_leaf_rights(leaf) != 0);
    return (uint64_t *)arch_memory(arch_leaf_physical(leaf)) + (address & 0xfff) / 8;
}

static bool writable(uint64_t address)
{
    const uint64_t *table = arch_memory(arch_leaf_physical(*entry_of(address)));

    return arch_entry_writable(*entry_of(address)) &&
           arch_entry_writable(table[paging_index(address, 0)]);
}

/* Faults until the write goes through; how often, or -1 when the thread was stopped. */
static int write_word(uint64_t address, uint64_t value)
{
    struct thread *t = harness_current();
    int faults = 0;

    while (!writable(address)) {
        const struct fault fault = {FAULT_VECTOR_PAGE, FAULT_ERROR_WRITE, address};
        kernel_fault(kernel_under_test, &fault);
        harness_check("write fault");
        if (t->state != THREAD_READY) {
            return -1;
        }
        faults++;
        CHECK(faults < 100);
    }
    *word_at(address) = value;
    return faults;
}

static int64_t derive(uint64_t parent, uint64_t child, uint64_t count, uint64_t address)
{
    return CALL(segment_derive, parent, child, count, address != 0 ? BOOT_SLOT_ASPACE : 0, address,
                0);
}

static uint64_t free_bytes(void)
{
    CHECK_EQ(CALL(untyped_info, SLOT_UNTYPED), STATUS_OK);
    return harness_current()->registers.word[1];
}

TEST(depopulated_frames_are_the_segments_and_come_back_zero)
{
    start();
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 4, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT, RW), STATUS_OK);
    CHECK_EQ(write_word(AT + 0x1008, 77), 0);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 0, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 511, 2), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 3, 2), STATUS_NOT_MAPPED);
    uint64_t flushes = host_machine.flushes;
    uint64_t before = free_bytes();
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 1, 3), STATUS_OK);
    CHECK(host_machine.flushes > flushes);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 1, 1), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 10, 3, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(free_bytes(), before);
    for (uint64_t page = 10; page < 13; page++) {
        CHECK_EQ(*word_at(AT + page * PAGE_BYTES + 8), 0);
    }
    CHECK_EQ(CALL(segment_populate, SEGMENT, 13, 1, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(free_bytes(), before - PAGE_BYTES);
    CHECK_EQ(CALL(cap_copy, 60, SEGMENT, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(segment_depopulate, 60, 0, 1), STATUS_NO_RIGHTS);
}

TEST(a_copy_shows_its_parent_until_it_is_written)
{
    start();
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 3, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 3, 1, SLOT_UNTYPED, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT, RW), STATUS_OK);
    CHECK_EQ(write_word(AT, 1), 0);
    CHECK_EQ(write_word(AT + PAGE_BYTES, 2), 0);
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, 1, AT_COPY), STATUS_OK);
    CHECK(!writable(AT));
    CHECK_EQ(*word_at(AT_COPY), 1);
    CHECK_EQ(arch_leaf_physical(*entry_of(AT_COPY)), arch_leaf_physical(*entry_of(AT)));
    CHECK(write_word(AT_COPY, 10) > 0);
    CHECK_EQ(write_word(AT_COPY + 8, 11), 0);
    CHECK_EQ(*word_at(AT), 1);
    CHECK_EQ(*word_at(AT_COPY), 10);
    CHECK_EQ(write_word(AT_COPY + PAGE_BYTES, 20), 1); /* the table is there: one page */
    CHECK_EQ(*word_at(AT + PAGE_BYTES), 2);
    CHECK_EQ(*word_at(AT_COPY + 2 * PAGE_BYTES), 0);
    /* Frozen: nothing changes the parent. */
    CHECK_EQ(CALL(segment_populate, SEGMENT, 8, 1, SLOT_UNTYPED, RW), STATUS_BUSY);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 0, 1), STATUS_BUSY);
    CHECK_EQ(CALL(segment_protect, SEGMENT, 0, 1, RIGHT_READ), STATUS_BUSY);
    CHECK_EQ(CALL(segment_device_address, SEGMENT + 1, 2, BOOT_SLOT_IOSPACE), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(segment_device_address, SEGMENT + 1, 0, BOOT_SLOT_IOSPACE), STATUS_OK);
    /* A page that it shares is not its to widen; narrowing keeps writes trapping. */
    CHECK_EQ(CALL(segment_protect, SEGMENT + 1, 3, 1, RW), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(segment_protect, SEGMENT + 1, 2, 1, RW), STATUS_OK);
    CHECK(!writable(AT_COPY + 2 * PAGE_BYTES));
    CHECK_EQ(write_word(AT_COPY + 2 * PAGE_BYTES, 30), 1);
    CHECK_EQ(*word_at(AT + 2 * PAGE_BYTES), 0);
    /* The last copy gone, the parent is written to again. */
    CHECK_EQ(CALL(cap_delete, SEGMENT + 1), STATUS_OK);
    CHECK(write_word(AT, 5) > 0);
    CHECK_EQ(*word_at(AT), 5);
    CHECK_EQ(write_word(AT + 3 * PAGE_BYTES, 1), -1); /* read-only stays read-only */
}

TEST(a_write_to_a_frozen_segment_is_a_fault)
{
    start();
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 1, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT, RW), STATUS_OK);
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, 1, 0), STATUS_OK);
    CHECK_EQ(write_word(AT, 5), -1);
}

TEST(copies_that_are_refused)
{
    start();
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 1, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, 0, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, DERIVE_COUNT_MAX + 1, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(derive(SEGMENT, SEGMENT, 1, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(derive(SEGMENT + 1, SEGMENT, 1, 0), STATUS_ALREADY_MAPPED); /* it has pages */
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, 1, AT_COPY + 4096), STATUS_MISALIGNED);
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, 1, USER_ADDRESS_END), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, 1, 0x7000000000), STATUS_MISSING_TABLE);
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, 2, AT + 511ull * SEGMENT_BYTES), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_derive, SEGMENT, SEGMENT + 1, 1, 0, 0, 2), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(derive(~0ull, SEGMENT + 1, 1, 0), STATUS_INVALID_SLOT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED_2, OBJECT_SEGMENT, 0, 60, 1), STATUS_OK);
    CHECK_EQ(derive(SEGMENT, 60, 1, 0), STATUS_INVALID_ARGUMENT); /* of other memory */
    CHECK_EQ(CALL(cap_copy, 61, SEGMENT, RIGHTS_ALL & ~(uint64_t)RIGHT_MANAGE), STATUS_OK);
    CHECK_EQ(derive(61, SEGMENT + 1, 1, 0), STATUS_NO_RIGHTS);
    /* The same one twice. */
    CHECK_EQ(CALL(cap_copy, 62, SEGMENT + 1, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, 63, SEGMENT + 1, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, 64, SEGMENT, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, 65, SEGMENT, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(derive(64, 62, 2, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(segment_revert, SEGMENT + 1), STATUS_NOT_FOUND);
}

TEST(every_place_of_a_row_of_copies_is_free)
{
    start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SEGMENT, 0, 70, 5), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, 74, BOOT_SLOT_ASPACE, AT_COPY + 2 * SEGMENT_BYTES, RW),
             STATUS_OK);
    CHECK_EQ(derive(70, 72, 2, AT_COPY + SEGMENT_BYTES), STATUS_ALREADY_MAPPED);
    CHECK_EQ(derive(70, 72, 2, AT_COPY), STATUS_OK);
}

TEST(many_attachments_are_frozen_in_steps)
{
    start();
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 1, SLOT_UNTYPED, RW), STATUS_OK);
    for (uint64_t n = 0; n < 20; n++) {
        CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT + n * SEGMENT_BYTES, RW),
                 STATUS_OK);
    }
    const struct call call = {.number = CALL_segment_derive, .a = {SEGMENT, SEGMENT + 1, 1}};
    CHECK_EQ(harness_call(&call), STATUS_AGAIN);
    CHECK_EQ(harness_repeat(&call, 4), STATUS_OK);
    for (uint64_t n = 0; n < 20; n++) {
        CHECK(!writable(AT + n * SEGMENT_BYTES));
    }
    CHECK_EQ(CALL(segment_derive, SEGMENT, SEGMENT + 2, 1, 0, 0, DERIVE_TAKE), STATUS_BUSY);
    CHECK_EQ(CALL(cap_delete, SEGMENT + 1), STATUS_OK);
    CHECK(write_word(AT, 3) > 0);
    for (uint64_t n = 0; n < 20; n++) {
        CHECK(write_word(AT + n * SEGMENT_BYTES, 3) >= 0);
        CHECK_EQ(*word_at(AT + n * SEGMENT_BYTES), 3);
    }
}

TEST(snapshot_and_rollback_in_place)
{
    start();
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 16, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT, RW), STATUS_OK);
    CHECK_EQ(write_word(AT, 1), 0);
    CHECK_EQ(CALL(segment_derive, SEGMENT, SEGMENT + 1, 1, 0, 0, DERIVE_TAKE), STATUS_OK);
    CHECK_EQ(CALL(segment_detach, SEGMENT, BOOT_SLOT_ASPACE, AT), STATUS_NOT_MAPPED);
    uint64_t left = 0;
    for (uint64_t round = 0; round < 5; round++) {
        for (uint64_t page = 0; page < 16; page++) {
            CHECK(write_word(AT + page * PAGE_BYTES, 100 + round) > 0);
        }
        CHECK_EQ(CALL(segment_revert, SEGMENT + 1), STATUS_OK);
        CHECK_EQ(*word_at(AT), 1);
        CHECK_EQ(*word_at(AT + 15 * PAGE_BYTES), 0);
        /* The frames of the first round serve all the others. */
        CHECK(round == 0 || free_bytes() == left);
        left = free_bytes();
    }
    CHECK(write_word(AT, 6) > 0);
    CHECK_EQ(CALL(segment_derive, SEGMENT + 1, SEGMENT + 2, 1, 0, 0, DERIVE_TAKE), STATUS_OK);
    CHECK_EQ(CALL(segment_revert, SEGMENT + 1), STATUS_BUSY);
    CHECK_EQ(*word_at(AT), 6);
    CHECK(write_word(AT, 7) > 0);
    CHECK_EQ(CALL(segment_revert, SEGMENT + 2), STATUS_OK);
    CHECK_EQ(*word_at(AT), 6);
}

TEST(the_middle_of_a_chain_dies)
{
    start();
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 2, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT, RW), STATUS_OK);
    CHECK_EQ(write_word(AT, 1), 0);
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, 1, AT_COPY), STATUS_OK);
    CHECK(write_word(AT_COPY, 2) > 0);
    for (uint64_t n = 2; n < 8; n++) {
        CHECK_EQ(derive(SEGMENT + 1, SEGMENT + n, 1, AT_COPY + n * SEGMENT_BYTES), STATUS_OK);
    }
    CHECK_EQ(CALL(cap_delete, SEGMENT + 1), STATUS_OK);
    CHECK_EQ(*word_at(AT_COPY + 2 * SEGMENT_BYTES), 2);
    CHECK(write_word(AT_COPY + 2 * SEGMENT_BYTES, 3) > 0);
    CHECK_EQ(*word_at(AT_COPY + 3 * SEGMENT_BYTES), 2);
    CHECK_EQ(write_word(AT, 9), -1); /* copies of the first live on */
    struct kernel *k = kernel_under_test;
    const struct segment *s = segment_at(k, (segment_ix){harness_slot(SEGMENT + 2)->object});
    CHECK_EQ(s->parent.n, harness_slot(SEGMENT)->object);
}

TEST(everything_comes_back_with_the_untyped_memory)
{
    start();
    uint64_t all = free_bytes();
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 16, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_attach, SEGMENT, BOOT_SLOT_ASPACE, AT, RW), STATUS_OK);
    CHECK_EQ(derive(SEGMENT, SEGMENT + 1, 1, AT_COPY), STATUS_OK);
    CHECK(write_word(AT_COPY, 2) > 0);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT + 1, 0, 8), STATUS_OK);
    CHECK_EQ(derive(SEGMENT + 1, SEGMENT + 2, 1, AT_COPY + SEGMENT_BYTES), STATUS_OK);
    CHECK(write_word(AT_COPY + SEGMENT_BYTES + 9 * PAGE_BYTES, 2) > 0);
    CHECK(free_bytes() < all);
    const struct call revoke = {.number = CALL_cap_revoke, .a = {SLOT_UNTYPED}};
    CHECK_EQ(harness_repeat(&revoke, 1000), STATUS_OK);
    CHECK_EQ(CALL(untyped_reset, SLOT_UNTYPED), STATUS_OK);
    CHECK_EQ(free_bytes(), HARNESS_UNTYPED_BYTES);
}
