// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The database: a keyspace whose changes are recorded in a journal, with expiry.
 *
 * Every change is made in this order: find the memory, put the record, change the keyspace. The
 * last cannot fail, so a refused change changes nothing, neither here nor in the log.
 *
 * Statuses of every changing function: NO_MEMORY; those of journal_put.
 *
 * Dependencies. `dependency` is raised to the log position that the answer to whoever called relies
 * on: that of the last change of each key looked up, or of the last removal where a key is missing.
 * The caller sets it to 0 before and holds the answer back until that position is durable.
 */
#ifndef APPS_KVSTORE_CORE_DATABASE_H
#define APPS_KVSTORE_CORE_DATABASE_H

#include "apps/kvstore/core/journal.h"
#include "apps/kvstore/core/keyspace.h"

struct database {
    struct heap *heap;
    struct keyspace keyspace;
    struct journal journal;
    int64_t now_ms; /* Unix time, by database_set_time */
    uint32_t now_s;
    uint64_t random;
    uint64_t dependency;
    uint64_t removed_at; /* position of the last change that removed a key */
    uint64_t hits, misses, expired_keys;
    uint64_t changes; /* since the start; "dirty" */
    /* A checkpoint under way writes every key anew, so that the log before it can go. */
    bool checkpointing;
    bool checkpoint_open;         /* from its begin until its owner has ended it */
    int64_t checkpoint_begun_ms;  /* Unix time, of the last one */
    int64_t checkpoint_took_ms;   /* of the last one that has ended; -1: none has */
    status_t checkpoint_result;   /* its result */
    uint64_t checkpoint_position; /* of the scan */
    uint64_t checkpoints;
    bool checkpoint_wanted;      /* asked for by a client; the owner begins it */
    bool checkpoint_possible;    /* set by an owner that can */
    int64_t checkpoint_ms;       /* Unix time of the end of the last good one, or of the start */
    uint64_t checkpoint_changes; /* `changes` when that one began */
    uint64_t checkpoint_begun_changes;
};

status_t database_init(struct database *database, struct heap *heap,
                       const uint64_t random[3]) HALLOWS_MUST_CHECK;
void database_destroy(struct database *database);

static inline void database_set_time(struct database *database, int64_t unix_ms)
{
    database->now_ms = unix_ms;
    database->now_s = (uint32_t)((uint64_t)unix_ms / 1000u);
}

uint64_t database_random(struct database *database);

/* ---- Reading ----------------------------------------------------------------------------------
 */

/* The key's entry, unless it is expired (then it is removed). Counts neither hit nor miss. */
struct entry *database_find(struct database *database, struct slice key);
/* The same for a read: counts hits and misses and notes the access. */
struct entry *database_read(struct database *database, struct slice key);

static inline bool entry_expired(const struct database *database, const struct entry *entry)
{
    return entry->expires_ms <= database->now_ms;
}

/* ---- Changing ----------------------------------------------------------------------------------
 * A set is prepared and then committed, so that a caller can do several as one, or look at the old
 * value in between. Between the two no other change may be made. */

struct set_plan {
    struct entry *old;   /* NULL: a new key */
    struct entry *entry; /* NULL: the value is written into `old` */
    struct slice value;
    int64_t expires_ms;
};

/* `old` is database_find's result for the key. With `expires_ms` in the past the key is as good as
 * gone, but this is left to expiry. Puts the record. */
status_t database_prepare_set(struct database *database, struct slice key, struct slice value,
                              int64_t expires_ms, struct set_plan *plan) HALLOWS_MUST_CHECK;
void database_commit_set(struct database *database, const struct set_plan *plan);
/* Both at once. */
status_t database_set(struct database *database, struct slice key, struct slice value,
                      int64_t expires_ms) HALLOWS_MUST_CHECK;
/* Several keys, all or none; pairs of key and value. A key may come twice: the last wins. */
status_t database_set_many(struct database *database, const struct slice *pairs,
                           size_t count) HALLOWS_MUST_CHECK;
/* Writes bytes at an offset into a value, which grows with zeros as needed. `entry` may be NULL for
 * a key that is not there. *length is the value's new length. */
status_t database_write(struct database *database, struct slice key, size_t offset,
                        struct slice bytes, size_t *length) HALLOWS_MUST_CHECK;
status_t database_delete(struct database *database, struct entry *entry) HALLOWS_MUST_CHECK;
/* Deletes those of the keys that are there, all or none; *deleted is how many there were. */
status_t database_delete_many(struct database *database, const struct slice *keys, size_t count,
                              size_t *deleted) HALLOWS_MUST_CHECK;
/* EXPIRES_NEVER takes the expiry away. A time that has passed is to be made a delete. */
status_t database_expire(struct database *database, struct entry *entry,
                         int64_t expires_ms) HALLOWS_MUST_CHECK;
/* Moves an entry to another key, over what is there. */
status_t database_rename(struct database *database, struct entry *entry,
                         struct slice key) HALLOWS_MUST_CHECK;
status_t database_copy(struct database *database, struct entry *entry,
                       struct slice key) HALLOWS_MUST_CHECK;
status_t database_flush(struct database *database) HALLOWS_MUST_CHECK;

/* ---- Upkeep -----------------------------------------------------------------------------------
 */

/* Removes expired keys found by random samples, in bounded work. True if many were found, so that
 * another call is worth while at once. */
bool database_expire_some(struct database *database);
/* Frees flushed data in bounded work; true while more is left. */
bool database_reclaim_some(struct database *database);

/* Begins to write every key anew. The owner starts a new journal frame before. */
void database_checkpoint_begin(struct database *database);
/* Puts records for some keys, about `bytes` bytes. OK: complete; AGAIN; or a put's error (try again
 * later; nothing is lost). */
status_t database_checkpoint_step(struct database *database, size_t bytes) HALLOWS_MUST_CHECK;
/* What it wrote is durable and the log before it has gone (OK), or that failed. */
void database_checkpoint_end(struct database *database, status_t result);

/* Makes the change that a record from the log describes, without recording it. */
status_t database_apply(struct database *database,
                        const struct journal_record *record) HALLOWS_MUST_CHECK;

#endif
