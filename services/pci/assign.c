// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * tree_assign: keeping, moving and placing BARs.
 *
 * Three passes. 1: every BAR that firmware placed well is kept, in the order of discovery. 2: each
 * bridge on the first bus behind which BARs have no place gets a new window for all of them, if
 * what it forwards now does not hold them. 3: the others are placed first-fit, large ones first.
 */
#include "services/pci/tree.h"

#define BRIDGE_GRAIN 0x100000ull
#define LIMIT_32 0x100000000ull

/* ---- Ranges ---------------------------------------------------------------------------------- */

static bool contains(const struct pci_range *outer, uint64_t base, uint64_t bytes)
{
    return bytes <= outer->bytes && base >= outer->base &&
           base - outer->base <= outer->bytes - bytes;
}

static bool overlap(uint64_t base, uint64_t bytes, uint64_t other, uint64_t other_bytes)
{
    return bytes != 0 && other_bytes != 0 && base < other + other_bytes && other < base + bytes;
}

static uint64_t align_up(uint64_t value, uint64_t grain)
{
    return (value + grain - 1u) & ~(grain - 1u);
}

/* Bytes of address space that a BAR takes: whole pages. */
static uint64_t bar_span(const struct pci_bar *bar)
{
    return bar->bytes < PAGE_BYTES ? PAGE_BYTES : bar->bytes;
}

/* What is in the way of [base, base + bytes) for something behind `bridge`: a placed BAR, or a
 * bridge's window that it is not inside of. Gives its end. */
static bool blocked(const struct pci_tree *tree, uint32_t bridge, const struct pci_range *range,
                    uint64_t *end)
{
    for (uint32_t n = 0; n < tree->count; n++) {
        const struct pci_node *node = &tree->nodes[n];
        for (uint32_t i = 0; i < node->bar_count; i++) {
            const struct pci_bar *bar = &node->bars[i];
            if (bar->placed && overlap(range->base, range->bytes, bar->base, bar_span(bar))) {
                *end = bar->base + bar_span(bar);
                return true;
            }
        }
        const struct pci_range *windows[] = {&node->memory, &node->prefetch};
        for (uint32_t w = 0; w < 2u && node->is_bridge; w++) {
            bool inside = bridge != PCI_NO_BRIDGE &&
                          node->secondary_bus <= tree->nodes[bridge].secondary_bus &&
                          contains(windows[w], range->base, range->bytes);
            if (!inside &&
                overlap(range->base, range->bytes, windows[w]->base, windows[w]->bytes)) {
                *end = windows[w]->base + windows[w]->bytes;
                return true;
            }
        }
    }
    return false;
}

/* First fit of `bytes` (a power of two or multiple of grain) in `window`. */
static bool place_in(const struct pci_tree *tree, uint32_t bridge, const struct pci_range *window,
                     uint64_t grain, struct pci_range *range)
{
    range->base = align_up(window->base, grain);
    /* Each step passes one placed BAR or bridge window. */
    for (uint32_t step = 0; step < PCI_TREE_FUNCTIONS_MAX * 8u; step++) {
        uint64_t end;
        if (range->base < window->base || !contains(window, range->base, range->bytes)) {
            return false;
        }
        if (!blocked(tree, bridge, range, &end)) {
            return true;
        }
        range->base = align_up(end, grain);
    }
    return false;
}

static bool place_below_4g(const struct pci_tree *tree, uint64_t grain, struct pci_range *range)
{
    const struct pci_range *first = &tree->windows[tree->favourite];
    const struct pci_range *second = &tree->windows[1u - tree->favourite];

    return place_in(tree, PCI_NO_BRIDGE, first, grain, range) ||
           place_in(tree, PCI_NO_BRIDGE, second, grain, range);
}

/* ---- Pass 1 ---------------------------------------------------------------------------------- */

/* The window that holds the range; PCI_WINDOWS if none does. */
static uint32_t window_of(const struct pci_tree *tree, uint64_t base, uint64_t bytes)
{
    uint32_t i = 0;

    while (i < PCI_WINDOWS && !contains(&tree->windows[i], base, bytes)) {
        i++;
    }
    return i;
}

/* Whether what lies upstream of `node` lets [base, base + bytes) through to it. */
static bool reachable(const struct pci_tree *tree, const struct pci_node *node, uint64_t base,
                      uint64_t bytes)
{
    uint32_t bridge = node->bridge;

    if (window_of(tree, base, bytes) == PCI_WINDOWS) {
        return false;
    }
    /* Bridges come before what is behind them, so this ends. */
    while (bridge != PCI_NO_BRIDGE) {
        const struct pci_node *b = &tree->nodes[bridge];
        if (!contains(&b->memory, base, bytes) && !contains(&b->prefetch, base, bytes)) {
            return false;
        }
        bridge = b->bridge;
    }
    return true;
}

static bool meets_placed(const struct pci_tree *tree, const struct pci_bar *bar)
{
    for (uint32_t n = 0; n < tree->count; n++) {
        for (uint32_t i = 0; i < tree->nodes[n].bar_count; i++) {
            const struct pci_bar *other = &tree->nodes[n].bars[i];
            if (other->placed && overlap(bar->base, bar_span(bar), other->base, bar_span(other))) {
                return true;
            }
        }
    }
    return false;
}

static void keep_good(struct pci_tree *tree)
{
    uint64_t kept[PCI_WINDOWS + 1u] = {0};

    for (uint32_t n = 0; n < tree->count; n++) {
        struct pci_node *node = &tree->nodes[n];
        for (uint32_t i = 0; i < node->bar_count; i++) {
            struct pci_bar *bar = &node->bars[i];
            uint64_t span = bar_span(bar);
            bar->placed = bar->bytes != 0 && bar->base != 0 && bar->base % span == 0 &&
                          reachable(tree, node, bar->base, span) && !meets_placed(tree, bar);
            kept[window_of(tree, bar->base, span)] += bar->placed ? bar->bytes : 0;
        }
    }
    /* Behind the ECAM unless firmware thinks otherwise. */
    tree->favourite = kept[0] > kept[1] || tree->windows[1].bytes == 0 ? 0 : 1u;
}

/* ---- Pass 2 ---------------------------------------------------------------------------------- */

static bool is_behind(const struct pci_tree *tree, const struct pci_node *node, uint32_t bridge)
{
    uint32_t b = node->bridge;

    while (b != PCI_NO_BRIDGE && b != bridge) {
        b = tree->nodes[b].bridge;
    }
    return b == bridge;
}

/* Space for all BARs behind the bridge; 0 when all have a place already. */
static uint64_t bytes_behind(const struct pci_tree *tree, uint32_t bridge)
{
    uint64_t total = 0;
    uint64_t largest = 0;
    bool missing = false;

    for (uint32_t n = 0; n < tree->count; n++) {
        const struct pci_node *node = &tree->nodes[n];
        for (uint32_t i = 0; i < node->bar_count && is_behind(tree, node, bridge); i++) {
            const struct pci_bar *bar = &node->bars[i];
            if (bar->bytes != 0 && bar->bytes < LIMIT_32) {
                total += bar_span(bar);
                largest = bar_span(bar) > largest ? bar_span(bar) : largest;
                missing = missing || !bar->placed;
            }
        }
    }
    /* Placing the largest first wastes nothing but the start's alignment. */
    return missing ? align_up(total, BRIDGE_GRAIN) + (largest > BRIDGE_GRAIN ? largest : 0) : 0;
}

static void forget_behind(struct pci_tree *tree, uint32_t bridge)
{
    for (uint32_t n = 0; n < tree->count; n++) {
        struct pci_node *node = &tree->nodes[n];
        bool behind = is_behind(tree, node, bridge);
        for (uint32_t i = 0; i < node->bar_count && behind; i++) {
            node->bars[i].placed = false;
        }
    }
}

static void bridge_write(const struct pci_config *config, const struct pci_node *node)
{
    uint32_t base = (uint32_t)node->memory.base;
    uint32_t limit = (uint32_t)(node->memory.base + node->memory.bytes - 1u);
    uint32_t command = pci_read(config, node->address, PCI_COMMAND) & 0xffffu;

    pci_write(config, node->address, PCI_BRIDGE_MEMORY,
              (base >> 16 & 0xfff0u) | (limit & 0xfff00000u));
    pci_write(config, node->address, PCI_COMMAND,
              command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* Whether the BARs that lack a place fit what the bridge forwards already: tried in pass 3. */
static bool bridge_has_room(const struct pci_tree *tree, uint32_t bridge, uint64_t bytes)
{
    struct pci_range range = {0, bytes};

    return place_in(tree, bridge, &tree->nodes[bridge].memory, BRIDGE_GRAIN, &range);
}

static void open_bridges(struct pci_tree *tree)
{
    for (uint32_t n = 0; n < tree->count; n++) {
        struct pci_node *node = &tree->nodes[n];
        if (!node->is_bridge || node->bridge != PCI_NO_BRIDGE) {
            continue;
        }
        struct pci_range range = {0, bytes_behind(tree, n)};
        if (range.bytes == 0 || bridge_has_room(tree, n, range.bytes)) {
            continue;
        }
        struct pci_range old = node->memory;
        node->memory.bytes = 0;
        if (!place_below_4g(tree, BRIDGE_GRAIN, &range)) {
            node->memory = old;
            continue;
        }
        forget_behind(tree, n);
        node->memory = range;
        bridge_write(tree->config, node);
    }
}

/* ---- Pass 3 ---------------------------------------------------------------------------------- */

bool range_place(const struct pci_tree *tree, const struct pci_node *node, uint64_t grain,
                 bool wide, struct pci_range *range)
{
    if (node->bridge != PCI_NO_BRIDGE) {
        const struct pci_range *window = &tree->nodes[node->bridge].memory;
        return place_in(tree, node->bridge, window, grain, range) &&
               reachable(tree, node, range->base, range->bytes);
    }
    return place_below_4g(tree, grain, range) ||
           (wide && place_in(tree, PCI_NO_BRIDGE, &tree->windows[2], grain, range));
}

static bool place(struct pci_tree *tree, const struct pci_node *node, struct pci_bar *bar)
{
    struct pci_range range = {0, bar_span(bar)};
    bool placed = range_place(tree, node, range.bytes, bar->wide, &range);

    if (placed) {
        bar->base = range.base;
        bar->placed = true;
    }
    return placed;
}

/* The largest BAR without a place that was not given up; false when there is none. */
static bool next_missing(struct pci_tree *tree, struct pci_node **node, struct pci_bar **bar)
{
    *bar = NULL;
    for (uint32_t n = 0; n < tree->count; n++) {
        for (uint32_t i = 0; i < tree->nodes[n].bar_count; i++) {
            struct pci_bar *b = &tree->nodes[n].bars[i];
            if (!b->placed && b->bytes != 0 && (*bar == NULL || b->bytes > (*bar)->bytes)) {
                *bar = b;
                *node = &tree->nodes[n];
            }
        }
    }
    return *bar != NULL;
}

void tree_assign(struct pci_tree *tree)
{
    struct pci_node *node = NULL;
    struct pci_bar *bar = NULL;

    keep_good(tree);
    open_bridges(tree);
    while (next_missing(tree, &node, &bar)) {
        if (place(tree, node, bar)) {
            tree->moved++;
            function_write_bars(tree->config, node);
        } else {
            tree->unplaced++;
            bar->bytes = 0;
        }
    }
}
