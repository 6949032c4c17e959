// SPDX-License-Identifier: MIT OR Apache-2.0
/* The kernel calls about partitions, as runtime/syscall.h has the others. */
#ifndef RUNTIME_SYSCALL_PARTITION_H
#define RUNTIME_SYSCALL_PARTITION_H

#include "runtime/syscall.h"

static inline status_t schedule_append(cap_slot_t schedule, cap_slot_t control, uint32_t domain,
                                       time_ns_t length_ns)
{
    return call_6(CALL_schedule_append, schedule, control,
                  (struct call_arguments){.rdx = domain, .r10 = length_ns});
}

/* schedule 0: none from the end of the frame on. */
static inline status_t schedule_start(cap_slot_t schedule, cap_slot_t control, uint32_t cpu,
                                      time_ns_t start_ns)
{
    return call_6(CALL_schedule_start, schedule, control,
                  (struct call_arguments){.rdx = cpu, .r10 = start_ns});
}

static inline status_t thread_set_domain(cap_slot_t thread, cap_slot_t control, uint32_t domain)
{
    return call_6(CALL_thread_set_domain, thread, control, (struct call_arguments){.rdx = domain});
}

/* values: what a device that sends messages has to write from now on. */
static inline status_t irq_affinity(cap_slot_t irq, cap_slot_t control, uint32_t cpu,
                                    uint32_t domain, uint64_t values[2])
{
    return call_values(CALL_irq_affinity, irq, control,
                       (struct call_arguments){.rdx = cpu, .r10 = domain}, values);
}

#endif
