// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/http/http.h"

#include "tests/check.h"

static enum http_result parse(const char *text, struct http_request *request, size_t *used)
{
    return http_parse((const uint8_t *)text, strlen(text), request, used);
}

static enum http_result result_of(const char *text)
{
    struct http_request request;
    size_t used;

    return parse(text, &request, &used);
}

TEST(http_parses_requests)
{
    struct http_request request;
    size_t used;
    const char *text = "GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\nGET";

    CHECK_EQ(parse(text, &request, &used), HTTP_REQUEST);
    CHECK_EQ(used, strlen(text) - 3);
    CHECK(!request.head && request.keep_alive);
    CHECK_EQ(request.path.bytes, 2);
    CHECK_EQ(request.query.bytes, 4);
    CHECK_EQ(parse("HEAD / HTTP/1.1\nhOST:x\nConnection: a, Close\n\n", &request, &used),
             HTTP_REQUEST);
    CHECK(request.head && !request.keep_alive);
    CHECK_EQ(parse("GET / HTTP/1.0\r\n\r\n", &request, &used), HTTP_REQUEST);
    CHECK(!request.keep_alive);
    CHECK_EQ(result_of("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"), HTTP_REQUEST);
    for (size_t bytes = 0; bytes + 3 < strlen(text); bytes++) {
        CHECK_EQ(http_parse((const uint8_t *)text, bytes, &request, &used), HTTP_MORE);
    }
}

TEST(http_refuses_what_is_wrong)
{
    static const struct {
        const char *text;
        enum http_result result;
    } cases[] = {
        {"GET /\r\n\r\n", HTTP_BAD_REQUEST},
        {"GET  / HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST},
        {"GET x HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST},
        {"GET /\x01 HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST},
        {"G@T / HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", HTTP_BAD_REQUEST},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", HTTP_BAD_REQUEST},
        {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", HTTP_BAD_REQUEST},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", HTTP_BAD_REQUEST},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_BAD_REQUEST},
        {"POST / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_METHOD_NOT_ALLOWED},
        {"GET / HTTP/2.0\r\n\r\n", HTTP_VERSION_NOT_SUPPORTED},
        {"GET / HTPP/1.1\r\n\r\n", HTTP_BAD_REQUEST},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(result_of(cases[i].text), cases[i].result);
    }
}

TEST(http_bounds_what_it_reads)
{
    static char text[2 * HTTP_HEAD_BYTES_MAX];

    memset(text, 'a', sizeof text - 1);
    CHECK_EQ(result_of(text), HTTP_URI_TOO_LONG);
    memcpy(text, "GET /", 5);
    memcpy(text + 2000, " HTTP/1.1\r\nHost: x\r\n\r\n", 23);
    CHECK_EQ(result_of(text), HTTP_URI_TOO_LONG);
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "GET / HTTP/1.1\r\nx:", 18);
    CHECK_EQ(result_of(text), HTTP_HEADER_TOO_LARGE);
    size_t length = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++) {
        length += (size_t)snprintf(text + length, sizeof text - length, "a: b\r\n");
    }
    CHECK_EQ(result_of(text), HTTP_HEADER_TOO_LARGE);
}

TEST(http_writes_heads)
{
    char head[HTTP_RESPONSE_HEAD_BYTES_MAX];
    struct http_response response = {HTTP_METHOD_NOT_ALLOWED, "text/plain", 5, true};
    size_t length = http_format_head(head, &response);

    CHECK(length < sizeof head && strncmp(head, "HTTP/1.1 405 Method Not Allowed\r\n", 33) == 0);
    CHECK(strstr(head, "Allow: GET, HEAD\r\n") != NULL);
    CHECK(strstr(head, "Content-Length: 5\r\n") != NULL);
    CHECK(strcmp(head + length - 4, "\r\n\r\n") == 0);
}

TEST(http_survives_anything)
{
    static const char good[] = "GET /status.json?x HTTP/1.1\r\nHost: x\r\nConnection: close, b\r\n"
                               "Accept: a/b;q=0.5\r\n\r\n";
    uint64_t random = 8;

    for (unsigned round = 0; round < 100000; round++) {
        uint8_t data[sizeof good];
        struct http_request request;
        size_t used;
        memcpy(data, good, sizeof good);
        for (unsigned flips = 0; flips < 1 + round % 5; flips++) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            data[(random >> 33) % sizeof good] = (uint8_t)(random >> 25);
        }
        enum http_result result =
            http_parse(data, (size_t)(random >> 40) % sizeof good, &request, &used);
        if (result == HTTP_REQUEST) {
            CHECK(request.path.bytes > 0 && request.path.data[0] == '/' && used <= sizeof good);
        }
    }
}
