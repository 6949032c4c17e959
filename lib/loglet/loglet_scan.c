// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Recovery of the logs on a drive that is ours: which extents belong to which log, and where each
 * log ends.
 */
#include "lib/base/bytes.h"
#include "lib/loglet/loglet_internal.h"

/* ---- Extents ---- */

static struct loglet *log_of(struct loglet_device *device, const struct frame_header *header)
{
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        const struct super_log *info = &device->logs[i].info;
        if (info->id != 0 && info->id == header->log_id && info->salt == header->salt) {
            return &device->logs[i];
        }
    }
    return NULL;
}

/* An extent belongs to a log when its first frame does and lies not before the tail. */
static void take_header(struct loglet_device *device, uint32_t index, const uint8_t *bytes)
{
    struct extent *extent = &device->extents[index];
    struct frame_header header;

    if (!frame_decode(bytes, &header)) {
        return;
    }
    struct loglet *log = log_of(device, &header);
    uint64_t sequence = position_extent(device, header.position);
    if (header.position == position_of(device, sequence, 0)) {
        extent->uses = header.uses; /* whosever it was */
    }
    if (log == NULL || header.position != position_of(device, sequence, 0) ||
        sequence < position_extent(device, log->tail) || header.epoch > device->super.epoch ||
        header.stable > header.position || header.stable_sequence > header.sequence ||
        header.stable_sequence == 0) {
        return;
    }
    uint32_t twin = extent_find(device, log->index, sequence);
    if (twin != NONE) {
        if (device->extents[twin].epoch >= header.epoch) {
            return;
        }
        device->extents[twin].state = EXTENT_FREE;
    }
    extent->state = EXTENT_USED;
    extent->log = (uint8_t)log->index;
    extent->sequence = sequence;
    extent->first_sequence = header.sequence;
    extent->epoch = header.epoch;
    if (header.stable > log->stable ||
        (header.stable == log->stable && header.epoch > log->scan_epoch)) {
        log->stable = header.stable;
        log->stable_sequence = header.stable_sequence;
        log->scan_epoch = header.epoch;
    }
}

void device_advance_headers(struct loglet_device *device)
{
    uint32_t batch = 0;

    if (device_jobs_active(device) || !device_jobs_good(device)) {
        return;
    }
    for (uint32_t i = 0; i < device->step_batch; i++) {
        take_header(device, device->header_extents[i], device->read_buffer + (size_t)i * 4096u);
    }
    while (batch < HEADER_JOBS && device->step < device->super.extent_count) {
        uint32_t index = device->step++;
        const struct extent *extent = &device->extents[index];
        if (extent->state != EXTENT_DEAD && (!device->zoned || extent->written_blocks != 0)) {
            device->header_extents[batch] = index;
            device_read_into(device, batch, extent_block(device, index), device->block->block_bytes,
                             device->read_buffer + (size_t)batch * 4096u);
            batch++;
        }
    }
    device->step_batch = batch;
    if (batch == 0) {
        device_go(device, PHASE_SCAN);
    }
}

/* ---- Scan ---- */

/* Everything from the tail to what is known to be durable must be there. */
static bool extents_present(const struct loglet_device *device, const struct loglet *log)
{
    uint64_t first = position_extent(device, log->tail);
    uint64_t last = position_extent(device, log->stable);
    uint64_t end = position_offset(device, log->stable) != 0 ? last + 1u : last;

    if (end - first > device->super.extent_count) {
        return false;
    }
    for (uint64_t sequence = first; sequence < end; sequence++) {
        if (extent_find(device, log->index, sequence) == NONE) {
            return false;
        }
    }
    return true;
}

static void finish_zone(struct loglet_device *device, uint32_t extent, time_ns_t now_ns)
{
    struct block_request request = {.cookie = COOKIE(COOKIE_STEP, 0),
                                    .block = extent_block(device, extent),
                                    .operation = BLOCK_ZONE_FINISH};
    struct extent *zone = &device->extents[extent];
    device->wasted_bytes += extent_bytes(device) - blocks_bytes(device, zone->written_blocks);
    if (zone->active) {
        zone->active = false;
        (void)device_step_request(device, &request, now_ns); /* only gives a resource back */
    }
}

/* The log ends where the scan stopped. Whatever lies behind was never acknowledged. */
static void set_head(struct loglet_device *device, struct loglet *log, time_ns_t now_ns)
{
    const struct loglet_reader *scanner = &device->scanner;
    uint64_t sequence = position_extent(device, scanner->frame);
    uint64_t offset = scanner->frame - position_of(device, sequence, 0);

    log->stable = scanner->frame;
    log->stable_sequence = scanner->sequence;
    log->sequence = scanner->sequence;
    log->durable = scanner->frame;
    log->accepted = (struct log_mark){log->durable, log->stable, log->stable_sequence};
    log->extent_sequence = sequence;
    log->used_extents = 0;
    for (uint32_t i = 0; i < device->super.extent_count; i++) {
        struct extent *extent = &device->extents[i];
        if (extent->state != EXTENT_USED || extent->log != log->index) {
            continue;
        }
        if (extent->sequence > sequence || (extent->sequence == sequence && offset == 0)) {
            extent->state = EXTENT_FREE;
            extent->reset_needed = device->zoned;
            continue;
        }
        extent->reset_needed = false;
        log->used_extents++;
        if (extent->sequence != sequence) {
            continue;
        }
        log->extent = i;
        log->head_offset = offset;
        device->next_extent = i; /* go on behind it, so that all extents wear alike */
        if (extent->read_only) {
            log->head_offset = extent_bytes(device);
        } else if (device->zoned && blocks_bytes(device, extent->written_blocks) != offset) {
            log->head_offset = extent_bytes(device); /* garbage follows: go on in the next zone */
            finish_zone(device, i, now_ns);
        }
    }
}

void device_count_extents(struct loglet_device *device)
{
    device->free_extents = 0;
    device->dead_extents = 0;
    device->active_extents = 0;
    for (uint32_t i = 0; i < device->super.extent_count; i++) {
        struct extent *extent = &device->extents[i];
        if (extent->read_only && extent->state == EXTENT_FREE) {
            extent->state = EXTENT_DEAD; /* nothing of ours to read there */
        }
        /* One that shows no header is worn as little as any was. */
        extent->uses =
            extent->uses > device->super.uses_least ? extent->uses : device->super.uses_least;
        device->active_extents += extent->active;
        device->free_extents += device->extents[i].state == EXTENT_FREE;
        device->dead_extents += device->extents[i].state == EXTENT_DEAD;
    }
}

void device_advance_scan(struct loglet_device *device, time_ns_t now_ns)
{
    struct loglet_fragment unused;

    while (device->step < LOGLET_LOGS_MAX) {
        struct loglet *log = &device->logs[device->step];
        if (log->info.id == 0) {
            device->step++;
            continue;
        }
        if (!device->scan_started) {
            if (!extents_present(device, log)) {
                device_refuse(device, STATUS_CORRUPT, "a Hallows log with missing extents");
                return;
            }
            reader_begin(&device->scanner, log, log->stable, log->stable_sequence,
                         device->read_buffer);
            device->scanner.scanning = true;
            device->scanner.epoch = log->scan_epoch;
            device->scan_started = true;
        }
        status_t status = loglet_reader_next(&device->scanner, &unused);
        if (status == STATUS_AGAIN) {
            return;
        }
        if (status != STATUS_NOT_FOUND) {
            device_refuse(device, status, "a Hallows log that cannot be read");
            return;
        }
        set_head(device, log, now_ns);
        device->scan_started = false;
        device->step++;
    }
    if (device->step_outstanding == 0) {
        device_go(device, PHASE_FLUSH);
    }
}
