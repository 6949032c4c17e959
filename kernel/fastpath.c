// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The common call, answer and signal, straight through: a plain message (no capability, no
 * deadline) to a server that waits, and back to the caller that waits; a signal that nobody waits
 * for. Each function either does exactly what the slow path would do, or nothing (false). A test
 * compares the two on copies of the whole state.
 */
#include "kernel/entry.h"
#include "kernel/invariants.h"
#include "kernel/object/cap.h"
#include "kernel/sched.h"

/* Host tests check everything themselves. */
#if defined(HALLOWS_DEBUG) && !defined(HALLOWS_HOST)
#define CHECK_AFTER_CALLS true
#else
#define CHECK_AFTER_CALLS false
#endif

/* Words in use and a user's label; everything else goes the slow way. */
#define PLAIN_BITS (MESSAGE_WORDS_MASK | ~(((uint64_t)1 << MESSAGE_LABEL_SHIFT) - 1u))

static inline bool plain(uint64_t info)
{
    return (info & ~PLAIN_BITS) == 0 && message_words(info) <= MESSAGE_WORDS_MAX &&
           message_label(info) < LABEL_KERNEL_FIRST;
}

/* The slot if it holds that type with those rights, else NULL. */
static inline struct slot *fast_find(struct kernel *k, uint64_t n, enum object_type type,
                                     uint32_t rights)
{
    struct slot *slot;

    return cap_find(k, n, type, rights, &slot) == STATUS_OK ? slot : NULL;
}

static inline void message_give(const struct thread *from, struct thread *to, uint64_t badge)
{
    uint64_t info = from->registers.arg1;
    uint32_t words = message_words(info);

    to->registers.result = STATUS_OK;
    to->registers.arg0 = badge;
    to->registers.arg1 = info;
    for (uint32_t n = 0; n < words; n++) {
        to->registers.word[n] = from->registers.word[n];
    }
}

static inline bool fastpath_call(struct kernel *k, struct thread *t)
{
    const struct slot *slot = fast_find(k, t->registers.arg0, OBJECT_ENDPOINT, RIGHT_SEND);

    if (slot == NULL || !plain(t->registers.arg1)) {
        return false;
    }
    struct endpoint *endpoint = endpoint_at(k, (endpoint_ix){slot->object});
    thread_ix server = endpoint->head;
    if (server.n == NIL) {
        return false;
    }
    struct thread *to = thread_at(k, server);
    /* Nobody ready is above the caller, so nobody is above a server that is not below it. */
    if (to->state != THREAD_RECEIVING || to->flags != 0 || to->priority < t->priority) {
        return false;
    }
    /* Committed. */
    reply_ix reply = to->reply;
    message_give(t, to, slot->badge);
    endpoint->head = to->next;
    if (to->next.n != NIL) {
        thread_at(k, to->next)->previous = (thread_ix){NIL};
    } else {
        endpoint->tail = (thread_ix){NIL};
    }
    to->next = (thread_ix){NIL};
    to->blocked_on = NIL;
    to->reply = (reply_ix){NIL};
    to->state = THREAD_READY;
    t->state = THREAD_REPLY_WAITING;
    t->reply = reply;
    reply_at(k, reply)->thread = k->current;
    k->current = server;
    sched_finish(k);
    return true;
}

static inline bool fastpath_reply_recv(struct kernel *k, struct thread *t)
{
    const struct slot *slot = fast_find(k, t->registers.arg0, OBJECT_ENDPOINT, RIGHT_RECEIVE);
    const struct slot *with = fast_find(k, t->registers.result >> 32, OBJECT_REPLY, RIGHT_SEND);

    if (slot == NULL || with == NULL || !plain(t->registers.arg1) || t->bound.n != NIL) {
        return false;
    }
    struct reply *reply = reply_at(k, (reply_ix){with->object});
    thread_ix caller = reply->thread;
    if (caller.n == NIL) {
        return false;
    }
    struct thread *to = thread_at(k, caller);
    struct endpoint *endpoint = endpoint_at(k, (endpoint_ix){slot->object});
    thread_ix tail = endpoint->tail;
    if (to->state != THREAD_REPLY_WAITING || to->flags != 0 ||
        sched_top(k) > (int32_t)to->priority ||
        (tail.n != NIL && thread_at(k, tail)->state != THREAD_RECEIVING)) {
        return false;
    }
    /* Committed. */
    thread_ix self = k->current;
    message_give(t, to, 0);
    to->reply = (reply_ix){NIL};
    to->state = THREAD_READY;
    t->state = THREAD_RECEIVING;
    t->blocked_on = slot->object;
    t->reply = (reply_ix){with->object};
    reply->thread = self;
    t->previous = tail;
    endpoint->tail = self;
    if (tail.n != NIL) {
        thread_at(k, tail)->next = self;
    } else {
        endpoint->head = self;
    }
    k->current = caller;
    sched_finish(k);
    return true;
}

static inline bool fastpath_signal(struct kernel *k, struct thread *t)
{
    const struct slot *slot = fast_find(k, t->registers.arg0, OBJECT_NOTIFICATION, RIGHT_SEND);

    if (slot == NULL || slot->badge == 0) {
        return false;
    }
    struct notification *n = notification_at(k, (notification_ix){slot->object});
    if (n->waiter.n != NIL || n->bound.n != NIL) {
        return false;
    }
    n->word |= slot->badge;
    t->registers.result = STATUS_OK;
    return true; /* nobody became ready: the timer is right as it was */
}

static inline bool fastpath_yield(struct kernel *k, struct thread *t)
{
    if (bit_get(k->ready_used, t->priority)) {
        return false;
    }
    k->quantum_end = DEADLINE_NEVER; /* as sched_rotate does; nobody shares the priority */
    t->registers.result = STATUS_OK;
    return true;
}

/* Apart, so that each saves only the registers that it needs: entry code has saved all of the
 * user's. */
#define DEFINE_WAY(name)                                                                           \
    static __attribute__((noinline)) void way_##name(struct kernel *k, struct thread *t)           \
    {                                                                                              \
        if (!fastpath_##name(k, t)) {                                                              \
            kernel_syscall_slow(k);                                                                \
        }                                                                                          \
    }
DEFINE_WAY(call)
DEFINE_WAY(reply_recv)
DEFINE_WAY(signal)
DEFINE_WAY(yield)

static inline void syscall_way(struct kernel *k)
{
    struct thread *t = thread_at(k, k->current);

    switch ((uint16_t)t->registers.result) {
    case CALL_ipc_call:
        way_call(k, t);
        break;
    case CALL_ipc_reply_recv:
        way_reply_recv(k, t);
        break;
    case CALL_notification_signal:
        way_signal(k, t);
        break;
    case CALL_yield:
        way_yield(k, t);
        break;
    default:
        kernel_syscall_slow(k);
        break;
    }
}

void kernel_syscall(struct kernel *k)
{
    syscall_way(k);
    if (CHECK_AFTER_CALLS) {
        invariants_check_some(k);
    }
}
