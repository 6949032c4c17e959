// SPDX-License-Identifier: MIT OR Apache-2.0
#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "tests/check.h"

#define NOTIFICATION 30
#define BADGED 31
#define IRQ 40

static void irq_start(void)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, NOTIFICATION, 1),
             STATUS_OK);
    CHECK_EQ(CALL(cap_mint, BADGED, NOTIFICATION, RIGHT_SEND, 4), STATUS_OK);
}

TEST(msi_signals_its_notification)
{
    irq_start();
    CHECK_EQ(CALL(irq_create_msi, NOTIFICATION, IRQ), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, BADGED), STATUS_OCCUPIED_SLOT);
    CHECK_EQ(CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, IRQ), STATUS_OK);
    uint32_t vector = (uint32_t)harness_current()->registers.word[1];
    CHECK_EQ(vector, harness_slot(IRQ)->object);
    CHECK_EQ(CALL(irq_ack, IRQ), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(irq_bind, IRQ, NOTIFICATION), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(irq_bind, IRQ, BADGED), STATUS_OK);
    kernel_interrupt(kernel_under_test, vector);
    harness_check("interrupt");
    CHECK_EQ(CALL(notification_wait, NOTIFICATION, 0), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[0], 4);
    CHECK_EQ(CALL(irq_bind, IRQ, 0), STATUS_OK);
    kernel_interrupt(kernel_under_test, vector);
    CHECK_EQ(CALL(notification_wait, NOTIFICATION, 0), STATUS_TIMED_OUT);
    CHECK_EQ(CALL(cap_delete, IRQ), STATUS_OK);
    kernel_interrupt(kernel_under_test, vector);
    kernel_interrupt(kernel_under_test, 0);
    kernel_interrupt(kernel_under_test, 4000);
    harness_check("interrupt");
}

TEST(vectors_run_out)
{
    irq_start();
    uint32_t made = 0;
    int64_t status;
    while ((status = CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, IRQ + made)) == STATUS_OK) {
        made++;
    }
    CHECK_EQ(status, STATUS_NO_MEMORY);
    CHECK_EQ(made, IRQ_VECTOR_LAST - IRQ_VECTOR_FIRST + 1);
    for (uint32_t n = 0; n < made; n++) {
        CHECK_EQ(CALL(irq_bind, IRQ + n, BADGED), STATUS_OK);
    }
    kernel_interrupt(kernel_under_test, IRQ_VECTOR_LAST);
    CHECK_EQ(CALL(notification_wait, NOTIFICATION, 0), STATUS_OK);
    CHECK_EQ(CALL(cap_revoke, NOTIFICATION), STATUS_OK);
    const struct call delete = {.number = CALL_cap_delete, .a = {NOTIFICATION}};
    CHECK_EQ(harness_repeat(&delete, 100), STATUS_OK);
    const struct call revoke = {.number = CALL_cap_revoke, .a = {BOOT_SLOT_IRQ_CONTROL}};
    CHECK_EQ(harness_repeat(&revoke, 1000), STATUS_OK);
    CHECK_EQ(CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, IRQ), STATUS_OK);
}

TEST(level_pins_are_masked_until_acknowledged)
{
    irq_start();
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, IRQ, 9, 4), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, IRQ, 1000, 0), STATUS_NOT_FOUND);
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, IRQ, 9, IRQ_LEVEL), STATUS_OK);
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, IRQ + 1, 9, IRQ_LEVEL), STATUS_IN_USE);
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, IRQ + 1, 10, 0), STATUS_OK);
    CHECK_EQ(CALL(cap_delete, IRQ + 1), STATUS_OK);
    CHECK_EQ(host_machine.pin_masked, 3u << 9);
    host_machine.pin_masked = 1u << 9;
    CHECK_EQ(CALL(irq_bind, IRQ, BADGED), STATUS_OK);
    CHECK_EQ(host_machine.pin_masked, 0);
    kernel_interrupt(kernel_under_test, host_machine.pin_vector[9]);
    CHECK_EQ(host_machine.pin_masked, 1u << 9);
    CHECK_EQ(CALL(irq_ack, IRQ), STATUS_OK);
    CHECK_EQ(host_machine.pin_masked, 0);
    CHECK_EQ(CALL(cap_delete, IRQ), STATUS_OK);
    CHECK_EQ(host_machine.pin_masked, 1u << 9);
}
