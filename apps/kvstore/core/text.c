// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/text.h"

#include "lib/base/format.h"

#define TEXT_BYTES_MIN 1024u
#define PRINT_BYTES_MAX 1024u

void text_free(struct text *text)
{
    heap_free(text->heap, text->data);
    text_init(text, text->heap);
}

void text_put(struct text *text, const void *data, size_t bytes)
{
    if (text->failed || bytes == 0) {
        return;
    }
    if (bytes > text->capacity - text->bytes) {
        size_t capacity = (text->bytes + bytes) * 2;
        if (capacity < TEXT_BYTES_MIN) {
            capacity = TEXT_BYTES_MIN;
        }
        uint8_t *grown = heap_resize(text->heap, text->data, capacity);
        if (grown == NULL) {
            text->failed = true;
            return;
        }
        text->data = grown;
        text->capacity = capacity;
    }
    memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
}

void text_print(struct text *text, const char *format, ...)
{
    char line[PRINT_BYTES_MAX];
    va_list arguments;

    va_start(arguments, format);
    size_t length = format_text_va(line, sizeof line, format, arguments);
    va_end(arguments);
    text_put(text, line, length < sizeof line ? length : sizeof line - 1);
}
