// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/virtio/virtio_rig_test.h"

TEST(starts_and_reads_its_configuration)
{
    struct rig rig;

    rig_open(&rig, BUFFERS);
    rig.fake.reset_reads = 5;
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    CHECK_EQ(memcmp(rig.dev->mac, rig.fake.mac, 6), 0);
    CHECK_EQ(rig.dev->mtu_bytes, 1500);
    CHECK(rig.dev->ops->link_up(rig.dev));
    CHECK_EQ(rig.fake.accepted, rig.fake.offered & ~(1ull << 7));
    CHECK_EQ(rig.fake.status, 15);
    CHECK_EQ(rig.pool.free_count, BUFFERS - 256);
    CHECK_EQ(rig.fake.faults, 0);
    CHECK_EQ(*(uint32_t *)(rig.fake.bar + 0x3000), 0xfee00000);
    CHECK_EQ(*(uint32_t *)(rig.fake.bar + 0x3008), 0x31);
    CHECK_EQ(*(uint32_t *)(rig.fake.bar + 0x300c), 0);
    rig_close(&rig);
}

static uint64_t more_features; /* offered by the next device */

static void round_trips(uint64_t without_features, uint16_t size_max, uint32_t buffers)
{
    struct rig rig;
    uint8_t frame[1514];
    struct netframe got[NETDEV_BURST_MAX];

    rig_open(&rig, buffers);
    rig.fake.offered &= ~without_features;
    rig.fake.offered |= more_features;
    rig.fake.size_max = size_max;
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    for (unsigned round = 0; round < 2000; round++) {
        size_t bytes = 14 + (round * 37u) % 1501u;
        unsigned burst = 1 + round % 5;
        for (unsigned i = 0; i < burst; i++) {
            make_frame(frame, bytes, (uint8_t)(round + i));
            CHECK(virtio_fake_deliver(&rig.fake, frame, bytes));
        }
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), burst);
        for (unsigned i = 0; i < burst; i++) {
            make_frame(frame, bytes, (uint8_t)(round + i));
            CHECK_EQ(got[i].length, bytes);
            CHECK_EQ(memcmp(netbuf_data(&rig.pool, got[i].buffer) + got[i].offset, frame, bytes),
                     0);
        }
        CHECK_EQ(rig.dev->ops->transmit(rig.dev, got, burst), burst);
        CHECK_EQ(virtio_fake_send(&rig.fake, 100), burst);
        CHECK_EQ(rig.fake.sent_bytes, bytes);
        CHECK_EQ(memcmp(rig.fake.sent, frame, bytes), 0);
    }
    CHECK_EQ(rig.fake.faults, 0);
    CHECK_EQ(rig.dev->counters.rx_errors + rig.dev->counters.tx_errors, 0);
    CHECK_EQ(rig.dev->counters.rx_frames, rig.dev->counters.tx_frames);
    rig_close(&rig);
}

TEST(frames_go_both_ways)
{
    round_trips(0, 256, BUFFERS);
}

TEST(frames_go_both_ways_without_event_idx)
{
    round_trips(VIRTIO_F_EVENT_IDX, 256, BUFFERS);
}

TEST(frames_go_both_ways_through_small_queues_and_pools)
{
    round_trips(0, 16, 40);
    round_trips(VIRTIO_F_EVENT_IDX | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MAC, 1000, 40);
}

TEST(a_full_transmit_queue_refuses_and_recovers)
{
    struct rig rig;
    uint8_t frame[60] = {1};
    unsigned sent = 0;

    rig_open(&rig, BUFFERS);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    while (send_one(&rig, frame, sizeof frame) == 1) {
        sent++;
    }
    CHECK_EQ(sent, 128);
    CHECK(rig.dev->ops->arm(rig.dev));
    CHECK_EQ(rig.fake.queues[VIRTIO_NET_TX].interrupts, 0);
    CHECK_EQ(virtio_fake_send(&rig.fake, 1), 1);
    CHECK_EQ(rig.fake.queues[VIRTIO_NET_TX].interrupts, 1);
    CHECK_EQ(send_one(&rig, frame, sizeof frame), 1);
    CHECK_EQ(virtio_fake_send(&rig.fake, 1000), 128);
    rig_close(&rig);
}

static void check_sleep(uint64_t without_features)
{
    struct rig rig;
    uint8_t frame[60] = {1};
    struct netframe got[4];

    rig_open(&rig, BUFFERS);
    rig.fake.offered &= ~without_features;
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    unsigned *interrupts = &rig.fake.queues[VIRTIO_NET_RX].interrupts;
    for (unsigned i = 0; i < 100; i++) {
        unsigned before = *interrupts;
        CHECK(rig.dev->ops->arm(rig.dev));
        CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
        CHECK_EQ(*interrupts, before + 1);
        CHECK(!rig.dev->ops->arm(rig.dev)); /* there is work: no sleep */
        rig.dev->ops->disarm(rig.dev);
        CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 4), 2);
        netbuf_drop(&rig.pool, got[0].buffer);
        netbuf_drop(&rig.pool, got[1].buffer);
        before = *interrupts;
        CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
        CHECK_EQ(*interrupts, before); /* awake: none wanted */
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 4), 1);
        netbuf_drop(&rig.pool, got[0].buffer);
    }
    rig_close(&rig);
}

TEST(interrupts_come_only_to_a_sleeper)
{
    check_sleep(0);
    check_sleep(VIRTIO_F_EVENT_IDX);
}

TEST(a_burst_rings_once)
{
    struct rig rig;
    struct netframe frames[NETDEV_BURST_MAX];

    rig_open(&rig, BUFFERS);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    for (unsigned i = 0; i < NETDEV_BURST_MAX; i++) {
        frames[i] = (struct netframe){netbuf_take(&rig.pool), 0, 60};
    }
    unsigned before = rig.fake.queues[VIRTIO_NET_TX].notified;
    CHECK_EQ(rig.dev->ops->transmit(rig.dev, frames, NETDEV_BURST_MAX), NETDEV_BURST_MAX);
    CHECK_EQ(rig.fake.queues[VIRTIO_NET_TX].notified, before + 1);
    rig_close(&rig);
}

TEST(an_empty_pool_loses_nothing_but_frames)
{
    struct rig rig;
    uint8_t frame[60] = {1};
    struct netframe got[NETDEV_BURST_MAX];
    uint32_t held[BUFFERS];
    unsigned count = 0;

    rig_open(&rig, 64);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    for (uint32_t buffer; (buffer = netbuf_take(&rig.pool)) != NETBUF_NONE;) {
        held[count++] = buffer;
    }
    while (virtio_fake_deliver(&rig.fake, frame, sizeof frame)) {
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), 1);
        held[count++] = got[0].buffer;
    }
    CHECK_EQ(count, 64);
    while (count > 0) {
        netbuf_drop(&rig.pool, held[--count]);
    }
    CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), 0);
    CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
    CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), 1);
    netbuf_drop(&rig.pool, got[0].buffer);
    rig_close(&rig);
}

TEST(a_device_that_cannot_is_refused)
{
    struct rig rig;

    for (unsigned fault = 0; fault < 9; fault++) {
        static const status_t expected[] = {
            STATUS_UNSUPPORTED,  STATUS_UNSUPPORTED,  STATUS_DEVICE_ERROR,
            STATUS_DEVICE_ERROR, STATUS_DEVICE_ERROR, STATUS_DEVICE_TIMEOUT,
            STATUS_NOT_FOUND,    STATUS_UNSUPPORTED,  STATUS_INVALID_ARGUMENT};
        rig_open(&rig, BUFFERS);
        switch (fault) {
        case 0:
            rig.fake.offered &= ~VIRTIO_F_VERSION_1;
            break;
        case 1:
            rig.fake.refuse_features = true;
            break;
        case 2:
            rig.fake.refuse_vectors = true;
            break;
        case 3:
            rig.fake.size_max = 4;
            break;
        case 4:
            rig.fake.notify_offset_max = 0xffff;
            break;
        case 5:
            rig.fake.reset_reads = 1000000;
            break;
        case 6:
            rig.fake.device.bar_bytes[4] = 16;
            break;
        case 7:
            rig.fake.device.irq_count = 6;
            break;
        default:
            rig.dma.bytes -= PAGE_BYTES;
            break;
        }
        CHECK_EQ(rig_attach(&rig), expected[fault]);
        CHECK(rig.dev == NULL);
        rig.dma.bytes = NETDEV_DMA_BYTES;
        rig_close(&rig);
    }
}

/* Each violation must end in a reset, after which traffic flows again. */
TEST(a_device_that_breaks_the_protocol_is_reset)
{
    struct rig rig;
    uint8_t frame[60] = {1};
    struct netframe got[NETDEV_BURST_MAX];

    rig_open(&rig, BUFFERS);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    for (unsigned fault = 0; fault < 8; fault++) {
        unsigned resets = rig.fake.resets;
        CHECK_EQ(send_one(&rig, frame, sizeof frame), 1);
        uint16_t used = rig.fake.queues[VIRTIO_NET_RX].used_index;
        switch (fault) {
        case 0:
            virtio_fake_finish(&rig.fake, VIRTIO_NET_RX, 256, 100);
            break;
        case 1:
            virtio_fake_finish(&rig.fake, VIRTIO_NET_RX, 0xffffffff, 100);
            break;
        case 2:
            virtio_fake_finish(&rig.fake, VIRTIO_NET_RX, 1, 0xffffffff);
            break;
        case 3:
            virtio_fake_finish(&rig.fake, VIRTIO_NET_RX, 1, 11);
            break;
        case 4:
            virtio_fake_set_used(&rig.fake, VIRTIO_NET_RX, (uint16_t)(used + 300));
            break;
        case 5:
            virtio_fake_finish(&rig.fake, VIRTIO_NET_TX, 1, 0);
            CHECK(!rig.dev->ops->arm(rig.dev)); /* looks at what was sent */
            break;
        case 6:
            virtio_fake_finish(&rig.fake, VIRTIO_NET_TX, 2, 0);
            CHECK(!rig.dev->ops->arm(rig.dev)); /* looks at what was sent */
            break;
        default:
            rig.fake.status |= VIRTIO_STATUS_NEEDS_RESET;
            rig.dev->ops->tick(rig.dev, rig.now_ns);
            break;
        }
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), 0);
        CHECK(!rig.dev->ops->link_up(rig.dev));
        CHECK_EQ(rig.dev->ops->transmit(rig.dev, got, 1), 0);
        CHECK(rig.dev->ops->arm(rig.dev));
        recover(&rig);
        CHECK(rig.dev->ops->link_up(rig.dev));
        CHECK_EQ(rig.fake.resets, resets + 1);
        CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), 1);
        netbuf_drop(&rig.pool, got[0].buffer);
        CHECK_EQ(rig.pool.free_count, BUFFERS - 256);
        rig.now_ns += 20 * SECOND_NS;
    }
    CHECK_EQ(rig.dev->counters.resets, 8);
    rig_close(&rig);
}

/* Few finished transmissions and few used receive slots are put off, but not past a sleep, nor
 * where somebody is short of them. */
TEST(what_is_put_off_is_done_before_sleeping)
{
    struct rig rig;
    uint8_t frame[60] = {1};
    struct netframe got[NETDEV_BURST_MAX];

    rig_open(&rig, BUFFERS);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    CHECK_EQ(send_one(&rig, frame, sizeof frame), 1);
    CHECK_EQ(virtio_fake_send(&rig.fake, 1), 1);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
    }
    CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), 3);
    for (unsigned i = 0; i < 3; i++) {
        netbuf_drop(&rig.pool, got[i].buffer);
    }
    CHECK_EQ(rig.pool.free_count, BUFFERS - 256 - 1); /* one was sent and is not back */

    CHECK(rig.dev->ops->arm(rig.dev));
    CHECK_EQ(rig.pool.free_count, BUFFERS - 256);
    for (unsigned i = 0; i < 256; i++) { /* the device has all slots again */
        CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
    }
    rig_close(&rig);
}

TEST(a_device_that_never_resets_is_tried_again_and_keeps_its_buffers)
{
    struct rig rig;
    struct netframe got[1];

    rig_open(&rig, BUFFERS);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    rig.fake.reset_reads = 0x7fffffff;
    virtio_fake_finish(&rig.fake, VIRTIO_NET_RX, 999, 100);
    CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 1), 0);
    unsigned steps = 0;
    for (time_ns_t end = rig.now_ns + 100 * SECOND_NS; rig.now_ns < end; steps++) {
        time_ns_t next = rig.dev->ops->tick(rig.dev, rig.now_ns);
        CHECK(next > rig.now_ns);
        rig.now_ns = next;
    }
    CHECK(rig.fake.resets < 20);
    CHECK_EQ(rig.pool.free_count, BUFFERS - 256);
    CHECK_EQ(rig.dev->ops->stop(rig.dev), STATUS_AGAIN);
    rig.fake.reset_left = 0;
    rig.fake.reset_reads = 0;
    rig_close(&rig);
}

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % bound;
}

static void hostile_step(struct rig *rig)
{
    uint8_t frame[1514];
    unsigned queue = random_below(2);

    switch (random_below(40)) {
    case 0:
        virtio_fake_finish(&rig->fake, queue, random_below(300), random_below(2000));
        break;
    case 1:
        virtio_fake_set_used(&rig->fake, queue, (uint16_t)random_below(65536));
        break;
    case 2:
        virtio_fake_finish(&rig->fake, queue, random_state, random_state >> 3);
        break;
    case 3:
        rig->fake.status |= VIRTIO_STATUS_NEEDS_RESET;
        break;
    case 4: { /* scribble over the queues, the driver's own parts as well */
        size_t at = random_below((uint32_t)(VIRTIO_NET_QUEUES * VIRTIO_QUEUE_DMA_BYTES));
        rig->dma.base[at] = (uint8_t)random_state;
        break;
    }
    case 5:
        rig->fake.reset_reads = random_below(3);
        break;
    case 6: { /* take without finishing, then finish twice */
        int id = virtio_fake_take(&rig->fake, queue);
        virtio_fake_finish(&rig->fake, queue, (uint32_t)id, 60);
        virtio_fake_finish(&rig->fake, queue, (uint32_t)id, 60);
        break;
    }
    default:
        make_frame(frame, sizeof frame, (uint8_t)random_state);
        (void)virtio_fake_deliver(&rig->fake, frame, 14 + random_below(1501));
        (void)virtio_fake_send(&rig->fake, random_below(8));
        break;
    }
}

/* Makes one packet of each few frames. */
static void link_frames(struct rig *rig, struct netframe *frames, uint32_t count)
{
    for (uint32_t i = 0; i < count;) {
        uint32_t parts = 1u + random_below(NETFRAMES_MAX);
        parts = parts < count - i ? parts : count - i;
        put_offload(rig, frames[i], (struct netframe_offload){1000, 54, random_state});
        frames[i].offset |= NETFRAME_OFFLOAD;
        for (uint32_t j = 1; j < parts; j++) {
            frames[i + j - 1u].length |= NETFRAME_MORE;
        }
        i += parts;
    }
}

TEST(frames_go_both_ways_through_packed_queues)
{
    more_features = VIRTIO_F_RING_PACKED;
    round_trips(0, 256, BUFFERS);
    round_trips(0, 16, 40);
    more_features = 0;
}

static void no_device_harms(uint64_t features)
{
    struct rig rig;
    struct netframe got[NETDEV_BURST_MAX];
    uint64_t received = 0;

    rig_open(&rig, BUFFERS);
    rig.fake.offered |= features;
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    for (unsigned step = 0; step < 300000; step++) {
        hostile_step(&rig);
        uint32_t count = rig.dev->ops->receive(rig.dev, got, 1 + random_below(NETDEV_BURST_MAX));
        received += count;
        for (uint32_t i = 0; i < count; i++) {
            CHECK(got[i].buffer < BUFFERS && got[i].offset + got[i].length <= 2048);
            CHECK(rig.pool.references[got[i].buffer] == 1);
        }
        bool large = rig.dev->offloads != 0 && random_below(2) != 0;
        if (large) {
            link_frames(&rig, got, count);
        }
        uint32_t taken = large ? rig.dev->ops->transmit_large(rig.dev, got, count)
                               : rig.dev->ops->transmit(rig.dev, got, count);
        for (uint32_t i = taken; i < count; i++) {
            netbuf_drop(&rig.pool, got[i].buffer);
        }
        if (random_below(4) == 0 && rig.dev->ops->arm(rig.dev)) {
            rig.dev->ops->disarm(rig.dev);
        }
        time_ns_t next = rig.dev->ops->tick(rig.dev, rig.now_ns);
        rig.now_ns = random_below(2) ? next : rig.now_ns + SECOND_NS;
    }
    CHECK(received > 10000);
    CHECK(rig.dev->counters.resets > 100);
    rig_close(&rig);
}

TEST(no_device_harms_the_driver)
{
    no_device_harms(0);
    no_device_harms(LARGE);
    no_device_harms(LARGE | VIRTIO_F_RING_PACKED);
}
