// SPDX-License-Identifier: MIT OR Apache-2.0
/* The fake device's packed queues (virtio 1.2 §2.8). */
#include <string.h>

#include "drivers/net/virtio/virtio_fake.h"
#include "lib/net/netdev.h"

static struct virtio_packed_descriptor *ring_of(struct virtio_fake *fake,
                                                struct virtio_fake_queue *queue)
{
    return virtio_fake_reach(fake, queue->descriptors,
                             queue->size * sizeof(struct virtio_packed_descriptor));
}

static bool is_available(uint16_t flags, bool wrap)
{
    return ((flags & VIRTIO_PACKED_AVAIL) != 0) == wrap &&
           ((flags & VIRTIO_PACKED_USED) != 0) != wrap;
}

static void advance(const struct virtio_fake_queue *queue, uint16_t *at, bool *wrap, unsigned count)
{
    unsigned to = *at + count;

    if (to >= queue->size) {
        to -= queue->size;
        *wrap = !*wrap;
    }
    *at = (uint16_t)to;
}

int virtio_fake_packed_take(struct virtio_fake *fake, unsigned number, unsigned *first)
{
    struct virtio_fake_queue *queue = &fake->queues[number];

    if (!queue->enabled || (fake->status & VIRTIO_STATUS_DRIVER_OK) == 0) {
        return -1;
    }
    const struct virtio_packed_descriptor *ring = ring_of(fake, queue);
    if (ring == NULL || !is_available(ring[queue->avail_index].flags, queue->avail_wrap)) {
        return -1;
    }
    *first = queue->avail_index;
    unsigned count = 1;
    while (count < 1u + NETFRAMES_MAX &&
           (ring[(*first + count - 1u) % queue->size].flags & VIRTIO_DESCRIPTOR_NEXT) != 0) {
        count++;
    }
    queue->taken_count = (uint16_t)count;
    uint16_t id = ring[(*first + count - 1u) % queue->size].id;
    advance(queue, &queue->avail_index, &queue->avail_wrap, count);
    return id;
}

void virtio_fake_packed_finish(struct virtio_fake *fake, unsigned number, uint32_t id,
                               uint32_t length)
{
    struct virtio_fake_queue *queue = &fake->queues[number];
    struct virtio_packed_descriptor *ring = ring_of(fake, queue);
    const struct virtio_packed_event *event =
        virtio_fake_reach(fake, queue->driver, sizeof(struct virtio_packed_event));

    if (ring == NULL || event == NULL) {
        return;
    }
    struct virtio_packed_descriptor *to = &ring[queue->used_index];
    to->id = (uint16_t)id;
    to->length = length;
    to->flags = queue->used_wrap ? VIRTIO_PACKED_AVAIL | VIRTIO_PACKED_USED : 0;
    advance(queue, &queue->used_index, &queue->used_wrap,
            queue->taken_count != 0 ? queue->taken_count : 1u);
    queue->interrupts += event->flags == VIRTIO_PACKED_EVENT_ON;
}

bool virtio_fake_packed_deliver(struct virtio_fake *fake, unsigned number, const void *frame,
                                size_t bytes)
{
    struct virtio_fake_queue *queue = &fake->queues[number];
    unsigned first = 0;
    int id = virtio_fake_packed_take(fake, number, &first);

    if (id < 0) {
        return false;
    }
    const struct virtio_packed_descriptor *descriptor = &ring_of(fake, queue)[first];
    if ((descriptor->flags & VIRTIO_DESCRIPTOR_WRITE) == 0 ||
        descriptor->length < bytes + VIRTIO_NET_HEADER_BYTES) {
        fake->faults++;
        return false;
    }
    uint8_t *to = virtio_fake_reach(fake, descriptor->address, descriptor->length);
    if (to == NULL) {
        return false;
    }
    virtio_fake_put(fake, to, frame, bytes);
    virtio_fake_packed_finish(fake, number, (uint32_t)id,
                              (uint32_t)bytes + VIRTIO_NET_HEADER_BYTES);
    return true;
}

/* The chain of the packet that was taken, behind its header. */
static void gather(struct virtio_fake *fake, struct virtio_fake_queue *queue, unsigned first)
{
    const struct virtio_packed_descriptor *ring = ring_of(fake, queue);
    size_t count = 0;

    for (unsigned i = 0; i < queue->taken_count; i++) {
        const struct virtio_packed_descriptor *descriptor = &ring[(first + i) % queue->size];
        const void *from = virtio_fake_reach(fake, descriptor->address, descriptor->length);
        if (from == NULL || count + descriptor->length > sizeof fake->sent ||
            (descriptor->flags & VIRTIO_DESCRIPTOR_WRITE) != 0 ||
            (i == 0 && descriptor->length != VIRTIO_NET_HEADER_BYTES)) {
            fake->faults++;
            return;
        }
        if (i == 0) {
            memcpy(&fake->sent_header, from, sizeof fake->sent_header);
            continue;
        }
        memcpy(fake->sent + count, from, descriptor->length);
        count += descriptor->length;
    }
    fake->sent_bytes = count;
    fake->sent_count++;
}

unsigned virtio_fake_packed_send(struct virtio_fake *fake, unsigned number, unsigned max)
{
    unsigned count = 0;
    unsigned first = 0;

    for (; count < max; count++) {
        int id = virtio_fake_packed_take(fake, number, &first);
        if (id < 0) {
            break;
        }
        gather(fake, &fake->queues[number], first);
        virtio_fake_packed_finish(fake, number, (uint32_t)id, 0);
    }
    return count;
}
