// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * How late a window's first instruction comes, of all frames the latest: with a CPU that idled
 * before, and with another domain that makes long calls and has a device that interrupts all the
 * time. Guest time is exact here (QEMU's icount).
 */
#include "runtime/syscall_partition.h"
#include "tests/kernel/bench.h"
#include "tests/kernel/hpet.h"

#define OTHER_NS 200000u
#define WINDOW_NS 50000u
#define FRAMES 100u
/* Longer than any entry into the kernel: who did not run for so long was in no window. */
#define GAP_NS 20000u
#define STORM_TICKS 500u /* of the HPET, 100 MHz in QEMU: an interrupt each 5 us */
#define HPET_PERIODIC (1u << 3)
#define HPET_SET_VALUE (1u << 6)

static time_ns_t started;
static cap_slot_t storm, storm_irq;
static volatile uint64_t frames, latest_ns;

static void watch(uint64_t unused)
{
    (void)unused;
    time_ns_t last = now_ns();
    for (;;) {
        time_ns_t now = now_ns();
        if (now - last > GAP_NS && now > started) {
            uint64_t late = (now - started) % (OTHER_NS + WINDOW_NS) - OTHER_NS;
            latest_ns = late > latest_ns ? late : latest_ns;
            frames = frames + 1;
        }
        last = now;
    }
}

/* A table of two windows; the second is the watcher's. */
static bool windows_start(void)
{
    cap_slot_t schedule = object_new(OBJECT_PARTITION_SCHEDULE, 0);
    struct helper helper = helper_new(watch, 0, PRIORITY_HIGH);
    frames = latest_ns = 0;
    started = now_ns() + WINDOW_NS;
    return thread_set_domain(helper.thread, BOOT_SLOT_SCHED_CONTROL, 1) == STATUS_OK &&
           thread_resume(helper.thread) == STATUS_OK &&
           schedule_append(schedule, BOOT_SLOT_SCHED_CONTROL, 0, OTHER_NS) == STATUS_OK &&
           schedule_append(schedule, BOOT_SLOT_SCHED_CONTROL, 1, WINDOW_NS) == STATUS_OK &&
           schedule_start(schedule, BOOT_SLOT_SCHED_CONTROL, 0, started) == STATUS_OK;
}

static void windows_stop(void)
{
    (void)schedule_start(0, BOOT_SLOT_SCHED_CONTROL, 0, 0);
    pause_ns(2 * (OTHER_NS + WINDOW_NS));
}

/* Interrupts that nobody waits for, edge after edge. */
static void storm_start(volatile uint64_t *hpet)
{
    uint32_t gsi = hpet == NULL ? 0 : hpet_pin(hpet);
    storm_irq = slot_new();
    storm = minted(object_new(OBJECT_NOTIFICATION, 0), RIGHTS_ALL, 1);
    if (gsi == 0)
        return;
    while (gsi < 23 && irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, storm_irq, gsi, 0) == STATUS_IN_USE)
        gsi++; /* the pin of another benchmark */
    if (irq_bind(storm_irq, storm) != STATUS_OK)
        return;
    hpet[HPET_CONFIGURATION] = 0;
    hpet[HPET_COUNTER] = 0;
    hpet[HPET_TIMER2] = gsi << HPET_ROUTE_SHIFT | HPET_ENABLE | HPET_PERIODIC | HPET_SET_VALUE;
    hpet[HPET_TIMER2_COMPARE] = STORM_TICKS;
    hpet[HPET_TIMER2_COMPARE] = STORM_TICKS; /* the period */
    hpet[HPET_CONFIGURATION] = 1;
}

void benchmarks_partition(void)
{
    if (!windows_start())
        return;
    while (frames < FRAMES)
        pause_ns(OTHER_NS);
    windows_stop();
    report("window-start", latest_ns);
    volatile uint64_t *hpet = hpet_map();
    cap_slot_t segment = segment_new(1, RIGHT_READ | RIGHT_WRITE);
    struct retype_request request = {OBJECT_ENDPOINT, 0, slot_new(), 1};
    storm_start(hpet);
    if (!windows_start())
        return;
    while (frames < FRAMES) {
        (void)segment_protect(segment, 0, 1, RIGHT_READ);
        (void)retype(test_untyped, request);
        (void)destroy(request.first);
    }
    windows_stop();
    uint64_t word, values[2];
    if (notification_wait(storm, DEADLINE_NOW, &word) == STATUS_OK)
        report("window-start-storm", latest_ns);
    /* The device is the watcher's: what was held back arrives when its window begins. */
    if (irq_affinity(storm_irq, BOOT_SLOT_SCHED_CONTROL, 0, 1, values) != STATUS_OK ||
        !windows_start())
        return;
    while (frames < FRAMES)
        pause_ns(OTHER_NS);
    windows_stop();
    if (hpet != NULL)
        hpet_stop(hpet);
    if (notification_wait(storm, DEADLINE_NOW, &word) == STATUS_OK)
        report("window-start-held", latest_ns);
}
