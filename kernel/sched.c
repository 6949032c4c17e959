// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/sched.h"

static inline void ready_mark(struct kernel *k, uint32_t priority)
{
    bit_set(k->ready_used, priority);
    if ((int32_t)priority > k->ready_top) {
        k->ready_top = (int32_t)priority;
    }
}

static inline void ready_unmark(struct kernel *k, uint32_t priority)
{
    bit_clear(k->ready_used, priority);
    if ((int32_t)priority == k->ready_top) {
        k->ready_top = bits_last(k->ready_used, PRIORITY_COUNT / 64u);
    }
}

static inline void queue_push_back(struct kernel *k, thread_ix i, struct thread *t)
{
    struct thread_queue *q = &k->ready[t->priority];

    t->next = (thread_ix){NIL};
    t->previous = q->tail;
    if (q->tail.n != NIL) {
        thread_at(k, q->tail)->next = i;
    } else {
        q->head = i;
        ready_mark(k, t->priority);
    }
    q->tail = i;
}

static inline void queue_push_front(struct kernel *k, thread_ix i, struct thread *t)
{
    struct thread_queue *q = &k->ready[t->priority];

    t->previous = (thread_ix){NIL};
    t->next = q->head;
    if (q->head.n != NIL) {
        thread_at(k, q->head)->previous = i;
    } else {
        q->tail = i;
        ready_mark(k, t->priority);
    }
    q->head = i;
}

static inline void queue_remove(struct kernel *k, struct thread *t)
{
    struct thread_queue *q = &k->ready[t->priority];

    if (t->previous.n != NIL) {
        thread_at(k, t->previous)->next = t->next;
    } else {
        q->head = t->next;
    }
    if (t->next.n != NIL) {
        thread_at(k, t->next)->previous = t->previous;
    } else {
        q->tail = t->previous;
    }
    if (q->head.n == NIL) {
        ready_unmark(k, t->priority);
    }
    t->next = (thread_ix){NIL};
    t->previous = (thread_ix){NIL};
}

void sched_wake(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    t->state = THREAD_READY;
    if (k->current.n == NIL) {
        if (sched_top(k) <= (int32_t)t->priority) {
            k->current = i;
        } else {
            queue_push_back(k, i, t);
        }
        return;
    }
    struct thread *current = thread_at(k, k->current);
    if (t->priority > current->priority) {
        queue_push_front(k, k->current, current);
        k->current = i;
    } else {
        queue_push_back(k, i, t);
    }
}

void sched_remove(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    if (k->current.n == i.n) {
        k->current = (thread_ix){NIL};
    } else {
        queue_remove(k, t);
    }
    t->state = THREAD_INACTIVE;
}

void sched_block(struct kernel *k, enum thread_state state)
{
    thread_at(k, k->current)->state = (uint8_t)state;
    k->current = (thread_ix){NIL};
}

static void sched_pick(struct kernel *k)
{
    int32_t top = sched_top(k);

    if (top >= 0) {
        k->current = k->ready[top].head;
        queue_remove(k, thread_at(k, k->current));
    }
}

void sched_rotate(struct kernel *k)
{
    struct thread *current = thread_at(k, k->current);

    if (sched_shared(k, current)) {
        queue_push_back(k, k->current, current);
        k->current = k->ready[current->priority].head;
        queue_remove(k, thread_at(k, k->current));
    }
    k->quantum_end = DEADLINE_NEVER;
}

void sched_set_priority(struct kernel *k, thread_ix i, uint8_t priority)
{
    struct thread *t = thread_at(k, i);
    bool runs = k->current.n == i.n;

    if (!runs) {
        queue_remove(k, t);
        t->priority = priority;
        sched_wake(k, i);
        return;
    }
    t->priority = priority;
    if (sched_top(k) > (int32_t)priority) {
        queue_push_front(k, i, t);
        k->current = (thread_ix){NIL};
    }
}

void sched_finish_slow(struct kernel *k)
{
    uint64_t want = k->wheel.next;

    if (k->current.n == NIL) {
        sched_pick(k);
    }
    if (k->current.n != NIL) {
        const struct thread *t = thread_at(k, k->current);
        uint32_t priority = t->priority;
        if (sched_shared(k, t)) {
            if (k->quantum_end == DEADLINE_NEVER || k->quantum_priority != priority) {
                k->quantum_priority = priority;
                k->quantum_end = arch_time_ns() + QUANTUM_NS;
            }
            if (k->quantum_end < want) {
                want = k->quantum_end;
            }
        }
    }
    if (k->current.n != NIL && thread_at(k, k->current)->upcall_quantum_ns != 0 &&
        thread_at(k, k->current)->upcall_at < want) {
        want = thread_at(k, k->current)->upcall_at;
    }
    if (want != k->timer_armed) {
        k->timer_armed = want;
        arch_timer_set(want);
    }
}
