// SPDX-License-Identifier: MIT OR Apache-2.0
/* The fake device's control queue and what it is told there (virtio 1.2 §5.1.6.5). */
#include "drivers/net/toeplitz_fake.h"
#include "drivers/net/virtio/virtio_fake.h"
#include "lib/base/endian.h"

#include <string.h>

/* Whether the device takes the command, which it then obeys. */
static bool obey(struct virtio_fake *fake, const uint8_t *at, uint32_t bytes)
{
    struct virtio_net_pairs_command pairs;
    struct virtio_net_steer_command steer;

    if (bytes == sizeof pairs && (fake->accepted & VIRTIO_NET_F_MQ) != 0) {
        memcpy(&pairs, at, sizeof pairs);
        if (pairs.class != 4 || pairs.command != 0 || pairs.pairs < 1 ||
            pairs.pairs > fake->pairs_max) {
            return false;
        }
        fake->pairs_set = pairs.pairs;
        return true;
    }
    if (bytes != sizeof steer || (fake->accepted & VIRTIO_NET_F_RSS) == 0) {
        return false;
    }
    memcpy(&steer, at, sizeof steer);
    bool good = steer.class == 4 && steer.command == 1 && (steer.hashes & ~fake->hashes) == 0 &&
                steer.table_mask == 127 && steer.unclassified < fake->pairs_max &&
                steer.tx_pairs >= 1 && steer.tx_pairs <= fake->pairs_max && steer.key_bytes == 40;
    for (unsigned i = 0; i < 128 && good; i++) {
        good = steer.table[i] < fake->pairs_max;
    }
    if (good) {
        fake->steer = steer;
        fake->pairs_set = steer.tx_pairs;
    }
    return good;
}

/* A chain of a command and one byte for the answer. */
static void run(struct virtio_fake *fake, unsigned number, uint64_t command, uint32_t bytes,
                uint64_t answer)
{
    const uint8_t *at = virtio_fake_reach(fake, command, bytes);
    uint8_t *to = virtio_fake_reach(fake, answer, 1);

    if (at == NULL || to == NULL) {
        return;
    }
    fake->commands++;
    if (obey(fake, at, bytes)) {
        *to = fake->answer;
    } else {
        fake->commands_refused++;
        *to = 1;
    }
    virtio_fake_finish(fake, number, 0, 1);
}

void virtio_fake_control(struct virtio_fake *fake)
{
    unsigned number = VIRTIO_NET_QUEUES * fake->pairs_max;
    struct virtio_fake_queue *queue = &fake->queues[number];
    unsigned first = 0;

    if (virtio_fake_is_packed(fake)) {
        if (virtio_fake_packed_take(fake, number, &first) < 0) {
            return;
        }
        const struct virtio_packed_descriptor *ring =
            virtio_fake_reach(fake, queue->descriptors, queue->size * sizeof *ring);
        if (queue->taken_count != 2 || (ring[first + 1u].flags & VIRTIO_DESCRIPTOR_WRITE) == 0) {
            fake->faults++;
            return;
        }
        run(fake, number, ring[first].address, ring[first].length, ring[first + 1u].address);
        return;
    }
    int id = virtio_fake_take(fake, number);
    const struct virtio_descriptor *table =
        virtio_fake_reach(fake, queue->descriptors, queue->size * sizeof *table);
    if (id < 0 || id >= queue->size || table == NULL) {
        return;
    }
    const struct virtio_descriptor *answer = &table[table[id].next % queue->size];
    if ((table[id].flags & VIRTIO_DESCRIPTOR_NEXT) == 0 ||
        (answer->flags & VIRTIO_DESCRIPTOR_WRITE) == 0 || answer->length != 1) {
        fake->faults++;
        return;
    }
    run(fake, number, table[id].address, table[id].length, answer->address);
}

unsigned virtio_fake_steer(const struct virtio_fake *fake, const uint8_t *frame, size_t bytes)
{
    uint8_t input[36];

    if (fake->pairs_set == 0) {
        return 0;
    }
    if ((fake->accepted & VIRTIO_NET_F_RSS) == 0) {
        return fake->pair % fake->pairs_set;
    }
    uint32_t type = bytes >= 58 ? load_be16(frame + 12) : 0;
    bool v6 = type == 0x86ddu;
    uint32_t protocol = v6 ? frame[20] : type == 0x0800u ? frame[23] : 0;
    uint32_t kind = (v6 ? 4u : 1u) + (protocol == 17u ? 1u : 0u);
    uint32_t ends = v6 ? 32u : 8u;
    if ((protocol != 6u && protocol != 17u) || (fake->steer.hashes >> kind & 1u) == 0) {
        return fake->steer.unclassified;
    }
    memcpy(input, frame + (v6 ? 22 : 26), ends);
    memcpy(input + ends, frame + (v6 ? 54 : 34), 4);
    return fake->steer.table[toeplitz_fake(fake->steer.key, input, ends + 4u) & 127u];
}
