// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Transmission with offloads: a packet that the chip sums or cuts takes a context descriptor and a
 * data descriptor for each frame that it is made of (82576 datasheet 7.2.2, 7.2.4). Plain frames go
 * as in intel_data.c.
 */
#include "drivers/net/intel/intel_nic.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

#define ETHERNET_BYTES 14u
#define IPV4_BYTES 20u

struct packet {
    uint32_t parts;
    uint32_t command; /* of every data descriptor */
    uint32_t status;  /* of the first one */
    struct netframe_offload offload;
    bool has_context;
};

static struct packet packet_of(const struct netbuf_pool *pool, const struct intel_chip *chip,
                               const struct netframe *frames, uint32_t count)
{
    struct packet packet = {
        .parts = 1,
        .command = chip->tx_command & ~INTEL_TX_END_OF_PACKET,
        .has_context = (frames[0].offset & NETFRAME_OFFLOAD) != 0,
    };
    uint32_t bytes = frames[0].length & NETFRAME_MASK;

    while (packet.parts < count && (frames[packet.parts - 1u].length & NETFRAME_MORE) != 0) {
        bytes += frames[packet.parts++].length & NETFRAME_MASK;
    }
    ASSERT((frames[packet.parts - 1u].length & NETFRAME_MORE) == 0);
    packet.status = bytes << chip->tx_payload_shift;
    if (packet.has_context) {
        memcpy(&packet.offload,
               netbuf_data(pool, frames[0].buffer) + (frames[0].offset & NETFRAME_MASK) -
                   sizeof packet.offload,
               sizeof packet.offload);
        packet.status |= INTEL_82576_TX_SUM_TCP;
        if (packet.offload.segment_bytes != 0) {
            packet.command |= INTEL_82576_TX_CUT;
            packet.status = packet.offload.payload_bytes << chip->tx_payload_shift |
                            INTEL_82576_TX_SUM_TCP | INTEL_82576_TX_SUM_IPV4;
        }
    }
    return packet;
}

static void add_context(struct intel_nic *nic, const struct packet *packet, uint32_t buffer)
{
    struct intel_tx_descriptor *descriptor = &nic->tx[nic->tx_tail];
    uint32_t tcp_bytes = packet->offload.header_bytes - ETHERNET_BYTES - IPV4_BYTES;

    descriptor->address = ETHERNET_BYTES << INTEL_82576_CONTEXT_ETHERNET_SHIFT | IPV4_BYTES;
    descriptor->command = INTEL_82576_CONTEXT_TCP_IPV4;
    descriptor->status = (uint32_t)packet->offload.segment_bytes
                             << INTEL_82576_CONTEXT_SEGMENT_SHIFT |
                         tcp_bytes << INTEL_82576_CONTEXT_TCP_SHIFT;
    netbuf_hold(nic->netdev.pool, buffer);
    nic->tx_buffer[nic->tx_tail] = buffer;
    nic->tx_tail = (nic->tx_tail + 1u) & INTEL_RING_MASK;
}

static void add_packet(struct intel_nic *nic, const struct netframe *frames,
                       const struct packet *packet)
{
    struct netbuf_pool *pool = nic->netdev.pool;

    if (packet->has_context) {
        add_context(nic, packet, frames[0].buffer);
    }
    for (uint32_t i = 0; i < packet->parts; i++) {
        struct intel_tx_descriptor *descriptor = &nic->tx[nic->tx_tail];
        uint32_t offset = frames[i].offset & NETFRAME_MASK;
        uint32_t length = frames[i].length & NETFRAME_MASK;
        ASSERT(frames[i].buffer < pool->buffer_count);
        ASSERT(offset + length <= pool->buffer_bytes);
        descriptor->address = netbuf_device_address(pool, frames[i].buffer) + offset;
        descriptor->command =
            packet->command | length | (i + 1u == packet->parts ? INTEL_TX_END_OF_PACKET : 0u);
        descriptor->status = packet->status;
        nic->tx_buffer[nic->tx_tail] = frames[i].buffer;
        nic->tx_tail = (nic->tx_tail + 1u) & INTEL_RING_MASK;
        nic->netdev.counters.tx_bytes += length;
    }
    nic->netdev.counters.tx_frames++;
}

uint32_t intel_transmit_large(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    struct intel_nic *nic = (struct intel_nic *)dev;

    if (nic->state != INTEL_RUNNING) {
        return 0;
    }
    intel_reap(nic);
    uint32_t room = INTEL_RING_SIZE - 1u - ((nic->tx_tail - nic->tx_head) & INTEL_RING_MASK);
    uint32_t first = nic->tx_tail;
    uint32_t taken = 0;
    while (taken < count) {
        struct packet packet = packet_of(dev->pool, nic->chip, frames + taken, count - taken);
        uint32_t slots = packet.parts + packet.has_context;
        if (slots > room) {
            nic->tx_refused = true;
            break;
        }
        add_packet(nic, frames + taken, &packet);
        room -= slots;
        taken += packet.parts;
    }
    if (taken == 0) {
        return 0;
    }
    uint32_t last = (nic->tx_tail - 1u) & INTEL_RING_MASK;
    nic->tx[last].command |= INTEL_TX_REPORT;
    nic->tx_last[first] = (uint8_t)last;
    mmio_fence();
    intel_write(nic, nic->tx_block + INTEL_QUEUE_TAIL, nic->tx_tail);
    dev->counters.doorbells++;
    return taken;
}
