// SPDX-License-Identifier: MIT OR Apache-2.0
/* Requests from anybody who reaches the status page. */
#include "lib/http/http.h"
#include "tests/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t *text = fuzz_copy(data, bytes, 0);
    struct http_request request;
    size_t used = 0;
    enum http_result whole = http_parse(text, bytes, &request, &used);

    if (whole == HTTP_REQUEST) {
        VERIFY(used <= bytes && used <= HTTP_HEAD_BYTES_MAX);
        VERIFY(fuzz_within(request.path.data, request.path.bytes, text, used));
        VERIFY(request.query.bytes == 0 ||
               fuzz_within(request.query.data, request.query.bytes, text, used));
        /* It is complete with its last byte and not before. */
        size_t unused;
        VERIFY(http_parse(text, used - 1u, &request, &unused) == HTTP_MORE);
    } else {
        VERIFY(bytes < HTTP_HEAD_BYTES_MAX || whole != HTTP_MORE);
    }
    free(text);
    return 0;
}
