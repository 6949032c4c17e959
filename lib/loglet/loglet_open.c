// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Opening and closing a drive: what it holds is looked at first, and nothing is written before it
 * is known to be ours, or empty, or to be formatted on request.
 */
#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "lib/loglet/loglet_internal.h"

#define EXTENT_BYTES_MIN (256u * 1024u)
#define EXTENT_BYTES_USUAL (1ull << 30) /* larger ones only where there would be too many */
#define EXTENTS_WANTED 256u
#define END_BYTES 65536u     /* looked at behind everything else: a backup GPT lies there */
#define SUPER_COPIES_READ 8u /* newest ones of a zone: the last may be torn */
#define SUPER_ZONE_AREA ((SUPER_COPIES_READ + 1u) * SUPER_BYTES)

void device_go(struct loglet_device *device, enum device_phase phase)
{
    device->phase = phase;
    device->step = 0;
    device->step_outstanding = 0;
    device->step_status = STATUS_OK;
}

void device_refuse(struct loglet_device *device, status_t why, const char *seen)
{
    format_text(device->seen_text, sizeof device->seen_text, "%s", seen);
    device->seen = device->seen_text;
    device_fail(device, why);
}

bool device_step_request(struct loglet_device *device, const struct block_request *request,
                         time_ns_t now_ns)
{
    if (!device_request(device, request, now_ns)) {
        return false;
    }
    device->step_outstanding++;
    return true;
}

void device_read_into(struct loglet_device *device, uint32_t slot, uint64_t block, uint64_t bytes,
                      uint8_t *to)
{
    job_start(device, &device->header_jobs[slot], block, bytes, to);
}

bool device_jobs_active(const struct loglet_device *device)
{
    for (uint32_t i = 0; i < HEADER_JOBS; i++) {
        if (device->header_jobs[i].active) {
            return true;
        }
    }
    return false;
}

/* Whether all reads since went well; fails the device if not. */
bool device_jobs_good(struct loglet_device *device)
{
    for (uint32_t i = 0; i < HEADER_JOBS; i++) {
        status_t status = device->header_jobs[i].status;
        if (status != STATUS_OK) {
            device_refuse(device, status, "blocks that cannot be read");
            return false;
        }
    }
    return true;
}

/* ---- Zones ---- */

static uint32_t zones_used(const struct loglet_device *device)
{
    uint32_t most = LOGLET_EXTENTS_MAX + 2u;
    return device->block->zone_count < most ? device->block->zone_count : most;
}

static void take_zone(struct loglet_device *device, uint32_t index, const struct block_zone *zone)
{
    if (index < 2u) {
        device->super_zone_written[index] = (uint32_t)zone->written_blocks;
        if (zone->state >= BLOCK_ZONE_DEAD) {
            device_refuse(device, STATUS_DEVICE_ERROR, "a worn-out zone in front");
        }
    } else {
        struct extent *extent = &device->extents[index - 2u];
        extent->written_blocks = (uint32_t)zone->written_blocks;
        extent->reach_blocks = extent->written_blocks;
        extent->reset_needed = zone->written_blocks != 0;
        extent->capacity = (uint32_t)zone->capacity;
        extent->full_state = zone->state == BLOCK_ZONE_FULL;
        extent->active = zone->state == BLOCK_ZONE_OPEN_STATE || zone->state == BLOCK_ZONE_CLOSED;
        extent->read_only = zone->state == BLOCK_ZONE_READ_ONLY;
        device->zones_written = device->zones_written || zone->written_blocks != 0;
        if (zone->state == BLOCK_ZONE_DEAD) {
            extent->state = EXTENT_DEAD;
            return;
        }
    }
    if (device->super_zone_capacity == 0 || zone->capacity < device->super_zone_capacity) {
        device->super_zone_capacity = (uint32_t)zone->capacity;
    }
}

static void advance_zones(struct loglet_device *device, time_ns_t now_ns)
{
    const struct block_zone *zones = (const struct block_zone *)(void *)device->read_buffer;

    if (device->step_outstanding != 0) {
        return;
    }
    if (device->step_status != STATUS_OK) {
        device_refuse(device, STATUS_DEVICE_ERROR, "a zone report that cannot be read");
        return;
    }
    if (device->step_asked) {
        device->step_asked = false;
        uint64_t got = device->step_result;
        for (uint64_t i = 0; i < got && device->step < zones_used(device); i++) {
            if (zones[i].block != (uint64_t)device->step * device->block->zone_blocks) {
                device_refuse(device, STATUS_DEVICE_ERROR, "an impossible zone report");
                return;
            }
            take_zone(device, device->step++, &zones[i]);
        }
        if (got == 0) {
            device_refuse(device, STATUS_DEVICE_ERROR, "an impossible zone report");
            return;
        }
    }
    if (device->step == zones_used(device)) {
        device_go(device, PHASE_SUPER);
        return;
    }
    uint32_t count = zones_used(device) - device->step;
    struct block_request request = {.cookie = COOKIE(COOKIE_STEP, 0),
                                    .block = (uint64_t)device->step * device->block->zone_blocks,
                                    .blocks = count < BLOCK_ZONE_REPORT_MAX ? count
                                                                            : BLOCK_ZONE_REPORT_MAX,
                                    .operation = BLOCK_ZONE_REPORT,
                                    .data = device->read_buffer};
    device->step_asked = device_step_request(device, &request, now_ns);
}

/* ---- Superblocks ---- */

/* Looks at every block of `bytes` read for the newest valid superblock; SUPER_BYTES more are there.
 */
static void look_for_super(struct loglet_device *device, const uint8_t *from, uint32_t bytes,
                           uint32_t stride)
{
    for (uint32_t at = 0; at < bytes; at += stride) {
        struct super *found = &device->super_candidate;
        switch (super_decode(from + at, found)) {
        case SUPER_VALID:
            if (!device->super_found || found->sequence > device->super.sequence) {
                device->super = *found;
                device->super_found = true;
            }
            break;
        case SUPER_MARKER:
            device->super_marker = true;
            break;
        case SUPER_DAMAGED:
            device->super_damaged = true;
            break;
        case SUPER_OTHER_VERSION:
            device->super_other_version = true;
            break;
        default:
            break;
        }
    }
}

static void make_geometry(struct loglet_device *device)
{
    struct super *super = &device->super;
    const struct block_device *block = device->block;
    uint32_t shift = block->block_shift;
    uint64_t extent = EXTENT_BYTES_MIN;
    uint64_t count;

    memset(super, 0, sizeof *super);
    super->device_id[0] = device->config.random[0];
    super->device_id[1] = device->config.random[1];
    super->device_blocks = block->block_count;
    super->block_bytes = block->block_bytes;
    super->next_log_id = 1;
    if (device->zoned) {
        extent = (uint64_t)device->super_zone_capacity << shift;
        super->data_block = 2u * block->zone_blocks;
        super->extent_distance = block->zone_blocks;
        count = zones_used(device) - 2u;
    } else {
        uint64_t space = block->block_count << shift;
        space = space > PLAIN_DATA_OFFSET ? space - PLAIN_DATA_OFFSET : 0;
        while ((extent < EXTENT_BYTES_USUAL && extent * 2u * EXTENTS_WANTED <= space) ||
               (extent < EXTENT_BYTES_MAX && space / extent > LOGLET_EXTENTS_MAX)) {
            extent *= 2u;
        }
        super->data_block = PLAIN_DATA_OFFSET >> shift;
        super->extent_distance = extent >> shift;
        count = space / extent;
    }
    super->extent_blocks = extent >> shift;
    super->extent_count = count < LOGLET_EXTENTS_MAX ? (uint32_t)count : LOGLET_EXTENTS_MAX;
    super->position_shift = 12;
    while (1ull << super->position_shift < extent) {
        super->position_shift++;
    }
}

static void format(struct loglet_device *device)
{
    if (device->zoned && (device->block->zone_count < 4u || device->super_zone_capacity == 0)) {
        device_refuse(device, STATUS_FULL, "too few zones");
        return;
    }
    make_geometry(device);
    if (device->super.extent_count < 2u || device->super.extent_blocks < 8u) {
        device_refuse(device, STATUS_FULL, "too small a drive");
        return;
    }
    device->formatted = true;
    device->super_copies_left = device->zoned ? 1u : 2u;
    device_go(device, PHASE_RESET);
}

static bool super_fits(const struct loglet_device *device)
{
    const struct super *super = &device->super;
    const struct block_device *block = device->block;

    return super->block_bytes == block->block_bytes && super->device_blocks <= block->block_count &&
           ((super->flags & SUPER_ZONED) != 0) == device->zoned &&
           (!device->zoned || (super->extent_distance == block->zone_blocks &&
                               super->data_block == 2u * block->zone_blocks &&
                               super->extent_count <= zones_used(device) - 2u &&
                               super->extent_blocks <= device->super_zone_capacity));
}

static void adopt(struct loglet_device *device)
{
    if (!super_fits(device)) {
        device_refuse(device, STATUS_CORRUPT,
                      "a Hallows log made for a drive of another size or kind");
        return;
    }
    format_text(device->seen_text, sizeof device->seen_text,
                device->super.version == FORMAT_VERSION
                    ? "a Hallows log"
                    : "a Hallows log of format %u, %u from now on",
                device->super.version, FORMAT_VERSION);
    device->seen = device->seen_text;
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        device->logs[i].info = device->super.logs[i];
        log_init(device, i);
        device->logs[i].scan_epoch = device->super.epoch;
        device->promised_extents +=
            device->logs[i].info.id != 0 ? device->logs[i].info.quota_extents : 0;
    }
    device_divide(device);
    if (device->zoned) {
        device->super_zone = device->super_zone_found;
        device->super_zone_blocks = device->super_zone_written[device->super_zone];
    }
    device_go(device, PHASE_HEADERS);
}

/* Nothing valid was found: what is it then? */
static void judge(struct loglet_device *device, const uint8_t *area)
{
    const char *seen = format_recognise(area, SUPER_AREA_BYTES);
    uint32_t torn = 1u + (SUPER_BYTES >> device->block->block_shift);

    if (device->super_marker &&
        (!device->zoned || (!device->zones_written && device->super_zone_written[0] <= torn &&
                            device->super_zone_written[1] == 0))) {
        format(device); /* one was begun here and cut off before anything was stored */
    } else if (device->super_other_version) {
        device_refuse(device, STATUS_WRONG_VERSION, "a Hallows log of another version");
    } else if (device->super_damaged) {
        device_refuse(device, STATUS_CORRUPT, "a Hallows log with damaged superblocks");
    } else if (seen != NULL) {
        device_refuse(device, STATUS_FOREIGN, seen);
    } else if (device->zones_written || device->super_zone_written[0] != 0 ||
               device->super_zone_written[1] != 0) {
        device_refuse(device, STATUS_FOREIGN, "zones with data, but no Hallows log");
    } else {
        device_go(device, PHASE_END);
    }
}

static void read_super_zone(struct loglet_device *device, uint32_t zone)
{
    uint32_t blocks = SUPER_COPIES_READ * (SUPER_BYTES >> device->block->block_shift);
    uint32_t written = device->super_zone_written[zone];
    uint32_t count = written < blocks ? written : blocks;

    memset(device->read_buffer + (size_t)zone * SUPER_ZONE_AREA, 0, SUPER_ZONE_AREA);
    if (count != 0) {
        device_read_into(device, zone, zone * device->block->zone_blocks + written - count,
                         (uint64_t)count << device->block->block_shift,
                         device->read_buffer + (size_t)zone * SUPER_ZONE_AREA);
    }
}

static void advance_super_zoned(struct loglet_device *device)
{
    uint32_t area = SUPER_COPIES_READ * SUPER_BYTES;

    for (uint32_t zone = 0; zone < 2u; zone++) {
        uint64_t written = (uint64_t)device->super_zone_written[zone] << device->block->block_shift;
        uint32_t bytes = written < area ? (uint32_t)written : area;
        uint64_t before = device->super_found ? device->super.sequence : 0;
        look_for_super(device, device->read_buffer + (size_t)zone * SUPER_ZONE_AREA, bytes,
                       device->block->block_bytes);
        if (device->super_found && device->super.sequence != before) {
            device->super_zone_found = zone;
        }
    }
}

static void advance_super(struct loglet_device *device)
{
    if (device_jobs_active(device)) {
        return;
    }
    if (!device_jobs_good(device)) {
        return;
    }
    if (device->format_wanted) {
        format(device);
        return;
    }
    switch (device->step++) {
    case 0: /* zoned: the newest copies of both zones */
        if (device->zoned) {
            read_super_zone(device, 0);
            read_super_zone(device, 1);
        }
        break;
    case 1:
        if (device->zoned) {
            advance_super_zoned(device);
            if (device->super_found) {
                adopt(device);
                return;
            }
        }
        device_read_into(device, 0, 0, SUPER_AREA_BYTES, device->read_buffer);
        break;
    default:
        look_for_super(device, device->read_buffer, SUPER_AREA_BYTES, SUPER_COPY_DISTANCE);
        if (device->zoned && device->super_zone_written[0] == 0 &&
            (device->super_found || device->super_damaged || device->super_marker)) {
            device_refuse(device, STATUS_FOREIGN,
                          "a Hallows log whose zone states the drive has lost (all zones empty)");
        } else if (device->super_found) {
            adopt(device);
        } else {
            judge(device, device->read_buffer);
        }
        break;
    }
}

static void advance_end(struct loglet_device *device)
{
    uint64_t bytes = END_BYTES;
    uint64_t last = device->block->block_count - (bytes >> device->block->block_shift);

    if (device_jobs_active(device) || !device_jobs_good(device)) {
        return;
    }
    if (device->step++ == 0) {
        device_read_into(device, 0, last, bytes, device->read_buffer);
        return;
    }
    const char *seen = format_recognise(device->read_buffer, END_BYTES);
    if (seen != NULL) {
        device_refuse(device, STATUS_FOREIGN, "data in the drive's last blocks (a backup GPT?)");
        return;
    }
    format(device);
}

/* Formatting: on a zoned drive both superblock zones are emptied; then the marker is written. */
static void advance_reset(struct loglet_device *device, time_ns_t now_ns)
{
    struct block_request request = {.cookie = COOKIE(COOKIE_STEP, 0)};

    if (device->step_outstanding != 0) {
        return;
    }
    if (device->step_status != STATUS_OK) {
        device_refuse(device, STATUS_DEVICE_ERROR, "a drive that cannot be written");
        return;
    }
    if (device->step == 3u) {
        device->super_zone_blocks = 1;
        device_go(device, PHASE_FLUSH);
        return;
    }
    if (device->step == 2u || !device->zoned) {
        memset(device->super_buffer, 0, SUPER_BYTES);
        super_encode_marker(device->super_buffer);
        request.operation = device->zoned ? BLOCK_ZONE_APPEND : BLOCK_WRITE;
        request.blocks = 1;
        request.flags = BLOCK_FUA;
        request.data = device->super_buffer;
    } else {
        request.operation = BLOCK_ZONE_RESET;
        request.block = device->step * device->block->zone_blocks;
    }
    if (device_step_request(device, &request, now_ns)) {
        device->step = device->zoned ? device->step + 1u : 3u;
    }
}

/* What the scan read may have been in the drive's cache only: a later power loss must not take back
 * what is now believed. */
static void advance_flush(struct loglet_device *device, time_ns_t now_ns)
{
    if (device->step == 0) {
        struct block_request request = {.cookie = COOKIE(COOKIE_STEP, 0), .operation = BLOCK_FLUSH};
        device->step = device_step_request(device, &request, now_ns);
        return;
    }
    if (device->step_outstanding != 0) {
        return;
    }
    if (device->step_status != STATUS_OK) {
        device_refuse(device, STATUS_DEVICE_ERROR, "a drive that cannot flush");
        return;
    }
    device_count_extents(device);
    device->super.epoch++;
    super_want(device);
    device_go(device, PHASE_PUBLISH);
}

/* ---- Closing ---- */

static void advance_drain(struct loglet_device *device)
{
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        struct loglet *log = &device->logs[i];
        if (log->info.id == 0 || log->state != STATUS_CLOSED) {
            continue;
        }
        log_want_flush(log);
        if (log->first_frame != NONE || log->flush_needed) {
            return;
        }
    }
    if (device->outstanding != 0 || device->super_wanted || device->super_flying) {
        return;
    }
    device->super_clean = true;
    super_want(device);
    device_go(device, PHASE_CLOSE);
}

void device_advance(struct loglet_device *device, time_ns_t now_ns)
{
    enum device_phase before;

    do {
        before = device->phase;
        switch (device->phase) {
        case PHASE_ZONES:
            advance_zones(device, now_ns);
            break;
        case PHASE_SUPER:
            advance_super(device);
            break;
        case PHASE_END:
            advance_end(device);
            break;
        case PHASE_RESET:
            advance_reset(device, now_ns);
            break;
        case PHASE_HEADERS:
            device_advance_headers(device);
            break;
        case PHASE_SCAN:
            device_advance_scan(device, now_ns);
            break;
        case PHASE_FLUSH:
            advance_flush(device, now_ns);
            break;
        case PHASE_DRAIN:
            advance_drain(device);
            break;
        default:
            break;
        }
    } while (device->phase != before);
}
