// SPDX-License-Identifier: MIT OR Apache-2.0
/* Requests of a client that sends anything, whole and in pieces: both read the same. */
#include "apps/kvstore/core/resp.h"
#include "tests/fuzz.h"

#define HEAP_BYTES (4u << 20)
#define REQUESTS_MAX 16u
#define BULK_BYTES_MAX 65536u

/* What one way of feeding the parser saw. */
struct outcome {
    enum resp_result last;
    uint32_t requests;
    size_t positions[REQUESTS_MAX];
    size_t counts[REQUESTS_MAX];
};

static void check_request(const struct resp_parser *parser)
{
    for (size_t n = 0; n < parser->count; n++) {
        VERIFY(parser->arguments[n].bytes <= BULK_BYTES_MAX ||
               parser->arguments[n].bytes <= RESP_INLINE_BYTES_MAX);
        /* Every byte of every argument can be read. */
        for (size_t i = 0; i < parser->arguments[n].bytes; i += 17u) {
            __asm__ volatile("" ::"r"(((const volatile uint8_t *)parser->arguments[n].data)[i]));
        }
    }
}

/* Feeds the bytes, `step` more of them each time. */
static struct outcome feed(const uint8_t *data, size_t bytes, size_t step)
{
    static uint64_t memory[HEAP_BYTES / 8u];
    struct outcome outcome = {0};
    struct heap *heap;
    struct resp_parser parser;
    size_t start = 0;
    size_t shown = 0;

    VERIFY(heap_init(&heap, memory, sizeof(memory)) == STATUS_OK);
    resp_init(&parser, heap, BULK_BYTES_MAX);
    do {
        shown = bytes - shown < step ? bytes : shown + step;
        /* A copy that ends there, so that ASan sees who reads beyond. */
        uint8_t *copy = fuzz_copy(data + start, shown - start, 0);
        size_t used = 0;
        do {
            outcome.last = resp_parse(&parser, copy + used, shown - start - used);
            if (outcome.last == RESP_REQUEST) {
                VERIFY(parser.position != 0 && parser.position <= shown - start - used);
                check_request(&parser);
                outcome.positions[outcome.requests] = parser.position;
                outcome.counts[outcome.requests] = parser.count;
                outcome.requests++;
                used += parser.position;
            }
        } while (outcome.last == RESP_REQUEST && outcome.requests < REQUESTS_MAX);
        start += used;
        free(copy);
    } while (outcome.last == RESP_MORE && shown < bytes && outcome.requests < REQUESTS_MAX);
    VERIFY(outcome.last != RESP_MALFORMED || parser.error != NULL);
    resp_free(&parser);
    VERIFY(heap_check(heap) == STATUS_OK);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct outcome whole = feed(data, bytes, bytes);
    struct outcome pieces = feed(data, bytes, bytes == 0 ? 1u : 1u + data[0] % 7u);

    VERIFY(memcmp(&whole, &pieces, sizeof(whole)) == 0);
    return 0;
}
