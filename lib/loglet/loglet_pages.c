// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Records whose pages the drive takes from where they lie. A PAGED frame is a head, in the frame's
 * own memory, and the pages of its records one behind the other:
 *
 *   header | entry, the record's first bytes | entry, .. | zeroes to a block's end | page | page ..
 *
 * The head is one block, or a whole page where one block was not enough. It ends with its page, so
 * that head and pages are pieces as every drive takes them.
 */
#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "lib/loglet/loglet_internal.h"

#define ENTRY_BYTES 8u

static inline uint32_t align_entry(uint32_t bytes)
{
    return (bytes + RECORD_ALIGNMENT - 1u) & ~(RECORD_ALIGNMENT - 1u);
}

void log_finish_pages(struct loglet *log, struct frame_header *header)
{
    struct loglet_device *device = log->device;
    const struct frame *frame = &device->frames[log->open_frame];
    uint8_t *head = frame_memory(device, log->open_frame) + frame->head_start;
    uint32_t head_bytes = PAGE_BYTES - frame->head_start;

    log->room = (struct paged_room){0};
    header->page_offset = (uint16_t)head_bytes;
    memset(head + frame->used, 0, head_bytes - frame->used);
    frame_pieces(device, log->open_frame)[0] = (struct block_piece){head, head_bytes, 0};
    digest_end(&log->digest, device->fast_digest, head + FRAME_HEADER_BYTES, header->body_bytes,
               header->digest);
}

/* Whether the open frame takes the record; a head that outgrows its block becomes a page. */
static bool fits(const struct loglet *log, uint32_t entry_bytes, uint32_t page_bytes)
{
    struct loglet_device *device = log->device;
    struct frame *frame = &device->frames[log->open_frame];
    uint32_t used = frame->used + entry_bytes;
    uint64_t room = extent_bytes(device) - log->head_offset;
    uint32_t pages = frame->page_bytes + page_bytes;

    if ((frame->flags & FRAME_PAGED) == 0 || frame->record_count == FRAME_RECORDS_MAX ||
        pages >> PAGE_SHIFT > device->pages_max || used > PAGE_BYTES) {
        return false;
    }
    if (used <= PAGE_BYTES - frame->head_start) {
        return PAGE_BYTES - frame->head_start + pages <= room;
    }
    if (PAGE_BYTES + pages > room) {
        return false;
    }
    uint8_t *memory = frame_memory(device, log->open_frame);
    memmove(memory, memory + frame->head_start, frame->used);
    frame->head_start = 0;
    return true;
}

/* Begins a PAGED frame where the record fits into the extent. */
static status_t start_pages(struct loglet *log, uint32_t entry_bytes, uint32_t page_bytes)
{
    struct loglet_device *device = log->device;
    uint32_t used = FRAME_HEADER_BYTES + entry_bytes;
    uint32_t block_bytes = device->super.block_bytes;
    uint32_t head_bytes = used <= block_bytes ? block_bytes : PAGE_BYTES;

    log_close_frame(log);
    if (device->free_frames == 0) {
        return STATUS_WOULD_BLOCK;
    }
    if (log->extent == NONE || log->head_offset == extent_bytes(device)) {
        if (log_extents_available(log) == 0) {
            log->counters.full_refusals++;
            return STATUS_FULL;
        }
    } else if (head_bytes + page_bytes > extent_bytes(device) - log->head_offset) {
        return STATUS_NOT_FOUND;
    }
    log_start_frame(log, FRAME_PAGED);
    struct frame *frame = &device->frames[log->open_frame];
    frame->head_start = (uint16_t)(PAGE_BYTES - head_bytes);
    frame->pieces = 1;
    digest_begin(&log->digest);
    return STATUS_OK;
}

/* Returns the pages' bytes, or 0 for pieces that are not pages in the limits. */
static uint32_t page_bytes_of(const struct loglet *log, const struct loglet_piece *pages,
                              uint32_t count)
{
    uint64_t most = (uint64_t)log->device->pages_max << PAGE_SHIFT;
    uint64_t total = 0;

    for (uint32_t i = 0; i < count; i++) {
        if ((((uintptr_t)pages[i].data | pages[i].bytes) & (PAGE_BYTES - 1u)) != 0 ||
            pages[i].bytes == 0 || pages[i].bytes > most) {
            return 0;
        }
        total += pages[i].bytes;
    }
    return total <= most ? (uint32_t)total : 0;
}

/* At the end of an extent: as a copy, which can go on in the next one. */
static status_t append_copy(struct loglet *log, const struct loglet_piece *first,
                            const struct loglet_piece *pages, uint32_t count,
                            log_position_t *position)
{
    struct loglet_piece all[1u + LOGLET_PAGE_PIECES_MAX];

    all[0] = *first;
    memcpy(&all[1], pages, count * sizeof *pages);
    return loglet_append(log, all, count + 1u, position);
}

static void note_room(struct loglet *log)
{
    struct loglet_device *device = log->device;
    const struct frame *frame = &device->frames[log->open_frame];
    uint32_t head_bytes = PAGE_BYTES - frame->head_start;
    uint64_t extent = extent_bytes(device) - log->head_offset - head_bytes;
    uint32_t most = device->pages_max << PAGE_SHIFT;

    most = most < extent ? most : (uint32_t)extent;
    log->room = (struct paged_room){
        .entry = frame_memory(device, log->open_frame) + frame->head_start + frame->used,
        .piece = frame_pieces(device, log->open_frame) + frame->pieces - 1u,
        .head_bytes = head_bytes - frame->used,
        .page_bytes = most - frame->page_bytes,
        .pieces = BLOCK_PIECES_MAX - frame->pieces,
    };
}

/* Puts the record into the open frame, whose room it fits. */
static void put_record(struct loglet *log, const struct loglet_piece *first, uint32_t entry_bytes,
                       const struct loglet_piece *page, log_position_t *position)
{
    struct loglet_device *device = log->device;
    struct paged_room *room = &log->room;
    struct frame *frame = &device->frames[log->open_frame];
    uint32_t bytes = (uint32_t)page->bytes;

    store_le64(room->entry, (uint64_t)bytes << 32 | (uint32_t)first->bytes);
    if (first->bytes != 0) {
        store_le64(room->entry + entry_bytes - 8u, 0);
        memcpy(room->entry + ENTRY_BYTES, first->data, first->bytes);
    }
    room->entry += entry_bytes;
    room->head_bytes -= entry_bytes;
    room->page_bytes -= bytes;
    *++room->piece = (struct block_piece){(void *)(uintptr_t)page->data, bytes, 0};
    frame->pieces++;
    room->pieces--;
    digest_add(&log->digest, device->fast_digest, page->data, bytes);
    frame->used += entry_bytes;
    frame->page_bytes += bytes;
    *position = frame->position + frame->record_count++;
    log->counters.appends++;
    log->counters.append_bytes += first->bytes + bytes;
}

/* The further pieces of a record that put_record has begun. */
static void put_more(struct loglet *log, const struct loglet_piece *first, uint32_t entry_bytes,
                     const struct loglet_piece *pages, uint32_t count)
{
    struct loglet_device *device = log->device;
    struct frame *frame = &device->frames[log->open_frame];
    uint32_t more = 0;

    for (uint32_t i = 1; i < count; i++) {
        *++log->room.piece =
            (struct block_piece){(void *)(uintptr_t)pages[i].data, (uint32_t)pages[i].bytes, 0};
        frame->pieces++;
        digest_add(&log->digest, device->fast_digest, pages[i].data, pages[i].bytes);
        more += (uint32_t)pages[i].bytes;
    }
    frame->page_bytes += more;
    log->counters.append_bytes += more;
    store_le64(log->room.entry - entry_bytes,
               (uint64_t)(more + pages[0].bytes) << 32 | (uint32_t)first->bytes);
    note_room(log);
}

/* Any record: looks for, or makes, a frame that takes it. */
static status_t append_slowly(struct loglet *log, const struct loglet_piece *first,
                              const struct loglet_piece *pages, uint32_t count,
                              log_position_t *position)
{
    struct loglet_device *device = log->device;
    uint32_t page_bytes = page_bytes_of(log, pages, count);

    if (log->state != STATUS_OK) {
        return log->state;
    }
    if (page_bytes == 0 || count > LOGLET_PAGE_PIECES_MAX ||
        first->bytes > LOGLET_PAGE_FIRST_BYTES_MAX) {
        return STATUS_INVALID_ARGUMENT;
    }
    uint32_t entry_bytes = ENTRY_BYTES + align_entry((uint32_t)first->bytes);
    if (log->open_frame == NONE || !fits(log, entry_bytes, page_bytes) ||
        device->frames[log->open_frame].pieces + count > BLOCK_PIECES_MAX) {
        status_t status = start_pages(log, entry_bytes, page_bytes);
        if (status != STATUS_OK) {
            return status == STATUS_NOT_FOUND ? append_copy(log, first, pages, count, position)
                                              : status;
        }
    }
    note_room(log);
    put_record(log, first, entry_bytes, pages, position);
    if (count > 1u) {
        put_more(log, first, entry_bytes, pages, count);
    }
    return STATUS_OK;
}

status_t loglet_append_pages(struct loglet *log, const struct loglet_piece *first,
                             const struct loglet_piece *pages, uint32_t count,
                             log_position_t *position)
{
    return append_slowly(log, first, pages, count, position);
}

/* ---- Batches ---- */

/* Records of a batch that lie one behind the other in memory, on their way into the open frame. */
struct run {
    const uint8_t *data;
    uint32_t bytes;
    uint32_t count; /* records */
};

/* Takes the records from `records` on that follow each other and fit the room. */
static inline struct run gather_run(struct loglet *log, const struct loglet_piece *records,
                                    uint32_t count, log_position_t *positions)
{
    const struct frame *frame = &log->device->frames[log->open_frame];
    struct run run = {records[0].data, 0, 0};
    log_position_t position = frame->position + frame->record_count;
    uint8_t *entry = log->room.entry;
    uint64_t room = log->room.page_bytes;
    uint32_t entries = log->room.head_bytes / ENTRY_BYTES;

    count = count < entries ? count : entries;
    for (; run.count < count; run.count++) {
        const struct loglet_piece *record = &records[run.count];
        uint64_t bytes = record->bytes;
        if (((bytes | (uintptr_t)record->data) & (PAGE_BYTES - 1u)) != 0 || bytes - 1u >= room ||
            record->data != run.data + run.bytes) {
            break;
        }
        room -= bytes;
        run.bytes += (uint32_t)bytes;
        store_le64(entry, bytes << 32);
        entry += ENTRY_BYTES;
        positions[run.count] = position++;
    }
    return run;
}

static void put_run(struct loglet *log, struct run run)
{
    struct loglet_device *device = log->device;
    struct paged_room *room = &log->room;
    struct frame *frame = &device->frames[log->open_frame];
    uint32_t entry_bytes = run.count * ENTRY_BYTES;

    room->entry += entry_bytes;
    room->head_bytes -= entry_bytes;
    room->page_bytes -= run.bytes;
    room->pieces--;
    *++room->piece = (struct block_piece){(void *)(uintptr_t)run.data, run.bytes, 0};
    frame->pieces++;
    frame->used += entry_bytes;
    frame->page_bytes += run.bytes;
    frame->record_count = (uint16_t)(frame->record_count + run.count);
    digest_add(&log->digest, device->fast_digest, run.data, run.bytes);
    log->counters.appends += run.count;
    log->counters.append_bytes += run.bytes;
}

status_t loglet_append_batch(struct loglet *log, const struct loglet_piece *records, uint32_t count,
                             uint32_t *taken, log_position_t *positions)
{
    static const struct loglet_piece nothing = {NULL, 0};

    *taken = 0;
    while (*taken < count) {
        if (likely(log->room.pieces != 0 && log->state == STATUS_OK)) {
            struct run run = gather_run(log, records + *taken, count - *taken, positions + *taken);
            if (likely(run.count != 0)) {
                put_run(log, run);
                *taken += run.count;
                continue;
            }
        }
        status_t status = append_slowly(log, &nothing, records + *taken, 1, positions + *taken);
        if (unlikely(status != STATUS_OK)) {
            return status;
        }
        ++*taken;
    }
    return STATUS_OK;
}

uint64_t loglet_page_bytes_max(const struct loglet *log)
{
    return (uint64_t)log->device->pages_max << PAGE_SHIFT;
}
