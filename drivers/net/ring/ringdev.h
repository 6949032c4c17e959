// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A struct netdev whose NIC belongs to another cell, reached over a ring (hallows/ring.h). The
 * buffer pool is the ring's: frames go both ways without a copy, and the server never writes a
 * buffer that it was not lent.
 *
 * The server is not trusted: each completion must name a buffer that is out, with an offset and
 * length inside it. A server that breaks this is left, and tried again with growing pauses. A
 * server that starts anew (its cell was restarted) is met at once; until it has answered, buffers
 * that its predecessor may still have a device write to stay out of use.
 *
 * Invariants, outside the functions: D1 rx_lent + tx_out + (status asked) <= entries, so that
 * neither ring can be full. D2 lent[b] or sending[b] != 0 for each buffer that is out, and each
 * such use holds one reference. D3 lent[b] implies sending[b] == 0.
 */
#ifndef DRIVERS_NET_RING_RINGDEV_H
#define DRIVERS_NET_RING_RINGDEV_H

#include "drivers/net/driver.h"
#include "lib/ring/ring.h"

struct ringdev_attach_request {
    const struct cell_ring *ring; /* must outlive the netdev */
    struct netbuf_pool *pool;     /* over the ring's buffers; likewise */
    void *memory;                 /* ringdev_memory_bytes, 64-byte aligned */
    size_t memory_bytes;
    struct netdev_environment environment;
};

/* Address of the ring's buffer pool. */
static inline uint8_t *ringdev_pool_base(const struct cell_ring *ring)
{
    return (uint8_t *)ring->address + ring->pool_offset;
}

size_t ringdev_memory_bytes(uint32_t buffer_count);

/* Opens a session with the server and asks it for the NIC's state. Returns OK and *dev (in
 * request->memory), or
 *   INVALID_ARGUMENT  not a client's ring, or sizes that do not fit together
 *   NO_MEMORY         memory_bytes too small
 *   WRONG_VERSION     the ring is of another ABI
 *   DEVICE_TIMEOUT    no server answered within NETDEV_ATTACH_TIMEOUT_NS */
status_t ringdev_attach(const struct ringdev_attach_request *request,
                        struct netdev **dev) HALLOWS_MUST_CHECK;

#endif
