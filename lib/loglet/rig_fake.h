// SPDX-License-Identifier: MIT OR Apache-2.0
/* Tests only: a loglet device over a fake drive, run until something is done. */
#ifndef LIB_LOGLET_RIG_FAKE_H
#define LIB_LOGLET_RIG_FAKE_H

#include "lib/block/block_fake.h"
#include "lib/loglet/loglet.h"

struct rig {
    struct block_fake fake;
    struct block_device *drive; /* the fake's, or what lies before it */
    void *memory;
    uint8_t *buffers;
    uint64_t buffer_bytes;
    uint8_t *read_buffer;
    struct loglet_device *device;
    struct loglet *log;
    time_ns_t now_ns;
};

struct rig_shape {
    uint64_t drive_bytes;
    uint32_t block_bytes;
    uint32_t zone_bytes;     /* 0: plain */
    uint32_t capacity_bytes; /* of a zone */
    uint32_t record_bytes;   /* largest record that must fit the buffers */
};

void rig_init(struct rig *rig, const struct rig_shape *shape);
void rig_free(struct rig *rig);
/* One turn: the drive does up to `most` requests, then the device is polled. */
void rig_turn(struct rig *rig, uint32_t most);
/* Opens the device and waits; returns its state. */
status_t rig_open(struct rig *rig, uint32_t flags);
/* Opens the log and waits; returns its state. */
status_t rig_log(struct rig *rig, const char *name, uint64_t capacity_bytes);
/* Clean close; returns the device's state. */
status_t rig_close(struct rig *rig);
/* Appends and waits until durable. */
status_t rig_append(struct rig *rig, const void *data, size_t bytes, log_position_t *position);
/* The same by reference: `first`, then `count` pages at `pages`. */
status_t rig_append_pages(struct rig *rig, struct loglet_piece first, const void *pages,
                          uint32_t count, log_position_t *position);
/* Runs until nothing is outstanding or the power is off. */
void rig_settle(struct rig *rig);
/* Reads from `position` on, whole records to `take`; returns the reader's last status (NOT_FOUND at
 * the end). take returns false to stop early. */
status_t rig_read(struct rig *rig, log_position_t position,
                  bool (*take)(void *context, log_position_t position, const uint8_t *data,
                               uint32_t bytes),
                  void *context);

#endif
