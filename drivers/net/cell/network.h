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
 * Several threads (runtime/cell.h, workers) each have an instance of their own on a queue pair of a
 * device that steers flows to them (drivers/net/steer.h): the first thread opens its own with
 * request->threads, then one for each of the others with network_open_worker, and opens their gate.
 * The first instance has DHCP; the others follow its address.
 *
 * Thread rule: an instance is its thread's, from when it runs; at the end the workers' are closed
 * before the first.
 */
#ifndef DRIVERS_NET_CELL_NETWORK_H
#define DRIVERS_NET_CELL_NETWORK_H

#include "drivers/net/open.h"
#include "drivers/net/steer.h"
#include "lib/net/stack.h"
#include "runtime/dma.h"
#include "runtime/event_loop.h"

/* The address of the first instance, for the others: written under an odd `sequence`. */
struct network_shared {
    uint32_t sequence; /* [atomic, so are the rest] */
    uint32_t words[4]; /* address, netmask, gateway, dns_server */
};

struct network {
    const struct cell_info *info;
    struct netdev *dev;
    struct net_stack *stack;
    struct netdev *pair;           /* beneath the steering; `dev` without one */
    struct steer *steer;           /* NULL: the only instance */
    struct network_shared *shared; /* NULL without steering */
    uint32_t followed;             /* sequence of what the stack was told last */
    uint32_t threads;              /* instances that the device has pairs for */
    bool link;                     /* as last said on the console */
};

struct network_request {
    const struct cell_info *info; /* must outlive the network */
    uint32_t buffers;             /* in the pool of a device of the cell's own */
    uint32_t threads;             /* instances wanted, with such a device; 0: one */
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
/* The instance of worker `thread`, 1 .. first->threads - 1, with memory cut off as above. Context:
 * the first thread, before any worker runs. */
status_t network_open_worker(struct network *network, struct network *first, uint32_t thread,
                             struct network_request *request) HALLOWS_MUST_CHECK;
/* Adds the stack to the loop. FULL. */
status_t network_add(struct network *network, struct event_loop *loop) HALLOWS_MUST_CHECK;
/* How long the cell's event loop may poll: by its [config], at most EVENT_LOOP_WINDOW_MAX_NS, with
 * a NIC of its own; 0 where frames come over a ring. */
uint32_t network_window_ns(const struct cell_info *info);
/* Stops the device, so that it no longer touches memory. */
void network_close(struct network *network);

#endif
