// SPDX-License-Identifier: MIT OR Apache-2.0
/* From a cell's device to the driver's configuration. */
#include "drivers/nvme/nvme.h"
#include "drivers/nvme/nvme_internal.h"
#include "drivers/pci/pci.h"

/* Table Offset and BIR, 4 bytes into the capability (PCI Local Bus 3.0, 6.8.2.4). */
#define MSIX_TABLE 4u
#define MSIX_ENTRY_BYTES 16u
#define MSIX_SIZE_MASK 0x7ffu /* Message Control, 2 bytes into the capability */

status_t nvme_vector_from_cell(struct nvme_vector *vector, const struct cell_device *device,
                               uint32_t index)
{
    if (index >= device->irq_count) {
        return STATUS_NOT_FOUND;
    }
    uint32_t capability = pci_find_capability(device, 0, PCI_CAPABILITY_MSIX);
    if (capability == 0) {
        return STATUS_UNSUPPORTED;
    }
    const volatile uint8_t *config = device->config;
    uint32_t entries = (mmio_read32(config + capability) >> 16 & MSIX_SIZE_MASK) + 1u;
    uint32_t table = mmio_read32(config + capability + MSIX_TABLE);
    struct pci_window window;
    if (index >= entries ||
        pci_bar_window(device, table & 7u, (table & ~7u) + index * MSIX_ENTRY_BYTES,
                       MSIX_ENTRY_BYTES, &window) != STATUS_OK) {
        return STATUS_UNSUPPORTED;
    }
    *vector = (struct nvme_vector){window.base, device->msi[index].address, device->msi[index].data,
                                   index};
    return STATUS_OK;
}

status_t nvme_config_from_cell(struct nvme_config *config, const struct cell_device *device)
{
    if (device->bar[0] == NULL) {
        return STATUS_NOT_FOUND;
    }
    config->registers = device->bar[0];
    config->register_bytes = device->bar_bytes[0];
    config->vector = (struct nvme_vector){0};
    for (uint32_t i = 0; i < 6u; i++) {
        config->bar[i] = device->bar[i];
        config->bar_bytes[i] = device->bar_bytes[i];
    }
    if (device->irq_count == 0) {
        return STATUS_OK; /* polled only */
    }
    return nvme_vector_from_cell(&config->vector, device, 0);
}
