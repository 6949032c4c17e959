// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/heap/heap.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

#define UNIT_BYTES 16u
#define HEADER_BYTES 8u
#define UNITS_MIN 2u
#define SECOND_BITS 5u
#define SECOND_COUNT (1u << SECOND_BITS)
#define FIRST_COUNT 27u
/* Blocks of the request's own class that are tried when the classes above it are empty. */
#define EXACT_TRIES 8u

#ifdef __SANITIZE_ADDRESS__
/* The host's address sanitizer learns which bytes are allocated; a red zone follows each block. */
void __asan_poison_memory_region(const volatile void *address, size_t bytes);
void __asan_unpoison_memory_region(const volatile void *address, size_t bytes);
#define RED_ZONE_BYTES 16u
#define poison(address, bytes) __asan_poison_memory_region(address, bytes)
#define unpoison(address, bytes) __asan_unpoison_memory_region(address, bytes)
#else
#define RED_ZONE_BYTES 0u
#define poison(address, bytes) ((void)(address), (void)(bytes))
#define unpoison(address, bytes) ((void)(address), (void)(bytes))
#endif

/* A block's header lies 8 bytes before a 16-byte boundary, its payload on it. */
struct block {
    uint32_t previous_units; /* of the block before; 0 for the first */
    uint32_t units_and_free; /* units << 1 | free */
    struct block *next_free; /* only in free blocks */
    struct block *previous_free;
};

struct heap {
    uint32_t first_bitmap;
    uint32_t second_bitmap[FIRST_COUNT];
    struct block *lists[FIRST_COUNT][SECOND_COUNT];
    struct block *first_block;
    struct block *sentinel; /* used, behind the last block */
    struct heap_counters counters;
};

static inline uint32_t block_units(const struct block *block)
{
    return block->units_and_free >> 1;
}

static inline bool block_is_free(const struct block *block)
{
    return (block->units_and_free & 1u) != 0;
}

static inline struct block *block_next(const struct block *block)
{
    return (struct block *)((uintptr_t)block + (size_t)block_units(block) * UNIT_BYTES);
}

static inline struct block *block_previous(const struct block *block)
{
    return (struct block *)((uintptr_t)block - (size_t)block->previous_units * UNIT_BYTES);
}

static inline struct block *block_of(const void *payload)
{
    return (struct block *)((uintptr_t)payload - HEADER_BYTES);
}

static inline void *block_payload(struct block *block)
{
    return (uint8_t *)block + HEADER_BYTES;
}

static inline size_t payload_bytes(const struct block *block)
{
    return (size_t)block_units(block) * UNIT_BYTES - HEADER_BYTES;
}

static inline void set_size(struct block *block, uint32_t units, bool is_free)
{
    block->units_and_free = units << 1 | (is_free ? 1u : 0u);
    block_next(block)->previous_units = units;
}

struct class
{
    uint32_t first, second;
};

static inline struct class class_of(uint32_t units)
{
    if (units < SECOND_COUNT) {
        return (struct class){0, units};
    }
    uint32_t log2 = 31u - (uint32_t)__builtin_clz(units);
    return (struct class){log2 - SECOND_BITS + 1, (units >> (log2 - SECOND_BITS)) - SECOND_COUNT};
}

static void list_insert(struct heap *heap, struct block *block)
{
    struct class class = class_of(block_units(block));
    struct block **list = &heap->lists[class.first][class.second];

    block->next_free = *list;
    block->previous_free = NULL;
    if (*list != NULL) {
        (*list)->previous_free = block;
    }
    *list = block;
    heap->first_bitmap |= 1u << class.first;
    heap->second_bitmap[class.first] |= 1u << class.second;
}

static void list_remove(struct heap *heap, struct block *block)
{
    struct class class = class_of(block_units(block));

    if (block->next_free != NULL) {
        VERIFY(block->next_free->previous_free == block);
        block->next_free->previous_free = block->previous_free;
    }
    if (block->previous_free != NULL) {
        VERIFY(block->previous_free->next_free == block);
        block->previous_free->next_free = block->next_free;
        return;
    }
    VERIFY(heap->lists[class.first][class.second] == block);
    heap->lists[class.first][class.second] = block->next_free;
    if (block->next_free == NULL) {
        heap->second_bitmap[class.first] &= ~(1u << class.second);
        if (heap->second_bitmap[class.first] == 0) {
            heap->first_bitmap &= ~(1u << class.first);
        }
    }
}

/* A free block of at least `units`, still in its list; NULL if there is none. */
static struct block *find(struct heap *heap, uint32_t units)
{
    uint32_t rounded = units;

    if (units >= SECOND_COUNT) {
        rounded += (1u << (31u - (uint32_t)__builtin_clz(units) - SECOND_BITS)) - 1u;
    }
    struct class class = class_of(rounded);
    if (class.first < FIRST_COUNT) {
        uint32_t second = heap->second_bitmap[class.first] & (~0u << class.second);
        if (second == 0) {
            uint32_t first =
                class.first + 1 < 32u ? heap->first_bitmap & (~0u << (class.first + 1)) : 0;
            if (first != 0) {
                class.first = (uint32_t)__builtin_ctz(first);
                second = heap->second_bitmap[class.first];
            }
        }
        if (second != 0) {
            return heap->lists[class.first][__builtin_ctz(second)];
        }
    }
    /* Only the request's own class is left, where some blocks may be large enough. */
    class = class_of(units);
    struct block *block = heap->lists[class.first][class.second];
    for (uint32_t tries = 0; block != NULL && tries < EXACT_TRIES; tries++) {
        if (block_units(block) >= units) {
            return block;
        }
        block = block->next_free;
    }
    return NULL;
}

/* Units for a payload, 0 if it is too large for any heap. */
static uint32_t units_for(size_t bytes)
{
    if (bytes > HEAP_REGION_BYTES_MAX) {
        return 0;
    }
    size_t units = (bytes + RED_ZONE_BYTES + HEADER_BYTES + UNIT_BYTES - 1u) / UNIT_BYTES;
    return units < UNITS_MIN ? UNITS_MIN : (uint32_t)units;
}

/* Cuts a used block down to `units`; the rest, if it makes a block, is free afterwards. */
static void trim(struct heap *heap, struct block *block, uint32_t units)
{
    uint32_t rest_units = block_units(block) - units;

    if (rest_units < UNITS_MIN) {
        return;
    }
    struct block *after = block_next(block);
    if (block_is_free(after)) {
        list_remove(heap, after);
        rest_units += block_units(after);
    }
    struct block *rest = (struct block *)((uintptr_t)block + (size_t)units * UNIT_BYTES);
    unpoison(rest, sizeof *rest);
    set_size(block, units, false);
    set_size(rest, rest_units, true);
    list_insert(heap, rest);
    poison(rest + 1, (size_t)rest_units * UNIT_BYTES - sizeof *rest);
}

static void count_used(struct heap *heap, uint32_t before_units, uint32_t after_units)
{
    struct heap_counters *counters = &heap->counters;

    counters->used_bytes += (size_t)after_units * UNIT_BYTES;
    counters->used_bytes -= (size_t)before_units * UNIT_BYTES;
    if (counters->used_bytes > counters->peak_bytes) {
        counters->peak_bytes = counters->used_bytes;
    }
}

/* Marks what the owner may use, and no more, for the sanitizer. */
static void expose(struct block *block)
{
    size_t bytes = payload_bytes(block) - RED_ZONE_BYTES;

    unpoison(block_payload(block), bytes);
    poison((uint8_t *)block_payload(block) + bytes, payload_bytes(block) - bytes);
}

status_t heap_init(struct heap **heap_out, void *base, size_t bytes)
{
    if (bytes < HEAP_REGION_BYTES_MIN || bytes > HEAP_REGION_BYTES_MAX) {
        return STATUS_INVALID_ARGUMENT;
    }
    if ((uintptr_t)base % HEAP_ALIGNMENT != 0) {
        return STATUS_MISALIGNED;
    }
    struct heap *heap = base;
    memset(heap, 0, sizeof *heap);
    uintptr_t first = (uintptr_t)base + sizeof *heap + UNIT_BYTES;
    first = (first & ~(uintptr_t)(UNIT_BYTES - 1u)) + UNIT_BYTES - HEADER_BYTES;
    uintptr_t end = ((uintptr_t)base + bytes) & ~(uintptr_t)(UNIT_BYTES - 1u);
    uint32_t units = (uint32_t)((end - UNIT_BYTES - first) / UNIT_BYTES);

    heap->first_block = (struct block *)first;
    heap->first_block->previous_units = 0;
    heap->sentinel = (struct block *)(first + (size_t)units * UNIT_BYTES);
    heap->sentinel->units_and_free = 1u << 1;
    set_size(heap->first_block, units, true);
    list_insert(heap, heap->first_block);
    poison(heap->first_block + 1, (size_t)units * UNIT_BYTES - sizeof(struct block));
    heap->counters.total_bytes = (size_t)units * UNIT_BYTES;
    *heap_out = heap;
    return STATUS_OK;
}

void *heap_allocate(struct heap *heap, size_t bytes)
{
    uint32_t units = units_for(bytes);
    struct block *block = units == 0 ? NULL : find(heap, units);

    if (block == NULL) {
        heap->counters.failures++;
        return NULL;
    }
    VERIFY(block_is_free(block) && block_next(block)->previous_units == block_units(block));
    list_remove(heap, block);
    set_size(block, block_units(block), false);
    trim(heap, block, units);
    count_used(heap, 0, block_units(block));
    heap->counters.blocks++;
    heap->counters.allocations++;
    expose(block);
    return block_payload(block);
}

void heap_free(struct heap *heap, void *payload)
{
    if (payload == NULL) {
        return;
    }
    struct block *block = block_of(payload);
    /* Catches a second free, a stray pointer and an overrun into the next header. */
    VERIFY(!block_is_free(block) && block >= heap->first_block && block < heap->sentinel);
    VERIFY(block_next(block)->previous_units == block_units(block));
    uint32_t units = block_units(block);
    count_used(heap, units, 0);
    heap->counters.blocks--;
    heap->counters.frees++;
#ifdef HALLOWS_DEBUG
    unpoison(payload, payload_bytes(block));
    memset(payload, 0xa5, payload_bytes(block) < 256 ? payload_bytes(block) : 256);
#endif
    unpoison(block, sizeof *block);
    struct block *next = block_next(block);
    if (block_is_free(next)) {
        list_remove(heap, next);
        units += block_units(next);
    }
    if (block->previous_units != 0 && block_is_free(block_previous(block))) {
        block = block_previous(block);
        list_remove(heap, block);
        units += block_units(block);
    }
    set_size(block, units, true);
    list_insert(heap, block);
    poison(block + 1, (size_t)units * UNIT_BYTES - sizeof *block);
}

void *heap_resize(struct heap *heap, void *payload, size_t bytes)
{
    if (payload == NULL) {
        return heap_allocate(heap, bytes);
    }
    struct block *block = block_of(payload);
    uint32_t old_units = block_units(block);
    uint32_t units = units_for(bytes);

    VERIFY(!block_is_free(block) && block_next(block)->previous_units == old_units);
    if (units == 0) {
        heap->counters.failures++;
        return NULL;
    }
    struct block *next = block_next(block);
    if (units > old_units && block_is_free(next) && old_units + block_units(next) >= units) {
        list_remove(heap, next);
        set_size(block, old_units + block_units(next), false);
    }
    if (block_units(block) >= units) {
        trim(heap, block, units);
        count_used(heap, old_units, block_units(block));
        expose(block);
        return payload;
    }
    void *moved = heap_allocate(heap, bytes);
    if (moved != NULL) {
        unpoison(payload, payload_bytes(block));
        memcpy(moved, payload, payload_bytes(block) < bytes ? payload_bytes(block) : bytes);
        heap_free(heap, payload);
    }
    return moved;
}

size_t heap_usable_bytes(const void *payload)
{
    return payload_bytes(block_of(payload)) - RED_ZONE_BYTES;
}

size_t heap_footprint_bytes(const void *payload)
{
    return (size_t)block_units(block_of(payload)) * UNIT_BYTES;
}

void heap_read_counters(const struct heap *heap, struct heap_counters *counters)
{
    *counters = heap->counters;
}

static bool list_holds(const struct heap *heap, const struct block *wanted)
{
    struct class class = class_of(block_units(wanted));

    if ((heap->first_bitmap >> class.first & 1u) == 0 ||
        (heap->second_bitmap[class.first] >> class.second & 1u) == 0) {
        return false;
    }
    if (wanted->previous_free == NULL) {
        return heap->lists[class.first][class.second] == wanted;
    }
    return wanted->previous_free->next_free == wanted &&
           class_of(block_units(wanted->previous_free)).second == class.second;
}

status_t heap_check(const struct heap *heap)
{
    const struct block *block = heap->first_block;
    uint32_t previous_units = 0;
    bool previous_free = false;
    size_t used_bytes = 0;
    size_t blocks = 0;

    while (block != heap->sentinel) {
        if (block > heap->sentinel || block_units(block) < UNITS_MIN ||
            block->previous_units != previous_units) {
            return STATUS_CORRUPT;
        }
        if (block_is_free(block)) {
            if (previous_free || !list_holds(heap, block)) {
                return STATUS_CORRUPT;
            }
        } else {
            used_bytes += (size_t)block_units(block) * UNIT_BYTES;
            blocks++;
        }
        previous_units = block_units(block);
        previous_free = block_is_free(block);
        block = block_next(block);
    }
    if (block->previous_units != previous_units || used_bytes != heap->counters.used_bytes ||
        blocks != heap->counters.blocks) {
        return STATUS_CORRUPT;
    }
    return STATUS_OK;
}
