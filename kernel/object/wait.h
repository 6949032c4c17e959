// SPDX-License-Identifier: MIT OR Apache-2.0
/* How a thread leaves what it waits for. Inline, since messages do it with a known state. Context:
 * as kernel/object/object.h. */
#ifndef KERNEL_OBJECT_WAIT_H
#define KERNEL_OBJECT_WAIT_H

#include "kernel/object/lists.h"
#include "kernel/object/object.h"
#include "kernel/timer.h"

static inline void reply_release(struct kernel *k, struct thread *t)
{
    if (t->reply.n != NIL) {
        reply_at(k, t->reply)->thread = (thread_ix){NIL};
        t->reply = (reply_ix){NIL};
    }
}

/* A receiver takes the word of the notification that is bound to it. */
static inline void notification_message(struct thread *t, struct notification *n)
{
    t->registers.arg0 = 0;
    t->registers.arg1 = message_info(LABEL_NOTIFICATION, 1);
    t->registers.word[0] = n->word;
    n->word = 0;
}

/* Takes a thread out of its endpoint's queue. */
INLINE void endpoint_remove(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);
    struct endpoint *endpoint = endpoint_at(k, (endpoint_ix){t->blocked_on});

    queue_take(k, &endpoint->head, &endpoint->tail, t);
    t->blocked_on = NIL;
}

/* thread_unwait of a thread in that state. */
INLINE void unwait(struct kernel *k, thread_ix i, enum thread_state state)
{
    struct thread *t = thread_at(k, i);

    ASSERT(state != THREAD_INACTIVE && state != THREAD_READY);
    if (state == THREAD_SENDING || state == THREAD_CALLING || state == THREAD_RECEIVING) {
        endpoint_remove(k, i);
    } else if (state == THREAD_WAITING) {
        notification_at(k, (notification_ix){t->blocked_on})->waiter = (thread_ix){NIL};
    }
    if (state == THREAD_RECEIVING || state == THREAD_REPLY_WAITING) {
        reply_release(k, t);
    }
    if (state == THREAD_RECEIVING && (t->flags & THREAD_PASSIVE) != 0) {
        t->lease = LEASE_NONE; /* until a caller lends one */
    }
    timer_remove(k, i);
    t->blocked_on = NIL;
    t->flags &= (uint8_t)~THREAD_GRANT;
    t->state = THREAD_INACTIVE;
}

#endif
