// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/intel/intel_nic.h"

/* Receive and transmit causes are separate bits whatever the vectors; both ring vector 0. A cause
 * that has interrupted is cleared and masked by the device (EIAC). */
static void setup_interrupts_82574(volatile uint8_t *registers, bool two_vectors)
{
    uint32_t causes = INTEL_82574_CAUSE_RXQ0 | INTEL_82574_CAUSE_TXQ0;

    (void)two_vectors;
    mmio_write32(registers + INTEL_82574_EIAC, causes);
    mmio_write32(registers + INTEL_82574_IVAR, INTEL_82574_IVAR_VECTOR_0);
    mmio_write32(registers + INTEL_82574_EITR0, 0);
    mmio_write32(registers + INTEL_CTRL_EXT,
                 mmio_read32(registers + INTEL_CTRL_EXT) | INTEL_CTRL_EXT_PBA_CLEAR);
}

/* A cause is a vector: receive 0, transmit 1 or, if there is only one, 0 as well. */
static void setup_interrupts_82576(volatile uint8_t *registers, bool two_vectors)
{
    uint32_t rx = INTEL_82576_IVAR_VALID | 0u;
    uint32_t tx = INTEL_82576_IVAR_VALID | (two_vectors ? 1u : 0u);

    mmio_write32(registers + INTEL_82576_GPIE, INTEL_82576_GPIE_MSIX);
    mmio_write32(registers + INTEL_82576_EIAC, 3);
    mmio_write32(registers + INTEL_82576_IVAR0, tx << 8 | rx);
    mmio_write32(registers + INTEL_82576_EITR0, 0);
    mmio_write32(registers + INTEL_82576_EITR0 + 4, 0);
    mmio_write32(registers + INTEL_CTRL_EXT,
                 mmio_read32(registers + INTEL_CTRL_EXT) | INTEL_CTRL_EXT_DRIVER_LOADED);
}

/* The physical function has set up the rest. */
static void setup_interrupts_virtual(volatile uint8_t *registers, bool two_vectors)
{
    uint32_t rx = INTEL_82576_IVAR_VALID | 0u;
    uint32_t tx = INTEL_82576_IVAR_VALID | (two_vectors ? 1u : 0u);

    mmio_write32(registers + INTEL_82576_EIAC, 3);
    mmio_write32(registers + INTEL_82576_IVAR0, tx << 8 | rx);
    mmio_write32(registers + INTEL_82576_EITR0, 0);
    mmio_write32(registers + INTEL_82576_EITR0 + 4, 0);
}

static void setup_queues_82574(volatile uint8_t *registers)
{
    mmio_write32(registers + INTEL_RFCTL, INTEL_RFCTL_EXTENDED);
}

static void setup_queues_82576(volatile uint8_t *registers)
{
    mmio_write32(registers + INTEL_82576_RX + INTEL_QUEUE_SPLIT,
                 INTEL_82576_SRRCTL_2048 | INTEL_82576_SRRCTL_ADVANCED | INTEL_82576_SRRCTL_DROP);
}

static void setup_queues_virtual(volatile uint8_t *registers)
{
    mmio_write32(registers + INTEL_82574_RX + INTEL_QUEUE_SPLIT,
                 INTEL_82576_SRRCTL_2048 | INTEL_82576_SRRCTL_ADVANCED | INTEL_82576_SRRCTL_DROP);
}

static const struct intel_chip chips[] = {
    {
        .model = "Intel 82574L",
        .pci_device = INTEL_PCI_82574L,
        .register_bytes = INTEL_REGISTER_BYTES,
        .rx_block = INTEL_82574_RX,
        .tx_block = INTEL_82574_TX,
        .cause_clear = INTEL_82574_ICR,
        .mask_set = INTEL_82574_IMS,
        .mask_clear = INTEL_82574_IMC,
        .rx_cause = INTEL_82574_CAUSE_RXQ0,
        .tx_cause_one = INTEL_82574_CAUSE_TXQ0,
        .tx_cause_two = INTEL_82574_CAUSE_TXQ0,
        .rx_errors = INTEL_82574_RX_ERRORS,
        .tx_command = INTEL_TX_END_OF_PACKET | INTEL_TX_INSERT_CRC,
        .tx_payload_shift = 32,
        .setup_interrupts = setup_interrupts_82574,
        .setup_queues = setup_queues_82574,
    },
    {
        .model = "Intel 82576",
        .pci_device = INTEL_PCI_82576,
        .register_bytes = INTEL_REGISTER_BYTES,
        .rx_block = INTEL_82576_RX,
        .tx_block = INTEL_82576_TX,
        .cause_clear = INTEL_82576_EICR,
        .mask_set = INTEL_82576_EIMS,
        .mask_clear = INTEL_82576_EIMC,
        .rx_cause = 1u << 0,
        .tx_cause_one = 1u << 0,
        .tx_cause_two = 1u << 1,
        .rx_errors = INTEL_82576_RX_ERRORS,
        .tx_command = INTEL_TX_END_OF_PACKET | INTEL_TX_INSERT_CRC | INTEL_82576_TX_ADVANCED,
        .tx_payload_shift = INTEL_82576_TX_PAYLOAD_SHIFT,
        .offloads = NETDEV_TX_CHECKSUM | NETDEV_TX_SEGMENTS | NETDEV_TX_OPEN_LENGTH,
        .setup_interrupts = setup_interrupts_82576,
        .setup_queues = setup_queues_82576,
    },
    {
        .model = "Intel 82576, virtual function",
        .pci_device = INTEL_PCI_82576_VIRTUAL,
        .is_virtual = true,
        .register_bytes = INTEL_VIRTUAL_REGISTER_BYTES,
        .rx_block = INTEL_82574_RX,
        .tx_block = INTEL_82574_TX,
        .cause_clear = INTEL_82576_EICR,
        .mask_set = INTEL_82576_EIMS,
        .mask_clear = INTEL_82576_EIMC,
        .rx_cause = 1u << 0,
        .tx_cause_one = 1u << 0,
        .tx_cause_two = 1u << 1,
        .rx_errors = INTEL_82576_RX_ERRORS,
        .tx_command = INTEL_TX_END_OF_PACKET | INTEL_TX_INSERT_CRC | INTEL_82576_TX_ADVANCED,
        .tx_payload_shift = INTEL_82576_TX_PAYLOAD_SHIFT,
        .offloads = NETDEV_TX_CHECKSUM | NETDEV_TX_SEGMENTS | NETDEV_TX_OPEN_LENGTH,
        .setup_interrupts = setup_interrupts_virtual,
        .setup_queues = setup_queues_virtual,
    },
};

const struct intel_chip *intel_find_chip(uint16_t pci_device)
{
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
        if (chips[i].pci_device == pci_device) {
            return &chips[i];
        }
    }
    return NULL;
}
