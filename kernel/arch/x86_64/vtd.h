// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Intel VT-d: DMA and interrupt remapping for every function of the machine. The machine contract's
 * arch_io_*, arch_irq_source and arch_irq_message_mask are implemented here. All units of a machine
 * share one root table and one interrupt table, so that it does not matter which unit a function is
 * behind. Mode by capability: scalable with second-level tables, scalable with first-level tables,
 * or legacy.
 */
#ifndef KERNEL_ARCH_X86_64_VTD_H
#define KERNEL_ARCH_X86_64_VTD_H

#include "kernel/boot/acpi.h"

/* Zeroed, page-aligned memory of `bytes`, or 0. */
typedef uint64_t (*memory_source)(uint64_t bytes);

/* Brings all units up; no function reaches memory then. NULL: done, else why there is no DMA
 * remapping. Context: start only, APIC in its final mode, before any device is enabled. */
const char *vtd_init(const struct acpi_facts *facts, memory_source memory);
/* For the start-up report: "legacy", ..., NULL if there is none. */
const char *vtd_mode(void);
bool vtd_remaps_interrupts(void);

/* The message (address, data) that raises `vector`, of which the source and whether it is masked
 * stay; false: there is no interrupt remapping. */
bool vtd_message(uint32_t vector, uint32_t apic, uint64_t values[2]);
/* Routes an I/O APIC's pin through the vector's table entry; *handle goes into the pin's register.
 * False: no interrupt remapping. */
bool vtd_pin(uint32_t vector, uint32_t apic, bool level, uint32_t ioapic_id, uint32_t *handle);

/* The fault-event interrupt: hands every record to the core. */
void vtd_interrupt(void);

#endif
