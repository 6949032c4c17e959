// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/base/format.h"

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/bytes.h"

/* Decimal digits of 2^64 - 1. */
#define NUMBER_CHARS_MAX 20u

/* The kernel's messages need no width or precision from arguments, and nothing flush left. */
#ifdef HALLOWS_KERNEL
#define WHOLE false
#else
#define WHOLE true
#endif

struct sink {
    char *to;
    size_t size;
    size_t length;
};

struct conversion {
    bool left;
    bool zero;
    bool has_precision;
    size_t width;
    size_t precision;
    bool negative;
    size_t zeros;  /* before the digits */
    uint8_t longs; /* count of l; z counts as 1 */
};

static void put(struct sink *sink, char c)
{
    if (sink->length + 1u < sink->size) {
        sink->to[sink->length] = c;
    }
    sink->length++;
}

static void put_filling(struct sink *sink, char c, size_t count)
{
    for (; count > 0; count--) {
        put(sink, c);
    }
}

/* A sign or nothing, zeros, and the text, padded to the width. */
static void put_padded(struct sink *sink, const struct conversion *c, const char *text,
                       size_t length)
{
    size_t shown = length + c->zeros + (c->negative ? 1u : 0u);
    size_t pad = c->width > shown ? c->width - shown : 0;
    bool left = WHOLE && c->left;

    put_filling(sink, ' ', left ? 0 : pad);
    put_filling(sink, '-', c->negative ? 1u : 0u);
    put_filling(sink, '0', c->zeros);
    for (size_t i = 0; i < length; i++) {
        put(sink, text[i]);
    }
    put_filling(sink, ' ', left ? pad : 0);
}

static void put_number(struct sink *sink, struct conversion *c, uint64_t value, char specifier)
{
    const char *digits = WHOLE && specifier == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    uint64_t base = (specifier == 'x' || specifier == 'X') ? 16u : 10u;
    char text[NUMBER_CHARS_MAX];
    size_t first = NUMBER_CHARS_MAX;

    do {
        text[--first] = digits[value % base];
        value /= base;
    } while (value != 0);
    size_t count = NUMBER_CHARS_MAX - first;
    size_t total = WHOLE && c->has_precision ? c->precision : 0;
    if (total <= count && c->zero && !(WHOLE && c->left)) {
        total = c->width - (c->negative && c->width > 0 ? 1u : 0u);
    }
    c->zeros = total > count ? total - count : 0;
    put_padded(sink, c, &text[first], count);
}

static const char *read_count(const char *f, size_t *count)
{
    *count = 0;
    while (*f >= '0' && *f <= '9') {
        *count = *count * 10u + (size_t)(*f++ - '0');
    }
    return f;
}

static size_t star_count(int value)
{
    return value > 0 ? (size_t)value : 0;
}

size_t format_text_va(char *to, size_t size, const char *format, va_list arguments)
{
    struct sink sink = {to, size, 0};

    for (const char *f = format; *f != '\0'; f++) {
        if (*f != '%') {
            put(&sink, *f);
            continue;
        }
        struct conversion c = {0};
        for (f++; (WHOLE && *f == '-') || *f == '0'; f++) {
            c.left = c.left || *f == '-';
            c.zero = c.zero || *f == '0';
        }
        if (WHOLE && *f == '*') {
            c.width = star_count(va_arg(arguments, int));
            f++;
        } else {
            f = read_count(f, &c.width);
        }
        if (WHOLE && *f == '.') {
            c.has_precision = true;
            if (f[1] == '*') {
                c.precision = star_count(va_arg(arguments, int));
                f += 2;
            } else {
                f = read_count(f + 1, &c.precision);
            }
        }
        for (; *f == 'l' || *f == 'z'; f++) {
            c.longs++;
        }
        switch (*f) {
        case 's': {
            const char *text = va_arg(arguments, const char *);
            text = text == NULL ? "(null)" : text;
            put_padded(&sink, &c, text,
                       strnlen(text, WHOLE && c.has_precision ? c.precision : SIZE_MAX));
            break;
        }
        case 'c': {
            char text = (char)va_arg(arguments, int);
            put_padded(&sink, &c, &text, 1);
            break;
        }
        case 'd':
        case 'i': {
            int64_t value = c.longs > 0 ? va_arg(arguments, long) : va_arg(arguments, int);
            uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
            c.negative = value < 0;
            put_number(&sink, &c, magnitude, 'd');
            break;
        }
        case 'u':
        case 'x':
        case 'X': {
            uint64_t value =
                c.longs > 0 ? va_arg(arguments, unsigned long) : va_arg(arguments, unsigned int);
            put_number(&sink, &c, value, *f);
            break;
        }
        case 'p':
            put(&sink, '0');
            put(&sink, 'x');
            put_number(&sink, &c, (uintptr_t)va_arg(arguments, void *), 'x');
            break;
        case '\0':
            f--; /* a lone % at the end: stop at the NUL */
            break;
        default:
            put(&sink, *f); /* also %% */
            break;
        }
    }
    if (size > 0) {
        to[sink.length < size ? sink.length : size - 1u] = '\0';
    }
    return sink.length;
}

size_t format_text(char *to, size_t size, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    size_t length = format_text_va(to, size, format, arguments);
    va_end(arguments);
    return length;
}
