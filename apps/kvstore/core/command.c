// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/command.h"

#include "lib/base/format.h"

#define ARGUMENT_TEXT_MAX 128u

/* ---- Replies ----------------------------------------------------------------------------------
 */

void reply_syntax_error(struct call *call)
{
    reply_error(&call->reply, "ERR syntax error");
}

void reply_not_integer(struct call *call)
{
    reply_error(&call->reply, "ERR value is not an integer or out of range");
}

void reply_arity_error(struct call *call)
{
    reply_error_format(&call->reply, "ERR wrong number of arguments for '%s' command",
                       call->command->name);
}

/* Bytes for an error text: at most ARGUMENT_TEXT_MAX, and nothing that would end a C string. */
static int printable(struct slice bytes, char text[ARGUMENT_TEXT_MAX + 1])
{
    size_t length = bytes.bytes < ARGUMENT_TEXT_MAX ? bytes.bytes : ARGUMENT_TEXT_MAX;

    for (size_t i = 0; i < length; i++) {
        text[i] = bytes.data[i] == 0 ? '?' : (char)bytes.data[i];
    }
    text[length] = 0;
    return (int)length;
}

void reply_unknown_subcommand(struct call *call)
{
    char name[ARGUMENT_TEXT_MAX + 1];
    char upper[32];
    size_t length = 0;

    printable(call->arguments[1], name);
    for (; call->command->name[length] != 0; length++) {
        upper[length] = (char)(call->command->name[length] - ('a' - 'A'));
    }
    upper[length] = 0;
    reply_error_format(&call->reply,
                       "ERR unknown subcommand or wrong number of arguments for '%s'. Try %s HELP.",
                       name, upper);
}

static void reply_unknown_command(struct reply *reply, const struct slice *arguments, size_t count)
{
    char name[ARGUMENT_TEXT_MAX + 1];
    char list[ARGUMENT_TEXT_MAX * 2];
    size_t length = 0;

    list[0] = 0;
    for (size_t i = 1; i < count && length < ARGUMENT_TEXT_MAX; i++) {
        int max = (int)(ARGUMENT_TEXT_MAX - length);
        printable(arguments[i], name);
        length += format_text(list + length, sizeof list - length, "'%.*s' ", max, name);
    }
    printable(arguments[0], name);
    reply_error_format(reply, "ERR unknown command '%s', with args beginning with: %s", name, list);
}

static const char *const out_of_memory = "OOM command not allowed when used memory > 'maxmemory'.";

void reply_refused(struct call *call, status_t status)
{
    struct reply *reply = &call->reply;

    if (status == STATUS_NO_MEMORY) {
        reply_error(reply, out_of_memory);
    } else if (status == STATUS_FULL) {
        reply_error(reply, "MISCONF The log is full; changes are refused until there is room in "
                           "it. Deleting keys is possible.");
    } else if (status == STATUS_TOO_LARGE) {
        reply_error(reply, "ERR the change is too large for one log record");
    } else {
        reply_error_format(reply,
                           "MISCONF The log cannot be written (%s); changes are refused, reads go "
                           "on. The server's console has details.",
                           status_text(status));
    }
}

void reply_done(struct call *call, status_t status)
{
    if (status == STATUS_OK) {
        reply_ok(&call->reply);
    } else {
        reply_refused(call, status);
    }
}

void reply_entry_value(struct call *call, const struct entry *entry)
{
    if ((entry->flags & ENTRY_BLOB) != 0) {
        struct blob *blob = entry_blob(entry);
        reply_blob(&call->reply, blob, 0, blob->length);
    } else {
        reply_bulk(&call->reply, entry_value(entry));
    }
}

/* ---- Arguments --------------------------------------------------------------------------------
 */

bool argument_i64(struct call *call, size_t index, int64_t *value)
{
    if (number_parse_i64(call->arguments[index], value)) {
        return true;
    }
    reply_not_integer(call);
    return false;
}

static bool moment(struct call *call, int64_t value, enum time_unit unit, int64_t base_ms,
                   int64_t *moment_ms)
{
    if ((unit == UNIT_SECONDS && __builtin_mul_overflow(value, (int64_t)1000, &value)) ||
        __builtin_add_overflow(value, base_ms, moment_ms) || *moment_ms == EXPIRES_NEVER) {
        reply_error_format(&call->reply, "ERR invalid expire time in '%s' command",
                           call->command->name);
        return false;
    }
    return true;
}

bool argument_any_moment(struct call *call, size_t index, enum time_unit unit, int64_t base_ms,
                         int64_t *moment_ms)
{
    int64_t value;

    return argument_i64(call, index, &value) && moment(call, value, unit, base_ms, moment_ms);
}

bool argument_moment(struct call *call, size_t index, enum time_unit unit, int64_t base_ms,
                     int64_t *moment_ms)
{
    int64_t value;

    if (!argument_i64(call, index, &value)) {
        return false;
    }
    if (value <= 0) {
        reply_error_format(&call->reply, "ERR invalid expire time in '%s' command",
                           call->command->name);
        return false;
    }
    return moment(call, value, unit, base_ms, moment_ms);
}

/* ---- Execution --------------------------------------------------------------------------------
 */

/* Keeps a copy of the request until EXEC. */
static bool queue_request(struct session *session, const struct command *command,
                          const struct slice *arguments, size_t count)
{
    size_t bytes = sizeof(struct queued_request) + count * sizeof *arguments;

    for (size_t i = 0; i < count; i++) {
        bytes += arguments[i].bytes;
    }
    struct queued_request *request = heap_allocate(session->server->heap, bytes);
    if (request == NULL) {
        return false;
    }
    *request = (struct queued_request){.command = command, .count = count};
    uint8_t *to = (uint8_t *)&request->arguments[count];
    for (size_t i = 0; i < count; i++) {
        memcpy(to, arguments[i].data, arguments[i].bytes);
        request->arguments[i] = slice_of(to, arguments[i].bytes);
        to += arguments[i].bytes;
    }
    if (session->queue_last == NULL) {
        session->queue_first = request;
    } else {
        session->queue_last->next = request;
    }
    session->queue_last = request;
    session->queue_count++;
    return true;
}

static bool arity_fits(const struct command *command, size_t count)
{
    if (command->arity < 0) {
        return count >= (size_t)-command->arity;
    }
    return count == (size_t)command->arity;
}

/* Whether the request may be executed at all; replies if not. */
static bool admissible(struct call *call)
{
    const struct command *command = call->command;

    if (command == NULL) {
        reply_unknown_command(&call->reply, call->arguments, call->count);
    } else if (!arity_fits(command, call->count)) {
        reply_arity_error(call);
    } else if ((command->flags & COMMAND_DENY_OOM) != 0 && server_memory_exhausted(call->server)) {
        reply_error(&call->reply, out_of_memory);
    } else {
        return true;
    }
    return false;
}

static void run(struct call *call)
{
    struct session *session = call->session;
    uint32_t multi = session->flags & SESSION_MULTI;

    if (!admissible(call)) {
        session->flags |= multi != 0 ? SESSION_MULTI_BROKEN : 0;
        return;
    }
    if (multi != 0 && (call->command->flags & COMMAND_IMMEDIATE) == 0) {
        if (queue_request(session, call->command, call->arguments, call->count)) {
            reply_raw(&call->reply, "+QUEUED\r\n");
        } else {
            session->flags |= SESSION_MULTI_BROKEN;
            reply_error(&call->reply, out_of_memory);
        }
        return;
    }
    session->last_command = call->command;
    call->server->command_calls[command_index(call->command)]++;
    call->command->run(call);
}

void command_execute(struct session *session, const struct slice *arguments, size_t count)
{
    struct server *server = session->server;
    struct database *database = &server->database;
    uint64_t output = session->out.put_bytes;
    bool silent = (session->flags & (SESSION_REPLY_OFF | SESSION_REPLY_SKIP)) != 0;
    struct call call = {
        .server = server,
        .session = session,
        .database = database,
        .command = command_find(&server->command_map, arguments[0]),
        .arguments = arguments,
        .count = count,
        .reply = {.out = silent ? &server->sink : &session->out, .version = session->version},
    };

    session->flags &= ~(uint32_t)SESSION_REPLY_SKIP;
    database->dependency = 0;
    run(&call);
    server->counters.commands++;
    server->counters.error_replies += call.reply.error;
    if (silent) {
        chain_clear(&server->sink);
        server->sink.failed = false;
    } else if (database->dependency > database->journal.durable &&
               server->config.durability == DURABILITY_ALWAYS) {
        session_hold(session, output, database->dependency);
    }
}
