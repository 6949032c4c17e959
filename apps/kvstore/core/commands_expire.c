// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/command.h"

enum expire_options {
    EXPIRE_NX = 1u << 0,
    EXPIRE_XX = 1u << 1,
    EXPIRE_GT = 1u << 2,
    EXPIRE_LT = 1u << 3
};

static bool parse_options(struct call *call, uint32_t *options)
{
    *options = 0;
    for (size_t i = 3; i < call->count; i++) {
        if (argument_is(call, i, "NX")) {
            *options |= EXPIRE_NX;
        } else if (argument_is(call, i, "XX")) {
            *options |= EXPIRE_XX;
        } else if (argument_is(call, i, "GT")) {
            *options |= EXPIRE_GT;
        } else if (argument_is(call, i, "LT")) {
            *options |= EXPIRE_LT;
        } else {
            char text[65];
            size_t bytes = call->arguments[i].bytes < 64 ? call->arguments[i].bytes : 64;
            memcpy(text, call->arguments[i].data, bytes);
            text[bytes] = 0;
            reply_error_format(&call->reply, "ERR Unsupported option %s", text);
            return false;
        }
    }
    if ((*options & EXPIRE_NX) != 0 && *options != EXPIRE_NX) {
        reply_error(&call->reply,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*options & EXPIRE_GT) != 0 && (*options & EXPIRE_LT) != 0) {
        reply_error(&call->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* Whether the options allow to replace one expiry by another. */
static bool allowed(uint32_t options, int64_t old_ms, int64_t new_ms)
{
    bool has_expiry = old_ms != EXPIRES_NEVER;

    if ((options & EXPIRE_NX) != 0 && has_expiry) {
        return false;
    }
    if ((options & EXPIRE_XX) != 0 && !has_expiry) {
        return false;
    }
    if ((options & EXPIRE_GT) != 0 && new_ms <= old_ms) {
        return false;
    }
    return (options & EXPIRE_LT) == 0 || new_ms < old_ms;
}

static void expire(struct call *call, enum time_unit unit, int64_t base_ms)
{
    int64_t moment_ms;
    uint32_t options;

    if (!parse_options(call, &options) ||
        !argument_any_moment(call, 2, unit, base_ms, &moment_ms)) {
        return;
    }
    struct entry *entry = database_find(call->database, call->arguments[1]);
    if (entry == NULL || !allowed(options, entry->expires_ms, moment_ms)) {
        reply_integer(&call->reply, 0);
        return;
    }
    status_t status = moment_ms <= call->database->now_ms
                          ? database_delete(call->database, entry)
                          : database_expire(call->database, entry, moment_ms);
    if (status == STATUS_OK) {
        reply_integer(&call->reply, 1);
    } else {
        reply_refused(call, status);
    }
}

void command_expire(struct call *call)
{
    expire(call, UNIT_SECONDS, call->database->now_ms);
}

void command_pexpire(struct call *call)
{
    expire(call, UNIT_MILLISECONDS, call->database->now_ms);
}

void command_expireat(struct call *call)
{
    expire(call, UNIT_SECONDS, 0);
}

void command_pexpireat(struct call *call)
{
    expire(call, UNIT_MILLISECONDS, 0);
}

/* -2 without the key, -1 without expiry. */
static void reply_expiry(struct call *call, int64_t base_ms, int64_t divisor)
{
    struct entry *entry = database_find(call->database, call->arguments[1]);

    if (entry == NULL) {
        reply_integer(&call->reply, -2);
    } else if (entry->expires_ms == EXPIRES_NEVER) {
        reply_integer(&call->reply, -1);
    } else {
        reply_integer(&call->reply, (entry->expires_ms - base_ms + divisor / 2) / divisor);
    }
}

void command_ttl(struct call *call)
{
    reply_expiry(call, call->database->now_ms, 1000);
}

void command_pttl(struct call *call)
{
    reply_expiry(call, call->database->now_ms, 1);
}

void command_expiretime(struct call *call)
{
    reply_expiry(call, 0, 1000);
}

void command_pexpiretime(struct call *call)
{
    reply_expiry(call, 0, 1);
}

void command_persist(struct call *call)
{
    struct entry *entry = database_find(call->database, call->arguments[1]);

    if (entry == NULL || entry->expires_ms == EXPIRES_NEVER) {
        reply_integer(&call->reply, 0);
        return;
    }
    status_t status = database_expire(call->database, entry, EXPIRES_NEVER);
    if (status == STATUS_OK) {
        reply_integer(&call->reply, 1);
    } else {
        reply_refused(call, status);
    }
}
