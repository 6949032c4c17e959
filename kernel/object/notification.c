// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Notifications: a word of 64 bits that signals or bits into and one waiter takes whole. While
 * somebody waits the word is 0.
 */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/object/upcall.h"
#include "kernel/object/wait.h"
#include "kernel/sched.h"
#include "kernel/timer.h"

/* The common case of thread_wake: it waits on a notification, so it is in no queue and no fault. */
FAST static void waiter_wake(struct kernel *k, struct notification *n)
{
    thread_ix waiter = n->waiter;
    struct thread *t = thread_at(k, waiter);

    timer_remove(k, waiter);
    t->blocked_on = NIL;
    t->registers.word[0] = n->word;
    t->registers.result = STATUS_OK;
    n->waiter = (thread_ix){NIL};
    n->word = 0;
    sched_wake(k, waiter);
}

FAST void notification_raise(struct kernel *k, notification_ix i, uint64_t bits)
{
    struct notification *n = notification_at(k, i);

    n->word |= bits;
    if (n->waiter.n != NIL) {
        waiter_wake(k, n);
        return;
    }
    if (n->bound.n == NIL) {
        return;
    }
    if (thread_at(k, n->bound)->state != THREAD_RECEIVING) {
        n->word = upcall_notify(k, n->bound, n->word) ? 0 : n->word;
        return;
    }
    notification_message(thread_at(k, n->bound), n);
    thread_wake(k, n->bound, STATUS_OK);
}

status_t source_decode(struct kernel *k, uint64_t notification, struct slot **with)
{
    *with = NULL;
    if (notification == 0) {
        return STATUS_OK;
    }
    status_t status = cap_find(k, notification, OBJECT_NOTIFICATION, RIGHT_SEND, with);
    return status == STATUS_OK && (*with)->badge == 0 ? STATUS_INVALID_ARGUMENT : status;
}

/*
 * Requires: notification held with SEND, badge not 0 (INVALID_ARGUMENT).
 * Changes:  the badge's bits are set in the word; if somebody waits on it, or the bound thread is
 *           receiving, it takes the word and is ready.
 */
FAST status_t notification_signal(struct kernel *k, uint64_t slot_number)
{
    struct slot *slot;
    status_t status = cap_find_here(k, slot_number, OBJECT_NOTIFICATION, RIGHT_SEND, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    if (slot->badge == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    /* The upcall may be the caller's own: what it interrupts is the return from this call. */
    thread_at(k, current_thread(k))->registers.result = STATUS_OK;
    notification_raise(k, (notification_ix){slot->object}, slot->badge);
    return STATUS_OK;
}

/*
 * Requires: notification held with RECEIVE; nobody else waits on it (BUSY).
 * Changes:  a word that is not 0 is taken. Else the caller waits for one, the deadline (TIMED_OUT;
 * a past deadline only polls) or the notification's death (CANCELLED).
 */
FAST status_t notification_wait(struct kernel *k, uint64_t slot_number, uint64_t deadline_ns)
{
    struct slot *slot;
    thread_ix self = current_thread(k);
    struct thread *t = thread_at(k, self);
    status_t status = cap_find_here(k, slot_number, OBJECT_NOTIFICATION, RIGHT_RECEIVE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    struct notification *n = notification_at(k, (notification_ix){slot->object});
    if (n->word != 0) {
        t->registers.word[0] = n->word;
        n->word = 0;
        return STATUS_OK;
    }
    if (n->waiter.n != NIL) {
        return STATUS_BUSY;
    }
    if (deadline_ns != DEADLINE_NEVER) {
        if (deadline_ns == DEADLINE_NOW || deadline_ns <= arch_time_ns()) {
            return STATUS_TIMED_OUT;
        }
        timer_insert(k, self, deadline_ns);
    }
    n->waiter = self;
    t->blocked_on = slot->object;
    sched_block(k, THREAD_WAITING);
    return CALL_BLOCKED;
}

status_t notification_destroy(struct kernel *k, notification_ix i)
{
    struct notification *n = notification_at(k, i);

    if (n->waiter.n != NIL) {
        thread_wake(k, n->waiter, STATUS_CANCELLED);
    }
    if (n->bound.n != NIL) {
        thread_at(k, n->bound)->bound = (notification_ix){NIL};
        n->bound = (thread_ix){NIL};
    }
    for (uint32_t step = 0; step < TEARDOWN_STEP && n->irqs.n != NIL; step++) {
        irq_unbind(k, n->irqs);
    }
    for (uint32_t step = 0; step < TEARDOWN_STEP && n->iospaces.n != NIL; step++) {
        iospace_unbind(k, n->iospaces);
    }
    return n->irqs.n != NIL || n->iospaces.n != NIL ? STATUS_AGAIN : STATUS_OK;
}
