// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the module's files share; not for users. */
#ifndef LIB_LOGLET_INTERNAL_H
#define LIB_LOGLET_INTERNAL_H

#include "lib/loglet/loglet.h"
#include "lib/loglet/loglet_digest.h"
#include "lib/loglet/loglet_format.h"

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define NONE 0xffffffffu
#define BATCH 32u /* requests or completions handled at a time */
#define FRAMES_IN_FLIGHT_MAX 32u
#define WRITE_TRIES 4u
/* Zoned: a frame is sent when all but this many before it have landed, so it lies less than
 * ZONE_SPREAD bytes from where its position says. */
#define ZONE_WINDOW LOGLET_ZONE_WINDOW
#define ZONE_SPREAD (ZONE_WINDOW * FRAME_BYTES_MAX)
#define HEADER_JOBS 16u /* extents whose first blocks are read at a time */

enum extent_state {
    EXTENT_FREE = 0,
    EXTENT_USED, /* by a log */
    EXTENT_DEAD  /* the drive gave it up */
};

struct extent {
    uint64_t sequence;       /* within its log, from 1 */
    uint64_t first_sequence; /* number of its first frame */
    uint32_t written_blocks; /* zoned: blocks that have landed */
    uint32_t reach_blocks;   /* zoned: the end of those that lie farthest */
    uint32_t epoch;          /* of its first frame */
    uint32_t uses;           /* how often it was begun */
    uint32_t capacity;       /* zoned: of the zone, blocks */
    uint8_t log;             /* index, when USED */
    uint8_t state;           /* enum extent_state */
    bool reset_needed;       /* zoned: before the next frame at offset 0 */
    bool full_state;         /* zoned: the drive says full */
    bool active;             /* zoned: it takes one of the drive's active zones */
    bool read_only;          /* zoned: can be read, and never written again */
    bool busy;               /* zoned: being reset or finished for another's sake */
};

enum frame_state {
    FRAME_FREE = 0,
    FRAME_OPEN,
    FRAME_READY,
    FRAME_FLYING,
    FRAME_LANDED,
    FRAME_DONE
};

struct frame {
    uint64_t sequence;
    log_position_t position;
    log_position_t durable_after; /* records before this are whole in this and earlier frames */
    uint32_t next;                /* in its log's queue, or among the free ones */
    uint32_t extent;
    uint32_t used;     /* bytes, header included */
    uint32_t capacity; /* bytes */
    uint32_t blocks;   /* once closed */
    uint32_t continued_bytes;
    uint32_t page_bytes; /* PAGED: by reference, behind the head */
    uint32_t zero_from;  /* its memory up to zero_to is all zeroes, if not written since */
    uint32_t zero_to;
    uint16_t head_start; /* PAGED: of the head in the frame's memory; it ends with the page */
    uint16_t pieces;     /* PAGED: in the list that follows the head's page */
    uint16_t record_count;
    uint8_t flags;
    uint8_t state;
    uint8_t tries;
    uint8_t log;
    bool forced;   /* written with FUA */
    bool doubtful; /* zoned: an append of it failed, and may have landed */
};

/* An end of a log: records before `record` are whole, frames before `frame` are. */
struct log_mark {
    log_position_t record;
    log_position_t frame;
    uint64_t sequence; /* of the frame at `frame` */
};

/* What the open PAGED frame can still take as it stands; all 0 when there is none. */
struct paged_room {
    uint8_t *entry;            /* where the next entry goes */
    struct block_piece *piece; /* the last one, the head's included */
    uint32_t head_bytes;
    uint32_t page_bytes;
    uint32_t pieces;
};

struct loglet {
    struct loglet_device *device;
    struct paged_room room;
    struct loglet_counters counters;
    status_t state;
    uint32_t index;
    uint32_t used_extents;
    uint32_t open_frame;  /* NONE: none */
    uint32_t first_frame; /* oldest not yet durable */
    uint32_t last_frame;
    uint32_t unsent;   /* oldest READY frame, NONE: none */
    bool probe_wanted; /* zoned: an append failed, its fate is unknown */
    bool probing;      /* and asked for */
    uint32_t flying;
    uint32_t frames;      /* in use */
    uint32_t extent;      /* the head's; NONE: none yet */
    uint64_t head_offset; /* bytes into it, where the next frame goes */
    uint64_t extent_sequence;
    uint64_t sequence; /* of the next frame */
    log_position_t durable;
    log_position_t stable; /* frames before this position are durable */
    uint64_t stable_sequence;
    log_position_t tail;
    struct log_mark accepted; /* what the drive has, durable or not */
    struct log_mark flushing; /* what the flush under way makes durable */
    bool relaxed;             /* frames are sent without FUA */
    bool flush_needed;        /* `accepted` is ahead of `durable` */
    bool flush_flying;
    uint32_t resize_extents;   /* what is to be promised to it; 0: no change under way */
    uint64_t since_checkpoint; /* bytes made durable since the superblock was last written */
    bool deleting;
    struct digest digest;  /* of the open frame's pages */
    uint32_t scan_epoch;   /* recovery: frames from `stable` on have at least this epoch */
    struct super_log info; /* as in the superblock; tail and stable are set when it is written */
};

enum device_phase {
    PHASE_ZONES,
    PHASE_SUPER,
    PHASE_END, /* the drive's last blocks, of one that looks empty */
    PHASE_RESET,
    PHASE_HEADERS,
    PHASE_SCAN,
    PHASE_FLUSH,
    PHASE_PUBLISH, /* superblock of this epoch under way */
    PHASE_OPEN,
    PHASE_DRAIN, /* closing: frames under way */
    PHASE_CLOSE, /* last superblock under way */
    PHASE_CLOSED,
    PHASE_FAILED
};

enum cookie_kind {
    COOKIE_FRAME = 1,
    COOKIE_JOB,
    COOKIE_SUPER,
    COOKIE_STEP,
    COOKIE_ZONE,
    COOKIE_PROBE,
    COOKIE_SETTLE,
    COOKIE_FLUSH
};
#define COOKIE(kind, value) ((uint64_t)(kind) << 56 | (uint64_t)(value))
#define COOKIE_VALUE(cookie) ((cookie)&0xffffffffffffffull)

struct loglet_device {
    struct block_device *block;
    struct loglet_config config;
    enum device_phase phase;
    status_t status;
    const char *seen;
    char seen_text[96];
    bool zoned;
    bool formatted;
    bool format_wanted;
    bool fast_digest;
    uint32_t frame_bytes; /* largest frame that is written here */
    uint32_t pages_max;   /* of a PAGED frame */
    uint32_t frame_count;
    uint32_t free_frame; /* list */
    uint32_t free_frames;
    uint32_t flying;      /* frames */
    uint32_t flying_most; /* of one log */
    uint32_t outstanding; /* requests of any kind */
    uint8_t *read_buffer; /* LOGLET_READ_BYTES: recovery, and the superblock behind it */
    uint8_t *super_buffer;
    uint8_t *probe_buffer; /* zone reports after a failed append */
    bool probing;
    uint8_t *frame_memory;

    struct super super;  /* geometry, epoch; logs are kept in `logs` */
    uint32_t flush_logs; /* bits of logs that want a flush sent */
    bool super_wanted;
    bool super_flying;
    bool super_clean;
    uint32_t super_copies_left; /* formatting writes both copies of a plain drive */
    uint32_t super_tries;
    uint32_t super_zone;        /* zoned: the one being filled, 0 or 1 */
    uint32_t super_zone_blocks; /* in it */
    uint32_t super_zone_capacity;
    log_position_t super_tails[LOGLET_LOGS_MAX]; /* in the one under way */
    uint32_t super_ids[LOGLET_LOGS_MAX];
    uint32_t super_quotas[LOGLET_LOGS_MAX];

    uint32_t step; /* of the phase: next extent, zone or log */
    uint32_t step_outstanding;
    uint32_t step_batch;
    status_t step_status;
    uint64_t step_result;
    bool step_asked;
    bool scan_started;
    bool super_found, super_damaged, super_other_version, super_marker; /* while looking */
    bool zones_written;
    uint32_t super_zone_found;
    uint32_t super_zone_written[2];
    struct super super_candidate;
    struct loglet_job *jobs;
    struct loglet_job header_jobs[HEADER_JOBS];
    uint32_t header_extents[HEADER_JOBS];
    struct loglet_reader scanner;

    uint32_t next_extent; /* where to look for a free one */
    uint32_t free_extents;
    uint32_t dead_extents;
    uint32_t promised_extents;
    uint32_t active_extents;
    uint64_t super_bytes;  /* written since it was opened */
    uint64_t wasted_bytes; /* of zones that were finished early */
    uint32_t unsent_logs;  /* bit i: log i may have frames to send */
    uint32_t requests_count;
    struct block_request requests[BATCH];
    struct loglet logs[LOGLET_LOGS_MAX];
    struct frame frames[LOGLET_FRAMES_MAX];
    struct extent extents[LOGLET_EXTENTS_MAX];
};

/* ---- Positions: extent number within the log, byte offset, record number ---- */

static inline log_position_t position_of(const struct loglet_device *device, uint64_t sequence,
                                         uint64_t offset)
{
    return sequence << device->super.position_shift | offset;
}

static inline uint64_t position_extent(const struct loglet_device *device, log_position_t position)
{
    return position >> device->super.position_shift;
}

/* Of the frame, without the record number. */
static inline uint64_t position_offset(const struct loglet_device *device, log_position_t position)
{
    uint64_t mask = (1ull << device->super.position_shift) - 1u;
    return position & mask & ~(uint64_t)(device->super.block_bytes - 1u);
}

static inline uint64_t extent_bytes(const struct loglet_device *device)
{
    return device->super.extent_blocks << device->block->block_shift;
}

/* Bytes of so many blocks: of an extent they are more than 32 bits hold. */
static inline uint64_t blocks_bytes(const struct loglet_device *device, uint32_t blocks)
{
    return (uint64_t)blocks << device->block->block_shift;
}

static inline uint64_t extent_block(const struct loglet_device *device, uint32_t extent)
{
    return device->super.data_block + (uint64_t)extent * device->super.extent_distance;
}

static inline uint8_t *frame_memory(const struct loglet_device *device, uint32_t frame)
{
    return device->frame_memory + (size_t)frame * LOGLET_FRAME_BYTES;
}

/* The pieces of a PAGED frame, behind the page that its head lies in. */
static inline struct block_piece *frame_pieces(const struct loglet_device *device, uint32_t frame)
{
    return (struct block_piece *)(void *)(frame_memory(device, frame) + PAGE_BYTES);
}

/* ---- loglet.c ---- */
void device_fail(struct loglet_device *device, status_t why);
/* Queues one request; sent by device_flush_requests, or when the batch is full. False: the drive's
 * queue is full, nothing was queued. */
bool device_request(struct loglet_device *device, const struct block_request *request,
                    time_ns_t now_ns);
void device_flush_requests(struct loglet_device *device, time_ns_t now_ns);
void device_pump(struct loglet_device *device, time_ns_t now_ns);
void job_start(struct loglet_device *device, struct loglet_job *job, uint64_t block, uint64_t bytes,
               uint8_t *to);

/* Says which log a request is for, where the drive wants to know. */
static inline void log_place(const struct loglet *log, struct block_request *request)
{
    const struct block_device *block = log->device->block;

    if (unlikely(block->placements > 1u) &&
        (request->operation == BLOCK_WRITE || (block->flags & BLOCK_DEVICE_STREAMS) != 0)) {
        request->flags |= BLOCK_PLACED;
        request->placement = (uint8_t)loglet_placement(log);
    }
}
/* Divides what the device has among its logs. */
void device_divide(struct loglet_device *device);

/* ---- loglet_resize.c ---- */
/* Extents that the drive has set aside for the log: the larger of two while it is resized. */
uint32_t log_promised(const struct loglet *log);
/* Extents that it may have now: the smaller. */
uint32_t log_quota(const struct loglet *log);
/* The superblock on the drive promises it so many. */
void log_resized(struct loglet *log, uint32_t extents);

/* ---- loglet_append.c ---- */
void log_init(struct loglet_device *device, uint32_t index);
/* Opens a frame where the head is; the caller has seen that a frame and an extent are free. */
void log_start_frame(struct loglet *log, uint8_t flags);
void log_close_frame(struct loglet *log);
/* Extents that the log can still get. */
uint32_t log_extents_available(const struct loglet *log);
/* ---- loglet_pages.c ---- */
void log_finish_pages(struct loglet *log, struct frame_header *header);
uint32_t extent_find(const struct loglet_device *device, uint32_t log, uint64_t sequence);
void extent_release(struct loglet_device *device, uint32_t extent);

/* ---- loglet_send.c ---- */
void log_send(struct loglet *log, time_ns_t now_ns);
void log_fail(struct loglet *log, status_t why);
void log_frame_done(struct loglet_device *device, uint32_t index,
                    const struct block_completion *completion);
void log_zone_done(struct loglet_device *device, uint32_t value, status_t status);
void log_probe_done(struct loglet_device *device, uint32_t index,
                    const struct block_completion *completion);
void log_settle_done(struct loglet_device *device, uint32_t index, status_t status);

/* ---- loglet_flush.c ---- */
/* All before `mark` has reached the drive, with FUA if `forced`. */
void log_accept(struct loglet *log, const struct log_mark *mark, bool forced);
void log_want_flush(struct loglet *log);
void device_send_flushes(struct loglet_device *device, time_ns_t now_ns);
void log_flush_done(struct loglet_device *device, uint32_t index, status_t status);

/* ---- loglet_super.c ---- */
void super_want(struct loglet_device *device);
void super_send(struct loglet_device *device, time_ns_t now_ns);
void super_done(struct loglet_device *device, const struct block_completion *completion);

/* ---- loglet_open.c ---- */
void device_advance(struct loglet_device *device, time_ns_t now_ns);
void device_go(struct loglet_device *device, enum device_phase phase);
/* Fails the device and says what was seen on the drive. */
void device_refuse(struct loglet_device *device, status_t why, const char *seen);
/* A request whose completion the phase waits for (step_outstanding). */
bool device_step_request(struct loglet_device *device, const struct block_request *request,
                         time_ns_t now_ns);
/* Reads that the phase waits for: into slot 0 to HEADER_JOBS - 1. */
void device_read_into(struct loglet_device *device, uint32_t slot, uint64_t block, uint64_t bytes,
                      uint8_t *to);
bool device_jobs_active(const struct loglet_device *device);
/* Whether all of them went well; refuses the device if not. */
bool device_jobs_good(struct loglet_device *device);

/* ---- loglet_scan.c ---- */
void device_advance_headers(struct loglet_device *device);
void device_advance_scan(struct loglet_device *device, time_ns_t now_ns);
void device_count_extents(struct loglet_device *device);

/* ---- loglet_read.c ---- */
void reader_begin(struct loglet_reader *reader, struct loglet *log, log_position_t frame,
                  uint64_t sequence, void *buffer);

#endif
