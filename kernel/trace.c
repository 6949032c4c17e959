// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/trace.h"

#include "kernel/object/cap.h"

static void record(struct cpu *c, uint64_t head, uint64_t what, uint64_t value)
{
    struct trace_event *e = &c->trace.event[c->trace.count % TRACE_EVENTS];

    e->time_ns = arch_time_ns();
    e->head = head;
    e->what = what;
    e->value = value;
    c->trace.count++;
}

void trace_event(struct kernel *k, enum trace_kind kind, uint64_t what, uint64_t value)
{
    struct cpu *c = cpu_self(k);
    uint64_t thread = (uint64_t)c->trace.thread << 32;

    record(c, kind | thread, what, value);
    if (c->trace.thread != c->current.n) {
        record(c, TRACE_SWITCH | thread, c->current.n, 0);
        c->trace.thread = c->current.n;
    }
}

/*
 * Requires: trace held with MANAGE. Changes: events of the CPU that the caller runs on are recorded
 * from now on, or no more; those there are stay.
 */
status_t trace_control(struct kernel *k, uint64_t trace_slot, uint64_t on)
{
    struct slot *slot;
    status_t status = cap_find(k, trace_slot, OBJECT_TRACE, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    if (on > 1) {
        return STATUS_INVALID_ARGUMENT;
    }
    cpu_self(k)->trace.on = (uint32_t)on;
    cpu_self(k)->trace.thread = current_thread(k).n;
    arch_trace(on != 0);
    return STATUS_OK;
}

/*
 * Requires: trace held with READ; a CPU (INVALID_ARGUMENT); an event of that number, words[0], or a
 * later one (NOT_FOUND). Changes: nothing. Values: the event's number (the oldest there is, if the
 * one asked for was overwritten), how many there were, and its four words.
 */
status_t trace_read(struct kernel *k, uint64_t trace_slot, uint64_t cpu, uint64_t words[8])
{
    struct slot *slot;
    status_t status = cap_find(k, trace_slot, OBJECT_TRACE, RIGHT_READ, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    if (cpu >= k->cpu_count) {
        return STATUS_INVALID_ARGUMENT;
    }
    const struct trace *t = &cpu_at(k, (uint32_t)arch_index(cpu, k->cpu_count))->trace;
    uint64_t oldest = t->count > TRACE_EVENTS ? t->count - TRACE_EVENTS : 0;
    uint64_t number = words[0] < oldest ? oldest : words[0];
    if (number >= t->count) {
        return STATUS_NOT_FOUND;
    }
    const struct trace_event *e = &t->event[number % TRACE_EVENTS];
    words[0] = number;
    words[1] = t->count;
    words[2] = e->time_ns;
    words[3] = e->head;
    words[4] = e->what;
    words[5] = e->value;
    return STATUS_OK;
}
