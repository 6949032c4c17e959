// SPDX-License-Identifier: MIT OR Apache-2.0
/* Large packets, and packed queues. */
#include "drivers/net/virtio/virtio_rig_test.h"

static void large_packets(uint64_t features)
{
    struct rig rig;
    struct netframe frames[NETFRAMES_MAX + 1u];

    rig_open(&rig, BUFFERS);
    rig.fake.offered |= LARGE | features;
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    CHECK_EQ(rig.dev->offloads, NETDEV_TX_CHECKSUM | NETDEV_TX_SEGMENTS);
    for (unsigned round = 0; round < 200; round++) {
        uint32_t parts = 1u + round % NETFRAMES_MAX;
        size_t bytes = 0;
        for (uint32_t i = 0; i <= parts; i++) { /* the last is a plain frame behind it */
            frames[i] = (struct netframe){netbuf_take(&rig.pool), 200, (uint16_t)(1000u + i)};
            make_frame(netbuf_data(&rig.pool, frames[i].buffer) + 200, 1000u + i, (uint8_t)i);
            frames[i].length |= i + 1u < parts ? (uint16_t)NETFRAME_MORE : 0;
            bytes += i < parts ? 1000u + i : 0;
        }
        bool cut = round % 2u == 0;
        put_offload(&rig, frames[0],
                    (struct netframe_offload){cut ? 1448 : 0, 66, (uint32_t)bytes - 66u});
        frames[0].offset |= NETFRAME_OFFLOAD;
        CHECK_EQ(rig.dev->ops->transmit_large(rig.dev, frames, parts + 1u), parts + 1u);
        CHECK_EQ(virtio_fake_send(&rig.fake, 1), 1);
        CHECK_EQ(rig.fake.sent_bytes, bytes);
        CHECK_EQ(rig.fake.sent_header.flags, VIRTIO_NET_HEADER_NEEDS_CHECKSUM);
        CHECK_EQ(rig.fake.sent_header.segments, cut ? VIRTIO_NET_HEADER_TCP4 : 0);
        CHECK_EQ(rig.fake.sent_header.segment_bytes, cut ? 1448 : 0);
        CHECK_EQ(rig.fake.sent_header.header_bytes, 66);
        CHECK_EQ(rig.fake.sent_header.checksum_start, 34);
        CHECK_EQ(rig.fake.sent_header.checksum_offset, 16);
        for (uint32_t i = 0, at = 0; i < parts; at += 1000u + i, i++) {
            CHECK_EQ(rig.fake.sent[at], (uint8_t)i);
        }
        CHECK_EQ(virtio_fake_send(&rig.fake, 10), 1);
        CHECK_EQ(rig.fake.sent_bytes, 1000u + parts);
        CHECK_EQ(rig.fake.sent_header.flags, 0);
    }
    /* More than there are slots: whole packets are taken, the rest comes back. */
    uint32_t taken = 0;
    for (unsigned i = 0; i < 20; i++) {
        for (uint32_t j = 0; j < 10u; j++) {
            frames[j] = (struct netframe){netbuf_take(&rig.pool), 200, 500};
            frames[j].length |= j < 9u ? (uint16_t)NETFRAME_MORE : 0;
        }
        uint32_t now = rig.dev->ops->transmit_large(rig.dev, frames, 10);
        CHECK(now == 0 || now == 10);
        taken += now;
        for (uint32_t j = now; j < 10u; j++) {
            netbuf_drop(&rig.pool, frames[j].buffer);
        }
    }
    CHECK_EQ(taken, 120); /* of 128 slots */
    CHECK_EQ(virtio_fake_send(&rig.fake, 100), 12);
    CHECK_EQ(rig.dev->ops->receive(rig.dev, frames, 1), 0);
    CHECK_EQ(rig.fake.faults, 0);
    CHECK_EQ(rig.dev->counters.tx_errors, 0);
    rig_close(&rig);
}

TEST(large_packets_go_with_their_header)
{
    large_packets(0);
    large_packets(VIRTIO_F_RING_PACKED);
}

/* A sleeper is woken by a frame, and by nothing while it is awake. */
TEST(packed_queues_interrupt_only_a_sleeper)
{
    struct rig rig;
    uint8_t frame[60] = {0};
    struct netframe got[4];

    rig_open(&rig, BUFFERS);
    rig.fake.offered |= VIRTIO_F_RING_PACKED;
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    for (unsigned round = 0; round < 600; round++) {
        unsigned before = rig.fake.queues[VIRTIO_NET_RX].interrupts;
        CHECK(rig.dev->ops->arm(rig.dev));
        CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
        CHECK_EQ(rig.fake.queues[VIRTIO_NET_RX].interrupts, before + 1u);
        CHECK(!rig.dev->ops->arm(rig.dev)); /* there is work */
        CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
        CHECK_EQ(rig.fake.queues[VIRTIO_NET_RX].interrupts, before + 1u);
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 4), 2);
        netbuf_drop(&rig.pool, got[0].buffer);
        netbuf_drop(&rig.pool, got[1].buffer);
    }
    rig_close(&rig);
}
