// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/heap/heap.h"

#include <stdlib.h>

#include "tests/check.h"

#define REGION_BYTES (4u << 20)

static struct heap *make_heap(void **region)
{
    struct heap *heap = NULL;

    *region = aligned_alloc(4096, REGION_BYTES);
    CHECK_EQ(heap_init(&heap, *region, REGION_BYTES), STATUS_OK);
    return heap;
}

TEST(heap_rejects_bad_regions)
{
    static _Alignas(16) uint8_t region[HEAP_REGION_BYTES_MIN + 16];
    struct heap *heap = NULL;

    CHECK_EQ(heap_init(&heap, region, HEAP_REGION_BYTES_MIN - 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(heap_init(&heap, region + 8, HEAP_REGION_BYTES_MIN), STATUS_MISALIGNED);
    CHECK_EQ(heap_init(&heap, region, HEAP_REGION_BYTES_MIN), STATUS_OK);
    CHECK_EQ(heap_check(heap), STATUS_OK);
}

TEST(heap_returns_everything)
{
    void *region;
    struct heap *heap = make_heap(&region);
    struct heap_counters counters;
    void *blocks[100];

    for (size_t i = 0; i < 100; i++) {
        blocks[i] = heap_allocate(heap, i * 37);
        CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % HEAP_ALIGNMENT == 0);
        CHECK(heap_usable_bytes(blocks[i]) >= i * 37);
        memset(blocks[i], (int)i, i * 37);
    }
    CHECK_EQ(heap_check(heap), STATUS_OK);
    for (size_t i = 0; i < 100; i++) {
        heap_free(heap, blocks[(i * 7) % 100]);
    }
    heap_read_counters(heap, &counters);
    CHECK_EQ(counters.used_bytes, 0);
    CHECK_EQ(counters.blocks, 0);
    CHECK_EQ(heap_check(heap), STATUS_OK);
    /* All joined again: nearly the whole region fits one block. */
    void *all = heap_allocate(heap, counters.total_bytes - 64);
    CHECK(all != NULL);
    CHECK(heap_allocate(heap, 1000) == NULL);
    heap_free(heap, all);
    heap_free(heap, NULL);
    free(region);
}

TEST(heap_refuses_what_does_not_fit)
{
    void *region;
    struct heap *heap = make_heap(&region);
    struct heap_counters counters;

    CHECK(heap_allocate(heap, REGION_BYTES) == NULL);
    CHECK(heap_allocate(heap, SIZE_MAX) == NULL);
    uint8_t *block = heap_allocate(heap, 100);
    memset(block, 0x5c, 100);
    CHECK(heap_resize(heap, block, REGION_BYTES) == NULL);
    CHECK(heap_resize(heap, block, SIZE_MAX) == NULL);
    CHECK_EQ(block[99], 0x5c);
    heap_free(heap, block);
    heap_read_counters(heap, &counters);
    CHECK_EQ(counters.failures, 4);
    free(region);
}

TEST(heap_resize_keeps_content)
{
    void *region;
    struct heap *heap = make_heap(&region);
    uint8_t *block = heap_resize(heap, NULL, 10);

    for (size_t i = 0; i < 10; i++) {
        block[i] = (uint8_t)i;
    }
    /* Grows in place, as nothing follows. */
    CHECK(heap_resize(heap, block, 100000) == block);
    void *wall = heap_allocate(heap, 16);
    uint8_t *moved = heap_resize(heap, block, 200000);
    CHECK(moved != NULL && moved != block);
    CHECK_EQ(moved[9], 9);
    CHECK(heap_resize(heap, moved, 5) == moved);
    CHECK_EQ(moved[4], 4);
    CHECK_EQ(heap_check(heap), STATUS_OK);
    heap_free(heap, moved);
    heap_free(heap, wall);
    free(region);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

TEST(heap_random_operations_keep_invariants)
{
    enum { SLOTS = 300 };
    void *region;
    struct heap *heap = make_heap(&region);
    struct heap_counters counters;
    uint8_t *blocks[SLOTS] = {0};
    size_t sizes[SLOTS] = {0};
    uint64_t random = 1;

    for (unsigned step = 0; step < 60000; step++) {
        size_t i = next_random(&random) % SLOTS;
        size_t bytes = next_random(&random) % (1u << (4 + next_random(&random) % 13));
        if (blocks[i] != NULL) {
            CHECK(sizes[i] == 0 ||
                  (blocks[i][0] == (uint8_t)i && blocks[i][sizes[i] - 1] == (uint8_t)i));
        }
        if (next_random(&random) % 3 == 0) {
            heap_free(heap, blocks[i]);
            blocks[i] = NULL;
            continue;
        }
        uint8_t *block = heap_resize(heap, blocks[i], bytes);
        if (block != NULL) {
            blocks[i] = block;
            sizes[i] = bytes;
            memset(block, (int)(uint8_t)i, bytes);
        }
        if (step % 1000 == 0) {
            CHECK_EQ(heap_check(heap), STATUS_OK);
        }
    }
    for (size_t i = 0; i < SLOTS; i++) {
        heap_free(heap, blocks[i]);
    }
    heap_read_counters(heap, &counters);
    CHECK_EQ(counters.used_bytes, 0);
    CHECK_EQ(heap_check(heap), STATUS_OK);
    free(region);
}

TEST(heap_check_sees_damage)
{
    void *region;
    struct heap *heap = make_heap(&region);
    uint8_t *block = heap_allocate(heap, 24);
    uint8_t *header = block - 8;

    header[0] ^= 1;
    CHECK_EQ(heap_check(heap), STATUS_CORRUPT);
    header[0] ^= 1;
    header[4] ^= 1; /* looks free, but no list holds it */
    CHECK_EQ(heap_check(heap), STATUS_CORRUPT);
    header[4] ^= 1;
    CHECK_EQ(heap_check(heap), STATUS_OK);
    free(region);
}
