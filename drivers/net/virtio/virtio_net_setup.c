// SPDX-License-Identifier: MIT OR Apache-2.0
/* From a device that has been reset to one that runs: features, configuration, queues. */
#include "drivers/net/virtio/virtio_net.h"

#include "lib/base/bytes.h"

#define GENERATION_TRIES 16u
#define ETHERNET_HEADER_BYTES 14u
#define VLAN_TAG_BYTES 4u
#define MTU_DEFAULT 1500u
#define MTU_MIN 576u
#define PAIRS_MAX 0x4000u /* the control queue has a number of 16 bits */

#define FEATURES_OF_PAIRS                                                                          \
    (VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ | VIRTIO_NET_F_RSS | VIRTIO_F_RING_RESET)
#define FEATURES_WANTED                                                                            \
    (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MTU |              \
     VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_F_EVENT_IDX |   \
     VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_ORDER_PLATFORM | VIRTIO_F_RING_PACKED |                   \
     FEATURES_OF_PAIRS)

static uint32_t config_read16(const struct virtio_net *nic, uint32_t at)
{
    return mmio_read16(nic->config.base + at);
}

/* Whether the device can be told the hash that software uses. */
static bool steers(const struct virtio_net *nic, uint64_t features)
{
    return (features & VIRTIO_NET_F_RSS) != 0 && nic->config.bytes >= VIRTIO_NET_CONFIG_RSS_BYTES &&
           mmio_read8(nic->config.base + VIRTIO_NET_CONFIG_KEY_BYTES) >= VIRTIO_NET_KEY_BYTES &&
           config_read16(nic, VIRTIO_NET_CONFIG_TABLE) >= VIRTIO_NET_TABLE_ENTRIES &&
           (mmio_read32(nic->config.base + VIRTIO_NET_CONFIG_HASHES) & VIRTIO_NET_HASHES) ==
               VIRTIO_NET_HASHES;
}

/* Chooses among the features for several pairs, and how many of those there are. */
static status_t choose_pairs(struct virtio_net *nic)
{
    uint64_t needed = VIRTIO_NET_F_CTRL_VQ | VIRTIO_F_RING_RESET;
    uint64_t features = nic->features & FEATURES_OF_PAIRS;
    uint32_t pairs = 1;

    nic->features &= ~FEATURES_OF_PAIRS;
    if (nic->wanted_pairs > 1u && (features & needed) == needed &&
        nic->common.bytes >= VIRTIO_COMMON_QUEUE_RESET + sizeof(uint16_t) &&
        nic->config.bytes >= VIRTIO_NET_CONFIG_BYTES) {
        uint64_t kind = steers(nic, features) ? VIRTIO_NET_F_RSS : features & VIRTIO_NET_F_MQ;
        uint32_t most = config_read16(nic, VIRTIO_NET_CONFIG_PAIRS);
        if (kind != 0 && most > 1u && most <= PAIRS_MAX) {
            nic->features |= needed | kind;
            nic->control.number = (uint16_t)(VIRTIO_NET_QUEUES * most);
            pairs = most < nic->wanted_pairs ? most : nic->wanted_pairs;
        }
    }
    if (nic->netdev.queues != 0 && nic->netdev.queues != pairs) {
        return STATUS_DEVICE_ERROR; /* it had another number before its reset */
    }
    nic->netdev.queues = (uint16_t)pairs;
    nic->netdev.unsteered = pairs > 1u && (nic->features & VIRTIO_NET_F_RSS) == 0;
    return STATUS_OK;
}

static status_t negotiate(struct virtio_net *nic)
{
    uint64_t offered = 0;
    for (uint32_t half = 0; half < 2; half++) {
        mmio_write32(nic->common.base + VIRTIO_COMMON_DEVICE_FEATURE_SELECT, half);
        offered |= (uint64_t)mmio_read32(nic->common.base + VIRTIO_COMMON_DEVICE_FEATURE)
                   << (32u * half);
    }
    if ((offered & VIRTIO_F_VERSION_1) == 0) {
        return STATUS_UNSUPPORTED;
    }
    nic->features = offered & FEATURES_WANTED;
    if (nic->config.bytes < VIRTIO_NET_CONFIG_BYTES) {
        nic->features &= ~(VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MTU);
    }
    if ((nic->features & VIRTIO_F_RING_PACKED) != 0) {
        nic->features &= ~VIRTIO_F_EVENT_IDX; /* on or off is enough */
    }
    if ((nic->features & VIRTIO_NET_F_CSUM) == 0) {
        nic->features &= ~VIRTIO_NET_F_HOST_TSO4;
    }
    status_t status = choose_pairs(nic);
    if (status != STATUS_OK) {
        return status;
    }
    if (!nic->wants_sums) {
        nic->features &= ~VIRTIO_NET_F_GUEST_CSUM;
    }
    nic->netdev.receives_sums = (nic->features & VIRTIO_NET_F_GUEST_CSUM) != 0;
    nic->netdev.offloads =
        ((nic->features & VIRTIO_NET_F_CSUM) != 0 ? (uint32_t)NETDEV_TX_CHECKSUM : 0u) |
        ((nic->features & VIRTIO_NET_F_HOST_TSO4) != 0 ? (uint32_t)NETDEV_TX_SEGMENTS : 0u);
    for (uint32_t half = 0; half < 2; half++) {
        mmio_write32(nic->common.base + VIRTIO_COMMON_DRIVER_FEATURE_SELECT, half);
        mmio_write32(nic->common.base + VIRTIO_COMMON_DRIVER_FEATURE,
                     (uint32_t)(nic->features >> (32u * half)));
    }
    virtio_net_status_write(nic, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
                                     VIRTIO_STATUS_FEATURES_OK);
    return (virtio_net_status_read(nic) & VIRTIO_STATUS_FEATURES_OK) != 0 ? STATUS_OK
                                                                          : STATUS_UNSUPPORTED;
}

bool virtio_net_read_link(const struct virtio_net *nic)
{
    if ((nic->features & VIRTIO_NET_F_STATUS) == 0) {
        return true;
    }
    return (mmio_read16(nic->config.base + VIRTIO_NET_CONFIG_STATUS) & VIRTIO_NET_STATUS_LINK_UP) !=
           0;
}

/* The device may change its configuration while it is read (§2.5.3). */
static status_t read_config(struct virtio_net *nic)
{
    uint8_t mac[6];
    uint16_t mtu = 0;

    for (uint32_t tries = 0; tries < GENERATION_TRIES; tries++) {
        uint8_t before = virtio_net_read8(nic, VIRTIO_COMMON_CONFIG_GENERATION);
        if ((nic->features & VIRTIO_NET_F_MAC) != 0) {
            for (uint32_t i = 0; i < sizeof mac; i++) {
                mac[i] = mmio_read8(nic->config.base + VIRTIO_NET_CONFIG_MAC + i);
            }
        }
        if ((nic->features & VIRTIO_NET_F_MTU) != 0) {
            mtu = mmio_read16(nic->config.base + VIRTIO_NET_CONFIG_MTU);
        }
        bool link = virtio_net_read_link(nic);
        if (virtio_net_read8(nic, VIRTIO_COMMON_CONFIG_GENERATION) != before) {
            continue;
        }
        if ((nic->features & VIRTIO_NET_F_MAC) == 0 || (mac[0] & 1u) != 0) {
            /* None, or a group address: a locally administered one from the bus address. */
            uint32_t at = nic->device->pci_address;
            const uint8_t own[6] = {0x02, 'H', 'L', 0, (uint8_t)(at >> 8), (uint8_t)at};
            memcpy(mac, own, sizeof mac);
        }
        memcpy(nic->netdev.mac, mac, sizeof mac);
        nic->netdev.mtu_bytes = mtu >= MTU_MIN && mtu < MTU_DEFAULT ? mtu : MTU_DEFAULT;
        nic->frame_bytes_max = nic->netdev.mtu_bytes + ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES;
        nic->link = link;
        return STATUS_OK;
    }
    return STATUS_DEVICE_ERROR;
}

/* Largest power of two up to the device's size and ours; 0 if the device has no such queue. */
static uint16_t choose_size(uint16_t offered)
{
    uint16_t size = VIRTIO_QUEUE_SIZE_MAX;
    while (size > offered) {
        size = (uint16_t)(size / 2u);
    }
    return size;
}

/* The device's queue `number` in the DMA memory at `at`, with interrupts of that vector. */
static status_t setup_queue(struct virtio_net *nic, struct virtio_queue *queue, uint16_t number,
                            size_t at, uint16_t vector)
{
    virtio_net_write16(nic, VIRTIO_COMMON_QUEUE_SELECT, number);
    uint16_t size = choose_size(virtio_net_read16(nic, VIRTIO_COMMON_QUEUE_SIZE));
    uint64_t notify_at =
        (uint64_t)virtio_net_read16(nic, VIRTIO_COMMON_QUEUE_NOTIFY_OFF) * nic->notify_multiplier;
    if (size < 8 || notify_at > nic->notify.bytes - sizeof(uint16_t)) {
        return STATUS_DEVICE_ERROR;
    }
    memset(nic->dma.base + at, 0, VIRTIO_QUEUE_DMA_BYTES);
    *queue = (struct virtio_queue){
        .descriptors = (void *)(nic->dma.base + at),
        .avail = (void *)(nic->dma.base + at + PAGE_BYTES),
        .used = (void *)(nic->dma.base + at + PAGE_BYTES + VIRTIO_QUEUE_USED_OFFSET),
        .notify = nic->notify.base + notify_at,
        .number = number,
        .size = size,
        .mask = (uint16_t)(size - 1u),
        .event_index = (nic->features & VIRTIO_F_EVENT_IDX) != 0,
    };
    virtio_queue_disarm(queue);
    virtio_net_write16(nic, VIRTIO_COMMON_QUEUE_SIZE, size);
    virtio_net_write16(nic, VIRTIO_COMMON_QUEUE_VECTOR, vector);
    if (virtio_net_read16(nic, VIRTIO_COMMON_QUEUE_VECTOR) != vector) {
        return STATUS_DEVICE_ERROR;
    }
    virtio_net_write64(nic, VIRTIO_COMMON_QUEUE_DESCRIPTORS, dma_device_address(&nic->dma, at));
    virtio_net_write64(nic, VIRTIO_COMMON_QUEUE_DRIVER,
                       dma_device_address(&nic->dma, at + PAGE_BYTES));
    virtio_net_write64(nic, VIRTIO_COMMON_QUEUE_DEVICE,
                       dma_device_address(&nic->dma, at + PAGE_BYTES + VIRTIO_QUEUE_USED_OFFSET));
    virtio_net_write16(nic, VIRTIO_COMMON_QUEUE_ENABLE, 1);
    return STATUS_OK;
}

static void setup_split(struct virtio_net *nic)
{
    /* The header of every plain transmission, all zero; behind it lies one a slot. */
    uint64_t header = dma_device_address(&nic->dma, VIRTIO_NET_HEADERS_AT);

    for (uint32_t slot = 0; slot < nic->rx.size; slot++) {
        nic->rx.descriptors[slot].length = nic->frame_bytes_max + VIRTIO_NET_HEADER_BYTES;
        nic->rx.descriptors[slot].flags = VIRTIO_DESCRIPTOR_WRITE;
    }
    for (uint32_t slot = 0; slot < nic->tx_slots; slot++) {
        struct virtio_descriptor *descriptor = &nic->tx.descriptors[2u * slot];
        descriptor->address = header;
        descriptor->length = VIRTIO_NET_HEADER_BYTES;
        descriptor->flags = VIRTIO_DESCRIPTOR_NEXT;
        descriptor->next = (uint16_t)(2u * slot + 1u);
    }
}

/* Every descriptor field of split queues but receive addresses and frames is written once here;
 * those of packed ones as they are used. */
void virtio_net_setup_slots(struct virtio_net *nic)
{
    uint32_t half_pool = nic->netdev.pool->buffer_count / 2u;

    nic->rx_lent = 0;
    nic->rx_limit = nic->rx.size < half_pool ? nic->rx.size : (uint16_t)half_pool;
    nic->rx_empty_count = 0;
    for (uint16_t slot = nic->rx.size; slot-- > 0;) {
        nic->rx_buffer[slot] = NETBUF_NONE;
        nic->rx_empty[nic->rx_empty_count++] = slot;
    }
    memset(nic->dma.base + VIRTIO_NET_HEADERS_AT, 0, VIRTIO_NET_HEADER_BYTES);
    nic->tx_refused = false;
    nic->tx_slots = nic->tx.size / 2u;
    nic->tx_free_count = 0;
    for (uint16_t slot = nic->tx_slots; slot-- > 0;) {
        nic->tx_buffer[slot] = NETBUF_NONE;
        nic->tx_free[nic->tx_free_count++] = slot;
    }
    if ((nic->features & VIRTIO_F_RING_PACKED) != 0) {
        virtio_packed_init(&nic->rx_packed, &nic->rx);
        virtio_packed_init(&nic->tx_packed, &nic->tx);
    } else {
        setup_split(nic);
    }
}

/* Queue pair n has interrupt n. */
static status_t setup_queues(struct virtio_net *nic)
{
    for (uint16_t number = 0; number < VIRTIO_NET_QUEUES * nic->netdev.queues; number++) {
        uint16_t pair = number / VIRTIO_NET_QUEUES;
        size_t at = pair * NETDEV_DMA_BYTES + number % VIRTIO_NET_QUEUES * VIRTIO_QUEUE_DMA_BYTES;
        status_t status = setup_queue(nic, &nic->queues[number], number, at, pair);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return nic->netdev.queues > 1u ? setup_queue(nic, &nic->control, nic->control.number,
                                                 VIRTIO_NET_CONTROL_AT, VIRTIO_NO_VECTOR)
                                   : STATUS_OK;
}

status_t virtio_net_bring_up(struct virtio_net *nic)
{
    status_t status;

    virtio_net_status_write(nic, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_net_status_write(nic, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    if ((status = negotiate(nic)) != STATUS_OK || (status = read_config(nic)) != STATUS_OK) {
        return status;
    }
    uint32_t least = nic->netdev.queues > 1u ? nic->control.number + 1u : VIRTIO_NET_QUEUES;
    if (virtio_net_read16(nic, VIRTIO_COMMON_NUM_QUEUES) < least) {
        return STATUS_DEVICE_ERROR;
    }
    /* tick looks at the configuration. */
    virtio_net_write16(nic, VIRTIO_COMMON_CONFIG_VECTOR, VIRTIO_NO_VECTOR);
    if ((status = setup_queues(nic)) != STATUS_OK) {
        return status;
    }
    nic->rx = nic->queues[VIRTIO_NET_RX];
    nic->tx = nic->queues[VIRTIO_NET_TX];
    virtio_net_setup_slots(nic);
    virtio_net_status_write(nic, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
                                     VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    return STATUS_OK;
}
