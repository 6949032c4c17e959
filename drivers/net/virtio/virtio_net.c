// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Start-up, reset and housekeeping (virtio 1.2 §3.1.1):
 *
 *   attach ---> RESETTING --status reads 0: bring_up--> RUNNING
 *                ^   |                                   |
 *   restart.at_ns|   | deadline passed, set-up refused   | protocol broken, NEEDS_RESET
 *                |   v                                   |
 *               BROKEN <---------------------------------+
 *
 * Buffers stay lent until status has read 0: until then the device may still write them.
 */
#include "drivers/net/virtio/virtio_net.h"

#include "lib/base/bytes.h"

#define RESET_TIMEOUT_NS 10000000000ull
#define RESET_POLL_NS 1000000ull
#define WATCH_NS 1000000000ull
#define GENERATION_TRIES 16u
#define ETHERNET_HEADER_BYTES 14u
#define VLAN_TAG_BYTES 4u
#define MTU_DEFAULT 1500u
#define MTU_MIN 576u

#define FEATURES_WANTED                                                                            \
    (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MTU |              \
     VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_F_EVENT_IDX |   \
     VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_ORDER_PLATFORM | VIRTIO_F_RING_PACKED)

static uint8_t common_read8(const struct virtio_net *nic, uint32_t at)
{
    return mmio_read8(nic->common.base + at);
}

static uint16_t common_read16(const struct virtio_net *nic, uint32_t at)
{
    return mmio_read16(nic->common.base + at);
}

static void common_write16(const struct virtio_net *nic, uint32_t at, uint16_t value)
{
    mmio_write16(nic->common.base + at, value);
}

static void common_write64(const struct virtio_net *nic, uint32_t at, uint64_t value)
{
    mmio_write32(nic->common.base + at, (uint32_t)value);
    mmio_write32(nic->common.base + at + 4, (uint32_t)(value >> 32));
}

static void status_write(const struct virtio_net *nic, uint8_t status)
{
    mmio_write8(nic->common.base + VIRTIO_COMMON_DEVICE_STATUS, status);
}

static uint8_t status_read(const struct virtio_net *nic)
{
    return common_read8(nic, VIRTIO_COMMON_DEVICE_STATUS);
}

/* ---- Bring-up -------------------------------------------------------------------------------- */

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
    status_write(nic, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
    return (status_read(nic) & VIRTIO_STATUS_FEATURES_OK) != 0 ? STATUS_OK : STATUS_UNSUPPORTED;
}

static bool read_link(const struct virtio_net *nic)
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
        uint8_t before = common_read8(nic, VIRTIO_COMMON_CONFIG_GENERATION);
        if ((nic->features & VIRTIO_NET_F_MAC) != 0) {
            for (uint32_t i = 0; i < sizeof mac; i++) {
                mac[i] = mmio_read8(nic->config.base + VIRTIO_NET_CONFIG_MAC + i);
            }
        }
        if ((nic->features & VIRTIO_NET_F_MTU) != 0) {
            mtu = mmio_read16(nic->config.base + VIRTIO_NET_CONFIG_MTU);
        }
        bool link = read_link(nic);
        if (common_read8(nic, VIRTIO_COMMON_CONFIG_GENERATION) != before) {
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

static status_t setup_queue(struct virtio_net *nic, struct virtio_queue *queue, uint16_t number)
{
    size_t at = (size_t)number * VIRTIO_QUEUE_DMA_BYTES;

    common_write16(nic, VIRTIO_COMMON_QUEUE_SELECT, number);
    uint16_t size = choose_size(common_read16(nic, VIRTIO_COMMON_QUEUE_SIZE));
    uint64_t notify_at =
        (uint64_t)common_read16(nic, VIRTIO_COMMON_QUEUE_NOTIFY_OFF) * nic->notify_multiplier;
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
    common_write16(nic, VIRTIO_COMMON_QUEUE_SIZE, size);
    common_write16(nic, VIRTIO_COMMON_QUEUE_VECTOR, 0);
    if (common_read16(nic, VIRTIO_COMMON_QUEUE_VECTOR) != 0) {
        return STATUS_DEVICE_ERROR;
    }
    common_write64(nic, VIRTIO_COMMON_QUEUE_DESCRIPTORS, dma_device_address(&nic->dma, at));
    common_write64(nic, VIRTIO_COMMON_QUEUE_DRIVER, dma_device_address(&nic->dma, at + PAGE_BYTES));
    common_write64(nic, VIRTIO_COMMON_QUEUE_DEVICE,
                   dma_device_address(&nic->dma, at + PAGE_BYTES + VIRTIO_QUEUE_USED_OFFSET));
    common_write16(nic, VIRTIO_COMMON_QUEUE_ENABLE, 1);
    return STATUS_OK;
}

/* All slots empty; every descriptor field but receive addresses and frames is written once here. */
static void setup_slots(struct virtio_net *nic)
{
    /* Behind the queues lies the header of every plain transmission, all zero, then one a slot. */
    size_t header = VIRTIO_NET_QUEUES * VIRTIO_QUEUE_DMA_BYTES;
    uint32_t half_pool = nic->netdev.pool->buffer_count / 2u;

    nic->rx_lent = 0;
    nic->rx_limit = nic->rx.size < half_pool ? nic->rx.size : (uint16_t)half_pool;
    nic->rx_lot = nic->rx_limit / 4u < VIRTIO_NET_LOT ? nic->rx_limit / 4u : VIRTIO_NET_LOT;
    nic->rx_empty_count = 0;
    for (uint16_t slot = nic->rx.size; slot-- > 0;) {
        nic->rx_buffer[slot] = NETBUF_NONE;
        nic->rx_empty[nic->rx_empty_count++] = slot;
        nic->rx.descriptors[slot].length = nic->frame_bytes_max + VIRTIO_NET_HEADER_BYTES;
        nic->rx.descriptors[slot].flags = VIRTIO_DESCRIPTOR_WRITE;
    }
    memset(nic->dma.base + header, 0, VIRTIO_NET_HEADER_BYTES);
    nic->tx_refused = false;
    nic->tx_slots = nic->tx.size / 2u;
    nic->tx_free_count = 0;
    for (uint16_t slot = nic->tx_slots; slot-- > 0;) {
        struct virtio_descriptor *descriptor = &nic->tx.descriptors[2u * slot];
        descriptor->address = dma_device_address(&nic->dma, header);
        descriptor->length = VIRTIO_NET_HEADER_BYTES;
        descriptor->flags = VIRTIO_DESCRIPTOR_NEXT;
        descriptor->next = (uint16_t)(2u * slot + 1u);
        nic->tx_buffer[slot] = NETBUF_NONE;
        nic->tx_free[nic->tx_free_count++] = slot;
    }
}

static const struct netdev_ops operations;
static const struct netdev_ops operations_packed;

/* All slots empty, for packed queues: descriptors are written as they are used. */
static void setup_packed(struct virtio_net *nic)
{
    virtio_packed_init(&nic->rx_packed, &nic->rx);
    virtio_packed_init(&nic->tx_packed, &nic->tx);
    memset(nic->rx.descriptors, 0, nic->rx.size * sizeof *nic->rx.descriptors);
    memset(nic->tx.descriptors, 0, nic->tx.size * sizeof *nic->tx.descriptors);
}

/* From a device that has been reset to one that runs. */
static status_t bring_up(struct virtio_net *nic)
{
    status_t status;

    status_write(nic, VIRTIO_STATUS_ACKNOWLEDGE);
    status_write(nic, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    if ((status = negotiate(nic)) != STATUS_OK || (status = read_config(nic)) != STATUS_OK) {
        return status;
    }
    if (common_read16(nic, VIRTIO_COMMON_NUM_QUEUES) < VIRTIO_NET_QUEUES) {
        return STATUS_DEVICE_ERROR;
    }
    common_write16(nic, VIRTIO_COMMON_CONFIG_VECTOR, VIRTIO_NO_VECTOR); /* tick looks */
    if ((status = setup_queue(nic, &nic->rx, VIRTIO_NET_RX)) != STATUS_OK ||
        (status = setup_queue(nic, &nic->tx, VIRTIO_NET_TX)) != STATUS_OK) {
        return status;
    }
    setup_slots(nic);
    bool packed = (nic->features & VIRTIO_F_RING_PACKED) != 0;
    if (packed) {
        setup_packed(nic);
    }
    nic->netdev.ops = packed ? &operations_packed : &operations;
    nic->netdev.model = packed ? "virtio-net, packed queues" : "virtio-net, split queues";
    status_write(nic, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
                          VIRTIO_STATUS_DRIVER_OK);
    nic->state = VIRTIO_NET_RUNNING;
    if (packed) {
        virtio_net_packed_refill(nic);
    } else {
        virtio_net_refill(nic);
    }
    return STATUS_OK;
}

/* ---- Reset ----------------------------------------------------------------------------------- */

static void start_reset(struct virtio_net *nic, time_ns_t now_ns)
{
    nic->state = VIRTIO_NET_RESETTING;
    nic->link = false;
    nic->deadline_ns = now_ns + RESET_TIMEOUT_NS;
    status_write(nic, 0);
}

/* Takes back every lent buffer; only once the device is reset. */
static void reclaim(struct virtio_net *nic)
{
    for (uint32_t i = 0; i < VIRTIO_QUEUE_SIZE_MAX; i++) {
        if (nic->rx_buffer[i] != NETBUF_NONE) {
            netbuf_drop(nic->netdev.pool, nic->rx_buffer[i]);
            nic->rx_buffer[i] = NETBUF_NONE;
        }
    }
    for (uint32_t i = 0; i < VIRTIO_NET_TX_SLOTS_MAX; i++) {
        if (nic->tx_buffer[i] != NETBUF_NONE) {
            netbuf_drop(nic->netdev.pool, nic->tx_buffer[i] & VIRTIO_NET_TX_BUFFER);
            nic->tx_buffer[i] = NETBUF_NONE;
            nic->netdev.counters.tx_dropped++;
        }
    }
    nic->rx_lent = 0;
}

/* One step of a reset. Returns OK when the device runs, AGAIN while it resets. */
static status_t continue_reset(struct virtio_net *nic, time_ns_t now_ns)
{
    if (status_read(nic) != 0) {
        return now_ns < nic->deadline_ns ? STATUS_AGAIN : STATUS_DEVICE_TIMEOUT;
    }
    reclaim(nic);
    status_t status = bring_up(nic);
    if (status != STATUS_OK) {
        status_write(nic, 0);
        return status;
    }
    restart_running(&nic->restart, now_ns);
    return STATUS_OK;
}

static void choose_restart(struct virtio_net *nic, time_ns_t now_ns)
{
    restart_choose(&nic->restart, now_ns);
    nic->netdev.counters.resets++;
}

/* Whether a device that runs asks for a reset, or needs one. */
static bool needs_reset(struct virtio_net *nic, time_ns_t now_ns)
{
    bool packed = (nic->features & VIRTIO_F_RING_PACKED) != 0;

    if (!packed && !virtio_net_reap(nic)) { /* what has ended is not outstanding */
        return true;
    }
    bool outstanding = nic->tx_free_count < nic->tx_slots;
    return (status_read(nic) & VIRTIO_STATUS_NEEDS_RESET) != 0 ||
           restart_stuck(&nic->restart, nic->reaped, nic->link && outstanding, now_ns);
}

static time_ns_t tick(struct netdev *dev, time_ns_t now_ns)
{
    struct virtio_net *nic = (struct virtio_net *)dev;

    if (nic->state == VIRTIO_NET_STOPPED) {
        return DEADLINE_NEVER;
    }
    if (nic->state == VIRTIO_NET_RUNNING) {
        if (!needs_reset(nic, now_ns)) {
            nic->link = read_link(nic);
            return now_ns + WATCH_NS;
        }
        nic->state = VIRTIO_NET_BROKEN;
        nic->restart.at_ns = 0;
        nic->link = false;
    }
    if (nic->state == VIRTIO_NET_BROKEN) {
        if (nic->restart.at_ns == 0) {
            choose_restart(nic, now_ns);
        }
        if (now_ns < nic->restart.at_ns) {
            return nic->restart.at_ns;
        }
        start_reset(nic, now_ns);
    }
    status_t status = continue_reset(nic, now_ns);
    if (status == STATUS_OK) {
        return now_ns + WATCH_NS;
    }
    if (status == STATUS_AGAIN) {
        return now_ns + RESET_POLL_NS;
    }
    nic->state = VIRTIO_NET_BROKEN;
    choose_restart(nic, now_ns);
    return nic->restart.at_ns;
}

static bool link_up(struct netdev *dev)
{
    return ((struct virtio_net *)dev)->link;
}

static status_t stop(struct netdev *dev)
{
    struct virtio_net *nic = (struct virtio_net *)dev;

    nic->state = VIRTIO_NET_STOPPED;
    nic->link = false;
    status_write(nic, 0);
    if (status_read(nic) != 0) {
        return STATUS_AGAIN;
    }
    reclaim(nic);
    return STATUS_OK;
}

static const struct netdev_ops operations_packed = {
    .receive = virtio_net_packed_receive,
    .transmit = virtio_net_packed_transmit,
    .transmit_large = virtio_net_packed_transmit,
    .arm = virtio_net_packed_arm,
    .disarm = virtio_net_packed_disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
};

static const struct netdev_ops operations = {
    .receive = virtio_net_receive,
    .transmit = virtio_net_transmit,
    .transmit_large = virtio_net_transmit_large,
    .arm = virtio_net_arm,
    .disarm = virtio_net_disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
};

/* ---- Attach ---------------------------------------------------------------------------------- */

bool virtio_net_supported(const struct cell_device *device)
{
    return device->pci_vendor == VIRTIO_PCI_VENDOR &&
           (device->pci_device == VIRTIO_PCI_NET ||
            device->pci_device == VIRTIO_PCI_NET_TRANSITIONAL);
}

static status_t find_windows(struct virtio_net *nic)
{
    status_t status;

    if ((status = pci_virtio_window(nic->device, PCI_VIRTIO_COMMON, VIRTIO_COMMON_BYTES,
                                    &nic->common, NULL)) != STATUS_OK ||
        (status = pci_virtio_window(nic->device, PCI_VIRTIO_NOTIFY, sizeof(uint16_t), &nic->notify,
                                    &nic->notify_multiplier)) != STATUS_OK) {
        return status;
    }
    /* The device structure is optional (§4.1.4.6). */
    if (pci_virtio_window(nic->device, PCI_VIRTIO_DEVICE, VIRTIO_NET_CONFIG_BYTES, &nic->config,
                          NULL) != STATUS_OK) {
        nic->config.bytes = 0;
    }
    return STATUS_OK;
}

status_t virtio_net_attach(const struct netdev_attach_request *request, struct netdev **dev)
{
    const struct netdev_environment *environment = &request->environment;
    struct virtio_net *nic = request->state;
    status_t status;

    memset(nic, 0, sizeof *nic);
    memset(nic->rx_buffer, 0xff, sizeof nic->rx_buffer);
    memset(nic->tx_buffer, 0xff, sizeof nic->tx_buffer);
    nic->netdev.ops = &operations;
    nic->netdev.pool = request->pool;
    nic->device = request->device;
    nic->dma = request->dma;
    nic->wants_sums = request->receive_sums;
    restart_init(&nic->restart);
    if ((status = find_windows(nic)) != STATUS_OK ||
        (status = pci_msix_fill(request->device)) != STATUS_OK) {
        return status;
    }
    time_ns_t now_ns = environment->now_ns(environment->context);
    time_ns_t deadline_ns = now_ns + NETDEV_ATTACH_TIMEOUT_NS;
    start_reset(nic, now_ns);
    nic->deadline_ns = deadline_ns;
    while ((status = continue_reset(nic, now_ns)) == STATUS_AGAIN) {
        environment->relax(environment->context);
        now_ns = environment->now_ns(environment->context);
    }
    if (status == STATUS_OK) {
        *dev = &nic->netdev;
    }
    return status;
}
