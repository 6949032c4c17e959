// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Memory that a device reaches: where it lies for the program and where for the device.
 */
#ifndef LIB_BASE_DMA_H
#define LIB_BASE_DMA_H

#include <hallows/types.h>

/* Page-aligned memory that a device reaches, mapped cached. Pages that follow each other here need
 * not do so for the device: nothing that a device reads as one piece may cross a page. */
struct dma_region {
    uint8_t *base;
    size_t bytes;                        /* multiple of PAGE_BYTES */
    const uint64_t *page_device_address; /* bytes / PAGE_BYTES of them */
};

/* The device's address of the byte at `offset`. */
static inline uint64_t dma_device_address(const struct dma_region *region, size_t offset)
{
    return region->page_device_address[offset >> PAGE_SHIFT] + (offset & (PAGE_BYTES - 1u));
}

/* The part of `region` that starts at `offset` and has `bytes` (both multiples of PAGE_BYTES and
 * within it). */
static inline struct dma_region dma_part(const struct dma_region *region, size_t offset,
                                         size_t bytes)
{
    return (struct dma_region){region->base + offset, bytes,
                               region->page_device_address + (offset >> PAGE_SHIFT)};
}

#endif
