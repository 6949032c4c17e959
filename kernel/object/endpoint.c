// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Endpoints and reply objects: synchronous messages of up to eight words and one capability.
 *
 *   ready --ipc_call--> CALLING --taken--> REPLY_WAITING --ipc_reply--> ready
 *   ready --ipc_send--> SENDING --taken--> ready
 *   ready --ipc_recv--> RECEIVING --a message, or the bound notification--> ready
 *
 * A message stays in the sender's saved registers until it is taken; they cannot change while it
 * waits. A reply object stands for the one caller it holds, and a receiver brings it along, so that
 * a server can hold any number of callers, each once. An endpoint's queue holds senders or
 * receivers, oldest first, never both.
 */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/object/wait.h"
#include "kernel/sched.h"
#include "kernel/timer.h"

#define INFO_FLAGS (MESSAGE_CAP | MESSAGE_ACCEPT | MESSAGE_DEADLINE)
#define INFO_KNOWN (MESSAGE_WORDS_MASK | INFO_FLAGS | ~(((uint64_t)1 << MESSAGE_LABEL_SHIFT) - 1u))
#define DEADLINE_WORD 7u

/* ---- The queue ----------------------------------------------------------------------------------
 */

FAST static void endpoint_push(struct kernel *k, endpoint_ix e, thread_ix i)
{
    struct endpoint *endpoint = endpoint_at(k, e);

    thread_at(k, i)->blocked_on = e.n;
    queue_append(k, &endpoint->head, &endpoint->tail, i);
}

/* ---- Messages
 * ------------------------------------------------------------------------------------ */

/* Checks what a sender gives: words, label, flags, the capability to send. */
FAST static status_t message_check(struct kernel *k, const struct registers *r, bool may_grant)
{
    uint64_t info = r->arg1;
    uint32_t most = (info & MESSAGE_DEADLINE) != 0 ? MESSAGE_WORDS_MAX - 1u : MESSAGE_WORDS_MAX;

    if ((info & ~INFO_KNOWN) != 0 || message_words(info) > most ||
        message_label(info) >= LABEL_KERNEL_FIRST) {
        return STATUS_INVALID_ARGUMENT;
    }
    if ((info & MESSAGE_CAP) != 0) {
        slot_ix i;
        if (!may_grant) {
            return STATUS_NO_RIGHTS;
        }
        status_t status = cap_slot(k, (uint32_t)r->caps, &i);
        if (status != STATUS_OK) {
            return status;
        }
        if (slot_at(k, i)->type == OBJECT_NONE) {
            return STATUS_EMPTY_SLOT;
        }
        return cap_derivable(slot_at(k, i));
    }
    return STATUS_OK;
}

/* Checks the slot in which a receiver accepts a capability. */
FAST static inline status_t accept_check(struct kernel *k, const struct registers *r)
{
    slot_ix i;

    if ((r->arg1 & MESSAGE_ACCEPT) == 0) {
        return STATUS_OK;
    }
    status_t status = cap_slot(k, r->caps >> 32, &i);
    if (status != STATUS_OK) {
        return status;
    }
    return slot_at(k, i)->type == OBJECT_NONE ? STATUS_OK : STATUS_OCCUPIED_SLOT;
}

FAST static uint64_t deadline_of(const struct registers *r)
{
    return (r->arg1 & MESSAGE_DEADLINE) != 0 ? r->word[DEADLINE_WORD] : DEADLINE_NEVER;
}

INLINE bool deadline_past(uint64_t deadline)
{
    return deadline != DEADLINE_NEVER && (deadline == DEADLINE_NOW || deadline <= arch_time_ns());
}

/* A slot of a thread's table as it is now: NIL if it is no longer there. */
FAST static slot_ix slot_of(struct kernel *k, const struct thread *t, uint32_t n)
{
    slot_ix i;
    bool inside = t->table.n != NIL && slot_in(k, t->table, n, &i) == STATUS_OK;

    return inside ? i : (slot_ix){NIL};
}

/* Derives the sender's capability into the receiver's slot. False, and no change, if either is no
 * longer (or not) fit for it: the message then goes without. */
static bool transfer_cap(struct kernel *k, const struct thread *from, const struct thread *to)
{
    slot_ix source = slot_of(k, from, (uint32_t)from->registers.caps);
    slot_ix target = slot_of(k, to, (uint32_t)(to->registers.caps >> 32));

    if ((to->registers.arg1 & MESSAGE_ACCEPT) == 0 || source.n == NIL || target.n == NIL) {
        return false;
    }
    const struct slot *slot = slot_at(k, source);
    if (slot->type == OBJECT_NONE || cap_derivable(slot) != STATUS_OK ||
        slot_at(k, target)->type != OBJECT_NONE) {
        return false;
    }
    cap_derive(k, source, target, RIGHTS_ALL, slot->badge);
    return true;
}

static void fault_message(struct thread *from, struct thread *to)
{
    uint64_t *words = to->registers.word;

    words[FAULT_WORD_VECTOR] = from->fault.vector;
    words[FAULT_WORD_ERROR] = from->fault.error;
    words[FAULT_WORD_ADDRESS] = from->fault.address;
    words[FAULT_WORD_IP] = from->registers.ip;
    words[FAULT_WORD_SP] = from->registers.sp;
    words[FAULT_WORD_FLAGS] = from->registers.flags;
    to->registers.arg1 = message_info(LABEL_FAULT, FAULT_WORD_COUNT);
}

/* Moves a message from one thread's registers to another's. */
static void message_move(struct kernel *k, struct thread *from, struct thread *to, uint64_t badge,
                         bool grant)
{
    uint64_t info = from->registers.arg1;
    uint32_t words = message_words(info);

    to->registers.arg0 = badge;
    if ((from->flags & THREAD_FAULTED) != 0) {
        fault_message(from, to);
        return;
    }
    for (uint32_t n = 0; n < words; n++) {
        to->registers.word[n] = from->registers.word[n];
    }
    uint64_t flag = 0;
    if (grant && (info & MESSAGE_CAP) != 0 && transfer_cap(k, from, to)) {
        flag = MESSAGE_CAP;
    }
    to->registers.arg1 = (info & ~(uint64_t)INFO_FLAGS) | flag;
}

FAST static void result_set(struct thread *t, status_t status)
{
    t->registers.result = (uint64_t)(int64_t)status;
}

/* ---- Sending
 * -------------------------------------------------------------------------------------- */

/* A passive thread runs on its caller's context while it serves the call, on whatever CPU: the
 * caller's ends its use of it before this entry ends, with the caller not running any more. */
static inline void lend(const struct thread *from, struct thread *to)
{
    if ((to->flags & THREAD_PASSIVE) != 0) {
        to->lease = from->lease;
    }
}

/* Takes the oldest receiver off the queue and gives it the message of `from`. Its reply object is
 * returned, let go of. The receiver is inactive and its result set. */
FAST static reply_ix deliver(struct kernel *k, thread_ix receiver, struct thread *from,
                             uint64_t badge, bool grant)
{
    struct thread *to = thread_at(k, receiver);
    reply_ix reply = to->reply;

    message_move(k, from, to, badge, grant);
    unwait(k, receiver, THREAD_RECEIVING);
    result_set(to, STATUS_OK);
    return reply;
}

INLINE bool receiver_waits(struct kernel *k, const struct endpoint *endpoint)
{
    return endpoint->head.n != NIL && thread_at(k, endpoint->head)->state == THREAD_RECEIVING;
}

/* The thread, already off the CPU, waits for its reply in `reply`. */
INLINE void hold_caller(struct kernel *k, reply_ix reply, thread_ix caller)
{
    struct thread *t = thread_at(k, caller);

    t->state = THREAD_REPLY_WAITING;
    t->reply = reply;
    reply_at(k, reply)->thread = caller;
}

FAST static status_t send_decode(struct kernel *k, struct slot **slot)
{
    const struct registers *r = &thread_at(k, current_thread(k))->registers;
    status_t status = cap_find_here(k, r->arg0, OBJECT_ENDPOINT, RIGHT_SEND, slot);

    if (status != STATUS_OK) {
        return status;
    }
    return message_check(k, r, ((*slot)->rights & RIGHT_GRANT) != 0);
}

/* The current thread waits in the endpoint's queue. */
FAST static status_t send_wait(struct kernel *k, const struct slot *slot, enum thread_state state,
                               uint64_t deadline)
{
    thread_ix self = current_thread(k);
    struct thread *t = thread_at(k, self);

    t->badge = slot->badge;
    if ((slot->rights & RIGHT_GRANT) != 0) {
        t->flags |= THREAD_GRANT;
    }
    sched_block(k, state);
    endpoint_push(k, (endpoint_ix){slot->object}, self);
    if (deadline != DEADLINE_NEVER) {
        timer_insert(k, self, deadline);
    }
    return CALL_BLOCKED;
}

/*
 * Requires: endpoint held with SEND, with GRANT if a capability goes along; a sound message.
 * Changes:  a receiver waits: it has the message and is ready. Else the caller waits until one
 *           comes, the deadline passes (TIMED_OUT) or the endpoint dies (CANCELLED).
 */
status_t ipc_send(struct kernel *k)
{
    struct slot *slot;
    struct thread *t = thread_at(k, current_thread(k));
    status_t status = send_decode(k, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    struct endpoint *endpoint = endpoint_at(k, (endpoint_ix){slot->object});
    if (receiver_waits(k, endpoint)) {
        thread_ix receiver = endpoint->head;
        (void)deliver(k, receiver, t, slot->badge, (slot->rights & RIGHT_GRANT) != 0);
        sched_wake(k, receiver);
        return STATUS_OK;
    }
    uint64_t deadline = deadline_of(&t->registers);
    if (deadline_past(deadline)) {
        return STATUS_TIMED_OUT;
    }
    return send_wait(k, slot, THREAD_SENDING, deadline);
}

/* The current thread's message goes to a receiver, or waits for one; then it waits for an answer.
 */
static inline status_t call_commit(struct kernel *k, thread_ix self, const struct slot *slot,
                                   uint64_t deadline)
{
    struct thread *t = thread_at(k, self);
    struct endpoint *endpoint = endpoint_at(k, (endpoint_ix){slot->object});

    if (!receiver_waits(k, endpoint)) {
        return send_wait(k, slot, THREAD_CALLING, deadline);
    }
    thread_ix receiver = endpoint->head;
    reply_ix reply = deliver(k, receiver, t, slot->badge, (slot->rights & RIGHT_GRANT) != 0);
    lend(t, thread_at(k, receiver));
    sched_block(k, THREAD_REPLY_WAITING);
    hold_caller(k, reply, self);
    if (deadline != DEADLINE_NEVER) {
        timer_insert(k, self, deadline);
    }
    sched_wake(k, receiver);
    return CALL_BLOCKED;
}

/*
 * Requires: as ipc_send; the slot to accept a capability in is empty.
 * Changes:  as ipc_send, and then the caller waits until it is answered, the deadline passes
 *           (TIMED_OUT) or the reply object dies (CANCELLED). A deadline already past: TIMED_OUT,
 *           nothing is sent.
 */
FAST status_t ipc_call(struct kernel *k)
{
    struct slot *slot;
    thread_ix self = current_thread(k);
    struct thread *t = thread_at(k, self);
    status_t status = send_decode(k, &slot);

    if (status == STATUS_OK) {
        status = accept_check(k, &t->registers);
    }
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t deadline = deadline_of(&t->registers);
    if (deadline_past(deadline)) {
        return STATUS_TIMED_OUT;
    }
    return call_commit(k, self, slot, deadline);
}

bool ipc_send_fault(struct kernel *k, thread_ix i)
{
    const struct slot *slot = &thread_at(k, i)->fault_slot;

    if (slot->type != OBJECT_ENDPOINT) {
        return false;
    }
    (void)call_commit(k, i, slot, DEADLINE_NEVER);
    return true;
}

/* ---- Receiving
 * ------------------------------------------------------------------------------------ */

struct receive {
    endpoint_ix endpoint;
    reply_ix reply;
};

/* Checks what a receiver gives. A reply object in use is BUSY, unless it is about to be answered.
 */
FAST static status_t receive_decode(struct kernel *k, uint32_t reply_slot, bool answered,
                                    struct receive *out)
{
    const struct registers *r = &thread_at(k, current_thread(k))->registers;
    struct slot *slot;
    status_t status = cap_find_here(k, r->arg0, OBJECT_ENDPOINT, RIGHT_RECEIVE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    out->endpoint = (endpoint_ix){slot->object};
    status = cap_find_here(k, reply_slot, OBJECT_REPLY, 0, &slot);
    if (status != STATUS_OK) {
        return status;
    }
    out->reply = (reply_ix){slot->object};
    thread_ix holds = reply_at(k, out->reply)->thread;
    if (holds.n != NIL && (!answered || thread_at(k, holds)->state != THREAD_REPLY_WAITING)) {
        return STATUS_BUSY;
    }
    return accept_check(k, r);
}

/* Takes the oldest sender's message. */
FAST static void receive_take(struct kernel *k, struct thread *t, reply_ix reply, thread_ix sender)
{
    struct thread *from = thread_at(k, sender);
    bool calls = from->state == THREAD_CALLING;

    message_move(k, from, t, from->badge, (from->flags & THREAD_GRANT) != 0);
    if (calls) {
        endpoint_remove(k, sender);
        from->flags &= (uint8_t)~THREAD_GRANT;
        hold_caller(k, reply, sender);
        lend(from, t);
        sched_promote(k, current_thread(k)); /* the receiver may have had nothing to run on */
    } else {
        thread_wake(k, sender, STATUS_OK);
    }
}

/* The receiving half, all checked: take what is there, or wait. */
FAST static status_t receive_commit(struct kernel *k, const struct receive *what)
{
    thread_ix self = current_thread(k);
    struct thread *t = thread_at(k, self);
    struct endpoint *endpoint = endpoint_at(k, what->endpoint);

    if (t->bound.n != NIL && notification_at(k, t->bound)->word != 0) {
        notification_message(t, notification_at(k, t->bound));
        return STATUS_OK;
    }
    if (endpoint->head.n != NIL && !receiver_waits(k, endpoint)) {
        receive_take(k, t, what->reply, endpoint->head);
        return STATUS_OK;
    }
    uint64_t deadline = deadline_of(&t->registers);
    if (deadline_past(deadline)) {
        return STATUS_TIMED_OUT;
    }
    sched_block(k, THREAD_RECEIVING);
    endpoint_push(k, what->endpoint, self);
    t->reply = what->reply;
    reply_at(k, what->reply)->thread = self;
    if (deadline != DEADLINE_NEVER) {
        timer_insert(k, self, deadline);
    }
    return CALL_BLOCKED;
}

/*
 * Requires: endpoint held with RECEIVE; a reply object that is free (BUSY); info with flags ACCEPT
 * and DEADLINE only; the slot to accept a capability in is empty. Changes:  the bound
 * notification's word, or the oldest sender's message, is in the registers; a caller is held by the
 * reply object. Else the caller waits for one of these, the deadline (TIMED_OUT) or the death of
 * the endpoint or reply object (CANCELLED).
 */
status_t ipc_recv(struct kernel *k, uint32_t reply_slot)
{
    const struct registers *r = &thread_at(k, current_thread(k))->registers;
    struct receive what;

    if ((r->arg1 & ~(uint64_t)(MESSAGE_ACCEPT | MESSAGE_DEADLINE)) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    status_t status = receive_decode(k, reply_slot, false, &what);
    return status == STATUS_OK ? receive_commit(k, &what) : status;
}

/* ---- Replying
 * --------------------------------------------------------------------------------------- */

/* The caller that a reply object holds, or NIL. */
FAST static thread_ix held_caller(struct kernel *k, reply_ix i)
{
    thread_ix caller = reply_at(k, i)->thread;
    bool waits = caller.n != NIL && thread_at(k, caller)->state == THREAD_REPLY_WAITING;

    return waits ? caller : (thread_ix){NIL};
}

/* Answers: the caller is inactive and off the reply object, its registers set. A thread that
 * faulted goes on as it was. What the caller lent is its own again. True if that was what the
 * answering thread runs on. */
static bool answer(struct kernel *k, struct thread *from, thread_ix caller, bool grant)
{
    struct thread *to = thread_at(k, caller);

    bool lent = from->lease == to->lease && (from->flags & THREAD_PASSIVE) != 0;

    if (from->lease != to->lease) {
        sched_context_return(k, to); /* another than who was lent it answers */
    }

    if ((to->flags & THREAD_FAULTED) != 0) {
        to->flags &= (uint8_t)~THREAD_FAULTED;
    } else {
        message_move(k, from, to, 0, grant);
        result_set(to, STATUS_OK);
    }
    unwait(k, caller, THREAD_REPLY_WAITING);
    return lent;
}

/*
 * Requires: reply object held with SEND (GRANT if a capability goes along), a sound message, a
 * caller that still waits (CANCELLED: it has gone). Changes:  the caller has the message and is
 * ready; the reply object is free.
 */
status_t ipc_reply(struct kernel *k)
{
    struct slot *slot;
    struct thread *t = thread_at(k, current_thread(k));
    status_t status = cap_find_here(k, t->registers.arg0, OBJECT_REPLY, RIGHT_SEND, &slot);

    if (status == STATUS_OK) {
        status = message_check(k, &t->registers, (slot->rights & RIGHT_GRANT) != 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    thread_ix caller = held_caller(k, (reply_ix){slot->object});
    if (caller.n == NIL) {
        return STATUS_CANCELLED;
    }
    if (answer(k, t, caller, (slot->rights & RIGHT_GRANT) != 0)) {
        t->lease = LEASE_NONE;
    }
    sched_wake(k, caller);
    return STATUS_OK;
}

/*
 * Requires: what ipc_reply and ipc_recv require, except that the reply object may hold no caller
 *           (it has gone, or this is the first call of a server): then only the receiving half is
 * done. Changes:  as ipc_reply and then ipc_recv with the same reply object.
 */
FAST status_t ipc_reply_recv(struct kernel *k, uint32_t reply_slot)
{
    struct slot *slot;
    struct receive what;
    struct thread *t = thread_at(k, current_thread(k));
    status_t status = receive_decode(k, reply_slot, true, &what);

    if (status == STATUS_OK) {
        status = cap_find_here(k, reply_slot, OBJECT_REPLY, RIGHT_SEND, &slot);
    }
    if (status == STATUS_OK) {
        status = message_check(k, &t->registers, (slot->rights & RIGHT_GRANT) != 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    thread_ix caller = held_caller(k, what.reply);
    bool lent = caller.n != NIL && answer(k, t, caller, (slot->rights & RIGHT_GRANT) != 0);
    uint64_t lease = t->lease;
    if (lent) {
        t->lease = LEASE_NONE;
    }
    status = receive_commit(k, &what);
    if (lent && status == CALL_BLOCKED) {
        t->lease = lease; /* not looked at: thread_unwait or the next caller writes it */
    }
    if (caller.n != NIL) {
        sched_wake(k, caller); /* last: with the server waiting, a direct hand-over */
    }
    return status;
}

/* ---- Death
 * ------------------------------------------------------------------------------------------ */

status_t endpoint_destroy(struct kernel *k, endpoint_ix i)
{
    struct endpoint *endpoint = endpoint_at(k, i);

    for (uint32_t step = 0; step < TEARDOWN_STEP && endpoint->head.n != NIL; step++) {
        thread_wake(k, endpoint->head, STATUS_CANCELLED);
    }
    return endpoint->head.n != NIL ? STATUS_AGAIN : STATUS_OK;
}

status_t reply_destroy(struct kernel *k, reply_ix i)
{
    struct reply *reply = reply_at(k, i);

    if (reply->thread.n != NIL) {
        thread_wake(k, reply->thread, STATUS_CANCELLED);
    }
    return STATUS_OK;
}
