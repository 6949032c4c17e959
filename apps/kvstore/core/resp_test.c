// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/resp.h"

#include "apps/kvstore/core/fixture_fake.h"
#include "tests/check.h"

static void make(struct fixture *fixture, struct resp_parser *parser)
{
    fixture_heap(fixture, 1u << 20);
    resp_init(parser, fixture->heap, 1u << 20);
}

static bool argument_is(const struct resp_parser *parser, size_t index, const char *text)
{
    return index < parser->count && slice_equal(parser->arguments[index], slice_text(text));
}

TEST(resp_takes_arrays_in_any_pieces)
{
    static const char request[] = "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\nhello\r\nworld\r\n";
    struct fixture fixture;
    struct resp_parser parser;

    make(&fixture, &parser);
    for (size_t step = 1; step < sizeof request; step++) {
        enum resp_result result = RESP_MORE;
        for (size_t at = step; result == RESP_MORE; at += step) {
            size_t bytes = at < sizeof request - 1 ? at : sizeof request - 1;
            result = resp_parse(&parser, (const uint8_t *)request, bytes);
            CHECK(result == RESP_REQUEST || bytes < sizeof request - 1);
        }
        CHECK_EQ(result, RESP_REQUEST);
        CHECK_EQ(parser.position, sizeof request - 1);
        CHECK_EQ(parser.count, 3);
        CHECK(argument_is(&parser, 0, "SET"));
        CHECK(argument_is(&parser, 1, ""));
        CHECK(argument_is(&parser, 2, "hello\r\nworld"));
    }
    resp_free(&parser);
    fixture_end_heap(&fixture);
}

TEST(resp_takes_many_arguments)
{
    static char request[200000];
    struct fixture fixture;
    struct resp_parser parser;
    size_t length = (size_t)snprintf(request, sizeof request, "*5000\r\n");

    for (int i = 0; i < 5000; i++) {
        length += (size_t)snprintf(request + length, sizeof request - length, "$4\r\n%04d\r\n", i);
    }
    make(&fixture, &parser);
    CHECK_EQ(resp_parse(&parser, (const uint8_t *)request, length / 2), RESP_MORE);
    CHECK_EQ(resp_parse(&parser, (const uint8_t *)request, length), RESP_REQUEST);
    CHECK_EQ(parser.count, 5000);
    CHECK(argument_is(&parser, 4321, "4321"));
    CHECK_EQ(resp_parse(&parser, (const uint8_t *)"PING\r\n", 6), RESP_REQUEST);
    CHECK(argument_is(&parser, 0, "PING"));
    resp_free(&parser);
    fixture_end_heap(&fixture);
}

TEST(resp_splits_inline_commands)
{
    struct fixture fixture;
    struct resp_parser parser;
    static const char line[] = " set \"a b\\x41\\n\" 'it\\'s' x\"y\"\r\n";

    make(&fixture, &parser);
    CHECK_EQ(resp_parse(&parser, (const uint8_t *)line, sizeof line - 1), RESP_REQUEST);
    CHECK_EQ(parser.count, 4);
    CHECK(argument_is(&parser, 1, "a bA\n"));
    CHECK(argument_is(&parser, 2, "it's"));
    CHECK(argument_is(&parser, 3, "xy"));
    CHECK_EQ(resp_parse(&parser, (const uint8_t *)"\"\n", 2), RESP_MALFORMED);
    resp_free(&parser);
    fixture_end_heap(&fixture);
}

TEST(resp_skips_what_does_not_fit)
{
    static const char request[] = "*3\r\n$3\r\nSET\r\n$10\r\n0123456789\r\n$5\r\nabcde\r\n+";
    struct fixture fixture;
    struct resp_parser parser;

    make(&fixture, &parser);
    for (size_t step = 1; step < 20; step++) {
        const uint8_t *data = (const uint8_t *)request;
        CHECK_EQ(resp_parse(&parser, data, 20), RESP_MORE);
        CHECK(resp_skip_begin(&parser, 20));
        size_t at = 20;
        enum resp_result result = RESP_MORE;
        while (result == RESP_MORE && at < sizeof request - 1) {
            size_t used;
            size_t left = sizeof request - 1 - at;
            result = resp_skip(&parser, data + at, left < step ? left : step, &used);
            at += used;
        }
        CHECK_EQ(result, RESP_REQUEST);
        CHECK_EQ(at, sizeof request - 2);
    }
    resp_free(&parser);
    fixture_end_heap(&fixture);
}

/* Random and damaged requests: no crash, no read outside, positions in range. */
TEST(resp_survives_anything)
{
    static const char *const parts[] = {
        "*1\r\n",  "*3\r\n", "$3\r\n", "SET\r\n",     "$0\r\n",       "\r\n",       "$-1\r\n",
        "*-1\r\n", "\"a'\\", " ",      "$1\r\nx\r\n", "*1048576\r\n", "$99999\r\n", "\n"};
    struct fixture fixture;
    struct resp_parser parser;
    uint64_t random = 42;

    make(&fixture, &parser);
    for (unsigned round = 0; round < 60000; round++) {
        uint8_t data[256];
        size_t length = 0;
        while (length < 200 && random_next(&random) % 8 != 0) {
            const char *part = parts[random_next(&random) % (sizeof parts / sizeof parts[0])];
            memcpy(data + length, part, strlen(part));
            length += strlen(part);
        }
        for (uint64_t flips = random_next(&random) % 4; flips > 0 && length > 0; flips--) {
            data[random_next(&random) % length] = (uint8_t)random_next(&random);
        }
        size_t at = 0;
        size_t seen = 0;
        while (at < length) {
            seen += 1 + random_next(&random) % (length - at);
            seen = seen < length - at ? seen : length - at;
            enum resp_result result = resp_parse(&parser, data + at, seen);
            CHECK(parser.position <= seen);
            if (result == RESP_REQUEST) {
                for (size_t i = 0; i < parser.count; i++) {
                    uint64_t sum = 0;
                    for (size_t b = 0; b < parser.arguments[i].bytes; b++) {
                        sum += parser.arguments[i].data[b];
                    }
                    random ^= sum & 1;
                }
                at += parser.position;
                seen = 0;
            } else if (result != RESP_MORE || seen == length - at) {
                break;
            }
        }
        resp_free(&parser);
        resp_init(&parser, fixture.heap, 1u << 20);
    }
    resp_free(&parser);
    fixture_end_heap(&fixture);
}
