// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Writing superblocks: one at a time, each a whole new copy. Plain drives alternate between two
 * places; zoned drives append to one of two zones and move on to the other, after a reset, when it
 * is full. So the newest complete copy is never overwritten.
 */
#include "lib/base/bytes.h"
#include "lib/loglet/loglet_internal.h"

void super_want(struct loglet_device *device)
{
    device->super_wanted = true;
}

static void fill_super(struct loglet_device *device)
{
    struct super *super = &device->super;

    super->sequence++;
    super->uses_least = UINT32_MAX;
    for (uint32_t i = 0; i < super->extent_count; i++) {
        uint32_t uses = device->extents[i].uses;
        if (device->extents[i].state != EXTENT_DEAD && uses < super->uses_least) {
            super->uses_least = uses;
        }
    }
    super->flags = (device->zoned ? SUPER_ZONED : 0u) | (device->super_clean ? SUPER_CLEAN : 0u);
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        struct loglet *log = &device->logs[i];
        if (log->info.id != 0) {
            log->info.tail = log->tail;
            log->info.stable = log->stable;
            log->info.stable_sequence = log->stable_sequence;
            log->since_checkpoint = 0;
        }
        super->logs[i] = log->deleting ? (struct super_log){0} : log->info;
        if (log->resize_extents != 0 && !log->deleting) {
            super->logs[i].quota_extents = log->resize_extents;
        }
        device->super_tails[i] = log->tail;
        device->super_quotas[i] = super->logs[i].quota_extents;
        device->super_ids[i] = super->logs[i].id;
    }
    super_encode(super, device->super_buffer);
}

void super_send(struct loglet_device *device, time_ns_t now_ns)
{
    uint32_t blocks = SUPER_BYTES >> device->block->block_shift;
    struct block_request request = {.cookie = COOKIE(COOKIE_SUPER, 0),
                                    .blocks = blocks,
                                    .operation = BLOCK_WRITE,
                                    .flags = BLOCK_FUA,
                                    .data = device->super_buffer};

    if (!device->super_wanted || device->super_flying) {
        return;
    }
    if (device->zoned) {
        request.operation = BLOCK_ZONE_APPEND;
        if (device->super_zone_blocks + blocks > device->super_zone_capacity) {
            request.operation = BLOCK_ZONE_RESET;
            request.cookie = COOKIE(COOKIE_SUPER, 1);
            request.block = (device->super_zone ^ 1u) * device->block->zone_blocks;
            request.flags = 0;
            device->super_flying = device_request(device, &request, now_ns);
            return;
        }
        request.block = device->super_zone * device->block->zone_blocks;
    }
    fill_super(device);
    if (!device->zoned) {
        request.block =
            (device->super.sequence & 1u) * (SUPER_COPY_DISTANCE >> device->block->block_shift);
    }
    if (!device_request(device, &request, now_ns)) {
        device->super.sequence--;
        return;
    }
    device->super_flying = true;
    device->super_wanted = false;
}

/* The log is gone from the drive: what it had is free, and its place. */
static void forget_log(struct loglet_device *device, struct loglet *log)
{
    for (uint32_t i = 0; i < device->super.extent_count; i++) {
        if (device->extents[i].state == EXTENT_USED && device->extents[i].log == log->index) {
            extent_release(device, i);
        }
    }
    device->promised_extents -= log_promised(log);
    memset(log, 0, sizeof *log);
    log->device = device;
    log->index = (uint32_t)(log - device->logs);
    log->state = STATUS_CANCELLED;
}

/* What the copy now on the drive allows: extents before the tails are free, new logs exist. */
static void apply(struct loglet_device *device)
{
    for (uint32_t i = 0; i < device->super.extent_count; i++) {
        struct extent *extent = &device->extents[i];
        if (extent->state != EXTENT_USED) {
            continue;
        }
        struct loglet *log = &device->logs[extent->log];
        if (device->super_ids[extent->log] == log->info.id &&
            extent->sequence < position_extent(device, device->super_tails[extent->log])) {
            extent_release(device, i);
            log->used_extents--;
            log->counters.extents_freed++;
        }
    }
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        struct loglet *log = &device->logs[i];
        if (log->info.id == 0) {
            continue;
        }
        if (log->deleting && device->super_ids[i] == 0) {
            forget_log(device, log);
            continue;
        }
        if (device->super_ids[i] == log->info.id) {
            log_resized(log, device->super_quotas[i]);
        }
        log->counters.superblocks++;
        if (log->state == STATUS_AGAIN && device->super_ids[i] == log->info.id) {
            log->state = STATUS_OK;
        }
    }
}

void super_done(struct loglet_device *device, const struct block_completion *completion)
{
    bool was_reset = COOKIE_VALUE(completion->cookie) == 1;

    device->super_flying = false;
    if (completion->status != STATUS_OK) {
        if (++device->super_tries >= WRITE_TRIES) {
            device_fail(device, completion->status == STATUS_DEVICE_TIMEOUT ? STATUS_DEVICE_TIMEOUT
                                                                            : STATUS_DEVICE_ERROR);
            return;
        }
        device->super_wanted = true;
        device->super.sequence -= !was_reset; /* so that the next try goes to the same place */
        return;
    }
    device->super_tries = 0;
    device->super_bytes += was_reset ? 0 : SUPER_BYTES;
    if (was_reset) {
        device->super_zone ^= 1u;
        device->super_zone_blocks = 0;
        return;
    }
    device->super_zone_blocks += device->zoned ? SUPER_BYTES >> device->block->block_shift : 0;
    if (device->super_copies_left > 1u) {
        device->super_copies_left--;
        device->super_wanted = true;
        return;
    }
    device->super_copies_left = 0;
    apply(device);
    if (device->phase == PHASE_PUBLISH && !device->super_wanted) {
        device->phase = PHASE_OPEN;
        device->status = STATUS_OK;
    } else if (device->phase == PHASE_CLOSE && !device->super_wanted) {
        device->phase = PHASE_CLOSED;
        device->status = STATUS_CLOSED;
    }
}
