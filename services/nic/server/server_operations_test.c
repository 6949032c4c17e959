// SPDX-License-Identifier: MIT OR Apache-2.0
/* Linked and multi-shot operations, cancelling and pools at the NIC's server: a client that uses
 * the ring itself, first by the rules, then at random. Client and server share a thread, as they do
 * where both are in one cell. */
#include "services/nic/server/server_internal.h"

#include <stdlib.h>

#include "drivers/dma_fake.h"
#include "drivers/net/virtio/virtio_fake.h"
#include "tests/check.h"

#define ENTRIES 32u
#define BUFFERS 64u
#define BUFFER_BYTES 2048u
#define POOL_OFFSET PAGE_BYTES
#define SHARED_BYTES (POOL_OFFSET + BUFFERS * BUFFER_BYTES)
#define SECOND_NS 1000000000ull

static struct virtio_fake fake;
static struct dma_region shared, dma;
static struct cell_ring ring;
static struct nic_server server;
static struct ring_client client;
static void *memory;
static time_ns_t now_ns;
static unsigned client_rung;

static time_ns_t get_now(void *context)
{
    (void)context;
    return now_ns;
}

static void relax(void *context)
{
    (void)context;
    now_ns += 1000000;
}

static void doorbell(void *context, cap_slot_t slot)
{
    (void)context;
    (void)slot;
    client_rung++;
}

static void run(void)
{
    for (unsigned i = 0; i < 200; i++) {
        if (!nic_server_poll(&server, now_ns) && nic_server_arm(&server)) {
            nic_server_disarm(&server);
            return;
        }
    }
    CHECK(!"the server comes to rest");
}

static void connect(void)
{
    ring_client_start(&client);
    for (unsigned i = 0; i < 50 && !ring_client_connect(&client); i++) {
        run();
        now_ns += SECOND_NS;
    }
    CHECK_EQ(client.session, RING_SESSION_OPEN);
    run();
}

static void start(void)
{
    virtio_fake_init(&fake);
    shared = dma_fake_create(SHARED_BYTES);
    dma = dma_fake_create(NETDEV_DMA_BYTES);
    now_ns = SECOND_NS;
    struct ring_shared *header = (struct ring_shared *)(void *)shared.base;
    header->magic = RING_MAGIC;
    header->version = RING_VERSION;
    header->entries = ENTRIES;
    ring = (struct cell_ring){
        .name = "net",
        .role = CELL_RING_SERVER,
        .entries = ENTRIES,
        .buffer_count = BUFFERS,
        .buffer_bytes = BUFFER_BYTES,
        .address = shared.base,
        .bytes = SHARED_BYTES,
        .pool_offset = POOL_OFFSET,
        .pool_page_device_address = shared.page_device_address + POOL_OFFSET / PAGE_BYTES,
    };
    memory = aligned_alloc(64, nic_server_memory_bytes(BUFFERS, ENTRIES));
    CHECK_EQ(nic_server_init(&server,
                             &(struct nic_server_config){
                                 .device = &fake.device,
                                 .ring = &ring,
                                 .dma = dma,
                                 .memory = memory,
                                 .memory_bytes = nic_server_memory_bytes(BUFFERS, ENTRIES),
                                 .environment = {get_now, relax, doorbell, NULL},
                             }),
             STATUS_OK);
    CHECK_EQ(ring_client_init(&client, shared.base, ENTRIES), STATUS_OK);
    connect();
}

static void stop(void)
{
    CHECK_EQ(fake.faults, 0);
    CHECK_EQ(nic_server_stop(&server), STATUS_OK);
    virtio_fake_destroy(&fake);
    dma_fake_destroy(&shared);
    dma_fake_destroy(&dma);
    free(memory);
}

static void submit(const struct ring_submission *submission)
{
    CHECK(ring_room(&client.submit, 1) >= 1);
    ring_submit(&client, submission);
    (void)ring_publish(&client.submit);
}

static void submit_and_run(const struct ring_submission *submission)
{
    submit(submission);
    run();
}

/* The next completion. */
static struct ring_completion reap(void)
{
    struct ring_completion completion = {.user_data = ~0ull};

    CHECK(ring_pending(&client.complete) > 0);
    if (ring_pending(&client.complete) > 0) {
        ring_reap(&client, &completion);
    }
    (void)ring_release_wake(&client.complete);
    return completion;
}

#define EXPECT(wanted_user_data, wanted_result, wanted_flags)                                      \
    do {                                                                                           \
        struct ring_completion got = reap();                                                       \
        CHECK_EQ(got.user_data, wanted_user_data);                                                 \
        CHECK_EQ(got.result, wanted_result);                                                       \
        CHECK_EQ(got.flags, wanted_flags);                                                         \
    } while (0)

static void quiet(void)
{
    CHECK_EQ(ring_pending(&client.complete), 0);
    CHECK_EQ(server.counters.violations, 0);
}

static struct ring_submission transmit(uint32_t buffer, uint32_t length, uint16_t flags)
{
    return (struct ring_submission){.operation = RING_NET_TRANSMIT,
                                    .flags = flags,
                                    .buffer = buffer,
                                    .length = length,
                                    .user_data = 100u + buffer};
}

static void deliver(uint32_t bytes)
{
    static const uint8_t frame[1514] = {0x12};

    CHECK(virtio_fake_deliver(&fake, frame, bytes));
    run();
}

/* ---- Linked operations ------------------------------------------------------------------------
 */

TEST(a_linked_frame_waits_for_the_one_before)
{
    start();
    struct ring_submission first = transmit(0, 60, RING_LINK);
    struct ring_submission second = transmit(1, 70, RING_LINK);
    struct ring_submission nop = {.operation = RING_NOP, .user_data = 7};
    struct ring_submission other = transmit(2, 80, 0);
    submit(&first);
    submit(&second);
    submit(&nop);
    submit_and_run(&other);
    CHECK_EQ(virtio_fake_send(&fake, 9), 2); /* the first and the one that is not of the chain */
    run();
    EXPECT(100, 60, 0);
    EXPECT(102, 80, 0);
    quiet();
    CHECK_EQ(virtio_fake_send(&fake, 9), 1);
    run();
    EXPECT(101, 70, 0);
    EXPECT(7, 0, 0);
    quiet();
    stop();
}

TEST(what_follows_a_failure_is_cancelled)
{
    start();
    struct ring_submission bad = transmit(0, 5, RING_LINK);
    struct ring_submission then = transmit(1, 70, RING_LINK);
    struct ring_submission last = {.operation = RING_NET_RECEIVE, .buffer = 2, .user_data = 3};
    submit(&bad);
    submit(&then);
    submit_and_run(&last);
    EXPECT(100, STATUS_INVALID_ARGUMENT, 0);
    EXPECT(101, STATUS_CANCELLED, 0);
    EXPECT(3, STATUS_CANCELLED, 0);
    quiet();
    CHECK_EQ(virtio_fake_send(&fake, 9), 0);
    stop();
}

/* Answer each frame with one: receive, linked with a transmission of another buffer. */
TEST(a_frame_is_sent_when_one_has_come)
{
    start();
    for (uint32_t i = 0; i < 50; i++) {
        submit(&(struct ring_submission){
            .operation = RING_NET_RECEIVE, .flags = RING_LINK, .buffer = 4, .user_data = 5});
        struct ring_submission answer = transmit(6, 64, 0);
        submit_and_run(&answer);
        quiet();
        CHECK_EQ(virtio_fake_send(&fake, 9), 0);
        deliver(60);
        EXPECT(5, 60, 0);
        CHECK_EQ(virtio_fake_send(&fake, 9), 1);
        run();
        EXPECT(106, 64, 0);
    }
    quiet();
    stop();
}

TEST(one_that_waits_can_be_cancelled)
{
    start();
    struct ring_submission first = transmit(0, 60, RING_LINK);
    struct ring_submission second = transmit(1, 70, RING_LINK);
    struct ring_submission third = transmit(2, 80, 0);
    submit(&first);
    submit(&second);
    submit_and_run(&third);
    submit_and_run(
        &(struct ring_submission){.operation = RING_CANCEL, .argument = 101, .user_data = 1});
    EXPECT(1, STATUS_OK, 0);
    submit_and_run(
        &(struct ring_submission){.operation = RING_CANCEL, .argument = 100, .user_data = 1});
    EXPECT(1, STATUS_BUSY, 0); /* the NIC has it */
    submit_and_run(
        &(struct ring_submission){.operation = RING_CANCEL, .argument = 999, .user_data = 1});
    EXPECT(1, STATUS_NOT_FOUND, 0);
    CHECK_EQ(virtio_fake_send(&fake, 9), 1);
    run();
    EXPECT(100, 60, 0);
    EXPECT(101, STATUS_CANCELLED, 0);
    EXPECT(102, STATUS_CANCELLED, 0);
    quiet();
    stop();
}

/* ---- Multi-shot operations --------------------------------------------------------------------
 */

TEST(one_receive_takes_many_frames)
{
    start();
    submit_and_run(&(struct ring_submission){.operation = RING_NET_RECEIVE,
                                             .flags = RING_MULTI,
                                             .buffer = 10,
                                             .length = 8,
                                             .user_data = 77});
    submit_and_run(&(struct ring_submission){
        .operation = RING_NET_RECEIVE, .flags = RING_MULTI, .buffer = 30, .user_data = 78});
    EXPECT(78, STATUS_BUSY, 0);
    uint32_t frames = 0;
    for (uint32_t round = 0; round < 100; round++) {
        uint64_t mask = 0;
        for (uint32_t i = 0; i < 5; i++, frames++) {
            deliver(60 + i);
            struct ring_completion got = reap();
            CHECK_EQ(got.user_data, 77);
            CHECK_EQ(got.result, 60 + i);
            CHECK_EQ(got.flags, RING_MORE);
            CHECK(got.buffer >= 10 && got.buffer < 18);
            mask |= 1ull << (got.buffer - 10u);
        }
        submit_and_run(&(struct ring_submission){
            .operation = RING_NET_LEND, .buffer = 10, .argument = mask, .user_data = 1});
        EXPECT(1, STATUS_OK, 0);
    }
    quiet();
    submit_and_run(
        &(struct ring_submission){.operation = RING_CANCEL, .argument = 77, .user_data = 2});
    EXPECT(2, STATUS_OK, 0);
    submit_and_run(
        &(struct ring_submission){.operation = RING_NET_LEND, .argument = 1, .user_data = 3});
    EXPECT(3, STATUS_NOT_FOUND, 0);
    for (uint32_t i = 0; i < 8; i++) { /* those that the NIC has come back with frames */
        if (server.receive_lent > 0 && ring_pending(&client.complete) == 0) {
            deliver(60);
        }
        struct ring_completion got = reap();
        CHECK(got.result == 60 || got.result == STATUS_CANCELLED);
        CHECK_EQ(got.flags, RING_MORE);
    }
    run();
    EXPECT(77, STATUS_CANCELLED, 0);
    quiet();
    stop();
}

TEST(frames_wait_for_room_and_the_server_for_a_doorbell)
{
    start();
    submit_and_run(&(struct ring_submission){.operation = RING_NET_RECEIVE,
                                             .flags = RING_MULTI,
                                             .buffer = 0,
                                             .length = 48,
                                             .user_data = 1});
    for (uint32_t i = 0; i < 40; i++) {
        deliver(60);
    }
    /* One entry is kept for the last completion. */
    CHECK_EQ(ring_pending(&client.complete), ENTRIES - 1u);
    CHECK(server.room_short);
    CHECK(nic_server_arm(&server));
    CHECK(nic_server_deadline(&server) <= now_ns + 1000000u);
    struct ring_completion completion;
    ring_reap(&client, &completion);
    CHECK(ring_release_wake(&client.complete));
    nic_server_disarm(&server);
    run();
    for (uint32_t i = 0; i < 39; i++) {
        EXPECT(1, 60, RING_MORE);
        run();
    }
    quiet();
    CHECK(!ring_release_wake(&client.complete));
    stop();
}

TEST(the_link_is_watched)
{
    start();
    submit_and_run(&(struct ring_submission){
        .operation = RING_NET_STATUS, .flags = RING_MULTI, .argument = 2, .user_data = 9});
    EXPECT(9, 1, RING_MORE);
    for (uint32_t i = 0; i < 4; i++) {
        fake.link = (uint16_t)(i % 2u == 0 ? 0 : VIRTIO_NET_STATUS_LINK_UP);
        now_ns += 2 * SECOND_NS;
        run();
        EXPECT(9, i % 2u, RING_MORE);
    }
    submit_and_run(
        &(struct ring_submission){.operation = RING_CANCEL, .argument = 9, .user_data = 2});
    EXPECT(9, STATUS_CANCELLED, 0);
    EXPECT(2, STATUS_OK, 0);
    quiet();
    stop();
}

/* ---- Pools ------------------------------------------------------------------------------------
 */

static void pool(uint16_t operation, uint32_t number, uint32_t first, uint32_t count)
{
    submit_and_run(&(struct ring_submission){.operation = operation,
                                             .buffer = first,
                                             .length = count,
                                             .argument = number,
                                             .user_data = 50});
}

TEST(pools_come_and_go_while_the_ring_runs)
{
    start();
    pool(RING_POOL_ADD, 1, 0, 8);
    EXPECT(50, STATUS_IN_USE, 0); /* all buffers are in pool 0 */
    pool(RING_POOL_REMOVE, 0, 0, 0);
    EXPECT(50, STATUS_OK, 0);
    pool(RING_POOL_REMOVE, 0, 0, 0);
    EXPECT(50, STATUS_NOT_FOUND, 0);
    static const struct {
        uint32_t number, first, count;
        status_t status;
    } adds[] = {
        {1, 0, 8, STATUS_OK},
        {1, 8, 8, STATUS_IN_USE},
        {2, 7, 1, STATUS_IN_USE},
        {2, 8, 0, STATUS_INVALID_ARGUMENT},
        {2, BUFFERS, 1, STATUS_INVALID_ARGUMENT},
        {2, 8, BUFFERS - 7, STATUS_INVALID_ARGUMENT},
        {2, 0xffffffff, 2, STATUS_INVALID_ARGUMENT},
        {RING_POOLS_MAX, 8, 8, STATUS_INVALID_ARGUMENT},
        {15, 8, BUFFERS - 8, STATUS_OK},
    };
    for (uint32_t i = 0; i < sizeof adds / sizeof adds[0]; i++) {
        pool(RING_POOL_ADD, adds[i].number, adds[i].first, adds[i].count);
        EXPECT(50, adds[i].status, 0);
    }
    pool(RING_POOL_REMOVE, 15, 0, 0);
    EXPECT(50, STATUS_OK, 0);
    quiet();
    /* A buffer of no pool is not the client's to name. */
    struct ring_submission outside = transmit(8, 60, 0);
    submit_and_run(&outside);
    CHECK_EQ(server.counters.violations, 1);
    connect(); /* a new session begins with all of them again */
    submit_and_run(&outside);
    CHECK_EQ(virtio_fake_send(&fake, 9), 1);
    run();
    EXPECT(108, 60, 0);
    stop();
}

TEST(a_pool_is_removed_when_nothing_uses_it)
{
    start();
    pool(RING_POOL_REMOVE, 0, 0, 0);
    EXPECT(50, STATUS_OK, 0);
    pool(RING_POOL_ADD, 3, 4, 4);
    EXPECT(50, STATUS_OK, 0);
    pool(RING_POOL_ADD, 4, 8, 40);
    EXPECT(50, STATUS_OK, 0);
    struct ring_submission frame = transmit(4, 60, 0);
    submit(&frame);
    submit(&frame);
    submit_and_run(
        &(struct ring_submission){.operation = RING_NET_RECEIVE, .buffer = 5, .user_data = 55});
    pool(RING_POOL_REMOVE, 3, 0, 0);
    CHECK_EQ(ring_pending(&client.complete), 0);
    CHECK_EQ(virtio_fake_send(&fake, 9), 2);
    run();
    EXPECT(104, 60, 0);
    EXPECT(104, 60, 0);
    quiet(); /* the NIC still has buffer 5 */
    pool(RING_POOL_ADD, 5, 4, 4);
    EXPECT(50, STATUS_IN_USE, 0);
    deliver(61);
    EXPECT(55, 61, 0);
    EXPECT(50, STATUS_OK, 0); /* the removal */
    pool(RING_POOL_ADD, 5, 4, 4);
    EXPECT(50, STATUS_OK, 0);
    quiet();
    stop();
}

/* ---- At random --------------------------------------------------------------------------------
 */

static uint32_t random_state = 99;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % bound;
}

/* How many of the buffers that the server may touch the rules say it has. */
static void check_server(void)
{
    uint32_t multi = 0;
    uint32_t singles = 0;

    for (uint32_t i = 0; i < BUFFERS; i++) {
        multi += server.owner[i] == NIC_BUFFER_MULTI;
        singles += server.owner[i] == NIC_BUFFER_SERVER || server.owner[i] == NIC_BUFFER_LINKED;
        bool known = false;
        for (uint32_t j = 0; j < RING_POOLS_MAX; j++) {
            known = known || i - server.pools[j].first < server.pools[j].count;
        }
        CHECK(known || (server.owner[i] == NIC_BUFFER_NONE && server.sending[i] == 0));
    }
    CHECK_EQ(server.receive_lent, multi);
    CHECK(server.outstanding <= ENTRIES);
    CHECK(singles + (server.queue_tail - server.queue_head) <= server.outstanding);
}

static void spoil(void)
{
    uint32_t *words = (uint32_t *)(void *)shared.base;

    words[16u + random_below((POOL_OFFSET - 64u) / 4u)] =
        random_below(2) ? random_below(64) : random_state;
}

TEST(nothing_that_a_client_asks_for_harms_the_server)
{
    static const uint8_t frame[1514] = {0x12};
    const char *wanted = getenv("RING_FUZZ_STEPS");
    uint32_t steps = wanted != NULL ? (uint32_t)strtoul(wanted, NULL, 10) : 200000u;
    uint64_t done = 0, more = 0, cancelled = 0;

    start();
    for (uint32_t step = 0; step < steps; step++) {
        bool angry = step % 1024u > 960u;
        for (uint32_t i = random_below(6); i > 0 && ring_room(&client.submit, 1) >= 1; i--) {
            struct ring_submission s = {
                .operation = (uint16_t)random_below(angry ? 10 : 8),
                .flags = (uint16_t)(random_below(4) != 0 ? 0 : random_below(angry ? 5 : 3)),
                .buffer = random_below(BUFFERS + angry),
                .length = 60u + random_below(angry ? 2000u : 100u),
                .argument = random_below(2) ? random_below(18) : 1ull << random_below(40),
                .user_data = random_below(20),
            };
            if (!angry && (s.operation == RING_NET_TRANSMIT || s.operation == RING_NET_RECEIVE)) {
                if (server.owner[s.buffer] != NIC_BUFFER_CLIENT || server.sending[s.buffer] != 0 ||
                    server.outstanding + 8u > ENTRIES) {
                    continue;
                }
                s.length = s.flags & RING_MULTI ? random_below(2) : s.length;
            }
            s.length = s.operation == RING_POOL_ADD ? 1u + s.length % BUFFERS : s.length;
            if (!angry && s.operation == RING_NET_LEND) {
                s.argument = 0;
                s.flags = 0;
            }
            ring_submit(&client, &s);
            (void)ring_publish(&client.submit);
            if (!angry || random_below(2)) {
                (void)nic_server_poll(&server, now_ns);
            }
        }
        if (angry && random_below(4) == 0) {
            spoil();
        }
        (void)virtio_fake_deliver(&fake, frame, 14 + random_below(1501));
        (void)virtio_fake_send(&fake, random_below(4));
        (void)nic_server_poll(&server, now_ns);
        if (nic_server_arm(&server)) {
            nic_server_disarm(&server);
        }
        check_server();
        uint32_t pending = client.session == RING_SESSION_OPEN && ring_client_alive(&client)
                               ? ring_pending(&client.complete)
                               : RING_VIOLATION;
        if (pending == RING_VIOLATION) {
            client.session = RING_SESSION_CLOSED;
            now_ns += SECOND_NS;
            ring_client_start(&client);
            for (uint32_t i = 0; i < 20 && !ring_client_connect(&client); i++) {
                (void)nic_server_poll(&server, now_ns);
                now_ns += SECOND_NS;
            }
            continue;
        }
        for (; pending > 0 && random_below(30) != 0; pending--) {
            struct ring_completion completion;
            ring_reap(&client, &completion);
            done++;
            more += completion.flags == RING_MORE;
            cancelled += completion.result == STATUS_CANCELLED;
        }
        (void)ring_release_wake(&client.complete);
        now_ns += SECOND_NS / 100u;
    }
    printf("%" PRIu64 " completions, %" PRIu64 " with more, %" PRIu64 " cancelled, %" PRIu64
           " violations\n",
           done, more, cancelled, server.counters.violations);
    CHECK(done > steps / 2u);
    CHECK(more > 100 && cancelled > 100 && server.counters.violations > 100);
    fake.faults = 0;
    stop();
}
