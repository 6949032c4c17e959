// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/intel/intel_nic.h"

/* Receive and transmit causes are separate bits whatever the vectors; both ring vector 0. A cause
 * that has interrupted is cleared and masked by the device (EIAC). */
static void setup_interrupts_82574(const struct intel_nic *nic)
{
    uint32_t causes = INTEL_82574_CAUSE_RXQ0 | INTEL_82574_CAUSE_TXQ0;

    intel_write(nic, INTEL_82574_EIAC, causes);
    intel_write(nic, INTEL_82574_IVAR, INTEL_82574_IVAR_VECTOR_0);
    intel_write(nic, INTEL_82574_EITR0, 0);
    intel_write(nic, INTEL_CTRL_EXT, intel_read(nic, INTEL_CTRL_EXT) | INTEL_CTRL_EXT_PBA_CLEAR);
}

/* A cause is a vector. One pair: receive 0, transmit 1 or, if its owner has only one, 0 as well.
 * Several: each pair has its own for both. */
static uint32_t vectors_of(const struct intel_nic *nic, uint32_t queue)
{
    uint32_t tx = nic->netdev.queues > 1u                    ? queue
                  : nic->tx_cause == nic->chip->tx_cause_two ? 1u
                                                             : 0u;

    return (INTEL_82576_IVAR_VALID | tx) << 8 | INTEL_82576_IVAR_VALID | queue;
}

/* Enough for a virtual function, whose physical one has set up the rest. Moderation by the chip is
 * off: an interrupt is asked for only before a sleep. */
static void setup_interrupts_virtual(const struct intel_nic *nic)
{
    uint32_t vectors = nic->netdev.queues > 2u ? nic->netdev.queues : 2u;

    intel_write(nic, INTEL_82576_EIAC, (1u << vectors) - 1u);
    for (uint32_t queue = 0; queue < nic->netdev.queues; queue++) {
        intel_write(nic, INTEL_82576_IVAR0 + 4u * queue, vectors_of(nic, queue));
    }
    for (uint32_t vector = 0; vector < vectors; vector++) {
        intel_write(nic, INTEL_82576_EITR0 + 4u * vector, 0);
    }
}

static void setup_interrupts_82576(const struct intel_nic *nic)
{
    intel_write(nic, INTEL_82576_GPIE, INTEL_82576_GPIE_MSIX);
    setup_interrupts_virtual(nic);
    intel_write(nic, INTEL_CTRL_EXT,
                intel_read(nic, INTEL_CTRL_EXT) | INTEL_CTRL_EXT_DRIVER_LOADED);
}

static void setup_queues_82574(const struct intel_nic *nic)
{
    intel_write(nic, INTEL_RFCTL, INTEL_RFCTL_EXTENDED);
}

/* A queue without buffers drops its frames and does not hold up the others. */
static void setup_queues_82576(const struct intel_nic *nic)
{
    for (uint32_t queue = 0; queue < nic->netdev.queues; queue++) {
        intel_write(nic, nic->chip->rx_block + queue * nic->chip->queue_step + INTEL_QUEUE_SPLIT,
                    INTEL_82576_SRRCTL_2048 | INTEL_82576_SRRCTL_DROP |
                        (nic->netdev.splits_headers
                             ? INTEL_82576_SRRCTL_SPLIT | INTEL_82576_SRRCTL_HEADER
                             : INTEL_82576_SRRCTL_ADVANCED));
    }
    if (nic->netdev.splits_headers) {
        intel_write(nic, INTEL_82576_PSRTYPE, INTEL_82576_PSRTYPE_TCP);
    }
    intel_setup_steering(nic);
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
        .splits = true,
        .queue_step = INTEL_82576_QUEUE_STEP,
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
        .setup_queues = setup_queues_82576,
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
