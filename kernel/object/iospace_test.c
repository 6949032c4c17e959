// SPDX-License-Identifier: MIT OR Apache-2.0
#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "kernel/object/object.h"
#include "tests/check.h"

#define SPACE 30
#define SPACE_2 31
#define NARROW 32
#define NOTIFICATION 33
#define BADGED 34
#define ASPACE 35
#define COPY 36
#define TABLES 37
#define SEGMENT 50
#define RW (RIGHT_READ | RIGHT_WRITE)
#define AT 0x40000000ull
#define DEVICE 0x18ull /* 00:03.0 */
#define REASON (5u << IO_FAULT_REASON_SHIFT)

static struct iospace *space_of(uint32_t slot)
{
    return iospace_at(kernel_under_test, (iospace_ix){harness_slot(slot)->object});
}

static void spaces_start(void)
{
    harness_start();
    for (uint32_t n = 0; n < 2; n++) {
        CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_IOSPACE, 0, SPACE + n, 1), STATUS_OK);
    }
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_PAGE_TABLE, 0, TABLES, 6), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SEGMENT, 0, SEGMENT, 3), STATUS_OK);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 2, SLOT_UNTYPED, RW), STATUS_OK);
    for (uint32_t n = 0; n < 2; n++) {
        CHECK_EQ(CALL(iospace_map_table, SPACE, TABLES + n, AT), STATUS_OK);
    }
    CHECK_EQ(CALL(iospace_assign, SPACE, BOOT_SLOT_PCI_FUNCTIONS, DEVICE), STATUS_OK);
}

static uint64_t frame(uint32_t slot, uint32_t page)
{
    struct kernel *k = kernel_under_test;
    const struct segment *s = segment_at(k, (segment_ix){harness_slot(slot)->object});

    return arch_leaf_physical(((const uint64_t *)arch_memory(s->physical))[page]);
}

TEST(spaces_are_made_and_die)
{
    spaces_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_IOSPACE, 0, NARROW, 2),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_IOSPACE, 8, NARROW, 1),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(space_of(SPACE)->domain, 1);
    CHECK_EQ(space_of(SPACE_2)->domain, 2);
    for (uint32_t n = 0; n < 6; n++) {
        CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_IOSPACE, 0, 60 + n, 1), STATUS_OK);
    }
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_IOSPACE, 0, 70, 1), STATUS_FULL);
    CHECK_EQ(CALL(cap_delete, 62), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_IOSPACE, 0, 70, 1), STATUS_OK);
    CHECK_EQ(space_of(70)->domain, 5);
    host_machine.no_iommu = true;
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_IOSPACE, 0, 71, 1), STATUS_UNSUPPORTED);
}

TEST(tables)
{
    spaces_start();
    CHECK_EQ(CALL(iospace_map_table, SPACE, TABLES + 2, 1ull << 40), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(iospace_map_table, SPACE, TABLES + 2, AT), STATUS_ALREADY_MAPPED);
    CHECK_EQ(CALL(iospace_map_table, SPACE, TABLES, 0), STATUS_BUSY);
    CHECK_EQ(CALL(iospace_map_table, BOOT_SLOT_IOSPACE, TABLES + 2, 0), STATUS_UNSUPPORTED);
    CHECK_EQ(CALL(iospace_map_table, BOOT_SLOT_ASPACE, TABLES + 2, 0), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES), STATUS_BUSY);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES + 1), STATUS_OK);
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT, RW), STATUS_MISSING_TABLE);
    CHECK_EQ(CALL(aspace_unmap_table, TABLES), STATUS_OK);
    CHECK_EQ(CALL(aspace_map_table, BOOT_SLOT_ASPACE, TABLES, 1ull << 40), STATUS_OK);
}

TEST(a_device_sees_what_is_attached)
{
    spaces_start();
    CHECK_EQ(host_io_access(DEVICE, AT, false), 0);
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT + 0x1000, RW), STATUS_MISALIGNED);
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT, RW | RIGHT_EXECUTE), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT, RIGHT_WRITE), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_copy, NARROW, SEGMENT, RW), STATUS_OK);
    CHECK_EQ(CALL(iospace_attach, NARROW, SPACE, AT, RW), STATUS_NO_RIGHTS); /* no DMA */
    CHECK_EQ(CALL(cap_copy, COPY, SEGMENT, RIGHT_READ | RIGHT_DMA), STATUS_OK);
    CHECK_EQ(CALL(iospace_attach, COPY, SPACE, AT, RW), STATUS_OK);
    CHECK_EQ(host_io_access(DEVICE, AT + 0x1000, false), frame(SEGMENT, 1));
    CHECK_EQ(host_io_access(DEVICE, AT, true), 0); /* the capability had no WRITE */
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT, RW), STATUS_ALREADY_MAPPED);
    CHECK_EQ(CALL(iospace_detach, SEGMENT + 1, SPACE, AT), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(iospace_detach, SEGMENT, SPACE, AT), STATUS_OK);
    CHECK_EQ(host_io_access(DEVICE, AT + 0x1000, false), 0);
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT, RW), STATUS_OK);
    CHECK_EQ(host_io_access(DEVICE, AT, true), frame(SEGMENT, 0));
    CHECK_EQ(host_io_access(DEVICE, AT + 2 * PAGE_BYTES, true), 0);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 2, 1, SLOT_UNTYPED, RIGHT_READ), STATUS_OK);
    CHECK_EQ(host_io_access(DEVICE, AT + 2 * PAGE_BYTES, true), 0);
    CHECK_EQ(host_io_access(DEVICE, AT + 2 * PAGE_BYTES, false), frame(SEGMENT, 2));
    CHECK_EQ(host_io_access(DEVICE + 1, AT, false), 0); /* assigned nowhere */
}

TEST(what_a_segment_loses_the_device_loses)
{
    spaces_start();
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT, RW), STATUS_OK);
    CHECK(host_io_access(DEVICE, AT, true) != 0);
    CHECK_EQ(CALL(segment_protect, SEGMENT, 0, 1, RIGHT_READ), STATUS_OK);
    CHECK_EQ(host_io_access(DEVICE, AT, true), 0);
    CHECK(host_io_access(DEVICE, AT, false) != 0);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 0, 1), STATUS_OK);
    CHECK_EQ(host_io_access(DEVICE, AT, false), 0);
    CHECK(host_io_access(DEVICE, AT + PAGE_BYTES, true) != 0);
    CHECK_EQ(CALL(cap_delete, SEGMENT), STATUS_OK);
    CHECK_EQ(host_io_access(DEVICE, AT + PAGE_BYTES, true), 0);
    CHECK_EQ(CALL(iospace_attach, SEGMENT + 1, SPACE, AT, RW), STATUS_OK);
}

TEST(an_attached_segment_is_not_copied)
{
    spaces_start();
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT, RW), STATUS_OK);
    CHECK_EQ(CALL(segment_derive, SEGMENT, SEGMENT + 1, 1, 0, 0, 0), STATUS_BUSY);
    CHECK_EQ(CALL(iospace_detach, SEGMENT, SPACE, AT), STATUS_OK);
    CHECK_EQ(CALL(segment_derive, SEGMENT, SEGMENT + 1, 1, 0, 0, 0), STATUS_OK);
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT, RW), STATUS_BUSY);
    CHECK_EQ(CALL(iospace_attach, SEGMENT + 1, SPACE, AT, RW), STATUS_OK);
    CHECK_EQ(host_io_access(DEVICE, AT, false), frame(SEGMENT, 0));
    CHECK_EQ(host_io_access(DEVICE, AT, true), 0); /* not written to by the copy yet */
    CHECK_EQ(CALL(segment_revert, SEGMENT + 1), STATUS_BUSY);
}

TEST(functions)
{
    spaces_start();
    CHECK_EQ(CALL(iospace_assign, SPACE_2, BOOT_SLOT_PCI_FUNCTIONS, DEVICE), STATUS_IN_USE);
    CHECK_EQ(CALL(iospace_assign, SPACE_2, BOOT_SLOT_PCI_FUNCTIONS, 0x10000),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(range_derive, NARROW, BOOT_SLOT_PCI_FUNCTIONS, 0x20, 8, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(CALL(iospace_assign, SPACE_2, NARROW, 0x1f), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(iospace_assign, SPACE_2, NARROW, 0x28), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(iospace_assign, SPACE_2, NARROW, 0x20), STATUS_OK);
    CHECK_EQ(CALL(iospace_unassign, SPACE, 0x20), STATUS_NOT_FOUND);
    CHECK_EQ(CALL(iospace_unassign, SPACE_2, 0x20), STATUS_OK);
    for (uint32_t n = 0; n < IOSPACE_FUNCTIONS_MAX; n++) {
        CHECK_EQ(CALL(iospace_assign, SPACE_2, BOOT_SLOT_PCI_FUNCTIONS, 0x40 + n), STATUS_OK);
    }
    CHECK_EQ(CALL(iospace_assign, SPACE_2, BOOT_SLOT_PCI_FUNCTIONS, 0x80), STATUS_FULL);
    CHECK_EQ(CALL(cap_delete, SPACE_2), STATUS_OK);
    CHECK_EQ(arch_io_domain(0x40), 0);
    CHECK_EQ(CALL(iospace_assign, SPACE, BOOT_SLOT_PCI_FUNCTIONS, 0x40), STATUS_OK);
}

TEST(faults_reach_the_owner_once)
{
    spaces_start();
    struct kernel *k = kernel_under_test;
    struct registers *r = &harness_current()->registers;
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, NOTIFICATION, 1),
             STATUS_OK);
    CHECK_EQ(CALL(iospace_bind, SPACE, NOTIFICATION), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_mint, BADGED, NOTIFICATION, RIGHTS_ALL, 4), STATUS_OK);
    CHECK_EQ(CALL(iospace_bind, SPACE, BADGED), STATUS_OK);
    CHECK_EQ(CALL(iospace_bind, SPACE_2, BADGED), STATUS_OK);
    CHECK_EQ(CALL(iospace_fault, SPACE), STATUS_NOT_FOUND);
    CHECK(!kernel_io_fault(k, DEVICE + 1, 0x5000, REASON)); /* nobody's */
    CHECK(kernel_io_fault(k, DEVICE, 0x5000, REASON | IO_FAULT_WRITE));
    harness_check("fault");
    CHECK(host_machine.io_quiet[DEVICE]);
    CHECK(kernel_io_fault(k, DEVICE, 0x6000, REASON));
    CHECK_EQ(CALL(notification_wait, NOTIFICATION, DEADLINE_NOW), STATUS_OK);
    CHECK_EQ(r->word[0], 4);
    CHECK_EQ(CALL(iospace_fault, SPACE), STATUS_OK);
    CHECK_EQ(r->word[0], 0x5000);
    CHECK_EQ(r->word[1], 2ull << IO_FAULT_COUNT_SHIFT | REASON | IO_FAULT_WRITE | DEVICE);
    CHECK(!host_machine.io_quiet[DEVICE]);
    CHECK_EQ(CALL(iospace_fault, SPACE), STATUS_NOT_FOUND);
    CHECK_EQ(CALL(cap_delete, BADGED), STATUS_OK);
    CHECK_EQ(CALL(cap_delete, NOTIFICATION), STATUS_OK);
    CHECK_EQ(space_of(SPACE)->notification.n, NIL);
    CHECK_EQ(space_of(SPACE_2)->notification.n, NIL);
    CHECK(kernel_io_fault(k, DEVICE, 0x7000, REASON));
    CHECK_EQ(CALL(iospace_fault, SPACE), STATUS_OK);
}

TEST(death_takes_everything_out)
{
    spaces_start();
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE, AT, RW), STATUS_OK);
    CHECK_EQ(CALL(iospace_attach, SEGMENT + 1, SPACE, AT + SEGMENT_BYTES, RW), STATUS_OK);
    CHECK(host_io_access(DEVICE, AT, true) != 0);
    CHECK_EQ(CALL(cap_delete, SPACE), STATUS_OK);
    CHECK_EQ(arch_io_domain(DEVICE), 0);
    struct kernel *k = kernel_under_test;
    CHECK_EQ(segment_at(k, (segment_ix){harness_slot(SEGMENT)->object})->io.table.n, NIL);
    CHECK_EQ(CALL(iospace_assign, SPACE_2, BOOT_SLOT_PCI_FUNCTIONS, DEVICE), STATUS_OK);
    CHECK_EQ(CALL(iospace_map_table, SPACE_2, TABLES, AT), STATUS_OK); /* free again */
    CHECK_EQ(CALL(iospace_map_table, SPACE_2, TABLES + 1, AT), STATUS_OK);
    CHECK_EQ(CALL(iospace_attach, SEGMENT, SPACE_2, AT, RW), STATUS_OK);
    CHECK(host_io_access(DEVICE, AT, true) != 0);
    CHECK_EQ(CALL(cap_delete, TABLES + 1), STATUS_OK);
    CHECK_EQ(host_io_access(DEVICE, AT, true), 0);
}

TEST(interrupts_have_a_source)
{
    spaces_start();
    CHECK_EQ(CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, 80), STATUS_OK);
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, 81, 4, 0), STATUS_OK);
    CHECK_EQ(CALL(irq_source, 81, BOOT_SLOT_PCI_FUNCTIONS, DEVICE), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(irq_source, 80, BOOT_SLOT_IO_PORTS, DEVICE), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(irq_source, 80, BOOT_SLOT_PCI_FUNCTIONS, DEVICE), STATUS_OK);
    CHECK_EQ(host_machine.irq_source[harness_slot(80)->object], DEVICE + 1);
    uint32_t vector = harness_slot(80)->object;
    CHECK_EQ(CALL(cap_delete, 80), STATUS_OK);
    CHECK_EQ(host_machine.irq_source[vector], 0);
    host_machine.no_remapping = true;
    CHECK_EQ(CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, 80), STATUS_OK);
    CHECK_EQ(CALL(irq_source, 80, BOOT_SLOT_PCI_FUNCTIONS, DEVICE), STATUS_UNSUPPORTED);
}
