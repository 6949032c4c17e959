// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/sched.h"

#include "kernel/object/lists.h"
#include "kernel/object/object.h"
#include "kernel/timer.h"

static inline void ready_mark(struct cpu *c, const struct thread *t)
{
    bit_set(c->ready_used[t->domain], t->priority);
    if (t->domain == c->domain && (int32_t)t->priority > c->ready_top) {
        c->ready_top = (int32_t)t->priority;
    }
}

static inline void top_find(struct cpu *c)
{
    c->ready_top = bits_last(c->ready_used[c->domain], PRIORITY_COUNT / 64u);
}

static inline void ready_unmark(struct cpu *c, const struct thread *t)
{
    bit_clear(c->ready_used[t->domain], t->priority);
    if (t->domain == c->domain && (int32_t)t->priority == c->ready_top) {
        top_find(c);
    }
}

static void queue_push_back(struct kernel *k, struct cpu *c, thread_ix i, struct thread *t)
{
    struct thread_queue *q = &c->ready[t->domain][t->priority];

    queue_append(k, &q->head, &q->tail, i);
    if (t->previous.n == NIL) {
        ready_mark(c, t);
    }
}

static void queue_push_front(struct kernel *k, struct cpu *c, thread_ix i, struct thread *t)
{
    struct thread_queue *q = &c->ready[t->domain][t->priority];

    t->previous = (thread_ix){NIL};
    t->next = q->head;
    if (q->head.n != NIL) {
        thread_at(k, q->head)->previous = i;
    } else {
        q->tail = i;
        ready_mark(c, t);
    }
    q->head = i;
}

FAST static void queue_remove(struct kernel *k, struct cpu *c, struct thread *t)
{
    struct thread_queue *q = &c->ready[t->domain][t->priority];

    queue_take(k, &q->head, &q->tail, t);
    if (q->head.n == NIL) {
        ready_unmark(c, t);
    }
}

void sched_poke(struct cpu *c)
{
    if (!c->kicked) {
        c->kicked = true;
        arch_cpu_kick(c);
    }
}

/* Another CPU looks again at what it should run, if this thread at that priority may change it: by
 * being better than its current one, or by sharing its time. */
static void sched_kick(struct kernel *k, struct cpu *c, const struct thread *t, uint32_t priority)
{
    if (t->domain == c->domain &&
        (c->current.n == NIL || thread_at(k, c->current)->priority <= priority)) {
        sched_poke(c);
    }
}

void sched_reconsider(struct kernel *k)
{
    struct cpu *c = cpu_self(k);

    c->kicked = false;
    if (c->current.n != NIL) {
        struct thread *t = thread_at(k, c->current);
        if (sched_top(c) > (int32_t)t->priority) {
            queue_push_front(k, c, c->current, t);
            c->current = (thread_ix){NIL};
        }
    }
}

void sched_move(struct kernel *k, thread_ix i, uint8_t cpu, uint8_t domain)
{
    struct thread *t = thread_at(k, i);
    bool ready = t->state == THREAD_READY;
    bool timed = (t->flags & THREAD_TIMED) != 0;

    if (ready) {
        sched_remove(k, i);
    }
    timer_remove(k, i);
    arch_thread_forget(t);
    t->cpu = cpu;
    t->domain = domain;
    if (timed) {
        timer_insert(k, i, t->deadline);
        sched_kick(k, cpu_at(k, cpu), t, PRIORITY_COUNT); /* to set its timer */
    }
    if (ready) {
        sched_wake(k, i);
    }
}

/* It is queued, and runs when its CPU or its domain's window comes to it. Apart, so that the usual
 * way is short. */
APART static void wake_elsewhere(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);
    struct cpu *c = cpu_of(k, t);

    queue_push_back(k, c, i, t);
    if (c != cpu_self(k)) {
        sched_kick(k, c, t, t->priority);
    }
}

FAST void sched_wake(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);
    struct cpu *c = cpu_self(k);

    t->state = THREAD_READY;
    if (t->cpu != c->index || t->domain != c->domain) {
        wake_elsewhere(k, i);
        return;
    }
    if (c->current.n == NIL) {
        if (sched_top(c) <= (int32_t)t->priority) {
            c->current = i;
        } else {
            queue_push_back(k, c, i, t);
        }
        return;
    }
    struct thread *current = thread_at(k, c->current);
    if (t->priority > current->priority) {
        queue_push_front(k, c, c->current, current);
        c->current = i;
    } else {
        queue_push_back(k, c, i, t);
    }
}

/* It is about to wait: if it was demoted it is so no longer. Precondition: in no queue. */
static inline void priority_restore(struct thread *t)
{
    if ((t->flags & THREAD_DEMOTED) != 0) {
        t->flags &= (uint8_t)~THREAD_DEMOTED;
        t->priority = t->base_priority;
    }
}

void sched_remove(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);
    struct cpu *c = cpu_of(k, t);

    if (c->current.n == i.n) {
        if (c != cpu_self(k)) {
            arch_thread_forget(t); /* stops it; that CPU picks another after this entry, */
            sched_poke(c);         /* and is known to be coming */
        }
        c->current = (thread_ix){NIL};
        sched_charge(k, c->lease); /* it may go on elsewhere */
    } else {
        queue_remove(k, c, t);
    }
    t->state = THREAD_INACTIVE;
    priority_restore(t);
}

FAST void sched_block(struct kernel *k, enum thread_state state)
{
    struct cpu *c = cpu_self(k);
    struct thread *t = thread_at(k, c->current);

    t->state = (uint8_t)state;
    c->current = (thread_ix){NIL};
    priority_restore(t);
}

FAST static void sched_pick(struct kernel *k, struct cpu *c)
{
    int32_t top = sched_top(c);

    if (top >= 0) {
        c->current = c->ready[c->domain][top].head;
        queue_remove(k, c, thread_at(k, c->current));
    }
}

void sched_rotate(struct kernel *k)
{
    struct cpu *c = cpu_self(k);
    struct thread *current = thread_at(k, c->current);

    if (sched_shared(c, current)) {
        queue_push_back(k, c, c->current, current);
        c->current = c->ready[c->domain][current->priority].head;
        queue_remove(k, c, thread_at(k, c->current));
    }
    c->quantum_end = DEADLINE_NEVER;
}

/* The end of a window is the end of a quantum too: or the first of several threads with one
 * priority would have all windows that are shorter. */
void sched_enter_domain(struct kernel *k, uint32_t domain)
{
    struct cpu *c = cpu_self(k);

    if (domain != c->domain) {
        if (c->current.n != NIL) {
            queue_push_back(k, c, c->current, thread_at(k, c->current));
            c->current = (thread_ix){NIL};
        }
        c->quantum_end = DEADLINE_NEVER;
        c->domain = (uint8_t)domain;
        c->releasing = true; /* what was held back for it; whoever calls sets the timer */
        top_find(c);
    }
}

void sched_set_priority(struct kernel *k, thread_ix i, uint8_t priority)
{
    struct thread *t = thread_at(k, i);
    struct cpu *c = cpu_of(k, t);
    bool runs = c->current.n == i.n;

    if (!runs) {
        queue_remove(k, c, t);
        t->priority = priority;
        sched_wake(k, i);
        return;
    }
    t->priority = priority;
    if (c != cpu_self(k)) {
        sched_kick(k, c, t, PRIORITY_COUNT); /* it may have to step back */
        return;
    }
    if (sched_top(c) > (int32_t)priority) {
        queue_push_front(k, c, i, t);
        c->current = (thread_ix){NIL};
    }
}

void sched_promote(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    if ((t->flags & THREAD_DEMOTED) != 0) {
        t->flags &= (uint8_t)~THREAD_DEMOTED;
        sched_set_priority(k, i, t->base_priority);
    } else if (t->state == THREAD_THROTTLED) {
        thread_wake(k, i, STATUS_OK); /* what it may run on has changed */
    }
}

/* ---- Budgets ------------------------------------------------------------------------------------
 */

void sched_charge(struct kernel *k, uint64_t lease)
{
    struct sched_context *c = lease == LEASE_UNBUDGETED ? NULL : sched_context_of(k, lease);

    if (c == NULL || c->user == 0) {
        return;
    }
    struct cpu *cpu = cpu_at(k, (uint32_t)c->user - 1u);
    if (cpu != cpu_self(k) && cpu->current.n != NIL) {
        arch_thread_forget(thread_at(k, cpu->current));
        sched_poke(cpu);
    }
    sched_context_charge(c, arch_time_ns() - cpu->charge_from);
    c->user = 0;
    cpu->lease = LEASE_UNBUDGETED;
    cpu->budget_end = DEADLINE_NEVER;
    timer_due_update(cpu);
}

/* Another CPU has the context in use: a call that was answered past its server, or gave up waiting
 * for one, has left two with one lease. The context's own thread keeps it, or else who comes last.
 */
static bool lease_take(struct kernel *k, struct sched_context *c)
{
    thread_ix user = cpu_at(k, (uint32_t)c->user - 1u)->current;

    if (user.n == c->thread.n) {
        return false;
    }
    sched_charge(k, c->lease);
    thread_at(k, user)->lease = LEASE_NONE;
    return true;
}

/* The lease of the current thread is not the one in use. True: it is now, or nothing need be.
 * False: the thread cannot run (as it was). */
APART static bool lease_begin(struct kernel *k, struct cpu *cpu)
{
    thread_ix self = cpu->current;
    struct thread *t = thread_at(k, self);

    if (t->lease == LEASE_UNBUDGETED || (t->flags & THREAD_DEMOTED) != 0) {
        return true;
    }
    struct sched_context *c = sched_context_of(k, t->lease);
    if (c != NULL && c->user != 0 && !lease_take(k, c)) {
        c = NULL;
    }
    if (c == NULL) {
        t->lease = LEASE_NONE;
        t->flags |= THREAD_DEMOTED;
        sched_set_priority(k, self, 0);
        return cpu->current.n != NIL;
    }
    uint64_t now = arch_time_ns();
    if (c->refill[0].time > now) {
        sched_block(k, THREAD_THROTTLED);
        timer_insert(k, self, c->refill[0].time);
        return false;
    }
    sched_context_begin(c, now);
    c->user = cpu->index + 1u;
    cpu->lease = t->lease;
    cpu->charge_from = now;
    cpu->budget_end = now + c->refill[0].amount;
    timer_due_update(cpu);
    return true;
}

/* There is a current thread if any is ready, and what it runs on is in use. */
FAST static void choose(struct kernel *k, struct cpu *cpu)
{
    for (uint32_t step = 0; step < SCHED_STEPS; step++) {
        if (cpu->current.n == NIL) {
            sched_pick(k, cpu);
        }
        uint64_t lease =
            cpu->current.n == NIL ? LEASE_UNBUDGETED : thread_at(k, cpu->current)->lease;
        if (lease == cpu->lease) {
            return;
        }
        sched_charge(k, cpu->lease);
        if (cpu->current.n == NIL || lease_begin(k, cpu)) {
            return;
        }
    }
    if (cpu->current.n == NIL) {
        sched_pick(k, cpu);
    }
    sched_charge(k, cpu->lease);
    cpu->budget_end = 0; /* go on at once */
    timer_due_update(cpu);
}

FAST void sched_finish_slow(struct kernel *k)
{
    struct cpu *c = cpu_self(k);

    choose(k, c);
    uint64_t want = c->timer_due;
    if (c->current.n != NIL) {
        const struct thread *t = thread_at(k, c->current);
        uint32_t priority = t->priority;
        if (sched_shared(c, t)) {
            if (c->quantum_end == DEADLINE_NEVER || c->quantum_priority != priority) {
                c->quantum_priority = priority;
                c->quantum_end = arch_time_ns() + QUANTUM_NS;
            }
            if (c->quantum_end < want) {
                want = c->quantum_end;
            }
        }
        if (t->upcall_quantum_ns != 0 && t->upcall_at < want) {
            want = t->upcall_at;
        }
    }
    if (want != c->timer_armed) {
        c->timer_armed = want;
        arch_timer_set(want);
    }
}
