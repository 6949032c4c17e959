// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The little of HTTP/1.1 that a status page needs: parses a request's head, writes a response's.
 * Methods GET and HEAD; a request with a body is refused. After RFC 9110 and RFC 9112.
 *
 * No state, no memory: the caller keeps the bytes of a request together until it is complete; at
 * most HTTP_HEAD_BYTES_MAX are ever needed.
 */
#ifndef LIB_HTTP_HTTP_H
#define LIB_HTTP_HTTP_H

#include <hallows/types.h>

#define HTTP_TARGET_BYTES_MAX 1024u
#define HTTP_HEAD_BYTES_MAX 8192u
#define HTTP_FIELDS_MAX 64u
#define HTTP_RESPONSE_HEAD_BYTES_MAX 384u

struct http_text {
    const uint8_t *data;
    size_t bytes;
};

struct http_request {
    bool head;             /* HEAD: the answer has no body */
    bool keep_alive;       /* the client may send another request afterwards */
    struct http_text path; /* as sent, from '/' on, without the query */
    struct http_text query;
};

/* Result of parsing: go on reading, a request, or the error status to answer with (and close). */
enum http_result {
    HTTP_MORE = 0,
    HTTP_REQUEST = 200,
    HTTP_BAD_REQUEST = 400,
    HTTP_NOT_FOUND = 404,
    HTTP_METHOD_NOT_ALLOWED = 405,
    HTTP_URI_TOO_LONG = 414,
    HTTP_HEADER_TOO_LARGE = 431,
    HTTP_INTERNAL_ERROR = 500,
    HTTP_UNAVAILABLE = 503,
    HTTP_VERSION_NOT_SUPPORTED = 505
};

/* Parses the request at the start of `data`. With HTTP_REQUEST, *used is its length and the texts
 * point into `data`. Looks at no more than HTTP_HEAD_BYTES_MAX bytes. */
enum http_result http_parse(const uint8_t *data, size_t bytes, struct http_request *request,
                            size_t *used);

/* The status's words, e.g. "Not Found". */
const char *http_reason(enum http_result status);

struct http_response {
    enum http_result status;
    const char *content_type;
    uint64_t content_bytes;
    bool close; /* the connection ends with it */
};

/* Writes a response's head, with the empty line, into HTTP_RESPONSE_HEAD_BYTES_MAX bytes; returns
 * its length. A 405 names the allowed methods. Nothing may be cached. */
size_t http_format_head(char *to, const struct http_response *response);

#endif
