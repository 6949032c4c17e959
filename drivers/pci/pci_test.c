// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/pci/pci.h"

#include "lib/base/endian.h"
#include "tests/check.h"

static _Alignas(8) uint8_t config[PAGE_BYTES];
static _Alignas(8) uint8_t bar[PAGE_BYTES];
static struct cell_device device;

static void clear(void)
{
    memset(config, 0, sizeof config);
    memset(bar, 0, sizeof bar);
    memset(&device, 0, sizeof device);
    device.config = config;
    device.bar[1] = bar;
    device.bar_bytes[1] = sizeof bar;
    device.irq_count = 2;
    store_le16(config + 6, 0x10);
}

static void put(uint8_t at, uint8_t id, uint8_t next)
{
    config[at] = id;
    config[at + 1] = next;
}

TEST(capabilities_are_found_in_order)
{
    clear();
    config[0x34] = 0x40;
    put(0x40, 0x09, 0x50);
    put(0x50, 0x11, 0x60);
    put(0x60, 0x09, 0);
    CHECK_EQ(pci_find_capability(&device, 0, 0x09), 0x40);
    CHECK_EQ(pci_find_capability(&device, 0x40, 0x09), 0x60);
    CHECK_EQ(pci_find_capability(&device, 0x60, 0x09), 0);
    CHECK_EQ(pci_find_capability(&device, 0, 0x11), 0x50);
    CHECK_EQ(pci_find_capability(&device, 0, 0x10), 0);
    store_le16(config + 6, 0); /* no list at all */
    CHECK_EQ(pci_find_capability(&device, 0, 0x09), 0);
}

TEST(a_list_that_runs_in_a_circle_ends)
{
    clear();
    config[0x34] = 0x40;
    put(0x40, 0x01, 0x48);
    put(0x48, 0x01, 0x40);
    CHECK_EQ(pci_find_capability(&device, 0, 0x11), 0);
    put(0x48, 0x09, 0x48);
    config[0x4a] = 16;
    struct pci_window window;
    CHECK_EQ(pci_virtio_window(&device, PCI_VIRTIO_COMMON, 4, &window, NULL), STATUS_NOT_FOUND);
    config[0x34] = 0x07; /* into the header */
    CHECK_EQ(pci_find_capability(&device, 0, 0x11), 0);
}

TEST(msix_entries_are_filled_within_the_table)
{
    clear();
    CHECK_EQ(pci_msix_fill(&device), STATUS_NOT_FOUND);
    config[0x34] = 0x40;
    put(0x40, 0x11, 0);
    store_le16(config + 0x42, 3); /* four entries */
    store_le32(config + 0x44, 0x800 | 1);
    device.msi[0].address = 0x1fee00000;
    device.msi[0].data = 0x21;
    device.msi[1].address = 0xfee01000;
    device.msi[1].data = 0x22;
    memset(bar, 0xee, sizeof bar);
    CHECK_EQ(pci_msix_fill(&device), STATUS_OK);
    CHECK_EQ(load_le32(bar + 0x800), 0xfee00000);
    CHECK_EQ(load_le32(bar + 0x804), 1);
    CHECK_EQ(load_le32(bar + 0x808), 0x21);
    CHECK_EQ(load_le32(bar + 0x80c), 0);
    CHECK_EQ(load_le32(bar + 0x818), 0x22);
    CHECK_EQ(load_le32(bar + 0x820), 0xeeeeeeee);
    CHECK_EQ(load_le32(bar + 0x7fc), 0xeeeeeeee);

    memset(bar, 0xee, sizeof bar);
    store_le32(config + 0x44, 0xff0 | 1); /* the second entry lies outside */
    CHECK_EQ(pci_msix_fill(&device), STATUS_INVALID_ARGUMENT);
    store_le32(config + 0x44, 0x800 | 2); /* not mapped */
    CHECK_EQ(pci_msix_fill(&device), STATUS_NOT_FOUND);
    store_le32(config + 0x44, 0x800 | 7); /* no such BAR */
    CHECK_EQ(pci_msix_fill(&device), STATUS_NOT_FOUND);
    store_le32(config + 0x44, 0x800 | 1);
    device.irq_count = 5;
    CHECK_EQ(pci_msix_fill(&device), STATUS_UNSUPPORTED);
    for (unsigned i = 0; i < sizeof bar; i++) {
        CHECK_EQ(bar[i], 0xee);
    }
}

TEST(virtio_structures_outside_their_bar_are_passed_over)
{
    struct pci_window window = {0};
    uint32_t multiplier = 0;

    clear();
    config[0x34] = 0x40;
    put(0x40, 0x09, 0x60);
    config[0x42] = 20;
    config[0x43] = PCI_VIRTIO_NOTIFY;
    config[0x44] = 1;
    store_le32(config + 0x48, 0xff0);
    store_le32(config + 0x4c, 0x20); /* sixteen bytes too many */
    put(0x60, 0x09, 0);
    config[0x62] = 20;
    config[0x63] = PCI_VIRTIO_NOTIFY;
    config[0x64] = 1;
    store_le32(config + 0x68, 0xff0);
    store_le32(config + 0x6c, 0x10);
    store_le32(config + 0x70, 4);
    CHECK_EQ(pci_virtio_window(&device, PCI_VIRTIO_NOTIFY, 2, &window, &multiplier), STATUS_OK);
    CHECK(window.base == bar + 0xff0 && window.bytes == 0x10 && multiplier == 4);
    CHECK_EQ(pci_virtio_window(&device, PCI_VIRTIO_NOTIFY, 0x20, &window, NULL), STATUS_NOT_FOUND);
    store_le32(config + 0x68, 0xfffffff8);
    CHECK_EQ(pci_virtio_window(&device, PCI_VIRTIO_NOTIFY, 2, &window, NULL), STATUS_NOT_FOUND);
}
