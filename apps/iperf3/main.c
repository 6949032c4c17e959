// SPDX-License-Identifier: MIT OR Apache-2.0
/* A cell that serves iperf3 clients on TCP port 5201. */
#include "apps/iperf3/core/iperf3.h"
#include "drivers/net/cell/network.h"
#include "runtime/cell.h"
#include "runtime/event_loop.h"

static struct network network;
static struct event_loop loop;

static void usage(void *context, struct iperf3_usage *usage)
{
    const struct event_counters *counters = context;

    usage->busy = counters->busy_ticks;
    usage->all = counters->busy_ticks + counters->spin_ticks + counters->sleep_ticks;
}

static status_t start(struct iperf3_server *server, const struct cell_info *info)
{
    struct dma_pool dma;
    struct network_request request = {
        .info = info,
        .buffers = 4096,
        .connections = 128,
        .dma = &dma,
        .memory = info->heap,
        .memory_bytes = info->heap_bytes,
    };

    dma_pool_init(&dma, info);
    status_t status = network_open(&network, &request);
    if (status != STATUS_OK) {
        return status;
    }
    *server =
        (struct iperf3_server){.stack = network.stack, .usage = usage, .context = &loop.counters};
    event_loop_init(&loop, &info->time, CELL_SLOT_NOTIFICATION, network_window_ns(info));
    status = network_add(&network, &loop);
    return status == STATUS_OK ? iperf3_listen(server) : status;
}

status_t cell_main(const struct cell_info *info)
{
    static struct iperf3_server server;
    status_t status = start(&server, info);

    if (status != STATUS_OK) {
        log_line("cannot start: %s", status_text(status));
        return status;
    }
    if ((status = supervisor_ready()) != STATUS_OK) {
        return status;
    }
    while ((event_loop_take_events(&loop) & CELL_EVENT_SHUTDOWN) == 0) {
        event_loop_round(&loop);
    }
    network_close(&network);
    log_line("served %lu tests, refused %lu", server.tests, server.refused);
    supervisor_shutdown_done();
}
