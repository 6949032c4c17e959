// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The hot half of the driver over packed queues; as virtio_net_data.c and virtio_net_large.c for
 * split ones. A receive descriptor's id is its slot. A transmission is a header and a descriptor
 * for each frame, in a row in the ring; its id is the slot of the first frame.
 */
#include "drivers/net/virtio/virtio_net.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

#define FRAME_BYTES_MIN 14u

static struct virtio_net *nic_of(struct netdev *dev)
{
    return (struct virtio_net *)dev;
}

static void broken(struct virtio_net *nic)
{
    nic->state = VIRTIO_NET_BROKEN;
    nic->restart.at_ns = 0;
    nic->link = false;
}

/* ---- Sending --------------------------------------------------------------------------------- */

/* Takes back what was sent. False: the device is broken. */
static bool reap(struct virtio_net *nic)
{
    struct virtio_packed *packed = &nic->tx_packed;

    while (nic->tx_free_count < nic->tx_slots && virtio_packed_pending(packed)) {
        uint32_t slot = __atomic_load_n(&packed->ring[packed->used_at].id, __ATOMIC_RELAXED);
        if (slot >= nic->tx_slots || (nic->tx_buffer[slot] & VIRTIO_NET_TX_PART) != 0) {
            nic->netdev.counters.tx_errors++;
            broken(nic);
            return false;
        }
        uint32_t parts = 0;
        while (slot != VIRTIO_NET_TX_END && parts < NETFRAMES_MAX) {
            netbuf_drop(nic->netdev.pool, nic->tx_buffer[slot] & VIRTIO_NET_TX_BUFFER);
            nic->tx_buffer[slot] = NETBUF_NONE;
            nic->tx_free[nic->tx_free_count++] = (uint16_t)slot;
            slot = nic->tx_next[slot];
            parts++;
        }
        virtio_packed_next_used(packed, 1u + parts);
        nic->reaped++;
        nic->tx_refused = false;
    }
    return true;
}

/* One descriptor; returns the flags' value that makes it available, which is not written if `hold`.
 */
static uint16_t put(struct virtio_packed *packed, const struct virtio_packed_descriptor *from,
                    bool hold)
{
    struct virtio_packed_descriptor *to = &packed->ring[packed->avail_at];
    uint16_t flags = (uint16_t)(from->flags | virtio_packed_available(packed));

    to->address = from->address;
    to->length = from->length;
    to->id = from->id;
    if (!hold) {
        __atomic_store_n(&to->flags, flags, __ATOMIC_RELEASE);
    }
    virtio_packed_next_avail(packed);
    return flags;
}

/* A packet of `parts` frames; its first descriptor becomes available last. */
static void add_packet(struct virtio_net *nic, const struct netframe *frames, uint32_t parts)
{
    struct virtio_packed *packed = &nic->tx_packed;
    struct netbuf_pool *pool = nic->netdev.pool;
    uint32_t slot = nic->tx_free[--nic->tx_free_count];
    uint16_t id = (uint16_t)slot;
    struct virtio_packed_descriptor *first = &packed->ring[packed->avail_at];
    uint32_t mark = 0;
    uint16_t first_flags = put(packed,
                               &(struct virtio_packed_descriptor){
                                   .address = virtio_net_header(nic, slot, frames[0]),
                                   .length = VIRTIO_NET_HEADER_BYTES,
                                   .id = id,
                                   .flags = VIRTIO_DESCRIPTOR_NEXT,
                               },
                               true);

    for (uint32_t i = 0; i < parts; i++) {
        uint32_t next = i + 1u < parts ? nic->tx_free[--nic->tx_free_count] : VIRTIO_NET_TX_END;
        uint32_t offset = frames[i].offset & NETFRAME_MASK;
        uint32_t length = frames[i].length & NETFRAME_MASK;
        ASSERT(frames[i].buffer < pool->buffer_count);
        ASSERT(offset + length <= pool->buffer_bytes);
        (void)put(packed,
                  &(struct virtio_packed_descriptor){
                      .address = netbuf_device_address(pool, frames[i].buffer) + offset,
                      .length = length,
                      .id = id,
                      .flags = next != VIRTIO_NET_TX_END ? VIRTIO_DESCRIPTOR_NEXT : 0,
                  },
                  false);
        nic->tx_buffer[slot] = frames[i].buffer | mark;
        nic->tx_next[slot] = (uint16_t)next;
        mark = VIRTIO_NET_TX_PART;
        nic->netdev.counters.tx_bytes += length;
        slot = next;
    }
    __atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
    nic->netdev.counters.tx_frames++;
}

uint32_t virtio_net_packed_transmit(struct netdev *dev, const struct netframe *frames,
                                    uint32_t count)
{
    struct virtio_net *nic = nic_of(dev);
    uint32_t taken = 0;

    if (nic->state != VIRTIO_NET_RUNNING || !reap(nic)) {
        return 0;
    }
    while (taken < count) {
        uint32_t parts = virtio_net_parts(nic, frames + taken, count - taken);
        if (parts == 0) {
            nic->tx_refused = true;
            break;
        }
        add_packet(nic, frames + taken, parts);
        taken += parts;
    }
    if (taken != 0 && virtio_packed_wants_notice(&nic->tx_packed)) {
        virtio_queue_notify(&nic->tx);
        dev->counters.doorbells++;
    }
    return taken;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static void lend(struct virtio_net *nic, uint16_t slot, uint32_t buffer)
{
    nic->rx_buffer[slot] = buffer;
    (void)put(&nic->rx_packed,
              &(struct virtio_packed_descriptor){
                  .address = netbuf_device_address(nic->netdev.pool, buffer) +
                             VIRTIO_NET_RX_OFFSET - VIRTIO_NET_HEADER_BYTES,
                  .length = nic->frame_bytes_max + VIRTIO_NET_HEADER_BYTES,
                  .id = slot,
                  .flags = VIRTIO_DESCRIPTOR_WRITE,
              },
              false);
}

static void notify_rx(struct virtio_net *nic)
{
    if (virtio_packed_wants_notice(&nic->rx_packed)) {
        virtio_queue_notify(&nic->rx);
        nic->netdev.counters.doorbells++;
    }
}

void virtio_net_packed_refill(struct virtio_net *nic)
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
        notify_rx(nic);
    }
}

/* Takes the next finished slot and lends it a new buffer. False: the device broke the protocol. */
static bool receive_one(struct virtio_net *nic, struct netframe *frame)
{
    struct virtio_packed *packed = &nic->rx_packed;
    const struct virtio_packed_descriptor *used = &packed->ring[packed->used_at];
    uint32_t slot = __atomic_load_n(&used->id, __ATOMIC_RELAXED);
    /* A length below the header's wraps and is too long. */
    uint32_t length = __atomic_load_n(&used->length, __ATOMIC_RELAXED) - VIRTIO_NET_HEADER_BYTES;

    if (slot >= packed->size || nic->rx_buffer[slot] == NETBUF_NONE ||
        length > nic->frame_bytes_max) {
        return false;
    }
    *frame = (struct netframe){nic->rx_buffer[slot], VIRTIO_NET_RX_OFFSET, (uint16_t)length};
    virtio_packed_next_used(packed, 1);
    uint32_t next = netbuf_take(nic->netdev.pool);
    if (next != NETBUF_NONE) {
        lend(nic, (uint16_t)slot, next);
    } else {
        nic->rx_buffer[slot] = NETBUF_NONE;
        nic->rx_empty[nic->rx_empty_count++] = (uint16_t)slot;
        nic->rx_lent--;
    }
    return true;
}

uint32_t virtio_net_packed_receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct virtio_net *nic = nic_of(dev);
    uint32_t taken = 0;
    uint32_t seen = 0;

    if (nic->state != VIRTIO_NET_RUNNING || !reap(nic)) {
        return 0;
    }
    for (; seen < max && nic->rx_lent != 0 && virtio_packed_pending(&nic->rx_packed); seen++) {
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
        dev->counters.rx_frames++;
        dev->counters.rx_bytes += frames[taken].length;
        taken++;
    }
    if (seen != 0) {
        notify_rx(nic);
    }
    if (dev->receives_sums) {
        virtio_net_mark_sums(nic, frames, taken);
    }
    if (nic->rx_lent < nic->rx_limit) {
        virtio_net_packed_refill(nic);
    }
    return taken;
}

/* ---- Sleeping -------------------------------------------------------------------------------- */

bool virtio_net_packed_arm(struct netdev *dev)
{
    struct virtio_net *nic = nic_of(dev);
    /* A sleeper that waits for room or buffers must be woken by finished transmissions, too. */
    bool wants_tx = nic->tx_free_count < nic->tx_slots &&
                    (nic->tx_refused || nic->rx_lent < nic->rx_limit || dev->pool->free_count == 0);

    if (nic->state != VIRTIO_NET_RUNNING) {
        return true; /* only tick can help */
    }
    if (!virtio_packed_arm(&nic->rx_packed) || (wants_tx && !virtio_packed_arm(&nic->tx_packed))) {
        virtio_net_packed_disarm(dev);
        return false;
    }
    return true;
}

void virtio_net_packed_disarm(struct netdev *dev)
{
    struct virtio_net *nic = nic_of(dev);

    if (nic->state == VIRTIO_NET_RUNNING) {
        virtio_packed_disarm(&nic->rx_packed);
        virtio_packed_disarm(&nic->tx_packed);
    }
}
