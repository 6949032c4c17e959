// SPDX-License-Identifier: MIT OR Apache-2.0
/* From a cell's device to the driver's configuration. */
#include "drivers/nvme/nvme.h"
#include "drivers/nvme/nvme_internal.h"
#include "drivers/pci/pci.h"

/* Table Offset and BIR, 4 bytes into the capability (PCI Local Bus 3.0, 6.8.2.4). */
#define MSIX_TABLE 4u
#define MSIX_ENTRY_BYTES 16u

status_t nvme_config_from_cell(struct nvme_config *config, const struct cell_device *device)
{
    if (device->bar[0] == NULL) {
        return STATUS_NOT_FOUND;
    }
    config->registers = device->bar[0];
    config->register_bytes = device->bar_bytes[0];
    config->msix_table = NULL;
    if (device->irq_count == 0) {
        return STATUS_OK; /* polled only */
    }
    config->msix_address = device->msi[0].address;
    config->msix_data = device->msi[0].data;
    uint32_t capability = pci_find_capability(device, 0, PCI_CAPABILITY_MSIX);
    if (capability == 0) {
        return STATUS_UNSUPPORTED;
    }
    uint32_t table =
        mmio_read32((const volatile uint8_t *)device->config + capability + MSIX_TABLE);
    struct pci_window window;
    if (pci_bar_window(device, table & 7u, table & ~7u, MSIX_ENTRY_BYTES, &window) != STATUS_OK) {
        return STATUS_UNSUPPORTED;
    }
    config->msix_table = window.base;
    return STATUS_OK;
}
