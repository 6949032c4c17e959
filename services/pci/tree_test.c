// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/pci/tree.h"

#include <stdlib.h>

#include "services/pci/config_fake.h"
#include "tests/check.h"

#define LOW 0xc0000000ull
#define NVME 0x01080200u
#define NET 0x02000000u
#define BRIDGE 0x06040001u

static struct fake_pci fake;
static struct pci_tree tree;

static void start(void)
{
    fake_pci_init(&fake);
    memset(&tree, 0, sizeof(tree));
    tree.config = &fake.config;
    tree.last_bus = 255;
    tree.windows[0] = (struct pci_range){0x40000000, 0x10000000};
    tree.windows[1] = (struct pci_range){LOW, 0x10000000};
    tree.windows[2] = (struct pci_range){0x100000000, 0x1000000000};
}

static void run(void)
{
    tree_find(&tree);
    tree_assign(&tree);
}

/* Every BAR with a size lies where a cell can be given it. */
static void check_placement(void)
{
    for (uint32_t n = 0; n < tree.count; n++) {
        for (uint32_t i = 0; i < tree.nodes[n].bar_count; i++) {
            const struct pci_bar *a = &tree.nodes[n].bars[i];
            if (a->bytes == 0) {
                continue;
            }
            CHECK(a->placed);
            CHECK_EQ(a->base % PAGE_BYTES, 0);
            CHECK_EQ(a->base % a->bytes, 0);
            for (uint32_t m = 0; m < tree.count * 6u; m++) {
                const struct pci_bar *b = &tree.nodes[m / 6u].bars[m % 6u];
                uint64_t a_end = a->base + (a->bytes < PAGE_BYTES ? PAGE_BYTES : a->bytes);
                uint64_t b_end = b->base + (b->bytes < PAGE_BYTES ? PAGE_BYTES : b->bytes);
                CHECK(a == b || b->bytes == 0 || a_end <= b->base || b_end <= a->base);
            }
        }
    }
}

TEST(good_bars_stay_where_they_are)
{
    start();
    struct fake_function *f = fake_pci_add(&fake, 0x10, 0x00101b36, NVME);
    fake_pci_bar(f, 0, LOW + 0x4000, 0x4000, true);
    fake_pci_capabilities(f, 65, true);
    f->words[PCI_COMMAND / 4u] |= 0x107;
    run();
    CHECK_EQ(tree.count, 1);
    CHECK_EQ(tree.moved, 0);
    CHECK_EQ(tree.nodes[0].bars[0].base, LOW + 0x4000);
    CHECK_EQ(tree.nodes[0].bars[0].bytes, 0x4000);
    CHECK_EQ(tree.nodes[0].bars[1].bytes, 0);
    CHECK_EQ(tree.nodes[0].msix_vectors, 65);
    CHECK_EQ(f->words[PCI_COMMAND / 4u] & 0xffffu, 0x107);
    CHECK_EQ(f->words[PCI_BAR0 / 4u], LOW + 0x4004);
    CHECK_EQ(fake.writes_while_decoding, 0);
    check_placement();
}

TEST(missing_overlapping_and_stray_bars_are_placed)
{
    start();
    struct fake_function *a = fake_pci_add(&fake, 0x10, 0x00101b36, NVME);
    struct fake_function *b = fake_pci_add(&fake, 0x18, 0x10d38086, NET);
    fake_pci_bar(a, 0, LOW + 0x10000, 0x4000, true);
    fake_pci_bar(b, 0, LOW, 0x20000, false);       /* overlaps */
    fake_pci_bar(b, 1, 0, 0x20, false);            /* not assigned, below a page */
    fake_pci_bar(b, 2, 0xf0000000, 0x1000, false); /* outside the windows */
    fake_pci_bar(b, 3, 0, 0x40000000, true);       /* only fits above 4 GiB */
    b->words[PCI_BAR0 / 4u + 5u] = 0xc001;         /* an I/O BAR */
    b->bar_bits[5] = 0xffe0;
    run();
    CHECK_EQ(tree.nodes[0].bars[0].base, LOW + 0x10000);
    CHECK_EQ(tree.moved, 4);
    CHECK_EQ(tree.unplaced, 0);
    CHECK(tree.nodes[1].bars[3].base >= 0x100000000ull);
    CHECK_EQ(tree.nodes[1].bars[5].bytes, 0);
    CHECK_EQ(b->words[PCI_BAR0 / 4u] & ~0xfu, tree.nodes[1].bars[0].base);
    CHECK_EQ(b->words[PCI_BAR0 / 4u + 4u], tree.nodes[1].bars[3].base >> 32);
    check_placement();
}

TEST(what_fits_nowhere_is_left_out)
{
    start();
    tree.windows[2].bytes = 0;
    struct fake_function *a = fake_pci_add(&fake, 0x10, 0x00101b36, NVME);
    fake_pci_bar(a, 0, 0, 0x80000000, true);
    fake_pci_bar(a, 2, 0, 0x1000, false);
    run();
    CHECK_EQ(tree.unplaced, 1);
    CHECK_EQ(tree.nodes[0].bars[0].bytes, 0);
    CHECK(tree.nodes[0].bars[2].placed);
}

TEST(functions_behind_bridges_are_found_and_reachable)
{
    start();
    struct fake_function *open = fake_pci_add(&fake, 0x08, 0x000c1b36, BRIDGE);
    struct fake_function *closed = fake_pci_add(&fake, 0x10, 0x000c1b36, BRIDGE);
    struct fake_function *a = fake_pci_add(&fake, 0x100, 0x10001af4, NET | 0x80u);
    struct fake_function *a1 = fake_pci_add(&fake, 0x101, 0x10001af4, NET);
    struct fake_function *b = fake_pci_add(&fake, 0x200, 0x00101b36, NVME);
    fake_pci_bridge(open, 1, 1, (uint32_t)LOW, 0x200000);
    fake_pci_bridge(closed, 2, 2, 0, 0);
    fake_pci_bar(a, 0, LOW + 0x1000, 0x1000, false);
    fake_pci_bar(a1, 0, 0, 0x1000, false);
    fake_pci_bar(b, 0, 0, 0x4000, true);
    fake_pci_bar(b, 4, 0, 0x200000, false);
    run();
    CHECK_EQ(tree.count, 5);
    CHECK_EQ(tree.buses, 3);
    CHECK_EQ(tree.nodes[2].bars[0].base, LOW + 0x1000);
    uint64_t base = tree.nodes[3].bars[0].base;
    CHECK(base >= LOW && base < LOW + 0x200000);
    uint64_t window = (uint64_t)(closed->words[PCI_BRIDGE_MEMORY / 4u] & 0xfff0u) << 16;
    uint64_t limit = closed->words[PCI_BRIDGE_MEMORY / 4u] | 0xfffffu;
    CHECK(window >= LOW + 0x200000 && limit > window);
    CHECK(tree.nodes[4].bars[0].base >= window && tree.nodes[4].bars[0].base < limit);
    CHECK(tree.nodes[4].bars[4].base >= window && tree.nodes[4].bars[4].base < limit);
    CHECK_EQ(closed->words[PCI_COMMAND / 4u] & 6u, 6);
    check_placement();
}

TEST(bridges_without_sensible_numbers_are_counted)
{
    start();
    struct fake_function *zero = fake_pci_add(&fake, 0x08, 0x000c1b36, BRIDGE);
    struct fake_function *loop = fake_pci_add(&fake, 0x10, 0x000c1b36, BRIDGE);
    struct fake_function *twice = fake_pci_add(&fake, 0x18, 0x000c1b36, BRIDGE);
    struct fake_function *good = fake_pci_add(&fake, 0x20, 0x000c1b36, BRIDGE);
    fake_pci_bridge(zero, 0, 0, 0, 0);
    fake_pci_bridge(loop, 3, 2, 0, 0);
    fake_pci_bridge(twice, 5, 5, 0, 0);
    fake_pci_bridge(good, 5, 5, 0, 0);
    run();
    CHECK_EQ(tree.unnumbered, 3);
    CHECK_EQ(tree.buses, 2);
}

TEST(a_capability_loop_ends)
{
    start();
    struct fake_function *f = fake_pci_add(&fake, 0x10, 0x00101b36, NVME);
    f->words[PCI_COMMAND / 4u] |= PCI_STATUS_CAPABILITIES;
    f->words[PCI_CAPABILITIES / 4u] = 0x40;
    f->words[0x40 / 4u] = 0x4009;
    run();
    CHECK_EQ(tree.nodes[0].msix, 0);
    CHECK_EQ(function_enable(&fake.config, &tree.nodes[0]), STATUS_UNSUPPORTED);
}

TEST(enable_and_quiesce)
{
    start();
    struct fake_function *f = fake_pci_add(&fake, 0x10, 0x00101b36, NVME);
    fake_pci_bar(f, 0, LOW, 0x4000, true);
    fake_pci_capabilities(f, 8, true);
    run();
    CHECK_EQ(function_enable(&fake.config, &tree.nodes[0]), STATUS_OK);
    CHECK_EQ(f->words[PCI_COMMAND / 4u] & 0xffffu,
             PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
    CHECK_EQ(f->words[0x40 / 4u] >> 30, 2);
    CHECK_EQ(function_quiesce(&fake.config, &tree.nodes[0]), STATUS_OK);
    CHECK_EQ(f->words[PCI_COMMAND / 4u] & (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER), 0);
    CHECK_EQ(f->words[0x40 / 4u] >> 30, 0);
    CHECK_EQ(f->resets, 1);
    CHECK(fake.waited_ns >= 100000000u);
    CHECK_EQ(f->words[PCI_BAR0 / 4u] & ~0xfu, LOW);
    f->resets_away = true;
    CHECK_EQ(function_quiesce(&fake.config, &tree.nodes[0]), STATUS_DEVICE_TIMEOUT);
}

/* A physical function and a neighbour whose BAR is in the way. */
static struct fake_function *virtual_start(void)
{
    start();
    struct fake_function *f = fake_pci_add(&fake, 0x10, 0x10c98086, NET);
    fake_pci_bar(f, 0, LOW, 0x20000, false);
    fake_pci_capabilities(f, 10, true);
    fake_pci_virtual(f, 8, 0x4000);
    run();
    return f;
}

TEST(virtual_functions_are_made)
{
    struct fake_function *f = virtual_start();
    CHECK_EQ(virtual_make(&tree, 0, 3), STATUS_OK);
    CHECK_EQ(tree.count, 4);
    for (uint32_t i = 0; i < 3u; i++) {
        const struct pci_node *node = &tree.nodes[1u + i];
        CHECK_EQ(node->address, 0x90 + 2u * i);
        CHECK_EQ(node->ids, 0x10ca8086);
        CHECK_EQ(node->class_code, NET >> 8);
        CHECK_EQ(node->msix_vectors, 3);
        CHECK(node->is_virtual && node->physical == 0 && node->number == i);
        CHECK_EQ(node->bars[0].base, tree.nodes[1].bars[0].base + i * 0x4000u);
    }
    check_placement();
    CHECK_EQ(f->words[FAKE_SRIOV / 4u + 9u] & ~0xfu, tree.nodes[1].bars[0].base);
    CHECK_EQ(f->words[FAKE_SRIOV / 4u + 2u] & 9u, 9);
    CHECK(fake.waited_ns >= 100000000u);
    CHECK_EQ(virtual_make(&tree, 0, 3), STATUS_BUSY);

    /* The physical one is made quiet without a reset, which would end the others. */
    CHECK_EQ(function_enable(&fake.config, &tree.nodes[0]), STATUS_OK);
    CHECK_EQ(function_enable(&fake.config, &tree.nodes[1]), STATUS_OK);
    CHECK_EQ(function_quiesce(&fake.config, &tree.nodes[0]), STATUS_OK);
    CHECK_EQ(f->resets, 0);
    CHECK_EQ(f->words[PCI_COMMAND / 4u] & PCI_COMMAND_MASTER, 0);
    CHECK_EQ(function_quiesce(&fake.config, &tree.nodes[1]), STATUS_OK);
    CHECK_EQ(fake.functions[1].resets, 1);
    CHECK_EQ(fake.functions[1].words[PCI_BAR0 / 4u], 0); /* its BARs are not its own */
}

TEST(virtual_functions_that_cannot_be_are_refused)
{
    struct fake_function *f = virtual_start();
    CHECK_EQ(virtual_make(&tree, 0, 9), STATUS_TOO_LARGE);
    f->virtual_missing = true;
    CHECK_EQ(virtual_make(&tree, 0, 2), STATUS_DEVICE_TIMEOUT);
    CHECK_EQ(f->words[FAKE_SRIOV / 4u + 2u] & 1u, 0);
    f->virtual_missing = false;
    (void)fake_pci_add(&fake, 0x90, 0x12345678, NET);
    tree.count = 0;
    run();
    CHECK_EQ(virtual_make(&tree, 0, 2), STATUS_IN_USE);
    CHECK_EQ(tree.count, 2);
    CHECK_EQ(virtual_make(&tree, 1, 1), STATUS_UNSUPPORTED);
    f = virtual_start();
    f->virtual_bar_bytes = 0x8000000;
    CHECK_EQ(virtual_make(&tree, 0, 8), STATUS_OK); /* only above 4 GiB */
    CHECK(tree.nodes[8].bars[0].base >= 0x100000000ull);
    f = virtual_start();
    tree.windows[2].bytes = 0;
    f->virtual_bar_bytes = 0x8000000;
    CHECK_EQ(virtual_make(&tree, 0, 8), STATUS_NO_MEMORY);
    CHECK_EQ(tree.count, 1);
    f->words[0x100u / 4u] = 0x00010001u | 0x100u << 20; /* a list that bites its tail */
    CHECK_EQ(virtual_make(&tree, 0, 1), STATUS_UNSUPPORTED);
}

/* Any bytes in configuration space: the walk ends, and what it places keeps the rules. */
TEST(random_machines)
{
    srand(5);
    for (uint32_t round = 0; round < 300u; round++) {
        start();
        for (uint32_t i = 0; i < 24u; i++) {
            uint32_t bus = (uint32_t)rand() % 3u;
            uint32_t device = (uint32_t)rand() % 8u;
            bool bridge = rand() % 4 == 0;
            struct fake_function *f =
                fake_pci_add(&fake, bus << 8 | device << 3, 0x12340001u + i, bridge ? BRIDGE : NET);
            for (uint32_t w = PCI_BAR0 / 4u; w < 1024u; w++) {
                f->words[w] = (uint32_t)rand() << 8 ^ (uint32_t)rand();
            }
            f->words[PCI_COMMAND / 4u] = rand() % 2 == 0 ? PCI_STATUS_CAPABILITIES : 0;
            for (uint32_t b = 0; b < (bridge ? 2u : 6u); b++) {
                f->bar_bits[b] = rand() % 2 == 0 ? 0 : 0xffffffffu << (4u + (uint32_t)rand() % 20u);
            }
            if (bridge) {
                fake_pci_bridge(f, bus + 1u, bus + 1u, (uint32_t)LOW + (i << 20), 0x100000);
            }
        }
        run();
        for (uint32_t n = 0; n < tree.count && n < 8u; n++) {
            tree.nodes[n].express = 0x50;
            status_t status = virtual_make(&tree, n, 1u + n);
            CHECK(status != STATUS_OK || tree.nodes[n].virtual_functions == 1u + n);
        }
        check_placement();
    }
}
