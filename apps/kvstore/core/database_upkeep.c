// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the database does in the background, in bounded steps. */
#include "apps/kvstore/core/database_internal.h"

#define EXPIRE_SAMPLES 20u
#define EXPIRE_MANY (EXPIRE_SAMPLES / 4u)
#define EXPIRE_ROUNDS 8u
#define RECLAIM_ENTRIES 512u

bool database_expire_some(struct database *database)
{
    struct keyspace *keyspace = &database->keyspace;

    for (uint32_t round = 0; round < EXPIRE_ROUNDS; round++) {
        uint32_t expired = 0;
        for (uint32_t i = 0; i < EXPIRE_SAMPLES && keyspace_expiring(keyspace) > 0; i++) {
            size_t index = (size_t)(database_random(database) % keyspace_expiring(keyspace));
            struct entry *entry = keyspace_expiring_at(keyspace, index);
            if (entry_expired(database, entry)) {
                keyspace_remove(keyspace, entry);
                expired++;
            }
        }
        database->expired_keys += expired;
        if (expired <= EXPIRE_MANY) {
            return false;
        }
    }
    return true;
}

bool database_reclaim_some(struct database *database)
{
    return keyspace_reclaim(&database->keyspace, RECLAIM_ENTRIES);
}

void database_checkpoint_begin(struct database *database)
{
    database->checkpointing = true;
    database->checkpoint_open = true;
    database->checkpoint_begun_ms = database->now_ms;
    database->checkpoint_wanted = false;
    database->checkpoint_begun_changes = database->changes;
    database->checkpoint_position = 0;
}

struct checkpoint_visit {
    struct database *database;
    size_t bytes;
    status_t status;
};

static void checkpoint_entry(struct entry *entry, void *context)
{
    struct checkpoint_visit *visit = context;
    struct slice value = entry_value(entry);

    if (visit->status != STATUS_OK || entry_expired(visit->database, entry)) {
        return;
    }
    visit->status =
        database_put_set(visit->database, entry, entry_key(entry), value, entry->expires_ms);
    visit->bytes += journal_record_bytes(entry->key_bytes, value.bytes);
}

status_t database_checkpoint_step(struct database *database, size_t bytes)
{
    struct checkpoint_visit visit = {.database = database};
    bool more = true;

    for (uint32_t buckets = 0; more && visit.bytes < bytes && buckets < 1024u; buckets++) {
        uint64_t position = database->checkpoint_position;
        more = keyspace_scan(&database->keyspace, &position, checkpoint_entry, &visit);
        if (visit.status != STATUS_OK) {
            return visit.status;
        }
        database->checkpoint_position = position;
    }
    if (more) {
        return STATUS_AGAIN;
    }
    database->checkpointing = false;
    return STATUS_OK;
}

void database_checkpoint_end(struct database *database, status_t result)
{
    database->checkpointing = false;
    database->checkpoint_open = false;
    database->checkpoint_result = result;
    database->checkpoint_took_ms = database->now_ms - database->checkpoint_begun_ms;
    if (result == STATUS_OK) {
        database->checkpoints++;
        database->checkpoint_ms = database->now_ms;
        database->checkpoint_changes = database->checkpoint_begun_changes;
    }
}
