// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/command.h"

static const char *text_or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static void describe(struct text *text, const struct session *session)
{
    const struct database *database = &session->server->database;
    bool multi = (session->flags & SESSION_MULTI) != 0;
    long long queued = multi ? (long long)session->queue_count : -1;

    text_print(text, "id=%llu addr=%s laddr= fd=0 name=%s age=%lld idle=%lld flags=%s db=0 sub=0 ",
               (unsigned long long)session->id, session->peer, text_or_empty(session->name),
               (long long)(database->now_ms - session->opened_ms) / 1000,
               (long long)(database->now_ms - session->active_ms) / 1000, multi ? "x" : "N");
    text_print(text, "psub=0 ssub=0 multi=%lld qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 ",
               queued, session->input_end - session->input_start,
               session->input_capacity - session->input_end);
    text_print(text, "obl=0 oll=0 omem=%llu tot-mem=%zu events=r cmd=%s user=default redir=-1 ",
               (unsigned long long)chain_bytes(&session->out),
               heap_footprint_bytes(session) + session->input_capacity,
               session->last_command == NULL ? "NULL" : session->last_command->name);
    text_print(text, "resp=%u lib-name=%s lib-ver=%s\n", session->version,
               text_or_empty(session->library_name), text_or_empty(session->library_version));
}

static void reply_description(struct call *call, struct text *text)
{
    if (text->failed) {
        reply_refused(call, STATUS_NO_MEMORY);
    } else {
        reply_verbatim(&call->reply, text_slice(text));
    }
    text_free(text);
}

static struct session *session_by_id(struct server *server, int64_t id)
{
    for (struct session *at = server->sessions; at != NULL; at = at->next) {
        if (at->id == (uint64_t)id) {
            return at;
        }
    }
    return NULL;
}

static void client_list(struct call *call)
{
    struct text text;
    bool ids = argument_is(call, 2, "ID") && call->count > 3;
    bool type = argument_is(call, 2, "TYPE") && call->count == 4;

    if (call->count > 2 && !ids && !type) {
        reply_syntax_error(call);
        return;
    }
    bool normal = !type || argument_is(call, 3, "NORMAL");
    if (!normal && !argument_is(call, 3, "MASTER") && !argument_is(call, 3, "REPLICA") &&
        !argument_is(call, 3, "SLAVE") && !argument_is(call, 3, "PUBSUB")) {
        reply_error(&call->reply, "ERR Unknown client type");
        return;
    }
    text_init(&text, call->server->heap);
    for (size_t i = 3; ids && i < call->count; i++) {
        int64_t id;
        if (!number_parse_i64(call->arguments[i], &id) || id <= 0) {
            reply_error(&call->reply, "ERR Invalid client ID");
            text_free(&text);
            return;
        }
        const struct session *session = session_by_id(call->server, id);
        if (session != NULL) {
            describe(&text, session);
        }
    }
    for (const struct session *at = call->server->sessions; !ids && normal && at != NULL;
         at = at->next) {
        describe(&text, at);
    }
    reply_description(call, &text);
}

static void client_info(struct call *call)
{
    struct text text;

    text_init(&text, call->server->heap);
    describe(&text, call->session);
    reply_description(call, &text);
}

/* ---- KILL -------------------------------------------------------------------------------------
 */

struct kill_filter {
    int64_t id;        /* 0: any */
    struct slice peer; /* data NULL: any */
    bool nobody;       /* asks for something that no client here is */
    bool skip_me;
    bool user_wrong;
};

static bool parse_kill(struct call *call, struct kill_filter *filter)
{
    for (size_t i = 2; i < call->count; i += 2) {
        if (i + 1 == call->count) {
            reply_syntax_error(call);
            return false;
        }
        if (argument_is(call, i, "ID")) {
            if (!number_parse_i64(call->arguments[i + 1], &filter->id) || filter->id <= 0) {
                reply_error(&call->reply, "ERR client-id should be greater than 0");
                return false;
            }
        } else if (argument_is(call, i, "ADDR")) {
            filter->peer = call->arguments[i + 1];
        } else if (argument_is(call, i, "LADDR")) {
            filter->nobody = true;
        } else if (argument_is(call, i, "TYPE")) {
            filter->nobody |= !argument_is(call, i + 1, "NORMAL");
        } else if (argument_is(call, i, "USER")) {
            filter->nobody |= !argument_is(call, i + 1, "DEFAULT");
        } else if (argument_is(call, i, "SKIPME")) {
            filter->skip_me = argument_is(call, i + 1, "YES");
            if (!filter->skip_me && !argument_is(call, i + 1, "NO")) {
                reply_syntax_error(call);
                return false;
            }
        } else {
            reply_syntax_error(call);
            return false;
        }
    }
    return true;
}

static int64_t kill_matching(struct call *call, const struct kill_filter *filter)
{
    int64_t killed = 0;

    for (struct session *at = call->server->sessions; at != NULL; at = at->next) {
        bool match =
            !filter->nobody && (filter->id == 0 || at->id == (uint64_t)filter->id) &&
            (filter->peer.data == NULL || slice_equal(filter->peer, slice_text(at->peer))) &&
            !(filter->skip_me && at == call->session);
        if (!match) {
            continue;
        }
        killed++;
        if (at == call->session) {
            at->flags |= SESSION_CLOSING; /* after the reply */
        } else {
            session_abort(at);
        }
    }
    return killed;
}

static void client_kill(struct call *call)
{
    struct kill_filter filter = {.skip_me = true};

    if (call->count == 3) { /* the old form: an address */
        filter.peer = call->arguments[2];
        filter.skip_me = false;
        if (kill_matching(call, &filter) == 0) {
            reply_error(&call->reply, "ERR No such client");
        } else {
            reply_ok(&call->reply);
        }
        return;
    }
    if (parse_kill(call, &filter)) {
        reply_integer(&call->reply, kill_matching(call, &filter));
    }
}

/* ---- The rest ---------------------------------------------------------------------------------
 */

static char *copy_word(struct heap *heap, struct slice word)
{
    char *copy = heap_allocate(heap, word.bytes + 1);

    if (copy != NULL) {
        memcpy(copy, word.data, word.bytes);
        copy[word.bytes] = 0;
    }
    return copy;
}

static bool word_valid(struct slice word)
{
    for (size_t i = 0; i < word.bytes; i++) {
        if (word.data[i] < '!' || word.data[i] > '~') {
            return false;
        }
    }
    return true;
}

/* Replaces one of the session's words by an argument; replies. */
static void set_word(struct call *call, char **word, struct slice value, const char *refusal)
{
    if (!word_valid(value)) {
        reply_error(&call->reply, refusal);
        return;
    }
    char *copy = NULL;
    if (value.bytes != 0) {
        copy = copy_word(call->server->heap, value);
        if (copy == NULL) {
            reply_refused(call, STATUS_NO_MEMORY);
            return;
        }
    }
    heap_free(call->server->heap, *word);
    *word = copy;
    reply_ok(&call->reply);
}

static void client_setname(struct call *call)
{
    set_word(call, &call->session->name, call->arguments[2],
             "ERR Client names cannot contain spaces, newlines or special characters.");
}

static void client_setinfo(struct call *call)
{
    if (argument_is(call, 2, "LIB-NAME")) {
        set_word(call, &call->session->library_name, call->arguments[3],
                 "ERR lib-name cannot contain spaces, newlines or special characters.");
    } else if (argument_is(call, 2, "LIB-VER")) {
        set_word(call, &call->session->library_version, call->arguments[3],
                 "ERR lib-ver cannot contain spaces, newlines or special characters.");
    } else {
        reply_error(&call->reply, "ERR Unrecognized option");
    }
}

static void client_switch(struct call *call, uint32_t flag)
{
    if (argument_is(call, 2, "ON")) {
        call->session->flags |= flag;
        reply_ok(&call->reply);
    } else if (argument_is(call, 2, "OFF")) {
        call->session->flags &= ~flag;
        reply_ok(&call->reply);
    } else {
        reply_syntax_error(call);
    }
}

static void client_no_evict(struct call *call)
{
    client_switch(call, SESSION_NO_EVICT);
}

static void client_no_touch(struct call *call)
{
    client_switch(call, SESSION_NO_TOUCH);
}

static void client_reply(struct call *call)
{
    struct session *session = call->session;

    if (argument_is(call, 2, "ON")) {
        session->flags &= ~(uint32_t)SESSION_REPLY_OFF;
        call->reply.out = &session->out;
        reply_ok(&call->reply);
    } else if (argument_is(call, 2, "OFF")) {
        session->flags |= SESSION_REPLY_OFF;
    } else if (argument_is(call, 2, "SKIP")) {
        session->flags |= SESSION_REPLY_SKIP;
    } else {
        reply_syntax_error(call);
    }
}

static void client_id(struct call *call)
{
    reply_integer(&call->reply, (int64_t)call->session->id);
}

static void client_getname(struct call *call)
{
    if (call->session->name == NULL) {
        reply_null(&call->reply);
    } else {
        reply_text(&call->reply, call->session->name);
    }
}

static void client_getredir(struct call *call)
{
    reply_integer(&call->reply, -1);
}

static void client_help(struct call *call)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> ...]. Subcommands are:",
        "GETNAME, SETNAME <name>",
        "    The connection's name.",
        "ID, INFO",
        "    The connection's number; all about it.",
        "KILL <address> | [ID <id>] [ADDR <address>] [TYPE <type>] [USER <user>] [SKIPME yes|no]",
        "    Closes connections.",
        "LIST [TYPE <type> | ID <id> ...]",
        "    All about the connections.",
        "NO-EVICT on|off, NO-TOUCH on|off",
        "    Kept, without effect: there is no eviction.",
        "REPLY on|off|skip",
        "    Whether commands are answered.",
        "SETINFO lib-name|lib-ver <value>",
        "    The client's library.",
        "HELP",
        "    This text."};
    size_t count = sizeof lines / sizeof lines[0];

    reply_array(&call->reply, count);
    for (size_t i = 0; i < count; i++) {
        reply_status(&call->reply, lines[i]);
    }
}

void command_client(struct call *call)
{
    static const struct {
        const char *name;
        void (*run)(struct call *call);
        int32_t arity; /* negative: at least */
    } subcommands[] = {
        {"ID", client_id, 2},
        {"GETNAME", client_getname, 2},
        {"SETNAME", client_setname, 3},
        {"SETINFO", client_setinfo, 4},
        {"LIST", client_list, -2},
        {"INFO", client_info, 2},
        {"KILL", client_kill, -3},
        {"NO-EVICT", client_no_evict, 3},
        {"NO-TOUCH", client_no_touch, 3},
        {"REPLY", client_reply, 3},
        {"GETREDIR", client_getredir, 2},
        {"HELP", client_help, 2},
    };

    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++) {
        if (!argument_is(call, 1, subcommands[i].name)) {
            continue;
        }
        int32_t arity = subcommands[i].arity;
        if (arity < 0 ? call->count >= (size_t)-arity : call->count == (size_t)arity) {
            subcommands[i].run(call);
            return;
        }
    }
    reply_unknown_subcommand(call);
}
