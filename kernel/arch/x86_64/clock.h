// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * System time: nanoseconds since the clock started, from the TSC. The TSC and the local APIC timer
 * are calibrated against the ACPI PM timer (or PIT channel 2), about 2 ms, once. The machine
 * contract's arch_time_ns and arch_timer_set are implemented here.
 */
#ifndef KERNEL_ARCH_X86_64_CLOCK_H
#define KERNEL_ARCH_X86_64_CLOCK_H

#include <hallows/boot.h>
#include <hallows/status.h>

/* Calibrates and starts the clock. `pm_timer_port` is 0 where there is none. Returns DEVICE_TIMEOUT
 * when no reference clock runs. Context: start only, after apic_init. */
HALLOWS_MUST_CHECK status_t clock_init(uint32_t pm_timer_port);
const struct time_calibration *clock_calibration(void);

#endif
