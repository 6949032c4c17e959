// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/database.h"

#include "apps/kvstore/core/database_internal.h"

#include "lib/base/assert.h"

/* Most room that a growing value gets in advance. */
#define GROWTH_BYTES_MAX (1u << 20)

status_t database_init(struct database *database, struct heap *heap, const uint64_t random[3])
{
    *database = (struct database){.heap = heap, .random = random[2] | 1u, .checkpoint_took_ms = -1};
    journal_init(&database->journal, heap);
    return keyspace_init(&database->keyspace, heap, random);
}

void database_destroy(struct database *database)
{
    chain_clear(&database->journal.pending);
    chain_clear(&database->journal.draft);
    keyspace_destroy(&database->keyspace);
}

uint64_t database_random(struct database *database)
{
    /* xorshift64*; S. Vigna, "An experimental exploration of Marsaglia's xorshift generators". */
    uint64_t x = database->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    database->random = x;
    return x * 0x2545f4914f6cdd1dull;
}

/* ---- Reading ----------------------------------------------------------------------------------
 */

static inline void depend(struct database *database, uint64_t position)
{
    if (position > database->dependency) {
        database->dependency = position;
    }
}

struct entry *database_find(struct database *database, struct slice key)
{
    struct entry *entry = keyspace_find(&database->keyspace, key);

    if (entry == NULL) {
        depend(database, database->removed_at);
        return NULL;
    }
    depend(database, entry->written_at);
    if (entry->expires_ms <= database->now_ms && !database->journal.off) {
        database->expired_keys++;
        keyspace_remove(&database->keyspace, entry);
        return NULL;
    }
    return entry;
}

struct entry *database_read(struct database *database, struct slice key)
{
    struct entry *entry = database_find(database, key);

    if (entry == NULL) {
        database->misses++;
        return NULL;
    }
    database->hits++;
    entry->accessed_s = database->now_s;
    return entry;
}

/* ---- Setting ----------------------------------------------------------------------------------
 */

static inline int64_t journal_expiry(int64_t expires_ms)
{
    return expires_ms == EXPIRES_NEVER ? 0 : expires_ms;
}

/* The position that a change made now gets, known to the entry and to the answer. */
static inline uint64_t changed(struct database *database)
{
    uint64_t position = journal_position(&database->journal);

    database->changes++;
    depend(database, position);
    return position;
}

static void removed(struct database *database)
{
    database->removed_at = changed(database);
}

static bool fits_in_place(const struct set_plan *plan)
{
    return plan->old != NULL && (plan->old->flags & ENTRY_BLOB) == 0 &&
           plan->value.bytes < BLOB_BYTES_MIN && plan->value.bytes <= entry_inline_room(plan->old);
}

/* The blob that a record of this entry's value may refer to. */
static struct blob *entry_blob_or_null(const struct entry *entry)
{
    return (entry->flags & ENTRY_BLOB) != 0 ? entry_blob(entry) : NULL;
}

status_t database_put_set(struct database *database, const struct entry *entry, struct slice key,
                          struct slice value, int64_t expires_ms)
{
    struct journal_record record = {
        .type = JOURNAL_SET, .key = key, .value = value, .argument = journal_expiry(expires_ms)};
    if (entry != NULL) {
        record.blob = entry_blob_or_null(entry);
        record.value = record.blob != NULL ? entry_value(entry) : value;
    }
    return journal_put(&database->journal, &record);
}

status_t database_prepare_set(struct database *database, struct slice key, struct slice value,
                              int64_t expires_ms, struct set_plan *plan)
{
    plan->value = value;
    plan->expires_ms = expires_ms;
    plan->entry = NULL;
    if (!fits_in_place(plan)) {
        plan->entry = entry_make(&database->keyspace, key, value.bytes);
        if (plan->entry == NULL) {
            return STATUS_NO_MEMORY;
        }
        memcpy(entry_value_bytes(plan->entry), value.data, value.bytes);
    }
    status_t status = STATUS_OK;
    if (expires_ms != EXPIRES_NEVER) {
        status = keyspace_reserve_expiry(&database->keyspace, 1);
    }
    if (status == STATUS_OK) {
        status = database_put_set(database, plan->entry, key, value, expires_ms);
    }
    if (status != STATUS_OK && plan->entry != NULL) {
        entry_free(&database->keyspace, plan->entry);
    }
    return status;
}

void database_commit_set(struct database *database, const struct set_plan *plan)
{
    struct entry *entry = plan->entry;

    if (entry == NULL) {
        entry = plan->old;
        memcpy(entry_value_bytes(entry), plan->value.data, plan->value.bytes);
        entry->value_bytes = (uint32_t)plan->value.bytes;
        entry->flags &= ~(uint32_t)ENTRY_CHANGED;
    } else if (plan->old != NULL) {
        keyspace_replace(&database->keyspace, plan->old, entry);
    } else {
        keyspace_insert(&database->keyspace, entry);
    }
    keyspace_set_expiry(&database->keyspace, entry, plan->expires_ms);
    entry->written_at = changed(database);
    entry->accessed_s = database->now_s;
}

status_t database_set(struct database *database, struct slice key, struct slice value,
                      int64_t expires_ms)
{
    struct set_plan plan = {.old = database_find(database, key)};
    status_t status = database_prepare_set(database, key, value, expires_ms, &plan);

    if (status == STATUS_OK) {
        database_commit_set(database, &plan);
    }
    return status;
}

static void group_finish(struct journal *journal, status_t status)
{
    if (status == STATUS_OK) {
        journal_group_end(journal);
    } else {
        journal_group_cancel(journal);
    }
}

/* Builds the entries of a multiple set as a list through `next`, and their records. */
static status_t prepare_many(struct database *database, const struct slice *pairs, size_t count,
                             struct entry **list)
{
    struct entry **end = list;

    for (size_t i = 0; i < count; i++) {
        struct slice key = pairs[2 * i];
        struct slice value = pairs[2 * i + 1];
        struct entry *entry = entry_make(&database->keyspace, key, value.bytes);
        if (entry == NULL) {
            return STATUS_NO_MEMORY;
        }
        *end = entry;
        end = &entry->next;
        memcpy(entry_value_bytes(entry), value.data, value.bytes);
        status_t status = database_put_set(database, entry, key, value, EXPIRES_NEVER);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

status_t database_set_many(struct database *database, const struct slice *pairs, size_t count)
{
    struct entry *list = NULL;
    bool outer = database->journal.grouping;
    status_t status = outer ? STATUS_OK : journal_group_begin(&database->journal);

    if (status != STATUS_OK) {
        return status;
    }
    status = prepare_many(database, pairs, count, &list);
    if (!outer) {
        group_finish(&database->journal, status);
    }
    while (list != NULL) {
        struct entry *entry = list;
        list = entry->next;
        entry->next = NULL;
        if (status != STATUS_OK) {
            entry_free(&database->keyspace, entry);
            continue;
        }
        struct entry *old = keyspace_find(&database->keyspace, entry_key(entry));
        struct set_plan plan = {.old = old, .entry = entry, .expires_ms = EXPIRES_NEVER};
        database_commit_set(database, &plan);
    }
    return status;
}

/* ---- Writing into values ----------------------------------------------------------------------
 */

/* An entry that has the old value and room for `length` bytes; its length is set to `length` and
 * what is new is zero. NULL without memory. */
static struct entry *grown_copy(struct database *database, const struct entry *old,
                                struct slice key, size_t length)
{
    struct slice value = entry_value(old);
    size_t growth = length < GROWTH_BYTES_MAX ? length / 2 : GROWTH_BYTES_MAX / 2;
    struct entry *entry = entry_make(&database->keyspace, key, length + growth);

    if (entry == NULL) {
        entry = entry_make(&database->keyspace, key, length);
    }
    if (entry == NULL) {
        return NULL;
    }
    uint8_t *to = entry_value_bytes(entry);
    memcpy(to, value.data, value.bytes);
    memset(to + value.bytes, 0, length - value.bytes);
    if ((entry->flags & ENTRY_BLOB) != 0) {
        entry_blob(entry)->length = (uint32_t)length;
    } else {
        entry->value_bytes = (uint32_t)length;
    }
    return entry;
}

static bool has_room(const struct entry *entry, size_t length)
{
    if ((entry->flags & ENTRY_BLOB) != 0) {
        const struct blob *blob = entry_blob(entry);
        return blob->references == 1 && length <= blob->capacity;
    }
    return length < BLOB_BYTES_MIN && length <= entry_inline_room(entry);
}

static void lengthen(struct entry *entry, size_t length)
{
    size_t old_length = entry_value(entry).bytes;

    if (length <= old_length) {
        return;
    }
    memset(entry_value_bytes(entry) + old_length, 0, length - old_length);
    if ((entry->flags & ENTRY_BLOB) != 0) {
        entry_blob(entry)->length = (uint32_t)length;
    } else {
        entry->value_bytes = (uint32_t)length;
    }
}

/* A key that is not there yet: zeros up to the offset, then the bytes. */
static status_t write_new(struct database *database, struct slice key, size_t offset,
                          struct slice bytes)
{
    struct entry *entry = entry_make(&database->keyspace, key, offset + bytes.bytes);

    if (entry == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(entry_value_bytes(entry), 0, offset);
    memcpy(entry_value_bytes(entry) + offset, bytes.data, bytes.bytes);
    status_t status = database_put_set(database, entry, key, entry_value(entry), EXPIRES_NEVER);
    if (status != STATUS_OK) {
        entry_free(&database->keyspace, entry);
        return status;
    }
    struct set_plan plan = {.entry = entry, .expires_ms = EXPIRES_NEVER};
    database_commit_set(database, &plan);
    return STATUS_OK;
}

status_t database_write(struct database *database, struct slice key, size_t offset,
                        struct slice bytes, size_t *length)
{
    struct entry *entry = database_find(database, key);

    if (entry == NULL) {
        *length = offset + bytes.bytes;
        return write_new(database, key, offset, bytes);
    }
    size_t old_length = entry_value(entry).bytes;
    size_t new_length = offset + bytes.bytes > old_length ? offset + bytes.bytes : old_length;
    struct entry *copy = NULL;
    status_t status = STATUS_OK;
    if (!has_room(entry, new_length)) {
        copy = grown_copy(database, entry, key, new_length);
        status = copy == NULL ? STATUS_NO_MEMORY : keyspace_reserve_expiry(&database->keyspace, 1);
    }
    if (status == STATUS_OK) {
        struct journal_record record = {
            .type = JOURNAL_WRITE, .key = key, .value = bytes, .argument = (int64_t)offset};
        status = journal_put(&database->journal, &record);
    }
    if (status != STATUS_OK) {
        if (copy != NULL) {
            entry_free(&database->keyspace, copy);
        }
        return status;
    }
    if (copy != NULL) {
        int64_t expires_ms = entry->expires_ms;
        copy->accessed_s = entry->accessed_s;
        keyspace_replace(&database->keyspace, entry, copy);
        keyspace_set_expiry(&database->keyspace, copy, expires_ms);
        entry = copy;
    } else {
        lengthen(entry, new_length);
    }
    memcpy(entry_value_bytes(entry) + offset, bytes.data, bytes.bytes);
    entry->flags |= ENTRY_CHANGED;
    entry->written_at = changed(database);
    *length = new_length;
    return STATUS_OK;
}

/* ---- Whole keys -------------------------------------------------------------------------------
 */

status_t database_delete(struct database *database, struct entry *entry)
{
    struct journal_record record = {.type = JOURNAL_DELETE, .key = entry_key(entry)};
    status_t status = journal_put(&database->journal, &record);

    if (status == STATUS_OK) {
        keyspace_remove(&database->keyspace, entry);
        removed(database);
    }
    return status;
}

/* Puts the records of a multiple delete. */
static status_t put_deletes(struct database *database, const struct slice *keys, size_t count)
{
    status_t status = STATUS_OK;

    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        struct journal_record record = {.type = JOURNAL_DELETE, .key = keys[i]};
        if (database_find(database, keys[i]) != NULL) {
            status = journal_put(&database->journal, &record);
        }
    }
    return status;
}

status_t database_delete_many(struct database *database, const struct slice *keys, size_t count,
                              size_t *deleted)
{
    bool outer = database->journal.grouping;
    status_t status = outer ? STATUS_OK : journal_group_begin(&database->journal);

    *deleted = 0;
    if (status != STATUS_OK) {
        return status;
    }
    status = put_deletes(database, keys, count);
    if (!outer) {
        group_finish(&database->journal, status);
    }
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        struct entry *entry = database_find(database, keys[i]);
        if (entry != NULL) {
            keyspace_remove(&database->keyspace, entry);
            removed(database);
            ++*deleted;
        }
    }
    return status;
}

status_t database_expire(struct database *database, struct entry *entry, int64_t expires_ms)
{
    struct journal_record record = {
        .type = JOURNAL_EXPIRE, .key = entry_key(entry), .argument = journal_expiry(expires_ms)};
    status_t status = keyspace_reserve_expiry(&database->keyspace, 1);

    if (status == STATUS_OK) {
        status = journal_put(&database->journal, &record);
    }
    if (status == STATUS_OK) {
        keyspace_set_expiry(&database->keyspace, entry, expires_ms);
        entry->written_at = changed(database);
    }
    return status;
}

/* The same value under another key: shares a blob, copies an inline value. */
static struct entry *duplicate(struct database *database, const struct entry *entry,
                               struct slice key)
{
    struct entry *copy;

    if ((entry->flags & ENTRY_BLOB) != 0) {
        copy = entry_make_blob(&database->keyspace, key, entry_blob(entry));
    } else {
        struct slice value = entry_value(entry);
        copy = entry_make(&database->keyspace, key, value.bytes);
        if (copy != NULL) {
            memcpy(entry_value_bytes(copy), value.data, value.bytes);
        }
    }
    if (copy != NULL) {
        copy->flags |= entry->flags & ENTRY_CHANGED;
        copy->accessed_s = entry->accessed_s;
    }
    return copy;
}

/* Puts a rename's records. While a checkpoint runs, the scan may have passed the new key's place
 * already, so that its value has to be written. */
static status_t put_rename(struct database *database, const struct entry *entry,
                           const struct entry *copy)
{
    struct journal *journal = &database->journal;

    if (!database->checkpointing) {
        struct journal_record record = {
            .type = JOURNAL_RENAME, .key = entry_key(entry), .value = entry_key(copy)};
        return journal_put(journal, &record);
    }
    bool outer = journal->grouping;
    status_t status = outer ? STATUS_OK : journal_group_begin(journal);
    if (status != STATUS_OK) {
        return status;
    }
    struct journal_record delete = {.type = JOURNAL_DELETE, .key = entry_key(entry)};
    status =
        database_put_set(database, copy, entry_key(copy), entry_value(copy), entry->expires_ms);
    if (status == STATUS_OK) {
        status = journal_put(journal, &delete);
    }
    if (!outer) {
        group_finish(journal, status);
    }
    return status;
}

static status_t place_copy(struct database *database, struct entry *entry, struct slice key,
                           bool rename)
{
    struct entry *copy = duplicate(database, entry, key);

    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    int64_t expires_ms = entry->expires_ms;
    status_t status = keyspace_reserve_expiry(&database->keyspace, 1);
    if (status == STATUS_OK) {
        status = rename ? put_rename(database, entry, copy)
                        : database_put_set(database, copy, key, entry_value(copy), expires_ms);
    }
    if (status != STATUS_OK) {
        entry_free(&database->keyspace, copy);
        return status;
    }
    struct set_plan plan = {.entry = copy, .expires_ms = expires_ms};
    if (rename) {
        keyspace_remove(&database->keyspace, entry);
        removed(database);
    }
    plan.old = keyspace_find(&database->keyspace, key);
    database_commit_set(database, &plan);
    return STATUS_OK;
}

status_t database_rename(struct database *database, struct entry *entry, struct slice key)
{
    return place_copy(database, entry, key, true);
}

status_t database_copy(struct database *database, struct entry *entry, struct slice key)
{
    return place_copy(database, entry, key, false);
}

status_t database_flush(struct database *database)
{
    struct journal_record record = {.type = JOURNAL_FLUSH};
    bool was_empty = keyspace_count(&database->keyspace) == 0;

    if (was_empty) {
        depend(database, database->removed_at);
        return STATUS_OK;
    }
    /* The new table first: it is all that can fail besides the record. */
    status_t status = keyspace_flush(&database->keyspace);
    if (status != STATUS_OK) {
        return status;
    }
    status = journal_put(&database->journal, &record);
    if (status != STATUS_OK) {
        keyspace_unflush(&database->keyspace);
        return status;
    }
    removed(database);
    return STATUS_OK;
}
