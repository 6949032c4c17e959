// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/chain.h"

/* The first chunk of an idle queue stays, so that a small reply needs no allocation. */
#define FIRST_CHUNK_BYTES 976u
#define CHUNK_BYTES 16336u

struct blob *blob_make(struct heap *heap, size_t capacity)
{
    if (capacity > UINT32_MAX) {
        return NULL;
    }
    struct blob *blob = heap_allocate(heap, sizeof *blob + capacity);
    if (blob != NULL) {
        *blob = (struct blob){.references = 1, .capacity = (uint32_t)capacity};
    }
    return blob;
}

void blob_drop(struct heap *heap, struct blob *blob)
{
    if (--blob->references == 0) {
        heap_free(heap, blob);
    }
}

static void append(struct chain *chain, struct chunk *chunk)
{
    if (chain->last == NULL) {
        chain->first = chunk;
    } else {
        chain->last->next = chunk;
    }
    chain->last = chunk;
}

uint8_t *chain_extend(struct chain *chain, size_t bytes)
{
    size_t capacity = chain->first == NULL ? FIRST_CHUNK_BYTES : CHUNK_BYTES;

    if (capacity < bytes) {
        capacity = bytes;
    }
    struct chunk *chunk = NULL;
    if (capacity <= UINT32_MAX) {
        chunk = heap_allocate(chain->heap, sizeof *chunk + capacity);
    }
    if (chunk == NULL) {
        chain->failed = true;
        return NULL;
    }
    *chunk = (struct chunk){.data = (const uint8_t *)(chunk + 1), .capacity = (uint32_t)capacity};
    append(chain, chunk);
    return (uint8_t *)(chunk + 1);
}

bool chain_put(struct chain *chain, const void *data, size_t bytes)
{
    uint8_t *to = chain_reserve(chain, bytes);

    if (to == NULL) {
        return false;
    }
    memcpy(to, data, bytes);
    chain_commit(chain, bytes);
    return true;
}

bool chain_put_blob(struct chain *chain, struct blob *blob, uint32_t offset, uint32_t bytes)
{
    struct chunk *chunk = heap_allocate(chain->heap, sizeof *chunk);

    if (chunk == NULL) {
        chain->failed = true;
        return false;
    }
    *chunk = (struct chunk){.blob = blob, .data = blob->bytes + offset, .end = bytes};
    chunk->capacity = bytes;
    blob_hold(blob);
    append(chain, chunk);
    chain->put_bytes += bytes;
    return true;
}

size_t chain_peek(const struct chain *chain, const uint8_t **data)
{
    for (const struct chunk *chunk = chain->first; chunk != NULL; chunk = chunk->next) {
        if (chunk->start < chunk->end) {
            *data = chunk->data + chunk->start;
            return chunk->end - chunk->start;
        }
    }
    return 0;
}

size_t chain_gather(const struct chain *chain, struct slice *slices, size_t max, size_t bytes)
{
    size_t count = 0;

    for (const struct chunk *chunk = chain->first; chunk != NULL && count < max && bytes != 0;
         chunk = chunk->next) {
        size_t here = chunk->end - chunk->start;
        here = here < bytes ? here : bytes;
        if (here != 0) {
            slices[count++] = slice_of(chunk->data + chunk->start, here);
            bytes -= here;
        }
    }
    return count;
}

static void drop_first(struct chain *chain)
{
    struct chunk *chunk = chain->first;

    chain->first = chunk->next;
    if (chain->first == NULL) {
        chain->last = NULL;
    }
    if (chunk->blob != NULL) {
        blob_drop(chain->heap, chunk->blob);
    }
    heap_free(chain->heap, chunk);
}

void chain_consume(struct chain *chain, size_t bytes)
{
    chain->got_bytes += bytes;
    while (chain->first != NULL) {
        struct chunk *chunk = chain->first;
        size_t here = chunk->end - chunk->start;
        if (bytes < here) {
            chunk->start += (uint32_t)bytes;
            return;
        }
        bytes -= here;
        if (chunk->next == NULL && chunk->blob == NULL && chunk->capacity <= FIRST_CHUNK_BYTES) {
            chunk->start = 0;
            chunk->end = 0;
            return;
        }
        drop_first(chain);
    }
}

void chain_move(struct chain *to, struct chain *from)
{
    if (from->first == NULL) {
        return;
    }
    if (to->last == NULL) {
        to->first = from->first;
    } else {
        to->last->next = from->first;
    }
    to->last = from->last;
    to->put_bytes += chain_bytes(from);
    to->failed |= from->failed;
    from->got_bytes = from->put_bytes;
    from->first = NULL;
    from->last = NULL;
    from->failed = false;
}

void chain_clear(struct chain *chain)
{
    while (chain->first != NULL) {
        drop_first(chain);
    }
    chain->got_bytes = chain->put_bytes;
}
