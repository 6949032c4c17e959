// SPDX-License-Identifier: MIT OR Apache-2.0
/* Page tables, large segments, device memory, big revocations, interrupt handlers, the console. */
#include "lib/base/bytes.h"
#include "tests/kernel/harness.h"
#include "tests/kernel/hpet.h"

#define RW (RIGHT_READ | RIGHT_WRITE)

/* ---- Memory ---------------------------------------------------------------------------------- */

KERNEL_TEST(page_tables_with_something_in_them_stay)
{
    cap_slot_t aspace = object_new(OBJECT_ASPACE, 0);
    cap_slot_t directory = object_new(OBJECT_PAGE_TABLE, 0),
               table = object_new(OBJECT_PAGE_TABLE, 0);
    uint64_t address = 0x10000000000ull;
    EXPECT_OK(aspace_map_table(aspace, directory, address));
    EXPECT_OK(aspace_map_table(aspace, table, address));
    EXPECT_EQ(aspace_map_table(aspace, object_new(OBJECT_PAGE_TABLE, 0), address),
              STATUS_ALREADY_MAPPED);
    EXPECT_EQ(aspace_map_table(aspace, table, address + SEGMENT_BYTES), STATUS_BUSY);
    EXPECT_EQ(aspace_unmap_table(directory), STATUS_BUSY);
    EXPECT_OK(aspace_unmap_table(table));
    EXPECT_OK(aspace_unmap_table(directory));
    EXPECT_EQ(aspace_unmap_table(directory), STATUS_NOT_MAPPED);
    EXPECT(aspace_map_table(aspace, table, 0x800000000000ull) != STATUS_OK);
}

KERNEL_TEST(an_address_space_dies_with_everything_in_it)
{
    cap_slot_t aspace = object_new(OBJECT_ASPACE, 0);
    cap_slot_t segment = segment_new(3, RW);
    for (uint32_t i = 0; i < 12; i++)
        EXPECT_OK(attach(segment, aspace, (uint64_t)i << 32, RIGHT_READ));
    EXPECT_OK(destroy(aspace));
    EXPECT_OK(destroy(segment));
}

KERNEL_TEST(a_page_table_takes_its_attachments_along)
{
    cap_slot_t aspace = object_new(OBJECT_ASPACE, 0);
    cap_slot_t directory = object_new(OBJECT_PAGE_TABLE, 0),
               table = object_new(OBJECT_PAGE_TABLE, 0);
    cap_slot_t segment = segment_new(1, RW);
    EXPECT_OK(aspace_map_table(aspace, directory, 0));
    EXPECT_OK(aspace_map_table(aspace, table, 0));
    for (uint32_t i = 0; i < 40; i++)
        EXPECT_OK(segment_attach(segment, aspace, (uint64_t)i * SEGMENT_BYTES, RW));
    EXPECT_OK(destroy(table));
    EXPECT_EQ(segment_detach(segment, aspace, 0), STATUS_NOT_MAPPED);
    EXPECT_EQ(segment_attach(segment, aspace, 0, RW), STATUS_MISSING_TABLE);
}

KERNEL_TEST(a_full_segment)
{
    cap_slot_t segment = segment_new(SEGMENT_PAGES, RW);
    uint64_t address = test_address();
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
    memset((void *)address, 0x77, SEGMENT_BYTES);
    EXPECT_EQ(*(volatile uint8_t *)(address + SEGMENT_BYTES - 1), 0x77);
    for (uint32_t page = 0; page < SEGMENT_PAGES; page += POPULATE_PAGES_MAX)
        EXPECT_OK(segment_protect(segment, page, POPULATE_PAGES_MAX, RIGHT_READ));
}

KERNEL_TEST(frames_come_from_the_segments_own_memory)
{
    cap_slot_t first = object_new(OBJECT_UNTYPED, 0x40000);
    cap_slot_t second = object_new(OBJECT_UNTYPED, 0x40000);
    cap_slot_t segment = slot_new();
    EXPECT_OK(retype(first, (struct retype_request){OBJECT_SEGMENT, 0, segment, 1}));
    EXPECT(segment_populate(segment, 0, 1, second, RW) != STATUS_OK);
    status_t status;
    do
        status = segment_populate(segment, 0, 1, first, RW);
    while (status == STATUS_AGAIN);
    EXPECT_OK(status);
}

KERNEL_TEST(device_memory_keeps_its_bounds)
{
    const struct boot_range *range = &boot->device_memory[0];
    cap_slot_t segment = object_new(OBJECT_SEGMENT, 0), part = slot_new();
    struct device_pages pages = {0, 1, range->slot, range->bytes, RIGHT_READ};
    EXPECT(segment_populate_device(segment, pages) != STATUS_OK);
    pages.offset = 100;
    EXPECT(segment_populate_device(segment, pages) != STATUS_OK);
    pages.offset = 0;
    pages.rights = RIGHT_READ | RIGHT_EXECUTE;
    EXPECT(segment_populate_device(segment, pages) != STATUS_OK);
    EXPECT_OK(
        range_derive(part, range->slot,
                     (struct range_request){range->base + PAGE_BYTES, PAGE_BYTES, RIGHT_READ}));
    pages = (struct device_pages){0, 1, part, 0, RW};
    EXPECT_EQ(segment_populate_device(segment, pages), STATUS_NO_RIGHTS);
    pages = (struct device_pages){0, 2, part, 0, RIGHT_READ};
    EXPECT(segment_populate_device(segment, pages) != STATUS_OK);
    pages.count = 1;
    EXPECT_OK(segment_populate_device(segment, pages));
    uint64_t address;
    EXPECT(segment_device_address(segment, 0, BOOT_SLOT_IOSPACE, &address) != STATUS_OK);
    EXPECT(range_derive(slot_new(), range->slot,
                        (struct range_request){range->base, range->bytes + PAGE_BYTES,
                                               RIGHT_READ}) != STATUS_OK);
    EXPECT(range_derive(slot_new(), range->slot,
                        (struct range_request){range->base, 100, RIGHT_READ}) != STATUS_OK);
}

KERNEL_TEST(revocation_of_a_large_tree)
{
    cap_slot_t pool = object_new(OBJECT_UNTYPED, 0x400000);
    cap_slot_t first = next_slots(512);
    for (uint32_t i = 0; i < 512; i += RETYPE_COUNT_MAX)
        EXPECT_OK(retype(pool, (struct retype_request){i % 32 ? OBJECT_THREAD : OBJECT_ENDPOINT, 0,
                                                       first + i, RETYPE_COUNT_MAX}));
    EXPECT_OK(revoke(pool));
    for (uint32_t i = 0; i < 512; i++)
        EXPECT_EQ(slot_type(first + i), OBJECT_NONE);
    EXPECT_OK(reset(pool));
}

KERNEL_TEST(nested_untyped_memory_is_revoked)
{
    cap_slot_t outer = object_new(OBJECT_UNTYPED, 0x200000), inner = slot_new(), table = slot_new();
    EXPECT_OK(retype(outer, (struct retype_request){OBJECT_UNTYPED, 0x100000, inner, 1}));
    EXPECT_OK(retype(inner, (struct retype_request){OBJECT_TABLE, 64, table, 1}));
    for (uint32_t i = 1; i < 60; i++)
        EXPECT_OK(retype(inner, (struct retype_request){OBJECT_ENDPOINT, 0, cap_ref(table, i), 1}));
    EXPECT_OK(revoke(outer));
    EXPECT_EQ(slot_type(inner), OBJECT_NONE);
    EXPECT_EQ(slot_type(table), OBJECT_NONE);
    EXPECT_OK(reset(outer));
}

/* ---- Interrupts, console --------------------------------------------------------------------- */

KERNEL_TEST(a_pin_has_one_handler)
{
    cap_slot_t first = slot_new(), second = slot_new();
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, first, 22, IRQ_LEVEL | IRQ_ACTIVE_LOW));
    EXPECT_EQ(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, second, 22, 0), STATUS_IN_USE);
    EXPECT_EQ(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, second, 21, 0x80), STATUS_INVALID_ARGUMENT);
    EXPECT_OK(destroy(first));
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, second, 22, 0));
}

KERNEL_TEST(message_vectors_run_out_and_come_back)
{
    cap_slot_t first = next_slots(256);
    uint64_t values[2];
    uint32_t made = 0;
    for (uint32_t round = 0; round < 2; round++) {
        made = 0;
        while (made < 256 &&
               irq_create_msi(BOOT_SLOT_IRQ_CONTROL, first + made, values) == STATUS_OK)
            made++;
        EXPECT(made > 100 && made < 256);
        EXPECT_EQ(irq_create_msi(BOOT_SLOT_IRQ_CONTROL, first + made, values), STATUS_NO_MEMORY);
        for (uint32_t i = 0; i < made; i++)
            EXPECT_OK(destroy(first + i));
    }
}

KERNEL_TEST(a_deleted_handler_hears_nothing)
{
    volatile uint64_t *hpet = hpet_map();
    uint32_t gsi = hpet == NULL ? 0 : hpet_pin(hpet);
    if (gsi == 0)
        return test_skip("no HPET pin");
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    cap_slot_t irq = slot_new();
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, irq, gsi, 0));
    EXPECT_OK(irq_bind(irq, minted(notification, RIGHT_SEND, 1)));
    EXPECT_OK(destroy(irq));
    hpet_fire_soon(hpet, (uint64_t)gsi << HPET_ROUTE_SHIFT);
    uint64_t word;
    EXPECT_EQ(notification_wait(notification, now_ns() + 5000000, &word), STATUS_TIMED_OUT);
    hpet_stop(hpet);
}

KERNEL_TEST(a_notification_dies_under_its_handler)
{
    volatile uint64_t *hpet = hpet_map();
    uint32_t gsi = hpet == NULL ? 0 : hpet_pin(hpet);
    if (gsi == 0)
        return test_skip("no HPET pin");
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    cap_slot_t irq = slot_new();
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, irq, gsi, 0));
    EXPECT_OK(irq_bind(irq, minted(notification, RIGHT_SEND, 1)));
    EXPECT_OK(revoke(notification));
    EXPECT_OK(destroy(notification));
    hpet_fire_soon(hpet, (uint64_t)gsi << HPET_ROUTE_SHIFT);
    uint64_t word;
    (void)notification_wait(object_new(OBJECT_NOTIFICATION, 0), now_ns() + 2000000, &word);
    hpet_stop(hpet);
    EXPECT_EQ(irq_ack(irq), STATUS_NOT_MAPPED);
}

KERNEL_TEST(the_console_takes_64_bytes)
{
    uint64_t words[MESSAGE_WORDS_MAX] = {0};
    EXPECT_EQ(console_write(BOOT_SLOT_CONSOLE, 65, words), STATUS_INVALID_ARGUMENT);
    EXPECT_OK(console_write(BOOT_SLOT_CONSOLE, 0, words));
    cap_slot_t closed = minted(BOOT_SLOT_CONSOLE, RIGHT_READ, 0);
    EXPECT_EQ(console_write(closed, 0, words), STATUS_NO_RIGHTS);
    EXPECT_OK(cap_delete(closed));
}
