// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What every *_fuzz.c needs: libFuzzer's entry, and a check that ends the run. Each target calls
 * the parser that ships on bytes which the fuzzer chose, under ASan and UBSan, and checks what
 * the parser promises about its results. `./hallows fuzz` builds and runs them.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <hallows/types.h>

#include "lib/base/assert.h"

/* libFuzzer's interface: 0 keeps an input, -1 keeps it out of the corpus. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* A copy of exactly these bytes and `more` zeroes, so that ASan sees who reads beyond. At a
 * multiple of 16; the caller frees it. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t bytes, size_t more)
{
    uint8_t *copy = calloc(1, bytes + more == 0 ? 1 : bytes + more);

    VERIFY(copy != NULL);
    if (bytes != 0) {
        memcpy(copy, data, bytes);
    }
    return copy;
}

/* Whether [part, part + part_bytes) lies in [whole, whole + bytes). */
static inline bool fuzz_within(const void *part, uint64_t part_bytes, const void *whole,
                               uint64_t bytes)
{
    uint64_t offset = (uint64_t)((const uint8_t *)part - (const uint8_t *)whole);

    return offset <= bytes && part_bytes <= bytes - offset;
}

#endif
