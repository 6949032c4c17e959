// SPDX-License-Identifier: MIT OR Apache-2.0
/* Entries other than system calls: faults and the timer. Interrupts: object/irq.c. */
#include "kernel/entry.h"

#include "kernel/object/object.h"
#include "kernel/object/upcall.h"
#include "kernel/sched.h"
#include "kernel/timer.h"

void kernel_fault(struct kernel *k, const struct fault *fault)
{
    thread_ix self = current_thread(k);
    struct thread *t = thread_at(k, self);

    if (fault->vector == FAULT_VECTOR_PAGE && fault->error == FAULT_ERROR_WRITE &&
        segment_write_fault(k, fault->address)) {
        return; /* it writes again */
    }
    if (upcall_fault(t, fault)) {
        return;
    }
    t->fault = *fault;
    t->flags |= THREAD_FAULTED;
    if (!ipc_send_fault(k, self)) {
        sched_block(k, THREAD_INACTIVE);
        arch_report_fault(k, self, fault);
    }
    sched_finish(k);
}

void kernel_timer(struct kernel *k)
{
    struct cpu *c = cpu_self(k);
    uint64_t now = arch_time_ns();

    c->timer_armed = DEADLINE_NEVER; /* one shot: it is off now */
    if (c->wheel.next <= now) {
        timer_run(k, now);
    }
    if (c->current.n != NIL && upcall_due(thread_at(k, c->current), now)) {
        upcall_quantum_end(thread_at(k, c->current), now);
    }
    if (c->current.n != NIL && c->quantum_end <= now &&
        c->quantum_priority == thread_at(k, c->current)->priority) {
        sched_rotate(k);
    }
    sched_finish(k);
}
