// SPDX-License-Identifier: MIT OR Apache-2.0
#include <stdlib.h>

#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "kernel/object/object.h"
#include "kernel/sched.h"
#include "tests/check.h"

#define CONTEXT 30
#define OTHER 31
#define ENDPOINT 32
#define REPLY 33
#define T0 40
#define MS 1000000ull

static void context_new(uint32_t slot, uint64_t budget, uint64_t period, uint64_t flags)
{
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SCHED_CONTEXT, 0, slot, 1), STATUS_OK);
    CHECK_EQ(CALL(sched_context_configure, slot, BOOT_SLOT_SCHED_CONTROL, budget, period, flags),
             STATUS_OK);
}

static bool runs(uint32_t slot)
{
    return current_thread(kernel_under_test).n == harness_thread_ix(slot).n;
}

static void pass(uint64_t ns)
{
    harness_time(host_machine.now_ns + ns);
}

TEST(refusals)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SCHED_CONTEXT, 1, CONTEXT, 1),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SCHED_CONTEXT, 0, CONTEXT, 1), STATUS_OK);
    harness_spawn(T0, 50);
    CHECK_EQ(CALL(sched_context_bind, CONTEXT, T0), STATUS_INVALID_ARGUMENT); /* no budget */
    CHECK_EQ(CALL(sched_context_configure, CONTEXT, CONTEXT, MS, MS, 0), STATUS_WRONG_TYPE);
    const uint64_t wrong[][3] = {{SCHED_BUDGET_MIN_NS - 1, MS, 0},
                                 {MS + 1, MS, 0},
                                 {MS, SCHED_PERIOD_MAX_NS + 1, 0},
                                 {MS, MS, 2}};
    for (uint32_t n = 0; n < 4; n++) {
        CHECK_EQ(CALL(sched_context_configure, CONTEXT, BOOT_SLOT_SCHED_CONTROL, wrong[n][0],
                      wrong[n][1], wrong[n][2]),
                 STATUS_INVALID_ARGUMENT);
    }
    CHECK_EQ(CALL(sched_context_configure, CONTEXT, BOOT_SLOT_SCHED_CONTROL, MS, MS, 0), STATUS_OK);
    CHECK_EQ(CALL(sched_context_unbind, CONTEXT), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(sched_context_bind, CONTEXT, T0), STATUS_OK);
    CHECK_EQ(CALL(sched_context_bind, CONTEXT, BOOT_SLOT_THREAD), STATUS_BUSY);
    CHECK_EQ(CALL(thread_set_passive, T0, 1), STATUS_BUSY);
    CHECK_EQ(CALL(thread_set_passive, T0, 0), STATUS_INVALID_SLOT);
    CHECK_EQ(CALL(sched_context_unbind, CONTEXT), STATUS_OK);
    CHECK_EQ(CALL(thread_set_passive, T0, 0, CONTEXT), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(thread_set_passive, T0, 0, BOOT_SLOT_SCHED_CONTROL), STATUS_OK);
}

TEST(limits_of_a_budget)
{
    harness_start();
    context_new(CONTEXT, SCHED_BUDGET_MIN_NS, SCHED_PERIOD_MAX_NS, SCHED_TIMEOUT_FAULT);
    context_new(OTHER, SCHED_PERIOD_MAX_NS, SCHED_PERIOD_MAX_NS, 0);
    CHECK_EQ(CALL(cap_copy, T0, CONTEXT, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(sched_context_configure, T0, BOOT_SLOT_SCHED_CONTROL, MS, MS, 0),
             STATUS_NO_RIGHTS);
}

/* What is left of a budget counts while it is worth a switch. */
TEST(a_small_rest_waits_for_the_next_piece)
{
    for (uint64_t rest = SCHED_BUDGET_MIN_NS; rest >= SCHED_BUDGET_MIN_NS - 1; rest--) {
        harness_start();
        context_new(CONTEXT, 10 * SCHED_BUDGET_MIN_NS, 100 * MS, 0);
        CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, OTHER, 1), STATUS_OK);
        harness_spawn(T0, HARNESS_PRIORITY + 1);
        CHECK_EQ(CALL(sched_context_bind, CONTEXT, T0), STATUS_OK);
        pass(10 * SCHED_BUDGET_MIN_NS - rest);
        CHECK_EQ(CALL(notification_wait, OTHER, host_machine.now_ns + 1000), BLOCKED);
        const struct sched_context *c =
            sched_context_at(kernel_under_test, (sched_context_ix){harness_slot(CONTEXT)->object});
        CHECK_EQ(c->refill_count, rest == SCHED_BUDGET_MIN_NS ? 2 : 1);
        CHECK_EQ(c->refill[0].amount,
                 rest == SCHED_BUDGET_MIN_NS ? rest : 10 * SCHED_BUDGET_MIN_NS);
    }
}

/* 2 ms in 10: what is used at once comes back at once, a period after its use began. */
TEST(a_budget_is_kept_and_comes_back)
{
    harness_start();
    context_new(CONTEXT, 2 * MS, 10 * MS, 0);
    harness_spawn(T0, HARNESS_PRIORITY + 1);
    CHECK(runs(T0));
    CHECK_EQ(CALL(sched_context_bind, CONTEXT, T0), STATUS_OK);
    uint64_t began = host_machine.now_ns;
    CHECK_EQ(host_machine.timer_ns, began + 2 * MS);
    pass(2 * MS);
    CHECK_EQ(harness_thread(T0)->state, THREAD_THROTTLED);
    CHECK(runs(BOOT_SLOT_THREAD));
    CHECK_EQ(host_machine.timer_ns, began + 10 * MS);
    pass(8 * MS - 1);
    CHECK(runs(BOOT_SLOT_THREAD));
    pass(1);
    CHECK(runs(T0));
    pass(MS);
    CHECK(runs(T0));
    CHECK_EQ(CALL(sched_context_info, CONTEXT), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[0], 3 * MS);
    CHECK_EQ(harness_current()->registers.word[1], MS);
}

/* Over any window of a period the use is at most the budget, whatever the pattern of sleeping. */
TEST(no_window_sees_more_than_the_budget)
{
    enum { SAMPLES = 4000 };
    static uint8_t ran[SAMPLES];
    const uint64_t step = 100000;

    harness_start();
    srand(3);
    context_new(CONTEXT, 20 * step, 100 * step, 0);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, OTHER, 1), STATUS_OK);
    harness_spawn(T0, HARNESS_PRIORITY + 1);
    CHECK_EQ(CALL(sched_context_bind, CONTEXT, T0), STATUS_OK);
    for (uint32_t n = 0; n < SAMPLES; n++) {
        ran[n] = runs(T0);
        pass(step);
        if (runs(T0) && rand() % 5 == 0) {
            uint64_t until = host_machine.now_ns + step * (uint64_t)(1 + rand() % 30);
            CHECK_EQ(CALL(notification_wait, OTHER, until), BLOCKED);
        }
        uint32_t sum = 0;
        for (uint32_t i = n < 99 ? 0 : n - 99; i <= n; i++) {
            sum += ran[i];
        }
        CHECK(sum <= 20);
    }
}

/* The client calls a passive server: it runs on the client's context and on no more. */
static void call_passive_server(uint64_t flags)
{
    harness_start();
    context_new(CONTEXT, 2 * MS, 10 * MS, flags);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, ENDPOINT, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_REPLY, 0, REPLY, 1), STATUS_OK);
    harness_spawn(T0, HARNESS_PRIORITY + 2); /* the server */
    CHECK(runs(T0));
    CHECK_EQ(harness_call(&(struct call){.number = CALL_ipc_recv, .a = {ENDPOINT}, .aux = REPLY}),
             BLOCKED);
    CHECK_EQ(CALL(thread_set_passive, T0, 1), STATUS_OK);
    harness_spawn(T0 + 1, HARNESS_PRIORITY + 1); /* the client */
    CHECK_EQ(CALL(sched_context_bind, CONTEXT, T0 + 1), STATUS_OK);
    pass(MS);
    CHECK_EQ(CALL(ipc_call, ENDPOINT, message_info(1, 0)), BLOCKED);
    CHECK(runs(T0));
}

TEST(a_passive_server_runs_on_its_caller)
{
    call_passive_server(0);
    CHECK_EQ(harness_thread(T0)->lease, harness_thread(T0 + 1)->lease);
    pass(MS / 2);
    CHECK_EQ(harness_call(
                 &(struct call){.number = CALL_ipc_reply_recv, .a = {ENDPOINT, 0}, .aux = REPLY}),
             BLOCKED);
    CHECK(runs(T0 + 1));
    CHECK_EQ(CALL(sched_context_info, CONTEXT), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[0], 3 * MS / 2);
    pass(MS / 2); /* what is left */
    CHECK_EQ(harness_thread(T0 + 1)->state, THREAD_THROTTLED);
}

TEST(a_server_cannot_use_more_than_it_was_lent)
{
    call_passive_server(0);
    pass(MS);
    CHECK_EQ(harness_thread(T0)->state, THREAD_THROTTLED);
    CHECK_EQ(harness_thread(T0 + 1)->state, THREAD_REPLY_WAITING);
    CHECK(runs(BOOT_SLOT_THREAD));
    pass(8 * MS); /* the client's next budget */
    CHECK(runs(T0));
}

/* The caller goes away in the middle of the call: what it lent is its own again. */
TEST(a_cancelled_call_takes_the_context_back)
{
    call_passive_server(0);
    CHECK_EQ(CALL(thread_suspend, T0 + 1), STATUS_OK); /* by the server */
    CHECK(runs(BOOT_SLOT_THREAD));                     /* the server has idle time only */
    CHECK_EQ(harness_thread(T0)->priority, 0);
    CHECK_EQ(CALL(thread_resume, T0 + 1), STATUS_OK);
    CHECK(runs(T0 + 1));
    pass(MS);
    CHECK_EQ(harness_thread(T0 + 1)->state, THREAD_THROTTLED);
    CHECK_EQ(CALL(thread_suspend, BOOT_SLOT_THREAD), STATUS_OK);
    CHECK(runs(T0)); /* nobody else wants the CPU */
}

TEST(a_dead_context_gives_no_time)
{
    call_passive_server(0);
    CHECK_EQ(CALL(cap_delete, CONTEXT), STATUS_OK);
    CHECK(runs(BOOT_SLOT_THREAD));
    CHECK_EQ(harness_thread(T0)->priority, 0);
    context_new(OTHER, 2 * MS, 10 * MS, 0); /* perhaps in the same place */
    CHECK_EQ(CALL(sched_context_bind, OTHER, T0), STATUS_OK);
    CHECK(runs(T0));
    CHECK_EQ(harness_thread(T0)->priority, HARNESS_PRIORITY + 2);
}

TEST(the_end_of_a_budget_can_be_a_fault)
{
    harness_start();
    context_new(CONTEXT, 2 * MS, 10 * MS, SCHED_TIMEOUT_FAULT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, ENDPOINT, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_REPLY, 0, REPLY, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, T0, 1), STATUS_OK);
    CHECK_EQ(CALL(thread_configure, T0, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, ENDPOINT), STATUS_OK);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, HARNESS_PRIORITY + 1),
             STATUS_OK);
    CHECK_EQ(CALL(sched_context_bind, CONTEXT, T0), STATUS_OK);
    CHECK_EQ(CALL(thread_resume, T0), STATUS_OK);
    CHECK(runs(T0));
    pass(2 * MS);
    CHECK_EQ(harness_thread(T0)->state, THREAD_CALLING);
    CHECK_EQ(harness_call(&(struct call){.number = CALL_ipc_recv, .a = {ENDPOINT}, .aux = REPLY}),
             STATUS_OK);
    const struct registers *r = &harness_current()->registers;
    CHECK_EQ(message_label(r->arg1), LABEL_FAULT);
    CHECK_EQ(r->word[FAULT_WORD_VECTOR], FAULT_VECTOR_BUDGET);
    CHECK_EQ(r->word[FAULT_WORD_ADDRESS], 2 * MS);
    CHECK_EQ(CALL(ipc_reply, REPLY), STATUS_OK);
    CHECK_EQ(harness_thread(T0)->state, THREAD_THROTTLED); /* nothing left yet */
    pass(8 * MS);
    CHECK(runs(T0));
}

/* Who runs in idle time lends no more than that. */
TEST(nothing_is_lent_by_who_has_nothing)
{
    const uint32_t second = T0 + 2;
    call_passive_server(0);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, 50, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_REPLY, 0, 51, 1), STATUS_OK);
    harness_spawn(second, HARNESS_PRIORITY + 3);
    CHECK_EQ(harness_call(&(struct call){.number = CALL_ipc_recv, .a = {50}, .aux = 51}), BLOCKED);
    CHECK_EQ(CALL(thread_set_passive, second, 1), STATUS_OK);
    CHECK_EQ(CALL(thread_suspend, T0 + 1), STATUS_OK);
    CHECK(runs(BOOT_SLOT_THREAD));
    CHECK_EQ(CALL(thread_suspend, BOOT_SLOT_THREAD), STATUS_OK);
    CHECK(runs(T0));
    CHECK_EQ(CALL(ipc_call, 50, message_info(1, 0)), BLOCKED);
    CHECK(runs(second));
    CHECK_EQ(harness_thread(second)->priority, 0);
}

/* One entry puts SCHED_STEPS threads aside that have no budget; the timer makes the next go on. */
TEST(many_without_budget_are_put_aside_in_steps)
{
    const uint32_t count = SCHED_STEPS + 2, contexts = 60, threads = 70, signals = 80;
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, 50, count), STATUS_OK);
    for (uint32_t n = 0; n < count; n++) {
        CHECK_EQ(CALL(cap_mint, signals + n, 50 + n, RIGHT_SEND, 1), STATUS_OK);
        context_new(contexts + n, SCHED_BUDGET_MIN_NS, 10 * MS, 0);
        harness_spawn(threads + n, HARNESS_PRIORITY + 1);
        CHECK_EQ(CALL(sched_context_bind, contexts + n, threads + n), STATUS_OK);
        host_machine.now_ns += SCHED_BUDGET_MIN_NS;
        CHECK_EQ(CALL(notification_wait, 50 + n, DEADLINE_NEVER), BLOCKED);
    }
    CHECK_EQ(CALL(thread_set_priority, BOOT_SLOT_THREAD, BOOT_SLOT_SCHED_CONTROL, 150), STATUS_OK);
    for (uint32_t n = 0; n < count; n++) {
        CHECK_EQ(CALL(notification_signal, signals + n), STATUS_OK);
    }
    CHECK_EQ(CALL(thread_suspend, BOOT_SLOT_THREAD), STATUS_OK);
    for (uint32_t n = 0; n < count; n++) {
        CHECK_EQ(harness_thread(threads + n)->state,
                 n < SCHED_STEPS ? THREAD_THROTTLED : THREAD_READY);
    }
    CHECK_EQ(host_machine.timer_ns, 0);
    pass(0);
    CHECK_EQ(harness_thread(threads + count - 1)->state, THREAD_THROTTLED);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
    CHECK(host_machine.timer_ns > host_machine.now_ns);
}

/* ---- On several CPUs ---------------------------------------------------------------------------
 */

/* That CPU enters the kernel because it was told to. */
static void on_cpu(uint32_t cpu)
{
    host_cpu = &kernel_under_test->cpus[cpu];
    kernel_reschedule(kernel_under_test);
    harness_check("reschedule");
}

static void check_used(uint64_t ns)
{
    CHECK_EQ(CALL(sched_context_info, CONTEXT), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[0], ns);
}

/* As call_passive_server, the server on CPU 1. */
static void call_across(void)
{
    harness_start();
    context_new(CONTEXT, 2 * MS, 10 * MS, 0);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, ENDPOINT, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_REPLY, 0, REPLY, 1), STATUS_OK);
    harness_spawn(T0, HARNESS_PRIORITY + 2);
    CHECK_EQ(harness_call(&(struct call){.number = CALL_ipc_recv, .a = {ENDPOINT}, .aux = REPLY}),
             BLOCKED);
    CHECK_EQ(CALL(thread_set_passive, T0, 1), STATUS_OK);
    CHECK_EQ(CALL(thread_set_cpu, T0, BOOT_SLOT_SCHED_CONTROL, 1), STATUS_OK);
    harness_spawn(T0 + 1, HARNESS_PRIORITY + 1); /* the client */
    CHECK_EQ(CALL(sched_context_bind, CONTEXT, T0 + 1), STATUS_OK);
    pass(MS);
    CHECK_EQ(CALL(ipc_call, ENDPOINT, message_info(1, 0)), BLOCKED);
    CHECK(runs(BOOT_SLOT_THREAD));
    on_cpu(1);
    CHECK(runs(T0));
}

TEST(a_budget_is_lent_to_another_cpu)
{
    call_across();
    pass(MS / 2);
    CHECK_EQ(harness_call(
                 &(struct call){.number = CALL_ipc_reply_recv, .a = {ENDPOINT, 0}, .aux = REPLY}),
             BLOCKED);
    host_machine.now_ns += MS; /* nobody's */
    on_cpu(0);
    CHECK(runs(T0 + 1));
    check_used(3 * MS / 2);
    pass(MS / 2);
    CHECK_EQ(harness_thread(T0 + 1)->state, THREAD_THROTTLED);
}

TEST(what_was_lent_ends_on_the_other_cpu)
{
    call_across();
    pass(MS);
    CHECK_EQ(harness_thread(T0)->state, THREAD_THROTTLED);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
    pass(8 * MS);
    CHECK(runs(T0));
}

TEST(a_cancelled_call_stops_the_server_on_the_other_cpu)
{
    call_across();
    on_cpu(0);
    host_machine.now_ns += MS / 2;
    CHECK_EQ(CALL(thread_suspend, T0 + 1), STATUS_OK);
    CHECK_EQ(host_machine.stopped, 2);
    host_machine.now_ns += MS;
    check_used(3 * MS / 2);
    on_cpu(1);
    CHECK(runs(T0)); /* in idle time */
    CHECK_EQ(harness_thread(T0)->priority, 0);
    CHECK_EQ(CALL(thread_resume, T0 + 1), STATUS_OK);
    on_cpu(0);
    CHECK(runs(T0 + 1));
    pass(MS / 2);
    CHECK_EQ(harness_thread(T0 + 1)->state, THREAD_THROTTLED);
}

TEST(a_budget_is_exact_when_its_thread_moves)
{
    harness_start();
    context_new(CONTEXT, 2 * MS, 10 * MS, 0);
    harness_spawn(T0, HARNESS_PRIORITY - 1);
    CHECK_EQ(CALL(sched_context_bind, CONTEXT, T0), STATUS_OK);
    CHECK_EQ(CALL(thread_set_cpu, T0, BOOT_SLOT_SCHED_CONTROL, 1), STATUS_OK);
    on_cpu(1);
    CHECK(runs(T0));
    host_machine.now_ns += 300000;
    on_cpu(0);
    check_used(300000);
    CHECK_EQ(host_machine.stopped, 2);
    host_machine.now_ns += MS; /* CPU 1 has not looked again yet */
    check_used(300000);
    on_cpu(1);
    host_machine.now_ns += 200000;
    on_cpu(0);
    CHECK_EQ(CALL(thread_set_cpu, T0, BOOT_SLOT_SCHED_CONTROL, 0), STATUS_OK);
    host_machine.now_ns += MS; /* behind this thread */
    check_used(500000);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, HARNESS_PRIORITY + 1),
             STATUS_OK);
    CHECK(runs(T0));
    pass(3 * MS / 2 - 1);
    CHECK(runs(T0));
    pass(1);
    CHECK_EQ(harness_thread(T0)->state, THREAD_THROTTLED);
    on_cpu(1);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
}
