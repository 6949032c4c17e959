// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * System time: nanoseconds since the clock started, from the TSC. The TSC and the local APIC timer
 * are calibrated against the ACPI PM timer (or PIT channel 2), about 2 ms, once.
 */
#ifndef KERNEL_ARCH_X86_64_CLOCK_H
#define KERNEL_ARCH_X86_64_CLOCK_H

#include <hallows/boot.h>
#include <hallows/status.h>

/* Calibrates and starts the clock. `pm_timer_port` is 0 where there is none. Returns DEVICE_TIMEOUT
 * when no reference clock runs. Context: start only, after apic_init. */
HALLOWS_MUST_CHECK status_t clock_init(uint32_t pm_timer_port);
const struct time_calibration *clock_calibration(void);
time_ns_t clock_now(void);
/* The TSC value at which clock_now reaches `time`; UINT64_MAX for times beyond about 100 years. */
uint64_t clock_tsc_at(time_ns_t time);

#endif
