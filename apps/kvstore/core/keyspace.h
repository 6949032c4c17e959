// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The keys and their values: a hash table that grows and shrinks one bucket at a time (linear
 * hashing; W. Litwin, VLDB 1980), so that no operation pauses for a rehash, an index of the keys
 * that expire, and a scan that is correct while the table changes.
 *
 * Scan. A key's scan position is its 32-bit hash with the bits reversed. A bucket holds exactly the
 * keys of one interval of positions, whatever the table's size; so a scan that goes through the
 * positions upward returns every key that is there all the time, exactly once.
 *
 * Invariants (keyspace_check):
 *   1. An entry is in the bucket that its hash names, once.
 *   2. expiring[e->expire_slot] == e for each entry with an expiry; others have SLOT_NONE.
 *   3. count is the number of entries; the table has between TABLE_BUCKETS_MIN and its limit.
 *
 * Knows nothing of time, clients or the log.
 */
#ifndef APPS_KVSTORE_CORE_KEYSPACE_H
#define APPS_KVSTORE_CORE_KEYSPACE_H

#include "apps/kvstore/core/chain.h"
#include "apps/kvstore/core/key_hash.h"
#include "apps/kvstore/core/slice.h"

#define EXPIRES_NEVER INT64_MAX
#define SLOT_NONE UINT32_MAX
#define KEY_BYTES_MAX (512u << 20)

enum entry_flags {
    ENTRY_BLOB = 1u << 0,    /* the value is a blob */
    ENTRY_CHANGED = 1u << 1, /* was changed in place (OBJECT ENCODING says raw) */
};

struct entry {
    struct entry *next;   /* in the bucket */
    int64_t expires_ms;   /* Unix time; EXPIRES_NEVER */
    uint64_t written_at;  /* log position of the last change */
    uint32_t hash;        /* low half of the key's hash */
    uint32_t expire_slot; /* in the expiry index */
    uint32_t key_bytes;
    uint32_t value_bytes; /* of an inline value */
    uint32_t accessed_s;  /* for OBJECT IDLETIME */
    uint32_t flags;
    uint8_t bytes[]; /* the key; then the value, or, 8-aligned, struct blob * */
};

struct table;

struct keyspace {
    struct heap *heap;
    struct key_hash_key hash_key; /* [const] */
    struct table *live;
    struct table *dying; /* flushed tables that are being freed in steps */
};

/* NO_MEMORY when the heap has no room for an empty table. */
status_t keyspace_init(struct keyspace *keyspace, struct heap *heap,
                       const uint64_t hash_key[2]) HALLOWS_MUST_CHECK;
/* Frees everything at once. */
void keyspace_destroy(struct keyspace *keyspace);

size_t keyspace_count(const struct keyspace *keyspace);
size_t keyspace_expiring(const struct keyspace *keyspace);
size_t keyspace_buckets(const struct keyspace *keyspace);

struct entry *keyspace_find(const struct keyspace *keyspace, struct slice key);

/* A new entry outside the table, without expiry; value_bytes decide between inline and blob, and
 * the value's bytes are undefined until written through entry_value. NULL without memory. */
struct entry *entry_make(struct keyspace *keyspace, struct slice key, size_t value_bytes);
/* The same with a blob that exists; takes a reference of its own. */
struct entry *entry_make_blob(struct keyspace *keyspace, struct slice key, struct blob *blob);
void entry_free(struct keyspace *keyspace, struct entry *entry);

/* Puts an entry whose key is not in the table into it. Cannot fail. */
void keyspace_insert(struct keyspace *keyspace, struct entry *entry);
/* Takes an entry out of the table and the expiry index and frees it. */
void keyspace_remove(struct keyspace *keyspace, struct entry *entry);
/* Puts `entry` where `old`, of the same key, is, and frees `old` with its expiry. */
void keyspace_replace(struct keyspace *keyspace, struct entry *old, struct entry *entry);

/* Room in the expiry index for `more` entries beyond those in it; NO_MEMORY. */
status_t keyspace_reserve_expiry(struct keyspace *keyspace, size_t more) HALLOWS_MUST_CHECK;
/* Sets or, with EXPIRES_NEVER, clears when an entry in the table expires; room must have been
 * reserved if it had no expiry. */
void keyspace_set_expiry(struct keyspace *keyspace, struct entry *entry, int64_t expires_ms);
/* The entry at that place of the expiry index (below keyspace_expiring). */
struct entry *keyspace_expiring_at(const struct keyspace *keyspace, size_t index);

/* Some entry; `random` chooses. NULL if there is none. */
struct entry *keyspace_random(const struct keyspace *keyspace, uint64_t random);

/* One bucket of a scan: calls `visit` for each entry of the bucket at `*position` that lies at or
 * after it and moves *position on. Returns false when the scan is complete. `visit` must not change
 * the table. *position starts at 0. */
bool keyspace_scan(const struct keyspace *keyspace, uint64_t *position,
                   void (*visit)(struct entry *entry, void *context), void *context);

/* Empties the table; what was in it is freed by keyspace_reclaim. NO_MEMORY changes nothing. */
status_t keyspace_flush(struct keyspace *keyspace) HALLOWS_MUST_CHECK;
/* Undoes the last keyspace_flush; nothing else may have happened since. */
void keyspace_unflush(struct keyspace *keyspace);
/* Frees up to `entries` entries of flushed tables; true while more are left. */
bool keyspace_reclaim(struct keyspace *keyspace, size_t entries);

/* Checks the invariants; CORRUPT. O(n). */
status_t keyspace_check(const struct keyspace *keyspace) HALLOWS_MUST_CHECK;

static inline struct slice entry_key(const struct entry *entry)
{
    return slice_of(entry->bytes, entry->key_bytes);
}

static inline struct blob **entry_blob_at(const struct entry *entry)
{
    return (struct blob **)(((uintptr_t)entry->bytes + entry->key_bytes + 7u) & ~(uintptr_t)7u);
}

/* The entry's blob; only with ENTRY_BLOB. */
static inline struct blob *entry_blob(const struct entry *entry)
{
    return *entry_blob_at(entry);
}

static inline struct slice entry_value(const struct entry *entry)
{
    if ((entry->flags & ENTRY_BLOB) != 0) {
        const struct blob *blob = entry_blob(entry);
        return slice_of(blob->bytes, blob->length);
    }
    return slice_of(entry->bytes + entry->key_bytes, entry->value_bytes);
}

/* The same for whoever owns the value alone: a new entry, or an inline value. */
static inline uint8_t *entry_value_bytes(struct entry *entry)
{
    if ((entry->flags & ENTRY_BLOB) != 0) {
        return entry_blob(entry)->bytes;
    }
    return entry->bytes + entry->key_bytes;
}

/* Bytes of an inline value that fit into the entry's memory. */
size_t entry_inline_room(const struct entry *entry);
/* Heap bytes that the entry takes, its blob included. */
size_t entry_footprint_bytes(const struct entry *entry);

#endif
