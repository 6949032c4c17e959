// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Host only: a virtio-net device (modern, split or packed queues) that works when it is told to, by
 * the rules or against them.
 */
#ifndef DRIVERS_NET_VIRTIO_VIRTIO_FAKE_H
#define DRIVERS_NET_VIRTIO_VIRTIO_FAKE_H

#include <hallows/cell.h>

#include "drivers/mmio_fake.h"
#include "drivers/net/virtio/virtio_regs.h"

#define VIRTIO_FAKE_PAIRS 4u
#define VIRTIO_FAKE_QUEUES (VIRTIO_NET_QUEUES * VIRTIO_FAKE_PAIRS + 1u)

struct virtio_fake_queue {
    uint16_t size;
    uint16_t vector;
    uint16_t enabled;
    uint64_t descriptors;
    uint64_t driver;
    uint64_t device;
    uint16_t avail_index; /* next to take */
    uint16_t used_index;  /* next to fill */
    bool avail_wrap;      /* packed: the driver's turn */
    bool used_wrap;
    uint16_t taken_count; /* packed: descriptors of the chain that was taken last */
    unsigned notified;
    unsigned interrupts;
    unsigned reset_left; /* reads of QUEUE_RESET until it is over */
};

struct virtio_fake {
    struct cell_device device; /* what the driver gets */
    /* Set after init, before the driver attaches. */
    uint64_t offered;
    uint8_t mac[6];
    uint16_t link;
    uint16_t mtu;
    uint16_t size_max;
    unsigned reset_reads; /* reads of status after a reset until it is 0 */
    bool refuse_features;
    bool refuse_vectors;
    uint32_t notify_offset_max; /* 0: as it should be */
    uint16_t pairs_max; /* 1 to VIRTIO_FAKE_PAIRS; what the configuration says: pairs_told */
    uint16_t pairs_told;
    uint8_t key_max;
    uint16_t table_max;
    uint32_t hashes;
    bool silent;                /* never answers a command */
    uint8_t answer;             /* to a command that is as it should be */
    unsigned queue_reset_reads; /* until a queue's reset is over */
    unsigned pair;              /* any time: where frames come that no hash has a place for */
    /* Any time: stands before each received frame, `buffers` as 1. */
    struct virtio_net_header receive_header;

    /* What the driver did. */
    uint64_t accepted;
    uint8_t status;
    unsigned resets;
    struct virtio_fake_queue queues[VIRTIO_FAKE_QUEUES];
    unsigned commands, commands_refused;
    uint16_t pairs_set; /* 0: no command has told */
    struct virtio_net_steer_command steer;
    uint8_t sent[1 << 16]; /* the last frame, behind its header */
    struct virtio_net_header sent_header;
    size_t sent_bytes;
    unsigned sent_count;
    unsigned faults; /* accesses to memory that is not there */

    uint8_t *config; /* 4 KiB configuration space */
    uint8_t *bar;
    uint32_t device_select, driver_select;
    uint16_t queue_select;
    unsigned reset_left;
    struct mmio_fake window;
};

void virtio_fake_init(struct virtio_fake *fake);
void virtio_fake_destroy(struct virtio_fake *fake);

/* The pair that a frame comes to. */
unsigned virtio_fake_steer(const struct virtio_fake *fake, const uint8_t *frame, size_t bytes);
/* Receives a frame from the wire at that pair; false: no buffer was lent. */
bool virtio_fake_deliver(struct virtio_fake *fake, const void *frame, size_t bytes);
/* Sends at most `max` of what the driver made available; returns how many. */
unsigned virtio_fake_send(struct virtio_fake *fake, unsigned max);
/* The same of another queue than VIRTIO_NET_TX. */
unsigned virtio_fake_send_queue(struct virtio_fake *fake, unsigned queue, unsigned max);
/* Does what the control queue asks. */
void virtio_fake_control(struct virtio_fake *fake);
/* Next available descriptor of a queue without finishing it; -1: none. */
int virtio_fake_take(struct virtio_fake *fake, unsigned queue);
/* Finishes anything, true or not. */
void virtio_fake_finish(struct virtio_fake *fake, unsigned queue, uint32_t id, uint32_t length);
/* Sets the used index to any value. */
void virtio_fake_set_used(struct virtio_fake *fake, unsigned queue, uint16_t index);

/* ---- Between the fake's files (virtio_packed_fake.c) ------------------------------------------
 */

/* Writes a frame behind its header. */
void virtio_fake_put(const struct virtio_fake *fake, uint8_t *to, const void *frame, size_t bytes);
void *virtio_fake_reach(struct virtio_fake *fake, uint64_t address, size_t bytes);
/* Takes the next chain into *first (index of its first descriptor); its id, -1: none. */
int virtio_fake_packed_take(struct virtio_fake *fake, unsigned queue, unsigned *first);
void virtio_fake_packed_finish(struct virtio_fake *fake, unsigned queue, uint32_t id,
                               uint32_t length);
bool virtio_fake_packed_deliver(struct virtio_fake *fake, unsigned queue, const void *frame,
                                size_t bytes);
unsigned virtio_fake_packed_send(struct virtio_fake *fake, unsigned queue, unsigned max);
bool virtio_fake_is_packed(const struct virtio_fake *fake);

#endif
