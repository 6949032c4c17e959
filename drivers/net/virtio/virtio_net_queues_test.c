// SPDX-License-Identifier: MIT OR Apache-2.0
/* Several queue pairs of one device, each with a pool and an owner of its own. */
#include "drivers/net/virtio/virtio_net.h"

#include "drivers/net/pairs_rig_test.h"
#include "drivers/net/virtio/virtio_fake.h"

#define SECOND_NS 1000000000ull
#define NEEDED (VIRTIO_NET_F_CTRL_VQ | VIRTIO_F_RING_RESET)
#define STEERED (NEEDED | VIRTIO_NET_F_MQ | VIRTIO_NET_F_RSS)

struct rig {
    struct virtio_fake fake;
    struct dma_region dma;
    struct pair pairs[PAIRS];
    uint32_t count;
    time_ns_t now_ns;
};

static time_ns_t rig_now(void *context)
{
    return ((struct rig *)context)->now_ns;
}

static void rig_relax(void *context)
{
    ((struct rig *)context)->now_ns += 1000000;
}

static void rig_init(struct rig *rig, uint64_t features)
{
    memset(rig, 0, sizeof *rig);
    virtio_fake_init(&rig->fake);
    rig->fake.offered |= features;
    rig->fake.pairs_max = rig->fake.pairs_told = PAIRS;
    rig->fake.device.irq_count = PAIRS;
    rig->dma = dma_fake_create(PAIRS * NETDEV_DMA_BYTES);
    rig->now_ns = 5 * SECOND_NS;
    for (uint32_t i = 0; i < PAIRS; i++) {
        pair_open(&rig->pairs[i], 2048);
    }
}

static status_t rig_attach(struct rig *rig, uint32_t queues)
{
    status_t status = netdev_attach(
        &(struct netdev_attach_request){
            .device = &rig->fake.device,
            .pool = &rig->pairs[0].pool,
            .queues = queues,
            .dma = rig->dma,
            .state = rig->pairs[0].state,
            .environment = {rig_now, rig_relax, NULL, rig},
        },
        &rig->pairs[0].dev);
    rig->count = status == STATUS_OK;
    return status;
}

static status_t attach_pair(struct rig *rig, uint32_t number)
{
    struct netdev *first = rig->pairs[0].dev;
    struct netdev_queue_request request = {number, &rig->pairs[number % PAIRS].pool,
                                           rig->pairs[number % PAIRS].state};

    return first->ops->attach_queue(first, &request, &rig->pairs[number % PAIRS].dev);
}

static bool all_up(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        if (!rig->pairs[i].dev->ops->link_up(rig->pairs[i].dev)) {
            return false;
        }
    }
    return true;
}

static void tick_all(struct rig *rig)
{
    time_ns_t next = DEADLINE_NEVER;

    for (uint32_t i = 0; i < rig->count; i++) {
        struct netdev *dev = rig->pairs[i].dev;
        time_ns_t due = dev->ops->tick(dev, rig->now_ns);
        next = due < next ? due : next;
    }
    rig->now_ns = next;
}

static void settle(struct rig *rig)
{
    for (unsigned i = 0; i < 5000 && !all_up(rig); i++) {
        tick_all(rig);
    }
    CHECK(all_up(rig));
}

static void rig_open(struct rig *rig, uint64_t features)
{
    rig_init(rig, features);
    CHECK_EQ(rig_attach(rig, PAIRS), STATUS_OK);
    CHECK_EQ(rig->pairs[0].dev->queues, PAIRS);
    for (uint32_t i = 1; i < PAIRS; i++) {
        CHECK_EQ(attach_pair(rig, i), STATUS_OK);
        rig->count++;
    }
    settle(rig);
}

static void rig_close(struct rig *rig)
{
    rig->fake.reset_reads = rig->fake.reset_left = 0;
    for (uint32_t i = rig->count; i-- > 0;) {
        struct netdev *dev = rig->pairs[i].dev;
        for (unsigned tries = 0; tries < 10 && dev->ops->stop(dev) == STATUS_AGAIN; tries++) {
        }
        CHECK_EQ(dev->ops->stop(dev), STATUS_OK);
        CHECK_EQ(dev->ops->tick(dev, rig->now_ns), DEADLINE_NEVER);
        CHECK_EQ(rig->pairs[i].pool.free_count, BUFFERS);
    }
    for (uint32_t i = 0; i < PAIRS; i++) {
        pair_close(&rig->pairs[i]);
    }
    virtio_fake_destroy(&rig->fake);
    dma_fake_destroy(&rig->dma);
}

static void drop(struct pair *pair, const struct netframe *frames, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        netbuf_drop(&pair->pool, frames[i].buffer);
    }
}

static void flows_land(uint64_t features)
{
    static struct toeplitz hash;
    struct rig rig;
    uint8_t frame[80];
    struct netframe got[4];

    rig_open(&rig, features);
    CHECK(!rig.pairs[0].dev->unsteered);
    CHECK_EQ(rig.fake.commands_refused, 0);
    toeplitz_init(&hash, toeplitz_key);
    for (uint32_t flow = 0; flow < 1500; flow++) {
        size_t bytes = make_flow(frame, flow);
        uint32_t pair = steer(&hash, frame);
        CHECK(virtio_fake_deliver(&rig.fake, frame, bytes));
        for (uint32_t i = 0; i < PAIRS; i++) {
            struct netdev *dev = rig.pairs[i].dev;
            CHECK_EQ(dev->ops->receive(dev, got, 4), i == pair);
        }
        struct netdev *dev = rig.pairs[pair].dev;
        CHECK_EQ(memcmp(frame_data(dev->pool, &got[0]), frame, bytes), 0);
        CHECK_EQ(dev->ops->transmit(dev, got, 1), 1);
        CHECK_EQ(virtio_fake_send_queue(&rig.fake, VIRTIO_NET_QUEUES * pair + VIRTIO_NET_TX, 10),
                 1);
        CHECK_EQ(memcmp(rig.fake.sent, frame, bytes), 0);
    }
    /* What has no ports is the first pair's. */
    memset(frame, 0, sizeof frame);
    store_be16(frame + 12, 0x0806);
    CHECK(virtio_fake_deliver(&rig.fake, frame, 60));
    CHECK_EQ(rig.pairs[0].dev->ops->receive(rig.pairs[0].dev, got, 4), 1);
    drop(&rig.pairs[0], got, 1);
    CHECK_EQ(rig.fake.faults, 0);
    rig_close(&rig);
}

TEST(flows_land_where_software_says)
{
    flows_land(STEERED);
    flows_land(STEERED & ~VIRTIO_NET_F_MQ);
}

TEST(flows_land_where_software_says_through_packed_queues)
{
    flows_land(STEERED | VIRTIO_F_RING_PACKED);
}

/* Without RSS, or with one that knows too little, the device is told the number and chooses. */
TEST(a_device_that_chooses_is_said_to)
{
    for (unsigned kind = 0; kind < 5; kind++) {
        struct rig rig;
        uint8_t frame[80];
        struct netframe got[4];

        rig_init(&rig, kind == 0 ? STEERED & ~VIRTIO_NET_F_RSS : STEERED);
        rig.fake.key_max = kind == 1 ? 39 : 40;
        rig.fake.table_max = kind == 2 ? 64 : 128;
        rig.fake.hashes = kind == 3 ? 0x1fbu : 0x1ffu;
        CHECK_EQ(rig_attach(&rig, PAIRS), STATUS_OK);
        CHECK_EQ(rig.pairs[0].dev->unsteered, kind < 4);
        CHECK_EQ(rig.fake.pairs_set, PAIRS);
        CHECK_EQ(attach_pair(&rig, 2), STATUS_OK);
        CHECK_EQ(rig.pairs[2].dev->unsteered, kind < 4);
        struct netdev *dev = rig.pairs[2].dev;
        (void)dev->ops->tick(dev, rig.now_ns);
        rig.fake.pair = 2;
        if (kind < 4) {
            CHECK(virtio_fake_deliver(&rig.fake, frame, make_flow(frame, 7)));
            CHECK_EQ(dev->ops->receive(dev, got, 4), 1);
            drop(&rig.pairs[2], got, 1);
        }
        CHECK_EQ(dev->ops->stop(dev), STATUS_OK);
        rig_close(&rig);
    }
}

TEST(a_device_that_cannot_has_one_pair)
{
    static const uint64_t lacking[] = {
        VIRTIO_NET_F_CTRL_VQ, VIRTIO_F_RING_RESET, VIRTIO_NET_F_MQ | VIRTIO_NET_F_RSS, 0, 0, 0};

    for (unsigned i = 0; i < 6; i++) {
        struct rig rig;
        rig_init(&rig, STEERED & ~lacking[i]);
        rig.fake.pairs_told = i == 3 ? 1 : i == 4 ? 0x4001 : PAIRS;
        rig.fake.device.irq_count = i == 5 ? 1 : PAIRS;
        CHECK_EQ(rig_attach(&rig, PAIRS), STATUS_OK);
        CHECK_EQ(rig.pairs[0].dev->queues, 1);
        CHECK_EQ(rig.fake.accepted & STEERED, 0);
        CHECK_EQ(attach_pair(&rig, 1), STATUS_INVALID_ARGUMENT);
        rig_close(&rig);
    }
}

TEST(a_device_that_lies_about_its_pairs_is_refused)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        for (unsigned kind = 0; kind < 3; kind++) {
            struct rig rig;
            rig_init(&rig, STEERED | (packed ? VIRTIO_F_RING_PACKED : 0));
            rig.fake.pairs_told = kind == 0 ? PAIRS + 1u : PAIRS; /* fewer queues than that */
            rig.fake.answer = kind == 1;
            rig.fake.silent = kind == 2;
            time_ns_t begin = rig.now_ns;
            CHECK_EQ(rig_attach(&rig, PAIRS),
                     kind == 2 ? STATUS_DEVICE_TIMEOUT : STATUS_DEVICE_ERROR);
            CHECK(rig.now_ns - begin <= NETDEV_ATTACH_TIMEOUT_NS);
            CHECK_EQ(rig.fake.status, 0);
            rig_close(&rig);
        }
    }
}

TEST(each_pair_has_an_interrupt_of_its_own)
{
    static struct toeplitz hash;
    struct rig rig;
    uint8_t frame[80];
    struct netframe got[4];

    rig_open(&rig, STEERED);
    toeplitz_init(&hash, toeplitz_key);
    for (uint32_t i = 0; i < VIRTIO_NET_QUEUES * PAIRS; i++) {
        CHECK_EQ(rig.fake.queues[i].vector, i / VIRTIO_NET_QUEUES);
    }
    for (uint32_t flow = 0; flow < 200; flow++) {
        size_t bytes = make_flow(frame, flow);
        uint32_t pair = steer(&hash, frame);
        struct netdev *dev = rig.pairs[pair].dev;
        const unsigned *interrupts =
            &rig.fake.queues[VIRTIO_NET_QUEUES * pair + VIRTIO_NET_RX].interrupts;
        CHECK(dev->ops->arm(dev));
        unsigned before = *interrupts;
        CHECK(virtio_fake_deliver(&rig.fake, frame, bytes));
        CHECK_EQ(*interrupts, before + 1);
        dev->ops->disarm(dev);
        CHECK_EQ(dev->ops->receive(dev, got, 4), 1);
        drop(&rig.pairs[pair], got, 1);
    }
    rig_close(&rig);
}

/* A pair that stops resets its queues and no others, however long that takes; two do not use the
 * registers at once. */
TEST(a_pair_stops_alone)
{
    struct rig rig;
    uint8_t frame[80];
    struct netframe got[4];

    rig_open(&rig, STEERED | VIRTIO_F_RING_PACKED);
    rig.fake.queue_reset_reads = 3;
    struct netdev *dev = rig.pairs[2].dev;
    struct virtio_net *first = (struct virtio_net *)rig.pairs[0].dev;
    CHECK(group_take(&first->group));
    CHECK_EQ(dev->ops->stop(dev), STATUS_AGAIN);
    CHECK_EQ(rig.fake.queues[4].reset_left, 0);
    group_give(&first->group);
    unsigned tries = 0;
    while (dev->ops->stop(dev) == STATUS_AGAIN && tries++ < 20) {
        CHECK(rig.pairs[2].pool.free_count < BUFFERS);
    }
    CHECK(tries > 1 && tries < 20);
    CHECK_EQ(rig.pairs[2].pool.free_count, BUFFERS);
    unsigned served = 0;
    for (uint32_t flow = 0; flow < 100; flow++) {
        if (virtio_fake_deliver(&rig.fake, frame, make_flow(frame, flow))) {
            for (uint32_t i = 0; i < PAIRS; i++) {
                struct netdev *other = rig.pairs[i].dev;
                uint32_t count = i != 2 ? other->ops->receive(other, got, 4) : 0;
                drop(&rig.pairs[i], got, count);
                served += count;
            }
        }
    }
    CHECK(served > 50 && served < 95);
    CHECK_EQ(rig.fake.faults, 0);
    rig_close(&rig);
}

/* Whichever pair sees it, and in whatever order the owners come to look: the reset waits for all,
 * and all run again with all their buffers. */
TEST(a_reset_waits_for_every_owner)
{
    struct rig rig;

    rig_open(&rig, STEERED);
    for (unsigned round = 0; round < 8; round++) {
        uint32_t bad = round % PAIRS;
        struct netdev *dev = rig.pairs[bad].dev;
        struct netdev *first = rig.pairs[0].dev;
        struct netframe got[4];
        unsigned resets = rig.fake.resets;

        /* The device runs too far in one queue. */
        virtio_fake_set_used(&rig.fake, VIRTIO_NET_QUEUES * bad + VIRTIO_NET_RX, 5000);
        CHECK_EQ(dev->ops->receive(dev, got, 4), 0);
        dev->ops->tick(dev, rig.now_ns);
        for (unsigned i = 0; i < 40; i++) {
            rig.now_ns += SECOND_NS;
            first->ops->tick(first, rig.now_ns);
        }
        CHECK_EQ(rig.fake.resets, resets); /* nobody else has looked */
        for (uint32_t i = 1; i < PAIRS; i++) {
            struct netdev *other = rig.pairs[i].dev;
            other->ops->tick(other, rig.now_ns);
            CHECK_EQ(other->ops->receive(other, got, 4), 0);
            CHECK_EQ(other->ops->transmit(other, got, 1), 0);
        }
        settle(&rig);
        CHECK_EQ(rig.fake.resets, resets + 1);
        CHECK_EQ(rig.fake.pairs_set, PAIRS);
        for (uint32_t i = 0; i < PAIRS; i++) {
            CHECK_EQ(rig.pairs[i].pool.free_count, BUFFERS - 256u);
        }
    }
    CHECK_EQ(rig.fake.faults, 0);
    rig_close(&rig);
}

/* A device that has fewer pairs after its reset is none that the owners know. */
TEST(the_number_of_pairs_stays)
{
    struct rig rig;

    rig_open(&rig, STEERED);
    rig.fake.pairs_told = 2;
    rig.fake.status |= VIRTIO_STATUS_NEEDS_RESET;
    for (unsigned i = 0; i < 2000; i++) {
        tick_all(&rig);
    }
    CHECK(!all_up(&rig));
    CHECK(rig.pairs[0].dev->counters.resets > 2);
    rig.fake.pairs_told = PAIRS;
    settle(&rig);
    rig_close(&rig);
}

static uint32_t random_state = 4711;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % bound;
}

/* What a hostile device does once: memory of the queues, ids, indices, features, its configuration.
 */
static void do_harm(struct rig *rig)
{
    unsigned queue = random_below(VIRTIO_FAKE_QUEUES);

    switch (random_below(8)) {
    case 0:
        rig->dma.base[random_below(PAIRS) * NETDEV_DMA_BYTES + random_below(NETDEV_DMA_BYTES)] =
            (uint8_t)random_state;
        break;
    case 1:
        virtio_fake_finish(&rig->fake, queue, random_below(300), random_below(3000));
        break;
    case 2:
        virtio_fake_set_used(&rig->fake, queue, (uint16_t)random_state);
        break;
    case 3:
        rig->fake.offered ^= random_below(4) == 0 ? VIRTIO_F_RING_PACKED : 0;
        break;
    case 4:
        rig->fake.status |= VIRTIO_STATUS_NEEDS_RESET;
        break;
    case 5:
        rig->fake.pairs_told = random_below(4) == 0 ? (uint16_t)random_state : PAIRS;
        break;
    case 6:
        rig->fake.silent = random_below(4) == 0;
        break;
    default:
        rig->fake.answer = random_below(4) == 0;
        break;
    }
}

TEST(no_device_harms_any_pair)
{
    struct rig rig;
    uint8_t frame[80];
    uint64_t received = 0;

    rig_open(&rig, STEERED);
    for (unsigned step = 0; step < 60000; step++) {
        uint32_t pair = random_below(PAIRS);
        struct netdev *dev = rig.pairs[pair].dev;
        struct netframe got[8];
        if (random_below(60) == 0) {
            do_harm(&rig);
        }
        (void)virtio_fake_deliver(&rig.fake, frame, make_flow(frame, random_below(5000)));
        (void)virtio_fake_send_queue(
            &rig.fake, VIRTIO_NET_QUEUES * random_below(PAIRS) + VIRTIO_NET_TX, random_below(8));
        uint32_t count = dev->ops->receive(dev, got, 8);
        received += count;
        for (uint32_t i = 0; i < count; i++) {
            CHECK((got[i].offset & NETFRAME_OFFSET) + got[i].length <= 2048);
            CHECK_EQ(dev->pool->references[got[i].buffer], 1);
        }
        uint32_t taken = dev->ops->transmit(dev, got, count);
        drop(&rig.pairs[pair], got + taken, count - taken);
        if (random_below(4) == 0 && dev->ops->arm(dev)) {
            dev->ops->disarm(dev);
        }
        time_ns_t next = dev->ops->tick(dev, rig.now_ns);
        rig.now_ns = random_below(2) && next != DEADLINE_NEVER && next > rig.now_ns
                         ? next
                         : rig.now_ns + 10000000;
    }
    CHECK(received > 1000);
    CHECK(rig.pairs[0].dev->counters.resets > 3);
    rig.fake.silent = false;
    rig.fake.answer = 0;
    rig.fake.pairs_told = PAIRS;
    rig.fake.status |= VIRTIO_STATUS_NEEDS_RESET;
    tick_all(&rig);
    settle(&rig);
    rig_close(&rig);
}
