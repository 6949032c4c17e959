// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Transmission where the device sums and cuts packets (virtio 1.2 §5.1.6.2). A packet takes a slot
 * for each frame that it is made of; the slots' odd descriptors are linked behind the first slot's
 * two. Slots that are free are as plain transmission (virtio_net_data.c) leaves them.
 */
#include "drivers/net/virtio/virtio_net.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

#define HEADER_STRIDE 16u
#define ETHERNET_BYTES 14u
#define IPV4_BYTES 20u
#define TCP_CHECKSUM_AT 16u

_Static_assert(HEADER_STRIDE *(1u + VIRTIO_NET_TX_SLOTS_MAX) <= PAGE_BYTES, "one page of headers");

/* The slot is as plain transmission wants it. */
static void make_plain(struct virtio_net *nic, uint32_t slot)
{
    nic->tx.descriptors[2u * slot].address = dma_device_address(&nic->dma, VIRTIO_NET_HEADERS_AT);
    nic->tx.descriptors[2u * slot + 1u].flags = 0;
}

bool virtio_net_release(struct virtio_net *nic, uint32_t slot)
{
    if ((nic->tx_buffer[slot] & VIRTIO_NET_TX_PART) != 0) {
        return false;
    }
    for (uint32_t parts = 0; slot != VIRTIO_NET_TX_END && parts < NETFRAMES_MAX; parts++) {
        netbuf_drop(nic->netdev.pool, nic->tx_buffer[slot] & VIRTIO_NET_TX_BUFFER);
        nic->tx_buffer[slot] = NETBUF_NONE;
        nic->tx_free[nic->tx_free_count++] = (uint16_t)slot;
        make_plain(nic, slot);
        slot = nic->tx_next[slot];
    }
    return true;
}

uint64_t virtio_net_header(struct virtio_net *nic, uint32_t slot, struct netframe frame)
{
    struct netframe_offload offload;
    size_t at = VIRTIO_NET_HEADERS_AT + HEADER_STRIDE * (1u + slot);

    if ((frame.offset & NETFRAME_OFFLOAD) == 0) {
        return dma_device_address(&nic->dma, VIRTIO_NET_HEADERS_AT);
    }
    memcpy(&offload,
           netbuf_data(nic->netdev.pool, frame.buffer) + (frame.offset & NETFRAME_MASK) -
               sizeof offload,
           sizeof offload);
    *(struct virtio_net_header *)(void *)(nic->dma.base + at) = (struct virtio_net_header){
        .flags = VIRTIO_NET_HEADER_NEEDS_CHECKSUM,
        .segments = offload.segment_bytes != 0 ? VIRTIO_NET_HEADER_TCP4 : 0,
        .header_bytes = offload.header_bytes,
        .segment_bytes = offload.segment_bytes,
        .checksum_start = ETHERNET_BYTES + IPV4_BYTES,
        .checksum_offset = TCP_CHECKSUM_AT,
    };
    return dma_device_address(&nic->dma, at);
}

uint32_t virtio_net_parts(const struct virtio_net *nic, const struct netframe *frames,
                          uint32_t count)
{
    uint32_t parts = 1;

    while (parts < count && (frames[parts - 1u].length & NETFRAME_MORE) != 0) {
        parts++;
    }
    ASSERT((frames[parts - 1u].length & NETFRAME_MORE) == 0);
    ASSERT(parts <= NETFRAMES_MAX);
    return parts <= nic->tx_free_count ? parts : 0;
}

static void add_packet(struct virtio_net *nic, const struct netframe *frames, uint32_t parts)
{
    struct netbuf_pool *pool = nic->netdev.pool;
    uint32_t slot = nic->tx_free[--nic->tx_free_count];
    uint32_t mark = VIRTIO_NET_TX_LARGE;

    nic->tx.descriptors[2u * slot].address = virtio_net_header(nic, slot, frames[0]);
    virtio_queue_add(&nic->tx, (uint16_t)(2u * slot));
    for (uint32_t i = 0; i < parts; i++) {
        struct virtio_descriptor *descriptor = &nic->tx.descriptors[2u * slot + 1u];
        uint32_t next = i + 1u < parts ? nic->tx_free[--nic->tx_free_count] : VIRTIO_NET_TX_END;
        uint32_t offset = frames[i].offset & NETFRAME_MASK;
        uint32_t length = frames[i].length & NETFRAME_MASK;
        ASSERT(frames[i].buffer < pool->buffer_count);
        ASSERT(offset + length <= pool->buffer_bytes);
        descriptor->address = netbuf_device_address(pool, frames[i].buffer) + offset;
        descriptor->length = length;
        descriptor->flags = next != VIRTIO_NET_TX_END ? VIRTIO_DESCRIPTOR_NEXT : 0;
        descriptor->next = (uint16_t)(2u * next + 1u);
        nic->tx_buffer[slot] = frames[i].buffer | mark;
        nic->tx_next[slot] = (uint16_t)next;
        mark = VIRTIO_NET_TX_LARGE | VIRTIO_NET_TX_PART;
        nic->netdev.counters.tx_bytes += length;
        slot = next;
    }
    nic->netdev.counters.tx_frames++;
}

uint32_t virtio_net_transmit_large(struct netdev *dev, const struct netframe *frames,
                                   uint32_t count)
{
    struct virtio_net *nic = (struct virtio_net *)dev;
    uint32_t taken = 0;

    if (nic->state != VIRTIO_NET_RUNNING || !virtio_net_reap(nic)) {
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
    if (taken != 0 && virtio_queue_publish(&nic->tx)) {
        virtio_queue_notify(&nic->tx);
        nic->netdev.counters.doorbells++;
    }
    return taken;
}
