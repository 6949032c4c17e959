// SPDX-License-Identifier: MIT OR Apache-2.0
/* Interrupts that have a CPU and a domain (docs/decisions/017). Messages that are remapped:
 * test_iospace.c. */
#include "runtime/syscall_partition.h"
#include "tests/kernel/held.h"
#include "tests/kernel/hpet.h"

#define CONTROL BOOT_SLOT_SCHED_CONTROL
#define MS 1000000ull

static uint32_t pin;
static cap_slot_t done;

static void fire_edge(void *device)
{
    hpet_fire_soon(device, (uint64_t)pin << HPET_ROUTE_SHIFT);
}

static void fire_level(void *device)
{
    hpet_fire_soon(device, (uint64_t)pin << HPET_ROUTE_SHIFT | HPET_LEVEL);
}

static void fire_message(void *device)
{
    hpet_fire_soon(device, HPET_FSB_ENABLE);
}

static volatile uint64_t *find_pin(void)
{
    volatile uint64_t *hpet = hpet_map();
    pin = hpet == NULL ? 0 : hpet_pin(hpet);
    if (pin == 0)
        test_skip("no HPET pin");
    return pin == 0 ? NULL : hpet;
}

static void quiet(void *device)
{
    hpet_stop(device);
}

static void pin_is_held_back(uint32_t flags, void (*fire)(void *))
{
    volatile uint64_t *hpet = find_pin();
    if (hpet == NULL)
        return;
    struct held_source source = {.irq = slot_new(),
                                 .fire = fire,
                                 .device = (void *)(uintptr_t)hpet,
                                 .masked = true,
                                 .quiet = (flags & IRQ_LEVEL) != 0 ? quiet : NULL};
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, source.irq, pin, flags));
    held_bind(&source);
    held_expect(&source);
    hpet_stop(hpet);
}

KERNEL_TEST(an_edge_waits_for_its_window)
{
    pin_is_held_back(0, fire_edge);
}

KERNEL_TEST(a_level_waits_for_its_window)
{
    pin_is_held_back(IRQ_LEVEL, fire_level);
}

KERNEL_TEST(a_message_waits_for_its_window)
{
    volatile uint64_t *hpet = hpet_map();
    if (hpet == NULL || !(hpet[HPET_TIMER2] & HPET_FSB_POSSIBLE))
        return test_skip("the HPET sends no messages (-global hpet.msi=on)");
    if ((boot->flags & BOOT_FLAG_IOMMU) != 0)
        return test_skip("QEMU's HPET goes past the interrupt remapping; see test_iospace.c");
    uint64_t target[2];
    struct held_source source = {
        .irq = slot_new(), .fire = fire_message, .device = (void *)(uintptr_t)hpet};
    EXPECT_OK(irq_create_msi(BOOT_SLOT_IRQ_CONTROL, source.irq, target));
    hpet[HPET_TIMER2_FSB] = target[0] << 32 | (uint32_t)target[1];
    held_bind(&source);
    held_expect(&source);
    hpet_stop(hpet);
}

KERNEL_TEST(an_interrupt_needs_authority_to_move)
{
    cap_slot_t irq = slot_new();
    uint64_t values[2];
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, irq, 22, 0));
    EXPECT_EQ(irq_affinity(irq, BOOT_SLOT_IRQ_CONTROL, 0, 1, values), STATUS_WRONG_TYPE);
    EXPECT_EQ(irq_affinity(irq, CONTROL, boot->cpus_used, 1, values), STATUS_INVALID_ARGUMENT);
    EXPECT_EQ(irq_affinity(irq, CONTROL, 0, 16, values), STATUS_INVALID_ARGUMENT);
    cap_slot_t closed = minted(irq, RIGHTS_ALL & ~(uint32_t)RIGHT_MANAGE, 0);
    EXPECT_EQ(irq_affinity(closed, CONTROL, 0, 1, values), STATUS_NO_RIGHTS);
    EXPECT_OK(irq_affinity(irq, CONTROL, boot->cpus_used - 1, 15, values));
}

/* ---- CPUs ------------------------------------------------------------------------------------ */

static void trace_here(uint64_t on)
{
    (void)trace_control(BOOT_SLOT_TRACE, on != 0);
    (void)notification_signal(done);
}

static void trace_on(uint32_t cpu, bool on)
{
    uint64_t word;
    struct helper helper = helper_new(trace_here, on, PRIORITY_HIGH);
    EXPECT_OK(thread_set_cpu(helper.thread, CONTROL, cpu));
    EXPECT_OK(thread_resume(helper.thread));
    EXPECT_OK(notification_wait(done, now_ns() + 10000 * MS, &word));
    EXPECT_OK(destroy(helper.thread));
}

static uint64_t trace_count(uint32_t cpu)
{
    uint64_t words[MESSAGE_WORDS_MAX];
    return trace_read(BOOT_SLOT_TRACE, cpu, 0, words) == STATUS_OK ? words[1] : 0;
}

/* Interrupts of devices that the CPU's trace knows since then. */
static uint32_t came_on(uint32_t cpu, uint64_t from)
{
    uint64_t words[MESSAGE_WORDS_MAX];
    uint32_t count = 0;
    for (uint64_t n = from; trace_read(BOOT_SLOT_TRACE, cpu, n, words) == STATUS_OK;
         n = words[0] + 1)
        count += (uint32_t)words[3] == TRACE_IRQ;
    return count;
}

KERNEL_TEST(an_interrupt_arrives_on_its_cpu)
{
    volatile uint64_t *hpet = find_pin();
    if (hpet == NULL)
        return;
    if (boot->cpus_used < 2)
        return test_skip("one CPU");
    uint64_t values[2], word = 0;
    cap_slot_t irq = slot_new();
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    done = minted(object_new(OBJECT_NOTIFICATION, 0), RIGHTS_ALL, 1);
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, irq, pin, 0));
    EXPECT_OK(irq_bind(irq, minted(notification, RIGHT_SEND, 1)));
    for (uint32_t n = 0; n < 3; n++) {
        uint32_t cpu = n == 0 ? boot->cpus_used - 1 : n - 1;
        EXPECT_OK(irq_affinity(irq, CONTROL, cpu, 0, values));
        EXPECT_OK(notification_wait(notification, DEADLINE_NOW, &word)); /* one may be lost */
        uint64_t from = trace_count(cpu);
        trace_on(cpu, true);
        fire_edge((void *)(uintptr_t)hpet);
        EXPECT_OK(notification_wait(notification, now_ns() + 10000 * MS, &word));
        trace_on(cpu, false);
        EXPECT_EQ(came_on(cpu, from), 1);
    }
    hpet_stop(hpet);
}
