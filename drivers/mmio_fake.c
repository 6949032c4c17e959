// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/mmio_fake.h"

#include "drivers/mmio.h"
#include "lib/base/assert.h"

static struct mmio_fake *first_window;

void mmio_fake_add(struct mmio_fake *window)
{
    window->next = first_window;
    first_window = window;
}

void mmio_fake_remove(struct mmio_fake *window)
{
    for (struct mmio_fake **link = &first_window; *link != NULL; link = &(*link)->next) {
        if (*link == window) {
            *link = window->next;
            return;
        }
    }
    VERIFY(!"the window was never added");
}

static struct mmio_fake *find_window(const volatile void *at, unsigned width, size_t *offset)
{
    VERIFY((uintptr_t)at % width == 0);
    for (struct mmio_fake *window = first_window; window != NULL; window = window->next) {
        uintptr_t base = (uintptr_t)window->base;
        if ((uintptr_t)at >= base && (uintptr_t)at - base < window->bytes) {
            *offset = (uintptr_t)at - base;
            VERIFY(*offset + width <= window->bytes);
            return window;
        }
    }
    return NULL;
}

#define DEFINE_ACCESS(bits)                                                                        \
    uint##bits##_t mmio_read##bits(const volatile void *at)                                        \
    {                                                                                              \
        size_t offset;                                                                             \
        struct mmio_fake *window = find_window(at, (bits) / 8, &offset);                           \
        if (window != NULL) {                                                                      \
            return (uint##bits##_t)window->read(window->context, offset, (bits) / 8);              \
        }                                                                                          \
        return *(const volatile uint##bits##_t *)at;                                               \
    }                                                                                              \
    void mmio_write##bits(volatile void *at, uint##bits##_t value)                                 \
    {                                                                                              \
        size_t offset;                                                                             \
        struct mmio_fake *window = find_window(at, (bits) / 8, &offset);                           \
        if (window != NULL) {                                                                      \
            window->write(window->context, offset, (bits) / 8, value);                             \
            return;                                                                                \
        }                                                                                          \
        *(volatile uint##bits##_t *)at = value;                                                    \
    }

DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)
