// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/open.h"

#include "drivers/net/ring/ringdev.h"

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

static const struct cell_ring *find_ring(const struct cell_info *cell)
{
    for (uint32_t i = 0; i < cell->ring_count && i < CELL_RINGS_MAX; i++) {
        if (cell->rings[i].role == CELL_RING_CLIENT && cell->rings[i].kind == SYSTEM_RING_NET) {
            return &cell->rings[i];
        }
    }
    return NULL;
}

bool netdev_open_is_direct(const struct cell_info *cell)
{
    return find_device(cell) != NULL;
}

static uint32_t buffer_bytes_of(const struct netdev_open_request *request)
{
    return request->split_headers ? PAGE_BYTES : NETDEV_OPEN_BUFFER_BYTES;
}

uint64_t netdev_open_pool_bytes(const struct netdev_open_request *request)
{
    uint64_t bytes = (uint64_t)request->buffers * buffer_bytes_of(request) + PAGE_BYTES - 1u;

    return find_device(request->cell) == NULL ? 0 : bytes & ~(uint64_t)(PAGE_BYTES - 1u);
}

uint64_t netdev_open_dma_bytes(const struct netdev_open_request *request)
{
    uint64_t queues = request->queues != 0 ? request->queues : 1u;

    return find_device(request->cell) == NULL
               ? 0
               : queues * NETDEV_DMA_BYTES + netdev_open_pool_bytes(request);
}

size_t netdev_open_memory_bytes(const struct cell_info *cell, uint32_t buffers)
{
    const struct cell_ring *ring = find_ring(cell);
    size_t pool = round_up(sizeof(struct netbuf_pool));

    if (find_device(cell) == NULL && ring != NULL) {
        return pool + round_up(netbuf_pool_bookkeeping_bytes(ring->buffer_count)) +
               ringdev_memory_bytes(ring->buffer_count);
    }
    return pool + round_up(netbuf_pool_bookkeeping_bytes(buffers)) + NETDEV_STATE_BYTES;
}

/* A pool at the front of request->memory, its buffers in the DMA memory from `at` on; *state is
 * what lies behind. */
static status_t open_pool(const struct netdev_open_request *request, uint64_t at,
                          struct netbuf_pool **pool, void **state)
{
    const struct dma_region *dma = &request->dma;
    uint64_t own = netdev_open_pool_bytes(request);
    uint8_t *memory = request->memory;

    if (request->buffers < BUFFERS_MIN) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (dma->bytes < at || dma->bytes - at < own) {
        return STATUS_NO_MEMORY;
    }
    struct dma_region buffers = dma_part(dma, at, dma->bytes - at);
    *pool = request->memory;
    memory += round_up(sizeof **pool);
    *state = memory + round_up(netbuf_pool_bookkeeping_bytes(request->buffers));
    return netbuf_pool_init(*pool, buffers.base, request->buffers, buffer_bytes_of(request),
                            buffers.page_device_address, memory);
}

static status_t open_device(const struct netdev_open_request *request,
                            const struct cell_device *device, struct netdev **dev)
{
    uint32_t queues = request->queues != 0 ? request->queues : 1u;
    struct netbuf_pool *pool;
    void *state;
    status_t status = open_pool(request, (uint64_t)queues * NETDEV_DMA_BYTES, &pool, &state);

    if (status != STATUS_OK) {
        return status;
    }
    return netdev_attach(
        &(struct netdev_attach_request){
            .device = device,
            .pool = pool,
            .queues = queues,
            .receive_sums = request->receive_sums,
            .split_headers = request->split_headers,
            .dma = dma_part(&request->dma, 0, queues * NETDEV_DMA_BYTES),
            .state = state,
            .environment = request->environment,
        },
        dev);
}

status_t netdev_open_queue(struct netdev *first, uint32_t number,
                           const struct netdev_open_request *request, struct netdev **dev)
{
    struct netbuf_pool *pool;
    void *state;

    if (first->ops->attach_queue == NULL || (uintptr_t)request->memory % ALIGNMENT != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (request->memory_bytes < netdev_open_memory_bytes(request->cell, request->buffers)) {
        return STATUS_NO_MEMORY;
    }
    status_t status = open_pool(request, 0, &pool, &state);
    if (status != STATUS_OK) {
        return status;
    }
    return first->ops->attach_queue(
        first, &(struct netdev_queue_request){.number = number, .pool = pool, .state = state}, dev);
}

static status_t open_ring(const struct netdev_open_request *request, const struct cell_ring *ring,
                          struct netdev **dev)
{
    uint8_t *memory = request->memory;
    struct netbuf_pool *pool = request->memory;

    memory += round_up(sizeof *pool);
    status_t status = netbuf_pool_init(pool, ringdev_pool_base(ring), ring->buffer_count,
                                       ring->buffer_bytes, NULL, memory);
    if (status != STATUS_OK) {
        return status;
    }
    memory += round_up(netbuf_pool_bookkeeping_bytes(ring->buffer_count));
    return ringdev_attach(
        &(struct ringdev_attach_request){
            .ring = ring,
            .pool = pool,
            .memory = memory,
            .memory_bytes = ringdev_memory_bytes(ring->buffer_count),
            .environment = request->environment,
        },
        dev);
}

status_t netdev_open(const struct netdev_open_request *request, struct netdev **dev)
{
    const struct cell_device *device = find_device(request->cell);
    const struct cell_ring *ring = find_ring(request->cell);

    if (device == NULL && ring == NULL) {
        return STATUS_NOT_FOUND;
    }
    if ((uintptr_t)request->memory % ALIGNMENT != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (request->memory_bytes < netdev_open_memory_bytes(request->cell, request->buffers)) {
        return STATUS_NO_MEMORY;
    }
    return device != NULL ? open_device(request, device, dev) : open_ring(request, ring, dev);
}
