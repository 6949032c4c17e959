// SPDX-License-Identifier: MIT OR Apache-2.0
/* I/O spaces with a real device: QEMU's `edu`, which copies between memory and a buffer of its own
 * and sends interrupts when it is told to (QEMU, docs/specs/edu.rst). */
#include "tests/kernel/held.h"

#define RW (RIGHT_READ | RIGHT_WRITE)
#define AT 0x400000ull /* device addresses; edu takes 28 bits */
#define BADGE 0x40u
#define EDU_ID 0x11e81234u
#define EDU_BUFFER 0x40000u
#define EDU_RAISE (0x60u / 4u)
#define EDU_ACKNOWLEDGE (0x64u / 4u)
#define EDU_DMA_SOURCE (0x80u / 8u)
#define EDU_DMA_TARGET (0x88u / 8u)
#define EDU_DMA_COUNT (0x90u / 8u)
#define EDU_DMA_COMMAND (0x98u / 8u)
#define EDU_TO_MEMORY 2u
#define DMA_WAIT_NS 20000000ull
#define DMA_WAITS 100u
#define PCI_COMMAND 1u /* 32-bit register numbers */
#define PCI_BAR0 4u
#define PCI_CAPABILITIES (0x34u / 4u)
#define CAP_MSI 5u

struct edu {
    volatile uint32_t *config;
    volatile uint32_t *registers;
    uint32_t function;
    cap_slot_t space;
    cap_slot_t notification;
};

static uint64_t next_window;

/* Shows one page of device memory; NULL: there is none at that address. */
static volatile uint32_t *device_page(uint64_t physical)
{
    for (uint32_t i = 0; i < boot->device_memory_count; i++) {
        const struct boot_range *m = &boot->device_memory[i];
        if (physical < m->base || physical - m->base >= m->bytes)
            continue;
        cap_slot_t segment = object_new(OBJECT_SEGMENT, 0);
        uint64_t address = test_address() + next_window++ * SEGMENT_BYTES;
        EXPECT_OK(segment_populate_device(
            segment, (struct device_pages){0, 1, m->slot, physical - m->base, RW | PAGE_UNCACHED}));
        EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
        return (volatile uint32_t *)address;
    }
    return NULL;
}

static bool edu_find(struct edu *edu)
{
    next_window = 8;
    if ((boot->flags & BOOT_FLAG_IOMMU) == 0) {
        test_skip("there is no IOMMU");
        return false;
    }
    for (uint32_t device = 1; device < 8; device++) {
        edu->function = device << 3;
        edu->config = device_page(boot->ecam_base + ((uint64_t)edu->function << PAGE_SHIFT));
        if (edu->config == NULL || edu->config[0] != EDU_ID)
            continue;
        edu->registers = device_page(edu->config[PCI_BAR0] & ~0xfu);
        edu->config[PCI_COMMAND] |= 6u; /* memory, bus master */
        return true;
    }
    test_skip("there is no edu device");
    return false;
}

/* A space that the device is assigned to, with tables for AT and its faults bound. */
static bool edu_start(struct edu *edu)
{
    if (!edu_find(edu))
        return false;
    edu->space = object_new(OBJECT_IOSPACE, 0);
    edu->notification = object_new(OBJECT_NOTIFICATION, 0);
    EXPECT_OK(iospace_map_table(edu->space, object_new(OBJECT_PAGE_TABLE, 0), AT));
    EXPECT_OK(iospace_map_table(edu->space, object_new(OBJECT_PAGE_TABLE, 0), AT));
    EXPECT_OK(iospace_assign(edu->space, BOOT_SLOT_PCI_FUNCTIONS, edu->function));
    EXPECT_OK(iospace_bind(edu->space, minted(edu->notification, RIGHTS_ALL, BADGE)));
    return true;
}

static void edu_copy(const struct edu *edu, uint64_t from, uint64_t to, uint32_t bytes,
                     uint32_t direction)
{
    volatile uint64_t *r = (volatile uint64_t *)edu->registers;
    r[EDU_DMA_SOURCE] = from;
    r[EDU_DMA_TARGET] = to;
    r[EDU_DMA_COUNT] = bytes;
    r[EDU_DMA_COMMAND] = 1u | direction;
    for (uint32_t i = 0; i < DMA_WAITS && (r[EDU_DMA_COMMAND] & 1u) != 0; i++)
        pause_ns(DMA_WAIT_NS);
    EXPECT((r[EDU_DMA_COMMAND] & 1u) == 0);
}

static void edu_read(const struct edu *edu, uint64_t address, uint32_t bytes)
{
    edu_copy(edu, address, EDU_BUFFER, bytes, 0);
}

static void edu_write(const struct edu *edu, uint64_t address, uint32_t bytes)
{
    edu_copy(edu, EDU_BUFFER, address, bytes, EDU_TO_MEMORY);
}

/* The fault came, once, and says that. */
static void expect_fault(const struct edu *edu, uint64_t address, bool write)
{
    uint64_t word = 0, values[2] = {0, 0};
    EXPECT_OK(notification_wait(edu->notification, now_ns() + 1000000000, &word));
    EXPECT_EQ(word, BADGE);
    EXPECT_OK(iospace_fault(edu->space, values));
    EXPECT_EQ(values[0], address);
    EXPECT_EQ(values[1] & IO_FAULT_FUNCTION, edu->function);
    EXPECT_EQ((values[1] & IO_FAULT_WRITE) != 0, write);
    EXPECT_EQ(iospace_fault(edu->space, values), STATUS_NOT_FOUND);
}

/* Two pages of memory that this program sees too. */
static volatile uint64_t *memory_new(cap_slot_t *segment)
{
    uint64_t address = test_address() + next_window++ * SEGMENT_BYTES;
    *segment = segment_new(2, RW);
    EXPECT_OK(attach(*segment, BOOT_SLOT_ASPACE, address, RW));
    return (volatile uint64_t *)address;
}

#define WORDS (PAGE_BYTES / 8u)

KERNEL_TEST(a_device_copies_what_is_attached)
{
    struct edu edu;
    cap_slot_t segment;
    if (!edu_start(&edu))
        return;
    volatile uint64_t *memory = memory_new(&segment);
    EXPECT_OK(iospace_attach(segment, edu.space, AT, RW));
    for (uint32_t i = 0; i < 64; i++)
        memory[i] = 0x1234567800000000ull + i;
    edu_read(&edu, AT, 512);
    edu_write(&edu, AT + PAGE_BYTES, 512);
    for (uint32_t i = 0; i < 64; i++)
        EXPECT_EQ(memory[WORDS + i], memory[i]);
    uint64_t values[2];
    EXPECT_EQ(iospace_fault(edu.space, values), STATUS_NOT_FOUND);
}

KERNEL_TEST(a_wrong_address_faults_and_harms_nothing)
{
    struct edu edu;
    cap_slot_t segment;
    if (!edu_start(&edu))
        return;
    volatile uint64_t *memory = memory_new(&segment);
    EXPECT_OK(iospace_attach(segment, edu.space, AT, RW));
    memory[0] = 7;
    edu_read(&edu, AT, 64);
    memory[0] = 8;
    edu_write(&edu, 0x200000, 64); /* where the kernel is, in physical memory */
    expect_fault(&edu, 0x200000, true);
    edu_write(&edu, AT + 2 * PAGE_BYTES, 64); /* not populated */
    expect_fault(&edu, AT + 2 * PAGE_BYTES, true);
    edu_read(&edu, AT + SEGMENT_BYTES, 64);
    expect_fault(&edu, AT + SEGMENT_BYTES, false);
    EXPECT_EQ(memory[0], 8);
}

KERNEL_TEST(a_read_only_attachment_is_not_written)
{
    struct edu edu;
    cap_slot_t segment;
    if (!edu_start(&edu))
        return;
    volatile uint64_t *memory = memory_new(&segment);
    EXPECT_OK(iospace_attach(segment, edu.space, AT, RIGHT_READ));
    memory[0] = 8;
    edu_write(&edu, AT, 64);
    expect_fault(&edu, AT, true);
    EXPECT_EQ(memory[0], 8);
}

/* The IOMMU remembers the translation from the first copy; nothing may go through it later. */
KERNEL_TEST(no_stale_translation_outlives_its_entry)
{
    struct edu edu;
    cap_slot_t segment;
    if (!edu_start(&edu))
        return;
    volatile uint64_t *memory = memory_new(&segment);
    EXPECT_OK(iospace_attach(segment, edu.space, AT, RW));
    memory[0] = 7;
    edu_read(&edu, AT, 64);
    for (uint32_t way = 0; way < 5; way++) {
        edu_write(&edu, AT, 64); /* fills the IOTLB */
        EXPECT_EQ(memory[0], 7);
        memory[0] = 100 + way;
        switch (way) {
        case 0:
            EXPECT_OK(iospace_detach(segment, edu.space, AT));
            break;
        case 1:
            EXPECT_OK(segment_protect(segment, 0, 1, RIGHT_READ));
            break;
        case 2:
            EXPECT_OK(iospace_unassign(edu.space, edu.function));
            break;
        case 3:
            EXPECT_OK(segment_depopulate(segment, 0, 1));
            break;
        default:
            EXPECT_OK(destroy(segment));
            break;
        }
        edu_write(&edu, AT, 64);
        if (way != 2)
            expect_fault(&edu, AT, true);
        if (way < 3)
            EXPECT_EQ(memory[0], 100 + way);
        if (way == 0)
            EXPECT_OK(iospace_attach(segment, edu.space, AT, RW));
        if (way == 1)
            EXPECT_OK(segment_protect(segment, 0, 1, RW));
        if (way == 2)
            EXPECT_OK(iospace_assign(edu.space, BOOT_SLOT_PCI_FUNCTIONS, edu.function));
        if (way == 3)
            EXPECT_OK(segment_populate(segment, 0, 1, test_untyped, RW));
    }
}

KERNEL_TEST(a_stream_of_faults_is_one_report)
{
    struct edu edu;
    uint64_t word, values[2];
    if (!edu_start(&edu))
        return;
    for (uint32_t i = 0; i < 4; i++)
        edu_write(&edu, AT, 64);
    EXPECT_OK(notification_wait(edu.notification, now_ns() + 1000000000, &word));
    EXPECT_EQ(notification_wait(edu.notification, DEADLINE_NOW, &word), STATUS_TIMED_OUT);
    EXPECT_OK(iospace_fault(edu.space, values));
    EXPECT_EQ(values[1] >> IO_FAULT_COUNT_SHIFT, 1);
    edu_write(&edu, AT, 64);
    expect_fault(&edu, AT, true);
}

/* Its messages raise the irq; the capability that turns them off. */
static volatile uint32_t *edu_messages(const struct edu *edu, cap_slot_t irq)
{
    uint64_t target[2];
    EXPECT_OK(irq_create_msi(BOOT_SLOT_IRQ_CONTROL, irq, target));
    uint32_t at = edu->config[PCI_CAPABILITIES] & 0xfcu;
    while (at != 0 && (edu->config[at / 4u] & 0xffu) != CAP_MSI)
        at = edu->config[at / 4u] >> 8 & 0xfcu;
    EXPECT(at != 0);
    volatile uint32_t *msi = &edu->config[at / 4u];
    msi[1] = (uint32_t)target[0];
    msi[2] = (uint32_t)(target[0] >> 32);
    msi[3] = (uint32_t)target[1];
    msi[0] |= 1u << 16;
    return msi;
}

KERNEL_TEST(an_interrupt_comes_from_its_function_only)
{
    struct edu edu;
    uint64_t word = 0;
    if (!edu_find(&edu))
        return;
    cap_slot_t irq = slot_new();
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    volatile uint32_t *msi = edu_messages(&edu, irq);
    EXPECT_OK(irq_bind(irq, minted(notification, RIGHTS_ALL, 2)));
    if (irq_source(irq, BOOT_SLOT_PCI_FUNCTIONS, edu.function) == STATUS_UNSUPPORTED)
        return test_skip("interrupts are not remapped");
    edu.registers[EDU_RAISE] = 1;
    EXPECT_OK(notification_wait(notification, now_ns() + 1000000000, &word));
    edu.registers[EDU_ACKNOWLEDGE] = 1;
    EXPECT_OK(irq_source(irq, BOOT_SLOT_PCI_FUNCTIONS, edu.function + 8));
    edu.registers[EDU_RAISE] = 1;
    EXPECT_EQ(notification_wait(notification, now_ns() + 50000000, &word), STATUS_TIMED_OUT);
    edu.registers[EDU_ACKNOWLEDGE] = 1;
    msi[0] &= ~(1u << 16);
}

static void edu_raise(void *device)
{
    const struct edu *edu = device;
    edu->registers[EDU_ACKNOWLEDGE] = 1;
    edu->registers[EDU_RAISE] = 1;
}

/* Without remapping: test_held.c. */
KERNEL_TEST(a_remapped_message_waits_for_its_window)
{
    struct edu edu;
    if (!edu_find(&edu))
        return;
    struct held_source source = {
        .irq = slot_new(), .fire = edu_raise, .device = &edu, .masked = true};
    volatile uint32_t *msi = edu_messages(&edu, source.irq);
    if (irq_source(source.irq, BOOT_SLOT_PCI_FUNCTIONS, edu.function) == STATUS_UNSUPPORTED)
        return test_skip("interrupts are not remapped");
    held_bind(&source);
    held_expect(&source);
    edu.registers[EDU_ACKNOWLEDGE] = 1;
    msi[0] &= ~(1u << 16);
}
