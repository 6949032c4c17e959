// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/netdev.h"

#include "lib/base/bytes.h"

void frame_join_split(const struct netbuf_pool *pool, struct netframe *frame)
{
    uint32_t headers = frame_front_bytes(frame);

    memcpy(frame_data(pool, frame) + headers, netbuf_data(pool, frame->buffer),
           frame->length - headers);
    frame->offset = (uint16_t)(NETFRAME_SPLIT_AT | (frame->offset & NETFRAME_SUM_FLAGS));
}

size_t netbuf_pool_bookkeeping_bytes(uint32_t buffer_count)
{
    return (size_t)buffer_count * (sizeof(uint64_t) + sizeof(uint32_t) + sizeof(uint16_t));
}

status_t netbuf_pool_init(struct netbuf_pool *pool, void *base, uint32_t buffer_count,
                          uint32_t buffer_bytes, const uint64_t *page_device_address,
                          void *bookkeeping)
{
    if (buffer_count == 0 || buffer_count >= NETBUF_NONE || buffer_bytes < 64u ||
        buffer_bytes > PAGE_BYTES || (buffer_bytes & (buffer_bytes - 1u)) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (((uintptr_t)base & (PAGE_BYTES - 1u)) != 0 || ((uintptr_t)bookkeeping & 7u) != 0) {
        return STATUS_MISALIGNED;
    }
    pool->base = base;
    pool->buffer_bytes = buffer_bytes;
    pool->buffer_count = buffer_count;
    pool->device_address = page_device_address != NULL ? bookkeeping : NULL;
    pool->free_stack = (uint32_t *)(void *)((uint64_t *)bookkeeping + buffer_count);
    pool->references = (uint16_t *)(void *)(pool->free_stack + buffer_count);
    for (uint32_t i = 0; i < buffer_count; i++) {
        pool->references[i] = 0;
        if (page_device_address != NULL) {
            size_t offset = (size_t)i * buffer_bytes;
            pool->device_address[i] =
                page_device_address[offset >> PAGE_SHIFT] + (offset & (PAGE_BYTES - 1u));
        }
        /* The first buffers are handed out first. */
        pool->free_stack[i] = buffer_count - 1u - i;
    }
    pool->free_count = buffer_count;
    return STATUS_OK;
}
