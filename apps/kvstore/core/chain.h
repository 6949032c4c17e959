// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Byte queues made of chunks, and shared blobs. A queue takes bytes at its end and gives them at
 * its front; what is large travels as a reference to a blob instead of a copy. Used for replies on
 * their way to a client and for records on their way to the log.
 *
 * A blob is a counted run of bytes. Whoever holds the only reference may change it; a blob with
 * more references never changes.
 */
#ifndef APPS_KVSTORE_CORE_CHAIN_H
#define APPS_KVSTORE_CORE_CHAIN_H

#include "apps/kvstore/core/slice.h"
#include "lib/heap/heap.h"

/* Values from this size on are blobs. */
#define BLOB_BYTES_MIN 4096u

struct blob {
    uint32_t references;
    uint32_t length;   /* bytes in use */
    uint32_t capacity; /* bytes there are */
    uint32_t reserved;
    uint8_t bytes[];
};

/* One reference, length 0; NULL without memory. */
struct blob *blob_make(struct heap *heap, size_t capacity);
static inline void blob_hold(struct blob *blob)
{
    blob->references++;
}
void blob_drop(struct heap *heap, struct blob *blob);

struct chunk {
    struct chunk *next;
    struct blob *blob; /* NULL: the bytes follow this header */
    const uint8_t *data;
    uint32_t start; /* consumed before it */
    uint32_t end;   /* filled up to it */
    uint32_t capacity;
    uint32_t reserved;
};

struct chain {
    struct heap *heap;
    struct chunk *first;
    struct chunk *last;
    uint64_t put_bytes; /* ever put in */
    uint64_t got_bytes; /* ever taken out */
    bool failed;        /* memory ran out: bytes are missing */
};

static inline void chain_init(struct chain *chain, struct heap *heap)
{
    *chain = (struct chain){.heap = heap};
}

static inline uint64_t chain_bytes(const struct chain *chain)
{
    return chain->put_bytes - chain->got_bytes;
}

/* Slow part of chain_reserve. */
uint8_t *chain_extend(struct chain *chain, size_t bytes);

/* Room for `bytes` contiguous bytes at the end, to be filled and then taken with chain_commit. NULL
 * without memory, and then the chain is `failed`. */
static inline uint8_t *chain_reserve(struct chain *chain, size_t bytes)
{
    struct chunk *last = chain->last;

    if (last != NULL && last->blob == NULL && last->capacity - last->end >= bytes) {
        return (uint8_t *)(last + 1) + last->end;
    }
    return chain_extend(chain, bytes);
}

static inline void chain_commit(struct chain *chain, size_t bytes)
{
    chain->last->end += (uint32_t)bytes;
    chain->put_bytes += bytes;
}

/* Copies bytes to the end. False without memory. */
bool chain_put(struct chain *chain, const void *data, size_t bytes);
/* Puts a part of a blob at the end, with a reference of the chain's own. False without memory. */
bool chain_put_blob(struct chain *chain, struct blob *blob, uint32_t offset, uint32_t bytes);
/* First contiguous bytes; 0 if empty. */
size_t chain_peek(const struct chain *chain, const uint8_t **data);
/* The first `bytes` bytes, or what fits `max` slices; returns how many slices. */
size_t chain_gather(const struct chain *chain, struct slice *slices, size_t max, size_t bytes);
/* Drops `bytes` from the front; no more than there are. */
void chain_consume(struct chain *chain, size_t bytes);
/* Moves everything from `from` to the end of `to`, without copying. Both use the same heap. */
void chain_move(struct chain *to, struct chain *from);
/* Frees everything. */
void chain_clear(struct chain *chain);

#endif
