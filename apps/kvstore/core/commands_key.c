// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/command.h"
#include "apps/kvstore/core/glob.h"

#define SCAN_COUNT_DEFAULT 10
/* Buckets one SCAN looks at for each key it was asked for. */
#define SCAN_BUCKETS_A_KEY 10u
#define SCAN_BUCKETS_MAX 65536u

/* ---- Whole keys -------------------------------------------------------------------------------
 */

void command_del(struct call *call)
{
    size_t deleted;
    status_t status =
        database_delete_many(call->database, call->arguments + 1, call->count - 1, &deleted);

    if (status == STATUS_OK) {
        reply_integer(&call->reply, (int64_t)deleted);
    } else {
        reply_refused(call, status);
    }
}

void command_exists(struct call *call)
{
    int64_t found = 0;

    for (size_t i = 1; i < call->count; i++) {
        found += database_find(call->database, call->arguments[i]) != NULL;
    }
    reply_integer(&call->reply, found);
}

void command_touch(struct call *call)
{
    int64_t found = 0;

    for (size_t i = 1; i < call->count; i++) {
        found += database_read(call->database, call->arguments[i]) != NULL;
    }
    reply_integer(&call->reply, found);
}

void command_type(struct call *call)
{
    struct entry *entry = database_find(call->database, call->arguments[1]);

    reply_status(&call->reply, entry == NULL ? "none" : "string");
}

void command_rename(struct call *call)
{
    struct entry *entry = database_find(call->database, call->arguments[1]);

    if (entry == NULL) {
        reply_error(&call->reply, "ERR no such key");
    } else if (slice_equal(call->arguments[1], call->arguments[2])) {
        reply_ok(&call->reply);
    } else {
        reply_done(call, database_rename(call->database, entry, call->arguments[2]));
    }
}

void command_renamenx(struct call *call)
{
    if (database_find(call->database, call->arguments[1]) == NULL) {
        reply_error(&call->reply, "ERR no such key");
        return;
    }
    if (database_find(call->database, call->arguments[2]) != NULL) {
        reply_integer(&call->reply, 0);
        return;
    }
    struct entry *entry = database_find(call->database, call->arguments[1]);
    status_t status = database_rename(call->database, entry, call->arguments[2]);
    if (status == STATUS_OK) {
        reply_integer(&call->reply, 1);
    } else {
        reply_refused(call, status);
    }
}

void command_copy(struct call *call)
{
    bool replace = false;

    for (size_t i = 3; i < call->count; i++) {
        int64_t number;
        if (argument_is(call, i, "REPLACE")) {
            replace = true;
        } else if (argument_is(call, i, "DB") && i + 1 < call->count) {
            if (!argument_i64(call, ++i, &number)) {
                return;
            }
            if (number != 0) {
                reply_error(&call->reply, "ERR DB index is out of range");
                return;
            }
        } else {
            reply_syntax_error(call);
            return;
        }
    }
    if (slice_equal(call->arguments[1], call->arguments[2])) {
        reply_error(&call->reply, "ERR source and destination objects are the same");
        return;
    }
    bool taken = database_find(call->database, call->arguments[2]) != NULL;
    struct entry *entry = database_find(call->database, call->arguments[1]);
    if (entry == NULL || (taken && !replace)) {
        reply_integer(&call->reply, 0);
        return;
    }
    status_t status = database_copy(call->database, entry, call->arguments[2]);
    if (status == STATUS_OK) {
        reply_integer(&call->reply, 1);
    } else {
        reply_refused(call, status);
    }
}

/* What depends on many keys, or on which keys there are, depends on every change. */
static void depend_on_all(struct call *call)
{
    call->database->dependency = journal_position(&call->database->journal);
}

void command_randomkey(struct call *call)
{
    struct database *database = call->database;

    depend_on_all(call);
    for (uint32_t tries = 0; tries < 100; tries++) {
        struct entry *entry = keyspace_random(&database->keyspace, database_random(database));
        if (entry == NULL) {
            break;
        }
        if (!entry_expired(database, entry)) {
            reply_bulk(&call->reply, entry_key(entry));
            return;
        }
        keyspace_remove(&database->keyspace, entry);
        database->expired_keys++;
    }
    reply_null(&call->reply);
}

void command_dbsize(struct call *call)
{
    depend_on_all(call);
    reply_integer(&call->reply, (int64_t)keyspace_count(&call->database->keyspace));
}

void command_flush(struct call *call)
{
    if (call->count > 2 ||
        (call->count == 2 && !argument_is(call, 1, "ASYNC") && !argument_is(call, 1, "SYNC"))) {
        reply_syntax_error(call);
        return;
    }
    reply_done(call, database_flush(call->database));
}

/* ---- Many keys --------------------------------------------------------------------------------
 */

/* Keys found, written as bulk strings into a chain of their own, since their number comes first. */
struct key_list {
    const struct database *database;
    struct slice pattern; /* data NULL: all */
    bool no_type;         /* TYPE asks for another one than string */
    size_t count;
    struct reply reply;
    struct chain keys;
};

static void list_init(struct key_list *list, struct call *call)
{
    *list = (struct key_list){.database = call->database};
    chain_init(&list->keys, call->server->heap);
    list->reply = (struct reply){.out = &list->keys, .version = call->reply.version};
}

static void list_key(struct entry *entry, void *context)
{
    struct key_list *list = context;

    if (list->no_type || entry_expired(list->database, entry)) {
        return;
    }
    if (list->pattern.data == NULL || glob_match(list->pattern, entry_key(entry))) {
        list->count++;
        reply_bulk(&list->reply, entry_key(entry));
    }
}

static void reply_list(struct call *call, struct key_list *list)
{
    reply_array(&call->reply, list->count);
    chain_move(call->reply.out, &list->keys);
}

void command_keys(struct call *call)
{
    struct key_list list;
    uint64_t position = 0;

    list_init(&list, call);
    list.pattern = call->arguments[1];
    depend_on_all(call);
    while (keyspace_scan(&call->database->keyspace, &position, list_key, &list)) {
    }
    reply_list(call, &list);
}

static bool parse_scan_options(struct call *call, struct key_list *list, int64_t *count)
{
    for (size_t i = 2; i < call->count; i += 2) {
        bool has_value = i + 1 < call->count;
        if (has_value && argument_is(call, i, "COUNT")) {
            if (!argument_i64(call, i + 1, count)) {
                return false;
            }
            if (*count < 1) {
                reply_syntax_error(call);
                return false;
            }
        } else if (has_value && argument_is(call, i, "MATCH")) {
            list->pattern = call->arguments[i + 1];
        } else if (has_value && argument_is(call, i, "TYPE")) {
            list->no_type = !argument_is(call, i + 1, "STRING");
        } else {
            reply_syntax_error(call);
            return false;
        }
    }
    return true;
}

void command_scan(struct call *call)
{
    struct key_list list;
    uint64_t position;
    int64_t count = SCAN_COUNT_DEFAULT;

    if (!number_parse_u64(call->arguments[1], &position)) {
        reply_error(&call->reply, "ERR invalid cursor");
        return;
    }
    list_init(&list, call);
    if (!parse_scan_options(call, &list, &count)) {
        return;
    }
    depend_on_all(call);
    uint64_t buckets = (uint64_t)count < SCAN_BUCKETS_MAX / SCAN_BUCKETS_A_KEY
                           ? (uint64_t)count * SCAN_BUCKETS_A_KEY
                           : SCAN_BUCKETS_MAX;
    bool more = true;
    while (more && buckets-- > 0 && list.count < (uint64_t)count) {
        more = keyspace_scan(&call->database->keyspace, &position, list_key, &list);
    }
    reply_array(&call->reply, 2);
    uint8_t text[NUMBER_TEXT_MAX];
    reply_bulk(&call->reply, slice_of(text, number_format_u64(more ? position : 0, text)));
    reply_list(call, &list);
}

/* ---- OBJECT, MEMORY ---------------------------------------------------------------------------
 */

static const char *encoding_of(const struct entry *entry)
{
    enum { EMBEDDED_BYTES_MAX = 44 };
    struct slice value = entry_value(entry);
    int64_t number;

    if ((entry->flags & ENTRY_CHANGED) != 0) {
        return "raw";
    }
    if (number_parse_i64(value, &number)) {
        return "int";
    }
    return value.bytes <= EMBEDDED_BYTES_MAX ? "embstr" : "raw";
}

static void reply_help(struct call *call, const char *const *lines, size_t count)
{
    reply_array(&call->reply, count);
    for (size_t i = 0; i < count; i++) {
        reply_status(&call->reply, lines[i]);
    }
}

void command_object(struct call *call)
{
    static const char *const help[] = {"OBJECT <subcommand> [<arg>]. Subcommands are:",
                                       "ENCODING <key>",
                                       "    How the value is kept.",
                                       "FREQ <key>",
                                       "    Not offered: there is no eviction.",
                                       "IDLETIME <key>",
                                       "    Seconds since the value was last read or set.",
                                       "REFCOUNT <key>",
                                       "    References to the value.",
                                       "HELP",
                                       "    This text."};

    if (call->count == 2 && argument_is(call, 1, "HELP")) {
        reply_help(call, help, sizeof help / sizeof help[0]);
        return;
    }
    bool known = argument_is(call, 1, "ENCODING") || argument_is(call, 1, "IDLETIME") ||
                 argument_is(call, 1, "REFCOUNT") || argument_is(call, 1, "FREQ");
    if (!known || call->count != 3) {
        reply_unknown_subcommand(call);
        return;
    }
    struct entry *entry = database_find(call->database, call->arguments[2]);
    if (entry == NULL) {
        reply_null(&call->reply);
    } else if (argument_is(call, 1, "ENCODING")) {
        reply_text(&call->reply, encoding_of(entry));
    } else if (argument_is(call, 1, "REFCOUNT")) {
        reply_integer(&call->reply, 1);
    } else if (argument_is(call, 1, "IDLETIME")) {
        int64_t now_s = call->database->now_ms / 1000;
        int64_t idle_s = now_s - (int64_t)entry->accessed_s;
        reply_integer(&call->reply, entry->accessed_s == 0 || idle_s < 0 ? 0 : idle_s);
    } else {
        reply_error(&call->reply,
                    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                    "Please note that when switching between policies at runtime LRU and LFU data "
                    "will take some time to adjust.");
    }
}

static void reply_memory_stats(struct call *call)
{
    struct heap_counters heap;

    heap_read_counters(call->server->heap, &heap);
    reply_map(&call->reply, 6);
    reply_text(&call->reply, "peak.allocated");
    reply_integer(&call->reply, (int64_t)heap.peak_bytes);
    reply_text(&call->reply, "total.allocated");
    reply_integer(&call->reply, (int64_t)heap.used_bytes);
    reply_text(&call->reply, "heap.bytes");
    reply_integer(&call->reply, (int64_t)heap.total_bytes);
    reply_text(&call->reply, "heap.blocks");
    reply_integer(&call->reply, (int64_t)heap.blocks);
    reply_text(&call->reply, "keys.count");
    reply_integer(&call->reply, (int64_t)keyspace_count(&call->database->keyspace));
    reply_text(&call->reply, "keys.buckets");
    reply_integer(&call->reply, (int64_t)keyspace_buckets(&call->database->keyspace));
}

void command_memory(struct call *call)
{
    static const char *const help[] = {"MEMORY <subcommand> [<arg>]. Subcommands are:",
                                       "STATS",
                                       "    Bytes of the heap.",
                                       "USAGE <key> [SAMPLES <count>]",
                                       "    Heap bytes that the key and its value take.",
                                       "HELP",
                                       "    This text."};

    if (call->count == 2 && argument_is(call, 1, "HELP")) {
        reply_help(call, help, sizeof help / sizeof help[0]);
    } else if (call->count == 2 && argument_is(call, 1, "STATS")) {
        reply_memory_stats(call);
    } else if (argument_is(call, 1, "USAGE") && (call->count == 3 || call->count == 5)) {
        int64_t samples;
        if (call->count == 5 && !argument_is(call, 3, "SAMPLES")) {
            reply_syntax_error(call);
            return;
        }
        if (call->count == 5 && !argument_i64(call, 4, &samples)) {
            return;
        }
        struct entry *entry = database_find(call->database, call->arguments[2]);
        if (entry == NULL) {
            reply_null(&call->reply);
        } else {
            reply_integer(&call->reply, (int64_t)entry_footprint_bytes(entry));
        }
    } else {
        reply_unknown_subcommand(call);
    }
}
