// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/reply.h"

#include "apps/kvstore/core/number.h"
#include "lib/base/endian.h"
#include "lib/base/format.h"

#define HEADER_BYTES_MAX (NUMBER_TEXT_MAX + 3u)
#define ERROR_TEXT_MAX 512u

/* Type byte, number, CRLF; returns the length. `to` has HEADER_BYTES_MAX. */
static inline size_t format_header(uint8_t *to, char type, uint64_t number)
{
    if (number < 10) { /* all of it as one word, first byte lowest */
        store_le64(to, (uint64_t)(uint8_t)type | ('0' + number) << 8 | 0x0a0dull << 16);
        return 4;
    }
    if (number < 100) {
        uint64_t tens = number * 205u >> 11;
        uint64_t ones = number - tens * 10u;
        store_le64(to, (uint64_t)(uint8_t)type | ('0' + tens) << 8 | ('0' + ones) << 16 |
                           0x0a0dull << 24);
        return 5;
    }
    to[0] = (uint8_t)type;
    size_t length = 1 + number_format_u64(number, to + 1);
    to[length++] = '\r';
    to[length++] = '\n';
    return length;
}

static void put_header(struct reply *reply, char type, uint64_t number)
{
    uint8_t *to = chain_reserve(reply->out, HEADER_BYTES_MAX);

    if (to != NULL) {
        chain_commit(reply->out, format_header(to, type, number));
    }
}

void reply_raw(struct reply *reply, const char *text)
{
    chain_put(reply->out, text, strlen(text));
}

void reply_ok(struct reply *reply)
{
    chain_put(reply->out, "+OK\r\n", 5);
}

static void put_line(struct reply *reply, char type, const char *text)
{
    size_t length = strlen(text);
    uint8_t *to = chain_reserve(reply->out, length + 3);

    if (to == NULL) {
        return;
    }
    to[0] = (uint8_t)type;
    for (size_t i = 0; i < length; i++) {
        to[1 + i] = (uint8_t)(text[i] == '\r' || text[i] == '\n' ? ' ' : text[i]);
    }
    to[length + 1] = '\r';
    to[length + 2] = '\n';
    chain_commit(reply->out, length + 3);
}

void reply_error(struct reply *reply, const char *text)
{
    reply->error = true;
    put_line(reply, '-', text);
}

void reply_error_format(struct reply *reply, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list arguments;

    va_start(arguments, format);
    format_text_va(text, sizeof text, format, arguments);
    va_end(arguments);
    reply_error(reply, text);
}

void reply_status(struct reply *reply, const char *text)
{
    put_line(reply, '+', text);
}

void reply_integer(struct reply *reply, int64_t value)
{
    uint8_t *to = chain_reserve(reply->out, HEADER_BYTES_MAX);

    if (to == NULL) {
        return;
    }
    if (value >= 0) {
        chain_commit(reply->out, format_header(to, ':', (uint64_t)value));
        return;
    }
    to[0] = ':';
    size_t length = 1 + number_format_i64(value, to + 1);
    to[length++] = '\r';
    to[length++] = '\n';
    chain_commit(reply->out, length);
}

void reply_bulk(struct reply *reply, struct slice bytes)
{
    uint8_t *to = chain_reserve(reply->out, HEADER_BYTES_MAX + bytes.bytes + 2);

    if (to == NULL) {
        return;
    }
    size_t length = format_header(to, '$', bytes.bytes);
    memcpy(to + length, bytes.data, bytes.bytes);
    length += bytes.bytes;
    to[length++] = '\r';
    to[length++] = '\n';
    chain_commit(reply->out, length);
}

void reply_text(struct reply *reply, const char *text)
{
    reply_bulk(reply, slice_text(text));
}

void reply_number_text(struct reply *reply, int64_t value)
{
    uint8_t text[NUMBER_TEXT_MAX];

    reply_bulk(reply, slice_of(text, number_format_i64(value, text)));
}

void reply_blob(struct reply *reply, struct blob *blob, uint32_t offset, uint32_t bytes)
{
    if (bytes < BLOB_BYTES_MIN) {
        reply_bulk(reply, slice_of(blob->bytes + offset, bytes));
        return;
    }
    put_header(reply, '$', bytes);
    chain_put_blob(reply->out, blob, offset, bytes);
    chain_put(reply->out, "\r\n", 2);
}

void reply_verbatim(struct reply *reply, struct slice text)
{
    if (reply->version == 2) {
        reply_bulk(reply, text);
        return;
    }
    put_header(reply, '=', text.bytes + 4);
    chain_put(reply->out, "txt:", 4);
    chain_put(reply->out, text.data, text.bytes);
    chain_put(reply->out, "\r\n", 2);
}

void reply_null(struct reply *reply)
{
    reply_raw(reply, reply->version == 2 ? "$-1\r\n" : "_\r\n");
}

void reply_boolean(struct reply *reply, bool value)
{
    if (reply->version == 2) {
        reply_integer(reply, value);
    } else {
        reply_raw(reply, value ? "#t\r\n" : "#f\r\n");
    }
}

void reply_array(struct reply *reply, size_t count)
{
    put_header(reply, '*', count);
}

void reply_map(struct reply *reply, size_t pairs)
{
    if (reply->version == 2) {
        put_header(reply, '*', pairs * 2);
    } else {
        put_header(reply, '%', pairs);
    }
}

void reply_set(struct reply *reply, size_t count)
{
    put_header(reply, reply->version == 2 ? '*' : '~', count);
}
