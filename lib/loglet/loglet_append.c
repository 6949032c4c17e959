// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * From records to frames, and what users ask. A frame's place is fixed when it is opened, and
 * frames of a log lie one behind the other.
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "lib/loglet/loglet_internal.h"

/* A record starts in a frame only if this much room is left: its header and some of its bytes. */
#define ROOM_MIN 16u

static inline uint32_t align_record(uint32_t bytes)
{
    return (bytes + RECORD_ALIGNMENT - 1u) & ~(RECORD_ALIGNMENT - 1u);
}

static inline uint32_t round_to_blocks(const struct loglet_device *device, uint32_t bytes)
{
    return (bytes + device->super.block_bytes - 1u) & ~(device->super.block_bytes - 1u);
}

void log_init(struct loglet_device *device, uint32_t index)
{
    struct loglet *log = &device->logs[index];
    struct super_log info = log->info;

    memset(log, 0, sizeof *log);
    log->info = info;
    log->device = device;
    log->index = index;
    log->state = STATUS_AGAIN;
    log->open_frame = NONE;
    log->first_frame = NONE;
    log->last_frame = NONE;
    log->unsent = NONE;
    log->extent = NONE;
    log->head_offset = 0;
    log->tail = info.tail;
    log->stable = info.stable;
    log->durable = info.stable;
    log->stable_sequence = info.stable_sequence;
    log->sequence = info.stable_sequence;
    log->extent_sequence = position_extent(device, info.stable);
    log->accepted = (struct log_mark){log->durable, log->stable, log->stable_sequence};
}

/* ---- Extents ---- */

uint32_t extent_find(const struct loglet_device *device, uint32_t log, uint64_t sequence)
{
    for (uint32_t i = 0; i < device->super.extent_count; i++) {
        const struct extent *extent = &device->extents[i];
        if (extent->sequence == sequence && extent->log == log && extent->state == EXTENT_USED) {
            return i;
        }
    }
    return NONE;
}

void extent_release(struct loglet_device *device, uint32_t index)
{
    struct extent *extent = &device->extents[index];

    extent->state = extent->read_only ? EXTENT_DEAD : EXTENT_FREE;
    extent->reset_needed = device->zoned;
    device->free_extents += !extent->read_only;
    device->dead_extents += extent->read_only;
}

uint32_t log_extents_available(const struct loglet *log)
{
    const struct loglet_device *device = log->device;
    uint32_t free = device->free_extents;
    uint32_t quota = log_quota(log) > log->used_extents ? log_quota(log) - log->used_extents : 0;
    /* Where extents have died, what is promised may be more than there is. Then each log does
     * without what is missing, so that together they never count on more than all. */
    uint32_t used = device->super.extent_count - device->dead_extents - free;
    uint32_t wanted = device->promised_extents > used ? device->promised_extents - used : 0;
    uint32_t missing = wanted > free ? wanted - free : 0;

    quota = quota > missing ? quota - missing : 0;
    return quota < free ? quota : free;
}

/* The free extent that was begun least often, from the last one on, so that all wear alike. One
 * that holds an active zone of the drive's goes first: it gives it back when it is reset. */
static uint32_t choose_extent(const struct loglet_device *device)
{
    uint32_t count = device->super.extent_count;
    uint32_t index = device->next_extent;
    uint32_t best = NONE;

    for (uint32_t i = 0; i < count; i++, index = index + 1u == count ? 0 : index + 1u) {
        const struct extent *extent = &device->extents[index];
        if (extent->state != EXTENT_FREE) {
            continue;
        }
        if (best == NONE || (extent->active && !device->extents[best].active) ||
            (extent->active == device->extents[best].active &&
             extent->uses < device->extents[best].uses)) {
            best = index;
        }
    }
    return best;
}

/* The caller knows that one is free. */
static void take_extent(struct loglet *log)
{
    struct loglet_device *device = log->device;
    uint32_t index = choose_extent(device);

    VERIFY(index != NONE);
    device->next_extent = index + 1u == device->super.extent_count ? 0 : index + 1u;
    device->free_extents--;
    /* The first extent of a log has the number that its first position names. */
    if (log->extent != NONE || log->head_offset != 0) {
        log->extent_sequence++;
    }
    struct extent *extent = &device->extents[index];
    extent->state = EXTENT_USED;
    extent->log = (uint8_t)log->index;
    extent->sequence = log->extent_sequence;
    extent->first_sequence = log->sequence;
    extent->epoch = device->super.epoch;
    extent->written_blocks = 0;
    extent->reach_blocks = 0;
    extent->uses++;
    log->extent = index;
    log->head_offset = 0;
    log->used_extents++;
    log->counters.extents_opened++;
}

/* ---- Frames ---- */

void log_start_frame(struct loglet *log, uint8_t flags)
{
    struct loglet_device *device = log->device;

    if (log->extent == NONE || log->head_offset == extent_bytes(device)) {
        take_extent(log);
    }
    uint32_t index = device->free_frame;
    struct frame *frame = &device->frames[index];
    uint64_t room = extent_bytes(device) - log->head_offset;

    device->free_frame = frame->next;
    device->free_frames--;
    frame->sequence = log->sequence++;
    frame->position = position_of(device, log->extent_sequence, log->head_offset);
    frame->next = NONE;
    frame->extent = log->extent;
    frame->used = FRAME_HEADER_BYTES;
    frame->capacity = room < device->frame_bytes ? (uint32_t)room : device->frame_bytes;
    frame->continued_bytes = 0;
    frame->record_count = 0;
    frame->flags = flags;
    frame->page_bytes = 0;
    frame->state = FRAME_OPEN;
    frame->tries = 0;
    frame->doubtful = false;
    frame->log = (uint8_t)log->index;
    log->frames++;
    log->open_frame = index;
    if (log->last_frame == NONE) {
        log->first_frame = index;
    } else {
        device->frames[log->last_frame].next = index;
    }
    log->last_frame = index;
}

/* Fills the frame's memory from `used` to `bytes` with zeroes, where the padding of its last use
 * has not left them: records of one size pad alike. All that was written since lies before `used`.
 */
static void pad_frame(struct frame *frame, uint8_t *memory, uint32_t bytes)
{
    uint32_t used = frame->used;
    uint32_t end = frame->zero_from > used ? frame->zero_from : used;

    if (bytes > frame->zero_to || end > bytes) {
        end = bytes;
        frame->zero_to = bytes;
    }
    if (end != used) {
        memset(memory + used, 0, end - used);
    }
    frame->zero_from = used;
}

/* Ends the open frame; `open_record` is the position of a record that goes on in the next frame, or
 * 0. */
static void close_frame(struct loglet *log, log_position_t open_record)
{
    struct loglet_device *device = log->device;
    uint32_t index = log->open_frame;
    struct frame *frame = &device->frames[index];
    uint8_t *memory = frame_memory(device, index);
    uint32_t bytes = round_to_blocks(device, frame->used);

    if (open_record != 0) {
        frame->flags |= FRAME_OPEN_END;
    }
    struct frame_header header = {
        .salt = log->info.salt,
        .sequence = frame->sequence,
        .position = frame->position,
        .stable = log->stable,
        .stable_sequence = log->stable_sequence,
        .log_id = log->info.id,
        .epoch = device->super.epoch,
        .uses = device->extents[frame->extent].uses,
        .body_bytes = frame->used - FRAME_HEADER_BYTES,
        .continued_bytes = frame->continued_bytes,
        .page_bytes = frame->page_bytes,
        .record_count = frame->record_count,
        .flags = frame->flags,
    };
    if ((frame->flags & FRAME_PAGED) != 0) {
        memory += frame->head_start;
        bytes = PAGE_BYTES - frame->head_start + frame->page_bytes;
        frame->zero_to = 0; /* the list of pieces lies behind the head */
        log_finish_pages(log, &header);
    } else {
        struct digest digest;
        pad_frame(frame, memory, bytes);
        digest_begin(&digest);
        digest_end(&digest, device->fast_digest, memory + FRAME_HEADER_BYTES, header.body_bytes,
                   header.digest);
    }
    frame_encode(&header, memory);
    frame->blocks = bytes >> device->block->block_shift;
    frame->state = FRAME_READY;
    frame->durable_after = open_record != 0 ? open_record : frame->position + bytes;
    log->head_offset += bytes;
    log->open_frame = NONE;
    if (log->unsent == NONE) {
        log->unsent = index;
    }
    device->unsent_logs |= 1u << log->index;
    log->counters.frames++;
    log->counters.frame_bytes += bytes;
    log->counters.padding_bytes += bytes - frame->page_bytes - frame->used;
}

void log_close_frame(struct loglet *log)
{
    if (log->open_frame != NONE) {
        close_frame(log, 0);
    }
}

/* ---- Append ---- */

/* What the open frame takes on the drive as it stands. */
static uint32_t open_bytes(const struct loglet_device *device, const struct frame *frame)
{
    return (frame->flags & FRAME_PAGED) != 0 ? PAGE_BYTES - frame->head_start + frame->page_bytes
                                             : round_to_blocks(device, frame->used);
}

static bool record_can_start(const struct frame *frame)
{
    return frame->record_count < FRAME_RECORDS_MAX && (frame->flags & FRAME_PAGED) == 0 &&
           align_record(frame->used) + ROOM_MIN <= frame->capacity;
}

/* Whether frames and extents for a record of `bytes` (header included) are there now. */
static status_t check_room(struct loglet *log, uint64_t bytes)
{
    struct loglet_device *device = log->device;
    uint64_t end = extent_bytes(device);
    uint64_t offset = log->extent == NONE ? end : log->head_offset;
    uint32_t frames = 0;
    uint32_t extents = 0;

    if (log->open_frame != NONE) {
        const struct frame *frame = &device->frames[log->open_frame];
        uint32_t used = align_record(frame->used);
        if (record_can_start(frame)) {
            uint32_t room = frame->capacity - used;
            if (bytes <= room) {
                return STATUS_OK;
            }
            bytes -= room;
            offset += frame->capacity;
        } else {
            offset += open_bytes(device, frame);
        }
    }
    while (bytes != 0) {
        if (offset == end) {
            extents++;
            offset = 0;
        }
        uint64_t capacity = end - offset < device->frame_bytes ? end - offset : device->frame_bytes;
        uint64_t room = capacity - FRAME_HEADER_BYTES;
        frames++;
        offset += capacity;
        bytes -= bytes < room ? bytes : room;
    }
    if (extents > log_extents_available(log)) {
        log->counters.full_refusals++;
        return STATUS_FULL;
    }
    return frames > device->free_frames ? STATUS_WOULD_BLOCK : STATUS_OK;
}

/* The common case: a record that fits the open frame, or a new one in the same extent. False says
 * nothing. */
static inline bool fits_simply(const struct loglet *log, uint64_t bytes)
{
    const struct loglet_device *device = log->device;

    if (log->open_frame != NONE) {
        const struct frame *frame = &device->frames[log->open_frame];
        return record_can_start(frame) && bytes <= frame->capacity - align_record(frame->used);
    }
    return log->extent != NONE && device->free_frames != 0 &&
           bytes + FRAME_HEADER_BYTES <= device->frame_bytes &&
           bytes + FRAME_HEADER_BYTES <= extent_bytes(device) - log->head_offset;
}

static void append_bytes(struct loglet *log, const uint8_t *from, size_t bytes,
                         log_position_t record)
{
    struct loglet_device *device = log->device;

    while (bytes != 0) {
        struct frame *frame = &device->frames[log->open_frame];
        if (unlikely(frame->used == frame->capacity)) {
            close_frame(log, record);
            log_start_frame(log, FRAME_CONTINUES);
            continue;
        }
        uint32_t room = frame->capacity - frame->used;
        uint32_t chunk = bytes < room ? (uint32_t)bytes : room;
        memcpy(frame_memory(device, log->open_frame) + frame->used, from, chunk);
        frame->used += chunk;
        if ((frame->flags & FRAME_CONTINUES) != 0 && frame->record_count == 0) {
            frame->continued_bytes += chunk;
        }
        from += chunk;
        bytes -= chunk;
    }
}

status_t loglet_append(struct loglet *log, const struct loglet_piece *pieces, uint32_t count,
                       log_position_t *position)
{
    struct loglet_device *device = log->device;
    uint64_t total = 0;

    if (unlikely(log->state != STATUS_OK)) {
        return log->state;
    }
    for (uint32_t i = 0; i < count; i++) {
        total += pieces[i].bytes;
        if (unlikely(total > UINT32_MAX)) {
            return STATUS_TOO_LARGE;
        }
    }
    if (!fits_simply(log, total + RECORD_HEADER_BYTES)) {
        if (unlikely(total > loglet_record_bytes_max(log))) {
            return STATUS_TOO_LARGE;
        }
        status_t status = check_room(log, total + RECORD_HEADER_BYTES);
        if (unlikely(status != STATUS_OK)) {
            return status;
        }
    }
    if (log->open_frame != NONE && !record_can_start(&device->frames[log->open_frame])) {
        close_frame(log, 0);
    }
    if (log->open_frame == NONE) {
        log_start_frame(log, 0);
    }
    struct frame *frame = &device->frames[log->open_frame];
    uint8_t *memory = frame_memory(device, log->open_frame);
    uint32_t at = align_record(frame->used);
    for (uint32_t i = frame->used; i < at; i++) {
        memory[i] = 0;
    }
    store_le32(memory + at, (uint32_t)total);
    store_le32(memory + at + 4, 0);
    frame->used = at + RECORD_HEADER_BYTES;
    *position = frame->position + frame->record_count++;
    for (uint32_t i = 0; i < count; i++) {
        append_bytes(log, pieces[i].data, pieces[i].bytes, *position);
    }
    log->counters.appends++;
    log->counters.append_bytes += total;
    return STATUS_OK;
}

/* ---- What users ask ---- */

status_t loglet_state(const struct loglet *log)
{
    return log->state;
}

log_position_t loglet_durable(const struct loglet *log)
{
    return log->durable;
}

log_position_t loglet_tail(const struct loglet *log)
{
    return log->tail;
}

log_position_t loglet_head(const struct loglet *log)
{
    const struct loglet_device *device = log->device;

    if (log->open_frame != NONE) {
        const struct frame *frame = &device->frames[log->open_frame];
        return frame->position + open_bytes(device, frame);
    }
    return log->extent == NONE && log->head_offset == 0
               ? log->stable
               : position_of(device, log->extent_sequence, 0) + log->head_offset;
}

/* The record must fit the frame buffers, and leave some for the frame that is open. */
uint64_t loglet_record_bytes_max(const struct loglet *log)
{
    const struct loglet_device *device = log->device;
    uint64_t frames = device->frame_count - 2u;
    uint64_t most = frames * (device->frame_bytes - 2u * FRAME_HEADER_BYTES);

    /* Every extent that it crosses can cut one frame short. */
    most -= most / 8u;
    return most < UINT32_MAX / 2u ? most : UINT32_MAX / 2u;
}

uint64_t loglet_capacity_bytes(const struct loglet *log)
{
    return log_quota(log) * extent_bytes(log->device);
}

uint64_t loglet_used_bytes(const struct loglet *log)
{
    return log->used_extents * extent_bytes(log->device);
}

static uint64_t payload_bytes(const struct loglet_device *device, uint64_t bytes)
{
    uint64_t frames = (bytes + device->frame_bytes - 1u) / device->frame_bytes;

    return bytes - frames * (FRAME_HEADER_BYTES + ROOM_MIN);
}

uint64_t loglet_free_bytes(const struct loglet *log)
{
    const struct loglet_device *device = log->device;
    uint64_t end = extent_bytes(device);
    uint64_t rest = log->extent == NONE ? 0 : end - log->head_offset;

    if (log->open_frame != NONE) {
        rest -= open_bytes(device, &device->frames[log->open_frame]);
    }
    return payload_bytes(device, rest) + log_extents_available(log) * payload_bytes(device, end);
}

status_t loglet_trim(struct loglet *log, log_position_t position)
{
    if (log->state != STATUS_OK) {
        return log->state;
    }
    if (position > log->durable) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (position > log->tail) {
        log->tail = position;
        log->counters.trims++;
        super_want(log->device);
    }
    return STATUS_OK;
}

const struct loglet_counters *loglet_counters(const struct loglet *log)
{
    return &log->counters;
}
