// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/pci/pci.h"

#include "drivers/mmio.h"

/* Configuration header (PCI 3.0 §6.1, §6.7). */
#define CONFIG_STATUS 0x06u
#define CONFIG_STATUS_CAPABILITIES (1u << 4)
#define CONFIG_CAPABILITIES 0x34u
#define CAPABILITIES_FIRST 0x40u
#define CAPABILITIES_MAX 48u

/* MSI-X capability and table (§6.8.2). */
#define MSIX_CONTROL 2u
#define MSIX_CONTROL_SIZE 0x7ffu
#define MSIX_TABLE 4u
#define MSIX_TABLE_BIR 7u
#define MSIX_ENTRY_BYTES 16u
#define MSIX_ENTRY_ADDRESS 0u
#define MSIX_ENTRY_ADDRESS_HIGH 4u
#define MSIX_ENTRY_DATA 8u
#define MSIX_ENTRY_CONTROL 12u

/* struct virtio_pci_cap (virtio 1.2 §4.1.4). */
#define VIRTIO_CAP_BYTES 2u
#define VIRTIO_CAP_TYPE 3u
#define VIRTIO_CAP_BAR 4u
#define VIRTIO_CAP_OFFSET 8u
#define VIRTIO_CAP_LENGTH 12u
#define VIRTIO_CAP_MULTIPLIER 16u
#define VIRTIO_CAP_BYTES_MIN 16u

static const volatile uint8_t *config_at(const struct cell_device *device, uint32_t offset)
{
    return (const volatile uint8_t *)device->config + offset;
}

uint32_t pci_find_capability(const struct cell_device *device, uint32_t after, uint8_t id)
{
    if ((mmio_read16(config_at(device, CONFIG_STATUS)) & CONFIG_STATUS_CAPABILITIES) == 0) {
        return 0;
    }
    uint32_t at = after != 0 ? mmio_read8(config_at(device, after + 1u))
                             : mmio_read8(config_at(device, CONFIG_CAPABILITIES));
    for (uint32_t seen = 0; seen < CAPABILITIES_MAX; seen++) {
        at &= ~3u;
        if (at < CAPABILITIES_FIRST) {
            return 0;
        }
        if (mmio_read8(config_at(device, at)) == id) {
            return at;
        }
        at = mmio_read8(config_at(device, at + 1u));
    }
    return 0;
}

status_t pci_bar_window(const struct cell_device *device, uint32_t bar, uint64_t offset,
                        uint64_t bytes, struct pci_window *window)
{
    if (bar >= 6u || device->bar[bar] == NULL) {
        return STATUS_NOT_FOUND;
    }
    if (offset > device->bar_bytes[bar] || bytes > device->bar_bytes[bar] - offset) {
        return STATUS_INVALID_ARGUMENT;
    }
    window->base = (volatile uint8_t *)device->bar[bar] + offset;
    window->bytes = bytes;
    return STATUS_OK;
}

status_t pci_msix_fill(const struct cell_device *device)
{
    uint32_t at = pci_find_capability(device, 0, PCI_CAPABILITY_MSIX);
    if (at == 0) {
        return STATUS_NOT_FOUND;
    }
    uint32_t entries = (mmio_read16(config_at(device, at + MSIX_CONTROL)) & MSIX_CONTROL_SIZE) + 1u;
    if (device->irq_count > entries || device->irq_count > CELL_IRQS_MAX) {
        return STATUS_UNSUPPORTED;
    }
    uint32_t location = mmio_read32(config_at(device, at + MSIX_TABLE));
    struct pci_window table;
    status_t status = pci_bar_window(device, location & MSIX_TABLE_BIR, location & ~MSIX_TABLE_BIR,
                                     (uint64_t)device->irq_count * MSIX_ENTRY_BYTES, &table);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < device->irq_count; i++) {
        volatile uint8_t *entry = table.base + i * MSIX_ENTRY_BYTES;
        mmio_write32(entry + MSIX_ENTRY_CONTROL, 1); /* masked while it changes */
        mmio_write32(entry + MSIX_ENTRY_ADDRESS, (uint32_t)device->msi[i].address);
        mmio_write32(entry + MSIX_ENTRY_ADDRESS_HIGH, (uint32_t)(device->msi[i].address >> 32));
        mmio_write32(entry + MSIX_ENTRY_DATA, device->msi[i].data);
        mmio_write32(entry + MSIX_ENTRY_CONTROL, 0);
    }
    return STATUS_OK;
}

status_t pci_virtio_window(const struct cell_device *device, enum pci_virtio_type type,
                           uint64_t bytes_min, struct pci_window *window, uint32_t *multiplier)
{
    uint32_t at = 0;
    for (uint32_t seen = 0; seen < CAPABILITIES_MAX; seen++) {
        at = pci_find_capability(device, at, PCI_CAPABILITY_VENDOR);
        if (at == 0) {
            return STATUS_NOT_FOUND;
        }
        /* `at` is at most 0xfc: all reads below stay inside the 4 KiB page. */
        if (mmio_read8(config_at(device, at + VIRTIO_CAP_BYTES)) < VIRTIO_CAP_BYTES_MIN ||
            mmio_read8(config_at(device, at + VIRTIO_CAP_TYPE)) != type) {
            continue;
        }
        uint32_t bytes = mmio_read32(config_at(device, at + VIRTIO_CAP_LENGTH));
        if (bytes < bytes_min ||
            pci_bar_window(device, mmio_read8(config_at(device, at + VIRTIO_CAP_BAR)),
                           mmio_read32(config_at(device, at + VIRTIO_CAP_OFFSET)), bytes,
                           window) != STATUS_OK) {
            continue;
        }
        if (multiplier != NULL) {
            *multiplier = mmio_read32(config_at(device, at + VIRTIO_CAP_MULTIPLIER));
        }
        return STATUS_OK;
    }
    return STATUS_NOT_FOUND;
}
