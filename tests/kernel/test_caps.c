// SPDX-License-Identifier: MIT OR Apache-2.0
/* Capabilities: copy, mint, move, delete, revoke, references into other tables; untyped memory. */
#include "tests/kernel/harness.h"

static uint64_t rights_of(cap_slot_t slot)
{
    uint64_t values[2] = {0, 0};
    EXPECT_OK(cap_identify(slot, values));
    return values[0] >> 8 & 0xff;
}

static uint64_t badge_of(cap_slot_t slot)
{
    uint64_t values[2] = {0, 0};
    EXPECT_OK(cap_identify(slot, values));
    return values[1];
}

KERNEL_TEST(boot_info_makes_sense)
{
    EXPECT(boot->untyped_count >= 1 && boot->untyped_count <= BOOT_UNTYPED_MAX);
    EXPECT(boot->device_memory_count >= 1);
    EXPECT(boot->first_free_slot > BOOT_SLOT_FIRST_DYNAMIC);
    EXPECT(boot->table_slots >= 4096);
    EXPECT(boot->time.tsc_hz > 1000000);
    EXPECT_EQ(boot->bundle_address % PAGE_BYTES, 0);
    EXPECT_EQ(*(const uint64_t *)boot->bundle_address, (int64_t)BUNDLE_MAGIC);
    EXPECT_EQ(boot->free_address % SEGMENT_BYTES, 0);
    EXPECT(boot->ecam_base != 0);
    EXPECT(boot->acpi_s5_sleep_type <= 7);
    EXPECT(boot->cpu_count >= 1);
}

KERNEL_TEST(boot_slots_hold_what_they_should)
{
    EXPECT_EQ(slot_type(BOOT_SLOT_TABLE), OBJECT_TABLE);
    EXPECT_EQ(slot_type(BOOT_SLOT_ASPACE), OBJECT_ASPACE);
    EXPECT_EQ(slot_type(BOOT_SLOT_THREAD), OBJECT_THREAD);
    EXPECT_EQ(slot_type(BOOT_SLOT_IRQ_CONTROL), OBJECT_IRQ_CONTROL);
    EXPECT_EQ(slot_type(BOOT_SLOT_IO_PORTS), OBJECT_IO_PORTS);
    EXPECT_EQ(slot_type(BOOT_SLOT_SCHED_CONTROL), OBJECT_SCHED_CONTROL);
    bool iommu = (boot->flags & BOOT_FLAG_IOMMU) != 0;
    EXPECT_EQ(slot_type(BOOT_SLOT_IOSPACE), iommu ? OBJECT_NONE : OBJECT_IOSPACE);
    EXPECT_EQ(slot_type(BOOT_SLOT_PCI_FUNCTIONS), iommu ? OBJECT_PCI_FUNCTIONS : OBJECT_NONE);
    EXPECT_EQ(slot_type(BOOT_SLOT_CONSOLE), OBJECT_CONSOLE);
    for (uint32_t i = 0; i < boot->untyped_count; i++)
        EXPECT_EQ(slot_type(boot->untyped[i].slot), OBJECT_UNTYPED);
    for (uint32_t i = 0; i < boot->device_memory_count; i++)
        EXPECT_EQ(slot_type(boot->device_memory[i].slot), OBJECT_DEVICE_MEMORY);
}

KERNEL_TEST(untyped_memory_avoids_device_memory)
{
    for (uint32_t i = 0; i < boot->untyped_count; i++)
        for (uint32_t j = 0; j < boot->device_memory_count; j++) {
            const struct boot_range *u = &boot->untyped[i], *d = &boot->device_memory[j];
            EXPECT(u->base + u->bytes <= d->base || d->base + d->bytes <= u->base);
        }
}

KERNEL_TEST(unknown_call_is_refused)
{
    EXPECT_EQ(call_2(9999, 0, 0), STATUS_INVALID_CALL);
    EXPECT_EQ(call_2(0xffff, 1, 2), STATUS_INVALID_CALL);
}

KERNEL_TEST(slots_are_checked)
{
    cap_slot_t empty = slot_new();
    uint64_t values[2];
    EXPECT_EQ(cap_identify(0, values), STATUS_INVALID_SLOT);
    EXPECT_EQ(cap_identify(boot->table_slots, values), STATUS_INVALID_SLOT);
    EXPECT_EQ(cap_identify(empty, values), STATUS_EMPTY_SLOT);
    EXPECT_EQ(notification_signal(empty), STATUS_EMPTY_SLOT);
    EXPECT_EQ(notification_signal(BOOT_SLOT_TABLE), STATUS_WRONG_TYPE);
    EXPECT_EQ(cap_delete(empty), STATUS_EMPTY_SLOT);
}

KERNEL_TEST(copy_narrows_rights)
{
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0);
    cap_slot_t copy = slot_new(), again = slot_new();
    EXPECT_OK(cap_copy(copy, endpoint, RIGHT_SEND | RIGHT_GRANT));
    EXPECT_EQ(rights_of(copy), RIGHT_SEND | RIGHT_GRANT);
    EXPECT_OK(cap_copy(again, copy, RIGHTS_ALL));
    EXPECT_EQ(rights_of(again), RIGHT_SEND | RIGHT_GRANT);
    EXPECT_EQ(cap_copy(again, endpoint, RIGHTS_ALL), STATUS_OCCUPIED_SLOT);
    EXPECT_EQ(rights_of(again), RIGHT_SEND | RIGHT_GRANT);
}

KERNEL_TEST(mint_sets_the_badge)
{
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0);
    cap_slot_t copy = minted(endpoint, RIGHT_SEND, 77);
    EXPECT_EQ(badge_of(copy), 77);
    cap_slot_t child = slot_new();
    EXPECT_OK(cap_copy(child, copy, RIGHTS_ALL));
    EXPECT_EQ(badge_of(child), 77);
}

KERNEL_TEST(move_takes_the_place)
{
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    cap_slot_t copy = minted(notification, RIGHTS_ALL, 5), to = slot_new();
    EXPECT_OK(cap_move(to, copy));
    EXPECT_EQ(slot_type(copy), OBJECT_NONE);
    EXPECT_EQ(slot_type(to), OBJECT_NOTIFICATION);
    EXPECT_EQ(badge_of(to), 5);
    uint64_t word;
    EXPECT_OK(notification_signal(to));
    EXPECT_OK(notification_wait(notification, DEADLINE_NOW, &word));
    EXPECT_EQ(word, 5);
    EXPECT(cap_move(slot_new(), notification) != STATUS_OK); /* has a child */
}

KERNEL_TEST(delete_wants_no_children)
{
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0);
    cap_slot_t copy = minted(endpoint, RIGHTS_ALL, 1);
    EXPECT_EQ(cap_delete(endpoint), STATUS_BUSY);
    EXPECT_OK(cap_delete(copy));
    EXPECT_OK(cap_delete(endpoint));
    EXPECT_EQ(slot_type(endpoint), OBJECT_NONE);
}

KERNEL_TEST(revoke_reaches_every_descendant)
{
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0);
    cap_slot_t first = slot_new(), last = first;
    EXPECT_OK(cap_copy(first, endpoint, RIGHTS_ALL));
    for (uint32_t i = 0; i < 40; i++) {
        cap_slot_t slot = slot_new();
        EXPECT_OK(cap_copy(slot, i % 3 ? first : endpoint, RIGHTS_ALL));
        last = slot;
    }
    EXPECT_OK(revoke(endpoint));
    for (cap_slot_t slot = first; slot <= last; slot++)
        EXPECT_EQ(slot_type(slot), OBJECT_NONE);
    EXPECT_EQ(slot_type(endpoint), OBJECT_ENDPOINT);
}

KERNEL_TEST(derivation_depth_is_bounded)
{
    cap_slot_t from = object_new(OBJECT_ENDPOINT, 0);
    status_t status = STATUS_OK;
    uint32_t copies = 0;
    for (; copies < 2 * DERIVATION_DEPTH_MAX && status == STATUS_OK; copies++) {
        cap_slot_t to = slot_new();
        status = cap_copy(to, from, RIGHTS_ALL);
        from = to;
    }
    EXPECT_EQ(status, STATUS_DERIVATION_DEPTH);
    EXPECT(copies <= DERIVATION_DEPTH_MAX + 1);
}

KERNEL_TEST(references_into_another_table)
{
    cap_slot_t table = object_new(OBJECT_TABLE, 16);
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0);
    uint64_t values[2];
    EXPECT_OK(cap_mint(cap_ref(table, 3), endpoint, RIGHT_SEND, 9));
    EXPECT_OK(cap_identify(cap_ref(table, 3), values));
    EXPECT_EQ(values[0] & 0xff, OBJECT_ENDPOINT);
    EXPECT_EQ(values[1], 9);
    EXPECT_EQ(cap_copy(cap_ref(table, 16), endpoint, RIGHTS_ALL), STATUS_INVALID_SLOT);
    EXPECT_EQ(cap_copy(cap_ref(table, 3), endpoint, RIGHTS_ALL), STATUS_OCCUPIED_SLOT);
    cap_slot_t back = slot_new();
    EXPECT_OK(cap_move(back, cap_ref(table, 3)));
    EXPECT_EQ(badge_of(back), 9);
    EXPECT_EQ(cap_copy(cap_ref(endpoint, 3), endpoint, RIGHTS_ALL), STATUS_WRONG_TYPE);
}

KERNEL_TEST(a_table_without_manage_is_closed)
{
    cap_slot_t table = object_new(OBJECT_TABLE, 16);
    cap_slot_t closed = minted(table, RIGHTS_ALL & ~(uint32_t)RIGHT_MANAGE, 0);
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0);
    EXPECT_EQ(cap_copy(cap_ref(closed, 3), endpoint, RIGHTS_ALL), STATUS_NO_RIGHTS);
}

KERNEL_TEST(a_dying_table_takes_its_capabilities_along)
{
    cap_slot_t table = object_new(OBJECT_TABLE, 64);
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0);
    for (uint32_t i = 1; i < 40; i++)
        EXPECT_OK(cap_copy(cap_ref(table, i), endpoint, RIGHTS_ALL));
    EXPECT_EQ(cap_delete(endpoint), STATUS_BUSY);
    EXPECT_OK(destroy(table));
    EXPECT_OK(cap_delete(endpoint)); /* childless now */
}

/* ---- Untyped memory -------------------------------------------------------------------------- */

KERNEL_TEST(retype_makes_every_type)
{
    static const struct {
        uint32_t type;
        uint64_t size;
    } kinds[] = {{OBJECT_UNTYPED, 0x10000}, {OBJECT_TABLE, 16},     {OBJECT_THREAD, 0},
                 {OBJECT_ENDPOINT, 0},      {OBJECT_REPLY, 0},      {OBJECT_NOTIFICATION, 0},
                 {OBJECT_ASPACE, 0},        {OBJECT_PAGE_TABLE, 0}, {OBJECT_SEGMENT, 0}};
    for (uint32_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        EXPECT_EQ(slot_type(object_new(kinds[i].type, kinds[i].size)), kinds[i].type);
}

KERNEL_TEST(retype_refuses_bad_requests)
{
    cap_slot_t free = slot_new();
    struct retype_request r = {OBJECT_NONE, 0, free, 1};
    EXPECT(untyped_retype(test_untyped, r) != STATUS_OK);
    r.type = OBJECT_TYPE_COUNT;
    EXPECT(untyped_retype(test_untyped, r) != STATUS_OK);
    r.type = OBJECT_IRQ_CONTROL;
    EXPECT(untyped_retype(test_untyped, r) != STATUS_OK);
    r = (struct retype_request){OBJECT_ENDPOINT, 0, free, RETYPE_COUNT_MAX + 1};
    EXPECT_EQ(untyped_retype(test_untyped, r), STATUS_INVALID_ARGUMENT);
    r = (struct retype_request){OBJECT_ENDPOINT, 0, free, 0};
    EXPECT_EQ(untyped_retype(test_untyped, r), STATUS_INVALID_ARGUMENT);
    r = (struct retype_request){OBJECT_TABLE, CAP_TABLE_SLOTS_MAX + 1, free, 1};
    EXPECT(untyped_retype(test_untyped, r) != STATUS_OK);
    r = (struct retype_request){OBJECT_UNTYPED, 1ull << 36, free, 1};
    EXPECT_EQ(retype(test_untyped, r), STATUS_NO_MEMORY);
    r = (struct retype_request){OBJECT_ENDPOINT, 0, BOOT_SLOT_TABLE, 1};
    EXPECT_EQ(untyped_retype(test_untyped, r), STATUS_OCCUPIED_SLOT);
    EXPECT_EQ(untyped_retype(BOOT_SLOT_TABLE, r), STATUS_WRONG_TYPE);
    EXPECT_EQ(slot_type(free), OBJECT_NONE);
}

KERNEL_TEST(retype_makes_several_at_once)
{
    cap_slot_t first = slot_new();
    for (uint32_t i = 1; i < RETYPE_COUNT_MAX; i++)
        (void)slot_new();
    EXPECT_OK(retype(test_untyped,
                     (struct retype_request){OBJECT_NOTIFICATION, 0, first, RETYPE_COUNT_MAX}));
    for (uint32_t i = 0; i < RETYPE_COUNT_MAX; i++)
        EXPECT_EQ(slot_type(first + i), OBJECT_NOTIFICATION);
}

KERNEL_TEST(untyped_memory_comes_back_whole)
{
    cap_slot_t small = object_new(OBJECT_UNTYPED, 0x20000);
    uint64_t before[2], after[2];
    EXPECT_OK(untyped_info(small, before));
    EXPECT_EQ(before[0], 0x20000);
    EXPECT_EQ(before[1], 0x20000);
    uint32_t made = 0;
    cap_slot_t slot = slot_new();
    while (retype(small, (struct retype_request){OBJECT_UNTYPED, PAGE_BYTES, slot, 1}) ==
           STATUS_OK) {
        made++;
        slot = slot_new();
    }
    EXPECT_EQ(made, 31); /* one page holds the objects that say what the others are */
    EXPECT_EQ(untyped_reset(small), STATUS_BUSY);
    EXPECT_OK(revoke(small));
    EXPECT_OK(reset(small));
    EXPECT_OK(untyped_info(small, after));
    EXPECT_EQ(after[1], 0x20000);
}

KERNEL_TEST(revoked_memory_is_zero_when_reused)
{
    cap_slot_t small = object_new(OBJECT_UNTYPED, 0x10000);
    uint64_t address = test_address();
    for (uint32_t round = 0; round < 2; round++) {
        cap_slot_t segment = slot_new();
        EXPECT_OK(retype(small, (struct retype_request){OBJECT_SEGMENT, 0, segment, 1}));
        status_t status;
        do
            status = segment_populate(segment, 0, 4, small, RIGHT_READ | RIGHT_WRITE);
        while (status == STATUS_AGAIN);
        EXPECT_OK(status);
        EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RIGHT_READ | RIGHT_WRITE));
        volatile uint64_t *words = (volatile uint64_t *)address;
        for (uint32_t i = 0; i < 4 * PAGE_BYTES / 8; i++) {
            EXPECT_EQ(words[i], 0);
            words[i] = 0x5a5a5a5a5a5a5a5a;
        }
        EXPECT_OK(revoke(small));
        EXPECT_OK(reset(small));
    }
}
