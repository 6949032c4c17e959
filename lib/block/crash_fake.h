// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Tests only: a recorder that lies between its user and a drive, and a replayer that says what the
 * drive may hold if the power goes at any moment of the recording.
 *
 * What counts as possible at a moment (lib/block/block.h): every completed FUA write, and every
 * write that had completed before a completed flush was submitted, is there. Of each other write
 * that was begun, complete or not, any blocks may be there and any may not, on a zoned drive any
 * that leave no gap before the write pointer.
 */
#ifndef LIB_BLOCK_CRASH_FAKE_H
#define LIB_BLOCK_CRASH_FAKE_H

#include "lib/block/block.h"
#include "lib/block/media_fake.h"

enum crash_event_kind {
    CRASH_SUBMIT, /* of operation `index` */
    CRASH_COMPLETE,
    CRASH_MARK /* `index` is the user's number of what it knows now */
};

struct crash_event {
    uint32_t kind;
    uint32_t index;
};

struct crash_operation {
    uint64_t cookie;
    uint64_t block; /* a completed append: where it went */
    uint32_t blocks;
    uint8_t operation;
    uint8_t flags;
    bool completed;
    bool good;
    uint8_t *data; /* of writes; NULL: zeroes or none */
};

struct crash_recorder {
    struct block_device block; /* what the user is given */
    struct block_device *below;
    struct crash_operation *operations;
    uint32_t operation_count, operations_max;
    struct crash_event *events;
    uint32_t event_count, events_max;
};

void crash_recorder_init(struct crash_recorder *recorder, struct block_device *below);
void crash_recorder_free(struct crash_recorder *recorder);
/* The user knows something new, for example that a record is acknowledged. */
void crash_mark(struct crash_recorder *recorder, uint32_t number);

/* Walks through a recording that began with `media` all zero. */
struct crash_replayer {
    const struct crash_recorder *recorder;
    struct media_fake media; /* with all that completed before `at` */
    uint32_t at;             /* next event */
    uint32_t mark;           /* the last one passed, if any was */
    bool marked;
    uint32_t *begun; /* operations that have not completed */
    uint32_t begun_count;
    uint32_t *done; /* writes that have, in order */
    uint32_t done_count;
    uint32_t *saw; /* of each flush: done_count when it was submitted */
    uint32_t skip; /* an operation that the drive acknowledges and forgets; UINT32_MAX: none */
};

void crash_replayer_init(struct crash_replayer *replayer, const struct crash_recorder *recorder,
                         const struct media_fake *like);
void crash_replayer_free(struct crash_replayer *replayer);
/* Goes over one event; false at the end. */
bool crash_replayer_step(struct crash_replayer *replayer);
/* One of the possible contents if the power goes now, into `media` of the same shape. `random` is
 * the choice's seed, not 0. */
void crash_replayer_cut(const struct crash_replayer *replayer, struct media_fake *media,
                        uint64_t random);

#endif
