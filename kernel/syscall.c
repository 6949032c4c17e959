// SPDX-License-Identifier: MIT OR Apache-2.0
/* System calls: from registers to the object's function and back. One handler a call; the table of
 * include/hallows/syscall.h says which there are. */
#include "kernel/entry.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/object/upcall.h"
#include "kernel/sched.h"

typedef status_t (*call_handler)(struct kernel *k, struct registers *r);

#define HANDLER(name) static status_t call_##name(struct kernel *k, struct registers *r)

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

HANDLER(cap_copy)
{
    return cap_copy(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(cap_mint)
{
    return cap_mint(k, r->arg0, r->arg1, r->word[0], r->word[1]);
}

HANDLER(cap_move)
{
    return cap_move(k, r->arg0, r->arg1);
}

HANDLER(cap_delete)
{
    return cap_delete(k, r->arg0);
}

HANDLER(cap_revoke)
{
    return cap_revoke(k, r->arg0);
}

HANDLER(cap_identify)
{
    return cap_identify(k, r->arg0, r->word);
}

HANDLER(range_derive)
{
    const struct range_request request = {r->arg0, r->arg1, r->word[0], r->word[1], r->word[2]};

    return range_derive(k, &request);
}

HANDLER(untyped_retype)
{
    const struct retype_request request = {r->arg0, r->arg1, r->word[0], r->word[1], r->word[2]};

    return untyped_retype(k, &request);
}

HANDLER(untyped_reset)
{
    return untyped_reset(k, r->arg0);
}

HANDLER(untyped_info)
{
    return untyped_info(k, r->arg0, r->word);
}

/* ---- Threads ----------------------------------------------------------------------------------
 */

HANDLER(thread_configure)
{
    return thread_configure(k, r->arg0, r->arg1, r->word[0], r->word[1]);
}

HANDLER(thread_write_registers)
{
    return thread_write_registers(k, r->arg0, r->arg1, r->word);
}

HANDLER(thread_read_registers)
{
    return thread_read_registers(k, r->arg0, r->arg1, r->word);
}

HANDLER(thread_set_priority)
{
    return thread_set_priority(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(thread_resume)
{
    return thread_resume(k, r->arg0);
}

HANDLER(thread_suspend)
{
    return thread_suspend(k, r->arg0);
}

HANDLER(thread_bind_notification)
{
    return thread_bind_notification(k, r->arg0, r->arg1);
}

HANDLER(thread_set_upcall)
{
    return thread_set_upcall(k, r->arg0, r->arg1, r->word[0], r->word[1]);
}

HANDLER(upcall_quantum)
{
    return upcall_quantum(k, r->arg0);
}

/* ---- IPC
 * ------------------------------------------------------------------------------------------ */

HANDLER(ipc_call)
{
    (void)r;
    return ipc_call(k);
}

HANDLER(ipc_send)
{
    (void)r;
    return ipc_send(k);
}

HANDLER(ipc_recv)
{
    return ipc_recv(k, aux_slot(r));
}

HANDLER(ipc_reply)
{
    (void)r;
    return ipc_reply(k);
}

HANDLER(ipc_reply_recv)
{
    return ipc_reply_recv(k, aux_slot(r));
}

HANDLER(notification_signal)
{
    return notification_signal(k, r->arg0);
}

HANDLER(notification_wait)
{
    return notification_wait(k, r->arg0, r->arg1);
}

/* ---- Memory
 * ---------------------------------------------------------------------------------------- */

HANDLER(aspace_map_table)
{
    return aspace_map_table(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(aspace_unmap_table)
{
    return aspace_unmap_table(k, r->arg0);
}

HANDLER(segment_populate)
{
    const struct populate_request request = {.segment = r->arg0,
                                             .first = r->arg1,
                                             .count = r->word[0],
                                             .source = r->word[1],
                                             .rights = r->word[2]};

    return segment_populate(k, &request);
}

HANDLER(segment_populate_device)
{
    const struct populate_request request = {.segment = r->arg0,
                                             .first = r->arg1,
                                             .count = r->word[0],
                                             .source = r->word[1],
                                             .offset = r->word[2],
                                             .rights = r->word[4]};

    return segment_populate_device(k, &request);
}

HANDLER(segment_protect)
{
    return segment_protect(k, r->arg0, r->arg1, r->word[0], r->word[1]);
}

HANDLER(segment_attach)
{
    return segment_attach(k, r->arg0, r->arg1, r->word[0], r->word[1]);
}

HANDLER(segment_detach)
{
    return segment_detach(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(segment_device_address)
{
    return segment_device_address(k, r->arg0, r->arg1, r->word[0], &r->word[0]);
}

HANDLER(segment_depopulate)
{
    return segment_depopulate(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(segment_derive)
{
    const struct derive_request request = {.parent = r->arg0,
                                           .child = r->arg1,
                                           .count = r->word[0],
                                           .aspace = r->word[1],
                                           .address = r->word[2],
                                           .flags = r->word[3]};

    return segment_derive(k, &request);
}

HANDLER(segment_revert)
{
    return segment_revert(k, r->arg0);
}

/* ---- Devices
 * ---------------------------------------------------------------------------------------- */

HANDLER(irq_create_msi)
{
    return irq_create_msi(k, r->arg0, r->arg1, r->word);
}

HANDLER(irq_create_ioapic)
{
    return irq_create_ioapic(k, r->arg0, r->arg1, r->word[0], r->word[1]);
}

HANDLER(irq_bind)
{
    return irq_bind(k, r->arg0, r->arg1);
}

HANDLER(irq_ack)
{
    return irq_ack(k, r->arg0);
}

HANDLER(port_in)
{
    return port_in(k, r->arg0, r->arg1, r->word[0], &r->word[0]);
}

HANDLER(port_out)
{
    return port_out(k, r->arg0, r->arg1, r->word[0], r->word[1]);
}

HANDLER(console_write)
{
    return console_write(k, r->arg0, r->arg1, r->word);
}

HANDLER(irq_source)
{
    return irq_source(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(iospace_map_table)
{
    return iospace_map_table(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(iospace_attach)
{
    return iospace_attach(k, r->arg0, r->arg1, r->word[0], r->word[1]);
}

HANDLER(iospace_detach)
{
    return iospace_detach(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(iospace_assign)
{
    return iospace_assign(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(iospace_unassign)
{
    return iospace_unassign(k, r->arg0, r->arg1);
}

HANDLER(iospace_bind)
{
    return iospace_bind(k, r->arg0, r->arg1);
}

HANDLER(iospace_fault)
{
    return iospace_fault(k, r->arg0, r->word);
}

/* ---- Time
 * --------------------------------------------------------------------------------------- */

HANDLER(sched_context_configure)
{
    const struct sched_context_request request = {r->arg0, r->arg1, r->word[0], r->word[1],
                                                  r->word[2]};

    return sched_context_configure(k, &request);
}

HANDLER(sched_context_bind)
{
    return sched_context_bind(k, r->arg0, r->arg1);
}

HANDLER(sched_context_unbind)
{
    return sched_context_unbind(k, r->arg0);
}

HANDLER(thread_set_passive)
{
    return thread_set_passive(k, r->arg0, r->arg1, r->word[0]);
}

HANDLER(sched_context_info)
{
    return sched_context_info(k, r->arg0, r->word);
}

/* ---- Dispatch
 * ----------------------------------------------------------------------------------------- */

#define ENTRY(name, number, arguments, values, summary) [CALL_##name] = call_##name,
static const call_handler handlers[] = {HALLOWS_SYSCALL_TABLE(ENTRY)};
#undef ENTRY

void kernel_syscall_slow(struct kernel *k)
{
    struct thread *t = thread_at(k, current_thread(k));
    struct registers *r = &t->registers;

    if ((t->upcall_events & UPCALL_SYSCALL) != 0 && upcall_syscall(k, t)) {
        return;
    }
    uint32_t number = (uint16_t)r->result;
    call_handler handler =
        number < sizeof(handlers) / sizeof(handlers[0]) ? handlers[number] : NULL;
    status_t status = handler == NULL ? STATUS_INVALID_CALL : handler(k, r);

    if (status != CALL_BLOCKED) {
        r->result = (uint64_t)(int64_t)status;
    }
    sched_finish(k);
}
