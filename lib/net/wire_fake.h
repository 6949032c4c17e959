// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A virtual wire with a netdev at each end, in virtual time: delay, loss, duplication, reordering
 * and corruption by chance, all from one seed. Host tests only.
 *
 * Invariants that it checks: a frame's bytes do not change while the device holds its buffer; every
 * frame lies inside its buffer; a transmitted buffer has a reference.
 */
#ifndef LIB_NET_WIRE_FAKE_H
#define LIB_NET_WIRE_FAKE_H

#include "lib/net/netdev.h"

#define WIRE_FRAMES 8192u
#define WIRE_FRAME_BYTES 1536u
#define WIRE_HELD 256u

struct wire;

struct wire_faults { /* chances in 1/65536 */
    uint32_t loss, duplicate, reorder, corrupt;
    time_ns_t delay_ns;         /* of every frame */
    time_ns_t reorder_delay_ns; /* more, for reordered frames */
};

/* What an end says of the checksums of TCP and UDP in the frames that it receives. */
enum wire_sums {
    WIRE_SUMS_NONE,
    WIRE_SUMS_CHECKED, /* of right ones, that they are */
    WIRE_SUMS_CLAIMED, /* of all, that they are right */
    WIRE_SUMS_OPEN,    /* of right ones, that they were left open; as if they had been */
};

struct wire_end {
    struct netdev dev; /* first */
    enum wire_sums sums;
    bool split; /* sets the data of received frames apart from their headers, often */
    struct wire *wire;
    unsigned index;
    bool link_up;
    uint32_t transmit_limit; /* frames that one transmit call takes at most */
    /* Sent frames whose buffers the device still holds, and copies of their bytes. */
    struct netframe held[WIRE_HELD];
    uint32_t held_copy[WIRE_HELD];
    uint32_t held_count;
    bool hold; /* give buffers back only with the next receive */
};

struct wire_slot {
    time_ns_t due;
    uint64_t order;
    uint32_t next_free;
    uint16_t length;
    uint8_t to;
    uint8_t data[WIRE_FRAME_BYTES];
};

struct wire {
    time_ns_t now; /* set by the test */
    uint64_t random;
    uint64_t order;
    struct wire_faults faults;
    struct wire_end end[2];
    /* Sees every frame before the faults; returns false to swallow it. May change the bytes. */
    bool (*tap)(void *user, unsigned from, uint8_t *data, uint32_t length);
    void *tap_user;
    uint32_t heap[2][WIRE_FRAMES]; /* slots on the way to each end, earliest first */
    uint32_t heap_count[2];
    uint32_t free_slot;
    struct wire_slot slots[WIRE_FRAMES];
};

/* `mac` ends in the index of each end. The pools come from the test. */
void wire_init(struct wire *wire, uint64_t seed, struct netbuf_pool *pool0,
               struct netbuf_pool *pool1);
/* Puts a frame on the way to end `to`, without faults. */
void wire_inject(struct wire *wire, unsigned to, const void *data, uint32_t length);
/* When the next frame arrives anywhere; DEADLINE_NEVER: none is on the way. */
time_ns_t wire_next(const struct wire *wire);
/* Drops everything on the way. */
void wire_clear(struct wire *wire);
uint64_t wire_random(struct wire *wire);

#endif
