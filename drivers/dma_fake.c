// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/dma_fake.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/assert.h"

#define PAGES_MAX 65536u
#define ADDRESS_BASE 0x100000000ull

/* What lies at each device page; NULL: nothing. */
static uint8_t *pages[PAGES_MAX];
static uint32_t pages_used;

/* Scatters the n-th page: multiplying by an odd number permutes the residues modulo 2^16. */
static uint32_t scatter(uint32_t n)
{
    return (n * 40503u) % PAGES_MAX;
}

struct dma_region dma_fake_create(size_t bytes)
{
    size_t count = bytes / PAGE_BYTES;
    uint8_t *base = aligned_alloc(PAGE_BYTES, bytes);
    uint64_t *addresses = calloc(count, sizeof *addresses);

    VERIFY(bytes % PAGE_BYTES == 0 && base != NULL && addresses != NULL);
    memset(base, 0, bytes);
    for (size_t i = 0; i < count; i++) {
        uint32_t page;
        uint32_t tries = 0;
        do {
            page = scatter(pages_used++);
            VERIFY(++tries <= PAGES_MAX);
        } while (pages[page] != NULL);
        pages[page] = base + i * PAGE_BYTES;
        addresses[i] = ADDRESS_BASE + (uint64_t)page * PAGE_BYTES;
    }
    return (struct dma_region){base, bytes, addresses};
}

void dma_fake_destroy(struct dma_region *region)
{
    for (size_t i = 0; i < region->bytes / PAGE_BYTES; i++) {
        pages[(region->page_device_address[i] - ADDRESS_BASE) / PAGE_BYTES] = NULL;
    }
    free((void *)(uintptr_t)region->page_device_address);
    free(region->base);
    region->base = NULL;
}

void *dma_fake_reach(uint64_t address, size_t bytes)
{
    uint64_t offset = address - ADDRESS_BASE;

    if (offset >= (uint64_t)PAGES_MAX * PAGE_BYTES || pages[offset / PAGE_BYTES] == NULL ||
        bytes > PAGE_BYTES - offset % PAGE_BYTES) {
        return NULL;
    }
    return pages[offset / PAGE_BYTES] + offset % PAGE_BYTES;
}
