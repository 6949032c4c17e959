// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/ring/ring.h"

static struct ring_cursor of_producer(const struct ring_producer *producer)
{
    return (struct ring_cursor){
        .own = producer->tail, .shown = ring_load(producer->shared_tail), .peer = producer->head};
}

static struct ring_cursor of_consumer(const struct ring_consumer *consumer)
{
    return (struct ring_cursor){
        .own = consumer->head, .shown = ring_load(consumer->shared_head), .peer = consumer->tail};
}

void ring_client_capture(const struct ring_client *client, struct ring_capture *capture)
{
    *capture = (struct ring_capture){.session = client->session,
                                     .generation = client->generation,
                                     .peer_generation = client->peer_generation};
    if (client->session == RING_SESSION_OPEN) {
        capture->submit = of_producer(&client->submit);
        capture->complete = of_consumer(&client->complete);
    }
}

void ring_server_capture(const struct ring_server *server, struct ring_capture *capture)
{
    *capture = (struct ring_capture){.session = server->session,
                                     .generation = server->generation,
                                     .peer_generation = server->peer_generation};
    if (server->session == RING_SESSION_OPEN) {
        capture->submit = of_consumer(&server->submit);
        capture->complete = of_producer(&server->complete);
    }
}

/* R1: what is pushed and not taken, and within it what is not shown yet, fits the ring. */
static bool producer_can_be(const struct ring_cursor *cursor, uint32_t entries)
{
    return cursor->own - cursor->peer <= entries && cursor->own - cursor->shown <= entries;
}

/* R2. */
static bool consumer_can_be(const struct ring_cursor *cursor, uint32_t entries)
{
    return cursor->peer - cursor->own <= entries && cursor->own - cursor->shown <= entries;
}

static void put_producer(struct ring_producer *producer, const struct ring_cursor *cursor)
{
    producer->tail = cursor->own;
    producer->head = cursor->peer;
}

static void put_consumer(struct ring_consumer *consumer, const struct ring_cursor *cursor)
{
    consumer->head = cursor->own;
    consumer->tail = cursor->peer;
}

status_t ring_client_restore(struct ring_client *client, void *memory, uint32_t entries,
                             const struct ring_capture *capture)
{
    struct ring_client restored;
    struct ring_shared *shared = memory;
    status_t status = ring_client_init(&restored, memory, entries);

    if (status != STATUS_OK) {
        return status;
    }
    if (capture->session > RING_SESSION_OPEN || !producer_can_be(&capture->submit, entries) ||
        !consumer_can_be(&capture->complete, entries) ||
        /* below 0 where multi-shot operations have completed often */
        (int32_t)ring_capture_outstanding(capture) > (int32_t)entries) {
        return STATUS_INVALID_ARGUMENT;
    }
    *client = restored;
    client->peer_generation = capture->peer_generation;
    if (capture->session != RING_SESSION_OPEN || client->generation != capture->generation ||
        ring_load(&shared->client_state) != RING_STATE_OPEN || !ring_client_alive(client) ||
        ring_load(&shared->submit_tail) != capture->submit.shown ||
        ring_load(&shared->complete_head) != capture->complete.shown) {
        return STATUS_RESET;
    }
    ring_client_attach(client);
    put_producer(&client->submit, &capture->submit);
    put_consumer(&client->complete, &capture->complete);
    client->session = RING_SESSION_OPEN;
    return STATUS_OK;
}

status_t ring_server_restore(struct ring_server *server, void *memory, uint32_t entries,
                             const struct ring_capture *capture)
{
    struct ring_server restored;
    struct ring_shared *shared = memory;
    status_t status = ring_server_init(&restored, memory, entries);

    if (status != STATUS_OK) {
        return status;
    }
    if (capture->session > RING_SESSION_OPEN || !consumer_can_be(&capture->submit, entries) ||
        !producer_can_be(&capture->complete, entries)) {
        return STATUS_INVALID_ARGUMENT;
    }
    *server = restored;
    server->peer_generation = capture->peer_generation;
    if (capture->session != RING_SESSION_OPEN || server->generation != capture->generation ||
        ring_load(&shared->server_state) != RING_STATE_OPEN || !ring_server_alive(server) ||
        ring_load(&shared->submit_head) != capture->submit.shown ||
        ring_load(&shared->complete_tail) != capture->complete.shown) {
        server->peer_generation = 0;
        return STATUS_RESET;
    }
    ring_server_attach(server);
    put_consumer(&server->submit, &capture->submit);
    put_producer(&server->complete, &capture->complete);
    server->session = RING_SESSION_OPEN;
    return STATUS_OK;
}
