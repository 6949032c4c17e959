// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/cells/drives/together.h"

#include "runtime/cell.h"
#include "runtime/syscall.h"

#define DEPTH 16u
#define REQUESTS 4000u /* of each thread */
#define BLOCK_BYTES 512u
#define FIRST_BLOCK 4096u
#define WAIT_NS (60ull * 1000 * 1000 * 1000)
#define LOOK_NS 100000000ull

/* What one thread does; nobody else looks at it before it is done. */
struct lane {
    struct nvme_port *port;
    uint8_t *data; /* a block for each slot */
    uint32_t thread;
    uint32_t asked, answered, wrong, sleeps;
    uint32_t numbers[DEPTH]; /* what the slot's block holds */
    bool reading[DEPTH];
    uint32_t free[DEPTH];
    uint32_t free_count;
    bool done; /* atomic */
};

static struct worker_gate gate;
static struct lane lanes[CELL_THREADS_MAX];

static void ask(struct lane *lane, time_ns_t now_ns)
{
    while (lane->free_count > 0 && lane->asked < REQUESTS) {
        uint32_t slot = lane->free[lane->free_count - 1u];
        uint32_t *block = (uint32_t *)(void *)(lane->data + slot * BLOCK_BYTES);
        bool reading = lane->reading[slot];
        struct block_request request = {
            .cookie = slot,
            .operation = reading ? BLOCK_READ : BLOCK_WRITE,
            .block = FIRST_BLOCK + lane->thread * DEPTH + slot,
            .blocks = 1,
            .data = block,
        };
        lane->numbers[slot] += reading ? 0 : 1u;
        block[0] = reading ? 0 : lane->numbers[slot];
        block[1] = reading ? 0 : lane->thread;
        if (nvme_submit(lane->port, &request, 1, now_ns) != 1) {
            lane->numbers[slot] -= reading ? 0 : 1u;
            return;
        }
        lane->free_count--;
        lane->asked++;
    }
}

static void take(struct lane *lane, const struct block_completion *done)
{
    uint32_t slot = (uint32_t)done->cookie;
    const uint32_t *block = (const uint32_t *)(const void *)(lane->data + slot * BLOCK_BYTES);

    lane->answered++;
    lane->wrong += done->status != STATUS_OK;
    if (lane->reading[slot]) {
        lane->wrong += block[0] != lane->numbers[slot] || block[1] != lane->thread;
    }
    lane->reading[slot] = !lane->reading[slot];
    lane->free[lane->free_count++] = slot;
}

static void lane_sleep(struct lane *lane, time_ns_t deadline_ns)
{
    uint64_t word;

    if (nvme_arm(lane->port)) {
        (void)notification_wait(thread_notification(lane->thread), deadline_ns, &word);
        nvme_disarm(lane->port);
        lane->sleeps++;
    }
}

static void lane_run(const struct cell_info *info, struct lane *lane)
{
    time_ns_t limit = clock_ns(&info->time) + WAIT_NS;

    for (uint32_t i = 0; i < DEPTH; i++) {
        lane->free[i] = i;
    }
    lane->free_count = DEPTH;
    while (lane->answered < REQUESTS && clock_ns(&info->time) < limit) {
        struct block_completion done[DEPTH];
        uint32_t count = nvme_poll(lane->port, done, DEPTH, clock_ns(&info->time));
        for (uint32_t i = 0; i < count; i++) {
            take(lane, &done[i]);
        }
        ask(lane, clock_ns(&info->time));
        if (count == 0) {
            lane_sleep(lane, nvme_next_due(lane->port));
        }
    }
    lane->wrong += REQUESTS - lane->answered;
    if (lane->thread != 0) {
        (void)nvme_arm(lane->port); /* it stops using its port: drivers/nvme/nvme.h */
    }
    __atomic_store_n(&lane->done, true, __ATOMIC_RELEASE);
}

_Noreturn void cell_worker(const struct cell_info *info, uint32_t thread)
{
    worker_await(&gate, thread);
    lane_run(info, &lanes[thread]);
    thread_wake(0);
    for (;;) {
        uint64_t word;
        (void)notification_wait(thread_notification(thread), DEADLINE_NEVER, &word);
    }
}

/* The controller is looked after until all are done. */
static bool wait_for(const struct cell_info *info, struct lane *lane)
{
    time_ns_t limit = clock_ns(&info->time) + WAIT_NS;

    while (!__atomic_load_n(&lane->done, __ATOMIC_ACQUIRE)) {
        struct block_completion none;
        uint64_t word;
        (void)notification_wait(CELL_SLOT_NOTIFICATION, clock_ns(&info->time) + LOOK_NS, &word);
        (void)nvme_poll(lanes[0].port, &none, 1, clock_ns(&info->time));
        if (clock_ns(&info->time) >= limit) {
            return false;
        }
    }
    return true;
}

uint32_t together_run(const struct cell_info *info, struct nvme_port *const *ports, uint8_t *data)
{
    uint32_t wrong = 0;
    time_ns_t start = clock_ns(&info->time);

    for (uint32_t i = 0; i < info->thread_count; i++) {
        lanes[i] =
            (struct lane){.port = ports[i], .data = data + (size_t)i * TOGETHER_BYTES, .thread = i};
    }
    worker_release(&gate, info);
    lane_run(info, &lanes[0]);
    for (uint32_t i = 0; i < info->thread_count; i++) {
        wrong += wait_for(info, &lanes[i]) ? lanes[i].wrong : REQUESTS;
        log_line("thread %u: %u requests, %u wrong, slept %u times", i, lanes[i].answered,
                 lanes[i].wrong, lanes[i].sleeps);
    }
    log_line("%u threads together: %lu us", info->thread_count,
             (clock_ns(&info->time) - start) / 1000u);
    return wrong;
}
