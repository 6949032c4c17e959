// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A log's capacity changes with the superblock that says so. Until it is on the drive both numbers
 * count: what is set aside for the log is the larger one, what the log may have the smaller. So
 * whichever of the two a loss of power leaves, no more is promised than there is.
 */
#include "lib/loglet/loglet_internal.h"

uint32_t log_promised(const struct loglet *log)
{
    uint32_t quota = log->info.quota_extents;

    return log->resize_extents > quota ? log->resize_extents : quota;
}

uint32_t log_quota(const struct loglet *log)
{
    uint32_t quota = log->info.quota_extents;

    return log->resize_extents != 0 && log->resize_extents < quota ? log->resize_extents : quota;
}

status_t loglet_resize(struct loglet *log, uint64_t capacity_bytes)
{
    struct loglet_device *device = log->device;
    uint64_t each = extent_bytes(device);
    uint64_t wanted = capacity_bytes / each + (capacity_bytes % each != 0);

    if (log->state != STATUS_OK) {
        return log->state;
    }
    if (wanted == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (wanted < log->used_extents) {
        return STATUS_IN_USE;
    }
    uint32_t alive = device->super.extent_count - device->dead_extents;
    uint32_t others = device->promised_extents - log_promised(log);
    uint32_t left = alive > others ? alive - others : 0;
    if (wanted > log_promised(log) && wanted > left) {
        return STATUS_FULL;
    }
    if (wanted == log->info.quota_extents && log->resize_extents == 0) {
        return STATUS_OK;
    }
    device->promised_extents = others;
    log->resize_extents = (uint32_t)wanted;
    device->promised_extents += log_promised(log);
    super_want(device);
    return STATUS_OK;
}

bool loglet_resizing(const struct loglet *log)
{
    return log->resize_extents != 0;
}

void log_resized(struct loglet *log, uint32_t extents)
{
    struct loglet_device *device = log->device;

    device->promised_extents -= log_promised(log);
    log->info.quota_extents = extents;
    if (log->resize_extents == extents) {
        log->resize_extents = 0;
    }
    device->promised_extents += log_promised(log);
}
