// SPDX-License-Identifier: MIT OR Apache-2.0
/* Scheduling contexts: budgets that end and come back, lending through calls, faults. */
#include "runtime/syscall_time.h"
#include "tests/kernel/harness.h"

#define MS 1000000ull
#define TRIES 20u

static cap_slot_t endpoint, reply, context;
static volatile uint64_t rounds, served;
static volatile int64_t helper_status;

static void set_up(time_ns_t budget_ns, time_ns_t period_ns, uint32_t flags)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    context = object_new(OBJECT_SCHED_CONTEXT, 0);
    rounds = served = 0;
    helper_status = 1;
    EXPECT_OK(
        sched_context_configure(context, BOOT_SLOT_SCHED_CONTROL, budget_ns, period_ns, flags));
}

static uint64_t used_ns(void)
{
    uint64_t values[2] = {0};
    EXPECT_OK(sched_context_info(context, values));
    return values[0];
}

static void spin(uint64_t unused)
{
    (void)unused;
    for (;;)
        rounds++;
}

static void caller(uint64_t times)
{
    for (uint64_t i = 0; i < times; i++) {
        struct message m = {.info = message_info(1, 1), .words = {i}};
        helper_status = ipc_call(endpoint, &m);
        if (helper_status != STATUS_OK)
            return;
        rounds++;
    }
}

static void call_for_ever(uint64_t unused)
{
    (void)unused;
    struct message m = {.info = message_info(2, 0)};
    (void)ipc_call(endpoint, &m);
}

/* Answers; a label of 2 is served for ever. */
static void server(uint64_t unused)
{
    (void)unused;
    struct message m = {0};
    status_t status = ipc_recv(endpoint, reply, &m);
    while (status == STATUS_OK) {
        while (message_label(m.info) == 2)
            served++;
        served++;
        m.info = message_info(0, 0);
        status = ipc_reply_recv(endpoint, reply, &m);
    }
}

static struct helper passive_server(void)
{
    struct helper helper = helper_start(server, 0, PRIORITY_HIGH);
    EXPECT_OK(thread_set_passive(helper.thread, 1, 0));
    return helper;
}

static struct helper budgeted(void (*entry)(uint64_t), uint64_t argument)
{
    struct helper helper = helper_new(entry, argument, PRIORITY_HIGH);
    EXPECT_OK(sched_context_bind(context, helper.thread));
    EXPECT_OK(thread_resume(helper.thread));
    return helper;
}

/* Several times: a budget counts time, which passes too while the host runs something else, or
 * while a checked kernel asks its invariants between giving the budget and going to user mode. */
KERNEL_TEST(a_budget_ends)
{
    bool shown = false;
    for (uint32_t n = 0; n < TRIES && !shown; n++) {
        set_up(1 * MS, 1000 * MS, 0);
        struct helper helper = budgeted(spin, 0); /* has its budget before this thread goes on */
        uint64_t before = rounds, used = used_ns();
        EXPECT(used >= MS);
        pause_ns(5 * MS);
        EXPECT_EQ(rounds, before);
        EXPECT_OK(destroy(helper.thread));
        shown = before > 0 && used < 50 * MS;
    }
    EXPECT(shown);
}

KERNEL_TEST(a_budget_comes_back)
{
    set_up(1 * MS, 5 * MS, 0);
    (void)budgeted(spin, 0);
    for (uint32_t i = 0; i < 5; i++) {
        uint64_t before = rounds;
        pause_ns(20 * MS);
        EXPECT(rounds > before);
    }
}

KERNEL_TEST(a_context_needs_authority)
{
    set_up(1 * MS, 5 * MS, 0);
    struct helper helper = helper_new(spin, 0, PRIORITY_LOW);
    EXPECT_EQ(sched_context_configure(context, endpoint, MS, MS, 0), STATUS_WRONG_TYPE);
    cap_slot_t closed = minted(context, RIGHTS_ALL & ~(uint32_t)RIGHT_MANAGE, 0);
    EXPECT_EQ(sched_context_configure(closed, BOOT_SLOT_SCHED_CONTROL, MS, MS, 0),
              STATUS_NO_RIGHTS);
    EXPECT_EQ(sched_context_bind(closed, helper.thread), STATUS_NO_RIGHTS);
    EXPECT_OK(sched_context_bind(context, helper.thread));
    EXPECT_EQ(sched_context_unbind(closed), STATUS_NO_RIGHTS);
    EXPECT_EQ(thread_set_passive(helper.thread, 0, BOOT_SLOT_SCHED_CONTROL), STATUS_BUSY);
    EXPECT_OK(sched_context_unbind(context));
    EXPECT_EQ(thread_set_passive(helper.thread, 0, endpoint), STATUS_WRONG_TYPE);
    EXPECT_OK(thread_set_passive(helper.thread, 0, BOOT_SLOT_SCHED_CONTROL));
}

KERNEL_TEST(a_passive_server_answers_on_its_callers_budget)
{
    set_up(500 * MS, 1000 * MS, 0);
    (void)passive_server();
    (void)budgeted(caller, 20);
    EXPECT_EQ(rounds, 20);
    EXPECT_EQ(served, 20);
    EXPECT(used_ns() > 0);
}

KERNEL_TEST(a_server_spends_no_more_than_its_caller_has)
{
    set_up(20 * MS, 1000 * MS, 0); /* a busy host may hold it up */
    (void)passive_server();
    struct helper helper = helper_new(caller, 0, PRIORITY_HIGH);
    (void)helper;
    struct message m = {.info = message_info(2, 0)};
    EXPECT_OK(sched_context_bind(context, BOOT_SLOT_THREAD)); /* this thread's budget too */
    m.info |= MESSAGE_DEADLINE;
    m.words[7] = now_ns() + 200 * MS;
    status_t status = ipc_call(endpoint, &m);
    EXPECT_OK(sched_context_unbind(context));
    EXPECT_OK(thread_set_passive(BOOT_SLOT_THREAD, 0, BOOT_SLOT_SCHED_CONTROL));
    EXPECT_EQ(status, STATUS_TIMED_OUT);
    EXPECT(served > 0);
}

KERNEL_TEST(a_passive_server_that_was_sent_to_uses_idle_time)
{
    set_up(1 * MS, 1000 * MS, 0);
    (void)passive_server();
    struct message m = {.info = message_info(1, 0)};
    EXPECT_OK(ipc_send(endpoint, &m));
    EXPECT_EQ(served, 0); /* this thread is above idle time */
    for (uint32_t i = 0; i < 1000 && served == 0; i++)
        pause_ns(MS); /* nobody else runs */
    EXPECT_EQ(served, 1);
    m = (struct message){.info = message_info(1, 0)};
    EXPECT_OK(ipc_call(endpoint, &m)); /* and serves callers as before */
    EXPECT_EQ(served, 2);
}

KERNEL_TEST(a_killed_caller_takes_its_budget_along)
{
    set_up(500 * MS, 1000 * MS, 0);
    (void)passive_server();
    cap_slot_t own_reply = object_new(OBJECT_REPLY, 0);
    (void)own_reply;
    struct helper helper = helper_new(caller, 1, PRIORITY_LOW);
    EXPECT_OK(sched_context_bind(context, helper.thread));
    EXPECT_OK(thread_resume(helper.thread));
    let_others_run();
    EXPECT_EQ(rounds, 1);
    EXPECT_OK(destroy(helper.thread));
    struct message m = {.info = message_info(1, 0)};
    EXPECT_OK(ipc_call(endpoint, &m));
    EXPECT_EQ(served, 2);
}

KERNEL_TEST(a_deleted_context_stops_nobody_for_ever)
{
    set_up(1 * MS, 1000 * MS, 0);
    (void)budgeted(spin, 0);
    uint64_t before = rounds;
    EXPECT_OK(destroy(context));
    EXPECT_EQ(rounds, before);
    for (uint32_t i = 0; i < 1000 && rounds == before; i++)
        pause_ns(MS); /* idle time */
    EXPECT(rounds > before);
}

KERNEL_TEST(a_budget_ends_in_a_fault)
{
    set_up(1 * MS, 1000 * MS, SCHED_TIMEOUT_FAULT);
    struct helper helper = helper_new(spin, 0, PRIORITY_HIGH);
    EXPECT_OK(thread_configure(helper.thread, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, endpoint));
    EXPECT_OK(sched_context_bind(context, helper.thread));
    EXPECT_OK(thread_resume(helper.thread));
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_EQ(message_label(m.info), LABEL_FAULT);
    EXPECT_EQ(m.words[FAULT_WORD_VECTOR], FAULT_VECTOR_BUDGET);
    EXPECT(m.words[FAULT_WORD_ADDRESS] >= MS);
}

KERNEL_TEST(two_budgets_share_the_cpu)
{
    set_up(1 * MS, 4 * MS, 0);
    (void)budgeted(spin, 0);
    cap_slot_t first = context;
    context = object_new(OBJECT_SCHED_CONTEXT, 0);
    EXPECT_OK(sched_context_configure(context, BOOT_SLOT_SCHED_CONTROL, 2 * MS, 4 * MS, 0));
    (void)budgeted(spin, 0);
    pause_ns(40 * MS);
    uint64_t of_second = used_ns();
    context = first;
    uint64_t of_first = used_ns();
    EXPECT(of_first > 0);
    EXPECT(of_second > 0);
}

/* ---- Several CPUs ------------------------------------------------------------------------------
 */

#define LONG (100000 * MS) /* no period ends while a test runs */
#define PATIENCE (10000 * MS)

static bool one_cpu(void)
{
    if (boot->cpus_used < 2)
        test_skip("one CPU");
    return boot->cpus_used < 2;
}

static struct helper on_cpu_1(struct helper helper)
{
    EXPECT_OK(thread_set_cpu(helper.thread, BOOT_SLOT_SCHED_CONTROL, 1));
    return helper;
}

static bool comes_to(volatile uint64_t *count, uint64_t n)
{
    for (time_ns_t end = now_ns() + PATIENCE; *count < n && now_ns() < end;)
        pause_ns(MS);
    return *count >= n;
}

KERNEL_TEST(a_budget_is_lent_to_another_cpu)
{
    if (one_cpu())
        return;
    set_up(500 * MS, LONG, 0);
    (void)on_cpu_1(passive_server());
    /* Somebody there has all the time that is not lent. */
    struct helper other = on_cpu_1(helper_new(spin, 0, PRIORITY_LOW));
    EXPECT_OK(thread_resume(other.thread));
    EXPECT(comes_to(&rounds, 1));
    struct helper helper = helper_new(caller, 20, PRIORITY_HIGH);
    EXPECT_OK(sched_context_bind(context, helper.thread));
    EXPECT_OK(thread_resume(helper.thread));
    EXPECT(comes_to(&served, 20));
    EXPECT(used_ns() > 0);
}

KERNEL_TEST(what_was_lent_ends_on_another_cpu)
{
    if (one_cpu())
        return;
    set_up(20 * MS, LONG, 0);
    (void)on_cpu_1(passive_server());
    struct helper other = on_cpu_1(helper_new(spin, 0, PRIORITY_LOW));
    EXPECT_OK(thread_resume(other.thread)); /* or the server would have idle time */
    struct helper helper = helper_new(call_for_ever, 0, PRIORITY_HIGH);
    EXPECT_OK(sched_context_bind(context, helper.thread));
    EXPECT_OK(thread_resume(helper.thread));
    for (time_ns_t end = now_ns() + PATIENCE; used_ns() < 20 * MS && now_ns() < end;)
        pause_ns(MS);
    EXPECT(used_ns() >= 20 * MS);
    uint64_t before = served, others = rounds;
    EXPECT(comes_to(&rounds, others + 1000));
    EXPECT_EQ(served, before);
}

KERNEL_TEST(a_budget_goes_along_to_another_cpu)
{
    if (one_cpu())
        return;
    set_up(30 * MS, LONG, 0);
    struct helper helper = on_cpu_1(helper_new(spin, 0, PRIORITY_LOW));
    EXPECT_OK(sched_context_bind(context, helper.thread));
    EXPECT_OK(thread_resume(helper.thread));
    uint32_t moves = 0;
    time_ns_t end = now_ns() + PATIENCE;
    for (; used_ns() < 30 * MS && now_ns() < end; moves++) {
        EXPECT_OK(thread_set_cpu(helper.thread, BOOT_SLOT_SCHED_CONTROL, moves % 2));
        pause_ns(MS / 4);
    }
    EXPECT(used_ns() >= 30 * MS);
    pause_ns(MS);
    uint64_t before = rounds;
    EXPECT(before > 0);
    pause_ns(20 * MS);
    EXPECT_EQ(rounds, before);
}
