// SPDX-License-Identifier: MIT OR Apache-2.0
/* Replays the log's records into the database. */
#include "apps/kvstore/core/database.h"

static status_t apply_record(struct database *database, const struct journal_record *record)
{
    struct entry *entry = NULL;
    size_t length;
    int64_t expires_ms = record->argument == 0 ? EXPIRES_NEVER : record->argument;

    if (record->type != JOURNAL_FLUSH) {
        entry = keyspace_find(&database->keyspace, record->key);
    }
    switch (record->type) {
    case JOURNAL_SET:
        return database_set(database, record->key, record->value, expires_ms);
    case JOURNAL_FLUSH:
        return database_flush(database);
    case JOURNAL_WRITE:
    case JOURNAL_DELETE:
    case JOURNAL_EXPIRE:
    case JOURNAL_RENAME:
        break;
    default:
        return STATUS_CORRUPT;
    }
    /* What changes a key that is not there belongs to a key that a checkpoint further on writes or
     * that is deleted further on. */
    if (entry == NULL) {
        return STATUS_OK;
    }
    if (record->type == JOURNAL_WRITE) {
        return database_write(database, record->key, (size_t)record->argument, record->value,
                              &length);
    }
    if (record->type == JOURNAL_DELETE) {
        return database_delete(database, entry);
    }
    if (record->type == JOURNAL_EXPIRE) {
        return database_expire(database, entry, expires_ms);
    }
    return slice_equal(record->key, record->value)
               ? STATUS_OK
               : database_rename(database, entry, record->value);
}

status_t database_apply(struct database *database, const struct journal_record *record)
{
    bool off = database->journal.off;

    database->journal.off = true;
    status_t status = apply_record(database, record);
    database->journal.off = off;
    return status;
}
