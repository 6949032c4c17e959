// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Reading a log frame by frame, for users (up to what is durable) and for recovery (until the first
 * frame that is not valid). A frame is valid when its checksums hold and it is the very frame that
 * must come here: this log, this place, the next number, no older epoch. When the next one does not
 * follow in the extent, it may begin the log's next extent.
 */
#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "lib/loglet/loglet_internal.h"

#define FIRST_READ_BYTES 16384u

void reader_begin(struct loglet_reader *reader, struct loglet *log, log_position_t frame,
                  uint64_t sequence, void *buffer)
{
    memset(reader, 0, sizeof *reader);
    reader->log = log;
    reader->buffer = buffer;
    reader->frame = frame;
    reader->sequence = sequence;
    reader->next_bytes = FIRST_READ_BYTES;
    reader->extent = NONE;
}

/* Frames of an extent that are not known yet are found from `offset` on. */
static void start_walk(struct loglet_reader *reader, uint64_t offset)
{
    reader->walk = offset;
    reader->swept = offset == 0;
    reader->seen_count = 0;
}

status_t loglet_reader_start(struct loglet_reader *reader, struct loglet *log,
                             log_position_t position, void *buffer)
{
    const struct loglet_device *device = log->device;

    if (log->state != STATUS_OK) {
        return log->state;
    }
    if (position < log->tail || position > log->stable ||
        ((uintptr_t)buffer & (PAGE_BYTES - 1u)) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    reader_begin(reader, log, position & ~(uint64_t)(device->super.block_bytes - 1u), 0, buffer);
    reader->start = position;
    return STATUS_OK;
}

status_t loglet_reader_stop(struct loglet_reader *reader)
{
    reader->job.bytes_left = 0;
    return reader->job.active ? STATUS_AGAIN : STATUS_OK;
}

/* Bytes from the extent's start that hold frames. */
static uint64_t readable_bytes(const struct loglet_reader *reader)
{
    const struct loglet *log = reader->log;
    const struct loglet_device *device = log->device;
    uint64_t bytes = device->zoned
                         ? blocks_bytes(device, device->extents[reader->extent].written_blocks)
                         : extent_bytes(device);

    if (!reader->scanning && position_extent(device, log->stable) == reader->extent_sequence) {
        uint64_t stable = position_offset(device, log->stable);
        bytes = stable < bytes ? stable : bytes;
    }
    return bytes;
}

static bool find_extent(struct loglet_reader *reader)
{
    const struct loglet_device *device = reader->log->device;
    uint64_t sequence = position_extent(device, reader->frame);

    if (reader->extent == NONE || reader->extent_sequence != sequence ||
        device->extents[reader->extent].state != EXTENT_USED ||
        device->extents[reader->extent].sequence != sequence) {
        reader->extent = extent_find(device, reader->log->index, sequence);
        reader->extent_sequence = sequence;
        start_walk(reader, position_offset(device, reader->frame));
    }
    return reader->extent != NONE;
}

static void refill(struct loglet_reader *reader, uint64_t offset, uint32_t bytes, uint64_t end)
{
    struct loglet_device *device = reader->log->device;
    uint32_t wanted = bytes > reader->next_bytes ? bytes : reader->next_bytes;

    wanted = wanted < end - offset ? wanted : (uint32_t)(end - offset);
    wanted = wanted < LOGLET_READ_BYTES ? wanted : LOGLET_READ_BYTES;
    wanted &= ~(device->super.block_bytes - 1u);
    reader->buffer_at = position_of(device, reader->extent_sequence, 0) + offset;
    reader->filled = wanted;
    if (reader->next_bytes < LOGLET_READ_BYTES) {
        reader->next_bytes *= 2u;
    }
    reader->log->counters.reads++;
    reader->log->counters.read_bytes += wanted;
    job_start(device, &reader->job,
              extent_block(device, reader->extent) + (offset >> device->block->block_shift), wanted,
              reader->buffer);
    struct block_request like = {.operation = BLOCK_READ};
    log_place(reader->log, &like);
    reader->job.flags = like.flags;
    reader->job.placement = like.placement;
}

static bool is_expected(const struct loglet_reader *reader, const struct frame_header *header)
{
    const struct loglet *log = reader->log;

    return header->salt == log->info.salt && header->log_id == log->info.id &&
           header->position == reader->frame && header->epoch >= reader->epoch &&
           header->epoch <= log->device->super.epoch &&
           (reader->sequence == 0 || header->sequence == reader->sequence);
}

/* The frame does not follow here: does the next extent begin with it? */
static bool go_to_next_extent(struct loglet_reader *reader)
{
    const struct loglet_device *device = reader->log->device;
    uint64_t sequence = position_extent(device, reader->frame) + 1u;
    uint32_t next = extent_find(device, reader->log->index, sequence);

    if (next == NONE ||
        (reader->sequence != 0 && (device->extents[next].first_sequence != reader->sequence ||
                                   device->extents[next].epoch < reader->epoch))) {
        return false;
    }
    reader->extent = next;
    reader->extent_sequence = sequence;
    reader->frame = position_of(device, sequence, 0);
    start_walk(reader, 0);
    return true;
}

static bool body_is_whole(const struct loglet_reader *reader, const struct frame_header *header,
                          const uint8_t *bytes)
{
    bool fast = reader->log->device->fast_digest;
    uint8_t result[FRAME_DIGEST_BYTES];
    struct digest digest;

    digest_begin(&digest);
    if (header->page_bytes != 0) {
        digest_add(&digest, fast, bytes + header->page_offset, header->page_bytes);
    }
    digest_end(&digest, fast, bytes + FRAME_HEADER_BYTES, header->body_bytes, result);
    return memcmp(result, header->digest, sizeof result) == 0;
}

/* Takes the frame whose first byte is at `at` in the buffer. OK, AGAIN (more is being read), or
 * CORRUPT for one that is not valid. */
static status_t take_frame(struct loglet_reader *reader, uint32_t at, uint64_t offset, uint64_t end)
{
    uint32_t block_bytes = reader->log->device->super.block_bytes;
    const uint8_t *bytes = reader->buffer + at;
    struct frame_header header;

    if (!frame_decode(bytes, &header) || !is_expected(reader, &header)) {
        return STATUS_CORRUPT;
    }
    bool paged = (header.flags & FRAME_PAGED) != 0;
    uint32_t body_end = FRAME_HEADER_BYTES + header.body_bytes;
    uint32_t total = paged ? header.page_offset + header.page_bytes : body_end;
    uint32_t rounded = (total + block_bytes - 1u) & ~(block_bytes - 1u);
    if (rounded > end - offset) {
        return STATUS_CORRUPT;
    }
    if (rounded > reader->filled - at) {
        refill(reader, offset, rounded, end);
        return STATUS_AGAIN;
    }
    if (!body_is_whole(reader, &header, bytes)) {
        return STATUS_CORRUPT;
    }
    bool continues = (header.flags & FRAME_CONTINUES) != 0;
    if (!continues) {
        reader->in_record = false; /* what was begun was never acknowledged */
    }
    reader->sequence = header.sequence + 1u;
    reader->epoch = header.epoch;
    reader->at = at + FRAME_HEADER_BYTES;
    reader->end = at + body_end;
    reader->paged = paged;
    reader->pages_at = at + header.page_offset;
    reader->pages_end = at + total;
    reader->pages_due = 0;
    reader->head_at = reader->at;
    reader->frame_bytes = rounded;
    reader->continued = continues ? header.continued_bytes : 0;
    reader->record_count = header.record_count;
    reader->open_end = (header.flags & FRAME_OPEN_END) != 0;
    reader->index = 0;
    reader->in_frame = true;
    return STATUS_OK;
}

/* Whether the buffer holds the block at `offset` of the extent; else reads on from there. */
static bool block_is_here(struct loglet_reader *reader, uint64_t offset, uint64_t end)
{
    log_position_t at = position_of(reader->log->device, reader->extent_sequence, 0) + offset;

    if (at >= reader->buffer_at && at - reader->buffer_at < reader->filled) {
        return true;
    }
    refill(reader, offset, 0, end);
    return false;
}

/* The frame at reader->walk, if one of this log's begins there: its size on the drive; else 0. */
static uint32_t frame_at_walk(const struct loglet_reader *reader, struct frame_header *header)
{
    const struct loglet *log = reader->log;
    const struct loglet_device *device = log->device;
    log_position_t base = position_of(device, reader->extent_sequence, 0);
    uint32_t block_bytes = device->super.block_bytes;

    if (!frame_decode(reader->buffer + (base + reader->walk - reader->buffer_at), header) ||
        header->salt != log->info.salt || header->log_id != log->info.id ||
        position_extent(device, header->position) != reader->extent_sequence) {
        return 0;
    }
    uint32_t bytes = (header->flags & FRAME_PAGED) != 0 ? header->page_offset + header->page_bytes
                                                        : FRAME_HEADER_BYTES + header->body_bytes;
    return (bytes + block_bytes - 1u) & ~(block_bytes - 1u);
}

/* Takes the frame that is wanted out of those seen before their turn. */
static bool take_seen(struct loglet_reader *reader, uint64_t *place)
{
    for (uint32_t i = 0; i < reader->seen_count; i++) {
        if (reader->seen[i].position == reader->frame) {
            *place = reader->seen[i].at;
            reader->seen[i] = reader->seen[--reader->seen_count];
            return true;
        }
    }
    return false;
}

/* Zoned: where the frame lies whose place would be `offset`: appends land in any order, but near
 * (ZONE_SPREAD). OK, AGAIN (more is being read), or CORRUPT: it is not there. What is no frame was
 * torn by a loss of power, and is passed over block by block. */
static status_t locate(struct loglet_reader *reader, uint64_t offset, uint64_t *place)
{
    const struct loglet_device *device = reader->log->device;
    uint64_t end = blocks_bytes(device, device->extents[reader->extent].reach_blocks);
    uint64_t limit = end - offset < ZONE_SPREAD ? end : offset + ZONE_SPREAD;

    limit = offset < end ? limit : end;
    if (take_seen(reader, place)) {
        return STATUS_OK;
    }
    for (;;) {
        struct frame_header header;
        if (reader->walk >= limit) {
            if (reader->swept) {
                return STATUS_CORRUPT;
            }
            start_walk(reader, offset > ZONE_SPREAD ? offset - ZONE_SPREAD : 0);
            reader->swept = true;
            continue;
        }
        if (!block_is_here(reader, reader->walk, end)) {
            return STATUS_AGAIN;
        }
        uint32_t bytes = frame_at_walk(reader, &header);
        uint64_t at = reader->walk;
        reader->walk += bytes != 0 ? bytes : device->super.block_bytes;
        if (bytes != 0 && header.position == reader->frame) {
            *place = at;
            return STATUS_OK;
        }
        if (bytes != 0 && header.position > reader->frame &&
            reader->seen_count < sizeof reader->seen / sizeof reader->seen[0]) {
            reader->seen[reader->seen_count].position = header.position;
            reader->seen[reader->seen_count++].at = at;
        }
    }
}

/* Finds the frame, whose place would be `offset`, and takes it. */
static status_t place_frame(struct loglet_reader *reader, uint64_t offset, uint64_t end)
{
    const struct loglet_device *device = reader->log->device;
    uint64_t place = offset;

    if (device->zoned) {
        if (!reader->placed) {
            status_t status = locate(reader, offset, &reader->place);
            if (status != STATUS_OK) {
                return status;
            }
            reader->placed = true; /* also while its rest is being read */
        }
        place = reader->place;
        end = blocks_bytes(device, device->extents[reader->extent].reach_blocks);
    }
    if (!block_is_here(reader, place, end)) {
        return STATUS_AGAIN;
    }
    log_position_t at = position_of(device, reader->extent_sequence, 0) + place;
    status_t status = take_frame(reader, (uint32_t)(at - reader->buffer_at), place, end);
    reader->placed = status == STATUS_AGAIN;
    return status;
}

static status_t load_frame(struct loglet_reader *reader)
{
    const struct loglet *log = reader->log;
    struct loglet_device *device = log->device;

    if (!reader->scanning &&
        (reader->frame >= log->stable || reader->sequence == log->stable_sequence)) {
        return STATUS_NOT_FOUND;
    }
    if (!find_extent(reader)) {
        return reader->scanning ? STATUS_NOT_FOUND
               : reader->extent_sequence < (log->tail >> device->super.position_shift)
                   ? STATUS_CANCELLED
                   : STATUS_CORRUPT;
    }
    uint64_t end = readable_bytes(reader);
    uint64_t offset = reader->frame - position_of(device, reader->extent_sequence, 0);
    status_t status = STATUS_CORRUPT;
    if (offset < end) {
        status = place_frame(reader, offset, end);
    }
    if (status == STATUS_CORRUPT) {
        /* From an unknown frame on only the extent's end leads further. */
        if ((reader->sequence != 0 || offset >= end) && go_to_next_extent(reader)) {
            return STATUS_AGAIN;
        }
        bool behind = offset >= end && position_of(device, reader->extent_sequence + 1u, 0) >=
                                           log->stable; /* the log ends with this extent */
        return reader->scanning || behind ? STATUS_NOT_FOUND : STATUS_CORRUPT;
    }
    return status;
}

static void fill_fragment(const struct loglet_reader *reader, struct loglet_fragment *fragment,
                          uint32_t bytes)
{
    *fragment = (struct loglet_fragment){.position = reader->record,
                                         .data = reader->buffer + reader->at,
                                         .bytes = bytes,
                                         .offset = reader->offset,
                                         .total_bytes = reader->total};
}

/* The frame's first bytes, which belong to a record that began before. True: a wanted piece. */
static status_t continue_record(struct loglet_reader *reader, struct loglet_fragment *fragment)
{
    uint32_t bytes = reader->continued;
    bool wanted = reader->in_record;

    reader->continued = 0;
    if (wanted) {
        bool last = reader->record_count != 0 || !reader->open_end;
        if (bytes > reader->total - reader->offset ||
            last != (bytes == reader->total - reader->offset)) {
            return STATUS_CORRUPT;
        }
        fill_fragment(reader, fragment, bytes);
        reader->offset += bytes;
        reader->in_record = !last;
    }
    reader->at += bytes;
    return wanted ? STATUS_OK : STATUS_AGAIN;
}

/* The next record that begins in the frame. AGAIN: not a wanted one. */
static status_t begin_record(struct loglet_reader *reader, struct loglet_fragment *fragment)
{
    bool last = reader->index + 1u == reader->record_count;
    uint32_t at = (reader->at + RECORD_ALIGNMENT - 1u) & ~(RECORD_ALIGNMENT - 1u);

    if (at > reader->end || reader->end - at < RECORD_HEADER_BYTES) {
        return STATUS_CORRUPT;
    }
    uint32_t total = load_le32(reader->buffer + at);
    uint32_t room = reader->end - at - RECORD_HEADER_BYTES;
    uint32_t bytes = total < room ? total : room;
    if (bytes < total && !(last && reader->open_end)) {
        return STATUS_CORRUPT;
    }
    reader->at = at + RECORD_HEADER_BYTES;
    reader->record = reader->frame + reader->index;
    reader->index++;
    bool wanted = reader->record >= reader->start && !reader->scanning;
    if (wanted) {
        reader->total = total;
        reader->offset = 0;
        fill_fragment(reader, fragment, bytes);
        reader->offset = bytes;
        reader->in_record = bytes < total;
    }
    reader->at += bytes;
    return wanted ? STATUS_OK : STATUS_AGAIN;
}

static bool pages_wanted(const struct loglet_reader *reader)
{
    return reader->record >= reader->start && !reader->scanning;
}

/* The pages of a record of a PAGED frame, whose first bytes were passed. AGAIN: not wanted. */
static status_t give_pages(struct loglet_reader *reader, struct loglet_fragment *fragment)
{
    uint32_t bytes = reader->pages_due;

    reader->at = reader->pages_at;
    if (pages_wanted(reader)) {
        fill_fragment(reader, fragment, bytes);
    }
    reader->pages_at += bytes;
    reader->pages_due = 0;
    return pages_wanted(reader) ? STATUS_OK : STATUS_AGAIN;
}

/* The next entry of a PAGED frame. AGAIN: no bytes of it here, or not wanted. */
static status_t begin_paged(struct loglet_reader *reader, struct loglet_fragment *fragment)
{
    uint32_t at = reader->head_at;

    if (reader->end - at < RECORD_HEADER_BYTES) {
        return STATUS_CORRUPT;
    }
    uint32_t first = load_le32(reader->buffer + at);
    uint32_t pages = load_le32(reader->buffer + at + 4);
    uint32_t room = reader->end - at - RECORD_HEADER_BYTES;
    uint32_t padded = (first + RECORD_ALIGNMENT - 1u) & ~(RECORD_ALIGNMENT - 1u);
    if (first > room || padded > room || pages > reader->pages_end - reader->pages_at) {
        return STATUS_CORRUPT;
    }
    reader->at = at + RECORD_HEADER_BYTES;
    reader->head_at = reader->at + padded;
    reader->record = reader->frame + reader->index;
    reader->index++;
    reader->total = first + pages;
    reader->offset = 0;
    reader->pages_due = pages;
    if (first == 0 && pages != 0) {
        return STATUS_AGAIN;
    }
    if (pages_wanted(reader)) {
        fill_fragment(reader, fragment, first);
    }
    reader->offset = first;
    return pages_wanted(reader) ? STATUS_OK : STATUS_AGAIN;
}

static status_t next_piece(struct loglet_reader *reader, struct loglet_fragment *fragment)
{
    if (reader->paged) {
        return reader->pages_due != 0 ? give_pages(reader, fragment)
                                      : begin_paged(reader, fragment);
    }
    return reader->continued != 0 ? continue_record(reader, fragment)
                                  : begin_record(reader, fragment);
}

static status_t next_in_frame(struct loglet_reader *reader, struct loglet_fragment *fragment)
{
    while (reader->continued != 0 || reader->pages_due != 0 ||
           reader->index < reader->record_count) {
        status_t status = next_piece(reader, fragment);
        if (status != STATUS_AGAIN) {
            return status;
        }
    }
    reader->frame += reader->frame_bytes;
    reader->in_frame = false;
    return STATUS_AGAIN;
}

status_t loglet_reader_next(struct loglet_reader *reader, struct loglet_fragment *fragment)
{
    /* Bounded: each turn uses up bytes of the buffer, or asks for a read. */
    for (;;) {
        if (reader->job.active) {
            return STATUS_AGAIN;
        }
        if (reader->job.status != STATUS_OK) {
            return reader->job.status;
        }
        if (reader->in_frame) {
            status_t status = next_in_frame(reader, fragment);
            if (status != STATUS_AGAIN) {
                return status;
            }
        } else {
            status_t status = load_frame(reader);
            if (status != STATUS_OK && status != STATUS_AGAIN) {
                return status;
            }
        }
    }
}

status_t loglet_scrub_start(struct loglet_reader *reader, struct loglet *log, void *buffer)
{
    status_t status = loglet_reader_start(reader, log, loglet_tail(log), buffer);

    if (status != STATUS_OK) {
        return status;
    }
    reader->start = UINT64_MAX; /* no record is wanted, every frame is looked at */
    return status;
}

status_t loglet_scrub_next(struct loglet_reader *reader, log_position_t *position)
{
    struct loglet_fragment unused;
    status_t status = loglet_reader_next(reader, &unused);

    *position = reader->frame;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
