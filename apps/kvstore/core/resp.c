// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/resp.h"

#include "apps/kvstore/core/number.h"

#define RESP_ARGUMENTS_KEPT 64u

static const char *const too_big_inline = "Protocol error: too big inline request";
static const char *const too_big_array = "Protocol error: too big mbulk count string";
static const char *const too_big_bulk = "Protocol error: too big bulk count string";
static const char *const bad_array = "Protocol error: invalid multibulk length";
static const char *const bad_bulk = "Protocol error: invalid bulk length";
static const char *const bad_quotes = "Protocol error: unbalanced quotes in request";
static const char *const bad_end = "Protocol error: expected CRLF after bulk string";
static const char *const bad_type = "Protocol error: expected '$', got";

void resp_init(struct resp_parser *parser, struct heap *heap, uint64_t bulk_bytes_max)
{
    *parser = (struct resp_parser){.heap = heap, .bulk_bytes_max = bulk_bytes_max};
    parser->finished = true;
    parser->arguments = parser->inside;
    parser->capacity = RESP_ARGUMENTS_INSIDE;
}

static void drop_list(struct resp_parser *parser)
{
    if (parser->arguments != parser->inside) {
        heap_free(parser->heap, parser->arguments);
        parser->arguments = parser->inside;
        parser->capacity = RESP_ARGUMENTS_INSIDE;
    }
}

void resp_free(struct resp_parser *parser)
{
    drop_list(parser);
    heap_free(parser->heap, parser->line);
    parser->line = NULL;
}

static void begin(struct resp_parser *parser)
{
    parser->finished = false;
    parser->in_array = false;
    parser->in_bulk = false;
    parser->count = 0;
    parser->position = 0;
    if (parser->line != NULL) {
        heap_free(parser->heap, parser->line);
        parser->line = NULL;
    }
    if (parser->capacity > RESP_ARGUMENTS_KEPT) {
        drop_list(parser);
    }
}

static bool add_argument(struct resp_parser *parser, const uint8_t *data, size_t bytes)
{
    if (parser->count == parser->capacity) {
        size_t capacity = parser->capacity * 2;
        struct slice *old = parser->arguments == parser->inside ? NULL : parser->arguments;
        struct slice *list = heap_resize(parser->heap, old, capacity * sizeof *list);
        if (list == NULL) {
            return false;
        }
        if (old == NULL) {
            memcpy(list, parser->inside, sizeof parser->inside);
        }
        parser->arguments = list;
        parser->capacity = capacity;
    }
    parser->arguments[parser->count++] = slice_of(data, bytes);
    return true;
}

static enum resp_result malformed(struct resp_parser *parser, const char *error)
{
    parser->error = error;
    return RESP_MALFORMED;
}

/* ---- Inline commands --------------------------------------------------------------------------
 */

static bool is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == 0;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* One escape in double quotes, *at on the backslash; the byte it means. */
static uint8_t unescape(struct slice line, size_t *at)
{
    static const char names[] = "nrtba";
    static const char values[] = "\n\r\t\b\a";
    size_t left = line.bytes - *at;

    if (left >= 4 && line.data[*at + 1] == 'x' && hex_digit(line.data[*at + 2]) >= 0 &&
        hex_digit(line.data[*at + 3]) >= 0) {
        int value = hex_digit(line.data[*at + 2]) * 16 + hex_digit(line.data[*at + 3]);
        *at += 4;
        return (uint8_t)value;
    }
    uint8_t byte = line.data[*at + 1];
    *at += 2;
    for (size_t i = 0; names[i] != 0; i++) {
        if (byte == (uint8_t)names[i]) {
            return (uint8_t)values[i];
        }
    }
    return byte;
}

/* Copies a quoted word to `to`, *at just after the opening quote. False if it does not end, or if
 * something other than a space follows. */
static bool unquote(struct slice line, size_t *at, uint8_t quote, uint8_t **to)
{
    while (*at < line.bytes) {
        uint8_t byte = line.data[*at];
        if (byte == quote) {
            (*at)++;
            return *at == line.bytes || is_space(line.data[*at]);
        }
        if (byte == '\\' && *at + 1 < line.bytes) {
            if (quote == '"') {
                *(*to)++ = unescape(line, at);
                continue;
            }
            if (line.data[*at + 1] == '\'') {
                (*at)++;
                byte = '\'';
            }
        }
        *(*to)++ = byte;
        (*at)++;
    }
    return false;
}

/* Splits the line into words. No word is longer than it stands in the line, so that they fit one
 * copy of it. */
static enum resp_result split_line(struct resp_parser *parser, struct slice line)
{
    parser->line = heap_allocate(parser->heap, line.bytes + 1);
    if (parser->line == NULL) {
        return RESP_NO_MEMORY;
    }
    uint8_t *to = parser->line;
    size_t at = 0;
    for (;;) {
        while (at < line.bytes && is_space(line.data[at])) {
            at++;
        }
        if (at == line.bytes) {
            return RESP_REQUEST;
        }
        uint8_t *word = to;
        while (at < line.bytes && !is_space(line.data[at])) {
            uint8_t byte = line.data[at++];
            if (byte != '"' && byte != '\'') {
                *to++ = byte;
            } else if (!unquote(line, &at, byte, &to)) {
                return malformed(parser, bad_quotes);
            }
        }
        if (!add_argument(parser, word, (size_t)(to - word))) {
            return RESP_NO_MEMORY;
        }
    }
}

static enum resp_result parse_inline(struct resp_parser *parser, const uint8_t *data, size_t bytes)
{
    const uint8_t *end = memchr(data + parser->position, '\n', bytes - parser->position);

    if (end == NULL) {
        parser->position = bytes; /* no need to look there again */
        return bytes > RESP_INLINE_BYTES_MAX ? malformed(parser, too_big_inline) : RESP_MORE;
    }
    size_t length = (size_t)(end - data);
    if (length > RESP_INLINE_BYTES_MAX) {
        return malformed(parser, too_big_inline);
    }
    parser->position = length + 1;
    if (length > 0 && data[length - 1] == '\r') {
        length--;
    }
    parser->finished = true;
    return split_line(parser, slice_of(data, length));
}

/* ---- Arrays -----------------------------------------------------------------------------------
 */

/* Reads the number of a header line whose type byte is at `position`, and moves behind the line.
 * RESP_REQUEST means it is there. */
static enum resp_result parse_header(struct resp_parser *parser, const uint8_t *data, size_t bytes,
                                     int64_t *value)
{
    const uint8_t *at = data + parser->position + 1;
    const uint8_t *end = data + bytes;
    uint64_t number = 0;

    /* The common case: a few digits, CR, LF. */
    while (at < end && (uint32_t)*at - '0' <= 9u && number < 1000000000u) {
        number = number * 10u + (*at++ - (uint32_t)'0');
    }
    const uint8_t *digits = data + parser->position + 1;
    if (end - at >= 2 && *at == '\r' && at != digits && (*digits != '0' || at - digits == 1)) {
        *value = (int64_t)number;
        parser->position = (size_t)(at + 2 - data);
        return RESP_REQUEST;
    }
    size_t left = (size_t)(end - digits);
    /* No further than the limit, so that what is too long does not depend on how it comes. */
    const uint8_t *line_end =
        memchr(digits, '\r', left <= RESP_HEADER_BYTES_MAX ? left : RESP_HEADER_BYTES_MAX + 1u);
    if (line_end == NULL) {
        return left > RESP_HEADER_BYTES_MAX
                   ? malformed(parser, parser->in_array ? too_big_bulk : too_big_array)
                   : RESP_MORE;
    }
    if (line_end + 1 == end) {
        return RESP_MORE;
    }
    if (!number_parse_i64(slice_of(digits, (size_t)(line_end - digits)), value)) {
        return malformed(parser, parser->in_array ? bad_bulk : bad_array);
    }
    parser->position = (size_t)(line_end + 2 - data);
    return RESP_REQUEST;
}

static enum resp_result parse_bulk_header(struct resp_parser *parser, const uint8_t *data,
                                          size_t bytes)
{
    int64_t length = 0;

    if (parser->position == bytes) {
        return RESP_MORE;
    }
    if (data[parser->position] != '$') {
        parser->bad_byte = (char)data[parser->position];
        return malformed(parser, bad_type);
    }
    enum resp_result result = parse_header(parser, data, bytes, &length);
    if (result != RESP_REQUEST) {
        return result;
    }
    if (length < 0 || (uint64_t)length > parser->bulk_bytes_max) {
        return malformed(parser, bad_bulk);
    }
    parser->bulk_bytes = (size_t)length;
    parser->in_bulk = true;
    return RESP_REQUEST;
}

/* While an array is incomplete its arguments are kept as offsets from the request's first byte,
 * because the bytes may move. */
static void resolve_arguments(struct resp_parser *parser, const uint8_t *data)
{
    for (size_t i = 0; i < parser->count; i++) {
        parser->arguments[i].data = data + (uintptr_t)parser->arguments[i].data;
    }
    parser->finished = true;
}

static enum resp_result parse_array(struct resp_parser *parser, const uint8_t *data, size_t bytes)
{
    if (!parser->in_array) {
        int64_t wanted = 0;
        enum resp_result result = parse_header(parser, data, bytes, &wanted);
        if (result != RESP_REQUEST) {
            return result;
        }
        if (wanted > RESP_ARGUMENTS_MAX) {
            return malformed(parser, bad_array);
        }
        parser->wanted = wanted < 0 ? 0 : (size_t)wanted;
        parser->in_array = true;
    }
    while (parser->count < parser->wanted) {
        if (!parser->in_bulk) {
            enum resp_result result = parse_bulk_header(parser, data, bytes);
            if (result != RESP_REQUEST) {
                return result;
            }
        }
        if (bytes - parser->position < parser->bulk_bytes + 2) {
            return RESP_MORE;
        }
        const uint8_t *behind = data + parser->position + parser->bulk_bytes;
        if (behind[0] != '\r' || behind[1] != '\n') {
            return malformed(parser, bad_end);
        }
        const uint8_t *offset = (const uint8_t *)(uintptr_t)parser->position;
        if (!add_argument(parser, offset, parser->bulk_bytes)) {
            return RESP_NO_MEMORY;
        }
        parser->position += parser->bulk_bytes + 2;
        parser->in_bulk = false;
    }
    resolve_arguments(parser, data);
    return RESP_REQUEST;
}

struct __attribute__((packed)) unaligned16 {
    uint16_t value;
};

#define CR_LF 0x0a0du

static inline bool at_line_end(const uint8_t *at)
{
    return ((const struct unaligned16 *)(const void *)at)->value == CR_LF;
}

/* The usual request: complete, few arguments, each below 1000 bytes. False, and nothing done, for
 * any other; the general way takes those. */
static bool parse_small(struct resp_parser *parser, const uint8_t *data, size_t bytes)
{
    const uint8_t *end = data + bytes;
    const uint8_t *at = data + 4;
    size_t wanted = (size_t)data[1] - '1' + 1;

    if (wanted - 1 >= RESP_ARGUMENTS_INSIDE || !at_line_end(data + 2)) {
        return false;
    }
    for (size_t i = 0; i < wanted; i++) {
        if (end - at < 6 || at[0] != '$') {
            return false;
        }
        uint32_t length = (uint32_t)at[1] - '0';
        const uint8_t *text = at + 4;
        if (length > 9) {
            return false;
        }
        for (; text[-2] != '\r' && text < at + 6; text++) {
            uint32_t digit = (uint32_t)text[-2] - '0';
            if (digit > 9 || length == 0) {
                return false;
            }
            length = length * 10 + digit;
        }
        if (end - text < (ptrdiff_t)length + 2 || !at_line_end(text - 2) ||
            !at_line_end(text + length)) {
            return false;
        }
        parser->arguments[i] = slice_of(text, length);
        at = text + length + 2;
    }
    parser->count = wanted;
    parser->position = (size_t)(at - data);
    parser->finished = true;
    return true;
}

enum resp_result resp_parse(struct resp_parser *parser, const uint8_t *data, size_t bytes)
{
    if (parser->finished) {
        begin(parser);
    }
    if (bytes == 0) {
        return RESP_MORE;
    }
    if (data[0] == '*') {
        if (bytes >= 8 && !parser->in_array && parse_small(parser, data, bytes)) {
            return RESP_REQUEST;
        }
        return parse_array(parser, data, bytes);
    }
    return parse_inline(parser, data, bytes);
}

bool resp_skip_begin(struct resp_parser *parser, size_t seen)
{
    if (!parser->in_array || !parser->in_bulk || parser->finished) {
        return false;
    }
    parser->skip_left = (uint64_t)parser->position + parser->bulk_bytes + 2u - seen;
    parser->skip_filled = 0;
    return true;
}

/* Collects the header of the next argument; REQUEST when it is known. */
static enum resp_result skip_header(struct resp_parser *parser, const uint8_t *data, size_t bytes,
                                    size_t *used)
{
    while (*used < bytes) {
        if (parser->skip_filled == RESP_HEADER_BYTES_MAX) {
            return malformed(parser, too_big_bulk);
        }
        parser->skip_header[parser->skip_filled++] = data[(*used)++];
        if (parser->skip_header[parser->skip_filled - 1] == '\n') {
            parser->position = 0;
            enum resp_result result =
                parse_bulk_header(parser, parser->skip_header, parser->skip_filled);
            parser->skip_filled = 0;
            parser->skip_left = (uint64_t)parser->bulk_bytes + 2u;
            return result == RESP_MORE ? malformed(parser, bad_bulk) : result;
        }
    }
    return RESP_MORE;
}

enum resp_result resp_skip(struct resp_parser *parser, const uint8_t *data, size_t bytes,
                           size_t *used)
{
    *used = 0;
    for (;;) {
        uint64_t left = bytes - *used;
        uint64_t step = left < parser->skip_left ? left : parser->skip_left;
        *used += (size_t)step;
        parser->skip_left -= step;
        if (parser->skip_left != 0) {
            return RESP_MORE;
        }
        if (parser->in_bulk) {
            parser->in_bulk = false;
            parser->wanted--;
        }
        if (parser->wanted == parser->count) {
            parser->finished = true;
            return RESP_REQUEST;
        }
        enum resp_result result = skip_header(parser, data, bytes, used);
        if (result != RESP_REQUEST) {
            return result;
        }
    }
}

size_t resp_bytes_expected(const struct resp_parser *parser)
{
    return parser->in_bulk ? parser->position + parser->bulk_bytes + 2 : 0;
}
