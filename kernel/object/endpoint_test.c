// SPDX-License-Identifier: MIT OR Apache-2.0
#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "tests/check.h"

#define EP 30
#define REPLY 32
#define SERVER 40
#define CLIENT 41
#define BADGED 50
#define INFO(label, words) message_info(label, words)

/* A server above and a client below the initial thread, an endpoint, two reply objects. */
static void pair_start(void)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, EP, 2), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_REPLY, 0, REPLY, 2), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, BADGED, EP, RIGHT_SEND | RIGHT_GRANT, 99), STATUS_OK);
}

static int64_t receive(uint64_t endpoint, uint64_t flags, uint32_t reply)
{
    return harness_call(
        &(struct call){.number = CALL_ipc_recv, .a = {endpoint, flags}, .aux = reply});
}

TEST(call_and_reply)
{
    pair_start();
    harness_spawn(SERVER, 150);
    CHECK(harness_current() == harness_thread(SERVER));
    CHECK_EQ(receive(EP, 0, REPLY), BLOCKED);
    struct thread *client = harness_current();
    CHECK_EQ(CALL(ipc_call, BADGED, INFO(7, 3), 11, 12, 13, 14), BLOCKED);
    struct thread *server = harness_current();
    CHECK(server == harness_thread(SERVER));
    CHECK_EQ(server->registers.result, STATUS_OK);
    CHECK_EQ(server->registers.arg0, 99);
    CHECK_EQ(server->registers.arg1, INFO(7, 3));
    CHECK_EQ(server->registers.word[0], 11);
    CHECK_EQ(server->registers.word[2], 13);
    CHECK_EQ(server->registers.word[3], 0); /* not part of the message */
    CHECK_EQ(client->state, THREAD_REPLY_WAITING);
    CHECK_EQ(receive(EP, 0, REPLY), STATUS_BUSY); /* holds the caller */
    CHECK_EQ(CALL(ipc_reply, REPLY, INFO(8, 1), 21), STATUS_OK);
    CHECK_EQ(CALL(ipc_reply, REPLY, INFO(8, 1), 21), STATUS_CANCELLED);
    CHECK_EQ(client->registers.result, STATUS_OK);
    CHECK_EQ(client->registers.arg0, 0);
    CHECK_EQ(client->registers.arg1, INFO(8, 1));
    CHECK_EQ(client->registers.word[0], 21);
    CHECK_EQ(client->state, THREAD_READY);
}

TEST(reply_and_receive_in_one)
{
    pair_start();
    harness_spawn(SERVER, 150);
    const struct call serve = {
        .number = CALL_ipc_reply_recv, .a = {EP, INFO(1, 1), 5}, .aux = REPLY};
    CHECK_EQ(harness_call(&serve), BLOCKED); /* nobody to answer yet */
    struct thread *client = harness_current();
    for (uint64_t n = 0; n < 3; n++) {
        CHECK_EQ(CALL(ipc_call, BADGED, INFO(n, 1), n), BLOCKED);
        CHECK(harness_current() == harness_thread(SERVER));
        CHECK_EQ(harness_current()->registers.word[0], n);
        CHECK_EQ(harness_call(&serve), BLOCKED);
        CHECK(harness_current() == client);
        CHECK_EQ(client->registers.word[0], 5);
    }
}

/* The fast path does what the slow path does, or nothing. */
TEST(fast_path_equals_slow_path)
{
    for (uint32_t variant = 0; variant < 96; variant++) {
        uint32_t words = variant % 8;
        uint32_t server_priority = variant % 3 == 0 ? 150 : (variant % 3 == 1 ? 100 : 90);
        pair_start();
        harness_spawn(SERVER, 150);
        struct thread *server = harness_current();
        CHECK_EQ(receive(EP, 0, REPLY), BLOCKED);
        if (variant % 5 == 0) { /* a second receiver behind it */
            harness_spawn(CLIENT, 150);
            CHECK_EQ(receive(EP, 0, REPLY + 1), BLOCKED);
        }
        if (variant % 7 == 0) { /* somebody of the same priority */
            harness_spawn(CLIENT + 1, HARNESS_PRIORITY);
        }
        CHECK_EQ(CALL(thread_set_priority, SERVER, BOOT_SLOT_SCHED_CONTROL, server_priority),
                 STATUS_OK);
        struct registers *r = &harness_current()->registers;
        *r = (struct registers){.word = {1, 2, 3, 4, 5, 6, 7, 8}, .arg0 = BADGED};
        r->result = CALL_ipc_call;
        r->arg1 = INFO(variant, words) | (variant % 11 == 0 ? MESSAGE_ACCEPT : 0);
        r->caps = 200ull << 32;
        harness_compare_paths();
        harness_check("call");
        if (harness_current() != server) {
            continue;
        }
        r = &server->registers;
        r->result = CALL_ipc_reply_recv | (uint64_t)REPLY << 32;
        r->arg0 = EP;
        r->arg1 = INFO(variant, words);
        harness_compare_paths();
        harness_check("reply");
    }
}

TEST(senders_queue_in_order)
{
    pair_start();
    for (uint32_t n = 0; n < 3; n++) {
        harness_spawn(SERVER + n, 150);
        CHECK_EQ(CALL(ipc_send, BADGED, INFO(n, 1), n), BLOCKED);
    }
    for (uint64_t n = 0; n < 3; n++) {
        CHECK_EQ(receive(EP, 0, REPLY), STATUS_OK);
        if (harness_current() != thread_at(kernel_under_test, kernel_under_test->initial_thread)) {
            CHECK_EQ(CALL(thread_suspend, SERVER + n), STATUS_OK);
        }
        CHECK_EQ(harness_current()->registers.arg1, INFO(n, 1));
    }
}

TEST(messages_are_checked)
{
    pair_start();
    CHECK_EQ(CALL(ipc_call, 0, 0), STATUS_INVALID_SLOT);
    CHECK_EQ(CALL(ipc_call, REPLY, 0), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(ipc_send, BADGED, INFO(1, 9)), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(ipc_send, BADGED, INFO(1, 8) | MESSAGE_DEADLINE), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(ipc_send, BADGED, INFO(1, 1) | 0x80), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(ipc_send, BADGED, INFO(LABEL_FAULT, 1)), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(receive(BADGED, 0, REPLY), STATUS_NO_RIGHTS);
    CHECK_EQ(receive(EP, 0, 0), STATUS_INVALID_SLOT);
    CHECK_EQ(receive(EP, 0, EP), STATUS_WRONG_TYPE);
    CHECK_EQ(receive(EP, INFO(1, 0), REPLY), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(receive(EP, MESSAGE_ACCEPT, REPLY), STATUS_INVALID_SLOT);
    CHECK_EQ(harness_call(&(struct call){.number = CALL_ipc_recv,
                                         .a = {EP, MESSAGE_ACCEPT},
                                         .aux = REPLY,
                                         .caps = (uint64_t)EP << 32}),
             STATUS_OCCUPIED_SLOT);
    CHECK_EQ(harness_call(&(struct call){
                 .number = CALL_ipc_send, .a = {BADGED, INFO(1, 0) | MESSAGE_CAP}, .caps = 200}),
             STATUS_EMPTY_SLOT);
    CHECK_EQ(harness_call(&(struct call){.number = CALL_ipc_send,
                                         .a = {BADGED, INFO(1, 0) | MESSAGE_CAP},
                                         .caps = SLOT_UNTYPED}),
             STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(ipc_reply, REPLY, INFO(1, 9)), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(ipc_reply, EP, INFO(1, 0)), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(ipc_call, BADGED, INFO(1, 0) | MESSAGE_ACCEPT), STATUS_INVALID_SLOT);
    CHECK_EQ(CALL(cap_copy, 51, EP, RIGHT_SEND), STATUS_OK);
    CHECK_EQ(harness_call(&(struct call){
                 .number = CALL_ipc_send, .a = {51, INFO(1, 0) | MESSAGE_CAP}, .caps = REPLY}),
             STATUS_NO_RIGHTS);
}

TEST(capability_transfer)
{
    pair_start();
    harness_spawn(SERVER, 150);
    const struct call accept = {
        .number = CALL_ipc_recv, .a = {EP, MESSAGE_ACCEPT}, .aux = REPLY, .caps = 60ull << 32};
    CHECK_EQ(harness_call(&accept), BLOCKED);
    const struct call call = {.number = CALL_ipc_call,
                              .a = {BADGED, INFO(1, 0) | MESSAGE_CAP | MESSAGE_ACCEPT},
                              .caps = BOOT_SLOT_CONSOLE | 61ull << 32};
    CHECK_EQ(harness_call(&call), BLOCKED);
    CHECK_EQ(harness_current()->registers.arg1, INFO(1, 0) | MESSAGE_CAP);
    CHECK_EQ(harness_slot(60)->type, OBJECT_CONSOLE);
    CHECK_EQ(harness_call(&(struct call){
                 .number = CALL_ipc_reply, .a = {REPLY, INFO(2, 0) | MESSAGE_CAP}, .caps = 60}),
             STATUS_OK);
    CHECK_EQ(harness_slot(61)->type, OBJECT_CONSOLE);
    CHECK_EQ(harness_slot(61)->depth, 2);
    /* a receiver that accepts none gets the message without it */
    CHECK_EQ(harness_call(&(struct call){
                 .number = CALL_ipc_recv, .a = {EP}, .aux = REPLY, .caps = 62ull << 32}),
             BLOCKED);
    CHECK_EQ(CALL(cap_delete, 61), STATUS_OK);
    CHECK_EQ(harness_call(&call), BLOCKED);
    CHECK_EQ(harness_current()->registers.arg1, INFO(1, 0));
    CHECK_EQ(harness_slot(62)->type, OBJECT_NONE);
    CHECK_EQ(CALL(ipc_reply, REPLY, INFO(2, 0)), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, 61, BOOT_SLOT_CONSOLE, RIGHTS_ALL), STATUS_OK);
    /* the accept slot is taken by now: the message comes without the capability */
    CHECK_EQ(CALL(cap_delete, 61), STATUS_OK);
    CHECK_EQ(CALL(cap_delete, 60), STATUS_OK);
    CHECK_EQ(harness_call(&accept), BLOCKED);
    CHECK_EQ(CALL(cap_copy, 60, BOOT_SLOT_CONSOLE, RIGHTS_ALL), STATUS_OK);
    CHECK_EQ(harness_call(&call), BLOCKED);
    CHECK_EQ(harness_current()->registers.arg1, INFO(1, 0));
}

TEST(deadlines)
{
    pair_start();
    harness_spawn(SERVER, 150);
    struct thread *server = harness_current();
    uint64_t now = host_machine.now_ns;
    server->registers.word[7] = DEADLINE_NOW;
    CHECK_EQ(receive(EP, MESSAGE_DEADLINE, REPLY), STATUS_TIMED_OUT);
    server->registers.word[7] = now + 500;
    CHECK_EQ(receive(EP, MESSAGE_DEADLINE, REPLY), BLOCKED);
    CHECK_EQ(host_machine.timer_ns, now + 500);
    harness_time(now + 499);
    CHECK_EQ(server->state, THREAD_RECEIVING);
    harness_time(now + 500);
    CHECK(harness_current() == server);
    CHECK_EQ((int64_t)server->registers.result, STATUS_TIMED_OUT);
    CHECK_EQ(receive(EP, 0, REPLY), BLOCKED);
    struct thread *client = harness_current();
    client->registers.word[7] = now + 1000;
    CHECK_EQ(CALL(ipc_call, BADGED, INFO(1, 1) | MESSAGE_DEADLINE), BLOCKED);
    harness_time(now + 2000); /* the server has it but does not answer */
    CHECK_EQ((int64_t)client->registers.result, STATUS_TIMED_OUT);
    CHECK_EQ(CALL(ipc_reply, REPLY, INFO(1, 0)), STATUS_CANCELLED);
}

TEST(deleting_what_is_waited_on)
{
    pair_start();
    harness_spawn(SERVER, 150);
    struct thread *server = harness_current();
    CHECK_EQ(receive(EP, 0, REPLY), BLOCKED);
    CHECK_EQ(CALL(cap_delete, REPLY), STATUS_OK);
    CHECK_EQ((int64_t)server->registers.result, STATUS_CANCELLED);
    CHECK_EQ(receive(EP, 0, REPLY + 1), BLOCKED);
    struct thread *client = harness_current();
    CHECK_EQ(CALL(ipc_call, BADGED, INFO(1, 0)), BLOCKED);
    CHECK(harness_current() == server);
    CHECK_EQ(CALL(cap_delete, REPLY + 1), STATUS_OK);
    CHECK_EQ((int64_t)client->registers.result, STATUS_CANCELLED);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_REPLY, 0, REPLY, 1), STATUS_OK);
    CHECK_EQ(receive(EP, 0, REPLY), BLOCKED);
    CHECK_EQ(CALL(cap_revoke, EP), STATUS_OK);
    CHECK_EQ(server->state, THREAD_RECEIVING);
    CHECK_EQ(CALL(cap_delete, EP), STATUS_OK);
    CHECK_EQ((int64_t)server->registers.result, STATUS_CANCELLED);
    CHECK_EQ(reply_at(kernel_under_test, (reply_ix){harness_slot(REPLY)->object})->thread.n, NIL);
}

TEST(faults_are_messages)
{
    const struct fault fault = {14, 6, 0xdead000};

    pair_start();
    harness_spawn(SERVER, 150);
    CHECK_EQ(receive(EP, 0, REPLY), BLOCKED);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, CLIENT, 1), STATUS_OK);
    CHECK_EQ(CALL(thread_configure, CLIENT, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, BADGED), STATUS_OK);
    CHECK_EQ(CALL(thread_set_priority, CLIENT, BOOT_SLOT_SCHED_CONTROL, 140), STATUS_OK);
    CHECK_EQ(CALL(thread_write_registers, CLIENT, REGISTERS_CONTROL, 0x1000, 0x2000), STATUS_OK);
    CHECK_EQ(CALL(thread_resume, CLIENT), STATUS_OK);
    struct thread *client = harness_current();
    CHECK(client == harness_thread(CLIENT));
    client->registers.result = 0x5555;
    kernel_fault(kernel_under_test, &fault);
    harness_check("fault");
    struct thread *server = harness_current();
    CHECK(server == harness_thread(SERVER));
    CHECK_EQ(server->registers.arg0, 99);
    CHECK_EQ(server->registers.arg1, INFO(LABEL_FAULT, FAULT_WORD_COUNT));
    CHECK_EQ(server->registers.word[FAULT_WORD_VECTOR], 14);
    CHECK_EQ(server->registers.word[FAULT_WORD_ADDRESS], 0xdead000);
    CHECK_EQ(server->registers.word[FAULT_WORD_IP], 0x1000);
    CHECK_EQ(CALL(ipc_reply, REPLY, INFO(0, 1), 77), STATUS_OK);
    CHECK_EQ(client->state, THREAD_READY);
    CHECK_EQ(client->registers.result, 0x5555); /* goes on as it was */
    CHECK_EQ(client->registers.word[0], 0);
    CHECK_EQ(CALL(ipc_recv, EP, 0), STATUS_INVALID_SLOT);
    CHECK_EQ(CALL(thread_suspend, SERVER), STATUS_OK);
    kernel_fault(kernel_under_test, &fault); /* waits for a receiver */
    CHECK_EQ(client->state, THREAD_CALLING);
    CHECK_EQ(CALL(cap_revoke, EP), STATUS_OK);
    CHECK_EQ(CALL(cap_delete, EP), STATUS_OK);
    CHECK_EQ(client->state, THREAD_INACTIVE);
    CHECK_EQ(host_machine.faults_reported, 1);
}

TEST(bound_notification)
{
    pair_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, 60, 1), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, 61, 60, RIGHT_SEND, 0xf0), STATUS_OK);
    harness_spawn(SERVER, 150);
    CHECK_EQ(CALL(thread_bind_notification, SERVER, 60), STATUS_OK);
    struct thread *server = harness_current();
    CHECK_EQ(receive(EP, 0, REPLY), BLOCKED);
    CHECK_EQ(CALL(thread_bind_notification, SERVER, 61), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(notification_signal, 60), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(notification_signal, 61), STATUS_OK);
    CHECK(harness_current() == server);
    CHECK_EQ(server->registers.arg1, INFO(LABEL_NOTIFICATION, 1));
    CHECK_EQ(server->registers.word[0], 0xf0);
    CHECK_EQ(CALL(notification_signal, 61), STATUS_OK);
    CHECK_EQ(receive(EP, 0, REPLY), STATUS_OK);
    CHECK_EQ(server->registers.word[0], 0xf0);
    CHECK_EQ(CALL(thread_bind_notification, BOOT_SLOT_THREAD, 60), STATUS_BUSY);
    CHECK_EQ(CALL(thread_bind_notification, SERVER, 0), STATUS_OK);
    CHECK_EQ(CALL(thread_bind_notification, BOOT_SLOT_THREAD, 60), STATUS_OK);
}

TEST(notification_waits)
{
    pair_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, 60, 1), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, 61, 60, RIGHT_SEND, 1), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, 62, 60, RIGHT_SEND, 2), STATUS_OK);
    CHECK_EQ(CALL(notification_wait, 61, 0), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(notification_wait, 60, DEADLINE_NOW), STATUS_TIMED_OUT);
    CHECK_EQ(CALL(notification_signal, 61), STATUS_OK);
    CHECK_EQ(CALL(notification_signal, 62), STATUS_OK);
    CHECK_EQ(CALL(notification_wait, 60, DEADLINE_NOW), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[0], 3);
    harness_spawn(SERVER, 150);
    CHECK_EQ(CALL(notification_wait, 60, DEADLINE_NEVER), BLOCKED);
    CHECK_EQ(CALL(notification_wait, 60, DEADLINE_NEVER), STATUS_BUSY);
    CHECK_EQ(CALL(notification_signal, 62), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[0], 2);
    CHECK_EQ(CALL(notification_wait, 60, DEADLINE_NEVER), BLOCKED);
    CHECK_EQ(CALL(thread_suspend, SERVER), STATUS_OK);
    CHECK_EQ((int64_t)harness_thread(SERVER)->registers.result, STATUS_CANCELLED);
    CHECK_EQ(CALL(notification_signal, 61), STATUS_OK); /* nobody waits any more */
    CHECK_EQ(CALL(notification_wait, 60, DEADLINE_NEVER), STATUS_OK);
}
