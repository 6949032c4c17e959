// SPDX-License-Identifier: MIT OR Apache-2.0
/* Virtual functions (PCI Express Base 5.0 chapter 9): made when the system starts, for good. */
#include "services/pci/tree.h"

#define EXTENDED_ID_SRIOV 0x10u
#define EXTENDED_MAX 64u
#define CONFIG_BYTES 4096u

/* Offsets in the capability (§9.3.3). */
#define SRIOV_CONTROL 0x08u
#define SRIOV_TOTAL 0x0cu  /* upper half */
#define SRIOV_COUNT 0x10u  /* lower half */
#define SRIOV_OFFSET 0x14u /* routing id of the first, from the physical one's; stride above */
#define SRIOV_DEVICE 0x18u /* device id in the upper half */
#define SRIOV_BAR0 0x24u
#define SRIOV_BYTES 0x40u
#define CONTROL_ENABLE (1u << 0)
#define CONTROL_MEMORY (1u << 3)
#define APPEAR_NS 100000000ull /* §9.3.3.3.1 */
#define BARS 6u

static uint32_t sriov_find(const struct pci_config *config, uint32_t address)
{
    uint32_t at = PCI_EXTENDED;

    for (uint32_t i = 0; i < EXTENDED_MAX; i++) {
        if (at < PCI_EXTENDED || at > CONFIG_BYTES - SRIOV_BYTES) {
            return 0;
        }
        uint32_t word = pci_read(config, address, at);
        if ((word & 0xffffu) == EXTENDED_ID_SRIOV) {
            return at;
        }
        at = word >> 20 & 0xffcu;
    }
    return 0;
}

static bool address_is_taken(const struct pci_tree *tree, uint32_t address)
{
    for (uint32_t i = 0; i < tree->count; i++) {
        if (tree->nodes[i].address == address) {
            return true;
        }
    }
    return false;
}

/* The new nodes, without BARs; nothing is written but what the count changes: offset and stride. */
static status_t nodes_fill(struct pci_tree *tree, uint32_t parent, uint32_t count, uint32_t at)
{
    const struct pci_config *config = tree->config;
    const struct pci_node *node = &tree->nodes[parent];
    uint32_t place = pci_read(config, node->address, at + SRIOV_OFFSET);
    uint32_t device = pci_read(config, node->address, at + SRIOV_DEVICE) >> 16;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t address = node->address + (place & 0xffffu) + i * (place >> 16);
        uint32_t bus = address >> 8;
        if ((place & 0xffffu) == 0 || (count > 1u && place >> 16 == 0) || bus > tree->last_bus ||
            address_is_taken(tree, address)) {
            return STATUS_IN_USE;
        }
        status_t status = config->map_bus(config->context, bus);
        if (status != STATUS_OK) {
            return status;
        }
        tree->nodes[tree->count + i] = (struct pci_node){
            .address = address,
            .ids = (node->ids & 0xffffu) | device << 16,
            .class_code = node->class_code,
            .bridge = node->bridge,
            .bar_count = BARS,
            .is_virtual = true,
            .physical = parent,
            .number = i,
        };
    }
    return STATUS_OK;
}

/* Places each BAR for all of them in a row, as the capability wants it. */
static status_t bars_place(struct pci_tree *tree, uint32_t parent, uint32_t count, uint32_t at)
{
    const struct pci_node *node = &tree->nodes[parent];
    const struct pci_bar_place registers = {node->address, at + SRIOV_BAR0, BARS};
    struct pci_bar bars[BARS] = {0};
    uint32_t made = tree->count;

    bars_read(tree->config, &registers, bars);
    tree->count += count; /* what is placed is in the way of the next */
    for (uint32_t i = 0; i < BARS; i++) {
        struct pci_range range = {0, bars[i].bytes * count};
        if (bars[i].bytes == 0) {
            continue;
        }
        if (bars[i].bytes < PAGE_BYTES || range.bytes / count != bars[i].bytes ||
            !range_place(tree, node, bars[i].bytes, bars[i].wide, &range)) {
            tree->count -= count;
            return STATUS_NO_MEMORY;
        }
        pci_write(tree->config, node->address, registers.offset + 4u * i, (uint32_t)range.base);
        if (bars[i].wide) {
            pci_write(tree->config, node->address, registers.offset + 4u * i + 4u,
                      (uint32_t)(range.base >> 32));
        }
        for (uint32_t v = 0; v < count; v++) {
            struct pci_bar *bar = &tree->nodes[made + v].bars[i];
            *bar = bars[i];
            bar->base = range.base + v * bars[i].bytes;
            bar->placed = true;
        }
    }
    tree->count -= count;
    return STATUS_OK;
}

/* Switches them on; they must have MSI-X, without which no driver starts. */
static status_t appear(struct pci_tree *tree, const struct pci_node *node, uint32_t count,
                       uint32_t at)
{
    const struct pci_config *config = tree->config;
    uint32_t control = pci_read(config, node->address, at + SRIOV_CONTROL) & 0xffffu;

    pci_write(config, node->address, at + SRIOV_CONTROL, control | CONTROL_ENABLE | CONTROL_MEMORY);
    config->wait_ns(config->context, APPEAR_NS);
    for (uint32_t i = 0; i < count; i++) {
        struct pci_node *made = &tree->nodes[tree->count + i];
        if (pci_read(config, made->address, PCI_COMMAND) != 0xffffffffu) {
            capabilities_read(config, made);
        }
        if (made->msix == 0) {
            pci_write(config, node->address, at + SRIOV_CONTROL, control);
            return STATUS_DEVICE_TIMEOUT;
        }
    }
    return STATUS_OK;
}

status_t virtual_make(struct pci_tree *tree, uint32_t parent, uint32_t count)
{
    const struct pci_config *config = tree->config;
    struct pci_node *node = &tree->nodes[parent];
    uint32_t at = node->express != 0 ? sriov_find(config, node->address) : 0;

    if (at == 0) {
        return STATUS_UNSUPPORTED;
    }
    if (count > pci_read(config, node->address, at + SRIOV_TOTAL) >> 16 ||
        count > PCI_TREE_FUNCTIONS_MAX - tree->count) {
        return STATUS_TOO_LARGE;
    }
    if ((pci_read(config, node->address, at + SRIOV_CONTROL) & CONTROL_ENABLE) != 0) {
        return STATUS_BUSY;
    }
    pci_write(config, node->address, at + SRIOV_COUNT, count);
    status_t status = nodes_fill(tree, parent, count, at);
    if (status == STATUS_OK) {
        status = bars_place(tree, parent, count, at);
    }
    if (status == STATUS_OK) {
        status = appear(tree, node, count, at);
    }
    if (status != STATUS_OK) {
        pci_write(config, node->address, at + SRIOV_COUNT, 0);
        return status;
    }
    node->virtual_functions = count;
    tree->count += count;
    return STATUS_OK;
}
