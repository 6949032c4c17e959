// SPDX-License-Identifier: MIT OR Apache-2.0
/* The kernel calls about scheduling contexts, as runtime/syscall.h has the others. */
#ifndef RUNTIME_SYSCALL_TIME_H
#define RUNTIME_SYSCALL_TIME_H

#include "runtime/syscall.h"

static inline status_t sched_context_configure(cap_slot_t context, cap_slot_t control,
                                               time_ns_t budget_ns, time_ns_t period_ns,
                                               uint32_t flags)
{
    return call_6(CALL_sched_context_configure, context, control,
                  (struct call_arguments){.rdx = budget_ns, .r10 = period_ns, .r8 = flags});
}

static inline status_t sched_context_bind(cap_slot_t context, cap_slot_t thread)
{
    return call_2(CALL_sched_context_bind, context, thread);
}

static inline status_t sched_context_unbind(cap_slot_t context)
{
    return call_2(CALL_sched_context_unbind, context, 0);
}

/* passive 1: on what callers lend, else in idle time; 0: without a budget, with a sched_control. */
static inline status_t thread_set_passive(cap_slot_t thread, uint32_t passive, cap_slot_t control)
{
    return call_6(CALL_thread_set_passive, thread, passive,
                  (struct call_arguments){.rdx = control});
}

/* values: ns used so far, ns that may be used now. */
static inline status_t sched_context_info(cap_slot_t context, uint64_t values[2])
{
    return call_values(CALL_sched_context_info, context, 0, (struct call_arguments){0}, values);
}

#endif
