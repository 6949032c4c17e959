// SPDX-License-Identifier: MIT OR Apache-2.0
/* A PCI machine whose devices answer anything in their configuration space. */
#include "services/pci/tree.h"
#include "tests/fuzz.h"

#define BUSES 4u

struct answers {
    const uint8_t *data;
    size_t bytes;
    size_t next;
    uint64_t reads;
};

static uint32_t answer(void *context, uint32_t address, uint32_t offset)
{
    struct answers *a = context;
    uint32_t value = 0xffffffffu;

    VERIFY((address >> 8) < BUSES && offset < 4096u && offset % 4u == 0);
    /* Each read is answered anew: a device need not say the same twice. */
    VERIFY(a->reads++ < 10000000u);
    if (a->bytes - a->next >= 4u) {
        memcpy(&value, a->data + a->next, 4);
        a->next += 4u;
    }
    return value;
}

static void ignore(void *context, uint32_t address, uint32_t offset, uint32_t value)
{
    (void)context;
    (void)value;
    VERIFY((address >> 8) < BUSES && offset < 4096u && offset % 4u == 0);
}

static void pass(void *context, uint64_t ns)
{
    (void)context;
    (void)ns;
}

static status_t map(void *context, uint32_t bus)
{
    (void)context;
    return bus < BUSES ? STATUS_OK : STATUS_INVALID_ARGUMENT;
}

static void check_bars(const struct pci_tree *tree)
{
    for (uint32_t n = 0; n < tree->count; n++) {
        const struct pci_node *node = &tree->nodes[n];
        VERIFY(node->bar_count <= 6u);
        VERIFY(node->bridge == PCI_NO_BRIDGE || node->bridge < n);
        for (uint32_t b = 0; b < node->bar_count; b++) {
            const struct pci_bar *bar = &node->bars[b];
            bool inside = bar->bytes == 0;
            for (uint32_t w = 0; w < PCI_WINDOWS; w++) {
                const struct pci_range *window = &tree->windows[w];
                inside |= bar->base >= window->base && bar->base - window->base <= window->bytes &&
                          bar->bytes <= window->bytes - (bar->base - window->base);
            }
            VERIFY(inside && (bar->bytes & (bar->bytes - 1u)) == 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct pci_tree tree;
    struct answers answers = {.data = data, .bytes = bytes};
    const struct pci_config config = {
        .map_bus = map, .read = answer, .write = ignore, .wait_ns = pass, .context = &answers};

    memset(&tree, 0, sizeof(tree));
    tree.config = &config;
    tree.windows[0] = (struct pci_range){0x80000000u, 0x10000000u};
    tree.windows[2] = (struct pci_range){0x100000000ull, 0x100000000ull};
    tree.last_bus = BUSES - 1u;
    tree_find(&tree);
    tree_assign(&tree);
    check_bars(&tree);
    return 0;
}
