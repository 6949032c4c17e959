// SPDX-License-Identifier: MIT OR Apache-2.0
/* A run of bytes that someone else owns. */
#ifndef APPS_KVSTORE_CORE_SLICE_H
#define APPS_KVSTORE_CORE_SLICE_H

#include <hallows/types.h>

#include "lib/base/bytes.h"

struct slice {
    const uint8_t *data;
    size_t bytes;
};

static inline struct slice slice_of(const void *data, size_t bytes)
{
    return (struct slice){data, bytes};
}

static inline struct slice slice_text(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.bytes == b.bytes && memcmp(a.data, b.data, a.bytes) == 0;
}

/* Copies the slice's bytes; an empty slice may have no address. */
static inline void slice_copy(void *to, struct slice slice)
{
    if (slice.bytes != 0) {
        memcpy(to, slice.data, slice.bytes);
    }
}

/* Whether `slice` is `word` (given in upper case), letters compared without case. */
static inline bool slice_is_word(struct slice slice, const char *word)
{
    for (size_t i = 0; i < slice.bytes; i++) {
        uint8_t byte = slice.data[i];
        if (byte >= 'a' && byte <= 'z') {
            byte = (uint8_t)(byte - ('a' - 'A'));
        }
        if (word[i] == 0 || byte != (uint8_t)word[i]) {
            return false;
        }
    }
    return word[slice.bytes] == 0;
}

#endif
