// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Configuration space as the enumeration sees it: four functions, so that tests give a fake one.
 * Offsets and bits: PCI Local Bus 3.0 chapter 6, PCI-to-PCI Bridge 1.2 chapter 3, PCI Express Base
 * 5.0 §7.5.3.
 */
#ifndef PCI_CONFIG_H
#define PCI_CONFIG_H

#include <hallows/status.h>
#include <hallows/types.h>

struct pci_config {
    /* Makes a bus's space accessible before it is read. */
    status_t (*map_bus)(void *context, uint32_t bus);
    /* `address`: bus << 8 | device << 3 | function; `offset`: a multiple of 4 below 4096. */
    uint32_t (*read)(void *context, uint32_t address, uint32_t offset);
    void (*write)(void *context, uint32_t address, uint32_t offset, uint32_t value);
    void (*wait_ns)(void *context, uint64_t ns);
    void *context;
};

enum pci_offset {
    PCI_IDS = 0x00,
    PCI_COMMAND = 0x04, /* low half; writing 0 to the high half (status) changes nothing */
    PCI_CLASS = 0x08,   /* revision in the low byte */
    PCI_HEADER = 0x0c,  /* header type in bits 16..23 */
    PCI_BAR0 = 0x10,
    PCI_BRIDGE_BUSES = 0x18,
    PCI_BRIDGE_MEMORY = 0x20,
    PCI_BRIDGE_PREFETCH = 0x24,
    PCI_BRIDGE_PREFETCH_BASE_HIGH = 0x28,
    PCI_BRIDGE_PREFETCH_LIMIT_HIGH = 0x2c,
    PCI_CAPABILITIES = 0x34,
    PCI_EXTENDED = 0x100, /* first extended capability */
};

#define PCI_COMMAND_IO (1u << 0)
#define PCI_COMMAND_MEMORY (1u << 1)
#define PCI_COMMAND_MASTER (1u << 2)
#define PCI_COMMAND_INTX_OFF (1u << 10)
#define PCI_STATUS_CAPABILITIES (1u << 20) /* in the word at PCI_COMMAND */

static inline uint32_t pci_read(const struct pci_config *config, uint32_t address, uint32_t offset)
{
    return config->read(config->context, address, offset);
}

static inline void pci_write(const struct pci_config *config, uint32_t address, uint32_t offset,
                             uint32_t value)
{
    config->write(config->context, address, offset, value);
}

#endif
