// SPDX-License-Identifier: MIT OR Apache-2.0
/* The rest of the machine contract (kernel/arch.h): address spaces, time, interrupt routing,
 * ports, console. */
#include "kernel/arch.h"

#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/paging.h"
#include "kernel/arch/x86_64/serial.h"
#include "kernel/arch/x86_64/traps.h"
#include "kernel/arch/x86_64/vtd.h"

#define MSI_ADDRESS 0xfee00000u /* SDM vol. 3, 11.11.1 */
#define MSI_DESTINATION_SHIFT 12u

_Static_assert(IRQ_VECTOR_FIRST == VECTOR_DEVICE_FIRST, "the core hands out these vectors");
_Static_assert(IRQ_VECTOR_LAST == VECTOR_DEVICE_LAST, "the core hands out these vectors");

/* ---- Address spaces ---------------------------------------------------------------------------
 */

uint32_t arch_large_level_max(void)
{
    return cpu_features.page_1g ? 2 : 1;
}

void arch_aspace_init(uint64_t root)
{
    uint64_t *entries = arch_memory(root);
    const uint64_t *kernel = arch_memory(paging_shared_root);
    for (uint32_t i = PML4_KERNEL_FIRST; i < PML4_ENTRIES; i++)
        entries[i] = kernel[i];
}

/* ---- Interrupts ------------------------------------------------------------------------------ */

status_t arch_irq_msi(uint32_t vector, const struct cpu *c, uint64_t values[2])
{
    uint32_t id = c->arch.apic_id;
    if (vtd_message(vector, id, values))
        return STATUS_OK;
    if (id > APIC_ID_UNMAPPED_MAX)
        return STATUS_UNSUPPORTED;
    values[0] = MSI_ADDRESS | id << MSI_DESTINATION_SHIFT;
    values[1] = vector; /* fixed, edge */
    return STATUS_OK;
}

/* ---- Ports ----------------------------------------------------------------------------------- */

uint32_t arch_port_in(uint16_t port, uint32_t width)
{
    return width == 1 ? port_in8(port) : width == 2 ? port_in16(port) : port_in32(port);
}

void arch_port_out(uint16_t port, uint32_t width, uint32_t value)
{
    if (width == 1)
        port_out8(port, (uint8_t)value);
    else if (width == 2)
        port_out16(port, (uint16_t)value);
    else
        port_out32(port, value);
}
