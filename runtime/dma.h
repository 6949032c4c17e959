// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Hands out a cell's DMA memory (cell_info.dma) in whole pages, for good: drivers take what they
 * need when they start. Zeroed by the kernel before the cell runs.
 */
#ifndef RUNTIME_DMA_H
#define RUNTIME_DMA_H

#include <hallows/cell.h>
#include <hallows/status.h>

struct dma_region {
    uint8_t *base;
    uint64_t bytes;
    uint64_t used_bytes;
    const uint64_t *page_device_address;
};

/* A piece of DMA memory. page_device_address[i] belongs to its i-th page. */
struct dma_memory {
    void *address;
    uint64_t bytes; /* multiple of PAGE_BYTES */
    uint64_t device_address;
    const uint64_t *page_device_address;
};

/* All of the cell's DMA memory, nothing taken. */
void dma_region_init(struct dma_region *region, const struct cell_info *info);
/* Takes `bytes`, rounded up to pages, contiguous for the cell but not for a device.
 * NO_MEMORY: not that much left; INVALID_ARGUMENT: bytes is 0. */
status_t dma_take(struct dma_region *region, uint64_t bytes,
                  struct dma_memory *memory) HALLOWS_MUST_CHECK;
/* As dma_take, contiguous for a device as well; pages passed over are lost. */
status_t dma_take_contiguous(struct dma_region *region, uint64_t bytes,
                             struct dma_memory *memory) HALLOWS_MUST_CHECK;

#endif
