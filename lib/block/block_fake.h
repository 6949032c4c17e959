// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Tests only: a block device over media_fake that executes outstanding requests when the test says
 * so, in any order, with errors, and loses power.
 */
#ifndef LIB_BLOCK_BLOCK_FAKE_H
#define LIB_BLOCK_BLOCK_FAKE_H

#include "lib/block/block.h"
#include "lib/block/media_fake.h"

#define BLOCK_FAKE_DEPTH 63u

struct block_fake {
    struct block_device block;
    struct media_fake media;
    struct block_request queue[BLOCK_FAKE_DEPTH];
    uint32_t queued;
    struct block_completion done[BLOCK_FAKE_DEPTH];
    uint32_t done_count;
    bool any_order;       /* execute in random order */
    uint32_t fail_next;   /* so many requests end with DEVICE_ERROR, unexecuted */
    uint32_t deny_next;   /* so many appends are executed and end with DEVICE_TIMEOUT */
    uint64_t writes_left; /* of writing requests before the power goes; UINT64_MAX: never */
    bool off;             /* power is off: nothing is executed or taken any more */
    uint64_t writes;
    uint64_t executed;
    uint8_t gathered[512u * 1024u]; /* the pieces of the request that is executed */
};

void block_fake_init(struct block_fake *fake, uint64_t block_count, uint32_t block_bytes,
                     uint32_t zone_blocks, uint32_t zone_capacity);
void block_fake_free(struct block_fake *fake);
/* Executes up to `most` outstanding requests. */
void block_fake_run(struct block_fake *fake, uint32_t most);
/* Power loss now: what is outstanding tears, what is not durable is kept or lost; then power is
 * back, with nothing outstanding. */
void block_fake_power_cycle(struct block_fake *fake);

#endif
