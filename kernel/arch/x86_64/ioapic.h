// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * I/O APICs (Intel 82093AA data sheet): pins masked at start, routed one by one. The machine
 * contract's arch_irq_pin and arch_irq_pin_mask are implemented here.
 */
#ifndef KERNEL_ARCH_X86_64_IOAPIC_H
#define KERNEL_ARCH_X86_64_IOAPIC_H

#include "kernel/boot/acpi.h"

/* Maps and masks every pin of the I/O APICs in `facts`. Context: start only. */
void ioapic_init(const struct acpi_facts *facts);

#endif
