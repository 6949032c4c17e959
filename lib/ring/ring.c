// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/ring/ring.h"

static struct ring_entry *submissions(struct ring_shared *shared)
{
    return (struct ring_entry *)((uint8_t *)shared + RING_ENTRIES_OFFSET);
}

static struct ring_entry *completions(struct ring_shared *shared, uint32_t entries)
{
    return submissions(shared) + entries;
}

static status_t check(const struct ring_shared *shared, uint32_t entries)
{
    if (!ring_entries_valid(entries)) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (ring_load(&shared->magic) != RING_MAGIC || ring_load(&shared->version) != RING_VERSION ||
        ring_load(&shared->entries) != entries) {
        return STATUS_WRONG_VERSION;
    }
    return STATUS_OK;
}

/* The generation after `old`; 0 means "none". */
static uint32_t next_generation(uint32_t old)
{
    return old + 1u != 0 ? old + 1u : 1u;
}

/* ---- Client -----------------------------------------------------------------------------------
 */

status_t ring_client_init(struct ring_client *client, void *memory, uint32_t entries)
{
    struct ring_shared *shared = memory;
    status_t status = check(shared, entries);

    if (status != STATUS_OK) {
        return status;
    }
    *client = (struct ring_client){
        .shared = shared,
        .entries = entries,
        .session = RING_SESSION_CLOSED,
        /* Goes on from the last life's. A peer that spoils it harms only this ring. */
        .generation = ring_load(&shared->client_generation),
    };
    return STATUS_OK;
}

void ring_client_start(struct ring_client *client)
{
    client->generation = next_generation(client->generation);
    client->session = RING_SESSION_OPENING;
    ring_store(&client->shared->client_state, RING_STATE_CLOSED);
    ring_store(&client->shared->client_generation, client->generation);
}

void ring_client_attach(struct ring_client *client)
{
    struct ring_shared *shared = client->shared;

    client->submit = (struct ring_producer){
        .entries = submissions(shared),
        .mask = client->entries - 1u,
        .shared_tail = &shared->submit_tail,
        .shared_head = &shared->submit_head,
        .wanted = &shared->submit_wanted,
    };
    client->complete = (struct ring_consumer){
        .entries = completions(shared, client->entries),
        .mask = client->entries - 1u,
        .shared_tail = &shared->complete_tail,
        .shared_head = &shared->complete_head,
        .wanted = &shared->complete_wanted,
        .room_wanted = &shared->room_wanted,
    };
}

bool ring_client_connect(struct ring_client *client)
{
    struct ring_shared *shared = client->shared;

    if (client->session != RING_SESSION_OPENING) {
        return client->session == RING_SESSION_OPEN;
    }
    /* Should the server start anew between these loads, then the generation is an old one, and the
     * next ring_client_alive tells. */
    uint32_t peer_generation = ring_load(&shared->server_generation);
    if (ring_load(&shared->client_generation_seen) != client->generation ||
        ring_load(&shared->server_state) != RING_STATE_OPEN || peer_generation == 0) {
        return false;
    }
    client->peer_generation = peer_generation;
    ring_client_attach(client);
    ring_store(&shared->submit_tail, 0);
    ring_store(&shared->complete_head, 0);
    ring_store(&shared->complete_wanted, 0);
    ring_store(&shared->server_generation_seen, peer_generation);
    ring_store(&shared->client_state, RING_STATE_OPEN);
    client->session = RING_SESSION_OPEN;
    return true;
}

void ring_client_close(struct ring_client *client)
{
    client->session = RING_SESSION_CLOSED;
    ring_store(&client->shared->client_state, RING_STATE_CLOSED);
}

/* ---- Server -----------------------------------------------------------------------------------
 */

status_t ring_server_init(struct ring_server *server, void *memory, uint32_t entries)
{
    struct ring_shared *shared = memory;
    status_t status = check(shared, entries);

    if (status != STATUS_OK) {
        return status;
    }
    *server = (struct ring_server){
        .shared = shared,
        .entries = entries,
        .session = RING_SESSION_CLOSED,
        .generation = ring_load(&shared->server_generation),
    };
    return STATUS_OK;
}

void ring_server_start(struct ring_server *server)
{
    struct ring_shared *shared = server->shared;

    server->generation = next_generation(server->generation);
    server->session = RING_SESSION_OPENING;
    server->peer_generation = 0;
    /* The state first: a client must not take the last life's answer for this one's. */
    ring_store(&shared->server_state, RING_STATE_CLOSED);
    ring_store(&shared->client_generation_seen, 0);
    ring_store(&shared->server_generation, server->generation);
}

void ring_server_attach(struct ring_server *server)
{
    struct ring_shared *shared = server->shared;

    server->submit = (struct ring_consumer){
        .entries = submissions(shared),
        .mask = server->entries - 1u,
        .shared_tail = &shared->submit_tail,
        .shared_head = &shared->submit_head,
        .wanted = &shared->submit_wanted,
    };
    server->complete = (struct ring_producer){
        .entries = completions(shared, server->entries),
        .mask = server->entries - 1u,
        .shared_tail = &shared->complete_tail,
        .shared_head = &shared->complete_head,
        .wanted = &shared->complete_wanted,
        .room_wanted = &shared->room_wanted,
    };
}

void ring_server_answer(struct ring_server *server)
{
    struct ring_shared *shared = server->shared;

    server->peer_generation = ring_load(&shared->client_generation);
    server->session = RING_SESSION_OPENING;
    ring_server_attach(server);
    ring_store(&shared->submit_head, 0);
    ring_store(&shared->complete_tail, 0);
    ring_store(&shared->submit_wanted, 0);
    ring_store(&shared->room_wanted, 0);
    ring_store(&shared->server_generation, server->generation); /* should it have been spoilt */
    ring_store(&shared->server_state, RING_STATE_OPEN);
    ring_store(&shared->client_generation_seen, server->peer_generation);
}

bool ring_server_connect(struct ring_server *server)
{
    struct ring_shared *shared = server->shared;

    if (server->session == RING_SESSION_OPENING && server->peer_generation != 0 &&
        ring_load(&shared->client_state) == RING_STATE_OPEN &&
        ring_load(&shared->client_generation) == server->peer_generation &&
        ring_load(&shared->server_generation_seen) == server->generation) {
        server->session = RING_SESSION_OPEN;
    }
    return server->session == RING_SESSION_OPEN;
}

void ring_server_close(struct ring_server *server)
{
    server->session = RING_SESSION_CLOSED;
    ring_store(&server->shared->server_state, RING_STATE_CLOSED);
}
