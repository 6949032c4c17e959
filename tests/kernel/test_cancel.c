// SPDX-License-Identifier: MIT OR Apache-2.0
/* Every way of waiting, ended in every way: the waiter learns it, what it waited in is free again,
 * and the others that wait there still do. */
#include "tests/kernel/harness.h"

/* Far enough for what a test does before it, on a busy host. */
#define SOON_NS 300000000ull

enum waiting { SENDING, CALLING, ANSWER, RECEIVING, NOTIFIED };
enum ending { SUSPENDED, OBJECT_DELETED, THREAD_DELETED, TABLE_REVOKED, DEADLINE_PASSED, SERVED };

static cap_slot_t endpoint, reply, notification;
static volatile int64_t first_status, second_status;
static bool timed;

static struct message request(void)
{
    struct message m = {.info = message_info(5, 2), .words = {11, 22}};
    if (timed) {
        m.info |= MESSAGE_DEADLINE;
        m.words[7] = now_ns() + SOON_NS;
    }
    return m;
}

static status_t wait_as(enum waiting how)
{
    struct message m = request();
    uint64_t word;
    switch (how) {
    case SENDING:
        return ipc_send(endpoint, &m);
    case CALLING:
    case ANSWER:
        return ipc_call(endpoint, &m);
    case RECEIVING:
        m.info &= MESSAGE_DEADLINE;
        return ipc_recv(endpoint, reply, &m);
    default:
        return notification_wait(notification, timed ? now_ns() + SOON_NS : DEADLINE_NEVER, &word);
    }
}

static void waiter(uint64_t how)
{
    first_status = wait_as((enum waiting)how);
}

/* Waits behind the first at the same endpoint: to receive with that reply object, or to send. */
static void second(uint64_t how)
{
    struct message m = {.info = message_info(6, 0)};
    if (how == 0) {
        second_status = ipc_send(endpoint, &m);
        return;
    }
    m.info = 0;
    second_status = ipc_recv(endpoint, (cap_slot_t)how, &m);
}

/* The thread's table is a copy that can be revoked alone. */
static struct helper waiter_start(enum waiting how, cap_slot_t table)
{
    struct helper helper = helper_new(waiter, how, PRIORITY_HIGH);
    EXPECT_OK(thread_configure(helper.thread, table, BOOT_SLOT_ASPACE, 0));
    EXPECT_OK(thread_resume(helper.thread));
    return helper;
}

static void serve(enum waiting how)
{
    struct message m = {0};
    switch (how) {
    case SENDING:
    case CALLING:
        EXPECT_OK(ipc_recv(endpoint, reply, &m));
        EXPECT_EQ(m.words[1], 22);
        break;
    case RECEIVING:
        m.info = message_info(1, 0);
        EXPECT_OK(ipc_send(endpoint, &m));
        return;
    case NOTIFIED:
        EXPECT_OK(notification_signal(minted(notification, RIGHT_SEND, 1)));
        return;
    default:
        break;
    }
    m = (struct message){.info = message_info(0, 0)};
    if (how != SENDING)
        EXPECT_OK(ipc_reply(reply, &m));
}

static void end_it(enum waiting how, enum ending ending, struct helper helper, cap_slot_t table)
{
    switch (ending) {
    case SUSPENDED:
        EXPECT_OK(thread_suspend(helper.thread));
        EXPECT_EQ(first_status, 1); /* it does not run */
        EXPECT_OK(thread_resume(helper.thread));
        EXPECT_EQ(first_status, STATUS_CANCELLED);
        break;
    case OBJECT_DELETED:
        EXPECT_OK(destroy(how == ANSWER ? reply : how == NOTIFIED ? notification : endpoint));
        EXPECT_EQ(first_status, STATUS_CANCELLED);
        break;
    case THREAD_DELETED:
        EXPECT_OK(destroy(helper.thread));
        EXPECT_EQ(first_status, 1);
        break;
    case TABLE_REVOKED:
        EXPECT_OK(revoke(table));
        EXPECT_EQ(first_status, 1);
        EXPECT_EQ(thread_resume(helper.thread), STATUS_INVALID_ARGUMENT);
        break;
    case DEADLINE_PASSED:
        for (uint32_t i = 0; i < 1000 && first_status == 1; i++)
            pause_ns(SOON_NS / 10);
        EXPECT_EQ(first_status, STATUS_TIMED_OUT);
        break;
    default:
        serve(how);
        EXPECT_EQ(first_status, STATUS_OK);
        break;
    }
}

/* What was waited in is as if the waiter had never come. */
static void expect_free(enum waiting how)
{
    struct message m = {.info = MESSAGE_DEADLINE, .words = {[7] = DEADLINE_NOW}};
    uint64_t word;
    if (how == NOTIFIED) {
        EXPECT_EQ(notification_wait(notification, DEADLINE_NOW, &word), STATUS_TIMED_OUT);
        return;
    }
    EXPECT_EQ(ipc_recv(endpoint, reply, &m), STATUS_TIMED_OUT);
    m = (struct message){.info = message_info(0, 0)};
    EXPECT_EQ(ipc_reply(reply, &m), STATUS_CANCELLED);
}

static void combination(enum waiting how, enum ending ending)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    notification = object_new(OBJECT_NOTIFICATION, 0);
    first_status = second_status = 1;
    timed = ending == DEADLINE_PASSED;
    cap_slot_t table = minted(BOOT_SLOT_TABLE, RIGHTS_ALL, 0);
    struct helper helper = waiter_start(how, table);
    EXPECT_EQ(first_status, 1);
    if (how == ANSWER) {
        struct message m = {.info = MESSAGE_DEADLINE, .words = {[7] = now_ns() + 10 * SOON_NS}};
        EXPECT_OK(ipc_recv(endpoint, reply, &m));
        EXPECT_EQ(first_status, 1);
    }
    end_it(how, ending, helper, table);
    if (ending != OBJECT_DELETED)
        expect_free(how);
}

/* One that waits behind the first is not touched by the first one's end. */
static void others_stay(enum waiting how, enum ending ending)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    cap_slot_t second_reply = object_new(OBJECT_REPLY, 0);
    first_status = second_status = 1;
    timed = ending == DEADLINE_PASSED;
    cap_slot_t table = minted(BOOT_SLOT_TABLE, RIGHTS_ALL, 0);
    struct helper helper = waiter_start(how, table);
    (void)helper_start(second, how == RECEIVING ? second_reply : 0, PRIORITY_HIGH);
    end_it(how, ending, helper, table);
    EXPECT_EQ(second_status, 1);
    struct message m = {.info = message_info(0, 0)};
    if (how == RECEIVING) {
        EXPECT_OK(ipc_send(endpoint, &m));
    } else {
        m.info = 0;
        EXPECT_OK(ipc_recv(endpoint, reply, &m));
    }
    EXPECT_EQ(second_status, STATUS_OK);
}

#define COMBINATION(how, HOW, ending, ENDING)                                                      \
    KERNEL_TEST(how##_##ending)                                                                    \
    {                                                                                              \
        combination(HOW, ENDING);                                                                  \
    }
#define ALL_ENDINGS(how, HOW)                                                                      \
    COMBINATION(how, HOW, is_suspended, SUSPENDED)                                                 \
    COMBINATION(how, HOW, loses_the_object, OBJECT_DELETED)                                        \
    COMBINATION(how, HOW, is_deleted, THREAD_DELETED)                                              \
    COMBINATION(how, HOW, loses_its_table, TABLE_REVOKED)                                          \
    COMBINATION(how, HOW, times_out, DEADLINE_PASSED)                                              \
    COMBINATION(how, HOW, is_served, SERVED)

ALL_ENDINGS(a_sender, SENDING)
ALL_ENDINGS(a_caller, CALLING)
ALL_ENDINGS(a_caller_being_served, ANSWER)
ALL_ENDINGS(a_receiver, RECEIVING)
ALL_ENDINGS(a_waiter, NOTIFIED)

#define OTHERS(how, HOW, ending, ENDING)                                                           \
    KERNEL_TEST(another_stays_when_##how##_##ending)                                               \
    {                                                                                              \
        others_stay(HOW, ENDING);                                                                  \
    }
#define ALL_OTHERS(how, HOW)                                                                       \
    OTHERS(how, HOW, is_suspended, SUSPENDED)                                                      \
    OTHERS(how, HOW, is_deleted, THREAD_DELETED)                                                   \
    OTHERS(how, HOW, loses_its_table, TABLE_REVOKED)                                               \
    OTHERS(how, HOW, times_out, DEADLINE_PASSED)

ALL_OTHERS(a_sender, SENDING)
ALL_OTHERS(a_caller, CALLING)
ALL_OTHERS(a_receiver, RECEIVING)
