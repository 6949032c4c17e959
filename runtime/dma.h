// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Hands out a cell's DMA memory (cell_info.dma) in whole pages, for good: drivers take what they
 * need when they start. Zeroed by the kernel before the cell runs.
 */
#ifndef RUNTIME_DMA_H
#define RUNTIME_DMA_H

#include <hallows/cell.h>
#include <hallows/status.h>

#include "lib/base/dma.h"

struct dma_pool {
    struct dma_region all;
    uint64_t used_bytes;
};

/* All of the cell's DMA memory, nothing taken. */
void dma_pool_init(struct dma_pool *pool, const struct cell_info *info);
/* Takes `bytes`, rounded up to pages, contiguous for the cell but not for a device.
 * NO_MEMORY: not that much left; INVALID_ARGUMENT: bytes is 0. */
status_t dma_take(struct dma_pool *pool, uint64_t bytes,
                  struct dma_region *taken) HALLOWS_MUST_CHECK;
/* As dma_take, contiguous for a device as well; pages passed over are lost. */
status_t dma_take_contiguous(struct dma_pool *pool, uint64_t bytes,
                             struct dma_region *taken) HALLOWS_MUST_CHECK;

#endif
