// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/entry.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/object/upcall.h"
#include "kernel/object/wait.h"
#include "kernel/sched.h"
#include "kernel/timer.h"

/* ---- Waiting and waking -----------------------------------------------------------------------
 */

void thread_unwait(struct kernel *k, thread_ix i)
{
    unwait(k, i, (enum thread_state)thread_at(k, i)->state);
}

void thread_wake(struct kernel *k, thread_ix i, status_t result)
{
    struct thread *t = thread_at(k, i);

    if (t->state == THREAD_THROTTLED) {
        thread_unwait(k, i);
        sched_wake(k, i);
        return;
    }
    if (t->state == THREAD_REPLY_WAITING) {
        sched_context_return(k, t);
    }
    thread_unwait(k, i);
    if ((t->flags & THREAD_FAULTED) != 0) {
        arch_report_fault(k, i, &t->fault);
        return;
    }
    t->registers.result = (uint64_t)(int64_t)result;
    sched_wake(k, i);
}

void thread_stop(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    bool throttled = t->state == THREAD_THROTTLED;

    if (t->state == THREAD_READY) {
        sched_remove(k, i);
    } else if (t->state != THREAD_INACTIVE) {
        if (t->state == THREAD_REPLY_WAITING) {
            sched_context_return(k, t);
        }
        thread_unwait(k, i);
        if ((t->flags & THREAD_FAULTED) == 0 && !throttled) {
            t->registers.result = (uint64_t)(int64_t)STATUS_CANCELLED;
        }
    }
}

/* ---- What a thread may use ----------------------------------------------------------------------
 */

static slot_ix embedded(thread_ix i, size_t offset)
{
    return (slot_ix){i.n + (uint32_t)(offset / GRANULE_BYTES)};
}

void thread_slot_lost(struct kernel *k, slot_ix i)
{
    uint32_t part = i.n % (THREAD_BYTES / GRANULE_BYTES);
    thread_ix thread = {i.n - part};
    struct thread *t = thread_at(k, thread);

    if (part == offsetof(struct thread, fault_slot) / GRANULE_BYTES) {
        return; /* its next fault stops it */
    }
    thread_stop(k, thread);
    if (part == offsetof(struct thread, table_slot) / GRANULE_BYTES) {
        t->table = (table_ix){NIL};
    } else {
        t->aspace = (aspace_ix){NIL};
        t->root = 0;
    }
}

static void thread_drop_spaces(struct kernel *k, thread_ix i)
{
    const size_t offsets[] = {offsetof(struct thread, table_slot),
                              offsetof(struct thread, aspace_slot),
                              offsetof(struct thread, fault_slot)};

    for (uint32_t n = 0; n < sizeof(offsets) / sizeof(offsets[0]); n++) {
        slot_ix slot = embedded(i, offsets[n]);
        if (slot_at(k, slot)->type != OBJECT_NONE) {
            cap_remove_copy(k, slot);
        }
    }
}

static void embed(struct kernel *k, slot_ix from, slot_ix to)
{
    cap_derive(k, from, to, RIGHTS_ALL, slot_at(k, from)->badge);
}

void thread_set_spaces(struct kernel *k, thread_ix i, slot_ix table, slot_ix aspace, slot_ix fault)
{
    struct thread *t = thread_at(k, i);

    thread_drop_spaces(k, i);
    embed(k, table, embedded(i, offsetof(struct thread, table_slot)));
    embed(k, aspace, embedded(i, offsetof(struct thread, aspace_slot)));
    if (fault.n != NIL) {
        embed(k, fault, embedded(i, offsetof(struct thread, fault_slot)));
    }
    t->table = (table_ix){t->table_slot.object};
    t->aspace = (aspace_ix){t->aspace_slot.object};
    t->root = aspace_at(k, t->aspace)->paging.physical;
}

/* cap_find for a capability that will be derived. */
static status_t find_derivable(struct kernel *k, uint64_t n, enum object_type type, uint32_t rights,
                               slot_ix *out)
{
    struct slot *slot;
    status_t status = cap_find(k, n, type, rights, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    *out = cap_own(k, n);
    return cap_derivable(slot);
}

/*
 * Requires: thread held with MANAGE, inactive (BUSY); a table and an aspace; fault_endpoint 0 or an
 *           endpoint held with SEND; each may be derived from once more.
 * Changes:  the thread's three embedded capabilities are children of the caller's.
 */
status_t thread_configure(struct kernel *k, uint64_t thread, uint64_t table, uint64_t aspace,
                          uint64_t fault_endpoint)
{
    struct slot *slot;
    slot_ix table_from;
    slot_ix aspace_from;
    slot_ix fault_from = {NIL};
    status_t status = cap_find(k, thread, OBJECT_THREAD, RIGHT_MANAGE, &slot);

    if (status == STATUS_OK) {
        status = find_derivable(k, table, OBJECT_TABLE, 0, &table_from);
    }
    if (status == STATUS_OK) {
        status = find_derivable(k, aspace, OBJECT_ASPACE, 0, &aspace_from);
    }
    if (status == STATUS_OK && fault_endpoint != 0) {
        status = find_derivable(k, fault_endpoint, OBJECT_ENDPOINT, RIGHT_SEND, &fault_from);
    }
    if (status != STATUS_OK) {
        return status;
    }
    thread_ix i = {slot->object};
    if (thread_at(k, i)->state != THREAD_INACTIVE) {
        return STATUS_BUSY;
    }
    thread_set_spaces(k, i, table_from, aspace_from, fault_from);
    return STATUS_OK;
}

/* ---- Registers
 * ------------------------------------------------------------------------------------ */

#define AT(field) (offsetof(struct registers, field) / sizeof(uint64_t))
#define NONE UINT8_MAX
/* Which of struct registers each word of a group is. */
static const uint8_t groups[REGISTERS_GROUP_COUNT][8] = {
    {AT(ip), AT(sp), AT(flags), AT(fs_base), AT(gs_base), NONE, NONE, NONE},
    {AT(result), AT(caps), AT(rcx), AT(word[0]), AT(arg1), AT(arg0), AT(rbp), NONE},
    {AT(word[2]), AT(word[3]), AT(word[1]), AT(r11), AT(word[4]), AT(word[5]), AT(word[6]),
     AT(word[7])}};

static bool control_ok(const uint64_t words[8])
{
    return arch_user_address_ok(words[0]) && arch_user_address_ok(words[3]) &&
           arch_user_address_ok(words[4]);
}

/*
 * Requires: thread held with MANAGE, inactive (BUSY); a group; instruction pointer and bases in the
 *           user half.
 * Changes:  that group of its registers; the thread is then entered as if by an interrupt.
 */
status_t thread_write_registers(struct kernel *k, uint64_t thread, uint64_t group,
                                const uint64_t words[8])
{
    struct slot *slot;
    status_t status = cap_find(k, thread, OBJECT_THREAD, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    if (group >= REGISTERS_GROUP_COUNT || (group == REGISTERS_CONTROL && !control_ok(words))) {
        return STATUS_INVALID_ARGUMENT;
    }
    struct thread *t = thread_at(k, (thread_ix){slot->object});
    if (t->state != THREAD_INACTIVE) {
        return STATUS_BUSY;
    }
    arch_thread_forget(t);
    const uint8_t *at = groups[arch_index(group, REGISTERS_GROUP_COUNT)];
    for (uint32_t n = 0; n < 8; n++) {
        if (at[n] != NONE) {
            ((uint64_t *)&t->registers)[at[n]] = words[n];
        }
    }
    t->registers.flags = arch_flags_sanitize(t->registers.flags);
    return STATUS_OK;
}

/* Requires: thread held with MANAGE, not ready (BUSY); a group. Changes: nothing. */
status_t thread_read_registers(struct kernel *k, uint64_t thread, uint64_t group, uint64_t words[8])
{
    struct slot *slot;
    status_t status = cap_find(k, thread, OBJECT_THREAD, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    if (group >= REGISTERS_GROUP_COUNT) {
        return STATUS_INVALID_ARGUMENT;
    }
    struct thread *t = thread_at(k, (thread_ix){slot->object});
    if (t->state == THREAD_READY) {
        return STATUS_BUSY;
    }
    arch_thread_forget(t);
    const uint8_t *at = groups[arch_index(group, REGISTERS_GROUP_COUNT)];
    for (uint32_t n = 0; n < 8; n++) {
        words[n] = at[n] == NONE ? 0 : ((const uint64_t *)&t->registers)[at[n]];
    }
    return STATUS_OK;
}

/* ---- Running
 * -------------------------------------------------------------------------------------- */

/*
 * Requires: thread held with MANAGE, a sched_control of at least that priority.
 * Changes:  its priority; it may preempt the caller or the caller may step back.
 */
status_t thread_set_priority(struct kernel *k, uint64_t thread, uint64_t control, uint64_t priority)
{
    struct slot *slot, *with;
    status_t status = cap_find_sched(k, thread, OBJECT_THREAD, control, &slot, &with);

    if (status != STATUS_OK) {
        return status;
    }
    if (priority >= PRIORITY_COUNT) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (priority > with->badge) {
        return STATUS_NO_RIGHTS;
    }
    thread_ix i = {slot->object};
    struct thread *t = thread_at(k, i);
    t->base_priority = (uint8_t)priority;
    if (t->state != THREAD_READY) {
        t->priority = (uint8_t)priority;
    } else if ((t->flags & THREAD_DEMOTED) == 0) {
        sched_set_priority(k, i, (uint8_t)priority);
    }
    return STATUS_OK;
}

/*
 * Requires: thread held with MANAGE; a sched_control; a CPU that is used, or a domain
 *           (INVALID_ARGUMENT).
 * Changes:  the thread runs on that CPU, or in windows of that domain, from now on, and no longer
 *           where it ran.
 */
status_t thread_set_place(struct kernel *k, uint64_t thread, uint64_t control, uint64_t to,
                          bool is_cpu)
{
    struct slot *slot, *with;
    status_t status = cap_find_sched(k, thread, OBJECT_THREAD, control, &slot, &with);

    if (status != STATUS_OK) {
        return status;
    }
    thread_ix i = {slot->object};
    uint64_t cpu = is_cpu ? to : thread_at(k, i)->cpu;
    uint64_t domain = is_cpu ? thread_at(k, i)->domain : to;
    if (cpu >= k->cpu_count || domain >= DOMAIN_COUNT) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (thread_at(k, i)->cpu != cpu || thread_at(k, i)->domain != domain) {
        sched_move(k, i, (uint8_t)arch_index(cpu, k->cpu_count),
                   (uint8_t)arch_index(domain, DOMAIN_COUNT));
    }
    return STATUS_OK;
}

/*
 * Requires: thread held with MANAGE, inactive (BUSY), configured (INVALID_ARGUMENT).
 * Changes:  it is ready.
 */
status_t thread_resume(struct kernel *k, uint64_t thread)
{
    struct slot *slot;
    status_t status = cap_find(k, thread, OBJECT_THREAD, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    struct thread *t = thread_at(k, (thread_ix){slot->object});
    if (t->state != THREAD_INACTIVE) {
        return STATUS_BUSY;
    }
    if (t->table.n == NIL || t->aspace.n == NIL) {
        return STATUS_INVALID_ARGUMENT;
    }
    t->flags &= (uint8_t)~THREAD_FAULTED;
    sched_wake(k, (thread_ix){slot->object});
    return STATUS_OK;
}

/* Requires: thread held with MANAGE. Changes: it is inactive; what it waited for is CANCELLED. */
status_t thread_suspend(struct kernel *k, uint64_t thread)
{
    struct slot *slot;
    status_t status = cap_find(k, thread, OBJECT_THREAD, RIGHT_MANAGE, &slot);

    if (status == STATUS_OK) {
        thread_stop(k, (thread_ix){slot->object});
    }
    return status;
}

static void thread_unbind(struct kernel *k, struct thread *t)
{
    if (t->bound.n != NIL) {
        notification_at(k, t->bound)->bound = (thread_ix){NIL};
        t->bound = (notification_ix){NIL};
    }
}

/*
 * Requires: thread held with MANAGE; notification 0, or one held with RECEIVE that is bound to no
 *           other thread (BUSY).
 * Changes:  the thread's old binding is gone, the new one made; if it is receiving and the word is
 * not 0, it takes it.
 */
status_t thread_bind_notification(struct kernel *k, uint64_t thread, uint64_t notification)
{
    struct slot *slot, *with;
    status_t status = cap_find(k, thread, OBJECT_THREAD, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    thread_ix i = {slot->object};
    struct thread *t = thread_at(k, i);
    if (notification == 0) {
        thread_unbind(k, t);
        return STATUS_OK;
    }
    status = cap_find(k, notification, OBJECT_NOTIFICATION, RIGHT_RECEIVE, &with);
    if (status != STATUS_OK) {
        return status;
    }
    struct notification *n = notification_at(k, (notification_ix){with->object});
    if (n->bound.n != NIL && n->bound.n != i.n) {
        return STATUS_BUSY;
    }
    thread_unbind(k, t);
    n->bound = i;
    t->bound = (notification_ix){with->object};
    if (n->word != 0) {
        notification_raise(k, t->bound, 0); /* it may be receiving already */
    }
    return STATUS_OK;
}

/* Bound: one step; the embedded capabilities are leaves. */
status_t thread_destroy(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    thread_stop(k, i);
    thread_drop_spaces(k, i);
    thread_unbind(k, t);
    upcall_forget(k, i);
    sched_context_forget(k, i);
    arch_thread_forget(t);
    return STATUS_OK;
}
