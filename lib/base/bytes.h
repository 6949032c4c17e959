// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Memory and string primitives with their standard C meaning. In the system they are lib/base's
 * own; on the host the C library's.
 */
#ifndef LIB_BASE_BYTES_H
#define LIB_BASE_BYTES_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
void *memchr(const void *from, int value, size_t bytes);
size_t strlen(const char *text);
size_t strnlen(const char *text, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t max);

#if !defined(HALLOWS_HOST) && !defined(BYTES_DEFINITIONS)
/* Freestanding compilers must not know these names; under their other names they do, and turn
 * copies and comparisons of few, constant bytes into moves. */
#define memcpy(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define memset(to, value, bytes) __builtin_memset(to, value, bytes)
#define memcmp(a, b, bytes) __builtin_memcmp(a, b, bytes)
#endif

#endif
