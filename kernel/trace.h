// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The trace ring: what a CPU did in the kernel, as fixed binary events of four words
 * (hallows/syscall.h), the newest TRACE_EVENTS of them. Each CPU is switched on by itself. Off, it
 * costs one test of a flag at an interrupt or fault and nothing at a system call: those enter by
 * another way while it is on (arch_trace).
 */
#ifndef KERNEL_TRACE_H
#define KERNEL_TRACE_H

#include "kernel/state.h"

/* Records one event, and a switch when another thread has become current since the last. */
void trace_event(struct kernel *k, enum trace_kind kind, uint64_t what, uint64_t value);

static inline void trace(struct kernel *k, enum trace_kind kind, uint64_t what, uint64_t value)
{
    if (__builtin_expect(cpu_self(k)->trace.on != 0, 0)) {
        trace_event(k, kind, what, value);
    }
}

status_t trace_control(struct kernel *k, uint64_t trace, uint64_t on);
status_t trace_read(struct kernel *k, uint64_t trace, uint64_t cpu, uint64_t words[8]);

#endif
