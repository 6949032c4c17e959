// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One packed virtqueue (virtio 1.2 §2.8) seen by its driver. Both sides write the one ring: the
 * driver makes a descriptor available at `avail_at`, the device overwrites descriptors from
 * `used_at` on with what it finished. Whose a descriptor is, its two flags say, against a wrap
 * counter that turns each time round.
 *
 * Thread rule: one owner. What the device writes is read once; ids and lengths are the owner's to
 * check, and how far to go: the device's descriptors never reach what the driver has not made
 * available, as long as the owner counts them.
 */
#ifndef DRIVERS_NET_VIRTIO_VIRTIO_PACKED_H
#define DRIVERS_NET_VIRTIO_VIRTIO_PACKED_H

#include "drivers/net/virtio/virtio_queue.h"

struct virtio_packed {
    struct virtio_packed_descriptor *ring; /* [const] */
    struct virtio_packed_event *ours;      /* [const] whether we want interrupts */
    struct virtio_packed_event *theirs;    /* [const] whether the device wants to be notified */
    uint16_t size;                         /* [const] power of two */
    uint16_t avail_at;
    uint16_t used_at;
    bool avail_wrap;
    bool used_wrap;
};

static inline void virtio_packed_init(struct virtio_packed *packed,
                                      const struct virtio_queue *queue)
{
    *packed = (struct virtio_packed){
        .ring = (void *)queue->descriptors,
        .ours = (void *)queue->avail,
        .theirs = (void *)queue->used,
        .size = queue->size,
        .avail_wrap = true,
        .used_wrap = true,
    };
    packed->ours->flags = VIRTIO_PACKED_EVENT_OFF;
}

/* The flags that make a descriptor available on this turn. */
static inline uint16_t virtio_packed_available(const struct virtio_packed *packed)
{
    return packed->avail_wrap ? VIRTIO_PACKED_AVAIL : VIRTIO_PACKED_USED;
}

static inline void virtio_packed_next_avail(struct virtio_packed *packed)
{
    if (++packed->avail_at == packed->size) {
        packed->avail_at = 0;
        packed->avail_wrap = !packed->avail_wrap;
    }
}

/* Behind `count` descriptors, 1..size, that the device has finished. */
static inline void virtio_packed_next_used(struct virtio_packed *packed, uint32_t count)
{
    uint32_t at = packed->used_at + count;

    if (at >= packed->size) {
        at -= packed->size;
        packed->used_wrap = !packed->used_wrap;
    }
    packed->used_at = (uint16_t)at;
}

/* Whether the device has finished the next one. */
static inline bool virtio_packed_pending(const struct virtio_packed *packed)
{
    uint16_t flags = __atomic_load_n(&packed->ring[packed->used_at].flags, __ATOMIC_ACQUIRE);
    bool available = (flags & VIRTIO_PACKED_AVAIL) != 0;
    bool used = (flags & VIRTIO_PACKED_USED) != 0;

    return available == used && used == packed->used_wrap;
}

/* After descriptors were made available: whether the device wants to be told. */
static inline bool virtio_packed_wants_notice(const struct virtio_packed *packed)
{
    mmio_fence(); /* the descriptors must be visible before the device's wish is read */
    return __atomic_load_n(&packed->theirs->flags, __ATOMIC_RELAXED) != VIRTIO_PACKED_EVENT_OFF;
}

/* Asks for an interrupt at the next finished one. False: there is one already. */
static inline bool virtio_packed_arm(struct virtio_packed *packed)
{
    __atomic_store_n(&packed->ours->flags, (uint16_t)VIRTIO_PACKED_EVENT_ON, __ATOMIC_RELAXED);
    mmio_fence(); /* the wish must be visible before the ring is looked at */
    return !virtio_packed_pending(packed);
}

static inline void virtio_packed_disarm(struct virtio_packed *packed)
{
    __atomic_store_n(&packed->ours->flags, (uint16_t)VIRTIO_PACKED_EVENT_OFF, __ATOMIC_RELAXED);
}

#endif
