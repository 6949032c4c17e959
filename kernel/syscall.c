// SPDX-License-Identifier: MIT OR Apache-2.0
/* System calls: from registers to the object's function and back. One handler a call; the table of
 * include/hallows/syscall.h says which there are. */
#include "kernel/entry.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/object/upcall.h"
#include "kernel/sched.h"
#include "kernel/trace.h"

typedef status_t (*call_handler)(struct kernel *k, struct registers *r);

#define HANDLER(name) static status_t call_##name(struct kernel *k, struct registers *r)
/* That function with arguments from registers. */
#define FORWARD_TO(name, function, ...)                                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        (void)r;                                                                                   \
        return function(k, ##__VA_ARGS__);                                                         \
    }
#define FORWARD(name, ...) FORWARD_TO(name, name, ##__VA_ARGS__)
#define FORWARD_FAST(name, ...) FAST FORWARD(name, ##__VA_ARGS__)

/* The slot that a receiving call takes its reply object from. */
static inline uint32_t aux_slot(const struct registers *r)
{
    return (uint32_t)(r->result >> 32);
}

HANDLER(yield)
{
    (void)r;
    sched_rotate(k);
    return STATUS_OK;
}

/* ---- Capabilities and untyped memory -------------------------------------------------------- */

FORWARD_FAST(cap_copy, r->arg0, r->arg1, r->word[0])
FORWARD_FAST(cap_mint, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD(cap_move, r->arg0, r->arg1)
FORWARD_FAST(cap_delete, r->arg0)
FORWARD(cap_revoke, r->arg0)
FORWARD(cap_identify, r->arg0, r->word)
FORWARD(range_derive, &(struct range_request){r->arg0, r->arg1, r->word[0], r->word[1], r->word[2]})
FORWARD_FAST(untyped_retype,
             &(struct retype_request){r->arg0, r->arg1, r->word[0], r->word[1], r->word[2]})
FORWARD(untyped_reset, r->arg0)
FORWARD(untyped_info, r->arg0, r->word)

/* ---- Threads ----------------------------------------------------------------------------------
 */

FORWARD(thread_configure, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD(thread_write_registers, r->arg0, r->arg1, r->word)
FORWARD(thread_read_registers, r->arg0, r->arg1, r->word)
FORWARD(thread_set_priority, r->arg0, r->arg1, r->word[0])
FORWARD_TO(thread_set_cpu, thread_set_place, r->arg0, r->arg1, r->word[0], true)
FORWARD_TO(thread_set_domain, thread_set_place, r->arg0, r->arg1, r->word[0], false)
FORWARD(thread_resume, r->arg0)
FORWARD(thread_suspend, r->arg0)
FORWARD(thread_bind_notification, r->arg0, r->arg1)
FORWARD(thread_set_upcall, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD(upcall_quantum, r->arg0)

/* ---- IPC
 * ------------------------------------------------------------------------------------------ */

FORWARD_FAST(ipc_call)
FORWARD(ipc_send)
FORWARD(ipc_recv, aux_slot(r))
FORWARD(ipc_reply)
FORWARD_FAST(ipc_reply_recv, aux_slot(r))
FORWARD_FAST(notification_signal, r->arg0)
FORWARD_FAST(notification_wait, r->arg0, r->arg1)

/* ---- Memory
 * ---------------------------------------------------------------------------------------- */

FORWARD_TO(aspace_map_table, paging_map_table, OBJECT_ASPACE, r->arg0, r->arg1, r->word[0])
FORWARD(aspace_unmap_table, r->arg0)
FORWARD_FAST(segment_populate,
             &(struct populate_request){r->arg0, r->arg1, r->word[0], r->word[1], 0, r->word[2]})
FORWARD(segment_populate_device, &(struct populate_request){r->arg0, r->arg1, r->word[0],
                                                            r->word[1], r->word[2], r->word[4]})
FORWARD(segment_protect, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD_FAST(segment_attach, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD_FAST(segment_detach, r->arg0, r->arg1, r->word[0])
FORWARD(segment_device_address, r->arg0, r->arg1, r->word[0], &r->word[0])
FORWARD_FAST(segment_depopulate, r->arg0, r->arg1, r->word[0])
FORWARD(segment_populate_large,
        &(struct large_request){r->arg0, r->arg1, r->word[0], r->word[1], r->word[2]})
FORWARD_FAST(segment_derive, &(struct derive_request){r->arg0, r->arg1, r->word[0], r->word[1],
                                                      r->word[2], r->word[3]})
FORWARD(segment_revert, r->arg0)

/* ---- Devices
 * ---------------------------------------------------------------------------------------- */

FORWARD(irq_create_msi, r->arg0, r->arg1, r->word)
FORWARD(irq_create_ioapic, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD(irq_bind, r->arg0, r->arg1)
FORWARD(irq_ack, r->arg0)
FORWARD(irq_affinity, &(struct irq_place){r->arg0, r->arg1, r->word[0], r->word[1]}, r->word)
FORWARD(port_in, r->arg0, r->arg1, r->word[0], &r->word[0])
FORWARD(port_out, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD(console_write, r->arg0, r->arg1, r->word)
FORWARD(irq_source, r->arg0, r->arg1, r->word[0])
FORWARD_TO(iospace_map_table, paging_map_table, OBJECT_IOSPACE, r->arg0, r->arg1, r->word[0])
FORWARD(iospace_attach, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD(iospace_detach, r->arg0, r->arg1, r->word[0])
FORWARD(iospace_assign, r->arg0, r->arg1, r->word[0])
FORWARD(iospace_unassign, r->arg0, r->arg1)
FORWARD(iospace_bind, r->arg0, r->arg1)
FORWARD(iospace_fault, r->arg0, r->word)

/* ---- Time
 * --------------------------------------------------------------------------------------- */

FORWARD(sched_context_configure,
        &(struct sched_context_request){r->arg0, r->arg1, r->word[0], r->word[1], r->word[2]})
FORWARD(sched_context_bind, r->arg0, r->arg1)
FORWARD(sched_context_unbind, r->arg0)
FORWARD(thread_set_passive, r->arg0, r->arg1, r->word[0])
FORWARD(sched_context_info, r->arg0, r->word)
FORWARD(schedule_append, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD(schedule_start, r->arg0, r->arg1, r->word[0], r->word[1])
FORWARD(trace_control, r->arg0, r->arg1)
FORWARD(trace_read, r->arg0, r->arg1, r->word)

/* ---- Dispatch
 * ----------------------------------------------------------------------------------------- */

#define ENTRY(name, number, arguments, values, summary) [CALL_##name] = call_##name,
#define HANDLERS 128u /* a power of two */
static const call_handler handlers[HANDLERS] = {HALLOWS_SYSCALL_TABLE(ENTRY)};
#undef ENTRY

FAST void kernel_syscall_slow(struct kernel *k, struct thread *t)
{
    struct registers *r = &t->registers;

    if ((t->upcall_events & UPCALL_SYSCALL) != 0 && upcall_syscall(k, t)) {
        return;
    }
    uint32_t number = (uint16_t)r->result;
    call_handler handler = number < HANDLERS ? handlers[arch_mask(number, HANDLERS)] : NULL;
    status_t status = handler == NULL ? STATUS_INVALID_CALL : handler(k, r);

    if (status != CALL_BLOCKED) {
        r->result = (uint64_t)(int64_t)status;
    }
    sched_finish(k);
}

void kernel_syscall_traced(struct kernel *k)
{
    struct thread *t = thread_at(k, current_thread(k));
    uint64_t number = (uint16_t)t->registers.result;

    kernel_syscall_slow(k, t);
    trace(k, TRACE_CALL, number, t->state == THREAD_READY ? t->registers.result : TRACE_WAITS);
}
