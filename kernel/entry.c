// SPDX-License-Identifier: MIT OR Apache-2.0
/* Entries other than system calls: faults and the timer. Interrupts: object/irq.c. */
#include "kernel/entry.h"

#include "kernel/object/object.h"
#include "kernel/object/upcall.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "kernel/trace.h"

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
    trace(k, TRACE_FAULT, fault->vector, fault->address);
}

/* The context in use has nothing left: whoever ran on it faults, if the context wants that, or
 * waits for the next refill. */
static void budget_ended(struct kernel *k, struct cpu *cpu)
{
    uint64_t lease = cpu->lease;
    thread_ix self = cpu->current;

    cpu->budget_end = DEADLINE_NEVER; /* sched_finish had no thread to charge it to */
    timer_due_update(cpu);
    sched_charge(k, lease);
    const struct sched_context *c = sched_context_of(k, lease);
    if (self.n == NIL || c == NULL || (c->flags & SCHED_TIMEOUT_FAULT) == 0 ||
        c->refill[0].time <= arch_time_ns()) {
        return;
    }
    struct thread *t = thread_at(k, self);
    if (t->fault_slot.type == OBJECT_ENDPOINT) {
        t->fault = (struct fault){.vector = FAULT_VECTOR_BUDGET, .address = c->consumed_ns};
        t->flags |= THREAD_FAULTED;
        (void)ipc_send_fault(k, self);
    }
}

void kernel_reschedule(struct kernel *k)
{
    sched_reconsider(k);
    if (current_thread(k).n != NIL) {
        upcall_pending(thread_at(k, current_thread(k)));
    }
    sched_finish_slow(k);
}

FAST void kernel_timer(struct kernel *k)
{
    struct cpu *c = cpu_self(k);
    uint64_t now = arch_time_ns();

    c->timer_armed = DEADLINE_NEVER; /* one shot: it is off now */
    if (c->budget_end <= now) {
        budget_ended(k, c); /* before anybody else becomes current */
    }
    if (c->window_end <= now) {
        schedule_step(k, now);
    }
    if (c->wheel[c->domain].next <= now) {
        timer_run(k, now);
    }
    if (c->releasing) {
        irq_release(k);
    }
    if (c->current.n != NIL && upcall_due(thread_at(k, c->current), now)) {
        upcall_quantum_end(thread_at(k, c->current), now);
    }
    if (c->current.n != NIL && c->quantum_end <= now &&
        c->quantum_priority == thread_at(k, c->current)->priority) {
        sched_rotate(k);
    }
    sched_finish(k);
    trace(k, TRACE_TIMER, 0, 0);
}
