// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The on-disk format, version 4 (docs/storage-format.md): encoding, decoding and checking of
 * superblocks and frame headers. Pure functions over bytes; all integers are little-endian.
 */
#ifndef LIB_LOGLET_FORMAT_H
#define LIB_LOGLET_FORMAT_H

#include <hallows/status.h>
#include <hallows/types.h>

#define FORMAT_VERSION 4u
#define FORMAT_VERSION_OLDEST 2u /* read, and written as version 4 from then on */
#define POSITION_SHIFT_MAX 40u
#define EXTENT_BYTES_MAX (1ull << POSITION_SHIFT_MAX)
#define SUPER_BYTES 4096u
#define SUPER_LOGS 16u
#define SUPER_NAME_BYTES 32u
/* Plain drives: where the two copies lie, and where the first extent begins. */
#define SUPER_COPY_DISTANCE 65536u
#define SUPER_AREA_BYTES 131072u
#define PLAIN_DATA_OFFSET 1048576u

#define FRAME_HEADER_BYTES 96u
#define FRAME_BYTES_MAX (131072u + 4096u) /* a head and 32 pages */
#define FRAME_HEAD_BYTES_MAX 4096u
#define FRAME_DIGEST_BYTES 16u
#define RECORD_HEADER_BYTES 8u
#define RECORD_ALIGNMENT 8u
#define FRAME_RECORDS_MAX 512u /* record numbers fit below the smallest block */

#define MARKER_BYTES 512u

enum super_flags {
    SUPER_CLEAN = 1u << 0,
    SUPER_ZONED = 1u << 1,
    SUPER_FORMATTING = 1u << 2 /* a marker: what is cut off here may be formatted again */
};
enum frame_flags {
    FRAME_CONTINUES = 1u << 0, /* begins with the rest, or a part, of the record before */
    FRAME_OPEN_END = 1u << 1,  /* its last record goes on in the next frame */
    FRAME_PAGED = 1u << 2      /* a head of entries, and the records' pages behind it */
};

struct super_log {
    char name[SUPER_NAME_BYTES]; /* NUL-terminated */
    uint64_t salt;
    uint32_t id; /* 0: unused entry */
    uint32_t quota_extents;
    uint64_t tail;
    uint64_t stable; /* every frame before this position is durable */
    uint64_t stable_sequence;
};

struct super {
    uint64_t sequence;
    uint64_t device_id[2];
    uint64_t device_blocks;
    uint64_t data_block;      /* of extent 0 */
    uint64_t extent_distance; /* blocks from extent to extent */
    uint64_t extent_blocks;   /* usable blocks of each */
    uint32_t version;         /* that it was found in */
    uint32_t flags;
    uint32_t epoch; /* counts opens */
    uint32_t block_bytes;
    uint32_t extent_count;
    uint32_t position_shift;
    uint32_t next_log_id;
    uint32_t uses_least; /* how often each extent was begun, at least */
    struct super_log logs[SUPER_LOGS];
};

enum super_check { SUPER_ABSENT, SUPER_OTHER_VERSION, SUPER_DAMAGED, SUPER_MARKER, SUPER_VALID };

void super_encode(const struct super *super, uint8_t bytes[SUPER_BYTES]);
/* VALID: the checksum holds and every field lies in its range; only then *super is set. */
enum super_check super_decode(const uint8_t bytes[SUPER_BYTES], struct super *super);

/* The marker is one block, written before the first superblock of a format. */
void super_encode_marker(uint8_t bytes[MARKER_BYTES]);

struct frame_header {
    uint64_t salt;
    uint64_t sequence;
    uint64_t position;
    uint64_t stable;
    uint64_t stable_sequence;
    uint32_t log_id;
    uint32_t epoch;
    uint32_t uses;       /* how often the extent was begun, this time included; 0: not known */
    uint32_t body_bytes; /* behind the header; of a PAGED frame only those of the head */
    uint32_t continued_bytes;
    uint32_t page_bytes;   /* PAGED: of all pages */
    uint16_t page_offset;  /* PAGED: where they begin */
    uint16_t record_count; /* that begin in this frame */
    uint16_t flags;
    uint8_t digest[FRAME_DIGEST_BYTES]; /* of the pages and the body (loglet_digest.h) */
};

void frame_encode(const struct frame_header *header, uint8_t bytes[FRAME_HEADER_BYTES]);
/* False: not a frame header, or its checksum fails; *header is then undefined. */
bool frame_decode(const uint8_t bytes[FRAME_HEADER_BYTES], struct frame_header *header);

/* What a drive's first SUPER_AREA_BYTES hold, for a message; NULL when all are zero. */
const char *format_recognise(const uint8_t *bytes, size_t count);

#endif
