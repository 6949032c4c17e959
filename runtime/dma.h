// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Hands out a cell's DMA memory (cell_info.dma) in whole pages, for good: drivers take what they
 * need when they start. The kernel zeroed it before the cell ran.
 */
#ifndef RUNTIME_DMA_H
#define RUNTIME_DMA_H

#include <hallows/cell.h>
#include <hallows/status.h>

#include "lib/base/dma.h"

struct dma_pool {
    struct dma_region all;
    size_t used_bytes;
};

/* All of the cell's DMA memory, nothing taken. */
void dma_pool_init(struct dma_pool *pool, const struct cell_info *info);
/* Takes `bytes`, rounded up to pages; one piece for the cell, page by page for a device.
 * NO_MEMORY: not that much left; INVALID_ARGUMENT: bytes is 0. */
status_t dma_take(struct dma_pool *pool, size_t bytes,
                  struct dma_region *region) HALLOWS_MUST_CHECK;
/* As dma_take, one piece for a device as well; pages passed over to find it are lost. */
status_t dma_take_contiguous(struct dma_pool *pool, size_t bytes,
                             struct dma_region *region) HALLOWS_MUST_CHECK;

#endif
