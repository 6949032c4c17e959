// SPDX-License-Identifier: MIT OR Apache-2.0
/* Frames taken out of segments, and copy-on-write copies of segments. */
#include "tests/kernel/harness.h"

#define RW (RIGHT_READ | RIGHT_WRITE)
#define PAGES 8u

static void store(uint64_t address)
{
    *(volatile uint64_t *)address = 1;
}

static void load(uint64_t address)
{
    (void)*(volatile uint64_t *)address;
}

/* Whether entry(address) takes a fault that reaches its handler. */
static bool faults(void (*entry)(uint64_t), uint64_t address)
{
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0), reply = object_new(OBJECT_REPLY, 0);
    struct helper helper = helper_start_in(entry, address, PRIORITY_HIGH, endpoint, 0);
    struct message m = {.info = MESSAGE_DEADLINE};
    m.words[7] = DEADLINE_NOW;
    status_t status = ipc_recv(endpoint, reply, &m);
    (void)thread_suspend(helper.thread);
    return status == STATUS_OK;
}

static volatile uint64_t *word_of(uint64_t address, uint32_t page)
{
    return (volatile uint64_t *)(address + page * PAGE_BYTES);
}

/* PAGES pages, attached at *address, page i starting with i + 1. */
static cap_slot_t filled(uint64_t *address)
{
    cap_slot_t segment = segment_new(PAGES, RW);
    *address = test_address();
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, *address, RW));
    for (uint32_t i = 0; i < PAGES; i++)
        *word_of(*address, i) = i + 1;
    return segment;
}

static status_t derive(cap_slot_t parent, cap_slot_t child, uint32_t flags)
{
    status_t status;
    do
        status = segment_derive((struct derive_request){parent, child, 1, 0, 0, flags});
    while (status == STATUS_AGAIN);
    return status;
}

KERNEL_TEST(a_page_taken_out_is_gone_and_comes_back_zero)
{
    uint64_t address, before[2], after[2];
    cap_slot_t segment = filled(&address);
    EXPECT_OK(segment_depopulate(segment, 2, 2));
    EXPECT(faults(load, address + 2 * PAGE_BYTES));
    EXPECT_EQ(*word_of(address, 4), 5);
    EXPECT_EQ(segment_depopulate(segment, 1, 2), STATUS_NOT_MAPPED);
    EXPECT_EQ(*word_of(address, 1), 2);
    EXPECT_OK(untyped_info(test_untyped, before));
    status_t status;
    do
        status = segment_populate(segment, 100, 2, test_untyped, RW);
    while (status == STATUS_AGAIN);
    EXPECT_OK(status);
    EXPECT_OK(untyped_info(test_untyped, after));
    EXPECT_EQ(after[1], before[1]);
    EXPECT_EQ(*word_of(address, 100), 0);
    EXPECT_EQ(*word_of(address, 101), 0);
}

KERNEL_TEST(a_copy_is_written_without_its_parent_seeing_it)
{
    uint64_t address, copy = test_address();
    cap_slot_t parent = filled(&address), child = object_new(OBJECT_SEGMENT, 0);
    EXPECT_OK(derive(parent, child, 0));
    EXPECT_OK(attach(child, BOOT_SLOT_ASPACE, copy, RW));
    for (uint32_t i = 0; i < PAGES; i++)
        EXPECT_EQ(*word_of(copy, i), i + 1);
    for (uint32_t i = 0; i < PAGES; i += 2)
        *word_of(copy, i) = 100 + i;
    for (uint32_t i = 0; i < PAGES; i++) {
        EXPECT_EQ(*word_of(address, i), i + 1);
        EXPECT_EQ(*word_of(copy, i), i % 2 == 0 ? 100 + i : i + 1);
        EXPECT_EQ(word_of(copy, i)[511], 0);
    }
    EXPECT(faults(store, address)); /* frozen */
    EXPECT(faults(load, copy + PAGES * PAGE_BYTES));
    EXPECT_OK(destroy(child));
    *word_of(address, 0) = 9;
    EXPECT_EQ(*word_of(address, 0), 9);
}

KERNEL_TEST(snapshot_in_place_and_rollback)
{
    uint64_t address;
    cap_slot_t parent = filled(&address), child = object_new(OBJECT_SEGMENT, 0);
    EXPECT_OK(derive(parent, child, DERIVE_TAKE));
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < PAGES; i++)
            *word_of(address, i) += 1000;
        EXPECT_EQ(*word_of(address, 3), 1004);
        EXPECT_OK(segment_revert(child));
        for (uint32_t i = 0; i < PAGES; i++)
            EXPECT_EQ(*word_of(address, i), i + 1);
    }
    /* The snapshot is discarded: what runs keeps what it wrote. */
    *word_of(address, 1) = 77;
    EXPECT_OK(destroy(parent));
    EXPECT_EQ(*word_of(address, 1), 77);
    EXPECT_EQ(*word_of(address, 2), 3);
    *word_of(address, 2) = 78;
    EXPECT_EQ(*word_of(address, 2), 78);
    EXPECT_EQ(segment_revert(child), STATUS_NOT_FOUND);
}

KERNEL_TEST(a_chain_of_copies)
{
    enum { COPIES = 12 };
    uint64_t address, at[COPIES];
    cap_slot_t last = filled(&address), made[COPIES];
    for (uint32_t i = 0; i < COPIES; i++) {
        made[i] = object_new(OBJECT_SEGMENT, 0);
        at[i] = test_address();
        EXPECT_OK(derive(last, made[i], 0));
        EXPECT_OK(attach(made[i], BOOT_SLOT_ASPACE, at[i], RW));
        if (i % 3 != 2)
            *word_of(at[i], i % PAGES) = 500 + i;
        last = made[i];
    }
    for (uint32_t i = 1; i + 1 < COPIES; i += 2)
        EXPECT_OK(destroy(made[i]));
    EXPECT_EQ(*word_of(at[COPIES - 1], 0), 500);
    EXPECT_EQ(*word_of(at[COPIES - 1], 1), 509);
    EXPECT_EQ(*word_of(at[COPIES - 1], 7), 507);
    EXPECT_EQ(*word_of(at[6], 1), 501);
    EXPECT_EQ(*word_of(address, 0), 1);
    *word_of(at[COPIES - 1], 0) = 1;
    EXPECT_EQ(*word_of(at[6], 0), 500);
}

KERNEL_TEST(two_spaces_share_a_copy)
{
    cap_slot_t other = aspace_clone();
    uint64_t address, copy = test_address();
    cap_slot_t parent = filled(&address), child = object_new(OBJECT_SEGMENT, 0);
    EXPECT_OK(derive(parent, child, 0));
    EXPECT_OK(attach(child, BOOT_SLOT_ASPACE, copy, RW));
    EXPECT_OK(attach(child, other, copy, RW));
    EXPECT_EQ(*word_of(copy, 2), 3);
    (void)helper_start_in(store, copy + 2 * PAGE_BYTES, PRIORITY_HIGH, 0, other);
    EXPECT_EQ(*word_of(copy, 2), 1);
    EXPECT_EQ(*word_of(address, 2), 3);
    EXPECT_OK(segment_detach(child, other, copy));
    EXPECT_OK(segment_revert(child));
    EXPECT_EQ(*word_of(copy, 2), 3);
}

KERNEL_TEST(memory_for_copies_runs_out)
{
    cap_slot_t small = slot_new(), pair = next_slots(2);
    EXPECT_OK(
        retype(test_untyped, (struct retype_request){OBJECT_UNTYPED, 5 * PAGE_BYTES, small, 1}));
    EXPECT_OK(retype(small, (struct retype_request){OBJECT_SEGMENT, 0, pair, 2}));
    status_t status;
    do
        status = segment_populate(pair, 0, 1, small, RW);
    while (status == STATUS_AGAIN);
    EXPECT_OK(status);
    uint64_t copy = test_address();
    EXPECT_OK(derive(pair, pair + 1, 0));
    EXPECT_OK(attach(pair + 1, BOOT_SLOT_ASPACE, copy, RW));
    EXPECT(!faults(store, copy)); /* 1 page of objects, 2 tables, 1 frame, 1 copy */
    EXPECT_OK(segment_depopulate(pair + 1, 0, 1));
    do
        status = segment_populate(pair + 1, 0, 2, small, RW);
    while (status == STATUS_AGAIN);
    EXPECT_EQ(status, STATUS_NO_MEMORY);
    EXPECT_OK(segment_revert(pair + 1));
    EXPECT_EQ(*word_of(copy, 0), 0);
    EXPECT_OK(destroy(pair));
    EXPECT_OK(revoke(small));
    EXPECT_OK(reset(small));
}
