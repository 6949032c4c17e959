// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A cell's network, from its manifest to a running stack in the event loop: the device or ring that
 * the manifest gives, and its [config]:
 *     address = "dhcp" (the default) or "10.0.2.15/24"
 *     gateway = "10.0.2.2"   only with a fixed address, and optional
 *     address6 = "auto" (the default), "off" or "fd00::5/64"
 *     gateway6 = "fe80::1"   only with a fixed address6, and optional
 *     poll_us = 100          how long the event loop polls after work, with a NIC of its own
 *
 * Thread rule: the cell's one thread.
 */
#ifndef DRIVERS_NET_CELL_NETWORK_H
#define DRIVERS_NET_CELL_NETWORK_H

#include "drivers/net/open.h"
#include "lib/net/stack.h"
#include "runtime/dma.h"
#include "runtime/event_loop.h"

struct network {
    const struct cell_info *info;
    struct netdev *dev;
    struct net_stack *stack;
    bool link; /* as last said on the console */
};

struct network_request {
    const struct cell_info *info; /* must outlive the network */
    uint32_t buffers;             /* in the pool of a device of the cell's own */
    uint32_t connections;         /* as struct stack_config */
    uint32_t receive_window_bytes;
    uint32_t send_queue_bytes;
    struct dma_pool *dma;
    void *memory; /* 64-byte aligned; what the network needs is cut off its front */
    size_t memory_bytes;
};

/* Returns OK, or after a line on the console that says what is wrong: INVALID_ARGUMENT for a wrong
 * address in the manifest, NO_MEMORY, or as netdev_open and stack_init. On OK request->memory and
 * memory_bytes are what is left. */
status_t network_open(struct network *network, struct network_request *request) HALLOWS_MUST_CHECK;
/* Adds the stack to the loop. FULL. */
status_t network_add(struct network *network, struct event_loop *loop) HALLOWS_MUST_CHECK;
/* How long the cell's event loop may poll: by its [config], at most EVENT_LOOP_WINDOW_MAX_NS, with
 * a NIC of its own; 0 where frames come over a ring. */
uint32_t network_window_ns(const struct cell_info *info);
/* Stops the device, so that it no longer touches memory. */
void network_close(struct network *network);

#endif
