// SPDX-License-Identifier: MIT OR Apache-2.0
/* A text that grows. Where memory runs out it is `failed` and stays as it is. */
#ifndef APPS_KVSTORE_CORE_TEXT_H
#define APPS_KVSTORE_CORE_TEXT_H

#include "apps/kvstore/core/slice.h"
#include "lib/heap/heap.h"

struct text {
    struct heap *heap;
    uint8_t *data;
    size_t bytes;
    size_t capacity;
    bool failed;
};

static inline void text_init(struct text *text, struct heap *heap)
{
    *text = (struct text){.heap = heap};
}
void text_free(struct text *text);
void text_put(struct text *text, const void *data, size_t bytes);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline struct slice text_slice(const struct text *text)
{
    return slice_of(text->data, text->bytes);
}

#endif
