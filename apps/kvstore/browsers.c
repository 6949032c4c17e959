// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/cell.h"

#define BACKLOG 16u
#define KEEPALIVE_NS 60000000000ull

/* The session's `user` is its struct browser. */
struct browser {
    struct heap *heap;
    struct web_session *session;
    struct link link;
};

static void drop(struct browser *browser)
{
    web_close(browser->session);
    heap_free(browser->heap, browser);
}

/* False when the connection is over, and then the browser is gone. */
static bool send_page(struct browser *browser)
{
    struct web_session *session = browser->session;
    const uint8_t *data;
    size_t bytes;

    while ((bytes = web_output(session, &data)) != 0) {
        uint32_t sent = link_send(&browser->link, data, (uint32_t)bytes);
        web_sent(session, sent);
        if (sent != bytes) {
            return true;
        }
    }
    if (web_finished(session)) {
        link_close(&browser->link);
        drop(browser);
        return false;
    }
    return true;
}

/* NULL without memory. */
static struct browser *welcome(struct kvstore *kvstore, const struct link *link)
{
    struct browser *browser = heap_allocate(kvstore->heap, sizeof *browser);
    struct web_session *session = browser == NULL ? NULL : web_open(kvstore->heap, &kvstore->web);

    if (session == NULL) {
        heap_free(kvstore->heap, browser);
        return NULL;
    }
    *browser = (struct browser){kvstore->heap, session, *link};
    session->user = browser;
    return browser;
}

static bool on_accept(struct tcp_connection *connection, void *user)
{
    const struct link link = {.connection = connection};
    struct browser *browser = welcome(user, &link);

    if (browser == NULL) {
        return false;
    }
    tcp_set_user(connection, browser);
    tcp_set_keepalive(connection, KEEPALIVE_NS);
    return true;
}

static uint32_t take(struct browser *browser, const uint8_t *data, uint32_t length)
{
    struct web_session *session = browser->session;
    struct kvstore *kvstore = session->source->context;

    kvstore_round_time(kvstore);
    store_tell(&kvstore->store);
    return (uint32_t)web_feed(session, data, length);
}

static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    uint32_t taken = take(user, data, length);

    (void)connection;
    (void)send_page(user);
    return taken;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    struct browser *browser = user;

    (void)connection;
    browser->session->closing = true;
    (void)send_page(browser);
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
    drop(user);
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

/* Requests are short: what an answer's end leaves of them is not wanted any more. */
void browser_relayed(struct kvstore *kvstore, struct relay *relay, struct relay_slot *slot)
{
    const struct link link = {.relay = relay, .slot = slot};
    struct browser *browser = slot->user[RELAY_BACK];
    bool ended = relay_has_ended(slot);
    const uint8_t *data;
    uint32_t bytes;

    if (browser == NULL && !relay_was_left(slot)) {
        browser = slot->user[RELAY_BACK] = welcome(kvstore, &link);
    }
    if (browser == NULL || relay_was_left(slot)) {
        if (browser != NULL) {
            drop(browser);
        }
        relay_finish(relay, slot);
        return;
    }
    for (uint32_t pieces = 0; pieces < 2u && (bytes = relay_get(slot, RELAY_BACK, &data)) != 0;
         pieces++) {
        (void)take(browser, data, bytes);
        relay_take(relay, RELAY_BACK, slot, bytes);
    }
    browser->session->closing = browser->session->closing || ended;
    (void)send_page(browser);
}
