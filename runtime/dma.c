// SPDX-License-Identifier: MIT OR Apache-2.0
#include "runtime/dma.h"

void dma_region_init(struct dma_region *region, const struct cell_info *info)
{
    *region = (struct dma_region){
        .base = info->dma,
        .bytes = info->dma_bytes,
        .page_device_address = info->dma_page_device_address,
    };
}

/* Takes `bytes` at `offset`, which fit. */
static void dma_cut(struct dma_region *region, uint64_t offset, uint64_t bytes,
                    struct dma_memory *memory)
{
    uint64_t page = offset >> PAGE_SHIFT;

    *memory = (struct dma_memory){
        .address = region->base + offset,
        .bytes = bytes,
        .device_address = region->page_device_address[page],
        .page_device_address = &region->page_device_address[page],
    };
    region->used_bytes = offset + bytes;
}

static status_t dma_round(const struct dma_region *region, uint64_t bytes, uint64_t *rounded)
{
    if (bytes == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (bytes > region->bytes - region->used_bytes) {
        return STATUS_NO_MEMORY;
    }
    *rounded = (bytes + PAGE_BYTES - 1u) & ~(uint64_t)(PAGE_BYTES - 1u);
    return *rounded > region->bytes - region->used_bytes ? STATUS_NO_MEMORY : STATUS_OK;
}

status_t dma_take(struct dma_region *region, uint64_t bytes, struct dma_memory *memory)
{
    uint64_t rounded;
    status_t status = dma_round(region, bytes, &rounded);

    if (status == STATUS_OK) {
        dma_cut(region, region->used_bytes, rounded, memory);
    }
    return status;
}

status_t dma_take_contiguous(struct dma_region *region, uint64_t bytes, struct dma_memory *memory)
{
    uint64_t rounded;
    status_t status = dma_round(region, bytes, &rounded);

    if (status != STATUS_OK) {
        return status;
    }
    const uint64_t *address = region->page_device_address;
    uint64_t wanted = rounded >> PAGE_SHIFT;
    uint64_t first = region->used_bytes >> PAGE_SHIFT;
    uint64_t end = region->bytes >> PAGE_SHIFT;
    uint64_t run = 1;
    for (uint64_t page = first; page < end; page++) {
        run = page > first && address[page] == address[page - 1u] + PAGE_BYTES ? run + 1u : 1;
        if (run == wanted) {
            dma_cut(region, (page + 1u - wanted) << PAGE_SHIFT, rounded, memory);
            return STATUS_OK;
        }
    }
    return STATUS_NO_MEMORY;
}
