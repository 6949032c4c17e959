// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Partition schedules (ARINC 653 part 1: module schedule, major frame, partition windows): a table
 * of windows that a CPU goes through for ever. In a window only threads of its domain run, timers
 * of other domains do not fire, and nothing that happens elsewhere makes it longer or shorter: each
 * window ends at a time that follows from the frame's start alone, so that lateness never adds up.
 * A CPU changes to another table between two frames only. docs/decisions/016.
 */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/sched.h"
#include "kernel/timer.h"

/* The CPU's end of window has changed. */
static void window_changed(struct kernel *k, struct cpu *c, uint64_t end_ns)
{
    c->window_end = end_ns;
    timer_due_update(c);
    if (c != cpu_self(k)) {
        sched_poke(c); /* to set its timer */
    }
}

/* Bound: one step; a CPU that is late by frames leaves them out, and by windows goes through them,
 * one each time the timer fires. */
void schedule_step(struct kernel *k, uint64_t now_ns)
{
    struct cpu *c = cpu_self(k);

    if (c->schedule.n != NIL && c->window + 1u < schedule_at(k, c->schedule)->count) {
        c->window++;
    } else {
        c->schedule = c->schedule_next;
        c->window = 0;
        if (c->schedule.n == NIL) {
            sched_enter_domain(k, 0);
            window_changed(k, c, DEADLINE_NEVER);
            return;
        }
        uint64_t frame_ns = schedule_at(k, c->schedule)->frame_ns;
        c->frame_start = now_ns - (now_ns - c->window_end) % frame_ns;
        c->window_end = c->frame_start;
    }
    const struct window *w = &schedule_at(k, c->schedule)->window[c->window];
    sched_enter_domain(k, (uint32_t)w->domain);
    window_changed(k, c, c->window_end + w->length_ns);
}

/* Bound: the number of CPUs. */
static bool schedule_followed(const struct kernel *k, schedule_ix i)
{
    for (uint32_t n = 0; n < k->cpu_count; n++) {
        if (k->cpus[n].schedule.n == i.n || k->cpus[n].schedule_next.n == i.n) {
            return true;
        }
    }
    return false;
}

/*
 * Requires: schedule held with MANAGE, followed by no CPU (BUSY); a sched_control; a domain, and a
 *           length of SCHEDULE_WINDOW_MIN_NS at least, the frame SCHED_PERIOD_MAX_NS at most
 *           (INVALID_ARGUMENT); fewer than SCHEDULE_WINDOWS_MAX windows (FULL).
 * Changes:  it has one window more.
 */
status_t schedule_append(struct kernel *k, uint64_t schedule, uint64_t control, uint64_t domain,
                         uint64_t length_ns)
{
    struct slot *slot, *with;
    status_t status = cap_find_sched(k, schedule, OBJECT_PARTITION_SCHEDULE, control, &slot, &with);

    if (status != STATUS_OK) {
        return status;
    }
    struct schedule *s = schedule_at(k, (schedule_ix){slot->object});
    if (domain >= DOMAIN_COUNT || length_ns < SCHEDULE_WINDOW_MIN_NS ||
        length_ns > SCHED_PERIOD_MAX_NS - s->frame_ns) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (schedule_followed(k, (schedule_ix){slot->object})) {
        return STATUS_BUSY;
    }
    if (s->count == SCHEDULE_WINDOWS_MAX) {
        return STATUS_FULL;
    }
    s->window[s->count++] = (struct window){length_ns, arch_index(domain, DOMAIN_COUNT)};
    s->frame_ns += length_ns;
    return STATUS_OK;
}

/*
 * Requires: a sched_control; a CPU that is used; schedule 0, or held with MANAGE and not empty; a
 *           time below 2^63 (INVALID_ARGUMENT); the CPU has left the windows of a schedule that was
 *           deleted, which it does at once (BUSY).
 * Changes:  when the CPU's frame ends, it follows that schedule, or none. One that follows none
 *           begins at start_ns; if that is past, it joins the frame that began then in the middle.
 */
status_t schedule_start(struct kernel *k, uint64_t schedule, uint64_t control, uint64_t cpu,
                        uint64_t start_ns)
{
    struct slot *slot = NULL;
    struct slot *with;
    status_t status = cap_find(k, control, OBJECT_SCHED_CONTROL, 0, &with);

    if (status == STATUS_OK && schedule != 0) {
        status = cap_find(k, schedule, OBJECT_PARTITION_SCHEDULE, RIGHT_MANAGE, &slot);
    }
    if (status != STATUS_OK) {
        return status;
    }
    schedule_ix i = {slot == NULL ? NIL : slot->object};
    if (cpu >= k->cpu_count || start_ns > INT64_MAX ||
        (i.n != NIL && schedule_at(k, i)->count == 0)) {
        return STATUS_INVALID_ARGUMENT;
    }
    struct cpu *c = cpu_at(k, (uint32_t)arch_index(cpu, k->cpu_count));
    if (c->schedule.n == NIL && c->domain != 0) {
        return STATUS_BUSY;
    }
    c->schedule_next = i;
    if (c->schedule.n == NIL) {
        window_changed(k, c, i.n == NIL ? 0 : start_ns);
    }
    return STATUS_OK;
}

/* Bound: the number of CPUs. Who follows it follows none at once. */
status_t schedule_destroy(struct kernel *k, schedule_ix i)
{
    for (uint32_t n = 0; n < k->cpu_count; n++) {
        struct cpu *c = cpu_at(k, n);
        bool now = c->schedule.n == i.n;
        if (now || c->schedule_next.n == i.n) {
            c->schedule_next = (schedule_ix){NIL};
            c->schedule = now ? (schedule_ix){NIL} : c->schedule;
            if (c->schedule.n == NIL) {
                window_changed(k, c, 0);
            }
        }
    }
    return STATUS_OK;
}
