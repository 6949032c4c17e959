// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Text formatting for freestanding code: the useful part of printf.
 * Conversions: %s %c %d %i %u %x %X %p %%, flags '-' and '0', width and precision (digits or *),
 * lengths l, ll and z. No floating point.
 */
#ifndef LIB_BASE_FORMAT_H
#define LIB_BASE_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/* Writes at most size - 1 bytes and a NUL into `to` (nothing when size is 0). Returns the length
 * the whole text has, like snprintf. */
size_t format_text(char *to, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t format_text_va(char *to, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

#endif
