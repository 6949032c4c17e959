// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What storage code needs of a drive, plain or zoned, whoever provides it (drivers/nvme, a file on
 * the host, a fake in tests). Asynchronous: requests go down in batches, completions come up in
 * batches; one indirect call a batch.
 *
 * A *block* is the drive's logical block (LBA), block_bytes long. Requests may be executed and may
 * complete in any order; only FLUSH and FUA say what survives power loss:
 *   - a completed WRITE or ZONE_APPEND with BLOCK_FUA is durable;
 *   - a completed FLUSH makes every write durable that had completed before it was submitted.
 *
 * Thread rule: one owner; nothing here locks.
 */
#ifndef LIB_BLOCK_BLOCK_H
#define LIB_BLOCK_BLOCK_H

#include <hallows/status.h>
#include <hallows/types.h>

enum block_operation {
    BLOCK_READ = 1,
    BLOCK_WRITE,
    BLOCK_WRITE_ZEROES, /* no data */
    BLOCK_DISCARD,      /* no data; the content is undefined afterwards */
    BLOCK_FLUSH,        /* no data, no range */
    BLOCK_ZONE_APPEND,  /* `block` is the zone's first; the completion tells where it went */
    BLOCK_ZONE_RESET,   /* `block` is the zone's first, here and below */
    BLOCK_ZONE_FINISH,
    BLOCK_ZONE_OPEN,
    BLOCK_ZONE_CLOSE,
    BLOCK_ZONE_REPORT, /* fills `data` with struct block_zone of zones from `block` on; `blocks` is
                         their number, at most BLOCK_ZONE_REPORT_MAX */
    BLOCK_COMPARE,     /* CORRUPT where `data` and the blocks differ; BLOCK_DEVICE_COMPARE */
    BLOCK_COPY         /* within the drive: `data` has `pieces` struct block_range, together
                          `blocks` blocks, which go to `block` and on; BLOCK_DEVICE_COPY */
};

#define BLOCK_FUA 1u
#define BLOCK_VECTORED 2u
#define BLOCK_PLACED 4u
#define BLOCK_PIECES_MAX 64u
#define BLOCK_ZONE_REPORT_MAX 63u
/* `data` of a zone report: this much, whatever the number of zones. */
#define BLOCK_ZONE_REPORT_BYTES 4096u
#define BLOCK_RANGE_MAX 65536u /* blocks in one DISCARD or WRITE_ZEROES */

/* One piece of the data of a BLOCK_VECTORED request. */
struct block_piece {
    void *data; /* in the drive's data memory, 4-byte aligned */
    uint32_t bytes;
    uint32_t reserved; /* 0 */
};

/* One source of a BLOCK_COPY. */
struct block_range {
    uint64_t block;
    uint32_t blocks; /* > 0 */
    uint32_t reserved;
};

struct block_request {
    uint64_t cookie;   /* comes back in the completion */
    uint64_t block;    /* first block */
    uint32_t blocks;   /* > 0 where the operation has a range */
    uint8_t operation; /* enum block_operation */
    uint8_t flags;     /* BLOCK_FUA on WRITE, WRITE_ZEROES, ZONE_APPEND, COPY; BLOCK_VECTORED;
                          BLOCK_PLACED on WRITE, with BLOCK_DEVICE_STREAMS on all */
    uint8_t pieces;    /* of a BLOCK_VECTORED READ, WRITE or ZONE_APPEND: 1..BLOCK_PIECES_MAX; of a
                          COPY its ranges: 1..max_copy_ranges */
    uint8_t placement; /* with BLOCK_PLACED: below the drive's `placements`. Blocks written with the
                          same one are erased together, so they should die together; requests with
                          the same one are served under one contract (BLOCK_DEVICE_STREAMS). */
    /* In the drive's data memory, 4-byte aligned; the drive's until completion. With BLOCK_VECTORED
     * the pieces, which together have `blocks` blocks, in any memory; it, too, until completion.
     * Every piece but the last ends at a page's end, every one but the first begins at a page's
     * beginning, so that any drive can take them (NVMe Base 4.3); but see BLOCK_DEVICE_ANY_PIECES.
     */
    void *data;
};

struct block_completion {
    uint64_t cookie;
    uint64_t block; /* ZONE_APPEND: first block written. ZONE_REPORT: zones reported. Else 0. */
    status_t status;
    uint32_t device_status; /* the drive's own code (NVMe status field: SCT << 8 | SC), 0 if good */
};

enum block_zone_state {
    BLOCK_ZONE_EMPTY = 1,
    BLOCK_ZONE_OPEN_STATE,
    BLOCK_ZONE_CLOSED,
    BLOCK_ZONE_FULL,
    BLOCK_ZONE_DEAD,     /* offline: gone for good */
    BLOCK_ZONE_READ_ONLY /* what was written can be read; written_blocks is not known: capacity */
};

struct block_zone {
    uint64_t block;          /* first */
    uint64_t capacity;       /* writable blocks, <= zone_blocks */
    uint64_t written_blocks; /* write pointer, relative to `block`; capacity when full */
    uint64_t state;          /* enum block_zone_state */
};

enum block_device_flags {
    BLOCK_DEVICE_ZONED = 1u << 0,
    BLOCK_DEVICE_VOLATILE_CACHE = 1u << 1, /* without it FLUSH and FUA cost nothing */
    BLOCK_DEVICE_DISCARD = 1u << 2,
    BLOCK_DEVICE_WRITE_ZEROES = 1u << 3,
    BLOCK_DEVICE_COMPARE = 1u << 4,
    BLOCK_DEVICE_ANY_PIECES = 1u << 5, /* BLOCK_VECTORED pieces may begin and end anywhere */
    BLOCK_DEVICE_COPY = 1u << 6,
    BLOCK_DEVICE_STREAMS = 1u << 7 /* any request may be BLOCK_PLACED (lib/block/streams.h) */
};

struct block_device;

struct block_device_ops {
    /* Checks and queues requests[0..count) in order and rings the drive once. Returns how many were
     * taken: fewer when the queue is full. A request that is wrong in itself (range, alignment,
     * memory) is taken and completes with INVALID_ARGUMENT, having changed nothing. */
    uint32_t (*submit)(struct block_device *dev, const struct block_request *requests,
                       uint32_t count, time_ns_t now_ns);
    /* Takes up to max completions; returns how many. Also runs the drive's deadlines. */
    uint32_t (*poll)(struct block_device *dev, struct block_completion *completions, uint32_t max,
                     time_ns_t now_ns);
    /* Turns wake-ups on before sleeping. Returns false, wake-ups off, if completions are there. */
    bool (*arm)(struct block_device *dev);
    /* Turns wake-ups off again after waking. */
    void (*disarm)(struct block_device *dev);
    /* When poll is due at the latest, for deadlines; DEADLINE_NEVER when nothing is outstanding. */
    time_ns_t (*next_due)(struct block_device *dev);
};

struct block_device {
    const struct block_device_ops *ops;
    uint64_t block_count;
    uint32_t block_bytes; /* power of two, 512..4096 (the drives this system supports) */
    uint32_t block_shift;
    uint32_t flags; /* enum block_device_flags */
    uint32_t max_transfer_blocks;
    uint32_t max_append_blocks; /* zoned only */
    uint32_t queue_depth;       /* requests that can be outstanding */
    uint64_t zone_blocks;       /* zoned only: distance of zones */
    uint32_t zone_count;
    uint32_t max_open_zones;   /* 0: no limit */
    uint32_t max_active_zones; /* 0: no limit */
    uint32_t atomic_blocks;    /* a write of so many tears nowhere at power loss; at least 1 */
    uint32_t max_copy_ranges;  /* of one COPY; 0: it has none */
    uint32_t max_copy_range_blocks;
    uint32_t max_copy_blocks; /* of all its ranges together */
    uint32_t placements;      /* placement handles (flexible data placement); 0: none */
};

#endif
