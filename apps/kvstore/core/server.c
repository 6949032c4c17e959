// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/server.h"

#include "apps/kvstore/core/command.h"
#include "apps/kvstore/core/session.h"

#define BULK_BYTES_DEFAULT (512u << 20)
#define CLIENTS_DEFAULT 10000u
#define MILLISECOND_NS 1000000ull
#define EXPIRY_PERIOD_NS (100 * MILLISECOND_NS)

static void make_run_id(struct server *server)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 40; i++) {
        uint64_t word = i < 16 ? server->config.random[3] : server->config.random[4];
        server->run_id[i] = digits[(word * (i * 2 + 1)) >> (4 * (i % 16)) & 15];
    }
    server->run_id[40] = 0;
}

status_t server_init(struct server *server, struct heap *heap, const struct server_config *config,
                     time_ns_t now_ns)
{
    *server = (struct server){.heap = heap, .config = *config, .started_ns = now_ns};
    server->now_ns = now_ns;
    server->rate_ns = now_ns;
    server->next_session_id = 1;
    if (server->config.bulk_bytes_max == 0) {
        server->config.bulk_bytes_max = BULK_BYTES_DEFAULT;
    }
    if (server->config.clients_max == 0) {
        server->config.clients_max = CLIENTS_DEFAULT;
    }
    chain_init(&server->sink, heap);
    command_map_init(&server->command_map);
    make_run_id(server);
    size_t calls_bytes = command_count() * sizeof *server->command_calls;
    server->command_calls = heap_allocate(heap, calls_bytes);
    if (server->command_calls == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(server->command_calls, 0, calls_bytes);
    status_t status = database_init(&server->database, heap, config->random);
    if (status != STATUS_OK) {
        heap_free(heap, server->command_calls);
    }
    return status;
}

void server_destroy(struct server *server)
{
    while (server->sessions != NULL) {
        session_close(server->sessions);
    }
    chain_clear(&server->sink);
    database_destroy(&server->database);
    heap_free(server->heap, server->command_calls);
}

void server_set_time(struct server *server, time_ns_t now_ns, int64_t unix_ms)
{
    server->now_ns = now_ns;
    database_set_time(&server->database, unix_ms);
}

void server_set_durable(struct server *server, uint64_t position)
{
    struct journal *journal = &server->database.journal;

    if (position <= journal->durable) {
        return;
    }
    journal->durable = position;
    for (struct session *session = server->sessions; session != NULL; session = session->next) {
        if (session->hold_count != 0 && session->holds[0].position <= position) {
            session_mark_ready(session);
        }
    }
}

void server_log_failed(struct server *server, status_t status)
{
    struct journal *journal = &server->database.journal;

    journal->refusal = status;
    for (struct session *session = server->sessions; session != NULL; session = session->next) {
        if (session->hold_count != 0 &&
            session->holds[session->hold_count - 1].position > journal->durable) {
            session_abort(session);
        }
    }
    journal->durable = UINT64_MAX;
}

time_ns_t server_upkeep(struct server *server)
{
    bool more = database_reclaim_some(&server->database);

    if (server->now_ns - server->rate_ns >= 1000 * MILLISECOND_NS) {
        uint64_t commands = server->counters.commands - server->rate_commands;
        server->rate_per_second =
            commands * 1000 * MILLISECOND_NS / (server->now_ns - server->rate_ns);
        server->rate_commands = server->counters.commands;
        server->rate_ns = server->now_ns;
    }
    if (keyspace_expiring(&server->database.keyspace) == 0) {
        return more ? server->now_ns : DEADLINE_NEVER;
    }
    if (server->now_ns >= server->expiry_due_ns) {
        bool many = database_expire_some(&server->database);
        server->expiry_due_ns = server->now_ns + (many ? MILLISECOND_NS : EXPIRY_PERIOD_NS);
    }
    return more ? server->now_ns : server->expiry_due_ns;
}

uint64_t server_used_memory(const struct server *server)
{
    struct heap_counters counters;

    heap_read_counters(server->heap, &counters);
    return counters.used_bytes;
}

bool server_memory_exhausted(const struct server *server)
{
    return server->config.max_memory_bytes != 0 &&
           server_used_memory(server) > server->config.max_memory_bytes;
}

struct session *server_next_ready(struct server *server)
{
    struct session *session = server->ready_first;

    if (session != NULL) {
        server->ready_first = session->ready_next;
        if (server->ready_first == NULL) {
            server->ready_last = NULL;
        }
        session->ready_next = NULL;
        session->flags &= ~(uint32_t)SESSION_READY;
    }
    return session;
}
