// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Local APIC: interrupt acknowledge and the one-shot timer, as x2APIC where the CPU has it, else
 * through its page (SDM vol. 3, chapter 11). The old PICs are masked for good.
 *
 * Vectors: 0..31 CPU exceptions; VECTOR_PIC_* the masked PICs' spurious ones; VECTOR_DEVICE_* given
 * out to interrupt handlers; VECTOR_IOMMU; VECTOR_TIMER; VECTOR_KICK; VECTOR_SPURIOUS.
 */
#ifndef KERNEL_ARCH_X86_64_APIC_H
#define KERNEL_ARCH_X86_64_APIC_H

#include <stdbool.h>
#include <stdint.h>

#define VECTOR_PIC_FIRST 0x20u
#define VECTOR_DEVICE_FIRST 0x30u
#define VECTOR_DEVICE_LAST 0xeeu
#define VECTOR_IOMMU 0xefu /* its fault event */
#define VECTOR_TIMER 0xf0u
#define VECTOR_KICK 0xf1u /* from another CPU */
#define VECTOR_SPURIOUS 0xffu
/* The largest id that an interrupt reaches without remapping (SDM vol. 3, 11.11.1). */
#define APIC_ID_UNMAPPED_MAX 0xffu

/* Masks the PICs and turns the local APIC on, its timer stopped. `lapic_address` is used when there
 * is no x2APIC, and while the timer is calibrated. Context: start only. */
void apic_init(uint64_t lapic_address);
/* Starts the timer without an interrupt from its largest count, and reads what is left of it: for
 * calibration only. */
void apic_timer_count_start(void);
uint32_t apic_timer_count(void);
/* Changes to x2APIC where there is one, and remembers how to arm the timer: counts = TSC ticks *
 * count_per_tick >> 32. Context: start only, after calibration. */
void apic_timer_init(uint64_t count_per_tick);

/* Makes VECTOR_TIMER fire when the TSC reaches `tsc` (at once if it has; UINT64_MAX: never).
 * A far time may fire early; the caller then arms again. */
void apic_timer_arm(uint64_t tsc);
void apic_end_of_interrupt(void);
/* Turns on the local APIC of a CPU other than the first, as that one's is. Context: start of that
 * CPU. */
void apic_join(void);
#define XAPIC_ID_MAX 0xfeu /* without x2APIC; 0xff is everybody */
/* Sends a CPU one of these (SDM vol. 3, 11.6; all assert their level). */
#define APIC_FIXED 0x4000u /* with a vector */
#define APIC_INIT 0x4500u
#define APIC_STARTUP 0x4600u     /* with the number of a page below 1 MiB */
#define APIC_NMI_OTHERS 0xc4400u /* to all but this one, whatever the id */
void apic_send(uint32_t id, uint32_t command);
uint32_t apic_id(void);

#endif
