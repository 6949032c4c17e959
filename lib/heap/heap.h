// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * An allocator over one memory region that the caller gives: two-level segregated fit. Free blocks
 * are kept in lists by size class (16-byte steps below 512 bytes, above that 32 classes for each
 * power of two), found through bitmaps, split on allocation and joined with both neighbours on
 * free. Every operation is O(1) but for the copying in heap_resize; a block wastes at most 1/32 of
 * its size plus 8 bytes of header. After M. Masmano et al., "TLSF: a new dynamic memory allocator
 * for real-time systems", ECRTS 2004.
 *
 * Invariants, checked by heap_check:
 *   1. Blocks tile the region; each names the size of the one before it.
 *   2. No two neighbouring blocks are free.
 *   3. A block is in the list of its class exactly when it is free; bitmaps tell non-empty lists.
 *
 * Thread rule: one owner; nothing here locks. A damaged header found on the way stops the program
 * (VERIFY): it can only be an own bug.
 */
#ifndef LIB_HEAP_HEAP_H
#define LIB_HEAP_HEAP_H

#include <hallows/status.h>
#include <hallows/types.h>

#define HEAP_ALIGNMENT 16u
/* Smallest and largest region that heap_init takes. */
#define HEAP_REGION_BYTES_MIN 16384u
#define HEAP_REGION_BYTES_MAX (1ull << 34)

struct heap;

struct heap_counters {
    size_t total_bytes; /* what blocks can use in all, headers included */
    size_t used_bytes;  /* allocated now, headers and rounding included */
    size_t peak_bytes;  /* highest used_bytes so far */
    size_t blocks;      /* allocated now */
    uint64_t allocations;
    uint64_t frees;
    uint64_t failures; /* requests that found no block */
};

/* Makes the region [base, base + bytes) a heap; its bookkeeping (about 7 KiB) lies at the start.
 * The region stays the caller's but is not to be touched otherwise.
 * Errors: INVALID_ARGUMENT for a size out of range, MISALIGNED if base is not 16-byte aligned. */
status_t heap_init(struct heap **heap, void *base, size_t bytes) HALLOWS_MUST_CHECK;

/* A block of at least `bytes` bytes, 16-byte aligned, of undefined content; NULL when no free block
 * is large enough. 0 bytes gives a block as well. */
void *heap_allocate(struct heap *heap, size_t bytes);
/* Gives a block back; NULL is ignored. */
void heap_free(struct heap *heap, void *block);
/* Grows or shrinks a block, in place where it can; the first min(old, new) bytes keep their
 * content. NULL, and the old block as it was, when there is no room. `block` NULL allocates. */
void *heap_resize(struct heap *heap, void *block, size_t bytes);
/* Bytes the block's owner may use: at least what was asked for. */
size_t heap_usable_bytes(const void *block);
/* Bytes the block takes from the heap, header included. */
size_t heap_footprint_bytes(const void *block);

void heap_read_counters(const struct heap *heap, struct heap_counters *counters);
/* Walks the whole heap and checks the invariants; CORRUPT if one is broken. O(blocks). */
status_t heap_check(const struct heap *heap) HALLOWS_MUST_CHECK;

#endif
