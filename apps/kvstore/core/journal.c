// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/journal.h"

#include "lib/base/assert.h"
#include "lib/base/endian.h"

/* Kept free in the log for what has to be written when it is otherwise full: deletions, which make
 * room, and checkpoints. */
#define RESERVE_BYTES 65536u
#define PARTIAL_BYTES_MIN 65536u

void journal_init(struct journal *journal, struct heap *heap)
{
    *journal = (struct journal){.heap = heap, .space_bytes = UINT64_MAX};
    chain_init(&journal->pending, heap);
    chain_init(&journal->draft, heap);
}

static bool makes_room(enum journal_type type)
{
    return type == JOURNAL_DELETE || type == JOURNAL_FLUSH;
}

static void encode_header(uint8_t *to, const struct journal_record *record, size_t bytes)
{
    store_le32(to, (uint32_t)bytes);
    to[4] = (uint8_t)record->type;
    to[5] = 0;
    store_le16(to + 6, 0);
    store_le32(to + 8, (uint32_t)record->key.bytes);
    store_le32(to + 12, (uint32_t)record->value.bytes);
    store_le64(to + 16, (uint64_t)record->argument);
}

/* Appends the record to `chain`, whole or not at all. */
static status_t encode(struct journal *journal, struct chain *chain,
                       const struct journal_record *record)
{
    bool by_reference = record->blob != NULL && record->value.bytes >= BLOB_BYTES_MIN;
    size_t bytes = journal_record_bytes(record->key.bytes, record->value.bytes);
    size_t copied = by_reference ? bytes - record->value.bytes : bytes;
    struct chain parts;

    chain_init(&parts, journal->heap);
    struct chain *target = by_reference ? &parts : chain;
    uint8_t *to = chain_reserve(target, copied);
    if (to == NULL) {
        target->failed = false;
        return STATUS_NO_MEMORY;
    }
    encode_header(to, record, bytes);
    slice_copy(to + JOURNAL_RECORD_HEADER_BYTES, record->key);
    if (!by_reference) {
        slice_copy(to + JOURNAL_RECORD_HEADER_BYTES + record->key.bytes, record->value);
        chain_commit(chain, copied);
        return STATUS_OK;
    }
    chain_commit(&parts, copied);
    uint32_t offset = (uint32_t)(record->value.data - record->blob->bytes);
    if (!chain_put_blob(&parts, record->blob, offset, (uint32_t)record->value.bytes)) {
        chain_clear(&parts);
        return STATUS_NO_MEMORY;
    }
    chain_move(chain, &parts);
    return STATUS_OK;
}

status_t journal_put(struct journal *journal, const struct journal_record *record)
{
    size_t bytes = journal_record_bytes(record->key.bytes, record->value.bytes);

    if (journal->off) {
        return STATUS_OK;
    }
    if (journal->refusal != STATUS_OK) {
        return journal->refusal;
    }
    if (bytes + chain_bytes(&journal->draft) > UINT32_MAX) {
        return STATUS_TOO_LARGE;
    }
    uint64_t waiting = chain_bytes(&journal->pending) + chain_bytes(&journal->draft);
    uint64_t reserve = makes_room(record->type) ? 0 : RESERVE_BYTES;
    if (waiting + bytes + reserve > journal->space_bytes) {
        return STATUS_FULL;
    }
    struct chain *chain = journal->grouping ? &journal->draft : &journal->pending;
    status_t status = encode(journal, chain, record);
    if (status == STATUS_OK) {
        journal->records++;
        journal->group_records += journal->grouping;
    }
    return status;
}

status_t journal_group_begin(struct journal *journal)
{
    ASSERT(!journal->grouping);
    if (journal->off) {
        return STATUS_OK;
    }
    /* Room for the group's own header, filled in at the end. */
    uint8_t *header = chain_reserve(&journal->draft, JOURNAL_RECORD_HEADER_BYTES);
    if (header == NULL) {
        journal->draft.failed = false;
        return STATUS_NO_MEMORY;
    }
    chain_commit(&journal->draft, JOURNAL_RECORD_HEADER_BYTES);
    journal->group_header = header;
    journal->grouping = true;
    journal->group_records = 0;
    return STATUS_OK;
}

void journal_group_cancel(struct journal *journal)
{
    journal->records -= journal->grouping ? journal->group_records : 0;
    journal->grouping = false;
    chain_clear(&journal->draft);
}

void journal_group_end(struct journal *journal)
{
    if (!journal->grouping || journal->group_records == 0) {
        journal_group_cancel(journal);
        return;
    }
    size_t bytes = (size_t)chain_bytes(&journal->draft);
    struct journal_record group = {
        .type = JOURNAL_GROUP,
        .argument = journal->group_records,
        .value = slice_of(NULL, bytes - JOURNAL_RECORD_HEADER_BYTES),
    };
    encode_header(journal->group_header, &group, bytes);
    if (journal->group_records == 1) {
        chain_consume(&journal->draft, JOURNAL_RECORD_HEADER_BYTES);
    }
    chain_move(&journal->pending, &journal->draft);
    journal->grouping = false;
}

void journal_frame_header(uint8_t *to, bool first)
{
    to[0] = JOURNAL_VERSION;
    to[1] = first ? JOURNAL_FRAME_FIRST : 0;
    store_le16(to + 2, 0);
}

/* ---- Reading ----------------------------------------------------------------------------------
 */

/* Whether the fields that the type does not use are empty and the others are in range. */
static bool fields_valid(const struct journal_record *record)
{
    size_t key = record->key.bytes;
    size_t value = record->value.bytes;
    int64_t argument = record->argument;

    switch (record->type) {
    case JOURNAL_SET:
        return key <= KEY_BYTES_MAX && argument >= 0;
    case JOURNAL_WRITE:
        return key <= KEY_BYTES_MAX && argument >= 0 &&
               argument <= (int64_t)UINT32_MAX - (int64_t)value;
    case JOURNAL_DELETE:
        return key <= KEY_BYTES_MAX && value == 0 && argument == 0;
    case JOURNAL_EXPIRE:
        return key <= KEY_BYTES_MAX && value == 0 && argument >= 0;
    case JOURNAL_RENAME:
        return key <= KEY_BYTES_MAX && value <= KEY_BYTES_MAX && argument == 0;
    case JOURNAL_FLUSH:
        return key == 0 && value == 0 && argument == 0;
    case JOURNAL_GROUP:
        return key == 0 && argument > 0;
    }
    return false;
}

status_t journal_decode(struct slice bytes, struct journal_record *record, size_t *used)
{
    *used = JOURNAL_RECORD_HEADER_BYTES;
    if (bytes.bytes < JOURNAL_RECORD_HEADER_BYTES) {
        return STATUS_AGAIN;
    }
    uint64_t total = load_le32(bytes.data);
    uint64_t key_bytes = load_le32(bytes.data + 8);
    uint64_t value_bytes = load_le32(bytes.data + 12);
    *record = (struct journal_record){.type = (enum journal_type)bytes.data[4],
                                      .key = {NULL, (size_t)key_bytes},
                                      .value = {NULL, (size_t)value_bytes},
                                      .argument = (int64_t)load_le64(bytes.data + 16)};
    if (total != JOURNAL_RECORD_HEADER_BYTES + key_bytes + value_bytes || bytes.data[5] != 0 ||
        load_le16(bytes.data + 6) != 0 || !fields_valid(record)) {
        return STATUS_CORRUPT;
    }
    *used = (size_t)total;
    if (bytes.bytes < total) {
        return STATUS_AGAIN;
    }
    record->key.data = bytes.data + JOURNAL_RECORD_HEADER_BYTES;
    record->value.data = record->key.data + key_bytes;
    return STATUS_OK;
}

void journal_reader_init(struct journal_reader *reader, struct heap *heap,
                         status_t (*apply)(void *context, const struct journal_record *record),
                         void *context)
{
    *reader = (struct journal_reader){.heap = heap, .apply = apply, .context = context};
}

void journal_reader_free(struct journal_reader *reader)
{
    heap_free(reader->heap, reader->partial);
    reader->partial = NULL;
    reader->length = 0;
    reader->capacity = 0;
}

static status_t apply_group(struct journal_reader *reader, const struct journal_record *group)
{
    struct slice rest = group->value;
    struct journal_record record;
    size_t used;

    /* Look through all of it first, so that a damaged group changes nothing. */
    for (int64_t i = 0; i < group->argument; i++) {
        if (journal_decode(rest, &record, &used) != STATUS_OK || record.type == JOURNAL_GROUP) {
            return STATUS_CORRUPT;
        }
        rest = slice_of(rest.data + used, rest.bytes - used);
    }
    if (rest.bytes != 0) {
        return STATUS_CORRUPT;
    }
    rest = group->value;
    while (rest.bytes != 0) {
        status_t status = journal_decode(rest, &record, &used);
        if (status == STATUS_OK) {
            status = reader->apply(reader->context, &record);
        }
        if (status != STATUS_OK) {
            return status;
        }
        reader->records++;
        rest = slice_of(rest.data + used, rest.bytes - used);
    }
    return STATUS_OK;
}

/* Applies the whole records in `bytes`; *used is how far they reach, *wanted what the next needs.
 */
static status_t apply_all(struct journal_reader *reader, struct slice bytes, size_t *used,
                          size_t *wanted)
{
    *used = 0;
    *wanted = 0;
    while (*used < bytes.bytes) {
        struct journal_record record;
        size_t length;
        status_t status =
            journal_decode(slice_of(bytes.data + *used, bytes.bytes - *used), &record, &length);
        if (status == STATUS_AGAIN) {
            *wanted = length;
            return STATUS_OK;
        }
        if (status == STATUS_OK) {
            status = record.type == JOURNAL_GROUP ? apply_group(reader, &record)
                                                  : reader->apply(reader->context, &record);
        }
        if (status != STATUS_OK) {
            return status;
        }
        reader->records += record.type != JOURNAL_GROUP;
        *used += length;
    }
    return STATUS_OK;
}

static status_t keep_partial(struct journal_reader *reader, struct slice bytes)
{
    size_t needed = reader->length + bytes.bytes;

    if (needed > reader->capacity) {
        size_t capacity = reader->capacity * 2 > needed ? reader->capacity * 2 : needed;
        capacity = capacity < PARTIAL_BYTES_MIN ? PARTIAL_BYTES_MIN : capacity;
        uint8_t *partial = heap_resize(reader->heap, reader->partial, capacity);
        if (partial == NULL) {
            return STATUS_NO_MEMORY;
        }
        reader->partial = partial;
        reader->capacity = capacity;
    }
    memcpy(reader->partial + reader->length, bytes.data, bytes.bytes);
    reader->length = needed;
    return STATUS_OK;
}

static status_t read_stream(struct journal_reader *reader, struct slice bytes)
{
    size_t used;
    size_t wanted;
    status_t status;

    reader->bytes += bytes.bytes;
    /* Complete what is there by just as much as it needs, so that nothing is moved twice. */
    while (reader->length != 0 && bytes.bytes != 0) {
        struct journal_record record;
        size_t length;
        status = journal_decode(slice_of(reader->partial, reader->length), &record, &length);
        if (status != STATUS_AGAIN) {
            return STATUS_CORRUPT;
        }
        size_t take = length - reader->length < bytes.bytes ? length - reader->length : bytes.bytes;
        status = keep_partial(reader, slice_of(bytes.data, take));
        if (status != STATUS_OK) {
            return status;
        }
        bytes = slice_of(bytes.data + take, bytes.bytes - take);
        status = apply_all(reader, slice_of(reader->partial, reader->length), &used, &wanted);
        if (status != STATUS_OK) {
            return status;
        }
        reader->length = used == 0 ? reader->length : 0;
    }
    status = apply_all(reader, bytes, &used, &wanted);
    if (status != STATUS_OK || used == bytes.bytes) {
        return status;
    }
    return keep_partial(reader, slice_of(bytes.data + used, bytes.bytes - used));
}

status_t journal_reader_feed(struct journal_reader *reader, struct slice part, size_t offset)
{
    while (offset < JOURNAL_FRAME_HEADER_BYTES && part.bytes != 0) {
        reader->header[offset++] = *part.data++;
        part.bytes--;
        if (offset < JOURNAL_FRAME_HEADER_BYTES) {
            continue;
        }
        if (reader->header[0] != JOURNAL_VERSION) {
            return STATUS_WRONG_VERSION;
        }
        if (reader->header[1] > JOURNAL_FRAME_FIRST || load_le16(reader->header + 2) != 0) {
            return STATUS_CORRUPT;
        }
        if (reader->header[1] == JOURNAL_FRAME_FIRST && reader->length != 0) {
            reader->length = 0;
            reader->torn++;
        }
    }
    return part.bytes == 0 ? STATUS_OK : read_stream(reader, part);
}
