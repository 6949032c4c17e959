// SPDX-License-Identifier: MIT OR Apache-2.0
/* Sends back what comes to UDP and TCP port 7 (RFC 862): datagrams from the buffer that they came
 * in, streams by a copy into the send queue. */
#include "apps/echo/status.h"
#include "drivers/net/cell/network.h"
#include "runtime/cell.h"
#include "runtime/event_loop.h"

#define ECHO_PORT 7u
#define BACKLOG 64u

struct echo {
    struct network network;
    struct udp_socket *udp;
    uint64_t datagrams;
    uint64_t bytes;
};

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

static status_t start(struct echo *echo, const struct cell_info *info)
{
    struct dma_pool dma;
    struct network_request request = {
        .info = info,
        .buffers = 2048,
        .connections = 256,
        .dma = &dma,
        .memory = info->heap,
        .memory_bytes = info->heap_bytes,
    };

    dma_pool_init(&dma, info);
    status_t status = network_open(&echo->network, &request);
    if (status != STATUS_OK) {
        return status;
    }
    status = udp_bind(echo->network.stack, ECHO_PORT, on_datagram, echo, &echo->udp);
    if (status != STATUS_OK) {
        return status;
    }
    return tcp_listen(echo->network.stack, ECHO_PORT, BACKLOG, &stream_ops, echo);
}

status_t cell_main(const struct cell_info *info)
{
    static struct echo echo;
    struct event_loop loop;
    status_t status = start(&echo, info);

    if (status != STATUS_OK) {
        log_line("cannot start: %s", status_text(status));
        return status;
    }
    event_loop_init(&loop, &info->time, CELL_SLOT_NOTIFICATION, network_window_ns(info));
    status = network_add(&echo.network, &loop);
    if (status == STATUS_OK) {
        status = status_listen(echo.network.stack, &loop);
    }
    if (status != STATUS_OK || (status = supervisor_ready()) != STATUS_OK) {
        return status;
    }
    while ((event_loop_take_events(&loop) & CELL_EVENT_SHUTDOWN) == 0) {
        event_loop_round(&loop);
    }
    network_close(&echo.network);
    log_line("echoed %lu datagrams and %lu bytes", echo.datagrams, echo.bytes);
    supervisor_shutdown_done();
}
