// SPDX-License-Identifier: MIT OR Apache-2.0
/* Whole sequences of frames to the stack: frames_fake.c. */
#include "lib/net/frames_fake.h"
#include "tests/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct frames_result result = {0};

    frames_run(data, bytes, &result);
    /* Nobody who is not known makes us send more than a small answer. */
    VERIFY(result.worst_frames <= 2u && result.worst_bytes <= 160u);
    return 0;
}
