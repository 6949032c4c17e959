// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/keyspace.h"

#include "lib/base/endian.h"

#include "apps/kvstore/core/key_hash.h"
#include "lib/base/assert.h"

/* Buckets and expiry slots come in segments, so that growing never copies more than a segment. */
#define SEGMENT_SHIFT_ITEMS 9u
#define SEGMENT_ITEMS (1u << SEGMENT_SHIFT_ITEMS)
#define SEGMENT_MASK (SEGMENT_ITEMS - 1u)
#define TABLE_BUCKETS_MIN 16u
/* A table's directory has room for one segment for each this many bytes of heap: more buckets than
 * entries (64 bytes at least) can ever fit. */
#define HEAP_BYTES_A_SEGMENT (SEGMENT_ITEMS * 64u)
/* Buckets merged or split in one operation at most. */
#define RESIZE_STEPS 6u

struct table {
    struct table *next; /* of the dying ones */
    size_t count;
    size_t expiring;
    uint32_t level_mask; /* 2^level - 1 */
    uint32_t split;      /* buckets below it are split already */
    uint32_t directory_segments;
    uint32_t reclaim_bucket;
    struct entry ***buckets;  /* [directory_segments] */
    struct entry ***expiries; /* [directory_segments] */
};

static inline uint32_t bucket_count(const struct table *table)
{
    return table->level_mask + 1u + table->split;
}

static inline uint32_t bucket_of(const struct table *table, uint32_t hash)
{
    uint32_t bucket = hash & table->level_mask;

    if (bucket < table->split) {
        bucket = hash & (table->level_mask << 1 | 1u);
    }
    return bucket;
}

static inline struct entry **bucket_at(const struct table *table, uint32_t bucket)
{
    return &table->buckets[bucket >> SEGMENT_SHIFT_ITEMS][bucket & SEGMENT_MASK];
}

static inline struct entry **expiry_at(const struct table *table, size_t slot)
{
    return &table->expiries[slot >> SEGMENT_SHIFT_ITEMS][slot & SEGMENT_MASK];
}

static inline uint32_t reverse_bits(uint32_t value)
{
    value = (value >> 1 & 0x55555555u) | (value & 0x55555555u) << 1;
    value = (value >> 2 & 0x33333333u) | (value & 0x33333333u) << 2;
    value = (value >> 4 & 0x0f0f0f0fu) | (value & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(value);
}

/* ---- Tables -----------------------------------------------------------------------------------
 */

static struct entry **segment_make(struct heap *heap)
{
    struct entry **segment = heap_allocate(heap, SEGMENT_ITEMS * sizeof *segment);

    if (segment != NULL) {
        memset(segment, 0, SEGMENT_ITEMS * sizeof *segment);
    }
    return segment;
}

static struct table *table_make(struct heap *heap)
{
    struct heap_counters counters;

    heap_read_counters(heap, &counters);
    size_t segments = counters.total_bytes / HEAP_BYTES_A_SEGMENT + 1;
    struct table *table = heap_allocate(heap, sizeof *table + 2 * segments * sizeof(void *));
    if (table == NULL) {
        return NULL;
    }
    *table = (struct table){.level_mask = TABLE_BUCKETS_MIN - 1,
                            .directory_segments = (uint32_t)segments};
    table->buckets = (struct entry ***)(table + 1);
    table->expiries = table->buckets + segments;
    memset(table->buckets, 0, 2 * segments * sizeof(void *));
    table->buckets[0] = segment_make(heap);
    if (table->buckets[0] == NULL) {
        heap_free(heap, table);
        return NULL;
    }
    return table;
}

static void table_free(struct heap *heap, struct table *table)
{
    for (uint32_t i = 0; i < table->directory_segments; i++) {
        heap_free(heap, table->buckets[i]);
        heap_free(heap, table->expiries[i]);
    }
    heap_free(heap, table);
}

/* Moves the entries of bucket `split` whose next hash bit is set into a new bucket at the end.
 * Without memory the buckets just stay longer. */
static void table_grow(struct heap *heap, struct table *table)
{
    uint32_t added = bucket_count(table);
    uint32_t segment = added >> SEGMENT_SHIFT_ITEMS;

    if (segment >= table->directory_segments) {
        return;
    }
    if (table->buckets[segment] == NULL) {
        table->buckets[segment] = segment_make(heap);
        if (table->buckets[segment] == NULL) {
            return;
        }
    }
    struct entry **stay = bucket_at(table, table->split);
    struct entry **move = bucket_at(table, added);
    while (*stay != NULL) {
        struct entry *entry = *stay;
        if ((entry->hash & (table->level_mask + 1u)) != 0) {
            *stay = entry->next;
            entry->next = NULL;
            *move = entry;
            move = &entry->next;
        } else {
            stay = &entry->next;
        }
    }
    table->split++;
    if (table->split > table->level_mask) {
        table->level_mask = table->level_mask << 1 | 1u;
        table->split = 0;
    }
}

/* Puts the last bucket's entries back into the one they were split from. */
static void table_shrink(struct heap *heap, struct table *table)
{
    if (table->split == 0) {
        table->level_mask >>= 1;
        table->split = table->level_mask + 1u;
    }
    table->split--;
    uint32_t last = table->level_mask + 1u + table->split;
    struct entry **from = bucket_at(table, last);
    struct entry **to = bucket_at(table, table->split);
    while (*to != NULL) {
        to = &(*to)->next;
    }
    *to = *from;
    *from = NULL;
    if ((last & SEGMENT_MASK) == 0) {
        heap_free(heap, table->buckets[last >> SEGMENT_SHIFT_ITEMS]);
        table->buckets[last >> SEGMENT_SHIFT_ITEMS] = NULL;
    }
}

static void adjust_size(struct keyspace *keyspace)
{
    struct table *table = keyspace->live;

    if (table->count > bucket_count(table)) {
        table_grow(keyspace->heap, table);
    }
    for (uint32_t i = 0; i < RESIZE_STEPS; i++) {
        if (bucket_count(table) > TABLE_BUCKETS_MIN && table->count < bucket_count(table) / 4u) {
            table_shrink(keyspace->heap, table);
        }
    }
}

/* ---- Entries ----------------------------------------------------------------------------------
 */

static struct entry *entry_allocate(struct keyspace *keyspace, struct slice key, size_t tail_bytes)
{
    struct entry *entry = heap_allocate(keyspace->heap, sizeof *entry + key.bytes + tail_bytes);

    if (entry == NULL) {
        return NULL;
    }
    entry->next = NULL;
    entry->expires_ms = EXPIRES_NEVER;
    entry->written_at = 0;
    entry->hash = (uint32_t)key_hash(&keyspace->hash_key, key.data, key.bytes);
    entry->expire_slot = SLOT_NONE;
    entry->key_bytes = (uint32_t)key.bytes;
    entry->value_bytes = 0;
    entry->accessed_s = 0;
    entry->flags = 0;
    memcpy(entry->bytes, key.data, key.bytes);
    return entry;
}

struct entry *entry_make_blob(struct keyspace *keyspace, struct slice key, struct blob *blob)
{
    struct entry *entry = entry_allocate(keyspace, key, sizeof(struct blob *) + 7u);

    if (entry != NULL) {
        entry->flags = ENTRY_BLOB;
        *entry_blob_at(entry) = blob;
        blob_hold(blob);
    }
    return entry;
}

struct entry *entry_make(struct keyspace *keyspace, struct slice key, size_t value_bytes)
{
    if (key.bytes > KEY_BYTES_MAX) {
        return NULL;
    }
    if (value_bytes < BLOB_BYTES_MIN) {
        struct entry *entry = entry_allocate(keyspace, key, value_bytes);
        if (entry != NULL) {
            entry->value_bytes = (uint32_t)value_bytes;
        }
        return entry;
    }
    struct blob *blob = blob_make(keyspace->heap, value_bytes);
    if (blob == NULL) {
        return NULL;
    }
    blob->length = (uint32_t)value_bytes;
    struct entry *entry = entry_make_blob(keyspace, key, blob);
    blob_drop(keyspace->heap, blob);
    return entry;
}

void entry_free(struct keyspace *keyspace, struct entry *entry)
{
    if ((entry->flags & ENTRY_BLOB) != 0) {
        blob_drop(keyspace->heap, entry_blob(entry));
    }
    heap_free(keyspace->heap, entry);
}

size_t entry_inline_room(const struct entry *entry)
{
    return heap_usable_bytes(entry) - sizeof *entry - entry->key_bytes;
}

size_t entry_footprint_bytes(const struct entry *entry)
{
    size_t bytes = heap_footprint_bytes(entry);

    if ((entry->flags & ENTRY_BLOB) != 0) {
        bytes += heap_footprint_bytes(entry_blob(entry));
    }
    return bytes;
}

/* ---- The keyspace -----------------------------------------------------------------------------
 */

status_t keyspace_init(struct keyspace *keyspace, struct heap *heap, const uint64_t hash_key[2])
{
    *keyspace = (struct keyspace){.heap = heap};
    key_hash_init(&keyspace->hash_key, hash_key, key_hash_has_aes());
    keyspace->live = table_make(heap);
    return keyspace->live == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

size_t keyspace_count(const struct keyspace *keyspace)
{
    return keyspace->live->count;
}

size_t keyspace_expiring(const struct keyspace *keyspace)
{
    return keyspace->live->expiring;
}

size_t keyspace_buckets(const struct keyspace *keyspace)
{
    return bucket_count(keyspace->live);
}

/* memcmp without its call, for the short keys that there are most. */
static inline bool same_bytes(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    if (bytes < 8u) {
        for (size_t i = 0; i < bytes; i++) {
            if (a[i] != b[i]) {
                return false;
            }
        }
        return true;
    }
    size_t last = bytes - 8u;
    for (size_t at = 0; at < last; at += 8u) {
        if (load_le64(a + at) != load_le64(b + at)) {
            return false;
        }
    }
    return load_le64(a + last) == load_le64(b + last);
}

struct entry *keyspace_find(const struct keyspace *keyspace, struct slice key)
{
    const struct table *table = keyspace->live;
    uint32_t hash = (uint32_t)key_hash(&keyspace->hash_key, key.data, key.bytes);
    struct entry *entry = *bucket_at(table, bucket_of(table, hash));

    while (entry != NULL) {
        if (entry->hash == hash && entry->key_bytes == key.bytes &&
            same_bytes(entry->bytes, key.data, key.bytes)) {
            return entry;
        }
        entry = entry->next;
    }
    return NULL;
}

void keyspace_insert(struct keyspace *keyspace, struct entry *entry)
{
    struct table *table = keyspace->live;
    struct entry **bucket = bucket_at(table, bucket_of(table, entry->hash));

    entry->next = *bucket;
    *bucket = entry;
    table->count++;
    adjust_size(keyspace);
}

/* Where the table points at the entry. */
static struct entry **link_to(struct table *table, const struct entry *entry)
{
    struct entry **link = bucket_at(table, bucket_of(table, entry->hash));

    while (*link != entry) {
        VERIFY(*link != NULL);
        link = &(*link)->next;
    }
    return link;
}

static void drop_expiry(struct table *table, struct entry *entry)
{
    if (entry->expire_slot == SLOT_NONE) {
        return;
    }
    struct entry *last = *expiry_at(table, --table->expiring);
    *expiry_at(table, entry->expire_slot) = last;
    last->expire_slot = entry->expire_slot;
    entry->expire_slot = SLOT_NONE;
}

void keyspace_remove(struct keyspace *keyspace, struct entry *entry)
{
    struct table *table = keyspace->live;

    *link_to(table, entry) = entry->next;
    drop_expiry(table, entry);
    table->count--;
    entry_free(keyspace, entry);
    adjust_size(keyspace);
}

void keyspace_replace(struct keyspace *keyspace, struct entry *old, struct entry *entry)
{
    struct table *table = keyspace->live;

    ASSERT(old->hash == entry->hash);
    *link_to(table, old) = entry;
    entry->next = old->next;
    drop_expiry(table, old);
    entry_free(keyspace, old);
}

status_t keyspace_reserve_expiry(struct keyspace *keyspace, size_t more)
{
    struct table *table = keyspace->live;
    size_t segments = (table->expiring + more + SEGMENT_MASK) >> SEGMENT_SHIFT_ITEMS;

    if (segments > table->directory_segments) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = segments; i > 0 && table->expiries[i - 1] == NULL; i--) {
        table->expiries[i - 1] = segment_make(keyspace->heap);
        if (table->expiries[i - 1] == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

void keyspace_set_expiry(struct keyspace *keyspace, struct entry *entry, int64_t expires_ms)
{
    struct table *table = keyspace->live;

    entry->expires_ms = expires_ms;
    if (expires_ms == EXPIRES_NEVER) {
        drop_expiry(table, entry);
    } else if (entry->expire_slot == SLOT_NONE) {
        entry->expire_slot = (uint32_t)table->expiring;
        *expiry_at(table, table->expiring++) = entry;
    }
}

struct entry *keyspace_expiring_at(const struct keyspace *keyspace, size_t index)
{
    return *expiry_at(keyspace->live, index);
}

struct entry *keyspace_random(const struct keyspace *keyspace, uint64_t random)
{
    const struct table *table = keyspace->live;
    uint32_t buckets = bucket_count(table);

    if (table->count == 0) {
        return NULL;
    }
    /* At least a quarter as many keys as buckets, or few buckets: this ends soon. */
    uint32_t bucket = (uint32_t)(random % buckets);
    struct entry *first = *bucket_at(table, bucket);
    while (first == NULL) {
        bucket = bucket + 1u == buckets ? 0 : bucket + 1u;
        first = *bucket_at(table, bucket);
    }
    size_t length = 0;
    for (const struct entry *entry = first; entry != NULL; entry = entry->next) {
        length++;
    }
    for (size_t skip = (size_t)(random >> 32) % length; skip > 0; skip--) {
        first = first->next;
    }
    return first;
}

bool keyspace_scan(const struct keyspace *keyspace, uint64_t *position,
                   void (*visit)(struct entry *entry, void *context), void *context)
{
    const struct table *table = keyspace->live;

    if (*position > UINT32_MAX) {
        *position = 0;
        return false;
    }
    uint32_t from = (uint32_t)*position;
    uint32_t bucket = bucket_of(table, reverse_bits(from));
    uint32_t mask = bucket < table->split || bucket > table->level_mask
                        ? table->level_mask << 1 | 1u
                        : table->level_mask;
    for (struct entry *entry = *bucket_at(table, bucket); entry != NULL; entry = entry->next) {
        if (reverse_bits(entry->hash) >= from) {
            visit(entry, context);
        }
    }
    /* The bucket's interval ends where all bits above its own, reversed, are ones. */
    *position = (uint64_t)(from | ~reverse_bits(mask)) + 1u;
    if (*position > UINT32_MAX) {
        *position = 0;
        return false;
    }
    return true;
}

status_t keyspace_flush(struct keyspace *keyspace)
{
    struct table *table = table_make(keyspace->heap);

    if (table == NULL) {
        return STATUS_NO_MEMORY;
    }
    keyspace->live->next = keyspace->dying;
    keyspace->dying = keyspace->live;
    keyspace->live = table;
    return STATUS_OK;
}

void keyspace_unflush(struct keyspace *keyspace)
{
    struct table *empty = keyspace->live;

    keyspace->live = keyspace->dying;
    keyspace->dying = keyspace->live->next;
    keyspace->live->next = NULL;
    table_free(keyspace->heap, empty);
}

bool keyspace_reclaim(struct keyspace *keyspace, size_t entries)
{
    struct table *table = keyspace->dying;

    if (table == NULL) {
        return false;
    }
    while (table != NULL && entries > 0) {
        if (table->reclaim_bucket == bucket_count(table)) {
            keyspace->dying = table->next;
            table_free(keyspace->heap, table);
            table = keyspace->dying;
            continue;
        }
        struct entry **bucket = bucket_at(table, table->reclaim_bucket);
        while (*bucket != NULL && entries > 0) {
            struct entry *entry = *bucket;
            *bucket = entry->next;
            entry_free(keyspace, entry);
            entries--;
        }
        if (*bucket == NULL) {
            table->reclaim_bucket++;
            entries -= entries > 0;
        }
    }
    return keyspace->dying != NULL;
}

void keyspace_destroy(struct keyspace *keyspace)
{
    keyspace->live->next = keyspace->dying;
    keyspace->dying = keyspace->live;
    keyspace->live = NULL;
    keyspace_reclaim(keyspace, SIZE_MAX);
}

status_t keyspace_check(const struct keyspace *keyspace)
{
    const struct table *table = keyspace->live;
    size_t count = 0;
    size_t expiring = 0;

    for (uint32_t bucket = 0; bucket < bucket_count(table); bucket++) {
        for (struct entry *entry = *bucket_at(table, bucket); entry != NULL; entry = entry->next) {
            if (bucket_of(table, entry->hash) != bucket ||
                keyspace_find(keyspace, entry_key(entry)) != entry) {
                return STATUS_CORRUPT;
            }
            if (entry->expire_slot != SLOT_NONE) {
                if (entry->expire_slot >= table->expiring ||
                    *expiry_at(table, entry->expire_slot) != entry) {
                    return STATUS_CORRUPT;
                }
                expiring++;
            } else if (entry->expires_ms != EXPIRES_NEVER) {
                return STATUS_CORRUPT;
            }
            count++;
        }
    }
    return count == table->count && expiring == table->expiring ? STATUS_OK : STATUS_CORRUPT;
}
