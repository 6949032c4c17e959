// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One way to get a struct netdev, whichever NIC a cell was given: the driver is chosen by the PCI
 * ids. All memory comes from the caller; a driver keeps no global state, reads no clock and makes
 * no system call.
 *
 * Life cycle. netdev_attach resets and starts the device; from then on the owner calls the ops, and
 * tick when due. A device that breaks its protocol (ids, lengths or indices that cannot be) is
 * counted in counters.rx_errors or tx_errors and reset; meanwhile receive and transmit return 0,
 * link_up says false, and tick brings it back, with growing pauses if it goes on.
 */
#ifndef DRIVERS_NET_DRIVER_H
#define DRIVERS_NET_DRIVER_H

#include <hallows/cell.h>

#include "drivers/mmio.h"
#include "lib/net/netdev.h"

/* What any driver here needs at most. */
#define NETDEV_STATE_BYTES 8192u
#define NETDEV_DMA_BYTES (8u * PAGE_BYTES) /* for each queue pair */
#define NETDEV_QUEUES_MAX 4u
/* Least size of the pool's buffers: a full frame with a device's header in front. */
#define NETDEV_BUFFER_BYTES_MIN 2048u
/* Longest wait for a device while attaching; generous, since under emulation guest time may run
 * ahead of the device's. */
#define NETDEV_ATTACH_TIMEOUT_NS 30000000000ull

/* What a driver asks of its surroundings. The functions are only called while attaching, but
 * doorbell, which ring clients also call when they publish work. */
struct netdev_environment {
    time_ns_t (*now_ns)(void *context);
    /* Lets other threads run for a moment (yield). */
    void (*relax)(void *context);
    /* Signals the notification in that slot. Only ring devices use it. */
    void (*doorbell)(void *context, cap_slot_t slot);
    void *context;
};

struct netdev_attach_request {
    const struct cell_device *device; /* must outlive the netdev */
    struct netbuf_pool *pool;         /* with device addresses; likewise */
    uint32_t queues;       /* pairs wanted, at most NETDEV_QUEUES_MAX; 0: one. dev->queues says
                              how many there are: as many as interrupts, and one where the device
                              does not steer (then nothing else changes) */
    bool receive_sums;     /* the owner looks at NETFRAME_SUM_FLAGS; dev->receives_sums says
                              whether the device has them */
    bool split_headers;    /* the owner takes NETFRAME_SPLIT; the pool's buffers are of PAGE_BYTES;
                              dev->splits_headers says whether the device does it */
    struct dma_region dma; /* at least NETDEV_DMA_BYTES for each pair wanted */
    void *state;           /* NETDEV_STATE_BYTES of ordinary memory, 64-byte aligned */
    struct netdev_environment environment;
};

/* Starts the device. Returns OK and *dev (in request->state), or
 *   INVALID_ARGUMENT  memory too small or misaligned, buffers below NETDEV_BUFFER_BYTES_MIN or,
 *                     with split_headers, not of PAGE_BYTES, no irq
 *   UNSUPPORTED       no driver for these PCI ids, or the device lacks a needed feature
 *   NOT_FOUND         a register window or capability is missing
 *   DEVICE_ERROR      the device refused the set-up
 *   DEVICE_TIMEOUT    it did not finish its reset within NETDEV_ATTACH_TIMEOUT_NS
 * On an error the device is left reset and no buffer is lent. */
status_t netdev_attach(const struct netdev_attach_request *request,
                       struct netdev **dev) HALLOWS_MUST_CHECK;

/* Whether netdev_attach knows a driver for this device. */
bool netdev_supported(const struct cell_device *device);

#endif
