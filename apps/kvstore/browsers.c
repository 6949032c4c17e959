// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/cell.h"

#define BACKLOG 16u
#define KEEPALIVE_NS 60000000000ull

/* The session's `user` is its connection. False when the connection is over. */
static bool send_page(struct web_session *session)
{
    struct tcp_connection *connection = session->user;
    const uint8_t *data;
    size_t bytes;

    while ((bytes = web_output(session, &data)) != 0) {
        uint32_t sent = tcp_send(connection, data, (uint32_t)bytes);
        web_sent(session, sent);
        if (sent != bytes) {
            return true;
        }
    }
    if (web_finished(session)) {
        tcp_close(connection);
        web_close(session);
        return false;
    }
    return true;
}

static bool on_accept(struct tcp_connection *connection, void *user)
{
    struct kvstore *kvstore = user;
    struct web_session *session = web_open(kvstore->heap, &kvstore->web);

    if (session == NULL) {
        return false;
    }
    session->user = connection;
    tcp_set_user(connection, session);
    tcp_set_keepalive(connection, KEEPALIVE_NS);
    return true;
}

static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct web_session *session = user;
    struct kvstore *kvstore = session->source->context;

    (void)connection;
    kvstore_round_time(kvstore);
    store_tell(&kvstore->store);
    size_t taken = web_feed(session, data, length);
    (void)send_page(user);
    return (uint32_t)taken;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    struct web_session *session = user;

    (void)connection;
    session->closing = true;
    (void)send_page(session);
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    if (send_page(user)) {
        tcp_receive_resume(connection);
    }
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    (void)connection;
    (void)reason;
    web_close(user);
}

static const struct tcp_ops browser_ops = {
    .on_accept = on_accept,
    .on_receive = on_receive,
    .on_end = on_end,
    .on_sendable = on_sendable,
    .on_closed = on_closed,
};

status_t browsers_listen(struct kvstore *kvstore, uint16_t port)
{
    return tcp_listen(kvstore->network.stack, port, BACKLOG, &browser_ops, kvstore);
}
