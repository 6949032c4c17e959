// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/arch/x86_64/ioapic.h"

#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/paging.h"
#include "kernel/arch/x86_64/vtd.h"
#include "kernel/state.h"

#define IOAPIC_VERSION 0x01u
#define IOAPIC_REDIRECTION 0x10u /* two 32-bit registers a pin */
#define PINS_MAX 240u
#define REDIRECTION_ACTIVE_LOW (1u << 13)
#define REDIRECTION_LEVEL (1u << 15)
#define REDIRECTION_REMAPPED (1u << 16) /* of the upper register */
#define REDIRECTION_MASKED (1u << 16)

struct ioapic {
    volatile uint32_t *select;
    uint32_t gsi_base;
    uint32_t id;
    uint32_t pins;
};

static struct ioapic ioapics[ACPI_IOAPICS_MAX];
static uint32_t ioapic_count;

static uint32_t reg_read(const struct ioapic *io, uint32_t reg)
{
    io->select[0] = reg;
    return io->select[4]; /* IOWIN, byte offset 0x10 */
}

static void reg_write(const struct ioapic *io, uint32_t reg, uint32_t value)
{
    io->select[0] = reg;
    io->select[4] = value;
}

void ioapic_init(const struct acpi_facts *facts)
{
    for (uint32_t i = 0; i < facts->ioapic_count && i < ACPI_IOAPICS_MAX; i++) {
        struct ioapic *io = &ioapics[ioapic_count++];
        io->select = paging_map_device(facts->ioapics[i].address);
        io->gsi_base = facts->ioapics[i].gsi_base;
        io->id = facts->ioapics[i].id;
        io->pins = (reg_read(io, IOAPIC_VERSION) >> 16 & 0xff) + 1;
        if (io->pins > PINS_MAX)
            io->pins = PINS_MAX;
        for (uint32_t pin = 0; pin < io->pins; pin++)
            reg_write(io, IOAPIC_REDIRECTION + 2 * pin, REDIRECTION_MASKED);
    }
}

static const struct ioapic *find(uint32_t gsi)
{
    for (uint32_t i = 0; i < ioapic_count; i++)
        if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].pins)
            return &ioapics[i];
    return NULL;
}

status_t arch_irq_pin(uint32_t gsi, uint32_t vector, uint32_t flags, const struct cpu *c)
{
    const struct ioapic *io = find(gsi);
    bool level = (flags & IRQ_LEVEL) != 0;
    uint32_t handle, upper = c->arch.apic_id << 24;
    if (io == NULL)
        return STATUS_NOT_FOUND;
    if (vtd_pin(vector, c->arch.apic_id, level, io->id, &handle))
        upper = handle << 17 | REDIRECTION_REMAPPED; /* VT-d 5.0, 5.1.5.1 */
    else if (c->arch.apic_id > APIC_ID_UNMAPPED_MAX)
        return STATUS_UNSUPPORTED;
    uint32_t reg = IOAPIC_REDIRECTION + 2 * (gsi - io->gsi_base);
    uint32_t masked = reg_read(io, reg) & REDIRECTION_MASKED;
    reg_write(io, reg, REDIRECTION_MASKED);
    reg_write(io, reg + 1, upper);
    reg_write(io, reg,
              vector | (level ? REDIRECTION_LEVEL : 0) |
                  ((flags & IRQ_ACTIVE_LOW) != 0 ? REDIRECTION_ACTIVE_LOW : 0) | masked);
    return STATUS_OK;
}

void arch_irq_pin_mask(uint32_t gsi, bool masked)
{
    const struct ioapic *io = find(gsi);
    if (io == NULL)
        return;
    uint32_t reg = IOAPIC_REDIRECTION + 2 * (gsi - io->gsi_base);
    uint32_t low = reg_read(io, reg);
    reg_write(io, reg, masked ? low | REDIRECTION_MASKED : low & ~REDIRECTION_MASKED);
}
