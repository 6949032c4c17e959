// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/http/http.h"

#include "lib/base/bytes.h"
#include "lib/base/format.h"

/* A line of the head, without its end. */
struct line {
    const uint8_t *data;
    size_t bytes;
};

/* Takes the line at *at; false if it is not complete. RFC 9112, 2.2: a lone LF ends a line too. */
static bool next_line(const uint8_t *data, size_t bytes, size_t *at, struct line *line)
{
    const uint8_t *start = data + *at;
    const uint8_t *end = memchr(start, '\n', bytes - *at);

    if (end == NULL) {
        return false;
    }
    *at = (size_t)(end + 1 - data);
    line->data = start;
    line->bytes = (size_t)(end - start);
    if (line->bytes > 0 && start[line->bytes - 1] == '\r') {
        line->bytes--;
    }
    return true;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

/* `word` is in lower case. */
static bool is_word(const uint8_t *data, size_t bytes, const char *word)
{
    for (size_t i = 0; i < bytes; i++) {
        if (word[i] == 0 || lower(data[i]) != (uint8_t)word[i]) {
            return false;
        }
    }
    return word[bytes] == 0;
}

/* RFC 9110, 5.6.2: what names of methods and fields are made of. */
static bool is_token_byte(uint8_t byte)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    uint8_t letter = lower(byte);

    if ((letter >= 'a' && letter <= 'z') || (byte >= '0' && byte <= '9')) {
        return true;
    }
    return byte != 0 && memchr(others, byte, sizeof others - 1) != NULL;
}

static bool is_token(const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (!is_token_byte(data[i])) {
            return false;
        }
    }
    return bytes > 0;
}

/* ---- Request line -----------------------------------------------------------------------------
 */

static enum http_result parse_version(const uint8_t *data, size_t bytes,
                                      struct http_request *request)
{
    if (bytes != 8 || memcmp(data, "HTTP/", 5) != 0 || data[6] != '.' || data[5] < '0' ||
        data[5] > '9' || data[7] < '0' || data[7] > '9') {
        return HTTP_BAD_REQUEST;
    }
    if (data[5] != '1') {
        return HTTP_VERSION_NOT_SUPPORTED;
    }
    request->keep_alive = data[7] != '0';
    return HTTP_REQUEST;
}

static enum http_result parse_target(const uint8_t *data, size_t bytes,
                                     struct http_request *request)
{
    if (bytes == 0 || data[0] != '/') {
        return HTTP_BAD_REQUEST;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] <= ' ' || data[i] > '~') {
            return HTTP_BAD_REQUEST;
        }
    }
    const uint8_t *mark = memchr(data, '?', bytes);
    size_t path_bytes = mark == NULL ? bytes : (size_t)(mark - data);
    request->path = (struct http_text){data, path_bytes};
    request->query = (struct http_text){data + path_bytes, bytes - path_bytes};
    return HTTP_REQUEST;
}

static enum http_result parse_request_line(struct line line, struct http_request *request)
{
    const uint8_t *space = memchr(line.data, ' ', line.bytes);

    if (space == NULL) {
        return HTTP_BAD_REQUEST;
    }
    size_t method_bytes = (size_t)(space - line.data);
    const uint8_t *target = space + 1;
    size_t left = line.bytes - method_bytes - 1;
    const uint8_t *target_end = memchr(target, ' ', left);
    if (target_end == NULL || !is_token(line.data, method_bytes)) {
        return HTTP_BAD_REQUEST;
    }
    size_t target_bytes = (size_t)(target_end - target);
    enum http_result result = parse_version(target_end + 1, left - target_bytes - 1, request);
    if (result != HTTP_REQUEST) {
        return result;
    }
    request->head = method_bytes == 4 && memcmp(line.data, "HEAD", 4) == 0;
    if (!request->head && (method_bytes != 3 || memcmp(line.data, "GET", 3) != 0)) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    if (target_bytes > HTTP_TARGET_BYTES_MAX) {
        return HTTP_URI_TOO_LONG;
    }
    return parse_target(target, target_bytes, request);
}

/* ---- Fields -----------------------------------------------------------------------------------
 */

struct field {
    struct line name;
    struct line value;
};

static bool split_field(struct line line, struct field *field)
{
    const uint8_t *colon = memchr(line.data, ':', line.bytes);

    if (colon == NULL || !is_token(line.data, (size_t)(colon - line.data))) {
        return false; /* also folded lines and spaces before the colon */
    }
    field->name = (struct line){line.data, (size_t)(colon - line.data)};
    const uint8_t *start = colon + 1;
    const uint8_t *end = line.data + line.bytes;
    while (start < end && (*start == ' ' || *start == '\t')) {
        start++;
    }
    while (end > start && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    for (const uint8_t *at = start; at < end; at++) {
        if ((*at < ' ' && *at != '\t') || *at == 0x7f) {
            return false;
        }
    }
    field->value = (struct line){start, (size_t)(end - start)};
    return true;
}

/* Whether a comma-separated list has the word. */
static bool list_has(struct line list, const char *word)
{
    size_t at = 0;

    while (at < list.bytes) {
        size_t start = at;
        while (at < list.bytes && list.data[at] != ',') {
            at++;
        }
        size_t end = at++;
        while (start < end && (list.data[start] == ' ' || list.data[start] == '\t')) {
            start++;
        }
        while (end > start && (list.data[end - 1] == ' ' || list.data[end - 1] == '\t')) {
            end--;
        }
        if (is_word(list.data + start, end - start, word)) {
            return true;
        }
    }
    return false;
}

/* What a field means here; false if it makes the request one that is refused. */
static bool use_field(const struct field *field, struct http_request *request, uint32_t *hosts)
{
    const uint8_t *name = field->name.data;
    size_t bytes = field->name.bytes;

    if (is_word(name, bytes, "host")) {
        return ++*hosts == 1;
    }
    if (is_word(name, bytes, "connection")) {
        if (list_has(field->value, "close")) {
            request->keep_alive = false;
        }
        return true;
    }
    if (is_word(name, bytes, "content-length")) {
        return field->value.bytes == 1 && field->value.data[0] == '0';
    }
    return !is_word(name, bytes, "transfer-encoding");
}

static enum http_result parse_head(const uint8_t *data, size_t bytes, struct http_request *request,
                                   size_t *used)
{
    struct line line;
    size_t at = 0;
    uint32_t hosts = 0;

    /* RFC 9112, 2.2: an empty line before the request line is passed over. */
    do {
        if (!next_line(data, bytes, &at, &line)) {
            return HTTP_MORE;
        }
    } while (line.bytes == 0 && at <= 2);
    enum http_result result = parse_request_line(line, request);
    if (result != HTTP_REQUEST) {
        return result;
    }
    bool version_1_1 = request->keep_alive;
    for (uint32_t fields = 0;; fields++) {
        struct field field;
        if (!next_line(data, bytes, &at, &line)) {
            return HTTP_MORE;
        }
        if (line.bytes == 0) {
            break;
        }
        if (fields == HTTP_FIELDS_MAX) {
            return HTTP_HEADER_TOO_LARGE;
        }
        if (!split_field(line, &field) || !use_field(&field, request, &hosts)) {
            return HTTP_BAD_REQUEST;
        }
    }
    *used = at;
    /* RFC 9112, 3.2: a request of version 1.1 names its host, once. */
    return version_1_1 && hosts == 0 ? HTTP_BAD_REQUEST : HTTP_REQUEST;
}

enum http_result http_parse(const uint8_t *data, size_t bytes, struct http_request *request,
                            size_t *used)
{
    size_t looked = bytes < HTTP_HEAD_BYTES_MAX ? bytes : HTTP_HEAD_BYTES_MAX;

    *request = (struct http_request){0};
    *used = 0;
    enum http_result result = parse_head(data, looked, request, used);
    if (result == HTTP_MORE && bytes >= HTTP_HEAD_BYTES_MAX) {
        bool in_first_line = memchr(data, '\n', looked) == NULL;
        return in_first_line ? HTTP_URI_TOO_LONG : HTTP_HEADER_TOO_LARGE;
    }
    return result;
}

/* ---- Responses --------------------------------------------------------------------------------
 */

const char *http_reason(enum http_result status)
{
    switch (status) {
    case HTTP_REQUEST:
        return "OK";
    case HTTP_BAD_REQUEST:
        return "Bad Request";
    case HTTP_NOT_FOUND:
        return "Not Found";
    case HTTP_METHOD_NOT_ALLOWED:
        return "Method Not Allowed";
    case HTTP_URI_TOO_LONG:
        return "URI Too Long";
    case HTTP_HEADER_TOO_LARGE:
        return "Request Header Fields Too Large";
    case HTTP_UNAVAILABLE:
        return "Service Unavailable";
    case HTTP_VERSION_NOT_SUPPORTED:
        return "HTTP Version Not Supported";
    case HTTP_MORE:
    case HTTP_INTERNAL_ERROR:
        break;
    }
    return "Internal Server Error";
}

size_t http_format_head(char *to, const struct http_response *response)
{
    const char *allow = response->status == HTTP_METHOD_NOT_ALLOWED ? "Allow: GET, HEAD\r\n" : "";

    return format_text(to, HTTP_RESPONSE_HEAD_BYTES_MAX,
                       "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %llu\r\n"
                       "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                       "%s%s\r\n",
                       (int)response->status, http_reason(response->status), response->content_type,
                       (unsigned long long)response->content_bytes, allow,
                       response->close ? "Connection: close\r\n" : "");
}
