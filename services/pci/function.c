// SPDX-License-Identifier: MIT OR Apache-2.0
/* Switching one function on and making it quiet. */
#include "services/pci/tree.h"

/* MSI-X message control, in the upper half of the capability's first word (PCI 3.0 §6.8.2.3). */
#define MSIX_ENABLE (1u << 31)
#define MSIX_MASK_ALL (1u << 30)

/* PCI Express capability (PCI Express Base 5.0 §7.5.3): device capabilities at 4, control and
 * status at 8. */
#define EXPRESS_CAPABILITIES 4u
#define EXPRESS_CAN_RESET (1u << 28)
#define EXPRESS_CONTROL 8u
#define EXPRESS_RESET (1u << 15)
#define EXPRESS_PENDING (1u << 21)

/* PCI Express Base 5.0 §6.6.2: 100 ms for the reset itself; pending reads end in that time too. */
#define RESET_WAIT_NS 100000000ull
#define POLL_NS 1000000ull
#define PENDING_POLLS 100u
#define RETURN_POLLS 1000u

void function_write_bars(const struct pci_config *config, const struct pci_node *node)
{
    if (node->is_virtual) {
        return;
    }
    uint32_t command = pci_read(config, node->address, PCI_COMMAND) & 0xffffu;
    pci_write(config, node->address, PCI_COMMAND, command & ~(uint32_t)PCI_COMMAND_MEMORY);
    for (uint32_t i = 0; i < node->bar_count; i++) {
        const struct pci_bar *bar = &node->bars[i];
        if (bar->placed) {
            pci_write(config, node->address, PCI_BAR0 + 4u * i, (uint32_t)bar->base);
            if (bar->wide) {
                pci_write(config, node->address, PCI_BAR0 + 4u * i + 4u,
                          (uint32_t)(bar->base >> 32));
            }
        }
    }
    pci_write(config, node->address, PCI_COMMAND, command);
}

static void msix_set(const struct pci_config *config, const struct pci_node *node, bool on)
{
    uint32_t word = pci_read(config, node->address, node->msix);

    word &= ~(uint32_t)(MSIX_ENABLE | MSIX_MASK_ALL);
    pci_write(config, node->address, node->msix, on ? word | MSIX_ENABLE : word);
}

status_t function_enable(const struct pci_config *config, const struct pci_node *node)
{
    if (node->msix == 0) {
        return STATUS_UNSUPPORTED;
    }
    function_write_bars(config, node);
    pci_write(config, node->address, PCI_COMMAND,
              PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
    msix_set(config, node, true);
    return STATUS_OK;
}

/* A physical function is not reset while there are virtual functions of it, which the reset would
 * end; their cells go on (decision 038). */
static bool can_reset(const struct pci_config *config, const struct pci_node *node)
{
    return node->express != 0 && node->virtual_functions == 0 &&
           (pci_read(config, node->address, node->express + EXPRESS_CAPABILITIES) &
            EXPRESS_CAN_RESET) != 0;
}

/* A virtual function's ids read as ones even when it is there. */
static bool is_back(const struct pci_config *config, const struct pci_node *node)
{
    return node->is_virtual ? pci_read(config, node->address, PCI_COMMAND) != 0xffffffffu
                            : pci_read(config, node->address, PCI_IDS) == node->ids;
}

static bool is_idle(const struct pci_config *config, const struct pci_node *node)
{
    return (pci_read(config, node->address, node->express + EXPRESS_CONTROL) & EXPRESS_PENDING) ==
           0;
}

static void wait_idle(const struct pci_config *config, const struct pci_node *node)
{
    for (uint32_t i = 0; i < PENDING_POLLS && !is_idle(config, node); i++) {
        config->wait_ns(config->context, POLL_NS);
    }
}

static status_t reset(const struct pci_config *config, const struct pci_node *node)
{
    uint32_t at = node->express + EXPRESS_CONTROL;

    wait_idle(config, node);
    uint32_t control = pci_read(config, node->address, at) & 0xffffu;
    pci_write(config, node->address, at, control | EXPRESS_RESET);
    config->wait_ns(config->context, RESET_WAIT_NS);
    for (uint32_t i = 0; i < RETURN_POLLS; i++) {
        if (is_back(config, node)) {
            return STATUS_OK;
        }
        config->wait_ns(config->context, POLL_NS);
    }
    return STATUS_DEVICE_TIMEOUT;
}

status_t function_quiesce(const struct pci_config *config, const struct pci_node *node)
{
    status_t status = STATUS_OK;

    pci_write(config, node->address, PCI_COMMAND, PCI_COMMAND_INTX_OFF);
    if (node->msix != 0) {
        msix_set(config, node, false);
    }
    if (can_reset(config, node)) {
        status = reset(config, node);
        if (status == STATUS_OK) {
            function_write_bars(config, node);
        }
    } else if (node->express != 0) {
        wait_idle(config, node); /* what it had asked for has come */
    }
    return status;
}
