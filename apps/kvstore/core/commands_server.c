// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/command.h"
#include "apps/kvstore/core/glob.h"

void command_time(struct call *call)
{
    int64_t now_ms = call->database->now_ms;

    reply_array(&call->reply, 2);
    reply_number_text(&call->reply, now_ms / 1000);
    reply_number_text(&call->reply, now_ms % 1000 * 1000);
}

void command_lastsave(struct call *call)
{
    reply_integer(&call->reply, call->database->checkpoint_ms / 1000);
}

/* Both ask for the same: everything that lives is written again in the background, and the log
 * before it is given back. */
static bool ask_for_checkpoint(struct call *call, bool schedule, const char *busy)
{
    struct database *database = call->database;

    if (!database->checkpoint_possible) {
        reply_error(&call->reply, "ERR this server's log cannot be rewritten");
        return false;
    }
    if (database->checkpoint_wanted || (database->checkpoint_open && !schedule)) {
        reply_error(&call->reply, busy);
        return false;
    }
    database->checkpoint_wanted = true;
    return true;
}

void command_bgsave(struct call *call)
{
    bool schedule = call->count == 2 && argument_is(call, 1, "SCHEDULE");
    bool busy = call->database->checkpoint_open;

    if (call->count > 2 || (call->count == 2 && !schedule)) {
        reply_error(&call->reply, "ERR syntax error");
    } else if (ask_for_checkpoint(call, schedule, "ERR Background save already in progress")) {
        reply_status(&call->reply,
                     busy ? "Background saving scheduled" : "Background saving started");
    }
}

void command_bgrewriteaof(struct call *call)
{
    if (ask_for_checkpoint(call, false,
                           "ERR Background append only file rewriting already in progress")) {
        reply_status(&call->reply, "Background append only file rewriting started");
    }
}

void command_wait(struct call *call)
{
    int64_t replicas;
    int64_t timeout_ms;

    if (!argument_i64(call, 1, &replicas)) {
        return;
    }
    if (!number_parse_i64(call->arguments[2], &timeout_ms)) {
        reply_error(&call->reply, "ERR timeout is not an integer or out of range");
    } else if (timeout_ms < 0) {
        reply_error(&call->reply, "ERR timeout is negative");
    } else {
        reply_integer(&call->reply, 0);
    }
}

/* Redis' own switch for this command is enable-debug-command, off by default as well. */
void command_debug(struct call *call)
{
    if (!call->server->config.debug_command) {
        reply_error(&call->reply, "ERR DEBUG command not allowed. The manifest allows it with "
                                  "debug_command = true");
    } else if (call->count == 2 && argument_is(call, 1, "SEGFAULT")) {
        __builtin_trap();
    } else {
        reply_unknown_subcommand(call);
    }
}

/* ---- COMMAND ----------------------------------------------------------------------------------
 */

struct flag_name {
    uint32_t flag;
    const char *name;
};

static const struct flag_name flag_names[] = {
    {COMMAND_WRITE, "write"}, {COMMAND_READONLY, "readonly"}, {COMMAND_DENY_OOM, "denyoom"},
    {COMMAND_ADMIN, "admin"}, {COMMAND_NO_MULTI, "no_multi"}, {COMMAND_FAST, "fast"},
};

#define FLAG_NAMES (sizeof flag_names / sizeof flag_names[0])

static void reply_flags(struct call *call, const struct command *command)
{
    size_t count = 0;

    for (size_t i = 0; i < FLAG_NAMES; i++) {
        count += (command->flags & flag_names[i].flag) != 0;
    }
    reply_set(&call->reply, count);
    for (size_t i = 0; i < FLAG_NAMES; i++) {
        if ((command->flags & flag_names[i].flag) != 0) {
            reply_status(&call->reply, flag_names[i].name);
        }
    }
}

static const char *access_category(const struct command *command)
{
    if ((command->flags & COMMAND_WRITE) != 0) {
        return "@write";
    }
    return (command->flags & COMMAND_READONLY) != 0 ? "@read" : "@connection";
}

static void reply_command_info(struct call *call, const struct command *command)
{
    if (command == NULL) {
        reply_raw(&call->reply, call->reply.version == 2 ? "*-1\r\n" : "_\r\n");
        return;
    }
    reply_array(&call->reply, 10);
    reply_text(&call->reply, command->name);
    reply_integer(&call->reply, command->arity);
    reply_flags(call, command);
    reply_integer(&call->reply, command->first_key);
    reply_integer(&call->reply, command->last_key);
    reply_integer(&call->reply, command->key_step);
    reply_set(&call->reply, 2);
    reply_status(&call->reply, access_category(command));
    reply_status(&call->reply, (command->flags & COMMAND_FAST) != 0 ? "@fast" : "@slow");
    reply_array(&call->reply, 0);
    reply_array(&call->reply, 0);
    reply_array(&call->reply, 0);
}

static void reply_command_docs(struct call *call, const struct command *command)
{
    reply_text(&call->reply, command->name);
    reply_map(&call->reply, 3);
    reply_text(&call->reply, "summary");
    reply_text(&call->reply, command->summary);
    reply_text(&call->reply, "since");
    reply_text(&call->reply, command->since);
    reply_text(&call->reply, "group");
    reply_text(&call->reply, command->group);
}

static void command_docs(struct call *call)
{
    size_t known = 0;

    if (call->count == 2) {
        reply_map(&call->reply, command_count());
        for (uint32_t i = 0; i < command_count(); i++) {
            reply_command_docs(call, command_at(i));
        }
        return;
    }
    for (size_t i = 2; i < call->count; i++) {
        known += command_find(&call->server->command_map, call->arguments[i]) != NULL;
    }
    reply_map(&call->reply, known);
    for (size_t i = 2; i < call->count; i++) {
        const struct command *command =
            command_find(&call->server->command_map, call->arguments[i]);
        if (command != NULL) {
            reply_command_docs(call, command);
        }
    }
}

static void command_infos(struct call *call)
{
    if (call->count <= 2) {
        reply_array(&call->reply, command_count());
        for (uint32_t i = 0; i < command_count(); i++) {
            reply_command_info(call, command_at(i));
        }
        return;
    }
    reply_array(&call->reply, call->count - 2);
    for (size_t i = 2; i < call->count; i++) {
        reply_command_info(call, command_find(&call->server->command_map, call->arguments[i]));
    }
}

/* Whether LIST's filter takes the command. */
static bool listed(const struct call *call, const struct command *command)
{
    if (call->count == 2) {
        return true;
    }
    if (argument_is(call, 3, "PATTERN")) {
        return glob_match(call->arguments[4], slice_text(command->name));
    }
    if (argument_is(call, 3, "ACLCAT")) {
        return slice_equal(call->arguments[4], slice_text(access_category(command) + 1));
    }
    return false; /* of a module: there are none */
}

static void command_list(struct call *call)
{
    bool filter = call->count == 5 && argument_is(call, 2, "FILTERBY") &&
                  (argument_is(call, 3, "PATTERN") || argument_is(call, 3, "ACLCAT") ||
                   argument_is(call, 3, "MODULE"));
    size_t count = 0;

    if (call->count != 2 && !filter) {
        reply_syntax_error(call);
        return;
    }
    for (uint32_t i = 0; i < command_count(); i++) {
        count += listed(call, command_at(i));
    }
    reply_array(&call->reply, count);
    for (uint32_t i = 0; i < command_count(); i++) {
        if (listed(call, command_at(i))) {
            reply_text(&call->reply, command_at(i)->name);
        }
    }
}

static void command_getkeys(struct call *call)
{
    const struct command *command = command_find(&call->server->command_map, call->arguments[2]);
    int64_t count = (int64_t)call->count - 2;

    if (command == NULL) {
        reply_error(&call->reply, "ERR Invalid command specified");
        return;
    }
    if (command->arity < 0 ? count < -command->arity : count != command->arity) {
        reply_error(&call->reply, "ERR Invalid number of arguments specified for command");
        return;
    }
    if (command->first_key == 0) {
        reply_error(&call->reply, "ERR The command has no key arguments");
        return;
    }
    int64_t last = command->last_key < 0 ? count + command->last_key : command->last_key;
    last = last >= count ? count - 1 : last;
    int64_t keys =
        last < command->first_key ? 0 : (last - command->first_key) / command->key_step + 1;
    reply_array(&call->reply, (size_t)keys);
    for (int64_t i = 0; i < keys; i++) {
        reply_bulk(&call->reply, call->arguments[2 + command->first_key + i * command->key_step]);
    }
}

static void command_help(struct call *call)
{
    static const char *const lines[] = {"COMMAND <subcommand> [<arg> ...]. Subcommands are:",
                                        "(no subcommand), INFO [<name> ...]",
                                        "    What the commands take.",
                                        "COUNT",
                                        "    How many there are.",
                                        "DOCS [<name> ...]",
                                        "    What they do.",
                                        "GETKEYS <command>",
                                        "    The keys of a full command.",
                                        "LIST [FILTERBY MODULE|ACLCAT|PATTERN <value>]",
                                        "    Their names.",
                                        "HELP",
                                        "    This text."};
    size_t count = sizeof lines / sizeof lines[0];

    reply_array(&call->reply, count);
    for (size_t i = 0; i < count; i++) {
        reply_status(&call->reply, lines[i]);
    }
}

void command_command(struct call *call)
{
    if (call->count == 1 || argument_is(call, 1, "INFO")) {
        command_infos(call);
    } else if (argument_is(call, 1, "COUNT") && call->count == 2) {
        reply_integer(&call->reply, command_count());
    } else if (argument_is(call, 1, "DOCS")) {
        command_docs(call);
    } else if (argument_is(call, 1, "LIST")) {
        command_list(call);
    } else if (argument_is(call, 1, "GETKEYS") && call->count > 2) {
        command_getkeys(call);
    } else if (argument_is(call, 1, "HELP") && call->count == 2) {
        command_help(call);
    } else {
        reply_unknown_subcommand(call);
    }
}
