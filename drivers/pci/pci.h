// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a driver needs of its PCI function's configuration page (struct cell_device.config): finding
 * capabilities and filling the MSI-X table. The page is the device's word and untrusted: every walk
 * is bounded, every location is checked against the mapped BARs.
 *
 * Sources: PCI Local Bus 3.0 §6.7 (capability list), §6.8.2 (MSI-X); virtio 1.2 §4.1.4.
 */
#ifndef DRIVERS_PCI_PCI_H
#define DRIVERS_PCI_PCI_H

#include <hallows/cell.h>
#include <hallows/status.h>

#define PCI_CAPABILITY_VENDOR 0x09u
#define PCI_CAPABILITY_MSIX 0x11u

/* A piece of a mapped BAR. */
struct pci_window {
    volatile uint8_t *base;
    uint64_t bytes;
};

/* Offset of the first capability `id` behind the capability at `after` (0: from the start of the
 * list); 0 when there is none. Looks at no more than 48 entries, as many as fit 256 bytes. */
uint32_t pci_find_capability(const struct cell_device *device, uint32_t after, uint8_t id);

/* The window of `bytes` at `offset` in BAR `bar`. NOT_FOUND: no such BAR is mapped;
 * INVALID_ARGUMENT: it does not hold the range. */
status_t pci_bar_window(const struct cell_device *device, uint32_t bar, uint64_t offset,
                        uint64_t bytes, struct pci_window *window) HALLOWS_MUST_CHECK;

/* Points MSI-X table entry i at device->msi[i], unmasked, for i below device->irq_count; all other
 * entries stay as they are. NOT_FOUND: no MSI-X capability; UNSUPPORTED: the table has fewer
 * entries than irq_count; else as pci_bar_window. Writes nothing unless it writes all. */
status_t pci_msix_fill(const struct cell_device *device) HALLOWS_MUST_CHECK;

/* virtio structure types (virtio 1.2 §4.1.4). */
enum pci_virtio_type {
    PCI_VIRTIO_COMMON = 1,
    PCI_VIRTIO_NOTIFY = 2,
    PCI_VIRTIO_ISR = 3,
    PCI_VIRTIO_DEVICE = 4
};

/* The first structure of that type whose window lies in a mapped BAR and has at least `bytes_min`.
 * `multiplier` (may be NULL) gets notify_off_multiplier of a NOTIFY structure. NOT_FOUND: none. */
status_t pci_virtio_window(const struct cell_device *device, enum pci_virtio_type type,
                           uint64_t bytes_min, struct pci_window *window,
                           uint32_t *multiplier) HALLOWS_MUST_CHECK;

#endif
