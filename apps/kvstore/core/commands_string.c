// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/command.h"

/* ---- Reading ----------------------------------------------------------------------------------
 */

void command_get(struct call *call)
{
    struct entry *entry = database_read(call->database, call->arguments[1]);

    if (entry == NULL) {
        reply_null(&call->reply);
    } else {
        reply_entry_value(call, entry);
    }
}

void command_mget(struct call *call)
{
    reply_array(&call->reply, call->count - 1);
    for (size_t i = 1; i < call->count; i++) {
        struct entry *entry = database_read(call->database, call->arguments[i]);
        if (entry == NULL) {
            reply_null(&call->reply);
        } else {
            reply_entry_value(call, entry);
        }
    }
}

void command_strlen(struct call *call)
{
    struct entry *entry = database_read(call->database, call->arguments[1]);

    reply_integer(&call->reply, entry == NULL ? 0 : (int64_t)entry_value(entry).bytes);
}

void command_getrange(struct call *call)
{
    int64_t start;
    int64_t end;

    if (!argument_i64(call, 2, &start) || !argument_i64(call, 3, &end)) {
        return;
    }
    struct entry *entry = database_read(call->database, call->arguments[1]);
    int64_t length = entry == NULL ? 0 : (int64_t)entry_value(entry).bytes;
    if (start < 0 && end < 0 && start > end) {
        length = 0;
    }
    start = start < 0 && start + length < 0 ? 0 : start < 0 ? start + length : start;
    end = end < 0 && end + length < 0 ? 0 : end < 0 ? end + length : end;
    end = end >= length ? length - 1 : end;
    if (entry == NULL || length == 0 || start > end) {
        reply_bulk(&call->reply, slice_of("", 0));
    } else if ((entry->flags & ENTRY_BLOB) != 0) {
        reply_blob(&call->reply, entry_blob(entry), (uint32_t)start, (uint32_t)(end - start + 1));
    } else {
        reply_bulk(&call->reply,
                   slice_of(entry_value(entry).data + start, (size_t)(end - start + 1)));
    }
}

/* ---- SET and its options ----------------------------------------------------------------------
 */

enum set_options {
    SET_NX = 1u << 0,
    SET_XX = 1u << 1,
    SET_GET = 1u << 2,
    SET_KEEP_TTL = 1u << 3,
    SET_EXPIRY = 1u << 4,
    SET_PERSIST = 1u << 5
};

struct set_request {
    uint32_t options;
    int64_t expires_ms;
};

/* One of EX, PX, EXAT, PXAT with its number at arguments[*index]; *index moves to the number.
 * Returns 1 if it was one, 0 if not, -1 after an error reply. */
static int parse_expiry_option(struct call *call, size_t *index, int64_t *expires_ms)
{
    static const struct {
        const char *word;
        enum time_unit unit;
        bool absolute;
    } words[] = {{"EX", UNIT_SECONDS, false},
                 {"PX", UNIT_MILLISECONDS, false},
                 {"EXAT", UNIT_SECONDS, true},
                 {"PXAT", UNIT_MILLISECONDS, true}};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!argument_is(call, *index, words[i].word)) {
            continue;
        }
        if (++*index == call->count) {
            reply_syntax_error(call);
            return -1;
        }
        int64_t base_ms = words[i].absolute ? 0 : call->database->now_ms;
        return argument_moment(call, *index, words[i].unit, base_ms, expires_ms) ? 1 : -1;
    }
    return 0;
}

/* Reads the options from arguments[index] on; `allowed` is what the command takes. */
static bool parse_set_options(struct call *call, size_t index, uint32_t allowed,
                              struct set_request *request)
{
    static const struct {
        const char *word;
        uint32_t option;
        uint32_t excludes;
    } words[] = {{"NX", SET_NX, SET_XX},
                 {"XX", SET_XX, SET_NX},
                 {"GET", SET_GET, 0},
                 {"KEEPTTL", SET_KEEP_TTL, SET_EXPIRY},
                 {"PERSIST", SET_PERSIST, SET_EXPIRY}};

    *request = (struct set_request){.expires_ms = EXPIRES_NEVER};
    for (; index < call->count; index++) {
        uint32_t option = 0;
        uint32_t excludes = 0;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            if (argument_is(call, index, words[i].word)) {
                option = words[i].option;
                excludes = words[i].excludes;
            }
        }
        if (option == 0) {
            if ((request->options & (SET_EXPIRY | SET_KEEP_TTL | SET_PERSIST)) != 0) {
                reply_syntax_error(call);
                return false;
            }
            int found = parse_expiry_option(call, &index, &request->expires_ms);
            if (found < 0) {
                return false;
            }
            option = found > 0 ? SET_EXPIRY : 0;
        }
        if ((option & allowed) == 0 || (request->options & excludes) != 0) {
            reply_syntax_error(call);
            return false;
        }
        request->options |= option;
    }
    return true;
}

static void reply_old_value(struct call *call, const struct entry *old)
{
    if (old == NULL) {
        reply_null(&call->reply);
    } else {
        reply_entry_value(call, old);
    }
}

static void set_value(struct call *call, struct slice key, struct slice value,
                      const struct set_request *request)
{
    struct set_plan plan = {.old = database_find(call->database, key)};
    bool refused = ((request->options & SET_NX) != 0 && plan.old != NULL) ||
                   ((request->options & SET_XX) != 0 && plan.old == NULL);
    int64_t expires_ms = request->expires_ms;

    if (refused) {
        if ((request->options & SET_GET) != 0) {
            reply_old_value(call, plan.old);
        } else {
            reply_null(&call->reply);
        }
        return;
    }
    if ((request->options & SET_KEEP_TTL) != 0 && plan.old != NULL) {
        expires_ms = plan.old->expires_ms;
    }
    status_t status = database_prepare_set(call->database, key, value, expires_ms, &plan);
    if (status != STATUS_OK) {
        reply_refused(call, status);
        return;
    }
    if ((request->options & SET_GET) != 0) {
        reply_old_value(call, plan.old);
    } else {
        reply_ok(&call->reply);
    }
    database_commit_set(call->database, &plan);
}

void command_set(struct call *call)
{
    struct set_request request = {.expires_ms = EXPIRES_NEVER};

    if (call->count > 3 &&
        !parse_set_options(call, 3, SET_NX | SET_XX | SET_GET | SET_KEEP_TTL | SET_EXPIRY,
                           &request)) {
        return;
    }
    set_value(call, call->arguments[1], call->arguments[2], &request);
}

void command_setnx(struct call *call)
{
    struct entry *old = database_find(call->database, call->arguments[1]);

    if (old != NULL) {
        reply_integer(&call->reply, 0);
        return;
    }
    status_t status =
        database_set(call->database, call->arguments[1], call->arguments[2], EXPIRES_NEVER);
    if (status == STATUS_OK) {
        reply_integer(&call->reply, 1);
    } else {
        reply_refused(call, status);
    }
}

static void set_with_time(struct call *call, enum time_unit unit)
{
    int64_t expires_ms;

    if (argument_moment(call, 2, unit, call->database->now_ms, &expires_ms)) {
        reply_done(
            call, database_set(call->database, call->arguments[1], call->arguments[3], expires_ms));
    }
}

void command_setex(struct call *call)
{
    set_with_time(call, UNIT_SECONDS);
}

void command_psetex(struct call *call)
{
    set_with_time(call, UNIT_MILLISECONDS);
}

void command_getset(struct call *call)
{
    struct set_request request = {.options = SET_GET, .expires_ms = EXPIRES_NEVER};

    set_value(call, call->arguments[1], call->arguments[2], &request);
}

void command_getdel(struct call *call)
{
    struct entry *entry = database_read(call->database, call->arguments[1]);

    if (entry == NULL) {
        reply_null(&call->reply);
        return;
    }
    /* The reply is built first, as the value goes; should the delete be refused, it is withdrawn.
     */
    struct chain value;
    struct chain *out = call->reply.out;
    chain_init(&value, call->server->heap);
    call->reply.out = &value;
    reply_entry_value(call, entry);
    call->reply.out = out;
    status_t status = value.failed ? STATUS_NO_MEMORY : database_delete(call->database, entry);
    if (status == STATUS_OK) {
        chain_move(out, &value);
    } else {
        chain_clear(&value);
        reply_refused(call, status);
    }
}

void command_getex(struct call *call)
{
    struct set_request request;

    if (!parse_set_options(call, 2, SET_EXPIRY | SET_PERSIST, &request)) {
        return;
    }
    struct entry *entry = database_read(call->database, call->arguments[1]);
    if (entry == NULL) {
        reply_null(&call->reply);
        return;
    }
    if ((request.options & SET_EXPIRY) != 0 && request.expires_ms <= call->database->now_ms) {
        command_getdel(call);
        return;
    }
    bool change = (request.options & SET_EXPIRY) != 0 ||
                  ((request.options & SET_PERSIST) != 0 && entry->expires_ms != EXPIRES_NEVER);
    status_t status = STATUS_OK;
    if (change) {
        status = database_expire(call->database, entry, request.expires_ms);
    }
    if (status == STATUS_OK) {
        reply_entry_value(call, entry);
    } else {
        reply_refused(call, status);
    }
}

/* ---- Several at once --------------------------------------------------------------------------
 */

void command_mset(struct call *call)
{
    if (call->count % 2 == 0) {
        reply_arity_error(call);
        return;
    }
    reply_done(call, database_set_many(call->database, call->arguments + 1, call->count / 2));
}

void command_msetnx(struct call *call)
{
    if (call->count % 2 == 0) {
        reply_arity_error(call);
        return;
    }
    for (size_t i = 1; i < call->count; i += 2) {
        if (database_find(call->database, call->arguments[i]) != NULL) {
            reply_integer(&call->reply, 0);
            return;
        }
    }
    status_t status = database_set_many(call->database, call->arguments + 1, call->count / 2);
    if (status == STATUS_OK) {
        reply_integer(&call->reply, 1);
    } else {
        reply_refused(call, status);
    }
}

/* ---- Parts of values --------------------------------------------------------------------------
 */

static void write_part(struct call *call, size_t offset, struct slice bytes)
{
    size_t length;

    if (offset > call->server->config.bulk_bytes_max ||
        bytes.bytes > call->server->config.bulk_bytes_max - offset) {
        reply_error(&call->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    status_t status = database_write(call->database, call->arguments[1], offset, bytes, &length);
    if (status == STATUS_OK) {
        reply_integer(&call->reply, (int64_t)length);
    } else {
        reply_refused(call, status);
    }
}

void command_append(struct call *call)
{
    struct entry *entry = database_find(call->database, call->arguments[1]);

    write_part(call, entry == NULL ? 0 : entry_value(entry).bytes, call->arguments[2]);
}

void command_setrange(struct call *call)
{
    int64_t offset;

    if (!argument_i64(call, 2, &offset)) {
        return;
    }
    if (offset < 0) {
        reply_error(&call->reply, "ERR offset is out of range");
        return;
    }
    if (call->arguments[3].bytes == 0) {
        struct entry *entry = database_find(call->database, call->arguments[1]);
        reply_integer(&call->reply, entry == NULL ? 0 : (int64_t)entry_value(entry).bytes);
        return;
    }
    write_part(call, (size_t)offset, call->arguments[3]);
}

/* ---- Counters ---------------------------------------------------------------------------------
 */

/* Sets a number, keeping the key's expiry. */
static status_t set_number(struct call *call, struct entry *old, struct slice text)
{
    struct set_plan plan = {.old = old};
    int64_t expires_ms = old == NULL ? EXPIRES_NEVER : old->expires_ms;
    status_t status =
        database_prepare_set(call->database, call->arguments[1], text, expires_ms, &plan);

    if (status == STATUS_OK) {
        database_commit_set(call->database, &plan);
    } else {
        reply_refused(call, status);
    }
    return status;
}

static void add(struct call *call, int64_t amount)
{
    struct entry *entry = database_find(call->database, call->arguments[1]);
    int64_t value = 0;
    uint8_t text[NUMBER_TEXT_MAX];

    if (entry != NULL && !number_parse_i64(entry_value(entry), &value)) {
        reply_not_integer(call);
        return;
    }
    if (__builtin_add_overflow(value, amount, &value)) {
        reply_error(&call->reply, "ERR increment or decrement would overflow");
        return;
    }
    size_t bytes = number_format_i64(value, text);
    if (set_number(call, entry, slice_of(text, bytes)) == STATUS_OK) {
        reply_integer(&call->reply, value);
    }
}

void command_incr(struct call *call)
{
    add(call, 1);
}

void command_decr(struct call *call)
{
    add(call, -1);
}

void command_incrby(struct call *call)
{
    int64_t amount;

    if (argument_i64(call, 2, &amount)) {
        add(call, amount);
    }
}

void command_decrby(struct call *call)
{
    int64_t amount;

    if (!argument_i64(call, 2, &amount)) {
        return;
    }
    if (amount == INT64_MIN) {
        reply_error(&call->reply, "ERR decrement would overflow");
        return;
    }
    add(call, -amount);
}

void command_incrbyfloat(struct call *call)
{
    struct entry *entry = database_find(call->database, call->arguments[1]);
    struct slice old = entry == NULL ? slice_of("0", 1) : entry_value(entry);
    uint8_t text[DECIMAL_TEXT_MAX];
    size_t bytes = 0;

    enum decimal_result result = decimal_add(old, call->arguments[2], text, &bytes);
    if (result == DECIMAL_NOT_A_NUMBER) {
        reply_error(&call->reply, "ERR value is not a valid float");
        return;
    }
    if (result == DECIMAL_TOO_LARGE) {
        reply_error(&call->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    if (set_number(call, entry, slice_of(text, bytes)) == STATUS_OK) {
        reply_bulk(&call->reply, slice_of(text, bytes));
    }
}
