// SPDX-License-Identifier: MIT OR Apache-2.0
/* Partition schedules of the CPUs, from the system description (docs/decisions/016). */
#include "runtime/syscall_partition.h"
#include "services/supervisor/supervisor.h"

#define NS_PER_US 1000ull
/* From here to the first frame of all CPUs: so far schedules of one length run in step. */
#define START_NS 1000000u

/* The schedule of the CPU whose windows begin at `first`; *next: those of another begin. */
static status_t schedule_make(struct supervisor *s, uint32_t first, time_ns_t start_ns,
                              uint32_t *next)
{
    const struct system_window *windows = s->system.windows;
    uint32_t cpu = windows[first].cpu;
    cap_slot_t schedule;
    status_t status = slots_take(s, 1, &schedule);

    if (status == STATUS_OK) {
        status = retype_own(s, (struct retype_request){OBJECT_PARTITION_SCHEDULE, 0, schedule, 1});
    }
    uint32_t i = first;
    for (; i < s->system.header->window_count && windows[i].cpu == cpu; i++) {
        if (status == STATUS_OK) {
            status = schedule_append(schedule, BOOT_SLOT_SCHED_CONTROL, windows[i].domain,
                                     windows[i].length_us * NS_PER_US);
        }
    }
    *next = i;
    if (cpu >= s->boot->cpus_used) {
        log_line("there is a schedule for CPU %u, and the machine runs %u; give it more, or change "
                 "the system",
                 cpu, s->boot->cpus_used);
        return status; /* cells there say so too, and do not start */
    }
    return status == STATUS_OK ? schedule_start(schedule, BOOT_SLOT_SCHED_CONTROL, cpu, start_ns)
                               : status;
}

status_t schedules_prepare(struct supervisor *s)
{
    time_ns_t start_ns = clock_ns(&s->boot->time) + START_NS;
    status_t status = STATUS_OK;

    for (uint32_t i = 0; i < s->system.header->window_count && status == STATUS_OK;) {
        status = schedule_make(s, i, start_ns, &i);
    }
    return status;
}
