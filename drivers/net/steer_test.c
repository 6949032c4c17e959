// SPDX-License-Identifier: MIT OR Apache-2.0
/* Where frames belong, and that they get there; with real threads, that no wake-up is lost. */
#include "drivers/net/steer.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "tests/check.h"

#define BUFFERS 64u
#define PORTS 3u

/* A pair that gives what the test puts in. */
struct pair {
    struct netdev dev;
    struct netbuf_pool pool;
    void *bookkeeping;
    struct netframe frames[8];
    uint32_t count;
    bool armed;
};

static struct pair pairs[PORTS];
static struct netdev *ports[PORTS];
static struct steer *steer;
static uint32_t woken[PORTS];

static uint32_t pair_receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct pair *pair = (struct pair *)dev;
    uint32_t count = pair->count < max ? pair->count : max;

    memcpy(frames, pair->frames, count * sizeof frames[0]);
    pair->count = 0;
    return count;
}

static bool pair_arm(struct netdev *dev)
{
    ((struct pair *)dev)->armed = true;
    return true;
}

static void pair_disarm(struct netdev *dev)
{
    ((struct pair *)dev)->armed = false;
}

static const struct netdev_ops pair_ops = {
    .receive = pair_receive, .arm = pair_arm, .disarm = pair_disarm};

static void wake(void *context, uint32_t port)
{
    (void)context;
    woken[port]++;
}

static void start(void)
{
    steer = steer_init(aligned_alloc(64, steer_bytes(PORTS)), PORTS);
    steer->wake = wake;
    memset(woken, 0, sizeof woken);
    for (uint32_t i = 0; i < PORTS; i++) {
        struct pair *pair = &pairs[i];
        memset(pair, 0, sizeof *pair);
        pair->bookkeeping = malloc(netbuf_pool_bookkeeping_bytes(BUFFERS));
        CHECK_EQ(netbuf_pool_init(&pair->pool, aligned_alloc(PAGE_BYTES, BUFFERS * 2048u), BUFFERS,
                                  2048, NULL, pair->bookkeeping),
                 STATUS_OK);
        pair->dev.ops = &pair_ops;
        pair->dev.pool = &pair->pool;
        pair->dev.queue = (uint16_t)i;
        ports[i] = steer_add(steer, i, &pair->dev);
    }
}

static void stop(void)
{
    for (uint32_t i = 0; i < PORTS; i++) {
        CHECK_EQ(pairs[i].pool.free_count, BUFFERS);
        free(pairs[i].pool.base);
        free(pairs[i].bookkeeping);
    }
    free(steer);
}

static uint32_t sums; /* flags of the frames that are put, and got again */

static void put(uint32_t to, const uint8_t *frame, uint32_t length)
{
    struct pair *pair = &pairs[to];
    uint32_t buffer = netbuf_take(&pair->pool);

    memcpy(netbuf_data(&pair->pool, buffer) + 64, frame, length);
    pair->frames[pair->count++] =
        (struct netframe){buffer, (uint16_t)(64u | sums), (uint16_t)length};
}

/* How many frames port `at` has, all of which are this one. */
static uint32_t get(uint32_t at, const uint8_t *frame, uint32_t length)
{
    struct netframe frames[NETDEV_BURST_MAX];
    uint32_t count = ports[at]->ops->receive(ports[at], frames, NETDEV_BURST_MAX);

    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(frames[i].length, length);
        CHECK_EQ(memcmp(frame_data(&pairs[at].pool, &frames[i]), frame, length), 0);
        CHECK_EQ(frames[i].offset & NETFRAME_SUM_FLAGS, sums);
        netbuf_drop(&pairs[at].pool, frames[i].buffer);
    }
    return count;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

static uint8_t frame[100];

static uint8_t *ethernet(uint16_t type)
{
    memset(frame, 0, sizeof frame);
    store_be16(frame + 12, type);
    return frame + 14;
}

static enum steer_way ipv4_way_of(uint8_t protocol, uint16_t fragment, uint8_t first, uint16_t port)
{
    uint8_t *at = ethernet(0x0800);

    at[0] = 0x45;
    store_be16(at + 6, fragment);
    at[9] = protocol;
    at[20] = first;
    store_be16(at + 22, port);
    return steer_way_of(frame, sizeof frame);
}

static enum steer_way ipv6_way_of(uint8_t protocol, uint8_t first)
{
    uint8_t *at = ethernet(0x86dd);

    at[0] = 0x60;
    at[6] = protocol;
    at[40] = first;
    return steer_way_of(frame, sizeof frame);
}

TEST(each_kind_of_frame_has_its_place)
{
    CHECK_EQ(ipv4_way_of(6, 0x4000, 0, 80), STEER_HERE);
    CHECK_EQ(ipv4_way_of(17, 0, 0, 53), STEER_HERE);
    CHECK_EQ(ipv4_way_of(17, 0, 0, 68), STEER_FIRST);
    CHECK_EQ(ipv4_way_of(6, 0x2000, 0, 80), STEER_EVERYWHERE);
    CHECK_EQ(ipv4_way_of(17, 0x0001, 0, 80), STEER_EVERYWHERE);
    CHECK_EQ(ipv4_way_of(1, 0, 8, 0), STEER_FIRST);
    CHECK_EQ(ipv4_way_of(1, 0, 3, 0), STEER_EVERYWHERE);
    CHECK_EQ(ipv4_way_of(1, 0, 11, 0), STEER_EVERYWHERE);
    CHECK_EQ(ipv4_way_of(47, 0, 0, 0), STEER_FIRST);
    CHECK_EQ(ipv6_way_of(6, 0), STEER_HERE);
    CHECK_EQ(ipv6_way_of(17, 0), STEER_HERE);
    CHECK_EQ(ipv6_way_of(44, 0), STEER_EVERYWHERE);
    CHECK_EQ(ipv6_way_of(58, 1), STEER_EVERYWHERE);
    CHECK_EQ(ipv6_way_of(58, 128), STEER_FIRST);
    CHECK_EQ(ipv6_way_of(58, 134), STEER_EVERYWHERE);
    CHECK_EQ(ipv6_way_of(58, 135), STEER_FIRST);
    CHECK_EQ(ipv6_way_of(58, 136), STEER_EVERYWHERE);
    CHECK_EQ(ipv6_way_of(0, 0), STEER_FIRST);
    ethernet(0x0806)[7] = 1;
    CHECK_EQ(steer_way_of(frame, 42), STEER_FIRST);
    frame[14 + 7] = 2;
    CHECK_EQ(steer_way_of(frame, 42), STEER_EVERYWHERE);
}

/* Read to their end and no further (the sanitizer looks). */
TEST(frames_of_any_length_are_read_inside)
{
    uint32_t random = 1;

    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t length = round % 100u;
        uint8_t *copy = malloc(length != 0 ? length : 1);
        static const uint16_t types[] = {0x0800, 0x86dd, 0x0806, 0x1234};
        for (uint32_t i = 0; i < length; i++) {
            random = random * 1664525u + 1013904223u;
            copy[i] = (uint8_t)(random >> 24);
        }
        if (length >= 14) {
            store_be16(copy + 12, types[round / 100u % 4u]);
        }
        (void)steer_way_of(copy, length);
        free(copy);
    }
}

TEST(frames_get_where_they_belong)
{
    start();
    (void)ipv4_way_of(6, 0, 0, 80);
    put(1, frame, 60);
    CHECK_EQ(get(0, frame, 60) + get(2, frame, 60), 0);
    CHECK_EQ(get(1, frame, 60), 1);
    (void)ipv4_way_of(17, 0, 0, 68); /* DHCP's answer came to another pair */
    put(2, frame, 90);
    CHECK_EQ(get(2, frame, 90), 0);
    CHECK_EQ(get(1, frame, 90), 0);
    CHECK_EQ(get(0, frame, 90), 1);
    sums = NETFRAME_SUM_OPEN;
    put(1, frame, 90);
    CHECK_EQ(get(1, frame, 90), 0);
    CHECK_EQ(get(0, frame, 90), 1);
    sums = 0;
    (void)ipv4_way_of(17, 0x2000, 0, 7);
    put(1, frame, 100);
    put(1, frame, 100);
    CHECK_EQ(get(1, frame, 100), 2);
    CHECK_EQ(get(0, frame, 100), 2);
    CHECK_EQ(get(2, frame, 100), 2);
    CHECK_EQ(steer->ports[1].handed, 5);
    stop();
}

/* Where the device chooses by itself, each flow's frames still come to one instance: its owner. */
TEST(an_unsteered_devices_flows_come_to_their_owners)
{
    unsigned handed = 0;

    start();
    for (uint32_t flow = 0; flow < 300; flow++) {
        bool v6 = flow % 2u != 0;
        uint32_t at = flow % PORTS;
        uint8_t ends[36];
        if (v6) {
            (void)ipv6_way_of(17, (uint8_t)(flow >> 2));
        } else {
            (void)ipv4_way_of(6, 0, (uint8_t)(flow >> 2), 7);
        }
        uint32_t length = v6 ? 32u : 8u;
        memcpy(ends, frame + (v6 ? 22 : 26), length);
        memcpy(ends + length, frame + (v6 ? 54 : 34), 4);
        uint32_t owner = PORTS;
        for (uint32_t i = 0; i < PORTS; i++) {
            pairs[i].dev.unsteered = true;
            owner = steer_owns(ports[i], ends, length + 4u) ? i : owner;
        }
        put(at, frame, 90);
        CHECK_EQ(get(at, frame, 90), at == owner);
        for (uint32_t i = 0; i < PORTS; i++) {
            CHECK_EQ(get(i, frame, 90), i == owner && i != at);
        }
        handed += at != owner;
    }
    CHECK(handed > 150 && handed < 250);
    /* Too short for ports: stays where it came. */
    (void)ipv4_way_of(6, 0, 0, 7);
    put(1, frame, 37);
    CHECK_EQ(get(1, frame, 37), 1);
    (void)ipv6_way_of(6, 0);
    put(2, frame, 57);
    CHECK_EQ(get(2, frame, 57), 1);
    stop();
}

TEST(a_full_queue_drops_and_counts)
{
    start();
    (void)ipv4_way_of(47, 0, 0, 0);
    for (uint32_t i = 0; i < STEER_SLOTS + 5u; i++) {
        put(1, frame, 60);
        CHECK_EQ(get(1, frame, 60), 0);
    }
    CHECK_EQ(steer->ports[1].lost, 5);
    CHECK_EQ(get(0, frame, 60), STEER_SLOTS);
    CHECK_EQ(get(0, frame, 60), 0);
    put(2, frame, 60);
    while (netbuf_take(&pairs[0].pool) != NETBUF_NONE) { /* no buffers: it waits */
    }
    CHECK_EQ(get(2, frame, 60), 0);
    CHECK_EQ(get(0, frame, 60), 0);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        netbuf_drop(&pairs[0].pool, i);
    }
    CHECK_EQ(get(0, frame, 60), 1);
    stop();
}

TEST(sleepers_are_woken_and_nobody_else)
{
    start();
    (void)ipv4_way_of(47, 0, 0, 0);
    put(1, frame, 60);
    CHECK_EQ(get(1, frame, 60), 0);
    CHECK_EQ(woken[0], 0);
    CHECK(!ports[0]->ops->arm(ports[0])); /* a frame is there already */
    CHECK(!pairs[0].armed);
    CHECK_EQ(get(0, frame, 60), 1);
    CHECK(ports[0]->ops->arm(ports[0]));
    put(1, frame, 60);
    CHECK_EQ(get(1, frame, 60), 0);
    CHECK_EQ(woken[0], 1);
    ports[0]->ops->disarm(ports[0]);
    put(1, frame, 60);
    CHECK_EQ(get(1, frame, 60), 0);
    CHECK_EQ(woken[0], 1);
    CHECK_EQ(get(0, frame, 60), 2);
    stop();
}

/* ---- Two threads ----------------------------------------------------------------------------- */

#define HANDED 20000u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t bell = PTHREAD_COND_INITIALIZER;
static bool rung;

static void ring(void *context, uint32_t port)
{
    (void)context;
    (void)port;
    pthread_mutex_lock(&lock);
    rung = true;
    pthread_cond_signal(&bell);
    pthread_mutex_unlock(&lock);
}

/* The first port's owner: sleeps whenever it may. */
static void *receiver(void *argument)
{
    uint32_t *count = argument;

    while (*count < HANDED) {
        uint32_t got = get(0, frame, 60);
        *count += got;
        if (got == 0 && ports[0]->ops->arm(ports[0])) {
            pthread_mutex_lock(&lock);
            while (!rung) {
                pthread_cond_wait(&bell, &lock); /* for ever, if a wake-up is lost */
            }
            rung = false;
            pthread_mutex_unlock(&lock);
            ports[0]->ops->disarm(ports[0]);
        }
    }
    return NULL;
}

TEST(no_wake_up_is_lost_between_threads)
{
    pthread_t thread;
    uint32_t count = 0;

    start();
    steer->wake = ring;
    (void)ipv4_way_of(47, 0, 0, 0);
    CHECK_EQ(pthread_create(&thread, NULL, receiver, &count), 0);
    for (uint32_t sent = 0; sent < HANDED;) {
        uint64_t lost = steer->ports[1].lost;
        put(1, frame, 60);
        CHECK_EQ(get(1, frame, 60), 0);
        sent += lost == steer->ports[1].lost;
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(count, HANDED);
    stop();
}

TEST(an_instance_owns_the_flows_of_its_pair)
{
    uint32_t owned[PORTS] = {0};
    uint8_t flow[TOEPLITZ_IPV6_BYTES] = {10, 0, 0, 1, 10, 0, 0, 2};

    start();
    for (uint32_t port = 0; port < 3000; port++) {
        uint32_t owners = 0;
        store_be16(flow + 8, (uint16_t)(port + 1000u));
        store_be16(flow + 10, 7);
        for (uint32_t i = 0; i < PORTS; i++) {
            bool own = steer_owns(ports[i], flow,
                                  port % 2u != 0 ? TOEPLITZ_IPV4_BYTES : TOEPLITZ_IPV6_BYTES);
            owners += own;
            owned[i] += own;
        }
        CHECK_EQ(owners, 1);
    }
    for (uint32_t i = 0; i < PORTS; i++) {
        CHECK(owned[i] > 500);
        CHECK_EQ(steer_owns(ports[i], flow, 0), i == 0);
    }
    stop();
}
