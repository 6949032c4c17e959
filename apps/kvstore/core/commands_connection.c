// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/command.h"

void command_ping(struct call *call)
{
    if (call->count > 2) {
        reply_arity_error(call);
    } else if (call->count == 2) {
        reply_bulk(&call->reply, call->arguments[1]);
    } else {
        reply_raw(&call->reply, "+PONG\r\n");
    }
}

void command_echo(struct call *call)
{
    reply_bulk(&call->reply, call->arguments[1]);
}

void command_quit(struct call *call)
{
    reply_ok(&call->reply);
    call->session->flags |= SESSION_CLOSING;
}

void command_select(struct call *call)
{
    int64_t index;

    if (!number_parse_i64(call->arguments[1], &index)) {
        reply_error(&call->reply, "ERR invalid DB index");
    } else if (index != 0) {
        reply_error(&call->reply, "ERR DB index is out of range");
    } else {
        reply_ok(&call->reply);
    }
}

static void set_text(struct heap *heap, char **text, struct slice value, bool *failed)
{
    char *copy = NULL;

    if (value.bytes != 0) {
        copy = heap_allocate(heap, value.bytes + 1);
        if (copy == NULL) {
            *failed = true;
            return;
        }
        memcpy(copy, value.data, value.bytes);
        copy[value.bytes] = 0;
    }
    heap_free(heap, *text);
    *text = copy;
}

void command_reset(struct call *call)
{
    struct session *session = call->session;
    bool failed = false;

    session_drop_queue(session);
    session->version = 2;
    session->flags &=
        ~(uint32_t)(SESSION_REPLY_OFF | SESSION_REPLY_SKIP | SESSION_NO_EVICT | SESSION_NO_TOUCH);
    set_text(call->server->heap, &session->name, slice_of("", 0), &failed);
    call->reply.version = 2;
    reply_status(&call->reply, "RESET");
}

void command_auth(struct call *call)
{
    if (call->count > 3) {
        reply_syntax_error(call);
        return;
    }
    reply_error(&call->reply,
                "ERR AUTH <password> called without any password configured for the default user. "
                "Are you sure your configuration is correct?");
}

/* No space, no control character: names stand in lists of words. */
static bool word_valid(struct slice word)
{
    for (size_t i = 0; i < word.bytes; i++) {
        if (word.data[i] < '!' || word.data[i] > '~') {
            return false;
        }
    }
    return true;
}

static bool set_name(struct call *call, struct slice name)
{
    bool failed = false;

    if (!word_valid(name)) {
        reply_error(&call->reply,
                    "ERR Client names cannot contain spaces, newlines or special characters.");
        return false;
    }
    set_text(call->server->heap, &call->session->name, name, &failed);
    if (failed) {
        reply_refused(call, STATUS_NO_MEMORY);
    }
    return !failed;
}

/* Reads HELLO's options; false after an error reply. */
static bool hello_options(struct call *call, struct slice *name, bool *named)
{
    *named = false;
    for (size_t i = 2; i < call->count; i++) {
        if (argument_is(call, i, "AUTH") && i + 2 < call->count) {
            reply_error(&call->reply, "ERR HELLO AUTH is not possible: there are no users or "
                                      "passwords");
            return false;
        }
        if (argument_is(call, i, "SETNAME") && i + 1 < call->count) {
            *name = call->arguments[++i];
            *named = true;
            continue;
        }
        reply_error(&call->reply, "ERR Syntax error in HELLO option");
        return false;
    }
    return true;
}

void command_hello(struct call *call)
{
    struct session *session = call->session;
    struct slice name = {0};
    bool named = false;
    int64_t version = session->version;

    if (call->count > 1) {
        if (!number_parse_i64(call->arguments[1], &version)) {
            reply_error(&call->reply, "ERR Protocol version is not an integer or out of range");
            return;
        }
        if (version != 2 && version != 3) {
            reply_error(&call->reply, "NOPROTO unsupported protocol version");
            return;
        }
        if (!hello_options(call, &name, &named) || (named && !set_name(call, name))) {
            return;
        }
    }
    session->version = (uint32_t)version;
    call->reply.version = session->version;
    reply_map(&call->reply, 7);
    reply_text(&call->reply, "server");
    reply_text(&call->reply, "redis");
    reply_text(&call->reply, "version");
    reply_text(&call->reply, SERVER_REDIS_VERSION);
    reply_text(&call->reply, "proto");
    reply_integer(&call->reply, version);
    reply_text(&call->reply, "id");
    reply_integer(&call->reply, (int64_t)session->id);
    reply_text(&call->reply, "mode");
    reply_text(&call->reply, "standalone");
    reply_text(&call->reply, "role");
    reply_text(&call->reply, "master");
    reply_text(&call->reply, "modules");
    reply_array(&call->reply, 0);
}

/* ---- MULTI ------------------------------------------------------------------------------------
 */

void command_multi(struct call *call)
{
    if ((call->session->flags & SESSION_MULTI) != 0) {
        reply_error(&call->reply, "ERR MULTI calls can not be nested");
        return;
    }
    call->session->flags |= SESSION_MULTI;
    reply_ok(&call->reply);
}

void command_discard(struct call *call)
{
    if ((call->session->flags & SESSION_MULTI) == 0) {
        reply_error(&call->reply, "ERR DISCARD without MULTI");
        return;
    }
    session_drop_queue(call->session);
    reply_ok(&call->reply);
}

void command_exec(struct call *call)
{
    struct session *session = call->session;
    struct journal *journal = &call->database->journal;

    if ((session->flags & SESSION_MULTI) == 0) {
        reply_error(&call->reply, "ERR EXEC without MULTI");
        return;
    }
    if ((session->flags & SESSION_MULTI_BROKEN) != 0) {
        session_drop_queue(session);
        reply_error(&call->reply, "EXECABORT Transaction discarded because of previous errors.");
        return;
    }
    status_t status = journal_group_begin(journal);
    if (status != STATUS_OK) {
        reply_refused(call, status);
        return;
    }
    reply_array(&call->reply, session->queue_count);
    for (struct queued_request *request = session->queue_first; request != NULL;
         request = request->next) {
        struct call inner = *call;
        inner.command = request->command;
        inner.arguments = request->arguments;
        inner.count = request->count;
        inner.reply.version = session->version;
        call->server->command_calls[command_index(request->command)]++;
        call->server->counters.commands++;
        request->command->run(&inner);
        call->server->counters.error_replies += inner.reply.error;
    }
    journal_group_end(journal);
    session_drop_queue(session);
}
