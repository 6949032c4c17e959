// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Two ports with real threads of their own beside the owner's, while the drive now and then breaks
 * the protocol and is reset: every request comes back once, what was written is read again, and the
 * queues are made anew only when nobody is at them. (make with -fsanitize=thread to look for
 * races.)
 */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "drivers/nvme/nvme_rig_test.h"

#define THREADS 2u
#define REQUESTS 2000u
#define DEPTH 8u
#define RESETS 4u

static struct rig rig;
static pthread_mutex_t device = PTHREAD_MUTEX_INITIALIZER; /* the fake's state */
static uint64_t (*fake_read)(void *context, size_t offset, unsigned width);
static void (*fake_write)(void *context, size_t offset, unsigned width, uint64_t value);

struct worker {
    struct nvme_port port;
    pthread_t thread;
    uint32_t index;
    uint8_t *data; /* DEPTH blocks */
    uint32_t good, failed, wrong, sleeps;
    bool done;
};

static struct worker workers[THREADS];

static uint64_t locked_read(void *context, size_t offset, unsigned width)
{
    pthread_mutex_lock(&device);
    uint64_t value = fake_read(context, offset, width);
    pthread_mutex_unlock(&device);
    return value;
}

static void locked_write(void *context, size_t offset, unsigned width, uint64_t value)
{
    pthread_mutex_lock(&device);
    fake_write(context, offset, width, value);
    pthread_mutex_unlock(&device);
}

static time_ns_t real_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* Slot k writes its own block, then reads it, and so on; the block holds the number of the write.
 */
static void take(struct worker *worker, const struct block_completion *done, uint32_t *numbers,
                 bool *busy, bool *reading)
{
    uint32_t slot = (uint32_t)done->cookie;
    uint32_t *block = (uint32_t *)(void *)(worker->data + slot * 512u);

    worker->wrong += slot >= DEPTH || !busy[slot];
    if (slot >= DEPTH) {
        return;
    }
    busy[slot] = false;
    if (done->status != STATUS_OK) {
        worker->failed++;
        reading[slot] = true; /* what a failed write left is not known: write again */
        return;
    }
    worker->good++;
    if (reading[slot]) {
        worker->wrong += block[0] != numbers[slot] || block[127] != ~numbers[slot];
    }
}

static void *work(void *context)
{
    struct worker *worker = context;
    uint32_t numbers[DEPTH] = {0};
    bool busy[DEPTH] = {false}, reading[DEPTH];
    uint32_t begun = 0, flying = 0;

    memset(reading, 1, sizeof reading);
    while ((worker->good < REQUESTS && worker->failed < REQUESTS) || flying != 0) {
        for (uint32_t slot = 0; slot < DEPTH && worker->good + flying < REQUESTS; slot++) {
            uint32_t *block = (uint32_t *)(void *)(worker->data + slot * 512u);
            struct block_request request = {.cookie = slot,
                                            .block = worker->index * 64u + slot,
                                            .blocks = 1,
                                            .operation = reading[slot] ? BLOCK_WRITE : BLOCK_READ,
                                            .data = block};
            if (busy[slot]) {
                continue;
            }
            uint32_t number = reading[slot] ? ++begun : numbers[slot];
            block[0] = reading[slot] ? number : 0;
            block[127] = reading[slot] ? ~number : 0;
            if (nvme_submit(&worker->port, &request, 1, real_ns()) == 1) {
                numbers[slot] = number;
                reading[slot] = !reading[slot];
                busy[slot] = true;
                flying++;
            }
        }
        struct block_completion done[DEPTH];
        uint32_t count = nvme_poll(&worker->port, done, DEPTH, real_ns());
        for (uint32_t i = 0; i < count; i++) {
            take(worker, &done[i], numbers, busy, reading);
        }
        flying -= count;
        if (count == 0 && nvme_arm(&worker->port)) {
            worker->sleeps++;
            usleep(100);
            nvme_disarm(&worker->port);
        } else if (count == 0) {
            usleep(10);
        }
    }
    while (!nvme_arm(&worker->port)) { /* so that no reset waits for it */
        struct block_completion none;
        worker->wrong += nvme_poll(&worker->port, &none, 1, real_ns());
        usleep(10);
    }
    __atomic_store_n(&worker->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static void start_rig(void)
{
    static struct nvme_port_config configs[THREADS];

    rig_init(&rig, 512, false);
    for (uint32_t i = 0; i < THREADS; i++) {
        size_t at = DATA_BYTES - (i + 1u) * NVME_PORT_MEMORY_BYTES;
        memset(&workers[i], 0, sizeof workers[i]);
        workers[i].index = i;
        workers[i].data = rig.data + (size_t)i * PAGE_BYTES;
        configs[i] = (struct nvme_port_config){
            .port = &workers[i].port,
            .own_thread = true,
            .vector = {rig.fake.space + NVME_FAKE_MSIX_OFFSET + 16u * (i + 1u), 1, 2, i + 1u},
            .dma = dma_part(&rig.memory, NVME_QUEUE_MEMORY_BYTES + at, NVME_PORT_MEMORY_BYTES)};
    }
    rig.config.more_ports = configs;
    rig.config.more_count = THREADS;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    fake_read = rig.fake.window.read;
    fake_write = rig.fake.window.write;
    rig.fake.window.read = locked_read;
    rig.fake.window.write = locked_write;
}

/* The owner's thread: the drive runs, and now and then completes what nobody asked for. */
static bool owner_turn(uint32_t round)
{
    struct block_completion none;
    bool done = true;

    pthread_mutex_lock(&device);
    if (round % 400u == 399u && rig.nvme.counters.resets < RESETS) {
        rig.fake.hostility = HOSTILE_BAD_CID;
    }
    nvme_fake_run(&rig.fake, 4);
    pthread_mutex_unlock(&device);
    (void)nvme_poll(&rig.nvme.port, &none, 1, real_ns());
    for (uint32_t i = 0; i < THREADS; i++) {
        done = done && __atomic_load_n(&workers[i].done, __ATOMIC_ACQUIRE);
    }
    return done;
}

TEST(ports_with_threads_of_their_own)
{
    time_ns_t limit = real_ns() + 60 * SECOND;
    bool done = false;

    start_rig();
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (uint32_t round = 0; !done && real_ns() < limit; round++) {
        done = owner_turn(round);
        if (round % 16u == 0) {
            usleep(20);
        }
    }
    CHECK(done);
    if (!done) {
        printf("  the drive is in state %u: %d\n", (uint32_t)nvme_state(&rig.nvme),
               (int)rig.nvme.last_error);
        exit(1); /* the threads still use its memory */
    }
    for (uint32_t i = 0; done && i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        printf("  thread %u: %u good, %u failed, %u sleeps\n", i, workers[i].good,
               workers[i].failed, workers[i].sleeps);
        CHECK_EQ(workers[i].wrong, 0);
        CHECK_EQ(workers[i].good, REQUESTS);
        CHECK_EQ(workers[i].port.queue.free_count, workers[i].port.queue.depth);
    }
    printf("  %lu resets\n", (unsigned long)rig.nvme.counters.resets);
    CHECK(rig.nvme.counters.resets > 0);
    CHECK(workers[0].failed + workers[1].failed > 0);
    /* A thread that has not yet seen that its queue was taken may still ring its doorbell. */
    rig.fake.faults = 0;
    CHECK(rig.fake.fault == NULL ||
          strcmp(rig.fake.fault, "doorbell of a queue that does not exist") == 0);
    rig.fake.fault = NULL;
    rig_free(&rig);
}
