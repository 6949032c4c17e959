// SPDX-License-Identifier: MIT OR Apache-2.0
#include "runtime/dma.h"

void dma_pool_init(struct dma_pool *pool, const struct cell_info *info)
{
    *pool = (struct dma_pool){
        .all = {.base = info->dma,
                .bytes = info->dma_bytes,
                .page_device_address = info->dma_page_device_address},
    };
}

static status_t dma_round(const struct dma_pool *pool, size_t bytes, size_t *rounded)
{
    size_t left = pool->all.bytes - pool->used_bytes;

    if (bytes == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (bytes > left) {
        return STATUS_NO_MEMORY;
    }
    /* `left` is in whole pages, so rounding up stays within it. */
    *rounded = (bytes + PAGE_BYTES - 1u) & ~(size_t)(PAGE_BYTES - 1u);
    return STATUS_OK;
}

static void dma_cut(struct dma_pool *pool, size_t offset, size_t bytes, struct dma_region *region)
{
    *region = dma_part(&pool->all, offset, bytes);
    pool->used_bytes = offset + bytes;
}

status_t dma_take(struct dma_pool *pool, size_t bytes, struct dma_region *region)
{
    size_t rounded;
    status_t status = dma_round(pool, bytes, &rounded);

    if (status == STATUS_OK) {
        dma_cut(pool, pool->used_bytes, rounded, region);
    }
    return status;
}

status_t dma_take_contiguous(struct dma_pool *pool, size_t bytes, struct dma_region *region)
{
    size_t rounded;
    status_t status = dma_round(pool, bytes, &rounded);

    if (status != STATUS_OK) {
        return status;
    }
    const uint64_t *address = pool->all.page_device_address;
    size_t wanted = rounded >> PAGE_SHIFT;
    size_t first = pool->used_bytes >> PAGE_SHIFT;
    size_t end = pool->all.bytes >> PAGE_SHIFT;
    size_t run = 0;
    for (size_t page = first; page < end; page++) {
        run = page > first && address[page] == address[page - 1u] + PAGE_BYTES ? run + 1u : 1u;
        if (run == wanted) {
            dma_cut(pool, (page + 1u - wanted) << PAGE_SHIFT, rounded, region);
            return STATUS_OK;
        }
    }
    return STATUS_NO_MEMORY;
}
