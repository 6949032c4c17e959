// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/arch/x86_64/clock.h"

#include "kernel/arch.h"
#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/cpu.h"

#define PM_TIMER_HZ 3579545u /* ACPI 4.8.3.3 */
#define PM_TIMER_MASK 0xffffffu
#define PIT_HZ 1193182u /* Intel 8254 data sheet; PC: 14.31818 MHz / 12 */
#define PIT_CHANNEL2 0x42u
#define PIT_CONTROL 0x43u
#define PIT_GATE 0x61u
#define INTERVAL_PM_TICKS 7159u  /* 2 ms */
#define INTERVAL_PIT_TICKS 2386u /* 2 ms */
#define SAMPLES 5u
#define POLLS_MAX 10000000u

static struct time_calibration calibration;
static uint64_t tsc_per_ns; /* 32.32 fixed point */

/* One reading of the reference clock with the TSC and the APIC timer at the same moment. */
struct sample {
    uint32_t reference;
    uint64_t tsc;
    uint32_t apic;
};

static uint32_t pm_port;

static uint32_t pit_count(void)
{
    port_out8(PIT_CONTROL, 0x80); /* latch channel 2 */
    uint32_t low = port_in8(PIT_CHANNEL2);
    return low | (uint32_t)port_in8(PIT_CHANNEL2) << 8;
}

/* Ticks upwards: the PIT counts down, so its complement. */
static uint32_t reference_read(void)
{
    return pm_port ? port_in32((uint16_t)pm_port) & PM_TIMER_MASK : 0xffffu - pit_count();
}

/* The tightest of a few readings, so that a pause of the machine in one of them does no harm. */
static struct sample take_sample(void)
{
    struct sample best = {0, 0, 0};
    uint64_t best_width = UINT64_MAX;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        uint64_t before = rdtsc();
        uint32_t reference = reference_read();
        uint32_t apic = apic_timer_count();
        uint64_t after = rdtsc();
        if (after - before < best_width) {
            best_width = after - before;
            best = (struct sample){reference, before + (after - before) / 2, apic};
        }
    }
    return best;
}

static void pit_start(void)
{
    port_out8(PIT_GATE, (uint8_t)((port_in8(PIT_GATE) & ~2u) | 1u)); /* gate on, speaker off */
    port_out8(PIT_CONTROL, 0xb0);                                    /* channel 2, mode 0 */
    port_out8(PIT_CHANNEL2, 0xff);
    port_out8(PIT_CHANNEL2, 0xff);
}

/* Measures over `interval` reference ticks. Returns false when the reference stands still. */
static bool measure(uint32_t interval, uint32_t mask, struct sample *first, struct sample *last)
{
    if (!pm_port)
        pit_start();
    apic_timer_count_start();
    *first = take_sample();
    for (uint32_t i = 0; i < POLLS_MAX; i++) {
        if (((reference_read() - first->reference) & mask) >= interval) {
            *last = take_sample();
            return last->tsc > first->tsc;
        }
        cpu_pause();
    }
    return false;
}

/* n * 2^32 / d. The quotient fits 64 bits: n / d is a ratio of clock rates. */
static uint64_t ratio_32(uint64_t n, uint64_t d)
{
    uint64_t low = n << 32, high = n >> 32;
    __asm__("divq %2" : "+a"(low), "+d"(high) : "r"(d) : "cc");
    return low;
}

status_t clock_init(uint32_t pm_timer_port)
{
    struct sample first, last;
    pm_port = pm_timer_port;
    uint64_t hz = PM_TIMER_HZ;
    uint32_t mask = PM_TIMER_MASK;
    if (pm_port == 0 || !measure(INTERVAL_PM_TICKS, mask, &first, &last)) {
        pm_port = 0;
        hz = PIT_HZ;
        mask = 0xffff;
        if (!measure(INTERVAL_PIT_TICKS, mask, &first, &last))
            return STATUS_DEVICE_TIMEOUT;
    }
    uint64_t reference = (last.reference - first.reference) & mask;
    uint64_t ticks = last.tsc - first.tsc;
    uint64_t counts = first.apic - last.apic;
    calibration.tsc_hz = ticks * hz / reference;
    if (cpu_features.crystal_hz && cpu_features.tsc_denominator && cpu_features.tsc_numerator)
        calibration.tsc_hz = (uint64_t)cpu_features.crystal_hz * cpu_features.tsc_numerator /
                             cpu_features.tsc_denominator;
    if (calibration.tsc_hz < 1000000)
        return STATUS_DEVICE_TIMEOUT;
    calibration.tsc_mult = ratio_32(1000000000u, calibration.tsc_hz);
    tsc_per_ns = ratio_32(calibration.tsc_hz, 1000000000u);
    apic_timer_init(ratio_32(counts, ticks));
    calibration.tsc_base = rdtsc();
    return STATUS_OK;
}

const struct time_calibration *clock_calibration(void)
{
    return &calibration;
}

FAST uint64_t arch_time_ns(void)
{
    uint64_t ticks = rdtsc() - calibration.tsc_base;
    return (uint64_t)((unsigned __int128)ticks * calibration.tsc_mult >> 32);
}

FAST void arch_timer_set(uint64_t deadline_ns)
{
    unsigned __int128 ticks = (unsigned __int128)deadline_ns * tsc_per_ns >> 32;
    bool never = deadline_ns == DEADLINE_NEVER || (ticks >> 63) != 0; /* in a hundred years */
    apic_timer_arm(never ? UINT64_MAX : calibration.tsc_base + (uint64_t)ticks + 1);
}
