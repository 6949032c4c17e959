// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Several queue pairs of an 82576. The chip's hash of a frame's addresses and ports chooses one of
 * 128 table entries, which names the pair; what is neither TCP nor UDP comes to pair 0. The pairs
 * beyond the first have a tick and a stop of their own and follow the first one's resets:
 *
 *     attach ---> RUNNING --halted: park--> PARKED --runs again: buffers back, refill--> RUNNING
 */
#include "drivers/net/intel/intel_nic.h"

#include "drivers/net/toeplitz.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

#define WATCH_NS 1000000000ull
#define PARKED_POLL_NS 10000000ull

uint32_t intel_queues(const struct netdev_attach_request *request)
{
    const struct intel_chip *chip = intel_find_chip(request->device->pci_device);
    uint32_t queues = request->queues;

    if (queues > request->device->irq_count) {
        queues = request->device->irq_count;
    }
    return chip->queue_step != 0 && queues > 1u ? queues : 1u;
}

void intel_setup_steering(const struct intel_nic *nic)
{
    uint32_t queues = nic->netdev.queues;

    if (queues < 2u) {
        return;
    }
    for (uint32_t i = 0; i < TOEPLITZ_KEY_BYTES; i += 4u) {
        intel_write(nic, INTEL_82576_RSSRK + i, load_le32(toeplitz_key + i));
    }
    for (uint32_t word = 0; word < INTEL_82576_RETA_WORDS; word++) {
        uint32_t entries = 0;
        for (uint32_t i = 0; i < 4u; i++) {
            entries |= toeplitz_queue(4u * word + i, queues) << (8u * i);
        }
        intel_write(nic, INTEL_82576_RETA + 4u * word, entries);
    }
    intel_write(nic, INTEL_RXCSUM, intel_read(nic, INTEL_RXCSUM) | INTEL_82576_RXCSUM_NO_SUM);
    intel_write(nic, INTEL_82576_MRQC, INTEL_82576_MRQC_RSS | INTEL_82576_MRQC_FIELDS);
}

bool intel_others_parked(struct intel_nic *nic)
{
    return group_is_halted(&nic->group);
}

/* ---- A pair that is not the first ------------------------------------------------------------ */

static struct netdev_group *group_of(struct intel_nic *nic)
{
    return &nic->first->group;
}

/* The device has been reset and set up; the queue is empty. */
static void run(struct intel_nic *nic, time_ns_t now_ns)
{
    intel_reclaim(nic);
    nic->state = INTEL_RUNNING;
    restart_running(&nic->restart, now_ns);
    intel_refill(nic);
}

static time_ns_t tick(struct netdev *dev, time_ns_t now_ns)
{
    struct intel_nic *nic = (struct intel_nic *)dev;
    struct netdev_group *group = group_of(nic);
    uint32_t pair = nic->netdev.queue;

    if (nic->state == INTEL_STOPPING || nic->state == INTEL_STOPPED) {
        return DEADLINE_NEVER;
    }
    if (nic->state == INTEL_RUNNING && group_must_park(group)) {
        nic->state = INTEL_PARKED;
        nic->link = false;
        nic->netdev.counters.resets++;
        group_park(group, pair);
    }
    if (nic->state == INTEL_PARKED) {
        if (!group_try_run(group, pair)) {
            return now_ns + PARKED_POLL_NS;
        }
        run(nic, now_ns);
    }
    nic->link = group_link(group);
    intel_reap(nic);
    if (restart_stuck(&nic->restart, nic->reaped, nic->link && nic->tx_head != nic->tx_tail,
                      now_ns)) {
        group_ask_reset(group, pair);
    }
    return now_ns + (nic->link ? WATCH_NS : PARKED_POLL_NS);
}

static bool link_up(struct netdev *dev)
{
    const struct intel_nic *nic = (const struct intel_nic *)dev;
    return nic->state == INTEL_RUNNING && nic->link;
}

static bool queue_is_off(const struct intel_nic *nic)
{
    return ((intel_read(nic, nic->rx_block + INTEL_QUEUE_CONTROL) |
             intel_read(nic, nic->tx_block + INTEL_QUEUE_CONTROL)) &
            INTEL_QUEUE_ENABLE) == 0;
}

/* Turns the queues off; they are the device's until they say so. */
static status_t stop(struct netdev *dev)
{
    struct intel_nic *nic = (struct intel_nic *)dev;

    if (nic->state != INTEL_STOPPING && nic->state != INTEL_STOPPED) {
        intel_write(nic, nic->chip->mask_clear, nic->rx_cause | nic->tx_cause);
        intel_write(nic, nic->rx_block + INTEL_QUEUE_CONTROL, 0);
        intel_write(nic, nic->tx_block + INTEL_QUEUE_CONTROL, 0);
        nic->state = INTEL_STOPPING;
        return STATUS_AGAIN; /* what is under way has its time */
    }
    if (nic->state == INTEL_STOPPING) {
        if (!queue_is_off(nic)) {
            return STATUS_AGAIN;
        }
        intel_reclaim(nic);
        group_leave(group_of(nic), nic->netdev.queue);
        nic->state = INTEL_STOPPED;
    }
    return STATUS_OK;
}

static const struct netdev_ops operations = {
    .receive = intel_receive,
    .transmit = intel_transmit,
    .transmit_large = intel_transmit_large,
    .arm = intel_arm,
    .disarm = intel_disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
};

status_t intel_attach_queue(struct netdev *dev, const struct netdev_queue_request *request,
                            struct netdev **out)
{
    struct intel_nic *first = (struct intel_nic *)dev;
    struct intel_nic *nic = request->state;

    if (request->number == 0 || request->number >= dev->queues ||
        (first->group.joined >> request->number & 1u) != 0 ||
        request->pool->buffer_bytes < NETDEV_BUFFER_BYTES_MIN ||
        (dev->splits_headers && request->pool->buffer_bytes != PAGE_BYTES) ||
        request->pool->device_address == NULL) {
        return STATUS_INVALID_ARGUMENT;
    }
    memset(nic, 0, sizeof *nic);
    nic->netdev = first->netdev;
    nic->netdev.ops = &operations;
    nic->netdev.counters = (struct netdev_counters){0};
    nic->device = first->device;
    nic->dma = first->dma;
    nic->registers = first->registers;
    nic->chip = first->chip;
    nic->first = first;
    nic->frame_bytes_max = first->frame_bytes_max;
    intel_init_pair(nic, request->pool, request->number);
    nic->state = INTEL_PARKED; /* its first tick lets it run */
    group_join(&first->group, request->number);
    *out = &nic->netdev;
    return STATUS_OK;
}
