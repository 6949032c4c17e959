// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/web.h"

typedef unsigned long long ull;

static const char page_start[] =
    "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>"
    "<meta name=viewport content='width=device-width'><title>Hallows kvstore</title><style>"
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;"
    "color:#222;background:#fff}h1{font-size:1.5em;margin-bottom:0}h2{font-size:1.1em;"
    "margin:1.5em 0 .3em}table{border-collapse:collapse;width:100%}th,td{text-align:left;"
    "padding:.2em .8em .2em 0;border-bottom:1px solid #ddd;font-weight:normal;vertical-align:top}"
    "th{color:#666;width:16em}td{font-variant-numeric:tabular-nums}thead th{width:auto}"
    "p{margin:.2em 0;color:#666}@media(prefers-color-scheme:dark){body{color:#ddd;"
    "background:#151515}th,td{border-color:#333}th,p{color:#999}a{color:#8bf}}</style>"
    "<h1>Hallows kvstore</h1>";

/* ---- Figures ----------------------------------------------------------------------------------
 */

static void row(struct text *text, const char *name, uint64_t value)
{
    text_print(text, "<tr><th>%s<td>%llu", name, (ull)value);
}

static uint64_t ticks_a_command(const struct server *server)
{
    return server->counters.commands == 0 ? 0 : server->busy_ticks / server->counters.commands;
}

static void html_memory(struct text *text, const struct server *server)
{
    struct heap_counters heap;

    heap_read_counters(server->heap, &heap);
    text_print(text, "<h2>Memory</h2><table>");
    row(text, "heap used, bytes", heap.used_bytes);
    row(text, "highest so far, bytes", heap.peak_bytes);
    row(text, "heap, bytes", heap.total_bytes);
    row(text, "limit (maxmemory), bytes", server->config.max_memory_bytes);
    row(text, "blocks", heap.blocks);
    text_print(text, "</table>");
}

static void html_log(struct text *text, const struct server *server)
{
    const struct server_log_status *log = &server->log;
    const struct journal *journal = &server->database.journal;

    text_print(text, "<h2>Log</h2><table>");
    text_print(text, "<tr><th>state<td>%s",
               journal->refusal == STATUS_OK ? "in order" : status_text(journal->refusal));
    row(text, "tail position", log->tail);
    row(text, "durable position", log->durable);
    row(text, "head position", log->head);
    row(text, "used, bytes", log->used_bytes);
    row(text, "capacity, bytes", log->capacity_bytes);
    row(text, "records", journal->records);
    row(text, "batches", log->appends);
    row(text, "checkpoints", server->database.checkpoints);
    row(text, "records recovered at start", log->recovered_records);
    text_print(text, "</table>");
}

static void write_page(const struct web_source *source, struct text *text)
{
    const struct server *server = source->server;
    const struct server_counters *counters = &server->counters;
    const struct database *database = &server->database;

    text_put(text, page_start, sizeof page_start - 1);
    text_print(text, "<p>version %s, up %llu s, port %u. <a href=/status.json>The same as JSON</a>",
               SERVER_VERSION, (ull)((server->now_ns - server->started_ns) / 1000000000u),
               server->config.tcp_port);
    text_print(text, "<h2>Operations</h2><table>");
    row(text, "commands", counters->commands);
    row(text, "commands a second", server->rate_per_second);
    row(text, "busy instructions a request (outside of icount: TSC ticks)",
        ticks_a_command(server));
    row(text, "error replies", counters->error_replies);
    row(text, "keys", keyspace_count(&database->keyspace));
    row(text, "keys that expire", keyspace_expiring(&database->keyspace));
    row(text, "hits", database->hits);
    row(text, "misses", database->misses);
    text_print(text, "</table><h2>Connections</h2><table>");
    row(text, "open", server->session_count);
    row(text, "accepted so far", counters->connections);
    row(text, "refused", counters->rejected_connections);
    row(text, "bytes in", counters->input_bytes);
    row(text, "bytes out", counters->output_bytes);
    text_print(text, "</table>");
    html_memory(text, server);
    html_log(text, server);
    if (source->write_html != NULL) {
        source->write_html(source->context, text);
    }
    text_print(text, "</html>\n");
}

static void json_rest(struct text *text, const struct server *server)
{
    struct heap_counters heap;
    const struct server_log_status *log = &server->log;
    const struct journal *journal = &server->database.journal;

    heap_read_counters(server->heap, &heap);
    text_print(text,
               ",\"memory\":{\"used_bytes\":%zu,\"peak_bytes\":%zu,\"heap_bytes\":%zu,"
               "\"limit_bytes\":%llu,\"blocks\":%zu,\"failures\":%llu}",
               heap.used_bytes, heap.peak_bytes, heap.total_bytes,
               (ull)server->config.max_memory_bytes, heap.blocks, (ull)heap.failures);
    text_print(text,
               ",\"log\":{\"state\":\"%s\",\"tail\":%llu,\"durable\":%llu,\"head\":%llu,"
               "\"used_bytes\":%llu,\"capacity_bytes\":%llu,\"records\":%llu,\"batches\":%llu,"
               "\"batch_bytes\":%llu,\"checkpoints\":%llu,\"recovered_records\":%llu,"
               "\"recovery_ns\":%llu}",
               status_name(journal->refusal), (ull)log->tail, (ull)log->durable, (ull)log->head,
               (ull)log->used_bytes, (ull)log->capacity_bytes, (ull)journal->records,
               (ull)log->appends, (ull)log->append_bytes, (ull)server->database.checkpoints,
               (ull)log->recovered_records, (ull)log->recovery_ns);
}

static void write_json(const struct web_source *source, struct text *text)
{
    const struct server *server = source->server;
    const struct server_counters *counters = &server->counters;
    const struct database *database = &server->database;

    text_print(text,
               "{\"version\":\"%s\",\"run_id\":\"%s\",\"uptime_ns\":%llu,\"unix_ms\":%lld,"
               "\"port\":%u",
               SERVER_VERSION, server->run_id, (ull)(server->now_ns - server->started_ns),
               (long long)database->now_ms, server->config.tcp_port);
    text_print(text,
               ",\"operations\":{\"commands\":%llu,\"per_second\":%llu,\"busy_ticks\":%llu,"
               "\"busy_instructions_per_request\":%llu,\"error_replies\":%llu,\"keys\":%zu,"
               "\"expiring\":%zu,\"hits\":%llu,\"misses\":%llu,\"expired\":%llu}",
               (ull)counters->commands, (ull)server->rate_per_second, (ull)server->busy_ticks,
               (ull)ticks_a_command(server), (ull)counters->error_replies,
               keyspace_count(&database->keyspace), keyspace_expiring(&database->keyspace),
               (ull)database->hits, (ull)database->misses, (ull)database->expired_keys);
    text_print(text,
               ",\"connections\":{\"open\":%u,\"accepted\":%llu,\"refused\":%llu,"
               "\"bytes_in\":%llu,\"bytes_out\":%llu}",
               server->session_count, (ull)counters->connections,
               (ull)counters->rejected_connections, (ull)counters->input_bytes,
               (ull)counters->output_bytes);
    json_rest(text, server);
    if (source->write_json != NULL) {
        source->write_json(source->context, text);
    }
    text_print(text, "}\n");
}

/* ---- Connections ------------------------------------------------------------------------------
 */

struct web_session *web_open(struct heap *heap, const struct web_source *source)
{
    struct web_session *session = heap_allocate(heap, sizeof *session);

    if (session != NULL) {
        session->source = source;
        session->user = NULL;
        session->closing = false;
        session->input_bytes = 0;
        chain_init(&session->out, heap);
    }
    return session;
}

void web_close(struct web_session *session)
{
    struct heap *heap = session->out.heap;

    chain_clear(&session->out);
    heap_free(heap, session);
}

static void respond(struct web_session *session, struct http_response response, struct slice body,
                    bool head_only)
{
    char head[HTTP_RESPONSE_HEAD_BYTES_MAX];

    response.content_bytes = body.bytes;
    chain_put(&session->out, head, http_format_head(head, &response));
    if (!head_only) {
        chain_put(&session->out, body.data, body.bytes);
    }
    session->closing |= response.close || session->out.failed;
}

static void respond_error(struct web_session *session, enum http_result status, bool close,
                          bool head_only)
{
    struct text text;

    text_init(&text, session->out.heap);
    text_print(&text, "%d %s\n", (int)status, http_reason(status));
    respond(session, (struct http_response){status, "text/plain", 0, close}, text_slice(&text),
            head_only);
    text_free(&text);
}

static bool path_is(struct http_text path, const char *wanted)
{
    return slice_equal(slice_of(path.data, path.bytes), slice_text(wanted));
}

/* The whole of a page that is another part's JSON, or NULL. */
static void (*json_page(const struct web_session *session, struct http_text path))(void *,
                                                                                   struct text *)
{
    return path_is(path, "/storage.json")   ? session->source->write_storage
           : path_is(path, "/netstat.json") ? session->source->write_netstat
                                            : NULL;
}

static void answer(struct web_session *session, const struct http_request *request)
{
    bool json = path_is(request->path, "/status.json");
    void (*write_page_json)(void *, struct text *) = json_page(session, request->path);
    struct text text;

    if (!json && write_page_json == NULL && !path_is(request->path, "/")) {
        respond_error(session, HTTP_NOT_FOUND, !request->keep_alive, request->head);
        return;
    }
    text_init(&text, session->out.heap);
    if (json) {
        write_json(session->source, &text);
    } else if (write_page_json != NULL) {
        write_page_json(session->source->context, &text);
    } else {
        write_page(session->source, &text);
    }
    if (text.failed) {
        respond_error(session, HTTP_UNAVAILABLE, true, request->head);
    } else {
        const char *type =
            json || write_page_json != NULL ? "application/json" : "text/html; charset=utf-8";
        respond(session, (struct http_response){HTTP_REQUEST, type, 0, !request->keep_alive},
                text_slice(&text), request->head);
    }
    text_free(&text);
}

/* Answers the complete requests in the input. */
static void answer_all(struct web_session *session)
{
    size_t at = 0;

    while (!session->closing && at < session->input_bytes) {
        struct http_request request;
        size_t used;
        enum http_result result =
            http_parse(session->input + at, session->input_bytes - at, &request, &used);
        if (result == HTTP_MORE) {
            break;
        }
        if (result != HTTP_REQUEST) {
            respond_error(session, result, true, request.head);
            break;
        }
        at += used;
        answer(session, &request);
    }
    session->input_bytes -= (uint32_t)at;
    memmove(session->input, session->input + at, session->input_bytes);
}

size_t web_feed(struct web_session *session, const uint8_t *data, size_t bytes)
{
    size_t taken = 0;

    /* Many requests at once would pile up pages: a few at a time. */
    while (!session->closing && taken < bytes &&
           chain_bytes(&session->out) < SESSION_OUTPUT_PAUSE_BYTES) {
        size_t room = sizeof session->input - session->input_bytes;
        size_t take = bytes - taken < room ? bytes - taken : room;
        memcpy(session->input + session->input_bytes, data + taken, take);
        session->input_bytes += (uint32_t)take;
        taken += take;
        answer_all(session);
    }
    return session->closing ? bytes : taken;
}

size_t web_output(const struct web_session *session, const uint8_t **data)
{
    return chain_peek(&session->out, data);
}

void web_sent(struct web_session *session, size_t bytes)
{
    chain_consume(&session->out, bytes);
}

bool web_finished(const struct web_session *session)
{
    return session->closing && chain_bytes(&session->out) == 0;
}
