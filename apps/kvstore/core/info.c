// SPDX-License-Identifier: MIT OR Apache-2.0
/* INFO: the sections and fields that clients and people of this protocol know. */
#include "apps/kvstore/core/command.h"

typedef unsigned long long ull;

static void info_server(const struct server *server, struct text *text)
{
    uint64_t uptime_s = (server->now_ns - server->started_ns) / 1000000000u;

    text_print(text,
               "# Server\r\nredis_version:%s\r\nserver_name:hallows-kvstore\r\n"
               "server_version:%s\r\nredis_mode:standalone\r\nos:%s\r\narch_bits:64\r\n",
               SERVER_REDIS_VERSION, SERVER_VERSION, server->config.os);
    text_print(text,
               "run_id:%s\r\ntcp_port:%u\r\nserver_time_usec:%lld\r\nuptime_in_seconds:%llu\r\n"
               "uptime_in_days:%llu\r\n",
               server->run_id, server->config.tcp_port, (long long)server->database.now_ms * 1000,
               (ull)uptime_s, (ull)uptime_s / 86400);
}

static void info_clients(const struct server *server, struct text *text)
{
    text_print(text, "# Clients\r\nconnected_clients:%u\r\nmaxclients:%u\r\nblocked_clients:0\r\n",
               server->session_count, server->config.clients_max);
}

static void info_memory(const struct server *server, struct text *text)
{
    struct heap_counters heap;

    heap_read_counters(server->heap, &heap);
    text_print(text,
               "# Memory\r\nused_memory:%zu\r\nused_memory_human:%zu.%02zuM\r\n"
               "used_memory_peak:%zu\r\ntotal_system_memory:%zu\r\n",
               heap.used_bytes, heap.used_bytes >> 20, (heap.used_bytes & 0xfffff) * 100 >> 20,
               heap.peak_bytes, heap.total_bytes);
    text_print(text,
               "maxmemory:%llu\r\nmaxmemory_policy:noeviction\r\nheap_blocks:%zu\r\n"
               "heap_allocations:%llu\r\nheap_failures:%llu\r\nmem_allocator:hallows-heap\r\n",
               (ull)server->config.max_memory_bytes, heap.blocks, (ull)heap.allocations,
               (ull)heap.failures);
}

/* Seconds, as Redis tells them: -1 where there is nothing to tell. */
static long long seconds(int64_t ms)
{
    return ms < 0 ? -1 : (long long)(ms / 1000);
}

/* A checkpoint is both of what Redis knows: a save, and a rewrite of the log. */
static void info_checkpoint(const struct database *database, struct text *text)
{
    bool open = database->checkpoint_open;
    const char *result = database->checkpoint_result == STATUS_OK ? "ok" : "err";
    long long last_s = seconds(database->checkpoint_took_ms);
    long long now_s = seconds(open ? database->now_ms - database->checkpoint_begun_ms : -1);

    text_print(text,
               "rdb_changes_since_last_save:%llu\r\nrdb_bgsave_in_progress:%d\r\n"
               "rdb_last_save_time:%lld\r\nrdb_last_bgsave_status:%s\r\n"
               "rdb_last_bgsave_time_sec:%lld\r\nrdb_current_bgsave_time_sec:%lld\r\n"
               "rdb_saves:%llu\r\n",
               (ull)(database->changes - database->checkpoint_changes), open,
               (long long)(database->checkpoint_ms / 1000), result, last_s, now_s,
               (ull)database->checkpoints);
    text_print(text,
               "aof_enabled:1\r\naof_rewrite_in_progress:%d\r\naof_rewrite_scheduled:%d\r\n"
               "aof_last_rewrite_time_sec:%lld\r\naof_current_rewrite_time_sec:%lld\r\n"
               "aof_last_bgrewrite_status:%s\r\naof_rewrites:%llu\r\n",
               open, database->checkpoint_wanted, last_s, now_s, result,
               (ull)database->checkpoints);
}

static void info_persistence(const struct server *server, struct text *text)
{
    const struct journal *journal = &server->database.journal;
    const struct server_log_status *log = &server->log;

    /* Nobody is served while the log is read. */
    text_print(text, "# Persistence\r\nloading:0\r\nasync_loading:0\r\n");
    info_checkpoint(&server->database, text);
    text_print(text,
               "aof_last_write_status:%s\r\naof_current_size:%llu\r\naof_base_size:%llu\r\n"
               "aof_buffer_length:%llu\r\naof_pending_bio_fsync:%d\r\n",
               journal->refusal != STATUS_OK ? "err" : "ok", (ull)log->used_bytes,
               (ull)log->base_bytes, (ull)chain_bytes(&journal->pending),
               log->accepted != log->durable);
    text_print(text,
               "log_tail:%llu\r\nlog_head:%llu\r\nlog_accepted:%llu\r\nlog_durable:%llu\r\n"
               "log_capacity_bytes:%llu\r\nlog_flushes:%llu\r\n",
               (ull)log->tail, (ull)log->head, (ull)log->accepted, (ull)log->durable,
               (ull)log->capacity_bytes, (ull)log->flushes);
    text_print(text,
               "log_records:%llu\r\nlog_appends:%llu\r\nlog_append_bytes:%llu\r\n"
               "log_recovered_records:%llu\r\nlog_recovered_bytes:%llu\r\n"
               "log_recovery_milliseconds:%llu\r\n",
               (ull)journal->records, (ull)log->appends, (ull)log->append_bytes,
               (ull)log->recovered_records, (ull)log->recovered_bytes,
               (ull)log->recovery_ns / 1000000);
}

static void info_stats(const struct server *server, struct text *text)
{
    const struct server_counters *counters = &server->counters;
    const struct database *database = &server->database;
    uint64_t commands = counters->commands == 0 ? 1 : counters->commands;

    text_print(text,
               "# Stats\r\ntotal_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
               "instantaneous_ops_per_sec:%llu\r\ntotal_net_input_bytes:%llu\r\n"
               "total_net_output_bytes:%llu\r\nrejected_connections:%llu\r\n",
               (ull)counters->connections, (ull)counters->commands, (ull)server->rate_per_second,
               (ull)counters->input_bytes, (ull)counters->output_bytes,
               (ull)counters->rejected_connections);
    text_print(text,
               "expired_keys:%llu\r\nevicted_keys:0\r\nkeyspace_hits:%llu\r\n"
               "keyspace_misses:%llu\r\ntotal_error_replies:%llu\r\nbusy_ticks:%llu\r\n"
               "busy_ticks_per_command:%llu\r\n",
               (ull)database->expired_keys, (ull)database->hits, (ull)database->misses,
               (ull)counters->error_replies, (ull)server->busy_ticks,
               (ull)(server->busy_ticks / commands));
}

static void info_replication(const struct server *server, struct text *text)
{
    (void)server;
    text_print(text, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"
                     "master_repl_offset:0\r\n");
}

static void info_cpu(const struct server *server, struct text *text)
{
    text_print(text, "# CPU\r\nbusy_ticks:%llu\r\n", (ull)server->busy_ticks);
}

static void info_commandstats(const struct server *server, struct text *text)
{
    text_print(text, "# Commandstats\r\n");
    for (uint32_t i = 0; i < command_count(); i++) {
        if (server->command_calls[i] != 0) {
            text_print(text, "cmdstat_%s:calls=%llu\r\n", command_at(i)->name,
                       (ull)server->command_calls[i]);
        }
    }
}

static void info_cluster(const struct server *server, struct text *text)
{
    (void)server;
    text_print(text, "# Cluster\r\ncluster_enabled:0\r\n");
}

static void info_keyspace(const struct server *server, struct text *text)
{
    const struct keyspace *keyspace = &server->database.keyspace;

    text_print(text, "# Keyspace\r\n");
    if (keyspace_count(keyspace) != 0) {
        text_print(text, "db0:keys=%zu,expires=%zu,avg_ttl=0\r\n", keyspace_count(keyspace),
                   keyspace_expiring(keyspace));
    }
}

static const struct {
    const char *name;
    void (*write)(const struct server *server, struct text *text);
    bool always; /* without being asked for by name */
} sections[] = {
    {"SERVER", info_server, true},   {"CLIENTS", info_clients, true},
    {"MEMORY", info_memory, true},   {"PERSISTENCE", info_persistence, true},
    {"STATS", info_stats, true},     {"REPLICATION", info_replication, true},
    {"CPU", info_cpu, true},         {"COMMANDSTATS", info_commandstats, false},
    {"CLUSTER", info_cluster, true}, {"KEYSPACE", info_keyspace, true},
};

void command_info(struct call *call)
{
    struct text text;

    if (call->server->refresh_log != NULL) {
        call->server->refresh_log(call->server->refresh_context);
    }
    text_init(&text, call->server->heap);
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        bool asked = call->count == 1 && sections[i].always;
        for (size_t at = 1; at < call->count; at++) {
            asked |= argument_is(call, at, sections[i].name) || argument_is(call, at, "ALL") ||
                     argument_is(call, at, "EVERYTHING") ||
                     (argument_is(call, at, "DEFAULT") && sections[i].always);
        }
        if (asked) {
            if (text.bytes != 0) {
                text_put(&text, "\r\n", 2);
            }
            sections[i].write(call->server, &text);
        }
    }
    if (text.failed) {
        reply_refused(call, STATUS_NO_MEMORY);
    } else {
        reply_verbatim(&call->reply, text.bytes == 0 ? slice_of("", 0) : text_slice(&text));
    }
    text_free(&text);
}
