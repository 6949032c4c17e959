// SPDX-License-Identifier: MIT OR Apache-2.0
/* Segments, address spaces, W^X; interrupts, ports. */
#include "tests/kernel/harness.h"
#include "tests/kernel/hpet.h"

#define RW (RIGHT_READ | RIGHT_WRITE)

static cap_slot_t endpoint, reply;
static volatile uint64_t value;

static void load(uint64_t address)
{
    value = *(volatile uint64_t *)address;
}

static void store(uint64_t address)
{
    *(volatile uint64_t *)address = 1;
}

static void jump(uint64_t address)
{
    ((void (*)(void))address)();
}

/* Error code of the page fault that entry(address) takes, or -1 if it takes none. */
static int64_t fault_error(void (*entry)(uint64_t), uint64_t address)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    struct helper helper = helper_start_in(entry, address, PRIORITY_HIGH, endpoint, 0);
    struct message m = {.info = MESSAGE_DEADLINE};
    m.words[7] = DEADLINE_NOW;
    status_t status = ipc_recv(endpoint, reply, &m);
    (void)thread_suspend(helper.thread);
    return status == STATUS_OK && m.words[FAULT_WORD_VECTOR] == 14
               ? (int64_t)m.words[FAULT_WORD_ERROR]
               : -1;
}

KERNEL_TEST(a_segment_is_mapped_and_zero)
{
    cap_slot_t segment = segment_new(40, RW);
    uint64_t address = test_address();
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
    for (uint32_t page = 0; page < 40; page++) {
        volatile uint64_t *word = (volatile uint64_t *)(address + page * PAGE_BYTES);
        EXPECT_EQ(word[0], 0);
        EXPECT_EQ(word[511], 0);
        word[0] = page;
    }
    for (uint32_t page = 0; page < 40; page++)
        EXPECT_EQ(*(volatile uint64_t *)(address + page * PAGE_BYTES), page);
}

KERNEL_TEST(write_and_execute_exclude_each_other)
{
    cap_slot_t segment = object_new(OBJECT_SEGMENT, 0);
    EXPECT_EQ(segment_populate(segment, 0, 1, test_untyped, RW | RIGHT_EXECUTE),
              STATUS_INVALID_ARGUMENT);
    segment = segment_new(1, RW);
    EXPECT_EQ(segment_protect(segment, 0, 1, RW | RIGHT_EXECUTE), STATUS_INVALID_ARGUMENT);
}

KERNEL_TEST(page_rights_are_enforced)
{
    cap_slot_t segment = segment_new(2, RW);
    uint64_t address = test_address();
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW | RIGHT_EXECUTE));
    *(volatile uint8_t *)address = 0xc3; /* ret */
    EXPECT_EQ(fault_error(jump, address), 0x15);
    EXPECT_OK(segment_protect(segment, 0, 1, RIGHT_READ | RIGHT_EXECUTE));
    EXPECT_EQ(fault_error(jump, address), -1);
    EXPECT_EQ(fault_error(store, address), 0x7);
    EXPECT_EQ(fault_error(load, address), -1);
    EXPECT_OK(segment_protect(segment, 0, 1, RIGHT_READ));
    EXPECT_EQ(fault_error(jump, address), 0x15);
    EXPECT_EQ(fault_error(store, address + PAGE_BYTES), -1);
    EXPECT_EQ(fault_error(load, address + 2 * PAGE_BYTES), 0x4);
}

KERNEL_TEST(an_attachment_narrows_rights)
{
    cap_slot_t segment = segment_new(1, RW);
    uint64_t address = test_address();
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RIGHT_READ));
    EXPECT_EQ(fault_error(store, address), 0x7);
    EXPECT_EQ(fault_error(load, address), -1);
    cap_slot_t read_only = minted(segment, RIGHT_READ | RIGHT_MANAGE, 0);
    uint64_t second = test_address();
    status_t status = attach(read_only, BOOT_SLOT_ASPACE, second, RW);
    if (status == STATUS_OK)
        EXPECT_EQ(fault_error(store, second), 0x7);
    else
        EXPECT_EQ(status, STATUS_NO_RIGHTS);
}

KERNEL_TEST(two_attachments_show_the_same_memory)
{
    cap_slot_t segment = segment_new(1, RW);
    uint64_t first = test_address(), second = test_address();
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, first, RW));
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, second, RW));
    *(volatile uint64_t *)first = 99;
    EXPECT_EQ(*(volatile uint64_t *)second, 99);
    EXPECT_OK(segment_detach(segment, BOOT_SLOT_ASPACE, first));
    EXPECT_EQ(fault_error(load, first), 0x4);
    EXPECT_EQ(*(volatile uint64_t *)second, 99);
    EXPECT_EQ(segment_detach(segment, BOOT_SLOT_ASPACE, first), STATUS_NOT_MAPPED);
}

KERNEL_TEST(deleting_a_segment_unmaps_it)
{
    cap_slot_t segment = segment_new(1, RW);
    uint64_t address = test_address();
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
    store(address);
    EXPECT_OK(destroy(segment));
    EXPECT_EQ(fault_error(load, address), 0x4);
}

KERNEL_TEST(attach_refuses_what_does_not_fit)
{
    cap_slot_t segment = segment_new(1, RW);
    uint64_t address = test_address();
    EXPECT_EQ(segment_attach(segment, BOOT_SLOT_ASPACE, address + PAGE_BYTES, RW),
              STATUS_MISALIGNED);
    EXPECT(segment_attach(segment, BOOT_SLOT_ASPACE, 0xffff800000000000ull, RW) != STATUS_OK);
    EXPECT(segment_attach(segment, BOOT_SLOT_ASPACE, 0x800000000000ull, RW) != STATUS_OK);
    EXPECT_EQ(segment_attach(segment, BOOT_SLOT_ASPACE, 0x700000000000ull, RW),
              STATUS_MISSING_TABLE);
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
    EXPECT_EQ(segment_attach(segment, BOOT_SLOT_ASPACE, address, RW), STATUS_ALREADY_MAPPED);
}

KERNEL_TEST(populate_refuses_what_does_not_fit)
{
    cap_slot_t segment = segment_new(2, RW);
    EXPECT(segment_populate(segment, 0, 1, test_untyped, RW) != STATUS_OK); /* not empty */
    EXPECT_EQ(segment_populate(segment, 512, 1, test_untyped, RW), STATUS_INVALID_ARGUMENT);
    EXPECT_EQ(segment_populate(segment, 510, 3, test_untyped, RW), STATUS_INVALID_ARGUMENT);
    EXPECT_EQ(segment_populate(segment, 2, POPULATE_PAGES_MAX + 1, test_untyped, RW),
              STATUS_INVALID_ARGUMENT);
    EXPECT(segment_populate(segment, 2, 1, BOOT_SLOT_TABLE, RW) != STATUS_OK);
    EXPECT(segment_protect(segment, 1, 2, RIGHT_READ) != STATUS_OK); /* page 2 is empty */
}

KERNEL_TEST(device_addresses_are_told)
{
    cap_slot_t segment = segment_new(3, RW);
    uint64_t first = 0, third = 0;
    if ((boot->flags & BOOT_FLAG_IOMMU) != 0)
        return test_skip("with an IOMMU nobody learns them");
    EXPECT_OK(segment_device_address(segment, 0, BOOT_SLOT_IOSPACE, &first));
    EXPECT_OK(segment_device_address(segment, 2, BOOT_SLOT_IOSPACE, &third));
    EXPECT(first != 0 && third != 0 && first != third);
    EXPECT_EQ(first % PAGE_BYTES, 0);
    uint64_t none;
    EXPECT(segment_device_address(segment, 3, BOOT_SLOT_IOSPACE, &none) != STATUS_OK);
    cap_slot_t no_dma = minted(segment, RW, 0);
    EXPECT_EQ(segment_device_address(no_dma, 0, BOOT_SLOT_IOSPACE, &none), STATUS_NO_RIGHTS);
}

static void write_elsewhere(uint64_t address)
{
    *(volatile uint64_t *)address = 1234;
}

KERNEL_TEST(address_spaces_are_apart)
{
    cap_slot_t other = aspace_clone();
    cap_slot_t mine = segment_new(1, RW), theirs = segment_new(1, RW);
    uint64_t address = test_address(), peek = test_address();
    EXPECT_OK(attach(mine, BOOT_SLOT_ASPACE, address, RW));
    EXPECT_OK(attach(theirs, other, address, RW));
    EXPECT_OK(attach(theirs, BOOT_SLOT_ASPACE, peek, RW));
    *(volatile uint64_t *)address = 1;
    (void)helper_start_in(write_elsewhere, address, PRIORITY_HIGH, 0, other);
    EXPECT_EQ(*(volatile uint64_t *)address, 1);
    EXPECT_EQ(*(volatile uint64_t *)peek, 1234);
}

static volatile uint64_t rounds;

static void run_on(uint64_t unused)
{
    (void)unused;
    for (;;)
        rounds++;
}

KERNEL_TEST(an_address_space_dies_under_its_thread)
{
    cap_slot_t other = aspace_clone();
    (void)helper_start_in(run_on, 0, PRIORITY_LOW, 0, other);
    cap_slot_t never = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t word;
    (void)notification_wait(never, now_ns() + 1000000, &word);
    EXPECT_OK(revoke(other));
    EXPECT_OK(destroy(other));
    (void)notification_wait(never, now_ns() + 1000000, &word);
}

/* ---- Large pages ----------------------------------------------------------------------------- */

/* A new segment in *segment, and its untyped memory, whose next byte is 2 MiB-aligned. */
static cap_slot_t aligned_memory(cap_slot_t *segment)
{
    cap_slot_t memory = slot_new(), pair = next_slots(2), filler = slot_new();
    uint64_t address = 0;
    EXPECT_OK(
        retype(largest_untyped(), (struct retype_request){OBJECT_UNTYPED, 6ull << 20, memory, 1}));
    EXPECT_OK(retype(memory, (struct retype_request){OBJECT_SEGMENT, 0, pair, 2}));
    status_t status;
    do
        status = segment_populate(pair, 0, 1, memory, RW);
    while (status == STATUS_AGAIN);
    EXPECT_OK(segment_device_address(pair, 0, BOOT_SLOT_IOSPACE, &address));
    uint64_t next = address + 2 * PAGE_BYTES; /* behind that frame and the filler's header */
    uint64_t gap = (SEGMENT_BYTES - next % SEGMENT_BYTES) % SEGMENT_BYTES;
    if (gap == 0)
        gap = SEGMENT_BYTES;
    EXPECT_OK(retype(memory, (struct retype_request){OBJECT_UNTYPED, gap, filler, 1}));
    *segment = pair + 1;
    return memory;
}

static status_t populate_large(cap_slot_t segment, struct large_page page)
{
    status_t status;
    do
        status = segment_populate_large(segment, page);
    while (status == STATUS_AGAIN);
    return status;
}

KERNEL_TEST(a_large_page_is_memory)
{
    if ((boot->flags & BOOT_FLAG_IOMMU) != 0)
        return test_skip("with an IOMMU nobody learns where aligned memory lies");
    cap_slot_t segment = 0;
    cap_slot_t memory = aligned_memory(&segment);
    uint64_t address = test_address(), device = 0;
    EXPECT_OK(populate_large(segment, (struct large_page){memory, 0, 1, RW}));
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
    for (uint64_t at = address; at < address + SEGMENT_BYTES; at += 64 * PAGE_BYTES) {
        EXPECT_EQ(*(volatile uint64_t *)at, 0);
        *(volatile uint64_t *)at = at;
    }
    EXPECT_EQ(*(volatile uint64_t *)(address + 64 * PAGE_BYTES), address + 64 * PAGE_BYTES);
    EXPECT_EQ(fault_error(jump, address), 0x15);
    EXPECT_OK(segment_device_address(segment, 5, BOOT_SLOT_IOSPACE, &device));
    EXPECT_EQ(device % SEGMENT_BYTES, 5 * PAGE_BYTES);
    EXPECT_OK(segment_detach(segment, BOOT_SLOT_ASPACE, address));
    EXPECT_EQ(fault_error(load, address), 0x4);
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RIGHT_READ));
    EXPECT_EQ(fault_error(store, address), 0x7);
    EXPECT_EQ(fault_error(load, address), -1);
    EXPECT_OK(revoke(memory));
    EXPECT_EQ(fault_error(load, address), 0x4);
    EXPECT_OK(reset(memory));
}

/* The device memory that holds an aligned piece of `bytes`, and its offset there, or ~0. */
static uint64_t device_piece(uint32_t *index, uint64_t bytes)
{
    for (*index = 0; *index < boot->device_memory_count; ++*index) {
        const struct boot_range *range = &boot->device_memory[*index];
        uint64_t first = (range->base + bytes - 1) & ~(bytes - 1);
        if (first + bytes <= range->base + range->bytes)
            return first - range->base;
    }
    return ~0ull;
}

static void device_page(uint32_t level, uint64_t bytes)
{
    uint32_t index;
    uint64_t offset = device_piece(&index, bytes);
    if (offset == ~0ull)
        return test_skip("no device memory of that size");
    cap_slot_t segment = object_new(OBJECT_SEGMENT, 0), empty = segment_new(0, RW);
    uint64_t address = 0x600000000000ull;
    status_t status =
        segment_populate_large(segment, (struct large_page){boot->device_memory[index].slot, offset,
                                                            level, RIGHT_READ | PAGE_UNCACHED});
    if (status == STATUS_UNSUPPORTED)
        return test_skip("this CPU has no pages of 1 GiB");
    EXPECT_OK(status);
    while (segment_attach(segment, BOOT_SLOT_ASPACE, address, RIGHT_READ) == STATUS_MISSING_TABLE)
        EXPECT_OK(aspace_map_table(BOOT_SLOT_ASPACE, object_new(OBJECT_PAGE_TABLE, 0), address));
    EXPECT_EQ(fault_error(load, address + bytes - 8), -1);
    EXPECT_EQ(fault_error(store, address), 0x7);
    EXPECT_EQ(fault_error(load, address + bytes), 0x4);
    EXPECT(segment_attach(empty, BOOT_SLOT_ASPACE, address, RW) != STATUS_OK);
    EXPECT_OK(destroy(segment));
    EXPECT_EQ(fault_error(load, address), 0x4);
}

KERNEL_TEST(device_memory_in_a_page_of_2_mib)
{
    device_page(1, SEGMENT_BYTES);
}

KERNEL_TEST(device_memory_in_a_page_of_1_gib)
{
    device_page(2, 1ull << 30);
}

/* ---- Ports ----------------------------------------------------------------------------------- */

KERNEL_TEST(ports_are_read_and_ranges_kept)
{
    uint32_t first = 0, second = 0;
    cap_slot_t pm = slot_new(), none = slot_new();
    uint32_t timer = boot->acpi_pm1a_event_port + 8; /* ICH9: PM timer at PMBASE + 8 */
    EXPECT_OK(range_derive(pm, BOOT_SLOT_IO_PORTS, (struct range_request){timer, 4, RIGHT_READ}));
    EXPECT_OK(port_in(pm, timer, 4, &first));
    for (uint32_t i = 0; i < 100 && second <= first; i++)
        EXPECT_OK(port_in(pm, timer, 4, &second));
    EXPECT(second > first);
    EXPECT(port_in(pm, timer + 4, 1, &first) != STATUS_OK);
    EXPECT(port_in(pm, timer + 2, 4, &first) != STATUS_OK);
    EXPECT(port_in(pm, timer, 3, &first) != STATUS_OK);
    EXPECT_EQ(port_out(pm, timer, 4, 0), STATUS_NO_RIGHTS);
    EXPECT(port_in(BOOT_SLOT_IO_PORTS, 0x3f8, 1, &first) != STATUS_OK);
    EXPECT(port_in(BOOT_SLOT_IO_PORTS, 0xffff, 2, &first) != STATUS_OK);
    EXPECT(range_derive(none, pm, (struct range_request){timer, 5, RIGHT_READ}) != STATUS_OK);
    EXPECT_EQ(slot_type(none), OBJECT_NONE);
}

/* ---- Interrupts ---------------------------------------------------------------------------- */

static void pin_interrupt(uint32_t flags)
{
    volatile uint64_t *hpet = hpet_map();
    if (hpet == NULL)
        return test_skip("this machine has no HPET");
    uint32_t gsi = hpet_pin(hpet);
    if (gsi == 0)
        return test_skip("the HPET's timer 2 reaches no pin above 15");
    cap_slot_t irq = slot_new();
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t word = 0;
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, irq, gsi, flags));
    EXPECT_OK(irq_bind(irq, minted(notification, RIGHTS_ALL, 0x10)));
    for (uint32_t i = 0; i < 3; i++) {
        hpet_fire_soon(hpet, gsi << HPET_ROUTE_SHIFT | (flags & IRQ_LEVEL ? HPET_LEVEL : 0));
        EXPECT_OK(notification_wait(notification, now_ns() + 1000000000, &word));
        EXPECT_EQ(word, 0x10);
        if (flags & IRQ_LEVEL) /* still asserted, and masked: no second signal */
            EXPECT(notification_wait(notification, DEADLINE_NOW, &word) != STATUS_OK);
        hpet_stop(hpet);
        EXPECT_OK(irq_ack(irq));
        EXPECT(notification_wait(notification, DEADLINE_NOW, &word) != STATUS_OK);
    }
    EXPECT_OK(irq_bind(irq, 0));
}

KERNEL_TEST(an_edge_pin_signals)
{
    pin_interrupt(0);
}

KERNEL_TEST(a_level_pin_signals_and_is_acknowledged)
{
    pin_interrupt(IRQ_LEVEL);
}

KERNEL_TEST(a_message_signalled_interrupt_signals)
{
    volatile uint64_t *hpet = hpet_map();
    if (hpet == NULL || !(hpet[HPET_TIMER2] & HPET_FSB_POSSIBLE))
        return test_skip("the HPET sends no messages (-global hpet.msi=on)");
    if ((boot->flags & BOOT_FLAG_IOMMU) != 0)
        return test_skip("QEMU's HPET goes past the interrupt remapping; see test_iospace.c");
    cap_slot_t irq = slot_new();
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t target[2], word = 0;
    EXPECT_OK(irq_create_msi(BOOT_SLOT_IRQ_CONTROL, irq, target));
    EXPECT_OK(irq_bind(irq, minted(notification, RIGHTS_ALL, 2)));
    hpet[HPET_TIMER2_FSB] = target[0] << 32 | (uint32_t)target[1];
    hpet_fire_soon(hpet, HPET_FSB_ENABLE);
    EXPECT_OK(notification_wait(notification, now_ns() + 1000000000, &word));
    EXPECT_EQ(word, 2);
    hpet_stop(hpet);
}

KERNEL_TEST(a_pin_that_does_not_exist)
{
    cap_slot_t irq = slot_new();
    EXPECT_EQ(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, irq, 5000, 0), STATUS_NOT_FOUND);
    EXPECT_EQ(slot_type(irq), OBJECT_NONE);
    EXPECT_EQ(irq_create_ioapic(BOOT_SLOT_TABLE, irq, 20, 0), STATUS_WRONG_TYPE);
}

KERNEL_TEST(the_apics_are_the_kernels)
{
    for (uint32_t i = 0; i < boot->device_memory_count; i++) {
        const struct boot_range *range = &boot->device_memory[i];
        EXPECT(range->base > 0xfee00000 || range->base + range->bytes <= 0xfee00000);
        EXPECT(range->base > 0xfec00000 || range->base + range->bytes <= 0xfec00000);
    }
}
