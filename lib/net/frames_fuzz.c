// SPDX-License-Identifier: MIT OR Apache-2.0
/* libFuzzer's entry to frames_fake.c: `make fuzz-net` builds build/fuzz/net_frames with clang. */
#include "lib/net/frames_fake.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

_Noreturn void assertion_failed(const char *expression, const char *file, int line);
_Noreturn void assertion_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, expression);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct frames_result result = {0};

    frames_run(data, bytes, &result);
    if (result.worst_frames > 2u || result.worst_bytes > 160u) {
        fprintf(stderr, "amplified: %lu frames, %lu bytes more\n", result.worst_frames,
                result.worst_bytes);
        abort();
    }
    return 0;
}
