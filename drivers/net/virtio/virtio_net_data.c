// SPDX-License-Identifier: MIT OR Apache-2.0
/* The hot half of the driver: no device register is touched but the two doorbells. */
#include "drivers/net/virtio/virtio_net.h"

#include "lib/base/assert.h"

#define FRAME_BYTES_MIN 14u /* an Ethernet header */

static struct virtio_net *nic_of(struct netdev *dev)
{
    return (struct virtio_net *)dev;
}

/* The device broke the protocol: nothing it holds is believed until it has been reset. */
static void broken(struct virtio_net *nic)
{
    nic->state = VIRTIO_NET_BROKEN;
    nic->restart.at_ns = 0;
    nic->link = false;
}

/* Takes back what was sent. Returns false if the device is broken. */
static bool reap(struct virtio_net *nic)
{
    uint32_t pending = virtio_queue_pending(&nic->tx);
    if (pending == 0) {
        return true;
    }
    if (pending == VIRTIO_QUEUE_BROKEN) {
        nic->netdev.counters.tx_errors++;
        broken(nic);
        return false;
    }
    for (uint32_t i = 0; i < pending; i++) {
        uint32_t id = virtio_queue_take(&nic->tx).id;
        uint32_t slot = id >> 1;
        if ((id & 1u) != 0 || slot >= nic->tx_slots || nic->tx_buffer[slot] == NETBUF_NONE) {
            nic->netdev.counters.tx_errors++;
            broken(nic);
            return false;
        }
        netbuf_drop(nic->netdev.pool, nic->tx_buffer[slot]);
        nic->tx_buffer[slot] = NETBUF_NONE;
        nic->tx_free[nic->tx_free_count++] = (uint16_t)slot;
    }
    nic->reaped += pending;
    nic->tx_refused = false;
    return true;
}

static inline void lend(struct virtio_net *nic, uint16_t slot, uint32_t buffer)
{
    nic->rx_buffer[slot] = buffer;
    nic->rx.descriptors[slot].address = netbuf_device_address(nic->netdev.pool, buffer) +
                                        VIRTIO_NET_RX_OFFSET - VIRTIO_NET_HEADER_BYTES;
    virtio_queue_add(&nic->rx, slot);
}

static void publish_rx(struct virtio_net *nic)
{
    if (virtio_queue_publish(&nic->rx)) {
        virtio_queue_notify(&nic->rx);
        nic->netdev.counters.doorbells++;
    }
}

void virtio_net_refill(struct virtio_net *nic)
{
    bool added = false;

    while (nic->rx_lent < nic->rx_limit) {
        uint32_t buffer = netbuf_take(nic->netdev.pool);
        if (buffer == NETBUF_NONE) {
            break;
        }
        lend(nic, nic->rx_empty[--nic->rx_empty_count], buffer);
        nic->rx_lent++;
        added = true;
    }
    if (added) {
        publish_rx(nic);
    }
}

/* Takes one finished receive slot. Returns false if the device is broken. */
static inline bool receive_one(struct virtio_net *nic, struct netframe *frame)
{
    struct virtio_used_element used = virtio_queue_take(&nic->rx);

    if (used.id >= nic->rx.size || nic->rx_buffer[used.id] == NETBUF_NONE ||
        used.length < VIRTIO_NET_HEADER_BYTES ||
        used.length - VIRTIO_NET_HEADER_BYTES > nic->frame_bytes_max) {
        return false;
    }
    uint16_t slot = (uint16_t)used.id;
    frame->buffer = nic->rx_buffer[slot];
    frame->offset = VIRTIO_NET_RX_OFFSET;
    frame->length = (uint16_t)(used.length - VIRTIO_NET_HEADER_BYTES);
    uint32_t next = netbuf_take(nic->netdev.pool);
    if (next != NETBUF_NONE) {
        lend(nic, slot, next);
    } else {
        nic->rx_buffer[slot] = NETBUF_NONE;
        nic->rx_empty[nic->rx_empty_count++] = slot;
        nic->rx_lent--;
    }
    return true;
}

uint32_t virtio_net_receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct virtio_net *nic = nic_of(dev);
    if (nic->state != VIRTIO_NET_RUNNING || !reap(nic)) {
        return 0;
    }
    uint32_t pending = virtio_queue_pending(&nic->rx);
    if (pending == 0) {
        if (nic->rx_lent < nic->rx_limit) {
            virtio_net_refill(nic);
        }
        return 0;
    }
    if (pending == VIRTIO_QUEUE_BROKEN) {
        dev->counters.rx_errors++;
        broken(nic);
        return 0;
    }

    uint32_t count = pending < max ? pending : max;
    uint32_t taken = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!receive_one(nic, &frames[taken])) {
            dev->counters.rx_errors++;
            broken(nic);
            return taken; /* what came before was in order */
        }
        if (frames[taken].length < FRAME_BYTES_MIN) {
            dev->counters.rx_errors++;
            netbuf_drop(dev->pool, frames[taken].buffer);
            continue;
        }
        bytes += frames[taken].length;
        taken++;
    }
    dev->counters.rx_frames += taken;
    dev->counters.rx_bytes += bytes;
    if (nic->rx.avail_index != nic->rx.avail_published) {
        publish_rx(nic);
    }
    if (nic->rx_lent < nic->rx_limit) {
        virtio_net_refill(nic);
    }
    return taken;
}

uint32_t virtio_net_transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    struct virtio_net *nic = nic_of(dev);
    if (nic->state != VIRTIO_NET_RUNNING || !reap(nic)) {
        return 0;
    }

    uint32_t taken = count < nic->tx_free_count ? count : nic->tx_free_count;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < taken; i++) {
        ASSERT(frames[i].buffer < dev->pool->buffer_count);
        ASSERT(frames[i].offset + frames[i].length <= dev->pool->buffer_bytes);
        uint16_t slot = nic->tx_free[--nic->tx_free_count];
        /* The even descriptor is the constant header and links to this one. */
        struct virtio_descriptor *descriptor = &nic->tx.descriptors[2u * slot + 1u];
        descriptor->address = netbuf_device_address(dev->pool, frames[i].buffer) + frames[i].offset;
        descriptor->length = frames[i].length;
        nic->tx_buffer[slot] = frames[i].buffer;
        virtio_queue_add(&nic->tx, (uint16_t)(2u * slot));
        bytes += frames[i].length;
    }
    if (taken < count) {
        nic->tx_refused = true;
    }
    if (taken == 0) {
        return 0;
    }
    dev->counters.tx_frames += taken;
    dev->counters.tx_bytes += bytes;
    if (virtio_queue_publish(&nic->tx)) {
        virtio_queue_notify(&nic->tx);
        dev->counters.doorbells++;
    }
    return taken;
}

/* A sleeper that waits for room or buffers must be woken by finished transmissions, too. */
static bool needs_tx_wakeup(const struct virtio_net *nic)
{
    return nic->tx_free_count < nic->tx_slots &&
           (nic->tx_refused || nic->rx_lent < nic->rx_limit || nic->netdev.pool->free_count == 0);
}

bool virtio_net_arm(struct netdev *dev)
{
    struct virtio_net *nic = nic_of(dev);
    if (nic->state != VIRTIO_NET_RUNNING) {
        return true; /* only tick can help */
    }
    if (!virtio_queue_arm(&nic->rx) || (needs_tx_wakeup(nic) && !virtio_queue_arm(&nic->tx))) {
        virtio_net_disarm(dev);
        return false;
    }
    return true;
}

void virtio_net_disarm(struct netdev *dev)
{
    struct virtio_net *nic = nic_of(dev);
    if (nic->state == VIRTIO_NET_RUNNING) {
        virtio_queue_disarm(&nic->rx);
        virtio_queue_disarm(&nic->tx);
    }
}
