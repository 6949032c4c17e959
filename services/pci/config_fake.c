// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/pci/config_fake.h"

#include "lib/base/bytes.h"

#define EXPRESS_AT 0x50u
#define EXPRESS_RESET (1u << 15)

static struct fake_function *find(struct fake_pci *fake, uint32_t address)
{
    for (uint32_t i = 0; i < fake->count; i++) {
        if (fake->functions[i].address == address) {
            return &fake->functions[i];
        }
    }
    return NULL;
}

static status_t fake_map_bus(void *context, uint32_t bus)
{
    struct fake_pci *fake = context;

    fake->buses_mapped++;
    return bus < 256u ? STATUS_OK : STATUS_INVALID_ARGUMENT;
}

static uint32_t fake_read(void *context, uint32_t address, uint32_t offset)
{
    const struct fake_function *f = find(context, address);

    return f == NULL ? 0xffffffffu : f->words[offset / 4u % 1024u];
}

static void reset(struct fake_function *f)
{
    f->resets++;
    f->words[PCI_COMMAND / 4u] &= 0xffff0000u;
    for (uint32_t i = 0; i < 6u; i++) {
        f->words[PCI_BAR0 / 4u + i] &= ~f->bar_bits[i];
    }
    if (f->resets_away) {
        f->words[0] = 0xffffffffu;
    }
}

/* The virtual functions of `f` come and go with the enable bit. */
static void enable_virtual(struct fake_pci *fake, struct fake_function *f, bool on)
{
    uint32_t count = f->words[FAKE_SRIOV / 4u + 4u] & 0xffffu;

    for (uint32_t i = 0; on && !f->virtual_missing && i < count && i < f->virtual_total; i++) {
        struct fake_function *made =
            fake_pci_add(fake, f->address + FAKE_VIRTUAL_OFFSET + i * FAKE_VIRTUAL_STRIDE,
                         0xffffffffu, 0x02000000u);
        fake_pci_capabilities(made, 3, true);
    }
}

static void write_virtual(struct fake_pci *fake, struct fake_function *f, uint32_t at,
                          uint32_t value)
{
    uint32_t *word = &f->words[(FAKE_SRIOV + at) / 4u];
    uint64_t bits = ~(f->virtual_bar_bytes - 1u);
    bool was_on = (*word & 1u) != 0;

    if (at == 0x08u) {
        *word = value & 0xffffu;
        if (((value & 1u) != 0) != was_on) {
            enable_virtual(fake, f, !was_on);
        }
    } else if (at == 0x10u) {
        *word = value & 0xffffu;
        f->words[(FAKE_SRIOV + 0x14u) / 4u] = FAKE_VIRTUAL_STRIDE << 16 | FAKE_VIRTUAL_OFFSET;
    } else if (at == 0x24u) {
        *word = (value & (uint32_t)bits & 0xfffffff0u) | 4u;
    } else if (at == 0x28u) {
        *word = value & (uint32_t)(bits >> 32);
    }
}

static void fake_write(void *context, uint32_t address, uint32_t offset, uint32_t value)
{
    struct fake_pci *fake = context;
    struct fake_function *f = find(fake, address);
    uint32_t *word;

    if (f == NULL) {
        return;
    }
    word = &f->words[offset / 4u % 1024u];
    if (offset >= PCI_BAR0 && offset < PCI_BAR0 + 24u) {
        uint32_t bits = f->bar_bits[(offset - PCI_BAR0) / 4u];
        bool bridge = (f->words[PCI_HEADER / 4u] >> 16 & 0x7fu) == 1u;
        if (!bridge || offset < PCI_BRIDGE_BUSES) {
            fake->writes_while_decoding += f->words[PCI_COMMAND / 4u] >> 1 & 1u;
            *word = (*word & ~bits) | (value & bits);
            return;
        }
    }
    if (f->virtual_total != 0 && offset >= FAKE_SRIOV && offset < FAKE_SRIOV + 0x40u) {
        write_virtual(fake, f, offset - FAKE_SRIOV, value);
    } else if (offset == PCI_COMMAND) {
        *word = (*word & 0xffff0000u) | (value & 0x7ffu);
    } else if (offset == EXPRESS_AT + 8u && (value & EXPRESS_RESET) != 0) {
        reset(f);
    } else if (offset != PCI_IDS && offset != PCI_CLASS) {
        *word = value;
    }
}

static void fake_wait(void *context, uint64_t ns)
{
    ((struct fake_pci *)context)->waited_ns += ns;
}

void fake_pci_init(struct fake_pci *fake)
{
    memset(fake, 0, sizeof(*fake));
    fake->config = (struct pci_config){fake_map_bus, fake_read, fake_write, fake_wait, fake};
}

struct fake_function *fake_pci_add(struct fake_pci *fake, uint32_t address, uint32_t ids,
                                   uint32_t class_and_header)
{
    struct fake_function *f = &fake->functions[fake->count++];

    f->address = address;
    f->words[PCI_IDS / 4u] = ids;
    f->words[PCI_CLASS / 4u] = class_and_header & 0xffffff00u;
    f->words[PCI_HEADER / 4u] = (class_and_header & 0xffu) << 16;
    return f;
}

void fake_pci_bar(struct fake_function *f, uint32_t index, uint64_t base, uint64_t bytes, bool wide)
{
    uint64_t bits = ~(bytes - 1u);

    f->bar_bits[index] = (uint32_t)bits & 0xfffffff0u;
    f->words[PCI_BAR0 / 4u + index] = (uint32_t)base | (wide ? 4u : 0);
    if (wide) {
        f->bar_bits[index + 1u] = (uint32_t)(bits >> 32);
        f->words[PCI_BAR0 / 4u + index + 1u] = (uint32_t)(base >> 32);
    }
}

void fake_pci_capabilities(struct fake_function *f, uint32_t vectors, bool can_reset)
{
    f->words[PCI_COMMAND / 4u] |= PCI_STATUS_CAPABILITIES;
    f->words[PCI_CAPABILITIES / 4u] = 0x40u;
    f->words[0x40u / 4u] = 0x11u | EXPRESS_AT << 8 | (vectors - 1u) << 16;
    f->words[EXPRESS_AT / 4u] = 0x10u;
    f->words[EXPRESS_AT / 4u + 1u] = can_reset ? 1u << 28 : 0;
}

void fake_pci_virtual(struct fake_function *f, uint32_t total, uint64_t bar_bytes)
{
    f->virtual_total = total;
    f->virtual_bar_bytes = bar_bytes;
    f->words[0x100u / 4u] = 0x00010001u | FAKE_SRIOV << 20; /* advanced error reporting */
    f->words[FAKE_SRIOV / 4u] = 0x00010010u;
    f->words[FAKE_SRIOV / 4u + 3u] = total << 16 | total;
    f->words[FAKE_SRIOV / 4u + 6u] = 0x10cau << 16;
    f->words[FAKE_SRIOV / 4u + 9u] = 4u;
}

void fake_pci_bridge(struct fake_function *f, uint32_t secondary, uint32_t subordinate,
                     uint32_t base, uint32_t bytes)
{
    uint32_t limit = base + bytes - 1u;

    f->words[PCI_BRIDGE_BUSES / 4u] = subordinate << 16 | secondary << 8 | f->address >> 8;
    f->words[PCI_BRIDGE_MEMORY / 4u] =
        bytes == 0 ? 0x0000fff0u : (base >> 16 & 0xfff0u) | (limit & 0xfff00000u);
    f->words[PCI_BRIDGE_PREFETCH / 4u] = 0x0000fff0u;
}
