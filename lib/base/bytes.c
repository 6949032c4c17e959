// SPDX-License-Identifier: MIT OR Apache-2.0
/* Freestanding only: the host build takes these from its C library. */
#define BYTES_DEFINITIONS
#include "lib/base/bytes.h"

#include <stdint.h>

/* Up to this many bytes a copy is two overlapping moves; above it, the CPU's string instruction. */
#define SMALL_COPY_BYTES 16u

struct __attribute__((packed)) unaligned64 {
    uint64_t value;
};
struct __attribute__((packed)) unaligned32 {
    uint32_t value;
};

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    uint8_t *d = to;
    const uint8_t *s = from;

    if (bytes > SMALL_COPY_BYTES) {
        /* Words first, then the last 8 bytes once more, overlapping. */
        size_t words = bytes / 8u;
        const struct unaligned64 *last = (const void *)(s + bytes - 8u);
        uint64_t tail = last->value;
        void *end = d + bytes - 8u;
        __asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
        ((struct unaligned64 *)end)->value = tail;
        return to;
    }
    if (bytes >= 8u) {
        uint64_t head = ((const struct unaligned64 *)(const void *)s)->value;
        uint64_t tail = ((const struct unaligned64 *)(const void *)(s + bytes - 8u))->value;
        ((struct unaligned64 *)(void *)d)->value = head;
        ((struct unaligned64 *)(void *)(d + bytes - 8u))->value = tail;
    } else if (bytes >= 4u) {
        uint32_t head = ((const struct unaligned32 *)(const void *)s)->value;
        uint32_t tail = ((const struct unaligned32 *)(const void *)(s + bytes - 4u))->value;
        ((struct unaligned32 *)(void *)d)->value = head;
        ((struct unaligned32 *)(void *)(d + bytes - 4u))->value = tail;
    } else {
        for (size_t i = 0; i < bytes; i++) {
            d[i] = s[i];
        }
    }
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *d = to;
    const uint8_t *s = from;

    if (d == s || bytes == 0) {
        return to;
    }
    if (d < s || d >= s + bytes) {
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(bytes) : : "memory");
        return to;
    }
    while (bytes >= 8u) {
        bytes -= 8u;
        ((struct unaligned64 *)(void *)(d + bytes))->value =
            ((const struct unaligned64 *)(const void *)(s + bytes))->value;
    }
    while (bytes > 0) {
        bytes--;
        d[bytes] = s[bytes];
    }
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    uint8_t *d = to;
    uint64_t pattern = (uint8_t)value * 0x0101010101010101ull;
    size_t words = bytes / 8u;
    size_t rest = bytes % 8u;

    __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
    for (size_t i = 0; i < rest; i++) {
        ((volatile uint8_t *)d)[i] = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a;
    const uint8_t *y = b;

    size_t i = 0;
    while (i + 8u <= bytes && ((const struct unaligned64 *)(const void *)(x + i))->value ==
                                  ((const struct unaligned64 *)(const void *)(y + i))->value) {
        i += 8u;
    }
    for (; i < bytes; i++) {
        if (x[i] != y[i]) {
            return x[i] - y[i];
        }
    }
    return 0;
}

void *memchr(const void *from, int value, size_t bytes)
{
    const uint8_t *s = from;

    for (size_t i = 0; i < bytes; i++) {
        if (s[i] == (uint8_t)value) {
            return (void *)(uintptr_t)(s + i);
        }
    }
    return NULL;
}

size_t strlen(const char *text)
{
    return strnlen(text, SIZE_MAX);
}

size_t strnlen(const char *text, size_t max)
{
    size_t n = 0;

    while (n < max && text[n] != '\0') {
        n++;
    }
    return n;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t max)
{
    for (size_t i = 0; i < max; i++) {
        if (a[i] != b[i] || a[i] == '\0') {
            return (uint8_t)a[i] - (uint8_t)b[i];
        }
    }
    return 0;
}
