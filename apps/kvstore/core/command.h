// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Commands: the table that describes them, and what their functions share. The commands' names,
 * arguments and replies follow https://redis.io/docs/latest/commands/.
 */
#ifndef APPS_KVSTORE_CORE_COMMAND_H
#define APPS_KVSTORE_CORE_COMMAND_H

#include "apps/kvstore/core/number.h"
#include "apps/kvstore/core/session.h"

enum command_flags {
    COMMAND_WRITE = 1u << 0,
    COMMAND_READONLY = 1u << 1,
    COMMAND_DENY_OOM = 1u << 2, /* refused when memory is used up */
    COMMAND_ADMIN = 1u << 3,
    COMMAND_FAST = 1u << 4,
    COMMAND_NO_MULTI = 1u << 5,  /* not inside MULTI */
    COMMAND_IMMEDIATE = 1u << 6, /* executed, not queued, inside MULTI */
    COMMAND_CONTAINER = 1u << 7  /* has subcommands */
};

/* One request being executed. arguments[0] is the command's name. */
struct call {
    struct server *server;
    struct session *session;
    struct database *database;
    const struct command *command;
    const struct slice *arguments;
    size_t count;
    struct reply reply;
};

struct command {
    const char *name; /* lower case */
    void (*run)(struct call *call);
    int32_t arity; /* arguments with the name; negative: at least that many */
    uint32_t flags;
    int32_t first_key, last_key, key_step;
    const char *group;
    const char *since;
    const char *summary;
};

uint32_t command_count(void);
const struct command *command_at(uint32_t index);
void command_map_init(struct command_map *map);
/* NULL if there is no such command. Case does not matter. */
const struct command *command_find(const struct command_map *map, struct slice name);
uint32_t command_index(const struct command *command);
/* Whether changes that need memory are refused. */
bool server_memory_exhausted(const struct server *server);
/* Executes the usual GET or SET that `data` begins with; returns how long it is, 0 for any other
 * request. Call it at a request's beginning only. */
size_t usual_request(struct session *session, const uint8_t *data, size_t bytes);
/* Executes, queues or refuses one request. */
void command_execute(struct session *session, const struct slice *arguments, size_t count);

/* ---- What the commands share ------------------------------------------------------------------
 */

/* Error replies. */
void reply_syntax_error(struct call *call);
void reply_arity_error(struct call *call);
void reply_not_integer(struct call *call);
/* A subcommand that the command does not have, or not with that many arguments. */
void reply_unknown_subcommand(struct call *call);
/* A refused change, in words. */
void reply_refused(struct call *call, status_t status);
/* +OK, or the refusal. */
void reply_done(struct call *call, status_t status);

/* Argument `index` as an integer; replies and returns false if it is none. */
bool argument_i64(struct call *call, size_t index, int64_t *value);
/* Whether argument `index` is `word` (upper case). */
static inline bool argument_is(const struct call *call, size_t index, const char *word)
{
    return index < call->count && slice_is_word(call->arguments[index], word);
}

enum time_unit { UNIT_SECONDS, UNIT_MILLISECONDS };
/* A moment from argument `index`: seconds or milliseconds, from `base_ms` on (0: absolute). Must be
 * positive if `positive`. Replies and returns false if it is out of range. */
bool argument_moment(struct call *call, size_t index, enum time_unit unit, int64_t base_ms,
                     int64_t *moment_ms);
/* The same without the need to be positive. */
bool argument_any_moment(struct call *call, size_t index, enum time_unit unit, int64_t base_ms,
                         int64_t *moment_ms);

void reply_entry_value(struct call *call, const struct entry *entry);

/* X(function) of each file of commands. */
void command_get(struct call *call);
void command_set(struct call *call);
void command_setnx(struct call *call);
void command_setex(struct call *call);
void command_psetex(struct call *call);
void command_getset(struct call *call);
void command_getdel(struct call *call);
void command_getex(struct call *call);
void command_mget(struct call *call);
void command_mset(struct call *call);
void command_msetnx(struct call *call);
void command_append(struct call *call);
void command_getrange(struct call *call);
void command_setrange(struct call *call);
void command_strlen(struct call *call);
void command_incr(struct call *call);
void command_decr(struct call *call);
void command_incrby(struct call *call);
void command_decrby(struct call *call);
void command_incrbyfloat(struct call *call);

void command_del(struct call *call);
void command_exists(struct call *call);
void command_touch(struct call *call);
void command_type(struct call *call);
void command_rename(struct call *call);
void command_renamenx(struct call *call);
void command_copy(struct call *call);
void command_randomkey(struct call *call);
void command_keys(struct call *call);
void command_scan(struct call *call);
void command_dbsize(struct call *call);
void command_debug(struct call *call);
void command_flush(struct call *call);
void command_object(struct call *call);
void command_memory(struct call *call);

void command_expire(struct call *call);
void command_pexpire(struct call *call);
void command_expireat(struct call *call);
void command_pexpireat(struct call *call);
void command_ttl(struct call *call);
void command_pttl(struct call *call);
void command_expiretime(struct call *call);
void command_pexpiretime(struct call *call);
void command_persist(struct call *call);

void command_ping(struct call *call);
void command_echo(struct call *call);
void command_quit(struct call *call);
void command_select(struct call *call);
void command_reset(struct call *call);
void command_hello(struct call *call);
void command_auth(struct call *call);
void command_client(struct call *call);
void command_multi(struct call *call);
void command_exec(struct call *call);
void command_discard(struct call *call);

void command_info(struct call *call);
void command_command(struct call *call);
void command_config(struct call *call);
void command_time(struct call *call);
void command_lastsave(struct call *call);
void command_bgsave(struct call *call);
void command_bgrewriteaof(struct call *call);
void command_wait(struct call *call);

#endif
