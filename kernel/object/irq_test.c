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

/* ---- CPU and domain, and windows of others ------------------------------------------------- */

#define CONTROL BOOT_SLOT_SCHED_CONTROL
#define S0 60
#define US 1000u
#define MORE 70 /* several irqs */

static uint64_t frame_ns;

/* Domain 0 for 100 us, domain 1 for 50 us; so many irqs, bound, in domain 1. */
static void windows_start(uint32_t irqs)
{
    irq_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_PARTITION_SCHEDULE, 0, S0, 1), STATUS_OK);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, 0, 100 * US), STATUS_OK);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, 1, 50 * US), STATUS_OK);
    for (uint32_t n = 0; n < irqs; n++) {
        CHECK_EQ(CALL(cap_mint, MORE + 20 + n, NOTIFICATION, RIGHT_SEND, 1u << n), STATUS_OK);
        CHECK_EQ(CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, MORE + n), STATUS_OK);
        CHECK_EQ(CALL(irq_affinity, MORE + n, CONTROL, 0, 1), STATUS_OK);
        CHECK_EQ(CALL(irq_bind, MORE + n, MORE + 20 + n), STATUS_OK);
    }
    frame_ns = host_machine.now_ns + 10 * US;
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 0, frame_ns), STATUS_OK);
    harness_time(frame_ns);
    CHECK_EQ(cpu_self(kernel_under_test)->domain, 0);
}

static uint64_t word(void)
{
    return notification_at(kernel_under_test, (notification_ix){harness_slot(NOTIFICATION)->object})
        ->word;
}

static uint32_t vector_of(uint32_t slot)
{
    return harness_slot(slot)->object;
}

static void fires(uint32_t slot)
{
    kernel_interrupt(kernel_under_test, vector_of(slot));
    harness_check("interrupt");
}

TEST(what_affinity_refuses)
{
    windows_start(1);
    CHECK_EQ(CALL(irq_affinity, MORE, S0, 0, 1), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(irq_affinity, S0, CONTROL, 0, 1), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(irq_affinity, MORE, CONTROL, HARNESS_CPUS, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(irq_affinity, MORE, CONTROL, UINT64_MAX, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(irq_affinity, MORE, CONTROL, 0, DOMAIN_COUNT), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(irq_affinity, MORE, CONTROL, 0, UINT64_MAX), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_copy, 62, MORE, RIGHTS_ALL & ~RIGHT_MANAGE), STATUS_OK);
    CHECK_EQ(CALL(irq_affinity, 62, CONTROL, 0, 1), STATUS_NO_RIGHTS);
    CHECK_EQ(host_machine.irq_cpu[vector_of(MORE)], 1);
}

TEST(a_source_is_masked_until_it_is_bound)
{
    irq_start();
    CHECK_EQ(CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, IRQ), STATUS_OK);
    uint32_t vector = vector_of(IRQ);
    CHECK(host_machine.message_masked[vector]);
    CHECK_EQ(CALL(irq_bind, IRQ, BADGED), STATUS_OK);
    CHECK(!host_machine.message_masked[vector]);
    CHECK_EQ(CALL(irq_bind, IRQ, 0), STATUS_OK);
    CHECK(host_machine.message_masked[vector]);
}

TEST(the_destination_changes)
{
    irq_start();
    CHECK_EQ(CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, IRQ), STATUS_OK);
    CHECK_EQ(CALL(irq_affinity, IRQ, CONTROL, 1, 0), STATUS_OK);
    CHECK_EQ(host_machine.irq_cpu[vector_of(IRQ)], 2);
    CHECK_EQ(harness_current()->registers.word[0], 0xfee01000u);
    CHECK_EQ(word(), 0); /* not bound: nothing can have been lost */
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, IRQ + 1, 9, IRQ_LEVEL), STATUS_OK);
    CHECK_EQ(CALL(irq_bind, IRQ + 1, BADGED), STATUS_OK);
    CHECK_EQ(CALL(irq_affinity, IRQ + 1, CONTROL, 1, 0), STATUS_OK);
    CHECK_EQ(host_machine.irq_cpu[vector_of(IRQ + 1)], 2);
    CHECK_EQ(word(), 4); /* one may have been lost on the way */
    CHECK_EQ(host_machine.pin_masked, 1u << 9);
    CHECK_EQ(CALL(irq_ack, IRQ + 1), STATUS_OK);
    CHECK_EQ(host_machine.pin_masked, 0);
}

TEST(interrupts_of_other_domains_are_held_back)
{
    windows_start(2);
    fires(MORE);
    CHECK_EQ(word(), 0);
    CHECK(host_machine.message_masked[vector_of(MORE)]);
    CHECK(!host_machine.message_masked[vector_of(MORE + 1)]);
    fires(MORE); /* a machine that cannot mask it */
    CHECK_EQ(word(), 0);
    harness_time(frame_ns + 100 * US);
    CHECK_EQ(cpu_self(kernel_under_test)->domain, 1);
    CHECK_EQ(word(), 1);
    CHECK(!host_machine.message_masked[vector_of(MORE)]);
    fires(MORE + 1); /* in its own window at once */
    CHECK_EQ(word(), 3);
    harness_time(frame_ns + 150 * US);
    CHECK_EQ(cpu_self(kernel_under_test)->domain, 0);
    fires(MORE + 1);
    CHECK_EQ(word(), 3);
    CHECK_EQ(CALL(notification_wait, NOTIFICATION, 0), STATUS_OK);
    harness_time(frame_ns + 250 * US);
    CHECK_EQ(word(), 2);
}

TEST(two_an_entry_are_released)
{
    windows_start(5);
    for (uint32_t n = 0; n < 5; n++) {
        fires(MORE + n);
    }
    harness_time(frame_ns + 100 * US);
    CHECK_EQ(word(), 3);
    CHECK_EQ(host_machine.timer_ns, 0);
    harness_time(host_machine.now_ns);
    CHECK_EQ(word(), 15);
    CHECK_EQ(host_machine.timer_ns, 0);
    harness_time(host_machine.now_ns);
    CHECK_EQ(word(), 31);
    CHECK_EQ(host_machine.timer_ns, frame_ns + 150 * US);
}

TEST(what_is_left_waits_for_the_next_window)
{
    windows_start(5);
    for (uint32_t n = 0; n < 5; n++) {
        fires(MORE + n);
    }
    harness_time(frame_ns + 100 * US);
    CHECK_EQ(word(), 3);
    harness_time(frame_ns + 150 * US); /* late: the window is over */
    CHECK_EQ(cpu_self(kernel_under_test)->domain, 0);
    CHECK_EQ(word(), 3);
    harness_time(frame_ns + 250 * US);
    CHECK_EQ(word(), 15);
}

TEST(level_pins_are_held_back_masked)
{
    windows_start(0);
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, IRQ, 9, IRQ_LEVEL), STATUS_OK);
    CHECK_EQ(CALL(irq_bind, IRQ, BADGED), STATUS_OK);
    CHECK_EQ(CALL(irq_affinity, IRQ, CONTROL, 0, 1), STATUS_OK);
    harness_time(frame_ns + 100 * US);
    CHECK_EQ(word(), 4);
    CHECK_EQ(host_machine.pin_masked, 1u << 9);
    harness_time(frame_ns + 150 * US);
    CHECK_EQ(CALL(irq_ack, IRQ), STATUS_OK);
    CHECK_EQ(host_machine.pin_masked, 0);
    CHECK_EQ(CALL(notification_wait, NOTIFICATION, 0), STATUS_OK);
    fires(IRQ);
    CHECK_EQ(host_machine.pin_masked, 1u << 9);
    CHECK_EQ(CALL(irq_ack, IRQ), STATUS_OK); /* who acknowledges too much lets nothing in */
    CHECK_EQ(host_machine.pin_masked, 1u << 9);
    harness_time(frame_ns + 250 * US);
    CHECK_EQ(word(), 4);
    CHECK_EQ(host_machine.pin_masked, 1u << 9);
    harness_time(frame_ns + 300 * US);
    CHECK_EQ(CALL(irq_ack, IRQ), STATUS_OK);
    CHECK_EQ(host_machine.pin_masked, 0);
}

TEST(what_is_held_back_goes_along_or_is_forgotten)
{
    windows_start(3);
    fires(MORE);
    fires(MORE + 1);
    fires(MORE + 2);
    CHECK_EQ(CALL(irq_affinity, MORE, CONTROL, 0, 0), STATUS_OK); /* whose window it is */
    CHECK_EQ(word(), 1);
    CHECK(!host_machine.message_masked[vector_of(MORE)]);
    CHECK_EQ(CALL(irq_bind, MORE + 1, MORE + 21), STATUS_OK);
    CHECK(!host_machine.message_masked[vector_of(MORE + 1)]);
    CHECK_EQ(CALL(cap_delete, MORE + 2), STATUS_OK);
    harness_time(frame_ns + 100 * US);
    CHECK_EQ(word(), 1);
    harness_time(frame_ns + 150 * US);
    /* Of another CPU, which runs domain 0: held there until somebody gives it a window. */
    CHECK_EQ(CALL(irq_affinity, MORE, CONTROL, 1, 2), STATUS_OK);
    CHECK(host_machine.message_masked[vector_of(MORE)]);
    CHECK_EQ(CALL(irq_affinity, MORE, CONTROL, 1, 0), STATUS_OK);
    CHECK(!host_machine.message_masked[vector_of(MORE)]);
}

TEST(without_a_schedule_domain_0_gets_all)
{
    windows_start(2);
    CHECK_EQ(CALL(irq_affinity, MORE, CONTROL, 0, 0), STATUS_OK);
    CHECK_EQ(CALL(notification_wait, NOTIFICATION, 0), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, 0, CONTROL, 0, 0), STATUS_OK); /* from the next frame on */
    harness_time(frame_ns + 100 * US);
    CHECK_EQ(cpu_self(kernel_under_test)->domain, 1);
    fires(MORE);
    fires(MORE + 1);
    CHECK_EQ(word(), 2);
    harness_time(frame_ns + 150 * US);
    CHECK_EQ(word(), 3);
    fires(MORE);
    fires(MORE + 1);
    CHECK_EQ(word(), 3);
    CHECK(host_machine.message_masked[vector_of(MORE + 1)]);
    CHECK_EQ(cpu_self(kernel_under_test)->timer_armed, DEADLINE_NEVER);
}

TEST(an_irq_is_no_deeper_than_the_limit)
{
    irq_start();
    uint32_t from = BOOT_SLOT_IRQ_CONTROL;
    for (uint32_t depth = 1; depth <= DERIVATION_DEPTH_MAX; depth++) {
        CHECK_EQ(CALL(irq_create_msi, from, IRQ), STATUS_OK);
        CHECK_EQ(CALL(cap_delete, IRQ), STATUS_OK);
        CHECK_EQ(CALL(cap_copy, MORE + depth, from, RIGHTS_ALL), STATUS_OK);
        from = MORE + depth;
    }
    CHECK_EQ(CALL(irq_create_msi, from, IRQ), STATUS_DERIVATION_DEPTH);
    CHECK_EQ(CALL(irq_create_ioapic, from, IRQ, 9, 0), STATUS_DERIVATION_DEPTH);
}

TEST(a_pin_of_the_last_vector_is_taken)
{
    irq_start();
    for (uint32_t v = IRQ_VECTOR_FIRST; v < IRQ_VECTOR_LAST; v++) {
        CHECK_EQ(CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, IRQ + v - IRQ_VECTOR_FIRST),
                 STATUS_OK);
    }
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, 250, 9, 0), STATUS_OK);
    CHECK_EQ(harness_slot(250)->object, IRQ_VECTOR_LAST);
    CHECK_EQ(CALL(cap_delete, IRQ), STATUS_OK);
    CHECK_EQ(CALL(irq_create_ioapic, BOOT_SLOT_IRQ_CONTROL, IRQ, 9, 0), STATUS_IN_USE);
}
