// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/kernel/harness.h"

static cap_slot_t endpoint, reply;

static void serve(uint64_t argument)
{
    struct message m = {0};
    (void)argument;
    (void)ipc_recv(endpoint, reply, &m);
    for (;;)
        (void)ipc_reply_recv(endpoint, reply, &m);
}

/* The number of the first event from `from` on that is that, or 0. */
static uint64_t find(uint64_t from, enum trace_kind kind, uint64_t what)
{
    uint64_t words[MESSAGE_WORDS_MAX];
    for (uint64_t n = from; trace_read(BOOT_SLOT_TRACE, 0, n, words) == STATUS_OK; n = words[0] + 1)
        if ((uint32_t)words[3] == kind && words[4] == what)
            return words[0];
    return 0;
}

KERNEL_TEST(the_trace_tells_what_happened)
{
    uint64_t words[MESSAGE_WORDS_MAX], before = 0;
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    (void)helper_start(serve, 0, PRIORITY_HIGH);
    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, true));
    if (trace_read(BOOT_SLOT_TRACE, 0, 0, words) == STATUS_OK)
        before = words[1];
    struct message m = {.info = message_info(1, 1)};
    EXPECT_OK(ipc_call(endpoint, &m)); /* the usual short way, which must not hide it */
    EXPECT_EQ(cap_delete(0), STATUS_INVALID_SLOT);
    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, false));
    uint64_t called = find(before, TRACE_CALL, CALL_ipc_call);
    EXPECT(called != 0);
    EXPECT_OK(trace_read(BOOT_SLOT_TRACE, 0, called + 1, words));
    EXPECT_EQ((uint32_t)words[3], TRACE_SWITCH); /* to the server */
    uint64_t answered = find(called, TRACE_CALL, CALL_ipc_reply_recv);
    EXPECT(answered > called);
    uint64_t refused = find(answered, TRACE_CALL, CALL_cap_delete);
    EXPECT(refused > answered);
    EXPECT_OK(trace_read(BOOT_SLOT_TRACE, 0, refused, words));
    EXPECT_EQ((int64_t)words[5], STATUS_INVALID_SLOT);
    uint64_t count = words[1];
    EXPECT_OK(ipc_call(endpoint, &m));
    EXPECT_EQ(trace_read(BOOT_SLOT_TRACE, 0, count, words), STATUS_NOT_FOUND); /* it is off */
}

KERNEL_TEST(the_trace_keeps_the_newest)
{
    uint64_t words[MESSAGE_WORDS_MAX];
    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, true));
    for (uint32_t i = 0; i < 2 * TRACE_EVENTS; i++)
        (void)untyped_info(test_untyped, words);
    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, false));
    EXPECT_OK(trace_read(BOOT_SLOT_TRACE, 0, 0, words));
    EXPECT_EQ(words[0], words[1] - TRACE_EVENTS);
    EXPECT_EQ(trace_read(BOOT_SLOT_TRACE, 0, words[1], words), STATUS_NOT_FOUND);
    EXPECT_EQ(trace_read(BOOT_SLOT_TRACE, 64, 0, words), STATUS_INVALID_ARGUMENT);
    cap_slot_t reader = minted(BOOT_SLOT_TRACE, RIGHT_READ, 0);
    EXPECT_EQ(trace_control(reader, true), STATUS_NO_RIGHTS);
    EXPECT_OK(trace_read(reader, 0, 0, words));
}
