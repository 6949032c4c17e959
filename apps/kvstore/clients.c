// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/cell.h"

#include "lib/base/format.h"

#define BACKLOG 128u
#define KEEPALIVE_NS 300000000000ull

/* One client's connection. */
struct client {
    struct kvstore *kvstore;
    struct session *session;
    struct tcp_connection *connection;
    bool paused; /* delivery waits for tcp_receive_resume */
};

static void drop(struct client *client)
{
    struct heap *heap = client->kvstore->heap;

    session_close(client->session);
    heap_free(heap, client);
}

/* Sends what may be sent. False when the connection is over, and then the client is gone. */
static bool send_output(struct client *client)
{
    struct session *session = client->session;
    const uint8_t *data;
    size_t bytes;

    while ((bytes = session_output(session, &data)) != 0) {
        uint32_t part = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
        uint32_t sent = tcp_send(client->connection, data, part);
        bool more = session_sent(session, sent);
        if (sent != part) {
            return true;
        }
        if (!more) {
            break;
        }
    }
    if (session_finished(session)) {
        tcp_close(client->connection);
        drop(client);
        return false;
    }
    if (client->paused && session_wants_input(session)) {
        client->paused = false;
        tcp_receive_resume(client->connection);
    }
    return true;
}

static bool on_accept(struct tcp_connection *connection, void *user)
{
    struct kvstore *kvstore = user;
    struct tcp_info info;
    char peer[SESSION_PEER_BYTES];
    struct client *client = heap_allocate(kvstore->heap, sizeof *client);

    kvstore_round_time(kvstore);
    tcp_info(connection, &info);
    if (info.is_v6) {
        char text[IPV6_TEXT_BYTES];
        ipv6_format(&info.v6.remote, text);
        format_text(peer, sizeof peer, "[%s]:%u", text, info.remote_port);
    } else {
        format_text(peer, sizeof peer, "%u.%u.%u.%u:%u", info.remote_address >> 24,
                    info.remote_address >> 16 & 255, info.remote_address >> 8 & 255,
                    info.remote_address & 255, info.remote_port);
    }
    struct session *session = client == NULL ? NULL : session_open(&kvstore->server, peer);
    if (session == NULL) {
        heap_free(kvstore->heap, client);
        (void)tcp_send(connection, session_refusal(), (uint32_t)strlen(session_refusal()));
        tcp_close(connection);
        return true;
    }
    *client = (struct client){kvstore, session, connection, false};
    session_set_user(session, client);
    tcp_set_user(connection, client);
    tcp_set_keepalive(connection, KEEPALIVE_NS);
    return true;
}

static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct client *client = user;

    (void)connection;
    if (!session_wants_input(client->session)) {
        client->paused = true;
        return 0;
    }
    kvstore_round_time(client->kvstore);
    session_take(client->session, data, length);
    (void)send_output(client);
    return length;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    struct client *client = user;

    (void)connection;
    kvstore_round_time(client->kvstore);
    session_end(client->session);
    (void)send_output(client);
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    struct client *client = user;

    (void)connection;
    kvstore_round_time(client->kvstore);
    (void)send_output(client);
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    (void)connection;
    (void)reason;
    drop(user);
}

static const struct tcp_ops client_ops = {
    .on_accept = on_accept,
    .on_receive = on_receive,
    .on_end = on_end,
    .on_sendable = on_sendable,
    .on_closed = on_closed,
};

status_t clients_listen(struct kvstore *kvstore, uint16_t port)
{
    return tcp_listen(kvstore->network.stack, port, BACKLOG, &client_ops, kvstore);
}

bool clients_send_ready(struct kvstore *kvstore)
{
    struct session *session = server_next_ready(&kvstore->server);
    bool any = session != NULL;

    kvstore_round_time(kvstore);
    while (session != NULL) {
        (void)send_output(session_user(session));
        session = server_next_ready(&kvstore->server);
    }
    if (any) {
        stack_flush(kvstore->network.stack);
    }
    return any;
}
