// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Loglets: named append-only logs on one drive, over zone append on zoned drives and over extents
 * under the same sequential rule on plain ones. The format is docs/storage-format.md.
 *
 * A log is a sequence of records (0 to loglet_record_bytes_max bytes) with growing positions.
 * Appended records lie in memory until loglet_commit closes the batch; a batch becomes one or more
 * frames, each one write to the drive. When every frame up to and including a record's last one is
 * durable, loglet_durable passes the record's position: then, and only then, may it be
 * acknowledged. After power loss at any instant the log holds a prefix of what was appended that
 * includes everything acknowledged; a record is there whole or not at all.
 *
 * Space is given out in extents (a zone each, on zoned drives). loglet_trim frees the extents that
 * lie wholly before a position, once that is on the drive. A log never gets more than its capacity
 * and is never promised more than the drive has.
 *
 * Life cycle: loglet_device_open -> loglet_device_poll until loglet_device_state is not AGAIN ->
 * loglet_open (by name, found or made) until loglet_state is not AGAIN -> append, read, trim ->
 * loglet_device_close -> poll until loglet_device_state is CLOSED. Nothing blocks; every progress
 * is made in loglet_device_poll. The drive's completions belong to the device while it is open.
 *
 * Thread rule: one owner; nothing here locks.
 */
#ifndef LIB_LOGLET_LOGLET_H
#define LIB_LOGLET_LOGLET_H

#include <hallows/status.h>
#include <hallows/types.h>

#include "lib/block/account.h"
#include "lib/block/block.h"

#define LOGLET_LOGS_MAX 16u
#define LOGLET_NAME_BYTES 32u      /* with the final NUL */
#define LOGLET_EXTENTS_MAX 4096u   /* zones beyond are not used */
#define LOGLET_FRAMES_MAX 512u     /* frame buffers */
#define LOGLET_FRAME_BYTES 131072u /* of a frame buffer, and the largest frame on a drive */
/* Recovery reads no more of a log than this and what was under way, beside one block an extent. */
#define LOGLET_CHECKPOINT_BYTES (16u << 20)
#define LOGLET_READ_BYTES (2u * LOGLET_FRAME_BYTES) /* a reader's buffer */

/* Smallest buffer memory: what recovery needs, and room for records up to 16 MiB is
 * LOGLET_BUFFER_BYTES(16 MiB). More memory, more writes in flight. */
#define LOGLET_BUFFER_BYTES_MIN (LOGLET_READ_BYTES + 5u * LOGLET_FRAME_BYTES)
#define LOGLET_BUFFER_BYTES(record_bytes)                                                          \
    (LOGLET_READ_BYTES +                                                                           \
     ((uint64_t)(record_bytes) / (LOGLET_FRAME_BYTES / 4u * 3u) + 6u) * LOGLET_FRAME_BYTES)

/* Where a record lies in its log. Grows from record to record, not by the record's length; 0 is
 * before every record. Keep it only with the log's name. */
typedef uint64_t log_position_t;

enum loglet_flags {
    LOGLET_FORMAT = 1u << 0 /* write a new, empty format whatever the drive holds */
};

struct loglet_config {
    struct block_device *block;
    void *buffers;         /* in the drive's data memory, page-aligned */
    uint64_t buffer_bytes; /* >= LOGLET_BUFFER_BYTES_MIN */
    uint64_t random[2];    /* unpredictable, used when formatting and creating */
    uint32_t flags;
};

struct loglet_piece {
    const void *data;
    size_t bytes;
};

struct loglet_counters {
    uint64_t appends, append_bytes, frames, frame_bytes, padding_bytes;
    uint64_t extents_opened, extents_freed, trims, superblocks;
    uint64_t reads, read_bytes, retries, full_refusals;
};

struct loglet_device;
struct loglet;

/* Bytes of memory that a device needs (8-byte aligned), about 200 KiB. */
size_t loglet_device_bytes(void);

/* Begins to open the drive, in `memory` (loglet_device_bytes of it, the device's until it is
 * closed). An all-zero drive, as a fresh backing file is, is formatted; a drive that holds anything
 * else is refused unless LOGLET_FORMAT is set. Returns INVALID_ARGUMENT (memory, geometry) or
 * TOO_LARGE/UNSUPPORTED for a drive that cannot hold the format; further refusals come through
 * loglet_device_state. */
status_t loglet_device_open(void *memory, const struct loglet_config *config, time_ns_t now_ns,
                            struct loglet_device **device) HALLOWS_MUST_CHECK;

/* AGAIN while opening or closing, OK when open, CLOSED after closing, else why it failed for good:
 *   FOREIGN        the drive holds other data: loglet_device_seen says what; nothing was written
 *   WRONG_VERSION  a Hallows log of another format version; nothing was written
 *   CORRUPT        both superblocks, or acknowledged data, are damaged; nothing was written
 *   FULL           the drive is too small
 *   DEVICE_ERROR, DEVICE_TIMEOUT  the drive failed */
status_t loglet_device_state(const struct loglet_device *device);

/* What was found on the drive, one line for people, e.g. "GPT partition table". Never NULL. */
const char *loglet_device_seen(const struct loglet_device *device);
/* Whether this open wrote a new format. */
bool loglet_device_formatted(const struct loglet_device *device);

/* Takes the drive's completions and makes all progress. Returns how many completions there were. */
uint32_t loglet_device_poll(struct loglet_device *device, time_ns_t now_ns);

/* Whether requests are outstanding or could be started: if not, nothing will change by itself. */
bool loglet_device_busy(const struct loglet_device *device);

/* Begins a clean close: what was appended is committed and made durable, the end of every log is
 * recorded. Poll until the state is CLOSED (or an error). */
void loglet_device_close(struct loglet_device *device);

/* Finds the log of that name or creates it with a guaranteed capacity of `capacity_bytes` (rounded
 * up to extents; 0: all that is not promised yet; ignored if it exists). Returns INVALID_ARGUMENT
 * (name), FULL (capacity or LOGLET_LOGS_MAX), BUSY while another creation is under way, or the
 * device's state when it is not open. loglet_state is AGAIN until a new log is durable. */
status_t loglet_open(struct loglet_device *device, const char *name, uint64_t capacity_bytes,
                     struct loglet **log) HALLOWS_MUST_CHECK;
status_t loglet_state(const struct loglet *log);

/* Copies a record of the pieces' bytes to the end of the log; the memory is the caller's again.
 * All or nothing:
 *   WOULD_BLOCK   buffers are in flight: poll, then try again
 *   FULL          the log has no room until it is trimmed
 *   TOO_LARGE     more than loglet_record_bytes_max
 *   AGAIN, CLOSED, DEVICE_ERROR, DEVICE_TIMEOUT  the log's state
 * The record is acknowledged when *position < loglet_durable(log). */
status_t loglet_append(struct loglet *log, const struct loglet_piece *pieces, uint32_t count,
                       log_position_t *position) HALLOWS_MUST_CHECK;

/* The same for a record whose bytes are `first` (copied; may be empty) and then whole pages that
 * the drive takes from where they lie: each piece page-aligned, in the drive's data memory, a
 * multiple of PAGE_BYTES. The pages are the log's until the record is durable or the log has
 * failed: until then their content must not change. Besides the errors above: INVALID_ARGUMENT  no
 * pages, not whole pages, or more than the limits */
#define LOGLET_PAGE_PIECES_MAX 16u
#define LOGLET_PAGE_FIRST_BYTES_MAX 2048u
status_t loglet_append_pages(struct loglet *log, const struct loglet_piece *first,
                             const struct loglet_piece *pages, uint32_t count,
                             log_position_t *position) HALLOWS_MUST_CHECK;
/* A batch: each of the records is one piece as above, its position goes to `positions`. *taken says
 * how many were appended; if not all, the status is that of the next one. */
status_t loglet_append_batch(struct loglet *log, const struct loglet_piece *records, uint32_t count,
                             uint32_t *taken, log_position_t *positions) HALLOWS_MUST_CHECK;
/* Largest number of bytes that the pages of such a record can have. */
uint64_t loglet_page_bytes_max(const struct loglet *log);

/* Sends what was appended so far to the drive, as one batch. Call once an event-loop turn. */
void loglet_commit(struct loglet *log, time_ns_t now_ns);

/* How frames reach the drive from the next one sent on. Relaxed ones are not forced through the
 * drive's cache (no FUA): what the drive has taken is accepted, and survives the end of this
 * program, but only a flush makes it durable. Going back to strict flushes what is accepted. */
void loglet_set_relaxed(struct loglet *log, bool relaxed, time_ns_t now_ns);
/* Begins to make durable what is accepted now; loglet_durable tells when it is. Nothing is sent
 * when all of it is. */
void loglet_flush(struct loglet *log, time_ns_t now_ns);
/* Every record before this position has reached the drive; >= loglet_durable. */
log_position_t loglet_accepted(const struct loglet *log);

/* With which block_request.placement the drive's requests for this log are made; 0: with none. */
uint32_t loglet_placement(const struct loglet *log);
/* Frame buffers that the log has in use; of loglet_device_frames in all. */
uint32_t loglet_frames(const struct loglet *log);
uint32_t loglet_device_frames(const struct loglet_device *device);

/* Every record before this position is durable. */
log_position_t loglet_durable(const struct loglet *log);
/* First position that is kept, and an end that no record reaches yet: records lie in [tail, head),
 * appended but not committed ones included. */
log_position_t loglet_tail(const struct loglet *log);
log_position_t loglet_head(const struct loglet *log);
uint64_t loglet_record_bytes_max(const struct loglet *log);

/* Space, in bytes on the drive: promised to this log, occupied, and what an append can still get.
 * An append of n bytes with n + n / 1024 + 8192 <= free never returns FULL. */
uint64_t loglet_capacity_bytes(const struct loglet *log);
uint64_t loglet_used_bytes(const struct loglet *log);
uint64_t loglet_free_bytes(const struct loglet *log);

/* Gives up all records before `position` (a record's, or loglet_durable for all). Asynchronous: the
 * space is free once loglet_tail has reached it on the drive. Returns INVALID_ARGUMENT for a
 * position beyond loglet_durable; a position before the tail is no error and does nothing. */
status_t loglet_trim(struct loglet *log, log_position_t position) HALLOWS_MUST_CHECK;

/* Puts down where every log's durable end is, so that recovery begins there. Happens by itself
 * after every LOGLET_CHECKPOINT_BYTES and whenever something is trimmed. Asynchronous. Returns the
 * log's state. */
status_t loglet_checkpoint(struct loglet *log) HALLOWS_MUST_CHECK;

/* Changes the log's guaranteed capacity to `capacity_bytes`, rounded up to extents. Room that is
 * added can be used, and room that is given up can be promised to others, once that is on the
 * drive: loglet_resizing is false then. A change made before that takes the place of this one.
 * Returns IN_USE when more than that is occupied, FULL when the drive cannot promise it,
 * INVALID_ARGUMENT for 0, or the log's state. */
status_t loglet_resize(struct loglet *log, uint64_t capacity_bytes) HALLOWS_MUST_CHECK;
bool loglet_resizing(const struct loglet *log);

/* Deletes the log with all it holds: its name and its capacity are free for others once the
 * deletion is on the drive, then loglet_state is CANCELLED. Nothing may be reading it or under way:
 * BUSY otherwise. */
status_t loglet_delete(struct loglet *log) HALLOWS_MUST_CHECK;

/* What a log is, for lists. `index` goes from 0 to LOGLET_LOGS_MAX - 1; false: no log there. */
struct loglet_info {
    const char *name;
    status_t state;
    log_position_t tail, durable;
    uint64_t capacity_bytes, used_bytes, free_bytes;
};
bool loglet_enumerate(const struct loglet_device *device, uint32_t index, struct loglet_info *info);

/* The drive as extents (zones, on a zoned drive). `uses` counts how often an extent was begun,
 * since the drive was first formatted as far as is known; a zone is reset each time but the first.
 */
struct loglet_space {
    bool zoned;
    uint32_t extents, free, dead, promised;
    uint64_t extent_bytes;
    uint32_t uses_least, uses_most; /* of one extent */
    uint64_t uses;                  /* of all */
    uint32_t active;                /* zones that hold one of the drive's active ones */
    uint32_t epoch;                 /* how often the drive was opened since it was formatted */
    /* Since it was opened: given by users of all logs; written for that, padding included; written
     * to keep the books; and left unwritten in zones that were finished early. Write amplification
     * is the last three over the first. */
    uint64_t append_bytes, frame_bytes, super_bytes, wasted_bytes;
};
void loglet_space(const struct loglet_device *device, struct loglet_space *space);

/* One of them; false: there is no such. */
struct loglet_extent {
    uint32_t uses;
    const char *log; /* that it belongs to; NULL: none */
    bool dead, read_only;
};
bool loglet_extent(const struct loglet_device *device, uint32_t index, struct loglet_extent *told);

const struct loglet_counters *loglet_counters(const struct loglet *log);

/* ,"space":{..},"logs":[..] (lib/block/account.h). The device is open. */
void loglet_account(const struct loglet_device *device, const struct account *account);

/* ---- Reading ---- */

/* A piece of a record, in order. A record's bytes are offset, offset + bytes, .. to total_bytes;
 * the last piece has offset + bytes == total_bytes. `data` is valid until the next call. */
struct loglet_fragment {
    log_position_t position; /* of the record */
    const uint8_t *data;
    uint32_t bytes;
    uint32_t offset;
    uint32_t total_bytes;
};

/* Several reads of the drive that complete as one; part of a reader. */
struct loglet_job {
    struct loglet_job *next;
    uint64_t block;
    uint8_t *to;
    uint64_t bytes_left; /* not yet submitted */
    uint32_t outstanding;
    bool active;
    uint8_t flags, placement; /* of its requests */
    status_t status;
};

/* Zoned drives: appends of a log under way, and so how many frames lie before their turn, at most.
 */
#define LOGLET_ZONE_WINDOW 8u

/* Reads durable records in order from a position on. Caller's memory, opaque. */
struct loglet_reader {
    struct loglet *log;
    struct loglet_job job;
    uint8_t *buffer;
    log_position_t start;     /* first record wanted */
    log_position_t record;    /* the one being read */
    log_position_t frame;     /* being read, or next */
    log_position_t buffer_at; /* what the buffer begins with */
    uint64_t sequence;        /* expected of the next frame; 0: any */
    uint32_t epoch;           /* least epoch that it may have */
    uint32_t filled;          /* bytes in the buffer */
    uint32_t next_bytes;      /* how much to read ahead */
    uint32_t at;              /* next unread byte of the frame, in the buffer */
    uint32_t end;             /* of the frame's body, in the buffer */
    uint32_t frame_bytes;     /* that it takes on the drive */
    uint32_t index;           /* of the next record in the frame */
    uint32_t total;           /* bytes of the record being read */
    uint32_t offset;          /* of them passed */
    bool in_frame;
    bool in_record;
    uint32_t extent; /* number of the one that `frame` lies in, as last looked up */
    uint64_t extent_sequence;
    uint32_t continued; /* bytes of the frame that belong to the record before */
    uint32_t record_count;
    uint32_t pages_at; /* PAGED frames: next page, in the buffer */
    uint32_t pages_end;
    uint32_t head_at;   /* next entry, in the buffer */
    uint32_t pages_due; /* bytes of the record being read that lie in pages */
    bool paged;
    bool open_end;
    bool scanning; /* recovery: beyond what is known to be durable */
    /* Zoned drives, where frames lie near their place: frames before `walk` bytes of the extent
     * have been read or are in `seen`, if `swept`; else some that lie before their turn may be
     * unknown. */
    bool swept;
    bool placed; /* the next frame was found, at `place` */
    uint64_t place;
    uint64_t walk;
    uint32_t seen_count;
    struct {
        log_position_t position;
        uint64_t at;
    } seen[2u * LOGLET_ZONE_WINDOW];
};

/* `buffer` is LOGLET_READ_BYTES of the drive's data memory, page-aligned, the reader's until
 * loglet_reader_stop or the end. Returns INVALID_ARGUMENT for a position outside [tail, durable].
 */
status_t loglet_reader_start(struct loglet_reader *reader, struct loglet *log,
                             log_position_t position, void *buffer) HALLOWS_MUST_CHECK;

/* The next piece: OK; AGAIN (poll the device, then call again); NOT_FOUND after the last durable
 * record; CORRUPT when stored data fails its checks; or a device status. A record whose last piece
 * was not delivered does not exist. */
status_t loglet_reader_next(struct loglet_reader *reader,
                            struct loglet_fragment *fragment) HALLOWS_MUST_CHECK;

/* Scrubbing: reads the whole log as it is now and checks every frame, giving no data out. `reader`
 * and `buffer` as above; loglet_reader_stop ends it early. next: AGAIN (poll the device, then call
 * again); OK: all is whole; CORRUPT or a device status, and *position is where the frame lies that
 * is not.
 */
status_t loglet_scrub_start(struct loglet_reader *reader, struct loglet *log,
                            void *buffer) HALLOWS_MUST_CHECK;
status_t loglet_scrub_next(struct loglet_reader *reader,
                           log_position_t *position) HALLOWS_MUST_CHECK;

/* Lets the reader go. Returns AGAIN while the drive still writes into the buffer: poll, repeat. */
status_t loglet_reader_stop(struct loglet_reader *reader) HALLOWS_MUST_CHECK;

#endif
