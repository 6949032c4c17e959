// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Frames to the drive and back.
 *
 *   frame: FREE --start--> OPEN --close--> READY --log_send--> FLYING --completion--> DONE
 *            ^                               ^                   |                      |
 *            |                               +------ error ------+                      |
 *            +------------- retired when all older frames of the log are DONE ----------+
 *
 * A frame is one sequential write, or one append to the zone whose write pointer is known. After a
 * failed append the zone is asked first: READY again, or LANDED, and then only flushed.
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/loglet/loglet_internal.h"

/* Of requests for zones: whose sake it is for, and which. */
#define ZONE_COOKIE(whose, number) COOKIE(COOKIE_ZONE, (whose)->index << 16 | (number))
_Static_assert(LOGLET_EXTENTS_MAX <= 65536u, "an extent's number fits");

void loglet_commit(struct loglet *log, time_ns_t now_ns)
{
    log_close_frame(log);
    if (log->unsent != NONE) {
        log_send(log, now_ns);
        device_flush_requests(log->device, now_ns);
    }
}

/* Asks where the zone of the failed append stands now. */
static void send_probe(struct loglet *log, time_ns_t now_ns)
{
    struct loglet_device *device = log->device;
    struct block_request request = {.cookie = COOKIE(COOKIE_PROBE, log->unsent),
                                    .block =
                                        extent_block(device, device->frames[log->unsent].extent),
                                    .blocks = 1,
                                    .operation = BLOCK_ZONE_REPORT,
                                    .data = device->probe_buffer};

    if (!device->probing && log->flying == 0 && device_request(device, &request, now_ns)) {
        device->probing = true;
        log->probe_wanted = false;
        log->probing = true;
        log->flying++;
        device->flying++;
    }
}

/* The zone before this frame's, where the drive has more room in it than is used: left as it is it
 * would stay one of the active ones. NONE: there is nothing to do. */
static uint32_t zone_to_finish(const struct loglet *log, const struct frame *frame)
{
    const struct loglet_device *device = log->device;
    uint64_t sequence = position_extent(device, frame->position);
    uint32_t before = sequence > 1u ? extent_find(device, log->index, sequence - 1u) : NONE;

    return before != NONE && device->extents[before].active ? before : NONE;
}

/* A zone that holds an active one of the drive's though nothing in it is needed. */
static uint32_t zone_to_reset(const struct loglet_device *device)
{
    for (uint32_t i = 0; i < device->super.extent_count; i++) {
        if (device->extents[i].state == EXTENT_FREE && device->extents[i].active) {
            return i;
        }
    }
    return NONE;
}

/* Before a zone is begun: whether the drive has an active zone left for it. What is in the way is
 * sent; false: not yet. There is always one at last (loglet_open), so no log waits for ever. */
static bool zone_may_begin(struct loglet *log, const struct frame *frame,
                           struct block_request *request)
{
    struct loglet_device *device = log->device;
    uint32_t most = device->block->max_active_zones;
    uint32_t index = zone_to_finish(log, frame);

    request->operation = BLOCK_ZONE_FINISH;
    if (index == NONE && (most == 0 || device->active_extents + 1u < most)) {
        return true;
    }
    if (index == NONE) {
        index = zone_to_reset(device);
        request->operation = BLOCK_ZONE_RESET;
    }
    if (index != NONE) {
        request->block = extent_block(device, index);
        request->cookie = ZONE_COOKIE(log, index);
        request->flags = 0;
    } else {
        request->operation = 0;
    }
    return false;
}

/* Zoned: whether a frame may be appended while others are under way. Not the first of a zone, nor
 * beside it: a zone begins with its first frame, and one zone is full before the next is begun. */
static bool may_join(const struct loglet *log, const struct frame *frame)
{
    const struct loglet_device *device = log->device;
    const struct frame *oldest = &device->frames[log->first_frame];

    return device->extents[frame->extent].written_blocks != 0 && oldest->extent == frame->extent &&
           frame->sequence - oldest->sequence < ZONE_WINDOW;
}

/* Sends what may be sent: on a zoned drive a few frames at a time, so that each lies near its
 * place. */
void log_send(struct loglet *log, time_ns_t now_ns)
{
    struct loglet_device *device = log->device;

    if (log->state != STATUS_OK && log->state != STATUS_CLOSED) {
        return;
    }
    if (unlikely(log->probe_wanted || log->probing)) {
        if (!log->probing) {
            send_probe(log, now_ns);
        }
        return;
    }
    while (log->unsent != NONE) {
        struct frame *frame = &device->frames[log->unsent];
        struct extent *extent = &device->extents[frame->extent];
        struct block_request request = {.cookie = COOKIE(COOKIE_FRAME, log->unsent),
                                        .operation = BLOCK_WRITE,
                                        .flags = BLOCK_FUA};
        if (frame->state == FRAME_OPEN) {
            log->unsent = NONE;
            break;
        }
        if (frame->state == FRAME_LANDED) {
            request.cookie = COOKIE(COOKIE_SETTLE, log->unsent);
            request.operation = BLOCK_FLUSH;
            request.flags = 0;
            log_place(log, &request);
            if (log->flying != 0 || !device_request(device, &request, now_ns)) {
                return;
            }
            log->flying++;
            device->flying++;
            frame->state = FRAME_FLYING;
        }
        if (frame->state == FRAME_READY) {
            uint64_t offset = position_offset(device, frame->position);
            if (device->flying >= FRAMES_IN_FLIGHT_MAX || log->flying >= device->flying_most ||
                (device->zoned && log->flying != 0 && !may_join(log, frame))) {
                return;
            }
            if (unlikely(extent->busy)) {
                return;
            }
            request.block = extent_block(device, frame->extent);
            if (extent->reset_needed && offset == 0) {
                request.operation = BLOCK_ZONE_RESET;
                request.cookie = ZONE_COOKIE(log, frame->extent);
                request.flags = 0;
            } else if (device->zoned && offset == 0 && !extent->active &&
                       !zone_may_begin(log, frame, &request)) {
                if (request.operation == 0) {
                    return;
                }
            } else {
                request.operation = device->zoned ? BLOCK_ZONE_APPEND : BLOCK_WRITE;
                request.flags = (uint8_t)(log->relaxed ? 0u : BLOCK_FUA);
                frame->forced = !log->relaxed;
                request.block += device->zoned ? 0 : offset >> device->block->block_shift;
                request.blocks = frame->blocks;
                request.data = frame_memory(device, log->unsent);
                if ((frame->flags & FRAME_PAGED) != 0) {
                    request.flags |= BLOCK_VECTORED;
                    request.pieces = (uint8_t)frame->pieces;
                    request.data = frame_pieces(device, log->unsent);
                }
            }
            log_place(log, &request);
            if (!device_request(device, &request, now_ns)) {
                return;
            }
            log->flying++;
            device->flying++;
            if (request.operation == BLOCK_ZONE_RESET || request.operation == BLOCK_ZONE_FINISH) {
                device->extents[(uint16_t)request.cookie].busy = true;
                return;
            }
            if (device->zoned && !extent->active) {
                extent->active = true;
                device->active_extents++;
            }
            frame->state = FRAME_FLYING;
        }
        log->unsent = frame->next;
    }
    device->unsent_logs &= ~(1u << log->index);
}

void log_fail(struct loglet *log, status_t why)
{
    if (log->state == STATUS_OK || log->state == STATUS_CLOSED) {
        log->state = why;
    }
}

/* Frees the frames that are durable together with all before them. */
static void retire_frames(struct loglet *log)
{
    struct loglet_device *device = log->device;

    while (log->first_frame != NONE && device->frames[log->first_frame].state == FRAME_DONE) {
        uint32_t index = log->first_frame;
        struct frame *frame = &device->frames[index];
        uint64_t bytes = (uint64_t)frame->blocks << device->block->block_shift;
        struct log_mark mark = {frame->durable_after, frame->position + bytes,
                                frame->sequence + 1u};
        log_accept(log, &mark, frame->forced);
        log->since_checkpoint += bytes;
        if (unlikely(log->since_checkpoint >= LOGLET_CHECKPOINT_BYTES)) {
            log->since_checkpoint = 0;
            super_want(device);
        }
        log->first_frame = frame->next;
        if (log->first_frame == NONE) {
            log->last_frame = NONE;
        }
        frame->state = FRAME_FREE;
        log->frames--;
        frame->next = device->free_frame;
        device->free_frame = index;
        device->free_frames++;
    }
}

/* Puts a frame back whose write failed; the log fails when it was tried often enough. */
static void retry_frame(struct loglet *log, uint32_t index, status_t why)
{
    struct loglet_device *device = log->device;
    struct frame *frame = &device->frames[index];

    frame->state = FRAME_READY;
    if (++frame->tries >= WRITE_TRIES) {
        log_fail(log, why == STATUS_DEVICE_TIMEOUT ? STATUS_DEVICE_TIMEOUT : STATUS_DEVICE_ERROR);
        return;
    }
    log->counters.retries++;
    /* Frames sent later are passed over: they are not READY. */
    if (log->unsent == NONE || device->frames[log->unsent].sequence > frame->sequence) {
        log->unsent = index;
    }
    frame->doubtful = device->zoned;
    log->probe_wanted = device->zoned;
    device->unsent_logs |= 1u << log->index;
}

static void zone_is_inactive(struct loglet_device *device, struct extent *extent)
{
    device->active_extents -= extent->active;
    extent->active = false;
}

static void note_written(struct loglet_device *device, struct extent *extent, uint32_t blocks)
{
    extent->written_blocks += blocks;
    if (extent->written_blocks == extent->capacity) {
        zone_is_inactive(device, extent);
    }
}

/* Whether the drive has put a frame where readers look for it. */
static bool lies_near(const struct loglet_device *device, const struct frame *frame, uint64_t block)
{
    uint64_t first = extent_block(device, frame->extent);
    uint64_t spread = ZONE_SPREAD >> device->block->block_shift;
    uint64_t place =
        first + (position_offset(device, frame->position) >> device->block->block_shift);

    return block >= first && block + frame->blocks <= first + device->super.extent_blocks &&
           block < place + spread && place < block + spread && (block == first) == (place == first);
}

void log_frame_done(struct loglet_device *device, uint32_t index,
                    const struct block_completion *completion)
{
    struct frame *frame = &device->frames[index];
    struct loglet *log = &device->logs[frame->log];

    ASSERT(frame->state == FRAME_FLYING);
    device->flying--;
    log->flying--;
    if (unlikely(completion->status != STATUS_OK)) {
        retry_frame(log, index, completion->status);
        return;
    }
    if (device->zoned) {
        if (!lies_near(device, frame, completion->block)) { /* nobody would find it there */
            log_fail(log, STATUS_DEVICE_ERROR);
            return;
        }
        uint32_t end =
            (uint32_t)(completion->block - extent_block(device, frame->extent)) + frame->blocks;
        struct extent *extent = &device->extents[frame->extent];
        extent->reach_blocks = end > extent->reach_blocks ? end : extent->reach_blocks;
        note_written(device, &device->extents[frame->extent], frame->blocks);
    }
    frame->state = FRAME_DONE;
    retire_frames(log);
}

/* Blocks of the log's appends whose fate is not known. */
static uint32_t doubtful_blocks(const struct loglet *log)
{
    const struct loglet_device *device = log->device;
    uint32_t blocks = 0;

    for (uint32_t i = log->first_frame; i != NONE; i = device->frames[i].next) {
        const struct frame *frame = &device->frames[i];
        blocks += frame->doubtful ? frame->blocks : 0;
    }
    return blocks;
}

/* None of them is in doubt any more: they have landed, or are made again. */
static void settle_doubtful(struct loglet *log, bool landed)
{
    struct loglet_device *device = log->device;

    for (uint32_t i = log->first_frame; i != NONE; i = device->frames[i].next) {
        struct frame *frame = &device->frames[i];
        if (frame->doubtful) {
            frame->doubtful = false;
            frame->state = landed ? FRAME_LANDED : FRAME_READY;
        }
    }
}

/* The zone's write pointer tells what became of failed appends: nothing, then they are made again;
 * all of them, then they only have to be made durable; anything else cannot be repaired in this
 * zone. */
void log_probe_done(struct loglet_device *device, uint32_t index,
                    const struct block_completion *completion)
{
    struct frame *frame = &device->frames[index];
    struct loglet *log = &device->logs[frame->log];
    struct extent *extent = &device->extents[frame->extent];
    uint32_t doubtful = doubtful_blocks(log);
    struct block_zone zone;

    device->probing = false;
    log->probing = false;
    device->flying--;
    log->flying--;
    if (completion->status != STATUS_OK || completion->block == 0) {
        retry_frame(log, index, completion->status);
        return;
    }
    memcpy(&zone, device->probe_buffer, sizeof zone);
    if (zone.block != extent_block(device, frame->extent) || zone.state >= BLOCK_ZONE_DEAD) {
        log_fail(log, STATUS_DEVICE_ERROR);
    } else if (zone.written_blocks == extent->written_blocks + doubtful) {
        extent->reach_blocks = (uint32_t)zone.written_blocks;
        settle_doubtful(log, true);
    } else if (zone.written_blocks != extent->written_blocks && !extent->reset_needed) {
        log_fail(log, STATUS_DEVICE_ERROR);
    } else {
        settle_doubtful(log, false);
    }
}

/* A frame that had landed after all is durable now. */
void log_settle_done(struct loglet_device *device, uint32_t index, status_t status)
{
    struct frame *frame = &device->frames[index];
    struct loglet *log = &device->logs[frame->log];

    device->flying--;
    log->flying--;
    if (status != STATUS_OK) {
        retry_frame(log, index, status);
        return;
    }
    note_written(device, &device->extents[frame->extent], frame->blocks);
    frame->forced = true;
    frame->state = FRAME_DONE;
    retire_frames(log);
}

/* A zone was reset for its next use, or finished. */
void log_zone_done(struct loglet_device *device, uint32_t value, status_t status)
{
    struct extent *extent = &device->extents[(uint16_t)value];
    struct loglet *log = &device->logs[value >> 16];

    extent->busy = false;

    device->flying--;
    log->flying--;
    if (status != STATUS_OK) {
        log_fail(log, STATUS_DEVICE_ERROR);
        return;
    }
    if (extent->state == EXTENT_FREE || extent->written_blocks == 0) {
        extent->reset_needed = false;
    }
    zone_is_inactive(device, extent);
}
