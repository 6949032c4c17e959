// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/open.h"

#define BUFFERS_MIN 64u
#define ALIGNMENT 64u

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGNMENT - 1u) & ~(size_t)(ALIGNMENT - 1u);
}

static const struct cell_device *find_device(const struct cell_info *cell)
{
    for (uint32_t i = 0; i < cell->device_count && i < CELL_DEVICES_MAX; i++) {
        if (cell->devices[i].kind == SYSTEM_DEVICE_NET) {
            return &cell->devices[i];
        }
    }
    return NULL;
}

uint64_t netdev_open_dma_bytes(const struct cell_info *cell, uint32_t buffers)
{
    uint64_t pool_bytes = (uint64_t)buffers * NETDEV_OPEN_BUFFER_BYTES + PAGE_BYTES - 1u;

    return find_device(cell) == NULL
               ? 0
               : NETDEV_DMA_BYTES + (pool_bytes & ~(uint64_t)(PAGE_BYTES - 1u));
}

size_t netdev_open_memory_bytes(const struct cell_info *cell, uint32_t buffers)
{
    (void)cell;
    return NETDEV_STATE_BYTES + round_up(sizeof(struct netbuf_pool)) +
           netbuf_pool_bookkeeping_bytes(buffers);
}

static status_t open_device(const struct netdev_open_request *request,
                            const struct cell_device *device, struct netdev **dev)
{
    const struct dma_region *dma = &request->dma;
    uint8_t *memory = request->memory;

    if (request->buffers < BUFFERS_MIN) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (dma->bytes < netdev_open_dma_bytes(request->cell, request->buffers)) {
        return STATUS_NO_MEMORY;
    }
    struct dma_region buffers = dma_part(dma, NETDEV_DMA_BYTES, dma->bytes - NETDEV_DMA_BYTES);
    struct netbuf_pool *pool = (struct netbuf_pool *)(memory + NETDEV_STATE_BYTES);
    status_t status =
        netbuf_pool_init(pool, buffers.base, request->buffers, NETDEV_OPEN_BUFFER_BYTES,
                         buffers.page_device_address, (uint8_t *)pool + round_up(sizeof *pool));
    if (status != STATUS_OK) {
        return status;
    }
    return netdev_attach(
        &(struct netdev_attach_request){
            .device = device,
            .pool = pool,
            .dma = dma_part(dma, 0, NETDEV_DMA_BYTES),
            .state = memory,
            .environment = request->environment,
        },
        dev);
}

status_t netdev_open(const struct netdev_open_request *request, struct netdev **dev)
{
    const struct cell_device *device = find_device(request->cell);

    if (device == NULL) {
        return STATUS_NOT_FOUND;
    }
    if ((uintptr_t)request->memory % ALIGNMENT != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (request->memory_bytes < netdev_open_memory_bytes(request->cell, request->buffers)) {
        return STATUS_NO_MEMORY;
    }
    return open_device(request, device, dev);
}
