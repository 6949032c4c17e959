// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One split virtqueue (virtio 1.2 §2.7) seen by its driver: publishing, consuming, and when to ring
 * or be rung. Which descriptor belongs to what is the owner's business.
 *
 * A queue of up to VIRTIO_QUEUE_SIZE_MAX entries takes two pages: descriptors in the first, the
 * available ring and, at VIRTIO_QUEUE_USED_OFFSET, the used ring in the second, so that no part
 * crosses a page.
 *
 * Thread rule: one owner. What the device writes (the used ring) is read once: an index that ran
 * too far is reported here, entries are the owner's to read and check.
 */
#ifndef DRIVERS_NET_VIRTIO_VIRTIO_QUEUE_H
#define DRIVERS_NET_VIRTIO_VIRTIO_QUEUE_H

#include "drivers/mmio.h"
#include "drivers/net/virtio/virtio_regs.h"

#define VIRTIO_QUEUE_SIZE_MAX 256u
#define VIRTIO_QUEUE_USED_OFFSET 1024u
#define VIRTIO_QUEUE_DMA_BYTES (2u * PAGE_BYTES)
#define VIRTIO_QUEUE_BROKEN 0xffffffffu

struct virtio_queue {
    struct virtio_descriptor *descriptors; /* [const] */
    struct virtio_avail *avail;            /* [const] */
    struct virtio_used *used;              /* [const] what it points to is [dma] */
    volatile uint8_t *notify;              /* [const] */
    uint16_t number;                       /* [const] */
    uint16_t size;                         /* [const] power of two */
    uint16_t mask;                         /* [const] size - 1 */
    bool event_index;                      /* [const] VIRTIO_F_EVENT_IDX */
    uint16_t avail_index;                  /* next entry to fill */
    uint16_t avail_published;              /* what the device was told */
    uint16_t used_index;                   /* next entry to consume */
};

_Static_assert(4 + 2 * VIRTIO_QUEUE_SIZE_MAX + 2 <= VIRTIO_QUEUE_USED_OFFSET, "avail fits");
_Static_assert(VIRTIO_QUEUE_USED_OFFSET + 4 + 8 * VIRTIO_QUEUE_SIZE_MAX + 2 <= PAGE_BYTES,
               "used fits");

/* Entries the device has finished, or VIRTIO_QUEUE_BROKEN if its index cannot be. */
static inline uint32_t virtio_queue_pending(const struct virtio_queue *queue)
{
    uint16_t index = __atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE);
    uint16_t pending = (uint16_t)(index - queue->used_index);
    return pending <= queue->size ? pending : VIRTIO_QUEUE_BROKEN;
}

/* Whether virtio_queue_pending would say anything else than 0. */
static inline bool virtio_queue_any(const struct virtio_queue *queue)
{
    return __atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE) != queue->used_index;
}

/* An entry of the used ring, read once: id in the lower half, length in the upper. */
static inline uint64_t virtio_used_load(const struct virtio_used_element *element)
{
    typedef uint64_t __attribute__((may_alias, aligned(4))) both_t;
    return *(const volatile both_t *)(const void *)element;
}

/* Makes the chain that starts at `descriptor` available once published. */
static inline void virtio_queue_add(struct virtio_queue *queue, uint16_t descriptor)
{
    queue->avail->ring[queue->avail_index & queue->mask] = descriptor;
    queue->avail_index++;
}

/* Shows the device what was added; returns whether it wants to be notified of it (§2.7.10). */
static inline bool virtio_queue_publish(struct virtio_queue *queue)
{
    uint16_t old = queue->avail_published;
    uint16_t new = queue->avail_index;

    queue->avail_published = new;
    __atomic_store_n(&queue->avail->index, new, __ATOMIC_RELEASE);
    mmio_fence(); /* the index must be visible before the device's wish is read */
    if (queue->event_index) {
        const uint16_t *event = (const uint16_t *)&queue->used->ring[queue->size];
        uint16_t wanted = __atomic_load_n(event, __ATOMIC_RELAXED);
        return (uint16_t)(new - wanted - 1) < (uint16_t)(new - old);
    }
    return (__atomic_load_n(&queue->used->flags, __ATOMIC_RELAXED) & VIRTIO_USED_NO_NOTIFY) == 0;
}

static inline void virtio_queue_notify(const struct virtio_queue *queue)
{
    mmio_write16(queue->notify, queue->number);
}

/* Asks for an interrupt at the next finished entry. Returns false if there is one already. */
static inline bool virtio_queue_arm(struct virtio_queue *queue)
{
    if (queue->event_index) {
        __atomic_store_n(&queue->avail->ring[queue->size], queue->used_index, __ATOMIC_RELAXED);
    } else {
        __atomic_store_n(&queue->avail->flags, (uint16_t)0, __ATOMIC_RELAXED);
    }
    mmio_fence(); /* the wish must be visible before the device's index is read */
    return __atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE) == queue->used_index;
}

/* No more interrupts wanted. With EVENT_IDX the wish has worn off by itself: the device interrupts
 * only when its index passes used_event. */
static inline void virtio_queue_disarm(struct virtio_queue *queue)
{
    if (!queue->event_index) {
        __atomic_store_n(&queue->avail->flags, (uint16_t)VIRTIO_AVAIL_NO_INTERRUPT,
                         __ATOMIC_RELAXED);
    }
}

#endif
