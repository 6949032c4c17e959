// SPDX-License-Identifier: MIT OR Apache-2.0
/* Interrupts of a domain whose window it is not: shown with a schedule of two domains and the
 * kernel's trace, which tells when each came. */
#ifndef TESTS_KERNEL_HELD_H
#define TESTS_KERNEL_HELD_H

#include "tests/kernel/harness.h"

/* A device that can be made to interrupt. */
struct held_source {
    cap_slot_t irq;
    cap_slot_t notification;
    void (*fire)(void *device); /* the interrupt comes soon */
    void *device;
    bool masked;                 /* the machine can hold the source back */
    void (*quiet)(void *device); /* of a level: before it is acknowledged; else NULL */
};

/* Makes an irq arrive on CPU 0, in domain 1, and signal a new notification with badge 1. Context:
 * the irq is new and not bound. */
void held_bind(struct held_source *source);
/* Its interrupts that come in windows of domain 0 arrive in those of domain 1, once. */
void held_expect(const struct held_source *source);

#endif
