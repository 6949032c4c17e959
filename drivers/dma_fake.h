// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Host only: memory that fake devices reach by device address. Neighbouring pages get device
 * addresses that are not neighbours, so that a driver which forgets this is found out.
 */
#ifndef DRIVERS_DMA_FAKE_H
#define DRIVERS_DMA_FAKE_H

#include "lib/base/dma.h"

/* `bytes` is a multiple of PAGE_BYTES; zeroed, page-aligned. */
struct dma_region dma_fake_create(size_t bytes);
void dma_fake_destroy(struct dma_region *region);
/* Where the device finds `bytes` at `address`; NULL if they are not all inside one page of a living
 * region. */
void *dma_fake_reach(uint64_t address, size_t bytes);

#endif
