// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * All PCI functions of a machine, and where their memory BARs lie.
 *
 * tree_find walks the buses (those that firmware numbered), tree_assign then keeps every BAR that
 * firmware placed well and places the others. Placed well: inside a window, naturally aligned, on
 * pages of its own (a cell is given whole pages), not overlapping another, and behind a bridge
 * inside what the bridge forwards. What cannot be placed gets bytes 0 and is counted.
 *
 * Bounds: 256 buses, 32 devices, 8 functions; PCI_TREE_FUNCTIONS_MAX functions.
 */
#ifndef PCI_TREE_H
#define PCI_TREE_H

#include "services/pci/config.h"

#define PCI_TREE_FUNCTIONS_MAX 256u
#define PCI_WINDOWS 3u
#define PCI_NO_BRIDGE 0xffffffffu

struct pci_range {
    uint64_t base;
    uint64_t bytes; /* 0: none */
};

struct pci_bar {
    uint64_t base;
    uint64_t bytes; /* 0: no memory BAR here, or it could not be placed */
    bool wide;      /* 64-bit: the next BAR register is its upper half */
    bool prefetchable;
    bool placed;
};

/* BAR registers of a function: its own, or those of its virtual functions. */
struct pci_bar_place {
    uint32_t address;
    uint32_t offset;
    uint32_t count;
};

struct pci_node {
    uint32_t address;
    uint32_t ids;        /* vendor | device << 16 */
    uint32_t class_code; /* 3 bytes */
    uint32_t bridge;     /* index of the bridge it is behind, or PCI_NO_BRIDGE */
    bool is_bridge;
    uint32_t secondary_bus;  /* of a bridge */
    struct pci_range memory; /* what a bridge forwards */
    struct pci_range prefetch;
    uint32_t bar_count; /* 6, 2 of a bridge, 0 of what is left alone */
    struct pci_bar bars[6];
    uint32_t msix; /* offset of the capability, 0: none */
    uint32_t msix_vectors;
    uint32_t express;           /* offset of the PCI Express capability, 0: none */
    uint32_t virtual_functions; /* made of it */
    bool is_virtual;            /* its BARs and ids are in the physical function */
    uint32_t physical;          /* index of that */
    uint32_t number;            /* of a virtual one */
};

struct pci_tree {
    const struct pci_config *config;
    /* Where BARs may lie: two below 4 GiB, one above. New ones go where firmware put most. */
    struct pci_range windows[PCI_WINDOWS];
    uint32_t first_bus;
    uint32_t last_bus;
    uint32_t favourite; /* of the windows below 4 GiB, the one tried first */
    uint32_t count;
    uint32_t buses;      /* walked */
    uint32_t unnumbered; /* bridges without usable bus numbers; what is behind is not seen */
    uint32_t too_many;   /* functions beyond the limit */
    uint32_t moved;      /* BARs placed by tree_assign */
    uint32_t unplaced;   /* BARs that fit nowhere */
    struct pci_node nodes[PCI_TREE_FUNCTIONS_MAX];
};

/* Fills nodes; config, windows, first_bus and last_bus are set, the rest is zero. Turns the memory
 * decoding of a function off while it sizes its BARs, and back to what it was. */
void tree_find(struct pci_tree *tree);
/* Places BARs and opens bridges; see above. */
void tree_assign(struct pci_tree *tree);

/* Memory decoding, bus mastering and MSI-X on, INTx off. UNSUPPORTED: no MSI-X. */
status_t function_enable(const struct pci_config *config,
                         const struct pci_node *node) HALLOWS_MUST_CHECK;
/* Bus mastering, decoding and MSI-X off; function-level reset where it can, then its BARs are as
 * before. DEVICE_TIMEOUT: it did not come back from the reset. */
status_t function_quiesce(const struct pci_config *config,
                          const struct pci_node *node) HALLOWS_MUST_CHECK;
/* Makes `count` virtual functions of the physical function nodes[parent] (PCI Express Base 5.0
 * §9.3.3) and adds a node for each. UNSUPPORTED: it has no SR-IOV capability; TOO_LARGE: it makes
 * fewer, or the nodes are full; BUSY: some are there already; IN_USE: their addresses belong to
 * others; NO_MEMORY: their BARs fit nowhere; DEVICE_TIMEOUT: they did not appear. Then there are
 * none. */
status_t virtual_make(struct pci_tree *tree, uint32_t parent, uint32_t count) HALLOWS_MUST_CHECK;
/* Writes the node's BARs; nothing for a virtual function. */
void function_write_bars(const struct pci_config *config, const struct pci_node *node);

/* ---- Between the files of the enumeration ---------------------------------------------------- */

/* Reads base and size of `count` BAR registers at `offset`; memory decoding is off. */
void bars_read(const struct pci_config *config, const struct pci_bar_place *place,
               struct pci_bar *bars);
/* Fills msix, msix_vectors and express. */
void capabilities_read(const struct pci_config *config, struct pci_node *node);
/* A free place for [base, base + bytes) that the node can be reached at, aligned to `grain`;
 * `wide`: above 4 GiB too. Sets range->base. */
bool range_place(const struct pci_tree *tree, const struct pci_node *node, uint64_t grain,
                 bool wide, struct pci_range *range);

#endif
