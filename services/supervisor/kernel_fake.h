// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A kernel for host tests of the supervisor: answers the calls of runtime/syscall.h, keeps book of
 * which slots hold what and what came from which untyped memory (an occupied or empty slot is
 * refused as the kernel does), and can refuse any call. The supervisor's own windows are host
 * memory, so all segments are simply there.
 */
#ifndef SUPERVISOR_KERNEL_FAKE_H
#define SUPERVISOR_KERNEL_FAKE_H

#include "runtime/syscall.h"

#define FAKE_SLOTS 16384u
#define FAKE_LOG_BYTES 65536u

struct kernel_fake {
    struct {
        bool used;
        cap_slot_t parent; /* what revoking deletes this */
        bool suspended;
        uint32_t signals;
    } slots[FAKE_SLOTS];
    uint32_t cell_tables; /* capabilities put into other tables */
    uint32_t replies;
    cap_slot_t reply_slot; /* of the last reply */
    struct message reply;
    uint64_t calls;   /* that can be refused */
    uint64_t fail_at; /* the call of that number gets NO_MEMORY; 0: none */
    uint64_t again;   /* counts bounded steps: every third says AGAIN */
    uint32_t switched_off;
    uint32_t port_status; /* what the ACPI event port reads */
    char log[FAKE_LOG_BYTES];
    uint32_t log_bytes;
};

extern struct kernel_fake kernel_fake;

/* All slots empty but those below `first_free`. */
void kernel_fake_reset(cap_slot_t first_free);
/* Slots in use. */
uint32_t kernel_fake_used(void);

#endif
