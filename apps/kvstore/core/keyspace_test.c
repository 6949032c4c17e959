// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/keyspace.h"

#include <stdlib.h>

#include "apps/kvstore/core/fixture_fake.h"
#include "apps/kvstore/core/key_hash.h"
#include "tests/check.h"

static const uint64_t seed[2] = {11, 12};

static struct slice key_of(char *text, unsigned number)
{
    return slice_of(text, (size_t)snprintf(text, 32, "key:%u", number));
}

static void add(struct keyspace *keyspace, unsigned number)
{
    char text[32];
    struct entry *entry = entry_make(keyspace, key_of(text, number), 8);

    memcpy(entry_value_bytes(entry), "valuelen", 8);
    keyspace_insert(keyspace, entry);
}

TEST(keyspace_grows_and_shrinks)
{
    struct fixture fixture;
    struct keyspace keyspace;
    char text[32];

    fixture_heap(&fixture, 16u << 20);
    CHECK_EQ(keyspace_init(&keyspace, fixture.heap, seed), STATUS_OK);
    for (unsigned i = 0; i < 20000; i++) {
        add(&keyspace, i);
        if (i % 3 == 0) {
            struct entry *entry = keyspace_find(&keyspace, key_of(text, i));
            CHECK_EQ(keyspace_reserve_expiry(&keyspace, 1), STATUS_OK);
            keyspace_set_expiry(&keyspace, entry, i);
        }
    }
    CHECK_EQ(keyspace_check(&keyspace), STATUS_OK);
    CHECK(keyspace_buckets(&keyspace) >= 20000);
    for (unsigned i = 0; i < 20000; i++) {
        struct entry *entry = keyspace_find(&keyspace, key_of(text, i));
        CHECK(entry != NULL);
        if (i >= 10) {
            keyspace_remove(&keyspace, entry);
            CHECK(keyspace_find(&keyspace, key_of(text, i)) == NULL);
        }
    }
    CHECK_EQ(keyspace_count(&keyspace), 10);
    CHECK_EQ(keyspace_expiring(&keyspace), 4);
    CHECK(keyspace_buckets(&keyspace) <= 64);
    CHECK_EQ(keyspace_check(&keyspace), STATUS_OK);
    keyspace_destroy(&keyspace);
    fixture_end_heap(&fixture);
}

enum { STAY = 500 };

static void count_visit(struct entry *entry, void *context)
{
    uint32_t *seen = context;
    unsigned number = (unsigned)strtoul((const char *)entry->bytes + 4, NULL, 10);

    if (number < STAY) {
        seen[number]++;
    }
}

/* Every key that stays is seen exactly once, however the table changes meanwhile. */
TEST(keyspace_scan_is_exact_under_change)
{
    struct fixture fixture;
    struct keyspace keyspace;
    uint64_t random = 3;
    char text[32];

    fixture_heap(&fixture, 16u << 20);
    CHECK_EQ(keyspace_init(&keyspace, fixture.heap, seed), STATUS_OK);
    for (unsigned i = 0; i < STAY; i++) {
        add(&keyspace, i);
    }
    unsigned extra = STAY;
    unsigned first = STAY;
    for (unsigned round = 0; round < 20; round++) {
        uint32_t seen[STAY] = {0};
        uint64_t position = 0;
        bool more = true;
        for (unsigned step = 0; more; step++) {
            more = keyspace_scan(&keyspace, &position, count_visit, seen);
            bool grow = random_next(&random) % 100 < (round % 2 == 0 ? 60u : 30u);
            for (unsigned i = 0; i < 20 && step < 400; i++) {
                if (grow) {
                    add(&keyspace, extra++);
                } else if (first < extra) {
                    keyspace_remove(&keyspace, keyspace_find(&keyspace, key_of(text, first++)));
                }
            }
        }
        for (unsigned i = 0; i < STAY; i++) {
            CHECK_EQ(seen[i], 1);
        }
    }
    CHECK_EQ(keyspace_check(&keyspace), STATUS_OK);
    keyspace_destroy(&keyspace);
    fixture_end_heap(&fixture);
}

TEST(keyspace_flush_is_undone_or_reclaimed_in_steps)
{
    struct fixture fixture;
    struct keyspace keyspace;

    fixture_heap(&fixture, 16u << 20);
    CHECK_EQ(keyspace_init(&keyspace, fixture.heap, seed), STATUS_OK);
    for (unsigned i = 0; i < 3000; i++) {
        add(&keyspace, i);
    }
    CHECK_EQ(keyspace_flush(&keyspace), STATUS_OK);
    CHECK_EQ(keyspace_count(&keyspace), 0);
    keyspace_unflush(&keyspace);
    CHECK_EQ(keyspace_count(&keyspace), 3000);
    CHECK_EQ(keyspace_check(&keyspace), STATUS_OK);
    CHECK_EQ(keyspace_flush(&keyspace), STATUS_OK);
    add(&keyspace, 7);
    unsigned steps = 0;
    while (keyspace_reclaim(&keyspace, 100)) {
        steps++;
    }
    CHECK(steps > 20);
    CHECK_EQ(keyspace_count(&keyspace), 1);
    keyspace_destroy(&keyspace);
    fixture_end_heap(&fixture);
}

TEST(keyspace_shares_large_values)
{
    struct fixture fixture;
    struct keyspace keyspace;

    fixture_heap(&fixture, 1u << 20);
    CHECK_EQ(keyspace_init(&keyspace, fixture.heap, seed), STATUS_OK);
    struct entry *entry = entry_make(&keyspace, slice_text("big"), 100000);
    struct entry *copy = entry_make_blob(&keyspace, slice_text("copy"), entry_blob(entry));
    CHECK_EQ(entry_blob(entry)->references, 2);
    keyspace_insert(&keyspace, entry);
    keyspace_insert(&keyspace, copy);
    keyspace_remove(&keyspace, entry);
    CHECK_EQ(entry_value(copy).bytes, 100000);
    CHECK(entry_make(&keyspace, slice_text("huge"), 2u << 20) == NULL);
    keyspace_destroy(&keyspace);
    fixture_end_heap(&fixture);
}

static void check_hash(bool fast)
{
    static const uint64_t other_seed[2] = {11, 13};
    struct key_hash_key key;
    struct key_hash_key other;
    uint8_t data[64] = {0};

    key_hash_init(&key, seed, fast);
    key_hash_init(&other, other_seed, fast);
    for (size_t bytes = 1; bytes < sizeof data; bytes++) {
        uint64_t before = key_hash(&key, data, bytes);
        CHECK(before == key_hash(&key, data, bytes));
        CHECK(before != key_hash(&key, data, bytes - 1));
        CHECK(before != key_hash(&other, data, bytes));
        for (size_t i = 0; i < bytes; i++) {
            data[i] ^= 0x80;
            CHECK(before != key_hash(&key, data, bytes));
            data[i] ^= 0x80;
        }
        data[bytes - 1] ^= (uint8_t)bytes;
    }
}

/* Counters as keys, the usual case, spread like random numbers: no bucket of 4096 gets more than a
 * few of 4096. */
static void check_spread(bool fast)
{
    static uint8_t buckets[4096];
    struct key_hash_key key;
    unsigned most = 0;

    memset(buckets, 0, sizeof buckets);
    key_hash_init(&key, seed, fast);
    for (uint32_t n = 0; n < 4096; n++) {
        char text[24];
        int length = snprintf(text, sizeof text, "user:%u", n);
        uint32_t bucket = (uint32_t)key_hash(&key, text, (size_t)length) & 4095u;
        buckets[bucket]++;
        most = buckets[bucket] > most ? buckets[bucket] : most;
    }
    CHECK(most <= 9);
}

TEST(key_hash_tells_keys_and_seeds_apart)
{
    check_hash(false);
    check_spread(false);
    if (key_hash_has_aes()) {
        check_hash(true);
        check_spread(true);
    }
}
