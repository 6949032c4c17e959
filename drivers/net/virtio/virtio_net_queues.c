// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Several queue pairs. The device is told of them through its control queue, with one command after
 * each reset: with RSS the hash of addresses and ports and the table by which it chooses the pair,
 * else how many there are. Nobody sleeps on that queue: the first pair's tick looks. The pairs
 * beyond the first have a tick and a stop of their own and follow the first one's resets:
 *
 *     attach ---> PARKED --runs: buffers back, refill--> RUNNING, BROKEN --halted: park--> PARKED
 *
 * To stop, such a pair resets its two queues alone (RING_RESET). The registers for that are shared:
 * group_take keeps two pairs from using them at once; the first uses them when all are parked.
 */
#include "drivers/net/virtio/virtio_net.h"

#include "drivers/net/toeplitz.h"
#include "lib/base/bytes.h"

#define WATCH_NS 1000000000ull
#define PARKED_POLL_NS 10000000ull
#define ANSWER_AT (VIRTIO_NET_COMMAND_AT + 2048u)
#define ANSWER_NONE 0xffu

_Static_assert(VIRTIO_NET_TABLE_ENTRIES == TOEPLITZ_BUCKETS, "as software chooses");
_Static_assert(VIRTIO_NET_KEY_BYTES == TOEPLITZ_KEY_BYTES, "as software chooses");

/* ---- The command ----------------------------------------------------------------------------- */

static uint32_t write_command(struct virtio_net *nic)
{
    uint8_t *at = nic->dma.base + VIRTIO_NET_COMMAND_AT;
    uint16_t pairs = nic->netdev.queues;

    if ((nic->features & VIRTIO_NET_F_RSS) == 0) {
        struct virtio_net_pairs_command command = {VIRTIO_NET_CLASS_PAIRS, VIRTIO_NET_PAIRS_SET,
                                                   pairs};
        memcpy(at, &command, sizeof command);
        return sizeof command;
    }
    struct virtio_net_steer_command command = {
        .class = VIRTIO_NET_CLASS_PAIRS,
        .command = VIRTIO_NET_PAIRS_STEER,
        .hashes = VIRTIO_NET_HASHES,
        .table_mask = VIRTIO_NET_TABLE_ENTRIES - 1u,
        .tx_pairs = pairs,
        .key_bytes = VIRTIO_NET_KEY_BYTES,
    };
    for (uint32_t i = 0; i < VIRTIO_NET_TABLE_ENTRIES; i++) {
        command.table[i] = (uint16_t)toeplitz_queue(i, pairs);
    }
    memcpy(command.key, toeplitz_key, sizeof command.key);
    memcpy(at, &command, sizeof command);
    return sizeof command;
}

void virtio_net_send_command(struct virtio_net *nic)
{
    struct virtio_queue *control = &nic->control;
    uint64_t command = dma_device_address(&nic->dma, VIRTIO_NET_COMMAND_AT);
    uint64_t answer = dma_device_address(&nic->dma, ANSWER_AT);
    uint32_t bytes = write_command(nic);

    *(volatile uint8_t *)(nic->dma.base + ANSWER_AT) = ANSWER_NONE;
    if ((nic->features & VIRTIO_F_RING_PACKED) != 0) {
        struct virtio_packed_descriptor *ring = (void *)control->descriptors;
        ring[1] = (struct virtio_packed_descriptor){answer, 1, 0,
                                                    VIRTIO_DESCRIPTOR_WRITE | VIRTIO_PACKED_AVAIL};
        ring[0] = (struct virtio_packed_descriptor){command, bytes, 0, 0};
        __atomic_store_n(&ring[0].flags, (uint16_t)(VIRTIO_DESCRIPTOR_NEXT | VIRTIO_PACKED_AVAIL),
                         __ATOMIC_RELEASE);
        mmio_fence();
    } else {
        control->descriptors[0] =
            (struct virtio_descriptor){command, bytes, VIRTIO_DESCRIPTOR_NEXT, 1};
        control->descriptors[1] = (struct virtio_descriptor){answer, 1, VIRTIO_DESCRIPTOR_WRITE, 0};
        virtio_queue_add(control, 0);
        (void)virtio_queue_publish(control);
    }
    virtio_queue_notify(control);
}

status_t virtio_net_command_ended(const struct virtio_net *nic)
{
    const struct virtio_packed_descriptor *ring = (const void *)nic->control.descriptors;
    uint16_t both = VIRTIO_PACKED_AVAIL | VIRTIO_PACKED_USED;
    bool packed = (nic->features & VIRTIO_F_RING_PACKED) != 0;

    if (packed ? (__atomic_load_n(&ring[0].flags, __ATOMIC_ACQUIRE) & both) != both
               : !virtio_queue_any(&nic->control)) {
        return STATUS_AGAIN;
    }
    uint8_t answer = *(const volatile uint8_t *)(nic->dma.base + ANSWER_AT);
    return answer == VIRTIO_NET_ANSWER_OK ? STATUS_OK : STATUS_DEVICE_ERROR;
}

/* ---- A pair that is not the first ------------------------------------------------------------ */

static struct netdev_group *group_of(struct virtio_net *nic)
{
    return &nic->first->group;
}

static const struct netdev_ops operations;
static const struct netdev_ops operations_packed;

/* What the reset may have changed; the first pair wrote it before it let the group run. */
static void take_from_first(struct virtio_net *nic)
{
    const struct virtio_net *first = nic->first;
    uint32_t queue = VIRTIO_NET_QUEUES * nic->netdev.queue;

    nic->features = first->features;
    nic->frame_bytes_max = first->frame_bytes_max;
    nic->netdev.mtu_bytes = first->netdev.mtu_bytes;
    nic->netdev.offloads = first->netdev.offloads;
    nic->netdev.receives_sums = first->netdev.receives_sums;
    nic->netdev.ops =
        (nic->features & VIRTIO_F_RING_PACKED) != 0 ? &operations_packed : &operations;
    nic->rx = first->queues[queue + VIRTIO_NET_RX];
    nic->tx = first->queues[queue + VIRTIO_NET_TX];
}

static time_ns_t tick(struct netdev *dev, time_ns_t now_ns)
{
    struct virtio_net *nic = (struct virtio_net *)dev;
    struct netdev_group *group = group_of(nic);
    uint32_t pair = dev->queue;

    if (nic->state == VIRTIO_NET_STOPPING || nic->state == VIRTIO_NET_STOPPED) {
        return DEADLINE_NEVER;
    }
    if (nic->state != VIRTIO_NET_PARKED && group_must_park(group)) {
        nic->state = VIRTIO_NET_PARKED;
        nic->link = false;
        dev->counters.resets++;
        group_park(group, pair);
    }
    if (nic->state == VIRTIO_NET_PARKED) {
        if (!group_try_run(group, pair)) {
            return now_ns + PARKED_POLL_NS;
        }
        virtio_net_reclaim(nic);
        take_from_first(nic);
        virtio_net_setup_slots(nic);
        virtio_net_run(nic, now_ns);
    }
    if (nic->state == VIRTIO_NET_RUNNING && (nic->features & VIRTIO_F_RING_PACKED) == 0) {
        (void)virtio_net_reap(nic); /* what has ended is not outstanding */
    }
    nic->link = nic->state == VIRTIO_NET_RUNNING && group_link(group);
    if (nic->state == VIRTIO_NET_BROKEN ||
        restart_stuck(&nic->restart, nic->reaped, nic->link && nic->tx_free_count < nic->tx_slots,
                      now_ns)) {
        group_ask_reset(group, pair);
    }
    return now_ns + (nic->link ? WATCH_NS : PARKED_POLL_NS);
}

static bool link_up(struct netdev *dev)
{
    return ((struct virtio_net *)dev)->link;
}

/* Whether both queues are reset; asks for it. The registers are ours just now. */
static bool queues_are_reset(const struct virtio_net *nic)
{
    bool both = true;

    for (uint32_t i = 0; i < VIRTIO_NET_QUEUES; i++) {
        virtio_net_write16(nic, VIRTIO_COMMON_QUEUE_SELECT,
                           (uint16_t)(VIRTIO_NET_QUEUES * nic->netdev.queue + i));
        if (virtio_net_read16(nic, VIRTIO_COMMON_QUEUE_ENABLE) == 0) {
            continue;
        }
        if (virtio_net_read16(nic, VIRTIO_COMMON_QUEUE_RESET) == 0) {
            virtio_net_write16(nic, VIRTIO_COMMON_QUEUE_RESET, 1);
        }
        both = both && virtio_net_read16(nic, VIRTIO_COMMON_QUEUE_RESET) == 0 &&
               virtio_net_read16(nic, VIRTIO_COMMON_QUEUE_ENABLE) == 0;
    }
    return both;
}

static status_t stop(struct netdev *dev)
{
    struct virtio_net *nic = (struct virtio_net *)dev;
    struct netdev_group *group = group_of(nic);

    if (nic->state == VIRTIO_NET_STOPPED) {
        return STATUS_OK;
    }
    if (nic->state == VIRTIO_NET_PARKED && !group_try_run(group, dev->queue)) {
        return STATUS_AGAIN; /* the buffers are the device's until it has been reset */
    }
    nic->state = VIRTIO_NET_STOPPING;
    nic->link = false;
    if (!group_take(group)) {
        return STATUS_AGAIN;
    }
    bool reset = queues_are_reset(nic);
    group_give(group);
    if (!reset) {
        return STATUS_AGAIN;
    }
    virtio_net_reclaim(nic);
    group_leave(group, dev->queue);
    nic->state = VIRTIO_NET_STOPPED;
    return STATUS_OK;
}

static const struct netdev_ops operations = {
    .receive = virtio_net_receive,
    .transmit = virtio_net_transmit,
    .transmit_large = virtio_net_transmit_large,
    .arm = virtio_net_arm,
    .disarm = virtio_net_disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
};

static const struct netdev_ops operations_packed = {
    .receive = virtio_net_packed_receive,
    .transmit = virtio_net_packed_transmit,
    .transmit_large = virtio_net_packed_transmit,
    .arm = virtio_net_packed_arm,
    .disarm = virtio_net_packed_disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
};

status_t virtio_net_attach_queue(struct netdev *dev, const struct netdev_queue_request *request,
                                 struct netdev **out)
{
    struct virtio_net *first = (struct virtio_net *)dev;
    struct virtio_net *nic = request->state;

    if (request->number == 0 || request->number >= dev->queues ||
        (first->group.joined >> request->number & 1u) != 0 ||
        request->pool->buffer_bytes < NETDEV_BUFFER_BYTES_MIN ||
        request->pool->device_address == NULL) {
        return STATUS_INVALID_ARGUMENT;
    }
    memset(nic, 0, sizeof *nic);
    memset(nic->rx_buffer, 0xff, sizeof nic->rx_buffer);
    memset(nic->tx_buffer, 0xff, sizeof nic->tx_buffer);
    nic->netdev = first->netdev;
    nic->netdev.counters = (struct netdev_counters){0};
    nic->netdev.pool = request->pool;
    nic->netdev.queue = (uint16_t)request->number;
    nic->device = first->device;
    nic->dma = dma_part(&first->dma, request->number * NETDEV_DMA_BYTES, NETDEV_DMA_BYTES);
    nic->common = first->common;
    nic->first = first;
    restart_init(&nic->restart);
    take_from_first(nic);
    nic->state = VIRTIO_NET_PARKED; /* its first tick lets it run */
    group_join(&first->group, request->number);
    *out = &nic->netdev;
    return STATUS_OK;
}
