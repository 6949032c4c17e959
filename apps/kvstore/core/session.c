// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/session.h"

#include "apps/kvstore/core/command.h"

/* An input buffer larger than this is freed when it is empty. */
#define INPUT_KEPT_BYTES 4096u
#define INPUT_BYTES_MIN 4096u

const char *session_refusal(void)
{
    return "-ERR max number of clients reached\r\n";
}

struct session *session_open(struct server *server, const char *peer)
{
    struct session *session = NULL;

    if (server->session_count < server->config.clients_max) {
        session = heap_allocate(server->heap, sizeof *session);
    }
    if (session == NULL) {
        server->counters.rejected_connections++;
        return NULL;
    }
    memset(session, 0, sizeof *session);
    session->server = server;
    session->id = server->next_session_id++;
    session->version = 2;
    resp_init(&session->parser, server->heap, server->config.bulk_bytes_max);
    chain_init(&session->out, server->heap);
    session->opened_ms = server->database.now_ms;
    session->active_ms = server->database.now_ms;
    memcpy(session->peer, peer, strnlen(peer, SESSION_PEER_BYTES - 1));
    session->next = server->sessions;
    if (session->next != NULL) {
        session->next->previous = session;
    }
    server->sessions = session;
    server->session_count++;
    server->counters.connections++;
    return session;
}

static void leave_ready_list(struct session *session)
{
    struct server *server = session->server;
    struct session *before = NULL;

    for (struct session *at = server->ready_first; at != NULL; at = at->ready_next) {
        if (at == session) {
            if (before == NULL) {
                server->ready_first = at->ready_next;
            } else {
                before->ready_next = at->ready_next;
            }
            if (server->ready_last == at) {
                server->ready_last = before;
            }
            return;
        }
        before = at;
    }
}

void session_drop_queue(struct session *session)
{
    while (session->queue_first != NULL) {
        struct queued_request *request = session->queue_first;
        session->queue_first = request->next;
        heap_free(session->server->heap, request);
    }
    session->queue_last = NULL;
    session->queue_count = 0;
    session->flags &= ~(uint32_t)(SESSION_MULTI | SESSION_MULTI_BROKEN);
}

void session_close(struct session *session)
{
    struct server *server = session->server;
    struct heap *heap = server->heap;

    if ((session->flags & SESSION_READY) != 0) {
        leave_ready_list(session);
    }
    if (session->previous != NULL) {
        session->previous->next = session->next;
    } else {
        server->sessions = session->next;
    }
    if (session->next != NULL) {
        session->next->previous = session->previous;
    }
    server->session_count--;
    session_drop_queue(session);
    resp_free(&session->parser);
    chain_clear(&session->out);
    heap_free(heap, session->input);
    heap_free(heap, session->name);
    heap_free(heap, session->library_name);
    heap_free(heap, session->library_version);
    heap_free(heap, session);
}

void session_mark_ready(struct session *session)
{
    struct server *server = session->server;

    if ((session->flags & SESSION_READY) != 0) {
        return;
    }
    session->flags |= SESSION_READY;
    if (server->ready_last == NULL) {
        server->ready_first = session;
    } else {
        server->ready_last->ready_next = session;
    }
    server->ready_last = session;
}

void session_abort(struct session *session)
{
    session->flags |= SESSION_ABORTED;
    session_mark_ready(session);
}

void session_hold(struct session *session, uint64_t output, uint64_t position)
{
    if (session->hold_count != 0) {
        struct session_hold *last = &session->holds[session->hold_count - 1];
        if (position <= last->position) {
            return;
        }
        /* Without a place for another one, more waits than has to. */
        if (last->output == output || session->hold_count == SESSION_HOLDS_MAX) {
            last->position = position;
            return;
        }
    }
    session->holds[session->hold_count++] = (struct session_hold){output, position};
}

/* ---- Input ------------------------------------------------------------------------------------
 */

static void protocol_error(struct session *session)
{
    struct resp_parser *parser = &session->parser;
    struct reply reply = {.out = &session->out, .version = session->version};

    if (parser->bad_byte != 0) {
        reply_error_format(&reply, "ERR %s '%c'", parser->error, parser->bad_byte);
    } else {
        reply_error_format(&reply, "ERR %s", parser->error);
    }
    session->server->counters.error_replies++;
    session->flags |= SESSION_CLOSING;
}

static void out_of_memory(struct session *session)
{
    struct reply reply = {.out = &session->out, .version = session->version};

    reply_error(&reply, "OOM request does not fit into memory");
    session->server->counters.error_replies++;
}

/* Executes the complete requests in `data`; returns how many bytes they took. */
static size_t execute_all(struct session *session, const uint8_t *data, size_t bytes)
{
    struct resp_parser *parser = &session->parser;
    size_t used = 0;

    session->flags &= ~(uint32_t)SESSION_PAUSED;
    while (used < bytes && (session->flags & (SESSION_CLOSING | SESSION_ABORTED)) == 0) {
        if (session->out.failed) {
            session_abort(session);
            break;
        }
        if (chain_bytes(&session->out) > SESSION_OUTPUT_PAUSE_BYTES) {
            session->flags |= SESSION_PAUSED;
            break;
        }
        size_t usual = parser->finished ? usual_request(session, data + used, bytes - used) : 0;
        if (usual != 0) {
            used += usual;
            continue;
        }
        enum resp_result result = resp_parse(parser, data + used, bytes - used);
        if (result == RESP_MORE) {
            break;
        }
        if (result == RESP_MALFORMED) {
            protocol_error(session);
            break;
        }
        if (result == RESP_NO_MEMORY) {
            out_of_memory(session);
            session->flags |= SESSION_CLOSING;
            break;
        }
        used += parser->position;
        if (parser->count != 0) {
            command_execute(session, parser->arguments, parser->count);
        }
    }
    if (session->out.failed) {
        session_abort(session);
    }
    return used;
}

/* Room for `bytes` more input; large requests double it, so that copying stays linear. */
static bool make_room(struct session *session, size_t bytes)
{
    if (session->input_capacity - session->input_end >= bytes) {
        return true;
    }
    size_t length = session->input_end - session->input_start;
    if (session->input_start != 0) {
        memmove(session->input, session->input + session->input_start, length);
        session->input_start = 0;
        session->input_end = length;
        if (session->input_capacity - length >= bytes) {
            return true;
        }
    }
    size_t capacity = length + bytes;
    size_t expected = resp_bytes_expected(&session->parser);
    if (expected > session->input_capacity * 2) {
        expected = session->input_capacity * 2;
    }
    capacity = capacity < expected ? expected : capacity;
    capacity = capacity < INPUT_BYTES_MIN ? INPUT_BYTES_MIN : capacity;
    uint8_t *input = heap_resize(session->server->heap, session->input, capacity);
    if (input == NULL) {
        return false;
    }
    session->input = input;
    session->input_capacity = capacity;
    return true;
}

static void drop_input(struct session *session)
{
    session->input_start = 0;
    session->input_end = 0;
    if (session->input_capacity > INPUT_KEPT_BYTES) {
        heap_free(session->server->heap, session->input);
        session->input = NULL;
        session->input_capacity = 0;
    }
}

/* Keeps input for later; returns how much it took. Without memory a request is passed over from
 * here on: then that is 0. */
static size_t keep_input(struct session *session, const uint8_t *data, size_t bytes)
{
    if (bytes == 0 || (session->flags & (SESSION_CLOSING | SESSION_ABORTED)) != 0) {
        return bytes;
    }
    if (make_room(session, bytes)) {
        memcpy(session->input + session->input_end, data, bytes);
        session->input_end += bytes;
        return bytes;
    }
    size_t seen = session->input_end - session->input_start;
    if ((session->flags & SESSION_PAUSED) != 0 || !resp_skip_begin(&session->parser, seen)) {
        out_of_memory(session);
        session->flags |= SESSION_CLOSING;
        return bytes;
    }
    session->flags |= SESSION_SKIPPING;
    drop_input(session);
    return 0;
}

static size_t skip_input(struct session *session, const uint8_t *data, size_t bytes)
{
    size_t used;
    enum resp_result result = resp_skip(&session->parser, data, bytes, &used);

    if (result == RESP_REQUEST) {
        out_of_memory(session);
    } else if (result == RESP_MALFORMED) {
        protocol_error(session);
    }
    if (result != RESP_MORE) {
        session->flags &= ~(uint32_t)SESSION_SKIPPING;
    }
    return used;
}

static void execute_kept(struct session *session)
{
    size_t length = session->input_end - session->input_start;

    session->input_start += execute_all(session, session->input + session->input_start, length);
    if (session->input_start == session->input_end ||
        (session->flags & (SESSION_CLOSING | SESSION_ABORTED)) != 0) {
        drop_input(session);
    }
}

/* Executes what is complete and keeps the rest; returns how much it took. */
static size_t take_input(struct session *session, const uint8_t *data, size_t bytes)
{
    if (session->input_end == 0) {
        size_t used = execute_all(session, data, bytes);
        return used + keep_input(session, data + used, bytes - used);
    }
    size_t used = keep_input(session, data, bytes);
    if (used != 0 && (session->flags & SESSION_PAUSED) == 0) {
        execute_kept(session);
    }
    return used;
}

void session_take(struct session *session, const uint8_t *data, size_t bytes)
{
    struct server *server = session->server;

    session->active_ms = server->database.now_ms;
    session->input_bytes += bytes;
    server->counters.input_bytes += bytes;
    while (bytes != 0 && (session->flags & (SESSION_CLOSING | SESSION_ABORTED)) == 0) {
        size_t used = (session->flags & SESSION_SKIPPING) != 0 ? skip_input(session, data, bytes)
                                                               : take_input(session, data, bytes);
        data += used;
        bytes -= used;
    }
}

void session_feed(struct session *session, const uint8_t *data, size_t bytes)
{
    session_take(session, data, bytes);
    session_mark_ready(session);
}

void session_end(struct session *session)
{
    session->flags |= SESSION_CLOSING;
    session_mark_ready(session);
}

bool session_wants_input(const struct session *session)
{
    return (session->flags & (SESSION_PAUSED | SESSION_CLOSING | SESSION_ABORTED)) == 0;
}

/* ---- Output -----------------------------------------------------------------------------------
 */

/* Bytes that may be sent now. */
static uint64_t released(const struct session *session)
{
    uint64_t durable = session->server->database.journal.durable;

    for (uint32_t i = 0; i < session->hold_count; i++) {
        if (session->holds[i].position > durable) {
            return session->holds[i].output - session->out.got_bytes;
        }
    }
    return chain_bytes(&session->out);
}

size_t session_output(const struct session *session, const uint8_t **data)
{
    uint64_t allowed = released(session);

    if (allowed == 0 || (session->flags & SESSION_ABORTED) != 0) {
        return 0;
    }
    size_t bytes = chain_peek(&session->out, data);
    return bytes < allowed ? bytes : (size_t)allowed;
}

static void drop_past_holds(struct session *session)
{
    uint64_t durable = session->server->database.journal.durable;
    uint32_t past = 0;

    while (past < session->hold_count && session->holds[past].position <= durable) {
        past++;
    }
    if (past != 0) {
        session->hold_count -= past;
        memmove(session->holds, session->holds + past,
                session->hold_count * sizeof session->holds[0]);
    }
}

bool session_sent(struct session *session, size_t bytes)
{
    chain_consume(&session->out, bytes);
    session->output_bytes += bytes;
    session->server->counters.output_bytes += bytes;
    if (session->hold_count != 0) {
        drop_past_holds(session);
    }
    if ((session->flags & SESSION_PAUSED) != 0 &&
        chain_bytes(&session->out) <= SESSION_OUTPUT_PAUSE_BYTES / 2) {
        execute_kept(session);
        session_mark_ready(session);
    }
    return chain_bytes(&session->out) != 0;
}

bool session_finished(const struct session *session)
{
    if ((session->flags & SESSION_ABORTED) != 0) {
        return true;
    }
    return (session->flags & SESSION_CLOSING) != 0 && chain_bytes(&session->out) == 0;
}

void *session_user(const struct session *session)
{
    return session->user;
}

void session_set_user(struct session *session, void *user)
{
    session->user = user;
}
