// SPDX-License-Identifier: MIT OR Apache-2.0
#include "runtime/dma.h"

void dma_pool_init(struct dma_pool *pool, const struct cell_info *info)
{
    *pool = (struct dma_pool){
        .all = {info->dma, info->dma_bytes, info->dma_page_device_address},
    };
}

/* Takes `bytes` at `offset`, which fit. */
static void dma_cut(struct dma_pool *pool, uint64_t offset, uint64_t bytes,
                    struct dma_region *taken)
{
    *taken = dma_part(&pool->all, offset, bytes);
    pool->used_bytes = offset + bytes;
}

static status_t dma_round(const struct dma_pool *pool, uint64_t bytes, uint64_t *rounded)
{
    if (bytes == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (bytes > pool->all.bytes - pool->used_bytes) {
        return STATUS_NO_MEMORY;
    }
    *rounded = (bytes + PAGE_BYTES - 1u) & ~(uint64_t)(PAGE_BYTES - 1u);
    return *rounded > pool->all.bytes - pool->used_bytes ? STATUS_NO_MEMORY : STATUS_OK;
}

status_t dma_take(struct dma_pool *pool, uint64_t bytes, struct dma_region *taken)
{
    uint64_t rounded;
    status_t status = dma_round(pool, bytes, &rounded);

    if (status == STATUS_OK) {
        dma_cut(pool, pool->used_bytes, rounded, taken);
    }
    return status;
}

status_t dma_take_contiguous(struct dma_pool *pool, uint64_t bytes, struct dma_region *taken)
{
    uint64_t rounded;
    status_t status = dma_round(pool, bytes, &rounded);

    if (status != STATUS_OK) {
        return status;
    }
    const uint64_t *address = pool->all.page_device_address;
    uint64_t wanted = rounded >> PAGE_SHIFT;
    uint64_t first = pool->used_bytes >> PAGE_SHIFT;
    uint64_t end = pool->all.bytes >> PAGE_SHIFT;
    uint64_t run = 1;
    for (uint64_t page = first; page < end; page++) {
        run = page > first && address[page] == address[page - 1u] + PAGE_BYTES ? run + 1u : 1;
        if (run == wanted) {
            dma_cut(pool, (page + 1u - wanted) << PAGE_SHIFT, rounded, taken);
            return STATUS_OK;
        }
    }
    return STATUS_NO_MEMORY;
}
