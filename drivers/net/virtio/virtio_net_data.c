// SPDX-License-Identifier: MIT OR Apache-2.0
/* The hot half of the driver: no device register is touched but the two doorbells. */
#include "drivers/net/virtio/virtio_net.h"

#include "lib/base/assert.h"

#define FRAME_BYTES_MIN 14u /* an Ethernet header */
#define unlikely(condition) __builtin_expect(!!(condition), 0)

static struct virtio_net *nic_of(struct netdev *dev)
{
    return (struct virtio_net *)dev;
}

/* The device broke the protocol: nothing it holds is believed until it has been reset. */
static void broken(struct virtio_net *nic)
{
    nic->state = VIRTIO_NET_BROKEN;
    nic->restart.at_ns = 0;
    nic->link = false;
}

/* Takes back what was sent. Returns false if the device is broken. */
static inline bool reap(struct virtio_net *nic)
{
    uint32_t pending = virtio_queue_pending(&nic->tx);
    if (pending == 0) {
        return true;
    }
    if (pending == VIRTIO_QUEUE_BROKEN) {
        nic->netdev.counters.tx_errors++;
        broken(nic);
        return false;
    }
    /* Locals: stores into the pool and the queue must not make the compiler load these again. */
    struct netbuf_pool *pool = nic->netdev.pool;
    const struct virtio_used_element *ring = nic->tx.used->ring;
    uint32_t mask = nic->tx.mask;
    uint32_t index = nic->tx.used_index;
    uint32_t free_count = nic->tx_free_count;
    uint32_t slots = nic->tx_slots;
    uint32_t buffers_free = pool->free_count;
    uint16_t *references = pool->references;
    bool good = true;
    for (uint32_t end = index + pending; index != end; index++) {
        uint32_t id = __atomic_load_n(&ring[index & mask].id, __ATOMIC_RELAXED);
        uint32_t slot = id >> 1 | id << 31; /* an odd one is too large */
        if (slot >= slots) {
            good = false;
            break;
        }
        uint32_t buffer = nic->tx_buffer[slot];
        if ((int32_t)buffer < 0) { /* nothing, or one of several */
            pool->free_count = buffers_free;
            nic->tx_free_count = (uint16_t)free_count;
            good = virtio_net_release(nic, slot);
            free_count = nic->tx_free_count;
            buffers_free = pool->free_count;
            if (!good) {
                break;
            }
            continue;
        }
        nic->tx_buffer[slot] = NETBUF_NONE;
        nic->tx_free[free_count++] = (uint16_t)slot;
        if (--references[buffer] == 0) {
            pool->free_stack[buffers_free++] = buffer;
        }
    }
    pool->free_count = buffers_free;
    nic->tx.used_index = (uint16_t)index;
    nic->tx_free_count = (uint16_t)free_count;
    if (!good) {
        nic->netdev.counters.tx_errors++;
        broken(nic);
        return false;
    }
    nic->reaped += pending;
    nic->tx_refused = false;
    return true;
}

/* Taking back many at once is cheaper than each by itself, as long as nobody needs them. */
static inline bool tx_has_a_lot(const struct virtio_net *nic)
{
    return nic->tx_free_count + VIRTIO_NET_LOT <= nic->tx_slots && virtio_queue_any(&nic->tx);
}

bool virtio_net_reap(struct virtio_net *nic)
{
    return reap(nic);
}

static inline void lend(struct virtio_net *nic, uint16_t slot, uint32_t buffer)
{
    nic->rx_buffer[slot] = buffer;
    nic->rx.descriptors[slot].address = netbuf_device_address(nic->netdev.pool, buffer) +
                                        VIRTIO_NET_RX_OFFSET - VIRTIO_NET_HEADER_BYTES;
    virtio_queue_add(&nic->rx, slot);
}

static void publish_rx(struct virtio_net *nic)
{
    if (virtio_queue_publish(&nic->rx)) {
        virtio_queue_notify(&nic->rx);
        nic->netdev.counters.doorbells++;
    }
}

void virtio_net_refill(struct virtio_net *nic)
{
    bool added = false;

    while (nic->rx_lent < nic->rx_limit) {
        uint32_t buffer = netbuf_take(nic->netdev.pool);
        if (buffer == NETBUF_NONE) {
            break;
        }
        lend(nic, nic->rx_empty[--nic->rx_empty_count], buffer);
        nic->rx_lent++;
        added = true;
    }
    if (added) {
        publish_rx(nic);
    }
}

/* The slot has no frame for the caller: it gets no new buffer, or none is free. */
static void leave_empty(struct virtio_net *nic, uint32_t slot)
{
    nic->rx_buffer[slot] = NETBUF_NONE;
    nic->rx_empty[nic->rx_empty_count++] = (uint16_t)slot;
    nic->rx_lent--;
}

/* The next finished slot, if it is unusual: a frame that is too short, or no buffer is free.
 * Returns the frames that it gave: 0 or 1. *good is false if the device broke the protocol. */
static __attribute__((noinline)) uint32_t receive_unusual(struct virtio_net *nic,
                                                          struct netframe *frame, bool *good)
{
    struct netbuf_pool *pool = nic->netdev.pool;
    uint64_t element = virtio_used_load(&nic->rx.used->ring[nic->rx.used_index & nic->rx.mask]);
    uint32_t slot = (uint32_t)element;
    uint32_t length = (uint32_t)(element >> 32) - VIRTIO_NET_HEADER_BYTES;
    /* A length below the header's wraps and is too long. */
    if (slot > nic->rx.mask || nic->rx_buffer[slot] == NETBUF_NONE ||
        length > nic->frame_bytes_max) {
        *good = false;
        return 0;
    }
    uint32_t buffer = nic->rx_buffer[slot];
    nic->rx.used_index++;
    leave_empty(nic, slot); /* virtio_net_refill lends it one as soon as there is one */
    if (length < FRAME_BYTES_MIN) {
        nic->netdev.counters.rx_errors++;
        netbuf_drop(pool, buffer);
        return 0;
    }
    *frame = (struct netframe){buffer, VIRTIO_NET_RX_OFFSET, (uint16_t)length};
    nic->netdev.counters.rx_bytes += length;
    return 1;
}

/* Takes up to `count` finished receive slots, as long as they are usual ones, and lends their
 * descriptors a new buffer each. Returns how many. */
static inline uint32_t receive_usual(struct virtio_net *nic, struct netframe *frames,
                                     uint32_t count)
{
    /* Locals: stores into the pool and the queue must not make the compiler load these again. */
    struct netbuf_pool *pool = nic->netdev.pool;
    uint8_t *queue = (uint8_t *)nic->rx.avail; /* virtio_queue.h says where the parts lie */
    const struct virtio_used *used = (void *)(queue + VIRTIO_QUEUE_USED_OFFSET);
    struct virtio_descriptor *descriptors = (void *)(queue - PAGE_BYTES);
    uint16_t *avail = ((struct virtio_avail *)(void *)queue)->ring;
    uint32_t mask = nic->rx.mask;
    uint32_t used_index = nic->rx.used_index;
    uint32_t ahead = nic->rx.avail_index - used_index;
    uint32_t spread = nic->frame_bytes_max - FRAME_BYTES_MIN;
    const uint64_t *addresses = pool->device_address;
    uint16_t *references = pool->references;
    const uint32_t *free = pool->free_stack + pool->free_count;
    uint64_t bytes = 0;
    struct netframe *frame = frames;
    struct netframe *end = frames + (count < pool->free_count ? count : pool->free_count);

    while (frame != end) {
        uint64_t element = virtio_used_load(&used->ring[used_index & mask]);
        uint32_t slot = (uint32_t)element;
        uint32_t length = (uint32_t)(element >> 32) - VIRTIO_NET_HEADER_BYTES;
        if (slot > mask || length - FRAME_BYTES_MIN > spread) {
            break;
        }
        uint32_t buffer = nic->rx_buffer[slot];
        if (buffer == NETBUF_NONE) {
            break;
        }
        uint32_t next = *--free;
        references[next] = 1;
        nic->rx_buffer[slot] = next;
        descriptors[slot].address =
            addresses[next] + VIRTIO_NET_RX_OFFSET - VIRTIO_NET_HEADER_BYTES;
        avail[(used_index + ahead) & mask] = (uint16_t)slot;
        *frame++ = (struct netframe){buffer, VIRTIO_NET_RX_OFFSET, (uint16_t)length};
        bytes += length;
        used_index++;
    }
    nic->netdev.counters.rx_bytes += bytes;
    pool->free_count = (uint32_t)(free - pool->free_stack);
    nic->rx.used_index = (uint16_t)used_index;
    nic->rx.avail_index = (uint16_t)(used_index + ahead);
    return (uint32_t)(frame - frames);
}

/* Takes `count` finished receive slots. Returns how many frames that gave; *good is false if the
 * device broke the protocol behind them. */
static inline uint32_t receive_slots(struct virtio_net *nic, struct netframe *frames,
                                     uint32_t count, bool *good)
{
    uint16_t end = (uint16_t)(nic->rx.used_index + count);
    uint32_t taken = receive_usual(nic, frames, count);

    while (unlikely(nic->rx.used_index != end && *good)) {
        taken += receive_unusual(nic, &frames[taken], good);
    }
    nic->netdev.counters.rx_frames += taken;
    return taken;
}

static __attribute__((noinline)) uint32_t receive_some(struct virtio_net *nic,
                                                       struct netframe *frames, uint32_t max)
{
    struct netdev *dev = &nic->netdev;
    if ((tx_has_a_lot(nic) || nic->rx_lent < nic->rx_limit) && !reap(nic)) {
        return 0;
    }
    uint32_t pending = virtio_queue_pending(&nic->rx);
    if (pending == 0) {
        if (nic->rx_lent < nic->rx_limit) {
            virtio_net_refill(nic);
        }
        return 0;
    }
    if (pending == VIRTIO_QUEUE_BROKEN) {
        dev->counters.rx_errors++;
        broken(nic);
        return 0;
    }

    bool good = true;
    uint32_t taken = receive_slots(nic, frames, pending < max ? pending : max, &good);
    if (dev->receives_sums) {
        virtio_net_mark_sums(nic, frames, taken);
    }
    if (!good) {
        dev->counters.rx_errors++;
        broken(nic);
        return taken; /* what came before was in order */
    }
    if ((uint16_t)(nic->rx.avail_index - nic->rx.avail_published) >= nic->rx_lot) {
        publish_rx(nic);
    }
    if (nic->rx_lent < nic->rx_limit) {
        virtio_net_refill(nic);
    }
    return taken;
}

/* Nearly all polls find nothing: that costs a few instructions. */
uint32_t virtio_net_receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct virtio_net *nic = nic_of(dev);
    if (nic->state != VIRTIO_NET_RUNNING ||
        (!virtio_queue_any(&nic->rx) && nic->rx_lent >= nic->rx_limit && !tx_has_a_lot(nic))) {
        return 0;
    }
    return receive_some(nic, frames, max);
}

uint32_t virtio_net_transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    struct virtio_net *nic = nic_of(dev);
    if (nic->state != VIRTIO_NET_RUNNING ||
        (nic->tx_free_count < count && virtio_queue_any(&nic->tx) && !reap(nic))) {
        return 0;
    }

    struct netbuf_pool *pool = dev->pool;
    uint8_t *queue = (uint8_t *)nic->tx.avail; /* virtio_queue.h says where the parts lie */
    struct virtio_descriptor *descriptors = (void *)(queue - PAGE_BYTES);
    uint16_t *avail = ((struct virtio_avail *)(void *)queue)->ring;
    const uint64_t *addresses = pool->device_address;
    uint32_t mask = nic->tx.mask;
    uint32_t avail_index = nic->tx.avail_index;
    uint32_t free_count = nic->tx_free_count;
    uint32_t taken = count < free_count ? count : free_count;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < taken; i++) {
        struct netframe frame = frames[i];
        ASSERT(frame.buffer < pool->buffer_count);
        ASSERT(frame.offset + frame.length <= pool->buffer_bytes);
        uint32_t slot = nic->tx_free[--free_count];
        /* The even descriptor is the constant header and links to this one. */
        descriptors[2u * slot + 1u].address = addresses[frame.buffer] + frame.offset;
        descriptors[2u * slot + 1u].length = frame.length;
        nic->tx_buffer[slot] = frame.buffer;
        avail[avail_index++ & mask] = (uint16_t)(2u * slot);
        bytes += frame.length;
    }
    nic->tx.avail_index = (uint16_t)avail_index;
    nic->tx_free_count = (uint16_t)free_count;
    if (taken < count) {
        nic->tx_refused = true;
    }
    if (taken == 0) {
        return 0;
    }
    dev->counters.tx_frames += taken;
    dev->counters.tx_bytes += bytes;
    if (virtio_queue_publish(&nic->tx)) {
        virtio_queue_notify(&nic->tx);
        dev->counters.doorbells++;
    }
    return taken;
}

/* Somebody waits for room or buffers. */
static bool is_short(const struct virtio_net *nic)
{
    return nic->tx_refused || nic->rx_lent < nic->rx_limit || nic->netdev.pool->free_count == 0;
}

/* Nothing is put off while the owner sleeps. False, there is work: who waits for room or buffers
 * has them now, or the device is broken. */
static bool settle(struct virtio_net *nic)
{
    bool was_short = is_short(nic);

    if (nic->rx.avail_index != nic->rx.avail_published) {
        publish_rx(nic);
    }
    return !virtio_queue_any(&nic->tx) || (reap(nic) && !was_short);
}

bool virtio_net_arm(struct netdev *dev)
{
    struct virtio_net *nic = nic_of(dev);
    if (nic->state != VIRTIO_NET_RUNNING) {
        return true; /* only tick can help */
    }
    if (!settle(nic)) {
        return false;
    }
    /* Then a sleeper must be woken by finished transmissions, too. */
    bool tx_wanted = nic->tx_free_count < nic->tx_slots && is_short(nic);
    if (!virtio_queue_arm(&nic->rx) || (tx_wanted && !virtio_queue_arm(&nic->tx))) {
        virtio_net_disarm(dev);
        return false;
    }
    return true;
}

void virtio_net_disarm(struct netdev *dev)
{
    struct virtio_net *nic = nic_of(dev);
    if (nic->state == VIRTIO_NET_RUNNING) {
        virtio_queue_disarm(&nic->rx);
        virtio_queue_disarm(&nic->tx);
    }
}
