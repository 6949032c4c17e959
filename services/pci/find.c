// SPDX-License-Identifier: MIT OR Apache-2.0
/* tree_find: walking the buses and sizing BARs. */
#include "services/pci/tree.h"

#define DEVICES 32u
#define FUNCTIONS 8u
#define CAPABILITIES_MAX 48u /* as many as fit 256 bytes */
#define CAPABILITY_EXPRESS 0x10u
#define CAPABILITY_MSIX 0x11u
#define CLASS_HOST_BRIDGE 0x060000u
#define BUS_COUNT 256u

#define BAR_IO 1u
#define BAR_TYPE_MASK 6u
#define BAR_TYPE_64 4u
#define BAR_PREFETCHABLE 8u
#define BAR_MEMORY_MASK 0xfffffff0u

/* ---- BARs ------------------------------------------------------------------------------------ */

/* What sticks of all ones; the register keeps its value. */
static uint32_t bar_probe(const struct pci_config *config, uint32_t address, uint32_t offset)
{
    uint32_t value = pci_read(config, address, offset);

    pci_write(config, address, offset, 0xffffffffu);
    uint32_t mask = pci_read(config, address, offset);
    pci_write(config, address, offset, value);
    return mask;
}

/* Reads one BAR; returns the registers that it takes. */
static uint32_t bar_size(const struct pci_config *config, const struct pci_bar_place *place,
                         struct pci_bar *bars, uint32_t index)
{
    uint32_t offset = place->offset + 4u * index;
    uint32_t value = pci_read(config, place->address, offset);
    uint32_t mask = bar_probe(config, place->address, offset);
    struct pci_bar *bar = &bars[index];

    if ((mask & BAR_IO) != 0 || (mask & BAR_MEMORY_MASK) == 0) {
        return 1;
    }
    uint64_t base = value & BAR_MEMORY_MASK;
    uint64_t size_mask = 0xffffffff00000000ull | (mask & BAR_MEMORY_MASK);
    bar->prefetchable = (value & BAR_PREFETCHABLE) != 0;
    bar->wide = (value & BAR_TYPE_MASK) == BAR_TYPE_64 && index + 1u < place->count;
    if (bar->wide) {
        base |= (uint64_t)pci_read(config, place->address, offset + 4u) << 32;
        size_mask = (uint64_t)bar_probe(config, place->address, offset + 4u) << 32 |
                    (mask & BAR_MEMORY_MASK);
    }
    bar->base = base;
    bar->bytes = size_mask & (0 - size_mask); /* lowest bit that sticks */
    return bar->wide ? 2u : 1u;
}

void bars_read(const struct pci_config *config, const struct pci_bar_place *place,
               struct pci_bar *bars)
{
    for (uint32_t i = 0; i < place->count;) {
        i += bar_size(config, place, bars, i);
    }
}

static void bars_size(const struct pci_config *config, struct pci_node *node)
{
    uint32_t command = pci_read(config, node->address, PCI_COMMAND) & 0xffffu;
    const struct pci_bar_place place = {node->address, PCI_BAR0, node->bar_count};

    pci_write(config, node->address, PCI_COMMAND,
              command & ~(uint32_t)(PCI_COMMAND_MEMORY | PCI_COMMAND_IO));
    bars_read(config, &place, node->bars);
    pci_write(config, node->address, PCI_COMMAND, command);
}

/* ---- Bridges and capabilities ---------------------------------------------------------------- */

static struct pci_range range_of(uint64_t base, uint64_t limit)
{
    return limit >= base ? (struct pci_range){base, limit - base + 1u} : (struct pci_range){0, 0};
}

/* PCI-to-PCI Bridge 1.2 §3.2.5: base in bits 4..15, limit in 20..31, both of address bits 20..31.
 */
static void bridge_read(const struct pci_config *config, struct pci_node *node)
{
    uint32_t memory = pci_read(config, node->address, PCI_BRIDGE_MEMORY);
    uint32_t prefetch = pci_read(config, node->address, PCI_BRIDGE_PREFETCH);
    uint64_t base_high = 0;
    uint64_t limit_high = 0;

    node->memory = range_of((uint64_t)(memory & 0xfff0u) << 16, (memory & 0xfff00000u) | 0xfffffu);
    if ((prefetch & 0xfu) == 1u) {
        base_high = pci_read(config, node->address, PCI_BRIDGE_PREFETCH_BASE_HIGH);
        limit_high = pci_read(config, node->address, PCI_BRIDGE_PREFETCH_LIMIT_HIGH);
    }
    node->prefetch = range_of(base_high << 32 | (uint64_t)(prefetch & 0xfff0u) << 16,
                              limit_high << 32 | (prefetch & 0xfff00000u) | 0xfffffu);
    if ((memory >> 20) == 0 && (memory & 0xfff0u) == 0) {
        node->memory.bytes = 0; /* as after reset */
    }
    if (node->prefetch.base == 0) {
        node->prefetch.bytes = 0;
    }
}

void capabilities_read(const struct pci_config *config, struct pci_node *node)
{
    if ((pci_read(config, node->address, PCI_COMMAND) & PCI_STATUS_CAPABILITIES) == 0) {
        return;
    }
    uint32_t at = pci_read(config, node->address, PCI_CAPABILITIES) & 0xfcu;
    for (uint32_t i = 0; i < CAPABILITIES_MAX && at >= 0x40u; i++) {
        uint32_t word = pci_read(config, node->address, at);
        uint32_t id = word & 0xffu;
        if (id == CAPABILITY_MSIX && node->msix == 0) {
            node->msix = at;
            node->msix_vectors = (word >> 16 & 0x7ffu) + 1u;
        } else if (id == CAPABILITY_EXPRESS && node->express == 0) {
            node->express = at;
        }
        at = word >> 8 & 0xfcu;
    }
}

/* ---- Walk ------------------------------------------------------------------------------------ */

/* Buses still to walk, in ascending order of discovery. */
struct walk {
    uint32_t count;
    uint64_t seen[BUS_COUNT / 64u];
    struct {
        uint32_t bus;
        uint32_t bridge;
    } queue[BUS_COUNT];
};

static bool walk_add(struct walk *walk, uint32_t bus, uint32_t bridge)
{
    if (bus >= BUS_COUNT || (walk->seen[bus / 64u] >> bus % 64u & 1u) != 0) {
        return false;
    }
    walk->seen[bus / 64u] |= 1ull << bus % 64u;
    walk->queue[walk->count].bus = bus;
    walk->queue[walk->count++].bridge = bridge;
    return true;
}

static void bridge_found(struct pci_tree *tree, struct walk *walk, uint32_t index)
{
    struct pci_node *node = &tree->nodes[index];
    uint32_t buses = pci_read(tree->config, node->address, PCI_BRIDGE_BUSES);

    node->is_bridge = true;
    node->secondary_bus = buses >> 8 & 0xffu;
    bridge_read(tree->config, node);
    bool good = (buses & 0xffu) == node->address >> 8 && node->secondary_bus > node->address >> 8 &&
                (buses >> 16 & 0xffu) >= node->secondary_bus &&
                node->secondary_bus <= tree->last_bus;
    if (!good || !walk_add(walk, node->secondary_bus, index)) {
        tree->unnumbered++;
    }
}

/* Returns the header type, 0xff when nothing answers. */
static uint32_t function_look(struct pci_tree *tree, struct walk *walk, uint32_t address,
                              uint32_t bridge)
{
    const struct pci_config *config = tree->config;
    uint32_t ids = pci_read(config, address, PCI_IDS);

    if ((ids & 0xffffu) == 0xffffu || (ids & 0xffffu) == 0) {
        return 0xffu;
    }
    uint32_t header = pci_read(config, address, PCI_HEADER) >> 16 & 0xffu;
    if (tree->count == PCI_TREE_FUNCTIONS_MAX) {
        tree->too_many++;
        return header;
    }
    uint32_t index = tree->count++;
    struct pci_node *node = &tree->nodes[index];
    *node = (struct pci_node){
        .address = address,
        .ids = ids,
        .class_code = pci_read(config, address, PCI_CLASS) >> 8,
        .bridge = bridge,
    };
    if ((header & 0x7fu) == 1u) {
        node->bar_count = 2;
        bridge_found(tree, walk, index);
    } else if ((header & 0x7fu) == 0 && node->class_code != CLASS_HOST_BRIDGE) {
        node->bar_count = 6;
    }
    bars_size(config, node);
    capabilities_read(config, node);
    return header;
}

void tree_find(struct pci_tree *tree)
{
    struct walk walk = {0};

    (void)walk_add(&walk, tree->first_bus, PCI_NO_BRIDGE);
    for (uint32_t next = 0; next < walk.count; next++) {
        uint32_t bus = walk.queue[next].bus;
        if (tree->config->map_bus(tree->config->context, bus) != STATUS_OK) {
            tree->unnumbered++;
            continue;
        }
        tree->buses++;
        for (uint32_t device = 0; device < DEVICES; device++) {
            uint32_t address = bus << 8 | device << 3;
            uint32_t header = function_look(tree, &walk, address, walk.queue[next].bridge);
            bool many = header != 0xffu && (header & 0x80u) != 0;
            for (uint32_t f = 1; many && f < FUNCTIONS; f++) {
                (void)function_look(tree, &walk, address | f, walk.queue[next].bridge);
            }
        }
    }
}
