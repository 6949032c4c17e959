// SPDX-License-Identifier: MIT OR Apache-2.0
/* Messages: call, send, receive, reply in both orders of arrival; capabilities in messages;
 * deadlines; what happens to those who wait when something is deleted. */
#include "tests/kernel/harness.h"

#define LONG_NS 10000000000ull

static cap_slot_t endpoint, reply;
static volatile int64_t helper_status;
static volatile uint64_t helper_seen[MESSAGE_WORDS_MAX];
static volatile uint32_t helper_rounds;

static void set_up(void)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    helper_status = 1;
    helper_rounds = 0;
}

static struct message message_of(uint64_t label, uint32_t words, uint64_t first)
{
    struct message m = {.info = message_info(label, words)};
    for (uint32_t i = 0; i < words; i++)
        m.words[i] = first + i;
    return m;
}

/* Answers each call with its words plus one and its badge in word 0 of an empty message. */
static void echo_server(uint64_t rounds)
{
    struct message m = {0};
    helper_status = ipc_recv(endpoint, reply, &m);
    for (uint64_t i = 0; i < rounds && helper_status == STATUS_OK; i++) {
        uint32_t words = message_words(m.info);
        for (uint32_t w = 0; w < words; w++)
            m.words[w]++;
        if (words == 0)
            m.words[0] = m.badge;
        m.info = message_info(message_label(m.info) + 1, words ? words : 1);
        helper_rounds++;
        helper_status = i + 1 < rounds ? ipc_reply_recv(endpoint, reply, &m) : ipc_reply(reply, &m);
    }
}

static void caller(uint64_t words)
{
    struct message m = message_of(7, (uint32_t)words, 100);
    helper_status = ipc_call(endpoint, &m);
    for (uint32_t i = 0; i < MESSAGE_WORDS_MAX; i++)
        helper_seen[i] = m.words[i];
}

static void sender(uint64_t value)
{
    struct message m = message_of(3, 1, value);
    helper_status = ipc_send(endpoint, &m);
    helper_rounds++;
}

static void call_with_every_size(uint32_t priority)
{
    set_up();
    (void)helper_start(echo_server, MESSAGE_WORDS_MAX + 1, priority);
    cap_slot_t client = minted(endpoint, RIGHT_SEND, 42);
    for (uint32_t words = 0; words <= MESSAGE_WORDS_MAX; words++) {
        struct message m = message_of(10 + words, words, 1000 * words);
        EXPECT_OK(ipc_call(client, &m));
        EXPECT_EQ(message_label(m.info), 11 + words);
        EXPECT_EQ(message_words(m.info), words ? words : 1);
        for (uint32_t i = 0; i < words; i++)
            EXPECT_EQ(m.words[i], 1000 * words + i + 1);
        if (words == 0)
            EXPECT_EQ(m.words[0], 42);
    }
    EXPECT_EQ(helper_rounds, MESSAGE_WORDS_MAX + 1);
    EXPECT_EQ(helper_status, STATUS_OK);
}

KERNEL_TEST(call_a_waiting_higher_server)
{
    call_with_every_size(PRIORITY_HIGH);
}

KERNEL_TEST(call_a_server_that_comes_later)
{
    call_with_every_size(PRIORITY_LOW);
}

KERNEL_TEST(call_a_server_of_the_same_priority)
{
    call_with_every_size(PRIORITY_TEST);
}

KERNEL_TEST(receive_finds_a_waiting_caller)
{
    set_up();
    (void)helper_start(caller, 8, PRIORITY_HIGH);
    EXPECT_EQ(helper_status, 1); /* it waits */
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_EQ(message_label(m.info), 7);
    EXPECT_EQ(message_words(m.info), 8);
    for (uint32_t i = 0; i < 8; i++)
        EXPECT_EQ(m.words[i], 100 + i);
    m = message_of(1, 8, 200);
    EXPECT_OK(ipc_reply(reply, &m));
    EXPECT_EQ(helper_status, STATUS_OK);
    for (uint32_t i = 0; i < 8; i++)
        EXPECT_EQ(helper_seen[i], 200 + i);
}

KERNEL_TEST(send_waits_until_it_is_taken)
{
    set_up();
    (void)helper_start(sender, 55, PRIORITY_HIGH);
    EXPECT_EQ(helper_rounds, 0);
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_EQ(m.words[0], 55);
    EXPECT_EQ(helper_rounds, 1);
    EXPECT_EQ(helper_status, STATUS_OK);
    m = message_of(0, 0, 0);
    EXPECT(ipc_reply(reply, &m) != STATUS_OK); /* nobody waits for an answer */
}

KERNEL_TEST(senders_are_served_in_order)
{
    set_up();
    (void)helper_start(sender, 1, PRIORITY_HIGH);
    (void)helper_start(sender, 2, PRIORITY_HIGH);
    (void)helper_start(sender, 3, PRIORITY_HIGH);
    for (uint64_t i = 1; i <= 3; i++) {
        struct message m = {0};
        EXPECT_OK(ipc_recv(endpoint, reply, &m));
        EXPECT_EQ(m.words[0], i);
    }
}

KERNEL_TEST(a_reply_answers_once)
{
    set_up();
    (void)helper_start(caller, 0, PRIORITY_HIGH);
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    m = message_of(0, 0, 0);
    EXPECT_OK(ipc_reply(reply, &m));
    EXPECT(ipc_reply(reply, &m) != STATUS_OK);
}

KERNEL_TEST(rights_of_endpoints)
{
    set_up();
    cap_slot_t send_only = minted(endpoint, RIGHT_SEND, 0);
    cap_slot_t receive_only = minted(endpoint, RIGHT_RECEIVE, 0);
    struct message m = message_of(0, 0, 0);
    EXPECT_EQ(ipc_recv(send_only, reply, &m), STATUS_NO_RIGHTS);
    m = message_of(0, 0, 0);
    EXPECT_EQ(ipc_call(receive_only, &m), STATUS_NO_RIGHTS);
    m = message_of(0, 0, 0);
    EXPECT_EQ(ipc_send(receive_only, &m), STATUS_NO_RIGHTS);
}

KERNEL_TEST(kernel_labels_cannot_be_forged)
{
    set_up();
    struct message m = message_of(LABEL_FAULT, 1, 1);
    EXPECT_EQ(ipc_call(endpoint, &m), STATUS_INVALID_ARGUMENT);
    m = message_of(LABEL_NOTIFICATION, 1, 1);
    EXPECT_EQ(ipc_send(endpoint, &m), STATUS_INVALID_ARGUMENT);
}

KERNEL_TEST(too_many_words_are_refused)
{
    set_up();
    struct message m = {.info = message_info(1, 9)};
    EXPECT_EQ(ipc_send(endpoint, &m), STATUS_INVALID_ARGUMENT);
}

/* ---- Deadlines ------------------------------------------------------------------------------- */

static void deadline_in(struct message *m, uint64_t ns)
{
    m->info |= MESSAGE_DEADLINE;
    m->words[7] = ns == 0 ? DEADLINE_NOW : now_ns() + ns;
}

KERNEL_TEST(receive_times_out)
{
    set_up();
    struct message m = {0};
    deadline_in(&m, 2000000);
    time_ns_t due = m.words[7];
    EXPECT_EQ(ipc_recv(endpoint, reply, &m), STATUS_TIMED_OUT);
    EXPECT(now_ns() >= due);
    m = (struct message){0};
    deadline_in(&m, 0);
    status_t status = ipc_recv(endpoint, reply, &m);
    EXPECT(status == STATUS_TIMED_OUT || status == STATUS_WOULD_BLOCK);
}

KERNEL_TEST(call_times_out_with_nobody_there)
{
    set_up();
    struct message m = message_of(1, 2, 3);
    deadline_in(&m, 2000000);
    EXPECT_EQ(ipc_call(endpoint, &m), STATUS_TIMED_OUT);
    m = message_of(1, 2, 3);
    deadline_in(&m, 1000000);
    EXPECT_EQ(ipc_send(endpoint, &m), STATUS_TIMED_OUT);
    /* The queue is empty again: a receiver finds nobody. */
    m = (struct message){0};
    deadline_in(&m, 0);
    EXPECT(ipc_recv(endpoint, reply, &m) != STATUS_OK);
}

static void receive_and_keep(uint64_t unused)
{
    (void)unused;
    struct message m = {0};
    helper_status = ipc_recv(endpoint, reply, &m);
}

KERNEL_TEST(call_times_out_without_an_answer)
{
    set_up();
    (void)helper_start(receive_and_keep, 0, PRIORITY_HIGH);
    struct message m = message_of(1, 1, 1);
    deadline_in(&m, 50000000); /* a busy host takes milliseconds */
    EXPECT_EQ(ipc_call(endpoint, &m), STATUS_TIMED_OUT);
    EXPECT_EQ(helper_status, STATUS_OK);
    /* The reply object holds nobody any more. */
    m = message_of(0, 0, 0);
    EXPECT(ipc_reply(reply, &m) != STATUS_OK);
}

/* ---- Capabilities in messages ---------------------------------------------------------------- */

static cap_slot_t accept_slot;
static volatile uint64_t helper_info;

static void accept_one(uint64_t with_accept)
{
    struct message m = {0};
    if (with_accept) {
        m.info = MESSAGE_ACCEPT;
        m.accept_slot = accept_slot;
    }
    helper_status = ipc_recv(endpoint, reply, &m);
    helper_info = m.info;
    m = message_of(0, 0, 0);
    if (helper_status == STATUS_OK)
        helper_status = ipc_reply(reply, &m);
}

KERNEL_TEST(a_call_carries_a_capability)
{
    set_up();
    accept_slot = slot_new();
    (void)helper_start(accept_one, 1, PRIORITY_HIGH);
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    cap_slot_t sent = minted(notification, RIGHT_SEND, 64);
    struct message m = message_of(1, 1, 5);
    m.info |= MESSAGE_CAP;
    m.send_slot = sent;
    EXPECT_OK(ipc_call(endpoint, &m));
    EXPECT_EQ(helper_status, STATUS_OK);
    EXPECT((helper_info & MESSAGE_CAP) != 0);
    EXPECT_EQ(slot_type(accept_slot), OBJECT_NOTIFICATION);
    uint64_t word = 0;
    EXPECT_OK(notification_signal(accept_slot));
    EXPECT_OK(notification_wait(notification, DEADLINE_NOW, &word));
    EXPECT_EQ(word, 64);
    EXPECT_EQ(notification_wait(accept_slot, DEADLINE_NOW, &word), STATUS_NO_RIGHTS);
    EXPECT_OK(revoke(notification)); /* reaches what was sent */
    EXPECT_EQ(slot_type(accept_slot), OBJECT_NONE);
}

KERNEL_TEST(a_capability_needs_grant)
{
    set_up();
    accept_slot = slot_new();
    (void)helper_start(accept_one, 1, PRIORITY_HIGH);
    cap_slot_t plain = minted(endpoint, RIGHT_SEND, 0);
    struct message m = message_of(1, 0, 0);
    m.info |= MESSAGE_CAP;
    m.send_slot = object_new(OBJECT_NOTIFICATION, 0);
    EXPECT(ipc_call(plain, &m) != STATUS_OK || slot_type(accept_slot) == OBJECT_NONE);
    EXPECT_EQ(slot_type(accept_slot), OBJECT_NONE);
}

KERNEL_TEST(a_capability_that_is_not_accepted_stays)
{
    set_up();
    accept_slot = slot_new();
    (void)helper_start(accept_one, 0, PRIORITY_HIGH);
    struct message m = message_of(1, 0, 0);
    m.info |= MESSAGE_CAP;
    m.send_slot = object_new(OBJECT_NOTIFICATION, 0);
    status_t status = ipc_call(endpoint, &m);
    EXPECT(status != STATUS_OK || (helper_info & MESSAGE_CAP) == 0);
    EXPECT_EQ(slot_type(accept_slot), OBJECT_NONE);
    EXPECT_EQ(slot_type(m.send_slot), OBJECT_NOTIFICATION);
}

/* ---- Cancelled ------------------------------------------------------------------------------- */

KERNEL_TEST(deleting_an_endpoint_cancels_receivers)
{
    set_up();
    (void)helper_start(receive_and_keep, 0, PRIORITY_HIGH);
    EXPECT_EQ(helper_status, 1);
    EXPECT_OK(destroy(endpoint));
    EXPECT_EQ(helper_status, STATUS_CANCELLED);
}

KERNEL_TEST(deleting_an_endpoint_cancels_senders)
{
    set_up();
    (void)helper_start(sender, 1, PRIORITY_HIGH);
    (void)helper_start(sender, 2, PRIORITY_HIGH);
    (void)helper_start(caller, 2, PRIORITY_HIGH);
    EXPECT_OK(destroy(endpoint));
    EXPECT_EQ(helper_status, STATUS_CANCELLED);
    EXPECT_EQ(helper_rounds, 2);
}

KERNEL_TEST(deleting_a_reply_cancels_its_caller)
{
    set_up();
    (void)helper_start(caller, 1, PRIORITY_HIGH);
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_OK(destroy(reply));
    EXPECT_EQ(helper_status, STATUS_CANCELLED);
}

KERNEL_TEST(deleting_a_caller_frees_its_reply)
{
    set_up();
    struct helper helper = helper_start(caller, 1, PRIORITY_HIGH);
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_OK(destroy(helper.thread));
    m = message_of(0, 0, 0);
    EXPECT(ipc_reply(reply, &m) != STATUS_OK);
    (void)helper_start(caller, 1, PRIORITY_HIGH); /* the reply object serves again */
    m = (struct message){0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    m = message_of(0, 0, 0);
    EXPECT_OK(ipc_reply(reply, &m));
    EXPECT_EQ(helper_status, STATUS_OK);
}

KERNEL_TEST(suspending_a_waiting_sender_takes_it_out)
{
    set_up();
    struct helper helper = helper_start(sender, 9, PRIORITY_HIGH);
    EXPECT_OK(thread_suspend(helper.thread));
    struct message m = {0};
    deadline_in(&m, 0);
    EXPECT(ipc_recv(endpoint, reply, &m) != STATUS_OK);
}

KERNEL_TEST(revoking_a_badged_copy_stops_its_users)
{
    set_up();
    cap_slot_t client = minted(endpoint, RIGHT_SEND, 3);
    (void)helper_start(echo_server, 1, PRIORITY_HIGH);
    EXPECT_OK(revoke(endpoint));
    struct message m = message_of(0, 0, 0);
    EXPECT_EQ(ipc_call(client, &m), STATUS_EMPTY_SLOT);
    EXPECT_OK(ipc_call(endpoint, &m)); /* the server still waits */
}
