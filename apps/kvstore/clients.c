// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/cell.h"

#include "lib/base/format.h"

#define BACKLOG 128u
#define RESUMED_MAX 64u
#define KEEPALIVE_NS 300000000000ull

/* One client's connection. */
struct client {
    struct kvstore *kvstore;
    struct session *session;
    struct link link;
    bool paused;  /* delivery waits for resume */
    bool resumed; /* in kvstore->resumed */
    struct client *next_resumed;
};

/* Out of the queue of those that go on. */
static void unqueue(struct client *client)
{
    struct kvstore *kvstore = client->kvstore;
    struct client *before = NULL;

    for (struct client *at = kvstore->resumed; at != client; at = at->next_resumed) {
        before = at;
    }
    *(before != NULL ? &before->next_resumed : &kvstore->resumed) = client->next_resumed;
    if (kvstore->resumed_last == client) {
        kvstore->resumed_last = before;
    }
    client->resumed = false;
}

static void drop(struct client *client)
{
    struct kvstore *kvstore = client->kvstore;

    if (client->resumed) {
        unqueue(client);
    }
    session_close(client->session);
    heap_free(kvstore->heap, client);
}

/* Delivery goes on: at once, or a relay's in the next round. */
static void resume(struct client *client)
{
    struct kvstore *kvstore = client->kvstore;

    client->paused = false;
    if (client->link.relay == NULL) {
        tcp_receive_resume(client->link.connection);
    } else if (!client->resumed) {
        client->resumed = true;
        client->next_resumed = NULL;
        *(kvstore->resumed != NULL ? &kvstore->resumed_last->next_resumed : &kvstore->resumed) =
            client;
        kvstore->resumed_last = client;
    }
}

/* Sends what may be sent. False when the connection is over, and then the client is gone. */
static bool send_output(struct client *client)
{
    struct session *session = client->session;
    const uint8_t *data;
    size_t bytes;

    while ((bytes = session_output(session, &data)) != 0) {
        uint32_t part = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
        uint32_t sent = link_send(&client->link, data, part);
        bool more = session_sent(session, sent);
        if (sent != part) {
            return true;
        }
        if (!more) {
            break;
        }
    }
    if (session_finished(session)) {
        link_close(&client->link);
        drop(client);
        return false;
    }
    if (client->paused && session_wants_input(session)) {
        resume(client);
    }
    return true;
}

void client_peer(struct tcp_connection *connection, char text[RELAY_PEER_BYTES])
{
    struct tcp_info info;

    tcp_info(connection, &info);
    if (info.is_v6) {
        char address[IPV6_TEXT_BYTES];
        ipv6_format(&info.v6.remote, address);
        format_text(text, RELAY_PEER_BYTES, "[%s]:%u", address, info.remote_port);
    } else {
        format_text(text, RELAY_PEER_BYTES, "%u.%u.%u.%u:%u", info.remote_address >> 24,
                    info.remote_address >> 16 & 255, info.remote_address >> 8 & 255,
                    info.remote_address & 255, info.remote_port);
    }
}

/* A client with a session of its own; NULL: it was refused, and the link is closed. */
static struct client *welcome(struct kvstore *kvstore, const struct link *link, const char *peer)
{
    struct client *client = heap_allocate(kvstore->heap, sizeof *client);

    kvstore_round_time(kvstore);
    struct session *session = client == NULL ? NULL : session_open(&kvstore->server, peer);
    if (session == NULL) {
        heap_free(kvstore->heap, client);
        (void)link_send(link, session_refusal(), (uint32_t)strlen(session_refusal()));
        link_close(link);
        return NULL;
    }
    *client = (struct client){.kvstore = kvstore, .session = session, .link = *link};
    session_set_user(session, client);
    return client;
}

static bool on_accept(struct tcp_connection *connection, void *user)
{
    const struct link link = {.connection = connection};
    char peer[RELAY_PEER_BYTES];

    client_peer(connection, peer);
    struct client *client = welcome(user, &link, peer);
    if (client != NULL) {
        tcp_set_user(connection, client);
        tcp_set_keepalive(connection, KEEPALIVE_NS);
    }
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

/* ---- Clients of workers ------------------------------------------------------------------------
 */

/* Takes what is in the pipe as long as the session wants it, sends what came of it. What the peer
 * puts meanwhile is posted anew. */
static void run(struct client *client)
{
    struct relay_slot *slot = client->link.slot;
    struct relay *relay = client->link.relay;
    bool ended = relay_has_ended(slot); /* then all is in the pipe */
    const uint8_t *data;
    uint32_t bytes = 0;

    kvstore_round_time(client->kvstore);
    for (uint32_t pieces = 0; pieces < 2u; pieces++) { /* a pipe's content lies in two at most */
        if (!session_wants_input(client->session) ||
            (bytes = relay_get(slot, RELAY_BACK, &data)) == 0) {
            break;
        }
        session_take(client->session, data, bytes);
        relay_take(relay, RELAY_BACK, slot, bytes);
        if (!send_output(client)) {
            return;
        }
    }
    if (relay_get(slot, RELAY_BACK, &data) != 0) {
        client->paused = true;
    } else if (ended) {
        session_end(client->session);
    }
    (void)send_output(client);
}

void client_relayed(struct kvstore *kvstore, struct relay *relay, struct relay_slot *slot)
{
    const struct link link = {.relay = relay, .slot = slot};
    struct client *client = slot->user[RELAY_BACK];

    if (relay_was_left(slot)) {
        if (client != NULL) {
            drop(client);
        }
        relay_finish(relay, slot);
        return;
    }
    if (client == NULL) {
        client = slot->user[RELAY_BACK] = welcome(kvstore, &link, slot->peer);
    }
    if (client != NULL) {
        run(client);
    }
}

bool clients_resume(struct kvstore *kvstore)
{
    struct client *client = kvstore->resumed;
    bool any = client != NULL;

    /* One that wants to go on once more comes behind the others. */
    for (uint32_t i = 0; i < RESUMED_MAX && (client = kvstore->resumed) != NULL; i++) {
        unqueue(client);
        run(client);
    }
    return any;
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
