// SPDX-License-Identifier: MIT OR Apache-2.0
/* A cell that serves iperf3 clients on TCP port 5201; with workers in the manifest, on a NIC that
 * has several queue pairs, from a stack on each CPU. */
#include "apps/iperf3/core/iperf3.h"
#include "drivers/net/cell/network.h"
#include "runtime/cell.h"
#include "runtime/event_loop.h"
#include "runtime/syscall.h"

#define BUFFERS 4096u /* of each thread */
#define CONNECTIONS 128u
#define STOP_NS 5000000000ull

struct thread {
    struct network network;
    struct event_loop loop;
    struct iperf3_server server;
};

static struct thread threads[NETDEV_QUEUES_MAX];
static struct iperf3_test test;
static struct worker_gate gate;
static bool stopping;    /* [atomic] */
static uint32_t stopped; /* [atomic] workers that have */

static void usage(void *context, struct iperf3_usage *usage)
{
    const struct event_counters *counters = context;

    usage->busy = counters->busy_ticks;
    usage->all = counters->busy_ticks + counters->spin_ticks + counters->sleep_ticks;
}

static void wake(void *context, uint32_t number)
{
    (void)context;
    thread_wake(number);
}

static bool poll_test(void *context, time_ns_t now_ns)
{
    struct thread *thread = context;
    bool worked = iperf3_poll(&thread->server);

    (void)now_ns;
    if (worked) {
        stack_flush(thread->network.stack);
    }
    return worked;
}

/* ---- Start ------------------------------------------------------------------------------------
 */

static status_t listen_on(uint32_t number)
{
    struct thread *thread = &threads[number];

    thread->server = (struct iperf3_server){.stack = thread->network.stack,
                                            .test = &test,
                                            .number = number,
                                            .usage = usage,
                                            .context = &thread->loop.counters};
    return iperf3_listen(&thread->server);
}

/* An instance for each thread that the NIC has a queue pair for. */
static status_t start(const struct cell_info *info)
{
    struct network *first = &threads[0].network;
    struct dma_pool dma;
    struct network_request request = {
        .info = info,
        .buffers = BUFFERS,
        .threads = info->thread_count,
        .connections = CONNECTIONS,
        .dma = &dma,
        .memory = info->heap,
        .memory_bytes = info->heap_bytes,
    };

    dma_pool_init(&dma, info);
    status_t status = network_open(first, &request);
    if (status == STATUS_OK) {
        test.servers = first->threads;
        test.wake = wake;
        status = listen_on(0);
    }
    for (uint32_t i = 1; status == STATUS_OK && i < first->threads; i++) {
        status = network_open_worker(&threads[i].network, first, i, &request);
        if (status == STATUS_OK) {
            status = listen_on(i);
        }
    }
    if (status == STATUS_OK && first->threads < info->thread_count) {
        log_line("%u of %u threads have a queue pair; the others wait", first->threads,
                 info->thread_count);
    }
    return status;
}

/* ---- The threads ------------------------------------------------------------------------------
 */

static status_t begin_loop(const struct cell_info *info, uint32_t number)
{
    struct thread *thread = &threads[number];

    event_loop_init(&thread->loop, &info->time, thread_notification(number),
                    network_window_ns(info));
    status_t status = network_add(&thread->network, &thread->loop);
    /* Other threads wake this one whenever the test goes on, so that nothing has to be armed. */
    return status == STATUS_OK
               ? event_loop_add(&thread->loop,
                                &(struct event_source){.poll = poll_test, .context = thread})
               : status;
}

_Noreturn void cell_worker(const struct cell_info *info, uint32_t number)
{
    worker_await(&gate, number);
    if (number < threads[0].network.threads) {
        bool runs = begin_loop(info, number) == STATUS_OK;
        while (runs && !__atomic_load_n(&stopping, __ATOMIC_ACQUIRE)) {
            event_loop_round(&threads[number].loop);
        }
        network_close(&threads[number].network);
    }
    __atomic_fetch_add(&stopped, 1u, __ATOMIC_RELEASE);
    for (;;) {
        uint64_t word;
        (void)notification_wait(thread_notification(number), DEADLINE_NEVER, &word);
    }
}

/* The workers' pairs are closed before the device. */
static void stop(const struct cell_info *info)
{
    time_ns_t limit = clock_ns(&info->time) + STOP_NS;
    uint64_t served = 0, refused = 0;

    __atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
    for (uint32_t i = 1; i < info->thread_count; i++) {
        thread_wake(i);
    }
    while (__atomic_load_n(&stopped, __ATOMIC_ACQUIRE) + 1u < info->thread_count &&
           clock_ns(&info->time) < limit) {
        (void)yield();
    }
    network_close(&threads[0].network);
    for (uint32_t i = 0; i < threads[0].network.threads; i++) {
        served += threads[i].server.tests;
        refused += threads[i].server.refused;
        if (threads[0].network.threads > 1u) {
            log_line("thread %u has had %lu streams", i, threads[i].server.had);
        }
    }
    log_line("served %lu tests, refused %lu", served, refused);
}

status_t cell_main(const struct cell_info *info)
{
    status_t status = start(info);

    if (status == STATUS_OK) {
        status = begin_loop(info, 0);
    }
    if (status != STATUS_OK) {
        log_line("cannot start: %s", status_text(status));
        return status;
    }
    worker_release(&gate, info);
    if ((status = supervisor_ready()) != STATUS_OK) {
        return status;
    }
    while ((event_loop_take_events(&threads[0].loop) & CELL_EVENT_SHUTDOWN) == 0) {
        event_loop_round(&threads[0].loop);
    }
    stop(info);
    supervisor_shutdown_done();
}
