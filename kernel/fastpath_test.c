// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The short ways of kernel/fastpath.c against the slow path, over every combination of what they
 * look at: kinds of capability, rights, messages, queues, states, budgets, priorities, CPUs, ready
 * threads, timers. Each combination that the invariants allow is a state of its own in which the
 * call is made twice, and the whole state afterwards must be the same: memory, kernel, CPUs, pages,
 * timer. A short way that declines must have changed nothing.
 *
 * A combination is a number; each scene takes its digits off it with pick(). kernel/fuzz_test.c
 * does the same on random states.
 */
#include <hallows/boot.h>
#include <hallows/upcall.h>

#include "kernel/fastpath_fake.h"
#include "tests/check.h"

/* Messages: words in use, labels, flags. */
#define INFOS 22u
static uint64_t info_of(uint32_t n)
{
    static const uint64_t others[INFOS - 9u] = {
        3ull << MESSAGE_LABEL_SHIFT | 9u,
        3ull << MESSAGE_LABEL_SHIFT | MESSAGE_WORDS_MASK,
        (0x7fffull << MESSAGE_LABEL_SHIFT) | 2u,
        (0x8000ull << MESSAGE_LABEL_SHIFT) | 2u,
        (LABEL_KERNEL_FIRST - 1u) << MESSAGE_LABEL_SHIFT | 8u,
        LABEL_KERNEL_FIRST << MESSAGE_LABEL_SHIFT | 1u,
        LABEL_FAULT << MESSAGE_LABEL_SHIFT | 1u,
        3ull << MESSAGE_LABEL_SHIFT | MESSAGE_CAP | 1u,
        3ull << MESSAGE_LABEL_SHIFT | MESSAGE_ACCEPT | 1u,
        3ull << MESSAGE_LABEL_SHIFT | MESSAGE_CAP | MESSAGE_ACCEPT,
        3ull << MESSAGE_LABEL_SHIFT | MESSAGE_DEADLINE | 1u,
        3ull << MESSAGE_LABEL_SHIFT | MESSAGE_DEADLINE | 8u,
        3ull << MESSAGE_LABEL_SHIFT | 1u << 7 | 1u,
    };

    return n < 9 ? message_info(3, n) : others[n - 9u];
}

#define INFO_PLAIN 4u

/* ---- ipc_call ----------------------------------------------------------------------------------
 */

#define CALL_SLOTS 11u
static uint64_t endpoint_slot(uint32_t n)
{
    const uint64_t slots[CALL_SLOTS] = {ENDPOINT,
                                        ENDPOINT_SEND,
                                        ENDPOINT_SEND_GRANT,
                                        ENDPOINT_RECEIVE,
                                        ENDPOINT_MINTED,
                                        ENDPOINT_NOTHING,
                                        0,
                                        EMPTY,
                                        NOTIFICATION,
                                        HARNESS_TABLE_SLOTS,
                                        (1ull << 32) + ENDPOINT};

    return slots[n];
}

#define QUEUES 6u
static void set_queue(uint32_t which, uint32_t first_reply)
{
    static const uint8_t states[QUEUES][2] = {
        {THREAD_INACTIVE, THREAD_INACTIVE},   {THREAD_RECEIVING, THREAD_INACTIVE},
        {THREAD_RECEIVING, THREAD_RECEIVING}, {THREAD_SENDING, THREAD_INACTIVE},
        {THREAD_CALLING, THREAD_SENDING},     {THREAD_CALLING, THREAD_INACTIVE}};

    for (uint32_t n = 0; n < 2; n++) {
        if (states[which][n] != THREAD_INACTIVE) {
            queue_up(n == 0 ? server : second, (enum thread_state)states[which][n],
                     first_reply + n);
        }
    }
}

#define CALL_MESSAGES (CALL_SLOTS * INFOS * QUEUES * 2u)
static bool call_message(uint64_t number)
{
    uint64_t slot = endpoint_slot(pick(&number, CALL_SLOTS));
    uint64_t info = info_of(pick(&number, INFOS));

    set_queue(pick(&number, QUEUES), 0);
    set_clock(0, 0);
    thread_of(server)->registers.arg1 |= pick(&number, 2) != 0 ? MESSAGE_ACCEPT : 0;
    thread_of(server)->registers.caps = (uint64_t)(EMPTY + 1) << 32;
    set_call(CALL_ipc_call, slot, info, 0);
    return true;
}

#define CALL_STATES (BUDGETS * 3u * BUDGETS * 2u * 3u * 2u * 3u * 2u * 2u * 3u * 2u * 3u)
static bool call_states(uint64_t number)
{
    set_self(pick(&number, BUDGETS));
    set_upcalls(self, pick(&number, 3));
    uint32_t budget = pick(&number, BUDGETS);
    bool timed = pick(&number, 2) != 0;
    uint32_t upcalls = pick(&number, 3);
    bool bound = pick(&number, 2) != 0;
    uint32_t priority = SELF_PRIORITY - 1u + pick(&number, 3);
    uint32_t cpu = pick(&number, 2);
    uint32_t more = pick(&number, 2);

    set_priority(server, priority);
    thread_of(server)->cpu = (uint8_t)cpu;
    queue_up(server, THREAD_RECEIVING, 0);
    set_budget(server, (enum budget)budget);
    set_upcalls(server, upcalls);
    if (timed) {
        set_timed(server);
    }
    if (bound) {
        set_bound(server, 0);
    }
    if (more != 0) {
        queue_up(second, THREAD_RECEIVING, 1);
    }
    set_ready(pick(&number, 3));
    uint32_t early = pick(&number, 2);
    set_clock(early, pick(&number, 3));
    set_call(CALL_ipc_call, ENDPOINT_MINTED, info_of(INFO_PLAIN), 0);
    return true;
}

TEST(call_is_the_same_for_every_message_and_queue)
{
    compare_all("call, messages", call_message, CALL_MESSAGES);
}

TEST(call_is_the_same_in_every_state)
{
    compare_all("call, states", call_states, CALL_STATES);
}

/* ---- ipc_reply_recv ----------------------------------------------------------------------------
 */

/* The caller waits for an answer in the first reply object. */
static void set_caller(thread_ix i)
{
    thread_of(i)->state = THREAD_REPLY_WAITING;
    thread_of(i)->reply = (reply_ix){harness_slot(REPLY)->object};
    reply_at(kernel_under_test, thread_of(i)->reply)->thread = i;
}

#define REPLY_SLOTS 7u
#define REPLY_MESSAGES (CALL_SLOTS * REPLY_SLOTS * INFOS * 4u * 3u)
static bool reply_message(uint64_t number)
{
    static const uint32_t replies[REPLY_SLOTS] = {REPLY, REPLY + 1, REPLY_GRANT,        0,
                                                  EMPTY, ENDPOINT,  HARNESS_TABLE_SLOTS};
    static const uint8_t queues[4] = {THREAD_INACTIVE, THREAD_RECEIVING, THREAD_SENDING,
                                      THREAD_CALLING};
    uint64_t slot = endpoint_slot(pick(&number, CALL_SLOTS));
    uint32_t reply = replies[pick(&number, REPLY_SLOTS)];
    uint64_t info = info_of(pick(&number, INFOS));
    uint8_t queue = queues[pick(&number, 4)];
    uint32_t holds = pick(&number, 3); /* the reply object: a caller, nobody, a receiver */

    if (holds == 0) {
        set_caller(server);
    } else if (holds == 1) {
        queue_up(server, THREAD_RECEIVING, 0);
        if (queue == THREAD_SENDING || queue == THREAD_CALLING) {
            return false;
        }
    }
    if (queue != THREAD_INACTIVE) {
        queue_up(second, (enum thread_state)queue, 2);
    }
    set_clock(0, 0);
    set_call(CALL_ipc_reply_recv, slot, info, reply);
    return true;
}

/* What stops the short way, one at a time and together: of the caller that waits. */
#define CALLER_KINDS 8u
#define REPLY_STATES (BUDGETS * 3u * 3u * BUDGETS * CALLER_KINDS * 3u * 2u * 4u * 2u * 2u * 2u)
static bool reply_states(uint64_t number)
{
    set_self(pick(&number, BUDGETS));
    set_upcalls(self, pick(&number, 3));
    uint32_t bound = pick(&number, 3);
    if (bound != 0) {
        set_bound(self, bound - 1u);
    }
    uint32_t budget = pick(&number, BUDGETS);
    uint32_t kind = pick(&number, CALLER_KINDS);
    set_priority(server, SELF_PRIORITY - 1u + pick(&number, 3));
    thread_of(server)->cpu = (uint8_t)pick(&number, 2);
    set_caller(server);
    set_budget(server, (enum budget)budget);
    if ((kind & 1u) != 0) {
        set_timed(server);
    }
    if ((kind & 2u) != 0) {
        thread_of(server)->flags |= THREAD_FAULTED;
    }
    set_upcalls(server, kind >> 2);
    if (pick(&number, 2) != 0) {
        queue_up(second, THREAD_RECEIVING, 1);
    }
    set_ready(pick(&number, 4));
    uint32_t early = pick(&number, 2);
    set_clock(early, pick(&number, 2));
    set_call(CALL_ipc_reply_recv, ENDPOINT, info_of(INFO_PLAIN), REPLY);
    return true;
}

TEST(reply_recv_is_the_same_for_every_message_and_object)
{
    compare_all("reply_recv, messages", reply_message, REPLY_MESSAGES);
}

TEST(reply_recv_is_the_same_in_every_state)
{
    compare_all("reply_recv, states", reply_states, REPLY_STATES);
}

/* ---- notification_signal and yield -------------------------------------------------------------
 * The hardware timer is early only while another CPU's kick is on its way; then these leave it
 * early, where the slow path sets it anew. Early timers do no harm, so that is no digit here.
 */

#define SIGNAL_SLOTS 6u
#define SIGNAL_STATES (SIGNAL_SLOTS * BUDGETS * 3u * 5u * 3u * BUDGETS * 4u * 3u)
static bool signal_states(uint64_t number)
{
    static const uint32_t slots[SIGNAL_SLOTS] = {
        NOTIFICATION_MINTED, NOTIFICATION, NOTIFICATION_RECEIVE,
        ENDPOINT_MINTED,     EMPTY,        HARNESS_TABLE_SLOTS};
    struct notification *n =
        notification_at(kernel_under_test, (notification_ix){harness_slot(NOTIFICATION)->object});
    uint32_t slot = slots[pick(&number, SIGNAL_SLOTS)];

    set_self(pick(&number, BUDGETS));
    set_upcalls(self, pick(&number, 3));
    uint32_t waits = pick(&number, 5); /* nobody; one here, with a deadline, elsewhere; a word */
    set_priority(server, SELF_PRIORITY - 1u + pick(&number, 3));
    set_budget(server, (enum budget)pick(&number, BUDGETS));
    if (waits >= 1 && waits <= 3) {
        thread_of(server)->cpu = waits == 3;
        thread_of(server)->state = THREAD_WAITING;
        thread_of(server)->blocked_on = harness_slot(NOTIFICATION)->object;
        n->waiter = server;
    }
    if (waits == 2) {
        set_timed(server);
    }
    n->word = waits == 4 ? 0x100 : 0;
    set_ready(pick(&number, 4));
    set_clock(0, pick(&number, 3));
    set_call(CALL_notification_signal, slot, 0, 0);
    return true;
}

#define SIGNAL_BOUND (BUDGETS * 3u * 4u * 3u * BUDGETS * 3u * 2u * 3u)
static bool signal_bound(uint64_t number)
{
    notification_ix i = {harness_slot(NOTIFICATION)->object};
    struct notification *n = notification_at(kernel_under_test, i);

    set_self(pick(&number, BUDGETS));
    set_upcalls(self, pick(&number, 3));
    uint32_t who = pick(&number, 4); /* bound: itself, a receiver, a timed one, one that does not */
    set_priority(server, SELF_PRIORITY - 1u + pick(&number, 3));
    set_budget(server, (enum budget)pick(&number, BUDGETS));
    set_upcalls(server, pick(&number, 3));
    if (who == 1 || who == 2) {
        queue_up(server, THREAD_RECEIVING, 0);
    }
    if (who == 2) {
        set_timed(server);
    }
    n->bound = who == 0 ? self : server;
    thread_of(n->bound)->bound = i;
    thread_of(n->bound)->upcall_events |= pick(&number, 2) != 0 ? UPCALL_NOTIFICATION : 0;
    set_clock(0, pick(&number, 3));
    set_call(CALL_notification_signal, NOTIFICATION_MINTED, 0, 0);
    return true;
}

#define YIELD_STATES (BUDGETS * 3u * 4u * 3u)
static bool yield_states(uint64_t number)
{
    set_self(pick(&number, BUDGETS));
    set_upcalls(self, pick(&number, 3));
    set_ready(pick(&number, 4));
    set_clock(0, pick(&number, 3));
    set_call(CALL_yield, 0, 0, 0);
    return true;
}

TEST(signal_is_the_same_in_every_state)
{
    compare_all("signal", signal_states, SIGNAL_STATES);
    compare_all("signal, bound", signal_bound, SIGNAL_BOUND);
}

TEST(yield_is_the_same_in_every_state)
{
    compare_all("yield", yield_states, YIELD_STATES);
}
