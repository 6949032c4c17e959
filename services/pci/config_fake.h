// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A fake PCI machine: functions with configuration spaces whose BARs, bridge registers and
 * function-level reset behave as the specification says.
 */
#ifndef PCI_CONFIG_FAKE_H
#define PCI_CONFIG_FAKE_H

#include "services/pci/config.h"

#define FAKE_FUNCTIONS_MAX 64u
#define FAKE_SRIOV 0x160u
#define FAKE_VIRTUAL_OFFSET 0x80u
#define FAKE_VIRTUAL_STRIDE 2u

struct fake_function {
    uint32_t address;
    uint32_t words[1024]; /* what is read at offset 4 * i */
    uint32_t bar_bits[6]; /* bits of each BAR register that can be written */
    uint32_t resets;
    bool resets_away;           /* does not come back from a reset */
    uint32_t virtual_total;     /* SR-IOV capability at FAKE_SRIOV: how many it can make */
    uint64_t virtual_bar_bytes; /* of BAR 0 of each, 64 bits wide */
    bool virtual_missing;       /* they do not appear */
};

struct fake_pci {
    struct pci_config config;
    uint32_t count;
    uint32_t buses_mapped;
    uint64_t waited_ns;
    uint32_t writes_while_decoding; /* BAR writes with memory decoding on */
    struct fake_function functions[FAKE_FUNCTIONS_MAX];
};

void fake_pci_init(struct fake_pci *fake);
/* Adds a function; class code in the upper 24 bits of `class_and_header`, header type below. */
struct fake_function *fake_pci_add(struct fake_pci *fake, uint32_t address, uint32_t ids,
                                   uint32_t class_and_header);
/* A memory BAR of `bytes` (power of two) at `base`; wide takes two registers. */
void fake_pci_bar(struct fake_function *f, uint32_t index, uint64_t base, uint64_t bytes,
                  bool wide);
/* MSI-X capability at 0x40 and PCI Express capability (with function-level reset) at 0x50. */
void fake_pci_capabilities(struct fake_function *f, uint32_t vectors, bool can_reset);
/* An SR-IOV capability behind another one. */
void fake_pci_virtual(struct fake_function *f, uint32_t total, uint64_t bar_bytes);
/* Bus numbers and memory window of a bridge; bytes 0: closed. */
void fake_pci_bridge(struct fake_function *f, uint32_t secondary, uint32_t subordinate,
                     uint32_t base, uint32_t bytes);

#endif
