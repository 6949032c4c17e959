// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * I/O APICs (Intel 82093AA data sheet): pins masked at start, routed to this CPU one by one. And
 * the address and data with which a device sends a message-signalled interrupt (SDM vol. 3, 11.11).
 */
#ifndef KERNEL_ARCH_X86_64_IOAPIC_H
#define KERNEL_ARCH_X86_64_IOAPIC_H

#include <hallows/status.h>

#include "kernel/boot/acpi.h"

/* Maps and masks every pin of the I/O APICs in `facts`. Context: start only. */
void ioapic_init(const struct acpi_facts *facts);
/* Whether some I/O APIC has that global system interrupt. */
/* Routes `gsi` to `vector` on this CPU, masked. Returns NOT_FOUND when no I/O APIC has it. */
HALLOWS_MUST_CHECK status_t ioapic_route(uint32_t gsi, uint32_t vector, bool level,
                                         bool active_low);
/* Masks or unmasks a pin; a gsi that does not exist is ignored. */
void ioapic_set_mask(uint32_t gsi, bool masked);

#endif
