// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The common call, answer and signal, straight through: a plain message (no capability, no
 * deadline) to a server that waits on the same CPU, and back to the caller that waits; a signal
 * that nobody waits for. Each function either does exactly what the slow path would do, or nothing
 * (false). A test compares the two on copies of the whole state.
 */
#include "kernel/entry.h"
#include "kernel/invariants.h"
#include "kernel/object/cap.h"
#include "kernel/sched.h"

/* What the common message has in its info: at most seven words, a label below 2^15, no flags. */
#define COMMON_INFO 0x7fff0007ull
/* What the short way takes: words in use and a user's label; no flags. */
#define PLAIN_BITS (MESSAGE_WORDS_MASK | ~(((uint64_t)1 << MESSAGE_LABEL_SHIFT) - 1u))

#define LIKELY(x) __builtin_expect(!!(x), 1)

static inline bool plain(uint64_t info)
{
    if (LIKELY((info & ~COMMON_INFO) == 0)) {
        return true;
    }
    return (info & ~PLAIN_BITS) == 0 && message_words(info) <= MESSAGE_WORDS_MAX &&
           message_label(info) < LABEL_KERNEL_FIRST;
}

/* The slot if it holds that type with those rights, else NULL. */
INLINE const struct slot *fast_find(struct kernel *k, const struct thread *t, uint64_t n,
                                    enum object_type type, uint32_t rights)
{
    /* The header for a number that is too large: it has no type. */
    uint64_t inside = arch_index(n, table_at(k, t->table)->slots);
    const struct slot *slot = slot_or_header_at(k, t->table, (uint32_t)inside);
    bool fits = slot->type == type && (slot->rights & rights) == rights;
    return fits ? slot : NULL;
}

static inline void four_give(const uint64_t *source, uint64_t *target)
{
    target[0] = source[0];
    target[1] = source[1];
    target[2] = source[2];
    target[3] = source[3];
}

/* The message of `from`, whose info is at hand, into the registers of `to`. */
static inline void message_give(const struct thread *from, struct thread *to, uint64_t badge,
                                uint64_t info)
{
    const uint64_t *source = from->registers.word;
    uint64_t *target = to->registers.word;

    to->registers.result = STATUS_OK;
    to->registers.arg0 = badge;
    to->registers.arg1 = info;
    uint32_t words = message_words(info);
    if (LIKELY(words == 0)) {
        return;
    }
    if (words >= 4) {
        four_give(source, target);
        if (words == 4) {
            return;
        }
        source += 4;
        target += 4;
        if (words == 8) {
            four_give(source, target);
        }
    }
    for (uint32_t n = 0; n < words % 4; n++) {
        target[n] = source[n];
    }
}

#define NOT_FAST ((struct fast_switch){NULL, NIL})

/* The timer has to be set too. Apart, so that the common way needs no stack. */
APART static struct fast_switch finish_slowly(struct kernel *k)
{
    sched_finish_slow(k);
    return (struct fast_switch){thread_at(k, current_thread(k)), current_thread(k).n};
}

/* Requires: nothing. Changes: as ipc_call where the server waits on this CPU and is not below the
 * caller; else nothing. */
struct fast_switch kernel_call_fast(uint64_t arg0, uint64_t info, struct thread *t,
                                    struct kernel *k)
{
    struct cpu *c = cpu_self(k);
    const struct slot *slot = fast_find(k, t, arg0, OBJECT_ENDPOINT, RIGHT_SEND);

    if (slot == NULL || !plain(info)) {
        return NOT_FAST;
    }
    struct endpoint *endpoint = endpoint_at(k, (endpoint_ix){slot->object});
    thread_ix server = endpoint->head;
    if (server.n == NIL) {
        return NOT_FAST;
    }
    struct thread *to = thread_at(k, server);
    /* Nobody ready is above the caller, so nobody is above a server that is not below it. */
    const uint32_t stops = THREAD_UPCALLS | THREAD_DEMOTED;
    if (to->cpu != t->cpu || to->domain != t->domain || to->priority < t->priority ||
        (t->flags & stops) != 0) {
        return NOT_FAST;
    }
    /* The context in use stays in use: it is lent to a passive server; and servers without a budget
     * serve callers without. */
    if (LIKELY(to->state == THREAD_RECEIVING && to->flags == THREAD_PASSIVE)) {
        to->lease = t->lease;
    } else if (to->state != THREAD_RECEIVING || to->flags != 0 || t->lease != LEASE_UNBUDGETED) {
        return NOT_FAST;
    }
    /* Committed. */
    reply_ix reply = to->reply;
    thread_ix next = to->next;
    endpoint->head = next;
    if (LIKELY(next.n == NIL)) {
        endpoint->tail = (thread_ix){NIL};
    } else {
        thread_at(k, next)->previous = (thread_ix){NIL};
    }
    message_give(t, to, slot->badge, info);
    to->blocked_on = NIL;
    to->next = (thread_ix){NIL};
    to->reply = (reply_ix){NIL};
    to->state = THREAD_READY;
    t->state = THREAD_REPLY_WAITING;
    t->reply = reply;
    reply_at(k, reply)->thread = c->current;
    c->current = server;
    /* The quantum: whoever shares the server's priority shared the caller's, and it runs. */
    if (c->timer_due != c->timer_armed) {
        return finish_slowly(k);
    }
    return (struct fast_switch){to, server.n};
}

/* An answer that goes the short way so far. */
struct fast_answer {
    struct reply *reply;
    struct endpoint *endpoint;
    reply_ix reply_index;
    uint32_t endpoint_index;
    thread_ix caller;
    struct thread *to;
    int32_t above; /* the best ready priority less the caller's */
};

#define ANSWER_STOPS                                                                               \
    (THREAD_FAULTED | THREAD_GRANT | THREAD_TIMED | THREAD_DEMOTED | THREAD_UPCALLS)

INLINE bool answer_find(struct kernel *k, struct thread *t, uint64_t arg0, uint64_t info,
                        struct fast_answer *a)
{
    const struct slot *slot = fast_find(k, t, arg0, OBJECT_ENDPOINT, RIGHT_RECEIVE);

    if (slot == NULL || !plain(info) || t->bound.n != NIL) {
        return false;
    }
    const struct slot *with = fast_find(k, t, t->registers.result >> 32, OBJECT_REPLY, RIGHT_SEND);
    if (with == NULL) {
        return false;
    }
    a->reply_index = (reply_ix){with->object};
    a->reply = reply_at(k, a->reply_index);
    a->caller = a->reply->thread;
    if (a->caller.n == NIL) {
        return false;
    }
    a->to = thread_at(k, a->caller);
    a->above = sched_top(cpu_self(k)) - (int32_t)a->to->priority;
    a->endpoint_index = slot->object;
    a->endpoint = endpoint_at(k, (endpoint_ix){slot->object});
    /* The context in use goes back to who lent it. */
    return a->to->state == THREAD_REPLY_WAITING && a->above <= 0 && a->to->cpu == t->cpu &&
           a->to->domain == t->domain && a->to->lease == t->lease;
}

/* The server waits at its endpoint again, the caller runs. Nothing is done if a message waits. */
INLINE struct fast_switch answer_switch(struct kernel *k, struct thread *t, uint64_t info,
                                        struct fast_answer a, bool faulted)
{
    struct cpu *c = cpu_self(k);
    thread_ix tail = a.endpoint->tail;
    thread_ix self = c->current;

    if (LIKELY(tail.n == NIL)) {
        a.endpoint->head = self;
    } else if (thread_at(k, tail)->state == THREAD_RECEIVING) {
        thread_at(k, tail)->next = self;
    } else {
        return NOT_FAST;
    }
    /* Committed. */
    a.endpoint->tail = self;
    t->previous = tail;
    t->blocked_on = a.endpoint_index;
    if (faulted) {
        a.to->flags &= (uint8_t)~THREAD_FAULTED; /* it goes on as it was */
    } else {
        message_give(t, a.to, 0, info);
    }
    a.to->reply = (reply_ix){NIL};
    a.to->state = THREAD_READY;
    t->state = THREAD_RECEIVING;
    t->reply = a.reply_index;
    a.reply->thread = self;
    c->current = a.caller;
    if (c->timer_due != c->timer_armed || a.above == 0) {
        return finish_slowly(k);
    }
    return (struct fast_switch){a.to, a.caller.n};
}

/* Apart, so that it costs the common answer nothing. */
APART static struct fast_switch reply_recv_faulted(uint64_t arg0, uint64_t info, struct thread *t,
                                                   struct kernel *k)
{
    struct fast_answer a;

    if (!answer_find(k, t, arg0, info, &a) || (t->flags & ANSWER_STOPS) != 0 ||
        (a.to->flags & ANSWER_STOPS) != THREAD_FAULTED) {
        return NOT_FAST;
    }
    return answer_switch(k, t, info, a, true);
}

/* Requires: nothing. Changes: as ipc_reply_recv where the reply object holds a caller of this CPU
 * that waits, nobody ready is above it and no message waits at the endpoint; else nothing. */
__attribute__((hot)) struct fast_switch kernel_reply_recv_fast(uint64_t arg0, uint64_t info,
                                                               struct thread *t, struct kernel *k)
{
    struct fast_answer a;

    if (!answer_find(k, t, arg0, info, &a)) {
        return NOT_FAST;
    }
    if (((a.to->flags | t->flags) & ANSWER_STOPS) != 0) {
        return reply_recv_faulted(arg0, info, t, k);
    }
    return answer_switch(k, t, info, a, false);
}

static inline bool fastpath_signal(struct kernel *k, struct thread *t)
{
    const struct slot *slot = fast_find(k, t, t->registers.arg0, OBJECT_NOTIFICATION, RIGHT_SEND);

    if (slot == NULL || slot->badge == 0 || t->flags != 0) {
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
    struct cpu *c = cpu_self(k);

    if (sched_shared(c, t) || t->flags != 0) {
        return false;
    }
    c->quantum_end = DEADLINE_NEVER; /* as sched_rotate does; nobody shares the priority */
    t->registers.result = STATUS_OK;
    return true;
}

#ifdef HALLOWS_DEBUG
#define CALLS_COME_HERE true
#else
#define CALLS_COME_HERE false /* entry code tells them from others */
#endif

INLINE void way_switch(struct kernel *k, struct thread *t, bool call)
{
    const struct registers *r = &t->registers;
    struct fast_switch done = call ? kernel_call_fast(r->arg0, r->arg1, t, k)
                                   : kernel_reply_recv_fast(r->arg0, r->arg1, t, k);

    if (done.to == NULL) {
        kernel_syscall_slow(k, t);
    }
}

INLINE void way_signal(struct kernel *k, struct thread *t)
{
    if (!fastpath_signal(k, t)) {
        kernel_syscall_slow(k, t);
    }
}

INLINE void way_yield(struct kernel *k, struct thread *t)
{
    if (!fastpath_yield(k, t)) {
        kernel_syscall_slow(k, t);
    }
}

static inline void syscall_way(struct kernel *k, struct thread *t)
{
    uint32_t number = (uint16_t)t->registers.result;

    if (number == CALL_yield) {
        way_yield(k, t);
    } else if (number == CALL_notification_signal) {
        way_signal(k, t);
    } else if (CALLS_COME_HERE && (number == CALL_ipc_call || number == CALL_ipc_reply_recv)) {
        way_switch(k, t, number == CALL_ipc_call);
    } else {
        kernel_syscall_slow(k, t);
    }
}

void kernel_syscall(struct kernel *k, struct thread *t)
{
    struct invariants_touched touched;

    if (INVARIANTS_AFTER_ENTRIES) {
        invariants_touch(k, t, &touched);
    }
    syscall_way(k, t);
    if (INVARIANTS_AFTER_ENTRIES) {
        invariants_after_entry(k, &touched);
    }
}
