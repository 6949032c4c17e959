// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Incremental parser of requests in the Redis serialization protocol: arrays of bulk strings, and
 * inline commands (https://redis.io/docs/latest/develop/reference/protocol-spec/). Never looks at a
 * byte twice, except for a header line or an inline command that is not complete yet.
 *
 * The caller keeps a request's bytes together from its first byte on; they may move between calls.
 * Thread rule: one owner; nothing here locks.
 */
#ifndef APPS_KVSTORE_CORE_RESP_H
#define APPS_KVSTORE_CORE_RESP_H

#include "apps/kvstore/core/slice.h"
#include "lib/heap/heap.h"

#define RESP_ARGUMENTS_MAX (1024u * 1024u)
#define RESP_INLINE_BYTES_MAX 65536u
#define RESP_HEADER_BYTES_MAX 64u
#define RESP_ARGUMENTS_INSIDE 8u

enum resp_result {
    RESP_MORE = 0,  /* the request is not complete */
    RESP_REQUEST,   /* arguments[0 .. count) is a request of `position` bytes; count may be 0 */
    RESP_MALFORMED, /* `error` says why; the connection cannot go on */
    RESP_NO_MEMORY  /* no room for the argument list */
};

struct resp_parser {
    struct heap *heap;
    uint64_t bulk_bytes_max; /* settable at any time */
    /* The request. The slices point into the bytes given to the last resp_parse, or, for an inline
     * command, into `line`. */
    struct slice *arguments;
    size_t count;
    size_t position; /* bytes of the request parsed so far */
    const char *error;
    char bad_byte; /* what stands in place of '$', for the error text */
    /* Private. */
    bool in_array;
    bool in_bulk;
    bool finished;
    size_t wanted;   /* arguments the array has */
    size_t capacity; /* of arguments */
    size_t bulk_bytes;
    uint8_t *line;
    uint64_t skip_left; /* bytes of the present argument */
    size_t skip_filled; /* bytes of a header in skip_header */
    uint8_t skip_header[RESP_HEADER_BYTES_MAX];
    struct slice inside[RESP_ARGUMENTS_INSIDE];
};

void resp_init(struct resp_parser *parser, struct heap *heap, uint64_t bulk_bytes_max);
/* Frees what the parser holds. */
void resp_free(struct resp_parser *parser);
/* Parses on; `data` holds everything from the request's first byte on, `bytes` no fewer than last
 * time. After RESP_REQUEST the next call begins the next request, `position` bytes further. */
enum resp_result resp_parse(struct resp_parser *parser, const uint8_t *data, size_t bytes);
/* Gives up a request that there is no memory for: its bytes from `seen` on (those before it need
 * not be kept) go to resp_skip. False where that is not possible: the connection has to end. */
bool resp_skip_begin(struct resp_parser *parser, size_t seen);
/* Passes over the request's next bytes, *used of them. MORE, MALFORMED, or REQUEST at its end: the
 * next resp_parse begins the next request. */
enum resp_result resp_skip(struct resp_parser *parser, const uint8_t *data, size_t bytes,
                           size_t *used);
/* Bytes that the request has at least, as far as is known; for sizing buffers. */
size_t resp_bytes_expected(const struct resp_parser *parser);

#endif
