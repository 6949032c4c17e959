// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * "The network" of a cell, whatever its manifest gave it: the first network device (driver in this
 * cell) or else the first ring that the cell is a client of (driver in another cell). The program
 * is the same either way.
 *
 *     dma    = netdev_open_dma_bytes(cell, buffers) of DMA memory, may be 0
 *     memory = netdev_open_memory_bytes(cell, buffers) of ordinary memory
 *     netdev_open(&request, &dev); then stack_init with dev
 */
#ifndef DRIVERS_NET_OPEN_H
#define DRIVERS_NET_OPEN_H

#include "drivers/net/driver.h"

/* Buffers of the pool in front of a device. A ring brings its own pool; its manifest sizes it. */
#define NETDEV_OPEN_BUFFER_BYTES 2048u

struct netdev_open_request {
    const struct cell_info *cell; /* must outlive the netdev */
    uint32_t buffers;             /* wanted in the pool of a device; at least 64 */
    uint32_t queues;              /* pairs wanted, as struct netdev_attach_request; 0: one */
    bool receive_sums;            /* likewise; never with a ring */
    bool split_headers;           /* likewise; then the buffers are of PAGE_BYTES */
    struct dma_region dma;
    void *memory; /* 64-byte aligned */
    size_t memory_bytes;
    struct netdev_environment environment;
};

/* For a request's cell, buffers, queues and split_headers; 0 when the cell has no network device.
 */
uint64_t netdev_open_dma_bytes(const struct netdev_open_request *request);
/* The pool's part of it. */
uint64_t netdev_open_pool_bytes(const struct netdev_open_request *request);
size_t netdev_open_memory_bytes(const struct cell_info *cell, uint32_t buffers);

/* Makes the pool and starts the device. Returns OK and *dev, or NOT_FOUND: the cell has neither a
 * network device nor a ring; NO_MEMORY: dma or memory is smaller than the functions above say;
 * INVALID_ARGUMENT: fewer than 64 buffers, or buffers of the ring are below
 * NETDEV_BUFFER_BYTES_MIN; else as netdev_attach. */
status_t netdev_open(const struct netdev_open_request *request,
                     struct netdev **dev) HALLOWS_MUST_CHECK;

/* Gives queue pair `number` of a device that runs several a pool of request->buffers and an owner
 * (attach_queue in lib/net/netdev.h). netdev_open_pool_bytes of DMA memory and
 * netdev_open_memory_bytes are enough. As attach_queue; NO_MEMORY; INVALID_ARGUMENT. */
status_t netdev_open_queue(struct netdev *first, uint32_t number,
                           const struct netdev_open_request *request,
                           struct netdev **dev) HALLOWS_MUST_CHECK;

/* Whether netdev_open would take a NIC of the cell's own, not a ring. */
bool netdev_open_is_direct(const struct cell_info *cell);

#endif
