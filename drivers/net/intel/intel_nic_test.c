// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/intel/intel_nic.h"

#include <stdlib.h>

#include "drivers/dma_fake.h"
#include "drivers/net/intel/intel_fake.h"
#include "tests/check.h"

#define BUFFERS 700u
#define SECOND_NS 1000000000ull

static const uint16_t chips[] = {INTEL_PCI_82574L, INTEL_PCI_82576, INTEL_PCI_82576_VIRTUAL};
#define CHIPS (sizeof chips / sizeof chips[0])

struct rig {
    struct intel_fake fake;
    struct dma_region dma;
    struct dma_region memory;
    struct netbuf_pool pool;
    void *bookkeeping;
    void *state;
    bool receive_sums;
    struct netdev *dev;
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

static void rig_open(struct rig *rig, uint16_t chip, uint32_t buffers)
{
    memset(rig, 0, sizeof *rig);
    intel_fake_init(&rig->fake, chip);
    rig->dma = dma_fake_create(NETDEV_DMA_BYTES);
    rig->memory = dma_fake_create((buffers * 2048u + PAGE_BYTES - 1u) & ~(PAGE_BYTES - 1u));
    rig->bookkeeping = malloc(netbuf_pool_bookkeeping_bytes(buffers));
    rig->state = aligned_alloc(64, NETDEV_STATE_BYTES);
    rig->now_ns = 5 * SECOND_NS;
    CHECK_EQ(netbuf_pool_init(&rig->pool, rig->memory.base, buffers, 2048,
                              rig->memory.page_device_address, rig->bookkeeping),
             STATUS_OK);
}

static status_t rig_attach(struct rig *rig)
{
    return netdev_attach(
        &(struct netdev_attach_request){
            .device = &rig->fake.device,
            .pool = &rig->pool,
            .dma = rig->dma,
            .receive_sums = rig->receive_sums,
            .state = rig->state,
            .environment = {rig_now, rig_relax, NULL, rig},
        },
        &rig->dev);
}

static void rig_close(struct rig *rig)
{
    if (rig->dev != NULL) {
        rig->fake.reset_reads = 0;
        rig->fake.gone = false;
        rig->fake.reset_left = 0;
        CHECK_EQ(rig->dev->ops->stop(rig->dev), STATUS_OK);
        CHECK_EQ(rig->dev->ops->tick(rig->dev, rig->now_ns), DEADLINE_NEVER);
    }
    CHECK_EQ(rig->pool.free_count, rig->pool.buffer_count);
    intel_fake_destroy(&rig->fake);
    dma_fake_destroy(&rig->dma);
    dma_fake_destroy(&rig->memory);
    free(rig->bookkeeping);
    free(rig->state);
}

static bool deliver(struct rig *rig, const void *bytes, size_t length)
{
    return intel_fake_deliver(&rig->fake,
                              &(struct intel_fake_frame){.bytes = bytes, .length = length});
}

static void settle(struct rig *rig)
{
    for (unsigned i = 0; i < 200 && !rig->dev->ops->link_up(rig->dev); i++) {
        rig->now_ns = rig->dev->ops->tick(rig->dev, rig->now_ns);
    }
    CHECK(rig->dev->ops->link_up(rig->dev));
}

TEST(starts_and_reads_its_address)
{
    for (unsigned i = 0; i < CHIPS; i++) {
        struct rig rig;
        rig_open(&rig, chips[i], BUFFERS);
        rig.fake.reset_reads = 3;
        rig.fake.enable_reads = 3;
        intel_fake_set_link(&rig.fake, false);
        CHECK_EQ(rig_attach(&rig), STATUS_OK);
        CHECK_EQ(memcmp(rig.dev->mac, rig.fake.mac, 6), 0);
        CHECK_EQ(rig.pool.free_count, BUFFERS - 255);
        CHECK(!rig.dev->ops->link_up(rig.dev));
        rig.dev->ops->tick(rig.dev, rig.now_ns);
        CHECK(!rig.dev->ops->link_up(rig.dev));
        intel_fake_set_link(&rig.fake, true);
        settle(&rig);
        CHECK_EQ(rig.fake.faults, 0);
        rig_close(&rig);
    }
}

static void round_trips(uint16_t chip, uint32_t buffers)
{
    struct rig rig;
    uint8_t frame[1514];
    struct netframe got[NETDEV_BURST_MAX];

    rig_open(&rig, chip, buffers);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    settle(&rig);
    for (unsigned round = 0; round < 2000; round++) {
        size_t bytes = 14 + (round * 37u) % 1501u;
        unsigned burst = 1 + round % 6;
        for (unsigned i = 0; i < burst; i++) {
            memset(frame, (int)(round + i), bytes);
            CHECK(deliver(&rig, frame, bytes));
        }
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), burst);
        for (unsigned i = 0; i < burst; i++) {
            memset(frame, (int)(round + i), bytes);
            CHECK_EQ(got[i].length, bytes);
            CHECK_EQ(memcmp(netbuf_data(&rig.pool, got[i].buffer) + got[i].offset, frame, bytes),
                     0);
        }
        CHECK_EQ(rig.dev->ops->transmit(rig.dev, got, burst), burst);
        CHECK_EQ(intel_fake_send(&rig.fake, 100), burst);
        CHECK_EQ(rig.fake.sent_bytes, bytes);
        CHECK_EQ(memcmp(rig.fake.sent, frame, bytes), 0);
    }
    CHECK_EQ(rig.fake.faults, 0);
    CHECK_EQ(rig.dev->counters.rx_errors, 0);
    CHECK_EQ(rig.fake.tx_tail_writes + rig.fake.rx_tail_writes, rig.dev->counters.doorbells);
    CHECK(rig.fake.rx_tail_writes < 2000 * 4 / 16); /* shown in lots */
    rig_close(&rig);
}

TEST(frames_go_both_ways)
{
    for (unsigned i = 0; i < CHIPS; i++) {
        round_trips(chips[i], BUFFERS);
        round_trips(chips[i], 128);
    }
}

/* Few finished transmissions and few empty receive slots are put off, but not past a sleep; nobody
 * is short of them, so that it is fallen asleep at once. */
TEST(what_is_put_off_is_done_before_sleeping)
{
    struct rig rig;
    uint8_t frame[60] = {1};
    struct netframe got[NETDEV_BURST_MAX];

    rig_open(&rig, chips[0], BUFFERS);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    settle(&rig);
    CHECK(deliver(&rig, frame, sizeof frame));
    CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), 1);
    CHECK_EQ(rig.dev->ops->transmit(rig.dev, got, 1), 1);
    CHECK_EQ(intel_fake_send(&rig.fake, 1), 1);
    CHECK_EQ(rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX), 0);
    CHECK_EQ(rig.pool.free_count, BUFFERS - 255); /* one is sent and not back, one slot empty */

    CHECK(rig.dev->ops->arm(rig.dev));
    CHECK_EQ(rig.pool.free_count, BUFFERS - 255);
    rig.dev->ops->disarm(rig.dev);
    for (unsigned i = 0; i < 255; i++) { /* the device has all slots again */
        CHECK(deliver(&rig, frame, sizeof frame));
    }
    rig_close(&rig);
}

TEST(a_full_transmit_ring_refuses_and_recovers)
{
    for (unsigned i = 0; i < CHIPS; i++) {
        struct rig rig;
        unsigned sent = 0;

        rig_open(&rig, chips[i], BUFFERS);
        CHECK_EQ(rig_attach(&rig), STATUS_OK);
        settle(&rig);
        for (;;) {
            struct netframe frame = {netbuf_take(&rig.pool), 30, 60};
            if (rig.dev->ops->transmit(rig.dev, &frame, 1) == 0) {
                netbuf_drop(&rig.pool, frame.buffer);
                break;
            }
            sent++;
        }
        CHECK_EQ(sent, 255);
        CHECK(rig.dev->ops->arm(rig.dev));
        unsigned interrupts = rig.fake.interrupts;
        CHECK_EQ(intel_fake_send(&rig.fake, 1), 1);
        CHECK_EQ(rig.fake.interrupts, interrupts + 1);
        rig.dev->ops->disarm(rig.dev);
        struct netframe frame = {netbuf_take(&rig.pool), 0, 60};
        CHECK_EQ(rig.dev->ops->transmit(rig.dev, &frame, 1), 1);
        CHECK_EQ(intel_fake_send(&rig.fake, 1000), 255);
        rig_close(&rig);
    }
}

static void large_packets(uint16_t chip)
{
    struct rig rig;
    struct netframe frames[NETFRAMES_MAX + 1u];

    rig_open(&rig, chip, BUFFERS);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    settle(&rig);
    CHECK_EQ(rig.dev->offloads, NETDEV_TX_CHECKSUM | NETDEV_TX_SEGMENTS | NETDEV_TX_OPEN_LENGTH);
    for (unsigned round = 0; round < 300; round++) {
        uint32_t parts = 1u + round % NETFRAMES_MAX;
        uint32_t bytes = 0;
        for (uint32_t i = 0; i <= parts; i++) { /* the last is a plain frame behind it */
            frames[i] = (struct netframe){netbuf_take(&rig.pool), 200, (uint16_t)(1000u + i)};
            memset(netbuf_data(&rig.pool, frames[i].buffer), (int)i, 2048);
            frames[i].length |= i + 1u < parts ? (uint16_t)NETFRAME_MORE : 0;
            bytes += i < parts ? 1000u + i : 0;
        }
        bool cut = round % 2u == 0;
        struct netframe_offload offload = {cut ? 1448 : 0, 66, bytes - 66u};
        memcpy(netbuf_data(&rig.pool, frames[0].buffer) + 200 - sizeof offload, &offload,
               sizeof offload);
        frames[0].offset |= NETFRAME_OFFLOAD;
        CHECK_EQ(rig.dev->ops->transmit_large(rig.dev, frames, parts + 1u), parts + 1u);
        CHECK_EQ(intel_fake_send(&rig.fake, parts + 1u), parts + 1u);
        CHECK_EQ(rig.fake.sent_bytes, bytes);
        CHECK_EQ(rig.fake.context.address, 14u << 9 | 20u);
        CHECK_EQ(rig.fake.context.status, (cut ? 1448u << 16 : 0u) | 32u << 8);
        CHECK_EQ((rig.fake.sent_command & INTEL_82576_TX_CUT) != 0, cut);
        CHECK_EQ(rig.fake.sent_status >> 14, cut ? bytes - 66u : bytes);
        CHECK_EQ(rig.fake.sent_status >> 8 & 3u, cut ? 3u : 2u);
        for (uint32_t i = 0, at = 0; i < parts; at += 1000u + i, i++) {
            CHECK_EQ(rig.fake.sent[at], i);
        }
        CHECK_EQ(intel_fake_send(&rig.fake, 10), 1);
        CHECK_EQ(rig.fake.sent_bytes, 1000u + parts);
        CHECK(rig.dev->ops->arm(rig.dev)); /* takes back what was sent */
        rig.dev->ops->disarm(rig.dev);
        CHECK_EQ(rig.pool.free_count, BUFFERS - 255);
    }
    /* More than there are slots: whole packets are taken. */
    uint32_t taken = 0;
    for (unsigned i = 0; i < 30; i++) {
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
    CHECK_EQ(taken, 250);
    CHECK_EQ(intel_fake_send(&rig.fake, 300), 250);
    CHECK_EQ(rig.fake.faults, 0);
    CHECK_EQ(rig.dev->ops->receive(rig.dev, frames, 1), 0);
    rig_close(&rig);
}

TEST(large_packets_go_with_a_context)
{
    large_packets(INTEL_PCI_82576);
    large_packets(INTEL_PCI_82576_VIRTUAL);
}

TEST(interrupts_come_only_to_a_sleeper)
{
    for (unsigned i = 0; i < CHIPS; i++) {
        struct rig rig;
        uint8_t frame[60] = {0};
        struct netframe got[4];

        rig_open(&rig, chips[i], BUFFERS);
        CHECK_EQ(rig_attach(&rig), STATUS_OK);
        settle(&rig);
        for (unsigned round = 0; round < 600; round++) {
            unsigned before = rig.fake.interrupts;
            CHECK(deliver(&rig, frame, sizeof frame));
            CHECK_EQ(rig.fake.interrupts, before); /* awake: none wanted */
            CHECK(!rig.dev->ops->arm(rig.dev));    /* there is work: no sleep */
            CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 4), 1);
            netbuf_drop(&rig.pool, got[0].buffer);
            before = rig.fake.interrupts;
            CHECK(rig.dev->ops->arm(rig.dev)); /* what came before does not wake */
            CHECK_EQ(rig.fake.interrupts, before);
            CHECK(deliver(&rig, frame, sizeof frame));
            CHECK_EQ(rig.fake.interrupts, before + 1);
            rig.dev->ops->disarm(rig.dev);
            CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 4), 1);
            netbuf_drop(&rig.pool, got[0].buffer);
        }
        rig_close(&rig);
    }
}

TEST(damaged_frames_are_dropped_and_counted)
{
    for (unsigned i = 0; i < CHIPS; i++) {
        struct rig rig;
        uint8_t bytes[1600] = {0};
        struct netframe got[8];

        rig_open(&rig, chips[i], BUFFERS);
        CHECK_EQ(rig_attach(&rig), STATUS_OK);
        settle(&rig);
        const struct intel_fake_frame bad[] = {
            {.bytes = bytes, .length = 60, .status = 1u << 31},
            {.bytes = bytes, .length = 60, .status_less = INTEL_RX_END_OF_PACKET},
            {.bytes = bytes, .length = 60, .told_length = 0xffff},
            {.bytes = bytes, .length = 60, .told_length = 13},
            {.bytes = bytes, .length = 1519},
        };
        for (unsigned j = 0; j < sizeof bad / sizeof bad[0]; j++) {
            CHECK(intel_fake_deliver(&rig.fake, &bad[j]));
            CHECK(deliver(&rig, bytes, 60));
            CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 8), 1);
            CHECK_EQ(rig.dev->counters.rx_errors, j + 1);
            netbuf_drop(&rig.pool, got[0].buffer);
        }
        rig_close(&rig);
    }
}

/* Status bits: 4 and 5 UDP's and TCP's checksum were looked at, 6 IPv4's; 29 and 30 are errors. */
TEST(the_chips_word_on_sums_is_passed_on)
{
    static const struct {
        uint32_t status;
        bool right;
    } cases[] = {
        {0, false},
        {1u << 6, false},
        {1u << 5, true},
        {1u << 6 | 1u << 5, true},
        {1u << 6 | 1u << 5 | 1u << 4, true},
        {1u << 6 | 1u << 5 | 1u << 29, false},
        {1u << 6 | 1u << 5 | 1u << 30, false},
        {1u << 6 | 1u << 4 | 3u << 29, false},
        {1u << 29, false},
    };

    for (unsigned i = 0; i < 2u * CHIPS; i++) {
        struct rig rig;
        uint8_t bytes[60] = {0};
        struct netframe got;

        rig_open(&rig, chips[i / 2u], BUFFERS);
        rig.receive_sums = i % 2u != 0;
        CHECK_EQ(rig_attach(&rig), STATUS_OK);
        CHECK_EQ(rig.dev->receives_sums, rig.receive_sums);
        settle(&rig);
        for (unsigned j = 0; j < sizeof cases / sizeof cases[0]; j++) {
            CHECK(intel_fake_deliver(
                &rig.fake, &(struct intel_fake_frame){
                               .bytes = bytes, .length = sizeof bytes, .status = cases[j].status}));
            CHECK_EQ(rig.dev->ops->receive(rig.dev, &got, 1), 1);
            CHECK_EQ(got.offset, rig.receive_sums && cases[j].right ? NETFRAME_SUM_RIGHT : 0);
            netbuf_drop(&rig.pool, got.buffer);
        }
        rig_close(&rig);
    }
}

TEST(a_device_that_fails_to_start_is_refused)
{
    for (unsigned fault = 0; fault < 9; fault++) {
        static const status_t expected[] = {
            STATUS_DEVICE_TIMEOUT,   STATUS_DEVICE_ERROR,   STATUS_DEVICE_TIMEOUT,
            STATUS_INVALID_ARGUMENT, STATUS_UNSUPPORTED,    STATUS_DEVICE_TIMEOUT,
            STATUS_DEVICE_TIMEOUT,   STATUS_DEVICE_TIMEOUT, STATUS_DEVICE_TIMEOUT};
        struct rig rig;
        rig_open(&rig, fault < 5 ? chips[fault % CHIPS] : INTEL_PCI_82576_VIRTUAL, BUFFERS);
        switch (fault) {
        case 0:
            rig.fake.gone = true;
            break;
        case 1:
            rig.fake.mdic_error = true;
            break;
        case 2:
            rig.fake.enable_reads = 1000000;
            break;
        case 3:
            rig.fake.device.bar_bytes[0] = 4096;
            break;
        case 5:
            rig.fake.no_answer = true;
            break;
        case 6:
            rig.fake.answer = INTEL_MESSAGE_RESET | INTEL_MESSAGE_REFUSED;
            break;
        case 7:
            rig.fake.mac[0] = 0x01; /* a group's */
            break;
        case 8:
            rig.fake.mailbox_held = true;
            break;
        default:
            rig.fake.device.irq_count = 6;
            break;
        }
        CHECK_EQ(rig_attach(&rig), expected[fault]);
        CHECK(rig.dev == NULL);
        rig_close(&rig);
    }
}

TEST(a_device_that_goes_or_sticks_is_reset)
{
    for (unsigned i = 0; i < CHIPS; i++) {
        struct rig rig;
        uint8_t bytes[60] = {0};
        struct netframe got[8];

        rig_open(&rig, chips[i], BUFFERS);
        CHECK_EQ(rig_attach(&rig), STATUS_OK);
        settle(&rig);
        for (unsigned round = 0; round < 4; round++) {
            unsigned resets = rig.fake.resets;
            struct netframe frame = {netbuf_take(&rig.pool), 0, 60};
            CHECK_EQ(rig.dev->ops->transmit(rig.dev, &frame, 1), 1);
            if (round % 2 == 0) {
                rig.fake.gone = true;
                rig.now_ns = rig.dev->ops->tick(rig.dev, rig.now_ns);
                rig.fake.gone = false;
            } else { /* it does not send for longer than it may */
                rig.dev->ops->tick(rig.dev, rig.now_ns);
                rig.now_ns += 11 * SECOND_NS;
                rig.dev->ops->tick(rig.dev, rig.now_ns);
            }
            CHECK(!rig.dev->ops->link_up(rig.dev));
            CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 8), 0);
            settle(&rig);
            CHECK_EQ(rig.fake.resets, resets + 1);
            CHECK_EQ(rig.pool.free_count, BUFFERS - 255);
            CHECK(deliver(&rig, bytes, 60));
            CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 8), 1);
            netbuf_drop(&rig.pool, got[0].buffer);
        }
        CHECK_EQ(rig.dev->counters.resets, 4);
        rig_close(&rig);
    }
}

static uint32_t random_state = 999;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % bound;
}

/* The cell of the physical function restarts: its reset stops the queues, and until it runs again
 * nobody answers. */
TEST(a_virtual_function_outlives_the_physical_ones_cell)
{
    struct rig rig;
    uint8_t bytes[60] = {0};
    struct netframe got[8];

    rig_open(&rig, INTEL_PCI_82576_VIRTUAL, BUFFERS);
    CHECK_EQ(rig_attach(&rig), STATUS_OK);
    settle(&rig);
    CHECK_EQ(rig.fake.asked, 1);
    for (unsigned round = 0; round < 3; round++) {
        rig.fake.no_answer = true;
        rig.fake.mailbox = INTEL_MAILBOX_RESETTING;
        rig.dev->ops->tick(rig.dev, rig.now_ns);
        CHECK(!rig.dev->ops->link_up(rig.dev));
        for (unsigned i = 0; i < 50; i++) {
            rig.now_ns = rig.dev->ops->tick(rig.dev, rig.now_ns);
            CHECK(!rig.dev->ops->link_up(rig.dev));
        }
        rig.now_ns += SECOND_NS;
        rig.fake.no_answer = false;
        settle(&rig);
        CHECK(deliver(&rig, bytes, 60));
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 8), 1);
        netbuf_drop(&rig.pool, got[0].buffer);
    }
    CHECK_EQ(rig.dev->counters.resets, 3);
    CHECK_EQ(rig.fake.faults, 0);
    rig_close(&rig);
}

/* Descriptors of any content, registers of any value: nothing is read or written outside of the
 * buffers, and none is lost. */
TEST(no_device_harms_the_driver)
{
    for (unsigned i = 0; i < CHIPS; i++) {
        struct rig rig;
        uint8_t bytes[1514] = {0};
        struct netframe got[NETDEV_BURST_MAX];
        uint64_t received = 0;

        rig_open(&rig, chips[i], BUFFERS);
        CHECK_EQ(rig_attach(&rig), STATUS_OK);
        for (unsigned step = 0; step < 100000; step++) {
            switch (random_below(30)) {
            case 0:
                rig.dma.base[random_below(2u * PAGE_BYTES)] = (uint8_t)random_state;
                break;
            case 1:
                rig.fake.registers[random_below(rig.fake.chip->register_bytes / 4u)] = random_state;
                break;
            case 2:
                rig.fake.gone = random_below(8) == 0;
                break;
            case 3:
                (void)intel_fake_deliver(
                    &rig.fake,
                    &(struct intel_fake_frame){.bytes = bytes,
                                               .length = 100,
                                               .status = random_state,
                                               .status_less = random_state >> 5,
                                               .told_length = (uint16_t)random_below(65536)});
                break;
            default:
                (void)deliver(&rig, bytes, 14 + random_below(1501));
                (void)intel_fake_send(&rig.fake, random_below(8));
                break;
            }
            uint32_t count =
                rig.dev->ops->receive(rig.dev, got, 1 + random_below(NETDEV_BURST_MAX));
            received += count;
            for (uint32_t j = 0; j < count; j++) {
                CHECK(got[j].offset + got[j].length <= 2048);
                CHECK_EQ(rig.pool.references[got[j].buffer], 1);
            }
            uint32_t taken = rig.dev->ops->transmit(rig.dev, got, count);
            for (uint32_t j = taken; j < count; j++) {
                netbuf_drop(&rig.pool, got[j].buffer);
            }
            if (random_below(4) == 0 && rig.dev->ops->arm(rig.dev)) {
                rig.dev->ops->disarm(rig.dev);
            }
            time_ns_t next = rig.dev->ops->tick(rig.dev, rig.now_ns);
            rig.now_ns = random_below(2) ? next : rig.now_ns + SECOND_NS;
        }
        CHECK(received > 1000);
        CHECK(rig.dev->counters.resets > 10);
        rig_close(&rig);
    }
}
