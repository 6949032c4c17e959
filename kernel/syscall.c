// SPDX-License-Identifier: MIT OR Apache-2.0
/* System calls: from registers to the object's function and back (include/hallows/syscall.h). */
#include "kernel/entry.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/sched.h"

static status_t call_cap(struct kernel *k, struct registers *r, uint32_t number)
{
    switch (number) {
    case CALL_cap_copy:
        return cap_copy(k, r->arg0, r->arg1, r->word[0]);
    case CALL_cap_mint:
        return cap_mint(k, r->arg0, r->arg1, r->word[0], r->word[1]);
    case CALL_cap_move:
        return cap_move(k, r->arg0, r->arg1);
    case CALL_cap_delete:
        return cap_delete(k, r->arg0);
    case CALL_cap_revoke:
        return cap_revoke(k, r->arg0);
    case CALL_cap_identify:
        return cap_identify(k, r->arg0, r->word);
    case CALL_range_derive: {
        const struct range_request request = {r->arg0, r->arg1, r->word[0], r->word[1], r->word[2]};
        return range_derive(k, &request);
    }
    case CALL_untyped_retype: {
        const struct retype_request request = {r->arg0, r->arg1, r->word[0], r->word[1],
                                               r->word[2]};
        return untyped_retype(k, &request);
    }
    case CALL_untyped_reset:
        return untyped_reset(k, r->arg0);
    case CALL_untyped_info:
        return untyped_info(k, r->arg0, r->word);
    default:
        return STATUS_INVALID_CALL;
    }
}

static status_t call_thread(struct kernel *k, struct registers *r, uint32_t number)
{
    switch (number) {
    case CALL_thread_configure:
        return thread_configure(k, r->arg0, r->arg1, r->word[0], r->word[1]);
    case CALL_thread_write_registers:
        return thread_write_registers(k, r->arg0, r->arg1, r->word);
    case CALL_thread_read_registers:
        return thread_read_registers(k, r->arg0, r->arg1, r->word);
    case CALL_thread_set_priority:
        return thread_set_priority(k, r->arg0, r->arg1, r->word[0]);
    case CALL_thread_resume:
        return thread_resume(k, r->arg0);
    case CALL_thread_suspend:
        return thread_suspend(k, r->arg0);
    case CALL_thread_bind_notification:
        return thread_bind_notification(k, r->arg0, r->arg1);
    default:
        return STATUS_INVALID_CALL;
    }
}

static status_t call_memory(struct kernel *k, struct registers *r, uint32_t number)
{
    switch (number) {
    case CALL_aspace_map_table:
        return aspace_map_table(k, r->arg0, r->arg1, r->word[0]);
    case CALL_aspace_unmap_table:
        return aspace_unmap_table(k, r->arg0);
    case CALL_segment_populate: {
        const struct populate_request request = {.segment = r->arg0,
                                                 .first = r->arg1,
                                                 .count = r->word[0],
                                                 .source = r->word[1],
                                                 .rights = r->word[2]};
        return segment_populate(k, &request);
    }
    case CALL_segment_populate_device: {
        const struct populate_request request = {.segment = r->arg0,
                                                 .first = r->arg1,
                                                 .count = r->word[0],
                                                 .source = r->word[1],
                                                 .offset = r->word[2],
                                                 .rights = r->word[4]};
        return segment_populate_device(k, &request);
    }
    case CALL_segment_protect:
        return segment_protect(k, r->arg0, r->arg1, r->word[0], r->word[1]);
    case CALL_segment_attach:
        return segment_attach(k, r->arg0, r->arg1, r->word[0], r->word[1]);
    case CALL_segment_detach:
        return segment_detach(k, r->arg0, r->arg1, r->word[0]);
    case CALL_segment_device_address:
        return segment_device_address(k, r->arg0, r->arg1, r->word[0], &r->word[0]);
    default:
        return STATUS_INVALID_CALL;
    }
}

static status_t call_device(struct kernel *k, struct registers *r, uint32_t number)
{
    switch (number) {
    case CALL_irq_create_msi:
        return irq_create_msi(k, r->arg0, r->arg1, r->word);
    case CALL_irq_create_ioapic:
        return irq_create_ioapic(k, r->arg0, r->arg1, r->word[0], r->word[1]);
    case CALL_irq_bind:
        return irq_bind(k, r->arg0, r->arg1);
    case CALL_irq_ack:
        return irq_ack(k, r->arg0);
    case CALL_port_in:
        return port_in(k, r->arg0, r->arg1, r->word[0], &r->word[0]);
    case CALL_port_out:
        return port_out(k, r->arg0, r->arg1, r->word[0], r->word[1]);
    case CALL_console_write:
        return console_write(k, r->arg0, r->arg1, r->word);
    default:
        return STATUS_INVALID_CALL;
    }
}

static status_t call_dispatch(struct kernel *k, struct registers *r)
{
    uint32_t number = (uint16_t)r->result;
    uint32_t aux = (uint32_t)(r->result >> 32);

    switch (number) {
    case CALL_yield:
        r->result = STATUS_OK;
        sched_rotate(k);
        return CALL_BLOCKED;
    case CALL_ipc_call:
        return ipc_call(k);
    case CALL_ipc_send:
        return ipc_send(k);
    case CALL_ipc_recv:
        return ipc_recv(k, aux);
    case CALL_ipc_reply:
        return ipc_reply(k);
    case CALL_ipc_reply_recv:
        return ipc_reply_recv(k, aux);
    case CALL_notification_signal:
        return notification_signal(k, r->arg0);
    case CALL_notification_wait:
        return notification_wait(k, r->arg0, r->arg1);
    default:
        break;
    }
    if (number < CALL_thread_configure) {
        return call_cap(k, r, number);
    }
    if (number < CALL_ipc_call) {
        return call_thread(k, r, number);
    }
    return number < CALL_irq_create_msi ? call_memory(k, r, number) : call_device(k, r, number);
}

void kernel_syscall_slow(struct kernel *k)
{
    struct registers *r = &thread_at(k, k->current)->registers;
    status_t status = call_dispatch(k, r);

    if (status != CALL_BLOCKED) {
        r->result = (uint64_t)(int64_t)status;
    }
    sched_finish(k);
}
