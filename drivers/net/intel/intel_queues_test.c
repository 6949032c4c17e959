// SPDX-License-Identifier: MIT OR Apache-2.0
/* Several queue pairs of one chip, each with a pool and an owner of its own. */
#include "drivers/net/intel/intel_nic.h"

#include "drivers/net/intel/intel_fake.h"
#include "drivers/net/pairs_rig_test.h"

#define LENT 255u
#define SECOND_NS 1000000000ull

struct rig {
    struct intel_fake fake;
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

static status_t attach_with(struct rig *rig, uint16_t chip, uint32_t queues, uint32_t irqs,
                            bool split)
{
    memset(rig, 0, sizeof *rig);
    intel_fake_init(&rig->fake, chip);
    rig->fake.device.irq_count = irqs;
    rig->dma = dma_fake_create(PAIRS * NETDEV_DMA_BYTES);
    rig->now_ns = 5 * SECOND_NS;
    for (uint32_t i = 0; i < PAIRS; i++) {
        pair_open(&rig->pairs[i], split ? PAGE_BYTES : 2048u);
    }
    status_t status = netdev_attach(
        &(struct netdev_attach_request){
            .device = &rig->fake.device,
            .pool = &rig->pairs[0].pool,
            .queues = queues,
            .receive_sums = split,
            .split_headers = split,
            .dma = rig->dma,
            .state = rig->pairs[0].state,
            .environment = {rig_now, rig_relax, NULL, rig},
        },
        &rig->pairs[0].dev);
    rig->count = 1;
    return status;
}

static status_t rig_attach(struct rig *rig, uint16_t chip, uint32_t queues, uint32_t irqs)
{
    return attach_with(rig, chip, queues, irqs, false);
}

static status_t attach_pair(struct rig *rig, uint32_t number)
{
    struct netdev *first = rig->pairs[0].dev;
    struct netdev_queue_request request = {number, &rig->pairs[number % PAIRS].pool,
                                           rig->pairs[number % PAIRS].state};

    return first->ops->attach_queue(first, &request, &rig->pairs[number % PAIRS].dev);
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

static bool all_up(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        if (!rig->pairs[i].dev->ops->link_up(rig->pairs[i].dev)) {
            return false;
        }
    }
    return true;
}

static void settle(struct rig *rig)
{
    for (unsigned i = 0; i < 2000 && !all_up(rig); i++) {
        tick_all(rig);
    }
    CHECK(all_up(rig));
}

static void open_with(struct rig *rig, bool split)
{
    CHECK_EQ(attach_with(rig, INTEL_PCI_82576, PAIRS, PAIRS, split), STATUS_OK);
    CHECK_EQ(rig->pairs[0].dev->queues, PAIRS);
    for (uint32_t i = 1; i < PAIRS; i++) {
        CHECK_EQ(attach_pair(rig, i), STATUS_OK);
        rig->count++;
    }
    settle(rig);
}

static void rig_open(struct rig *rig)
{
    open_with(rig, false);
}

static void rig_close(struct rig *rig)
{
    rig->fake.gone = false;
    rig->fake.reset_left = 0;
    for (uint32_t i = rig->count; i-- > 0;) {
        struct netdev *dev = rig->pairs[i].dev;
        for (unsigned tries = 0; tries < 10 && dev->ops->stop(dev) == STATUS_AGAIN; tries++) {
        }
        CHECK_EQ(dev->ops->stop(dev), STATUS_OK);
        CHECK_EQ(dev->ops->tick(dev, rig->now_ns), DEADLINE_NEVER);
    }
    for (uint32_t i = 0; i < PAIRS; i++) {
        pair_close(&rig->pairs[i]);
    }
    intel_fake_destroy(&rig->fake);
    dma_fake_destroy(&rig->dma);
}

TEST(flows_land_where_software_says)
{
    static struct toeplitz hash;
    struct rig rig;
    uint8_t frame[80];
    struct netframe got[4];
    uint32_t count[PAIRS] = {0};

    rig_open(&rig);
    toeplitz_init(&hash, toeplitz_key);
    for (uint32_t flow = 0; flow < 2000; flow++) {
        size_t bytes = make_flow(frame, flow);
        uint32_t pair = steer(&hash, frame);
        CHECK(intel_fake_deliver(&rig.fake,
                                 &(struct intel_fake_frame){.bytes = frame, .length = bytes}));
        for (uint32_t i = 0; i < PAIRS; i++) {
            struct netdev *dev = rig.pairs[i].dev;
            CHECK_EQ(dev->ops->receive(dev, got, 4), i == pair);
        }
        struct netdev *dev = rig.pairs[pair].dev;
        CHECK_EQ(memcmp(netbuf_data(dev->pool, got[0].buffer) + got[0].offset, frame, bytes), 0);
        CHECK_EQ(dev->ops->transmit(dev, got, 1), 1);
        CHECK_EQ(intel_fake_send_queue(&rig.fake, pair, 10), 1);
        CHECK_EQ(memcmp(rig.fake.sent, frame, bytes), 0);
        count[pair]++;
    }
    /* What has no ports is the first pair's. */
    memset(frame, 0, sizeof frame);
    store_be16(frame + 12, 0x0806);
    CHECK(intel_fake_deliver(&rig.fake, &(struct intel_fake_frame){.bytes = frame, .length = 60}));
    CHECK_EQ(rig.pairs[0].dev->ops->receive(rig.pairs[0].dev, got, 4), 1);
    netbuf_drop(&rig.pairs[0].pool, got[0].buffer);
    for (uint32_t i = 0; i < PAIRS; i++) {
        CHECK(count[i] > 300);
    }
    CHECK_EQ(rig.fake.faults, 0);
    rig_close(&rig);
}

TEST(each_pair_has_an_interrupt_of_its_own)
{
    static struct toeplitz hash;
    struct rig rig;
    uint8_t frame[80];
    struct netframe got[4];

    rig_open(&rig);
    toeplitz_init(&hash, toeplitz_key);
    for (uint32_t flow = 0; flow < 400; flow++) {
        size_t bytes = make_flow(frame, flow);
        uint32_t pair = steer(&hash, frame);
        struct netdev *other = rig.pairs[(pair + 1u) % PAIRS].dev;
        struct netdev *dev = rig.pairs[pair].dev;
        unsigned before = rig.fake.interrupts;
        CHECK(other->ops->arm(other));
        CHECK(intel_fake_deliver(&rig.fake,
                                 &(struct intel_fake_frame){.bytes = frame, .length = bytes}));
        CHECK_EQ(rig.fake.interrupts, before); /* its owner is awake, the other's is not rung */
        CHECK(!dev->ops->arm(dev));
        CHECK_EQ(dev->ops->receive(dev, got, 4), 1);
        netbuf_drop(dev->pool, got[0].buffer);
        CHECK(dev->ops->arm(dev));
        CHECK(intel_fake_deliver(&rig.fake,
                                 &(struct intel_fake_frame){.bytes = frame, .length = bytes}));
        CHECK_EQ(rig.fake.interrupts, before + 1);
        dev->ops->disarm(dev);
        other->ops->disarm(other);
        CHECK_EQ(dev->ops->receive(dev, got, 4), 1);
        netbuf_drop(dev->pool, got[0].buffer);
    }
    rig_close(&rig);
}

TEST(a_pair_without_an_owner_loses_its_frames_and_no_others)
{
    static struct toeplitz hash;
    struct rig rig;
    uint8_t frame[80];
    struct netframe got[4];
    uint32_t received = 0;

    CHECK_EQ(rig_attach(&rig, INTEL_PCI_82576, 2, 8), STATUS_UNSUPPORTED); /* vectors */
    rig.count = 0;
    rig_close(&rig);
    CHECK_EQ(rig_attach(&rig, INTEL_PCI_82576, 2, 2), STATUS_OK);
    settle(&rig);
    toeplitz_init(&hash, toeplitz_key);
    struct netdev *dev = rig.pairs[0].dev;
    for (uint32_t flow = 0; flow < 100; flow++) {
        size_t bytes = make_flow(frame, flow);
        received += intel_fake_deliver(&rig.fake,
                                       &(struct intel_fake_frame){.bytes = frame, .length = bytes});
        if (dev->ops->receive(dev, got, 4) == 1) {
            netbuf_drop(dev->pool, got[0].buffer);
        }
    }
    CHECK(received > 20 && received < 80);
    CHECK_EQ(attach_pair(&rig, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(attach_pair(&rig, 2), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(attach_pair(&rig, 1), STATUS_OK);
    rig.count = 2;
    CHECK_EQ(attach_pair(&rig, 1), STATUS_INVALID_ARGUMENT);
    settle(&rig);
    CHECK_EQ(rig.pairs[1].pool.free_count, BUFFERS - LENT);
    rig_close(&rig);
}

TEST(other_chips_and_few_interrupts_make_one_pair)
{
    static const uint16_t chips[] = {INTEL_PCI_82574L, INTEL_PCI_82576_VIRTUAL, INTEL_PCI_82576};

    for (unsigned i = 0; i < 3; i++) {
        struct rig rig;
        CHECK_EQ(rig_attach(&rig, chips[i], 4, i == 2 ? 1 : 4), STATUS_OK);
        CHECK_EQ(rig.pairs[0].dev->queues, 1);
        CHECK_EQ(attach_pair(&rig, 1), STATUS_INVALID_ARGUMENT);
        if (i > 0) { /* all interrupts are the only owner's: vector 0 both ways */
            CHECK_EQ(rig.fake.registers[INTEL_82576_IVAR0 / 4u], 0x8080);
        }
        settle(&rig);
        rig_close(&rig);
    }
}

/* Whichever pair sees it, and in whatever order the owners come to look: the reset waits for all,
 * and all run again with all their buffers. */
TEST(a_reset_waits_for_every_owner)
{
    struct rig rig;

    rig_open(&rig);
    for (unsigned round = 0; round < 8; round++) {
        uint32_t stuck = round % PAIRS;
        struct netdev *dev = rig.pairs[stuck].dev;
        struct netdev *first = rig.pairs[0].dev;
        struct netframe frame = {netbuf_take(dev->pool), 0, 60};
        unsigned resets = rig.fake.resets;

        CHECK_EQ(dev->ops->transmit(dev, &frame, 1), 1);
        dev->ops->tick(dev, rig.now_ns);
        rig.now_ns += 11 * SECOND_NS;
        dev->ops->tick(dev, rig.now_ns); /* asks */
        for (unsigned i = 0; i < 40; i++) {
            rig.now_ns = first->ops->tick(first, rig.now_ns);
        }
        CHECK_EQ(rig.fake.resets, resets); /* nobody else has looked */
        for (uint32_t i = 1; i < PAIRS; i++) {
            struct netdev *other = rig.pairs[i].dev;
            struct netframe got[4];
            other->ops->tick(other, rig.now_ns);
            CHECK_EQ(other->ops->receive(other, got, 4), 0);
            CHECK_EQ(other->ops->transmit(other, got, 1), 0);
        }
        settle(&rig);
        CHECK_EQ(rig.fake.resets, resets + 1);
        for (uint32_t i = 0; i < PAIRS; i++) {
            CHECK_EQ(rig.pairs[i].pool.free_count, BUFFERS - LENT);
        }
    }
    CHECK_EQ(rig.fake.faults, 0);
    rig_close(&rig);
}

/* Receives what the chip is made to tell at the pair of its flow; 0 or 1 frame. */
static uint32_t receive_split(struct rig *rig, const struct intel_fake_frame *frame,
                              struct netframe *got, struct netdev **dev)
{
    CHECK(intel_fake_deliver(&rig->fake, frame));
    *dev = rig->pairs[intel_fake_steer(&rig->fake, frame->bytes, frame->length)].dev;
    return (*dev)->ops->receive(*dev, got, 1);
}

/* Headers by themselves, the rest at the start of a page of its own; joined it is the frame again.
 */
TEST(headers_are_set_apart)
{
    struct rig rig;
    uint8_t frame[1518];
    struct netframe got;
    struct netdev *dev;

    open_with(&rig, true);
    CHECK(rig.pairs[0].dev->splits_headers && rig.pairs[3].dev->splits_headers);
    for (uint32_t flow = 0; flow < 3000; flow++) {
        uint16_t headers = (uint16_t)(14u + flow * 7u % 243u); /* up to 256 */
        uint16_t length = (uint16_t)(flow % 3u == 0 ? headers : 300u + flow * 11u % 1219u);
        length = length < 80u ? 80u : length;
        for (uint32_t i = 0; i < length; i++) {
            frame[i] = (uint8_t)(i * 3u + flow);
        }
        (void)make_flow(frame, flow);
        struct intel_fake_frame told = {.bytes = frame,
                                        .length = length,
                                        .status = 1u << 5,
                                        .header_bytes = flow % 5u == 0 ? 0 : headers};
        CHECK_EQ(receive_split(&rig, &told, &got, &dev), 1);
        CHECK_EQ(got.length, length);
        CHECK_EQ(frame_is_split(&got), flow % 5u != 0);
        CHECK_EQ(got.offset & NETFRAME_SUM_FLAGS, NETFRAME_SUM_RIGHT);
        uint32_t front = frame_front_bytes(&got);
        CHECK_EQ(front, flow % 5u != 0 ? headers : length);
        CHECK_EQ(memcmp(frame_data(dev->pool, &got), frame, front), 0);
        const uint8_t *rest = netbuf_data(dev->pool, got.buffer);
        CHECK_EQ((uintptr_t)rest % PAGE_BYTES, 0);
        CHECK_EQ(memcmp(rest, frame + (flow % 5u != 0 ? front : 0),
                        length - (flow % 5u != 0 ? front : 0)),
                 0);
        frame_join(dev->pool, &got);
        CHECK(!frame_is_split(&got));
        CHECK_EQ(got.offset & NETFRAME_SUM_FLAGS, NETFRAME_SUM_RIGHT);
        CHECK_EQ(memcmp(frame_data(dev->pool, &got), frame, length), 0);
        netbuf_drop(dev->pool, got.buffer);
    }
    CHECK_EQ(rig.fake.faults, 0);
    rig_close(&rig);
}

/* Lengths that cannot be make no frame; headers that were too long are where the rest is. */
TEST(a_chip_that_lies_about_headers_is_not_believed)
{
    static const struct {
        uint32_t status;
        uint16_t headers, told_header, told_length;
        bool good;
    } cases[] = {
        {0, 54, 0, 0, true},        {0, 54, 13, 0, false},       {0, 54, 1, 0, false},
        {0, 54, 257, 0, false},     {0, 54, 0x3ff, 0, false},    {0, 54, 0, 0xffff, false},
        {0, 54, 0, 1465, false},    {0, 54, 0, 1464, true},      {0, 256, 0, 1262, true},
        {0, 256, 0, 1263, false},   {1u << 23, 0, 300, 0, true}, {1u << 31, 54, 0, 0, false},
        {0, 256, 0, 0xff01, false},
    };
    struct rig rig;
    uint8_t frame[300] = {0};
    struct netframe got;
    struct netdev *dev;
    uint64_t errors = 0;

    open_with(&rig, true);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct intel_fake_frame told = {.bytes = frame,
                                        .length = sizeof frame,
                                        .status = cases[i].status,
                                        .told_length = cases[i].told_length,
                                        .header_bytes = cases[i].headers,
                                        .told_header = cases[i].told_header};
        CHECK_EQ(receive_split(&rig, &told, &got, &dev), cases[i].good);
        errors += !cases[i].good;
        CHECK_EQ(dev->counters.rx_errors, errors);
        if (cases[i].good) {
            CHECK_EQ(frame_is_split(&got), (cases[i].status & 1u << 23) == 0);
            CHECK(got.length <= 1518);
            netbuf_drop(dev->pool, got.buffer);
        }
    }
    rig_close(&rig);
    /* Pages or nothing; and only where the chip does it. */
    CHECK_EQ(attach_with(&rig, INTEL_PCI_82574L, 1, 1, true), STATUS_OK);
    CHECK(!rig.pairs[0].dev->splits_headers);
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

/* Any descriptor, any register, owners that look when they like. */
static void harm(bool split)
{
    struct rig rig;
    uint8_t frame[80];
    uint64_t received = 0;

    open_with(&rig, split);
    for (unsigned step = 0; step < 100000; step++) {
        uint32_t pair = random_below(PAIRS);
        struct netdev *dev = rig.pairs[pair].dev;
        struct netframe got[8];
        switch (random_below(40)) {
        case 0:
            rig.dma.base[random_below(PAIRS) * NETDEV_DMA_BYTES + random_below(2u * PAGE_BYTES)] =
                (uint8_t)random_state;
            break;
        case 1:
            rig.fake.registers[random_below(rig.fake.chip->register_bytes / 4u)] = random_state;
            break;
        case 2:
            rig.fake.gone = random_below(8) == 0;
            break;
        default:
            (void)intel_fake_deliver(
                &rig.fake, &(struct intel_fake_frame){
                               .bytes = frame,
                               .length = make_flow(frame, random_below(5000)),
                               .status = random_below(9) ? 0 : random_state,
                               .header_bytes = split ? (uint16_t)random_below(80) : 0,
                               .told_header = random_below(9) ? 0 : (uint16_t)random_below(2000)});
            (void)intel_fake_send_queue(&rig.fake, random_below(PAIRS), random_below(8));
            break;
        }
        uint32_t count = dev->ops->receive(dev, got, 8);
        received += count;
        for (uint32_t i = 0; i < count; i++) {
            frame_join(dev->pool, &got[i]);
            CHECK((got[i].offset & NETFRAME_OFFSET) + got[i].length <= dev->pool->buffer_bytes);
            got[i].offset &= NETFRAME_OFFSET;
            CHECK_EQ(dev->pool->references[got[i].buffer], 1);
        }
        uint32_t taken = dev->ops->transmit(dev, got, count);
        for (uint32_t i = taken; i < count; i++) {
            netbuf_drop(dev->pool, got[i].buffer);
        }
        if (random_below(4) == 0 && dev->ops->arm(dev)) {
            dev->ops->disarm(dev);
        }
        time_ns_t next = dev->ops->tick(dev, rig.now_ns);
        rig.now_ns = random_below(2) ? next : rig.now_ns + 10000000;
    }
    CHECK(received > 1000);
    CHECK(rig.pairs[0].dev->counters.resets > 3);
    rig_close(&rig);
}

TEST(no_device_harms_any_pair)
{
    harm(false);
}

TEST(no_device_harms_any_pair_that_splits_headers)
{
    harm(true);
}
