// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Host only: register windows of fake devices. An access to an address inside a registered window
 * calls its functions; any other address is plain memory. Tests are single-threaded.
 */
#ifndef DRIVERS_MMIO_FAKE_H
#define DRIVERS_MMIO_FAKE_H

#include <hallows/types.h>

struct mmio_fake {
    volatile void *base;
    size_t bytes;
    /* width: 1, 2, 4 or 8 bytes; offset from base. */
    uint64_t (*read)(void *context, size_t offset, unsigned width);
    void (*write)(void *context, size_t offset, unsigned width, uint64_t value);
    void *context;
    struct mmio_fake *next; /* the registry's */
};

/* `window` stays the caller's and must live until it is removed. */
void mmio_fake_add(struct mmio_fake *window);
void mmio_fake_remove(struct mmio_fake *window);

#endif
