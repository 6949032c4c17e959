// SPDX-License-Identifier: MIT OR Apache-2.0
/* Sends back what comes to UDP and TCP port 7 (RFC 862): datagrams from the buffer that they came
 * in, streams by a copy into the send queue. With workers in the manifest, on a NIC that steers
 * flows, each thread serves its own from a stack of its own. */
#include "apps/echo/status.h"
#include "drivers/net/cell/network.h"
#include "runtime/cell.h"
#include "runtime/event_loop.h"
#include "runtime/syscall.h"

#define ECHO_PORT 7u
#define BACKLOG 64u
#define BUFFERS 2048u /* of each thread */
#define STOP_NS 5000000000ull

struct echo {
    struct network network;
    struct udp_socket *udp;
    uint64_t datagrams;
    uint64_t bytes;
};

static struct echo echoes[CELL_THREADS_MAX];
static struct worker_gate gate;
static bool stopping;    /* [atomic] */
static uint32_t stopped; /* [atomic] workers that have */

static void on_datagram(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    struct echo *echo = user;

    echo->datagrams++;
    if (datagram->buffer == NETBUF_NONE) { /* came in fragments and goes back so */
        (void)(datagram->v6 != NULL ? udp_send_v6(socket, datagram->v6, datagram->source_port,
                                                  datagram->data, datagram->length)
                                    : udp_send(socket, datagram->source, datagram->source_port,
                                               datagram->data, datagram->length));
        return;
    }
    netbuf_hold(echo->network.dev->pool, datagram->buffer);
    /* What cannot be sent is lost, as datagrams may be. */
    (void)udp_send_buffer(socket, &(struct udp_send_request){
                                      .address = datagram->source,
                                      .v6 = datagram->v6,
                                      .port = datagram->source_port,
                                      .buffer = datagram->buffer,
                                      .offset = datagram->offset,
                                      .length = datagram->length,
                                      .data_sum = datagram->data_sum,
                                  });
}

static bool on_accept(struct tcp_connection *connection, void *user)
{
    tcp_set_user(connection, user);
    return true;
}

/* Consumes no more than it can send: the peer's window closes with ours. */
static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct echo *echo = user;
    uint32_t taken = tcp_send(connection, data, length);

    echo->bytes += taken;
    return taken;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    (void)user;
    tcp_close(connection);
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    (void)user;
    tcp_receive_resume(connection);
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    (void)connection;
    (void)user;
    (void)reason;
}

static const struct tcp_ops stream_ops = {
    .on_accept = on_accept,
    .on_receive = on_receive,
    .on_end = on_end,
    .on_sendable = on_sendable,
    .on_closed = on_closed,
};

static status_t serve(struct echo *echo)
{
    status_t status = udp_bind(echo->network.stack, ECHO_PORT, on_datagram, echo, &echo->udp);

    return status == STATUS_OK
               ? tcp_listen(echo->network.stack, ECHO_PORT, BACKLOG, &stream_ops, echo)
               : status;
}

/* An instance for each thread that the NIC has a queue pair for. */
static status_t start(const struct cell_info *info)
{
    static struct dma_pool dma;
    struct network_request request = {
        .info = info,
        .buffers = BUFFERS,
        .threads = info->thread_count,
        .connections = 256,
        .dma = &dma,
        .memory = info->heap,
        .memory_bytes = info->heap_bytes,
    };
    struct network *first = &echoes[0].network;

    dma_pool_init(&dma, info);
    status_t status = network_open(first, &request);
    if (status == STATUS_OK) {
        status = serve(&echoes[0]);
    }
    for (uint32_t i = 1; status == STATUS_OK && i < first->threads; i++) {
        status = network_open_worker(&echoes[i].network, first, i, &request);
        if (status == STATUS_OK) {
            status = serve(&echoes[i]);
        }
    }
    if (status == STATUS_OK && first->threads < info->thread_count) {
        log_line("%u of %u threads have a queue pair; the others wait", first->threads,
                 info->thread_count);
    }
    return status;
}

/* ---- The threads ----------------------------------------------------------------------------- */

_Noreturn void cell_worker(const struct cell_info *info, uint32_t thread)
{
    struct echo *echo = &echoes[thread];
    struct event_loop loop;

    worker_await(&gate, thread);
    event_loop_init(&loop, &info->time, thread_notification(thread), network_window_ns(info));
    bool runs = thread < echoes[0].network.threads &&
                network_add(&echo->network, &loop) == STATUS_OK &&
                status_listen(echo->network.stack, &loop) == STATUS_OK;
    while (runs && !__atomic_load_n(&stopping, __ATOMIC_ACQUIRE)) {
        event_loop_round(&loop);
    }
    if (runs) {
        network_close(&echo->network);
    }
    __atomic_fetch_add(&stopped, 1u, __ATOMIC_RELEASE);
    for (;;) {
        uint64_t word;
        (void)notification_wait(thread_notification(thread), DEADLINE_NEVER, &word);
    }
}

/* The workers' pairs are closed before the device. */
static void stop(const struct cell_info *info)
{
    time_ns_t limit = clock_ns(&info->time) + STOP_NS;

    __atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
    for (uint32_t i = 1; i < info->thread_count; i++) {
        thread_wake(i);
    }
    while (__atomic_load_n(&stopped, __ATOMIC_ACQUIRE) + 1u < info->thread_count &&
           clock_ns(&info->time) < limit) {
        (void)yield();
    }
    network_close(&echoes[0].network);
    for (uint32_t i = 0; i < echoes[0].network.threads; i++) {
        log_line("thread %u echoed %lu datagrams and %lu bytes", i, echoes[i].datagrams,
                 echoes[i].bytes);
    }
}

status_t cell_main(const struct cell_info *info)
{
    struct event_loop loop;
    status_t status = start(info);

    if (status != STATUS_OK) {
        log_line("cannot start: %s", status_text(status));
        return status;
    }
    event_loop_init(&loop, &info->time, CELL_SLOT_NOTIFICATION, network_window_ns(info));
    status = network_add(&echoes[0].network, &loop);
    if (status == STATUS_OK) {
        status = status_listen(echoes[0].network.stack, &loop);
    }
    worker_release(&gate, info);
    if (status != STATUS_OK || (status = supervisor_ready()) != STATUS_OK) {
        return status;
    }
    while ((event_loop_take_events(&loop) & CELL_EVENT_SHUTDOWN) == 0) {
        event_loop_round(&loop);
    }
    stop(info);
    supervisor_shutdown_done();
}
