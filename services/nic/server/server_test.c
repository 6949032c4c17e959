// SPDX-License-Identifier: MIT OR Apache-2.0
/* Client (drivers/net/ring), server and a fake NIC together, by the rules and against them. */
#include "services/nic/server/server.h"

#include <stdlib.h>

#include "drivers/dma_fake.h"
#include "drivers/net/open.h"
#include "drivers/net/ring/ringdev.h"
#include "drivers/net/virtio/virtio_fake.h"
#include "tests/check.h"

#define ENTRIES 64u
#define BUFFERS 128u
#define BUFFER_BYTES 2048u
#define POOL_OFFSET (2u * PAGE_BYTES)
#define SHARED_BYTES (POOL_OFFSET + BUFFERS * BUFFER_BYTES)
#define SECOND_NS 1000000000ull
#define TO_SERVER 7u
#define TO_CLIENT 8u

struct rig {
    struct virtio_fake fake;
    struct dma_region shared;
    struct dma_region dma;
    struct cell_ring server_ring;
    struct cell_info client_info;
    struct nic_server server;
    bool server_runs;
    void *server_memory;
    void *client_memory;
    struct netdev *dev;
    time_ns_t now_ns;
    unsigned server_rung;
    unsigned client_rung;
};

static time_ns_t rig_now(void *context)
{
    return ((struct rig *)context)->now_ns;
}

static void run_server(struct rig *rig)
{
    for (unsigned i = 0; rig->server_runs && i < 100; i++) {
        if (!nic_server_poll(&rig->server, rig->now_ns) && nic_server_arm(&rig->server)) {
            nic_server_disarm(&rig->server);
            return;
        }
    }
}

static void rig_relax(void *context)
{
    struct rig *rig = context;
    rig->now_ns += 1000000;
    run_server(rig);
}

static void rig_doorbell(void *context, cap_slot_t slot)
{
    struct rig *rig = context;
    rig->server_rung += slot == TO_SERVER;
    rig->client_rung += slot == TO_CLIENT;
}

static void start_server(struct rig *rig)
{
    rig->server_runs = true;
    CHECK_EQ(nic_server_init(&rig->server,
                             &(struct nic_server_config){
                                 .device = &rig->fake.device,
                                 .ring = &rig->server_ring,
                                 .dma = rig->dma,
                                 .memory = rig->server_memory,
                                 .memory_bytes = nic_server_memory_bytes(BUFFERS, ENTRIES),
                                 .environment = {rig_now, rig_relax, rig_doorbell, rig},
                             }),
             STATUS_OK);
}

static void start_client(struct rig *rig)
{
    struct netdev_open_request request = {
        .cell = &rig->client_info,
        .memory = rig->client_memory,
        .memory_bytes = netdev_open_memory_bytes(&rig->client_info, 0),
        .environment = {rig_now, rig_relax, rig_doorbell, rig},
    };
    CHECK_EQ(netdev_open_dma_bytes(&request), 0);
    CHECK_EQ(netdev_open(&request, &rig->dev), STATUS_OK);
}

static void rig_open(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    virtio_fake_init(&rig->fake);
    rig->shared = dma_fake_create(SHARED_BYTES);
    rig->dma = dma_fake_create(NETDEV_DMA_BYTES);
    rig->now_ns = SECOND_NS;
    struct ring_shared *shared = (struct ring_shared *)(void *)rig->shared.base;
    shared->magic = RING_MAGIC;
    shared->version = RING_VERSION;
    shared->entries = ENTRIES;
    rig->server_ring = (struct cell_ring){
        .name = "net",
        .role = CELL_RING_SERVER,
        .entries = ENTRIES,
        .buffer_count = BUFFERS,
        .buffer_bytes = BUFFER_BYTES,
        .address = rig->shared.base,
        .bytes = SHARED_BYTES,
        .pool_offset = POOL_OFFSET,
        .pool_page_device_address = rig->shared.page_device_address + POOL_OFFSET / PAGE_BYTES,
        .doorbell_slot = TO_CLIENT,
    };
    rig->client_info.ring_count = 1;
    rig->client_info.rings[0] = rig->server_ring;
    rig->client_info.rings[0].role = CELL_RING_CLIENT;
    rig->client_info.rings[0].pool_page_device_address = NULL;
    rig->client_info.rings[0].doorbell_slot = TO_SERVER;
    rig->server_memory = aligned_alloc(64, nic_server_memory_bytes(BUFFERS, ENTRIES));
    size_t bytes = netdev_open_memory_bytes(&rig->client_info, 0);
    rig->client_memory = aligned_alloc(64, (bytes + 63u) & ~(size_t)63u);
    start_server(rig);
    start_client(rig);
}

static void rig_close(struct rig *rig)
{
    for (unsigned i = 0; i < 1000 && rig->dev->ops->stop(rig->dev) != STATUS_OK; i++) {
        rig_relax(rig);
    }
    CHECK_EQ(rig->dev->ops->stop(rig->dev), STATUS_OK);
    CHECK_EQ(rig->dev->pool->free_count, BUFFERS);
    CHECK_EQ(rig->fake.faults, 0);
    CHECK_EQ(nic_server_stop(&rig->server), STATUS_OK);
    virtio_fake_destroy(&rig->fake);
    dma_fake_destroy(&rig->shared);
    dma_fake_destroy(&rig->dma);
    free(rig->server_memory);
    free(rig->client_memory);
}

/* Lets the client go on until it is connected again. */
static void reconnect(struct rig *rig)
{
    struct netframe frame;

    for (unsigned i = 0; i < 200 && !rig->dev->ops->link_up(rig->dev); i++) {
        CHECK_EQ(rig->dev->ops->receive(rig->dev, &frame, 1), 0);
        rig->dev->ops->tick(rig->dev, rig->now_ns);
        rig->now_ns += SECOND_NS / 10;
        run_server(rig);
    }
    CHECK(rig->dev->ops->link_up(rig->dev));
}

/* One frame from the wire to the client and back out. */
static void echo_one(struct rig *rig, size_t bytes, uint8_t seed)
{
    uint8_t out[1514];
    struct netframe got[4];

    for (size_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(seed + i * 5u);
    }
    CHECK(virtio_fake_deliver(&rig->fake, out, bytes));
    run_server(rig);
    CHECK_EQ(rig->dev->ops->receive(rig->dev, got, 4), 1);
    CHECK_EQ(got[0].length, bytes);
    CHECK_EQ(memcmp(netbuf_data(rig->dev->pool, got[0].buffer) + got[0].offset, out, bytes), 0);
    unsigned sent = rig->fake.sent_count;
    CHECK_EQ(rig->dev->ops->transmit(rig->dev, got, 1), 1);
    run_server(rig);
    CHECK_EQ(virtio_fake_send(&rig->fake, 10), 1);
    CHECK_EQ(rig->fake.sent_count, sent + 1);
    CHECK_EQ(rig->fake.sent_bytes, bytes);
    CHECK_EQ(memcmp(rig->fake.sent, out, bytes), 0);
    run_server(rig);
    CHECK_EQ(rig->dev->ops->receive(rig->dev, got, 4), 0);
}

TEST(the_client_learns_the_nic)
{
    struct rig rig;

    rig_open(&rig);
    CHECK(rig.dev->ops->link_up(rig.dev));
    CHECK_EQ(rig.dev->mtu_bytes, 1500);
    CHECK_EQ(memcmp(rig.dev->mac, rig.fake.mac, 6), 0);
    rig.fake.link = 0;
    rig.now_ns += 2 * SECOND_NS;
    run_server(&rig);
    struct netframe frame;
    CHECK_EQ(rig.dev->ops->receive(rig.dev, &frame, 1), 0);
    CHECK(!rig.dev->ops->link_up(rig.dev));
    rig.fake.link = VIRTIO_NET_STATUS_LINK_UP;
    rig.now_ns += 2 * SECOND_NS;
    run_server(&rig);
    CHECK_EQ(rig.dev->ops->receive(rig.dev, &frame, 1), 0);
    CHECK(rig.dev->ops->link_up(rig.dev));
    rig_close(&rig);
}

TEST(frames_go_through_the_ring_without_a_copy)
{
    struct rig rig;

    rig_open(&rig);
    for (unsigned i = 0; i < 3000; i++) {
        echo_one(&rig, 14 + (i * 31u) % 1501u, (uint8_t)i);
    }
    CHECK_EQ(rig.dev->counters.rx_frames, 3000);
    CHECK_EQ(rig.server.counters.violations + rig.server.counters.refused, 0);
    rig_close(&rig);
}

TEST(one_buffer_may_be_sent_twice_at_once)
{
    struct rig rig;
    struct netframe frame;

    rig_open(&rig);
    for (unsigned i = 0; i < 100; i++) {
        frame = (struct netframe){netbuf_take(rig.dev->pool), 0, 60};
        netbuf_hold(rig.dev->pool, frame.buffer);
        CHECK_EQ(rig.dev->ops->transmit(rig.dev, &frame, 1), 1);
        CHECK_EQ(rig.dev->ops->transmit(rig.dev, &frame, 1), 1);
        run_server(&rig);
        CHECK_EQ(virtio_fake_send(&rig.fake, 1), 1);
        run_server(&rig);
        struct netframe none;
        CHECK_EQ(rig.dev->ops->receive(rig.dev, &none, 1), 0);
        CHECK_EQ(rig.dev->pool->references[frame.buffer], 1);
        CHECK_EQ(virtio_fake_send(&rig.fake, 9), 1);
        run_server(&rig);
        CHECK_EQ(rig.dev->ops->receive(rig.dev, &none, 1), 0);
        CHECK_EQ(rig.dev->pool->references[frame.buffer], 0);
    }
    CHECK_EQ(rig.server.counters.violations, 0);
    rig_close(&rig);
}

TEST(a_full_ring_refuses_frames)
{
    struct rig rig;
    struct netframe frames[NETDEV_BURST_MAX];
    uint32_t sent = 0;

    rig_open(&rig);
    for (unsigned i = 0; i < 3; i++) {
        for (uint32_t j = 0; j < NETDEV_BURST_MAX; j++) {
            frames[j] = (struct netframe){netbuf_take(rig.dev->pool), 10, 60};
        }
        uint32_t taken = rig.dev->ops->transmit(rig.dev, frames, NETDEV_BURST_MAX);
        for (uint32_t j = taken; j < NETDEV_BURST_MAX; j++) {
            netbuf_drop(rig.dev->pool, frames[j].buffer);
        }
        sent += taken;
    }
    CHECK_EQ(sent, ENTRIES / 2 - 1);
    run_server(&rig);
    CHECK_EQ(virtio_fake_send(&rig.fake, 100), sent);
    run_server(&rig);
    CHECK_EQ(rig.dev->ops->receive(rig.dev, frames, NETDEV_BURST_MAX), 0);
    echo_one(&rig, 100, 1);
    rig_close(&rig);
}

TEST(doorbells_ring_only_for_sleepers)
{
    struct rig rig;
    uint8_t frame[60] = {0};
    struct netframe got[2];

    rig_open(&rig);
    run_server(&rig);
    CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 2), 0);
    unsigned client_rung = rig.client_rung;
    CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
    run_server(&rig);
    CHECK_EQ(rig.client_rung, client_rung);
    CHECK(!rig.dev->ops->arm(rig.dev));
    CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 2), 1);
    netbuf_drop(rig.dev->pool, got[0].buffer);
    CHECK(rig.dev->ops->arm(rig.dev));
    CHECK(virtio_fake_deliver(&rig.fake, frame, sizeof frame));
    run_server(&rig);
    CHECK_EQ(rig.client_rung, client_rung + 1);
    rig.dev->ops->disarm(rig.dev);
    CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 2), 1);

    run_server(&rig);
    unsigned server_rung = rig.server_rung;
    CHECK(nic_server_arm(&rig.server));
    CHECK_EQ(rig.dev->ops->transmit(rig.dev, got, 1), 1);
    CHECK_EQ(rig.server_rung, server_rung + 1);
    nic_server_disarm(&rig.server);
    rig_close(&rig);
}

TEST(a_server_that_starts_anew_is_met_and_nothing_is_lost)
{
    struct rig rig;
    struct netframe got[4];

    rig_open(&rig);
    for (unsigned i = 0; i < 50; i++) {
        echo_one(&rig, 100, (uint8_t)i);
        /* Work on both sides is cut off. */
        struct netframe kept = {netbuf_take(rig.dev->pool), 0, 60};
        netbuf_hold(rig.dev->pool, kept.buffer);
        CHECK_EQ(rig.dev->ops->transmit(rig.dev, &kept, 1), 1);
        if (i % 2 != 0) {
            run_server(&rig);
        }
        rig.server_runs = false;
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 4), 0);
        CHECK_EQ(rig.dev->pool->references[kept.buffer], 2); /* the NIC may still read it */
        start_server(&rig);
        CHECK_EQ(rig.dev->ops->receive(rig.dev, got, 4), 0); /* notices */
        CHECK(!rig.dev->ops->link_up(rig.dev));
        CHECK_EQ(rig.dev->pool->references[kept.buffer], 2);
        reconnect(&rig);
        CHECK_EQ(rig.dev->pool->references[kept.buffer], 1);
        netbuf_drop(rig.dev->pool, kept.buffer);
        echo_one(&rig, 60, 3);
        CHECK_EQ(rig.dev->pool->free_count, BUFFERS - ENTRIES / 2);
    }
    CHECK_EQ(rig.dev->counters.resets, 50);
    rig_close(&rig);
}

TEST(a_client_that_starts_anew_is_served)
{
    struct rig rig;

    rig_open(&rig);
    for (unsigned i = 0; i < 50; i++) {
        struct netframe frame = {netbuf_take(rig.dev->pool), 0, 60};
        CHECK_EQ(rig.dev->ops->transmit(rig.dev, &frame, 1), 1);
        run_server(&rig);
        start_client(&rig); /* the pool and all state are new */
        echo_one(&rig, 100, (uint8_t)i);
        CHECK_EQ(rig.dev->pool->free_count, BUFFERS - ENTRIES / 2);
    }
    CHECK_EQ(rig.server.counters.sessions, 51);
    rig_close(&rig);
}

/* Stand for the first buffer that is lent, or that the client has. */
#define SOME_LENT 1000000u
#define SOME_FREE 1000001u

static uint32_t find_buffer(const struct rig *rig, uint32_t buffer)
{
    for (uint32_t i = 0; i < BUFFERS && buffer >= SOME_LENT && buffer <= SOME_FREE; i++) {
        if ((rig->server.owner[i] != 0) == (buffer == SOME_LENT)) {
            return i;
        }
    }
    return buffer;
}

/* Submits one operation behind the client's back. */
static void submit_raw(struct rig *rig, const struct ring_submission *submission)
{
    struct ring_shared *shared = (struct ring_shared *)(void *)rig->shared.base;
    struct ring_submission *entries =
        (struct ring_submission *)(void *)(rig->shared.base + RING_ENTRIES_OFFSET);

    struct ring_submission *entry = &entries[shared->submit_tail & (ENTRIES - 1u)];
    *entry = *submission;
    entry->buffer = find_buffer(rig, submission->buffer);
    shared->submit_tail++;
    run_server(rig);
}

TEST(a_client_that_breaks_the_rules_is_left_until_it_starts_anew)
{
    static const struct ring_submission bad[] = {
        {.operation = RING_NET_RECEIVE, .buffer = BUFFERS},
        {.operation = RING_NET_RECEIVE, .buffer = 0xffffffff},
        {.operation = RING_NET_RECEIVE, .buffer = SOME_LENT},
        {.operation = RING_NET_TRANSMIT, .buffer = SOME_LENT, .length = 60},
        {.operation = RING_NET_TRANSMIT, .buffer = BUFFERS, .length = 60},
        {.operation = RING_NET_TRANSMIT, .buffer = SOME_FREE, .length = 2049},
        {.operation = RING_NET_TRANSMIT, .buffer = SOME_FREE, .offset = 2000, .length = 60},
        {.operation = RING_NET_TRANSMIT, .buffer = SOME_FREE, .offset = 0xffffffff, .length = 60},
    };
    struct rig rig;

    rig_open(&rig);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        submit_raw(&rig, &bad[i]);
        CHECK_EQ(rig.server.counters.violations, i + 1);
        CHECK_EQ(rig.server.ring.session, RING_SESSION_CLOSED);
        struct netframe frame;
        CHECK_EQ(rig.dev->ops->receive(rig.dev, &frame, 1), 0);
        CHECK(!rig.dev->ops->link_up(rig.dev));
        reconnect(&rig);
        echo_one(&rig, 100, (uint8_t)i);
        rig.now_ns += 20 * SECOND_NS;
        rig.dev->ops->tick(rig.dev, rig.now_ns);
    }
    rig_close(&rig);
}

TEST(too_many_operations_are_a_violation)
{
    struct rig rig;

    rig_open(&rig);
    for (unsigned i = 0; i <= ENTRIES; i++) {
        submit_raw(&rig, &(struct ring_submission){
                             .operation = RING_NET_TRANSMIT, .buffer = SOME_FREE, .length = 60});
    }
    CHECK_EQ(rig.server.counters.violations, 1);
    reconnect(&rig);
    rig_close(&rig);
}

TEST(an_operation_that_cannot_be_done_is_refused)
{
    struct rig rig;
    struct ring_shared *shared;

    rig_open(&rig);
    shared = (struct ring_shared *)(void *)rig.shared.base;
    uint32_t before = shared->complete_tail;
    submit_raw(&rig, &(struct ring_submission){.operation = 99});
    submit_raw(&rig,
               &(struct ring_submission){.operation = RING_NET_TRANSMIT, .buffer = SOME_FREE});
    submit_raw(&rig, &(struct ring_submission){.operation = RING_NET_STATUS, .argument = 1});
    CHECK_EQ(shared->complete_tail, before + 3);
    CHECK_EQ(rig.server.counters.refused, 3);
    CHECK_EQ(rig.server.counters.violations, 0);
    rig_close(&rig);
}

static uint32_t random_state = 4242;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % bound;
}

static void mutate(struct rig *rig)
{
    uint32_t *words = (uint32_t *)(void *)rig->shared.base;
    uint32_t first = 16u; /* behind the supervisor's line */
    uint32_t bound = (RING_ENTRIES_OFFSET + 2u * ENTRIES * 32u) / 4u - first;

    if (random_below(2)) {
        bound = RING_ENTRIES_OFFSET / 4u - first;
    }
    words[first + random_below(bound)] = random_below(2) ? random_below(200) : random_state;
}

/* Anything in the shared memory, at any time: neither side breaks (the sanitizers watch), no
 * buffer is lost, and both come together again once it ends. */
TEST(nothing_in_the_shared_memory_harms_either_side)
{
    struct rig rig;
    struct netframe got[NETDEV_BURST_MAX];
    uint8_t frame[1514] = {1};
    uint64_t received = 0;

    rig_open(&rig);
    for (unsigned step = 0; step < 200000; step++) {
        if (random_below(20) == 0) {
            mutate(&rig);
        }
        (void)virtio_fake_deliver(&rig.fake, frame, 14 + random_below(1501));
        (void)virtio_fake_send(&rig.fake, random_below(4));
        (void)nic_server_poll(&rig.server, rig.now_ns);
        if (nic_server_arm(&rig.server)) {
            nic_server_disarm(&rig.server);
        }
        uint32_t count = rig.dev->ops->receive(rig.dev, got, 1 + random_below(8));
        received += count;
        for (uint32_t i = 0; i < count; i++) {
            CHECK(got[i].offset + got[i].length <= BUFFER_BYTES);
            CHECK_EQ(rig.dev->pool->references[got[i].buffer], 1);
        }
        uint32_t taken = rig.dev->ops->transmit(rig.dev, got, count);
        for (uint32_t i = taken; i < count; i++) {
            netbuf_drop(rig.dev->pool, got[i].buffer);
        }
        if (rig.dev->ops->arm(rig.dev)) {
            rig.dev->ops->disarm(rig.dev);
        }
        rig.now_ns += SECOND_NS;
        rig.dev->ops->tick(rig.dev, rig.now_ns);
    }
    CHECK(received > 5000);
    CHECK(rig.server.counters.violations > 10);
    CHECK(rig.dev->counters.resets > 100);
    rig.now_ns += 20 * SECOND_NS;
    /* A spoilt cursor or generation may stand until the next session. */
    start_server(&rig);
    for (unsigned i = 0; i < 10; i++) {
        uint32_t count = rig.dev->ops->receive(rig.dev, got, NETDEV_BURST_MAX);
        while (count > 0) {
            netbuf_drop(rig.dev->pool, got[--count].buffer);
        }
    }
    reconnect(&rig);
    rig.fake.faults = 0;
    echo_one(&rig, 100, 9);
    rig_close(&rig);
}
