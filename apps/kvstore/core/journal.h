// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a change of the database looks like in the log, and the records that wait to be written.
 *
 * Records say what is to be true afterwards, not what the client asked: a counter's new value, a
 * moment of expiry. So replaying a record twice, or replaying a log whose beginning was trimmed
 * after a checkpoint, ends in the same state.
 *
 * Encoding, little-endian, packed one behind the other in a stream:
 *     0  u32 bytes of the whole record
 *     4  u8  type, u8 and u16 zero
 *     8  u32 key bytes      12 u32 value bytes     16 i64 argument     24 key, then value
 *   SET        key, value, argument = Unix ms of expiry or 0
 *   WRITE      key, value written at offset `argument` of what the key holds; zeros before it
 *   DELETE     key
 *   EXPIRE     key, argument as in SET
 *   RENAME     key to value (a key)
 *   FLUSH      nothing
 *   GROUP      argument = number of records that follow inside, all or none of which happen
 *
 * The stream is cut into log records (journal frames) of JOURNAL_FRAME_HEADER_BYTES and a piece of
 * the stream: u8 format version, u8 flags, u16 zero. JOURNAL_FRAME_FIRST marks a piece that begins
 * with a record; what an earlier frame left incomplete is then void (its write was never
 * acknowledged).
 *
 * Positions count the stream's bytes since this program started.
 */
#ifndef APPS_KVSTORE_CORE_JOURNAL_H
#define APPS_KVSTORE_CORE_JOURNAL_H

#include <hallows/status.h>

#include "apps/kvstore/core/chain.h"
#include "apps/kvstore/core/keyspace.h"

#define JOURNAL_VERSION 1u
#define JOURNAL_FRAME_HEADER_BYTES 4u
#define JOURNAL_FRAME_FIRST 1u
#define JOURNAL_RECORD_HEADER_BYTES 24u

enum journal_type {
    JOURNAL_SET = 1,
    JOURNAL_WRITE = 2,
    JOURNAL_DELETE = 3,
    JOURNAL_EXPIRE = 4,
    JOURNAL_RENAME = 5,
    JOURNAL_FLUSH = 6,
    JOURNAL_GROUP = 7
};

struct journal_record {
    enum journal_type type;
    struct slice key;
    struct slice value;
    int64_t argument;
    struct blob *blob; /* value lies in this blob; NULL: copy it */
};

struct journal {
    struct heap *heap;
    struct chain pending; /* whole records, not yet taken */
    struct chain draft;   /* records of a group, until it is complete */
    bool off;             /* nothing is recorded: recovery */
    bool grouping;
    uint32_t group_records;
    uint8_t *group_header;
    uint64_t durable;     /* stream position up to which all is safe */
    uint64_t space_bytes; /* that the log can take beyond what is pending; set by the owner */
    status_t refusal;     /* why no more records are taken: a failed log */
    uint64_t records;
};

void journal_init(struct journal *journal, struct heap *heap);
/* The position behind the last record. Inside a group only a lower bound of the position at which
 * its records count; but the whole group is one batch, and batches become durable as a whole. */
static inline uint64_t journal_position(const struct journal *journal)
{
    /* A group that stays with one record leaves its header out. */
    uint64_t header =
        journal->grouping && journal->group_records <= 1u ? JOURNAL_RECORD_HEADER_BYTES : 0;

    return journal->pending.put_bytes + chain_bytes(&journal->draft) - header;
}

/* Bytes of a record with that much key and value. */
static inline size_t journal_record_bytes(size_t key_bytes, size_t value_bytes)
{
    return JOURNAL_RECORD_HEADER_BYTES + key_bytes + value_bytes;
}

/* Records a change that the caller makes right after. Errors, and then nothing happened: FULL (the
 * log), NO_MEMORY, TOO_LARGE (4 GiB), or the log's failure. */
status_t journal_put(struct journal *journal,
                     const struct journal_record *record) HALLOWS_MUST_CHECK;

/* What is put from here to journal_group_end is one record. Groups do not nest. NO_MEMORY. */
status_t journal_group_begin(struct journal *journal) HALLOWS_MUST_CHECK;
/* Ends the group with what was put. Cannot fail. */
void journal_group_end(struct journal *journal);
/* Ends the group as if nothing had been put. */
void journal_group_cancel(struct journal *journal);

/* The header of a journal frame, into JOURNAL_FRAME_HEADER_BYTES bytes. */
void journal_frame_header(uint8_t *to, bool first);

/* ---- Reading ----------------------------------------------------------------------------------
 */

/* Takes the record at the start of `bytes` apart. OK: *used bytes are consumed; AGAIN: it is not
 * complete, and has *used bytes; CORRUPT. Inside a group the records lie in `value`. */
status_t journal_decode(struct slice bytes, struct journal_record *record,
                        size_t *used) HALLOWS_MUST_CHECK;

/* Puts a stream together from frames again. */
struct journal_reader {
    struct heap *heap;
    uint8_t *partial; /* a record's first bytes */
    size_t length;
    size_t capacity;
    uint64_t records;
    uint64_t bytes;
    uint64_t torn; /* incomplete records passed over */
    status_t (*apply)(void *context, const struct journal_record *record);
    void *context;
    uint8_t header[JOURNAL_FRAME_HEADER_BYTES];
};

void journal_reader_init(struct journal_reader *reader, struct heap *heap,
                         status_t (*apply)(void *context, const struct journal_record *record),
                         void *context);
/* A part of a frame, in order; `offset` is where in the frame it begins. Calls apply for each
 * record that becomes complete (groups taken apart). CORRUPT, WRONG_VERSION, NO_MEMORY, or what
 * apply returned. */
status_t journal_reader_feed(struct journal_reader *reader, struct slice part,
                             size_t offset) HALLOWS_MUST_CHECK;
void journal_reader_free(struct journal_reader *reader);

#endif
