// SPDX-License-Identifier: MIT OR Apache-2.0
/* Partition schedules: windows, frames, change of tables, and what crosses domains. */
#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "kernel/sched.h"
#include "tests/check.h"

#define US 1000u
#define S0 60
#define S1 61
#define CONTROL BOOT_SLOT_SCHED_CONTROL
#define T1 40 /* of domain 1 */
#define T2 41

static uint64_t start_ns;

/* S0: domain 0 for 100 us, 1 for 50 us, 0 for 25 us; S1: domain 1 for 30 us, 0 for 30 us. */
static void tables(void)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_PARTITION_SCHEDULE, 0, S0, 2), STATUS_OK);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, 0, 100 * US), STATUS_OK);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, 1, 50 * US), STATUS_OK);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, 0, 25 * US), STATUS_OK);
    CHECK_EQ(CALL(schedule_append, S1, CONTROL, 1, 30 * US), STATUS_OK);
    CHECK_EQ(CALL(schedule_append, S1, CONTROL, 0, 30 * US), STATUS_OK);
    harness_spawn(T1, HARNESS_PRIORITY + 1);
    CHECK_EQ(CALL(thread_suspend, T1), STATUS_OK);
    CHECK_EQ(CALL(thread_set_domain, T1, CONTROL, 1), STATUS_OK);
    start_ns = host_machine.now_ns + 10 * US;
}

static bool runs(uint32_t slot)
{
    return current_thread(kernel_under_test).n != NIL && harness_current() == harness_thread(slot);
}

TEST(what_a_schedule_refuses)
{
    tables();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_PARTITION_SCHEDULE, 1, 62, 1),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(schedule_append, S0, S0, 0, 100 * US), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(schedule_append, CONTROL, CONTROL, 0, 100 * US), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, DOMAIN_COUNT, 100 * US), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, 0, SCHEDULE_WINDOW_MIN_NS - 1),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, 0, SCHED_PERIOD_MAX_NS), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, 0, UINT64_MAX), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_copy, 62, S0, RIGHTS_ALL & ~RIGHT_MANAGE), STATUS_OK);
    CHECK_EQ(CALL(schedule_append, 62, CONTROL, 0, 100 * US), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(schedule_start, 62, CONTROL, 0, 0), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(schedule_start, S0, S1, 0, 0), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, HARNESS_CPUS, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 0, 1ull << 63), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_set_domain, T1, S0, 1), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(thread_set_domain, T1, CONTROL, DOMAIN_COUNT), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_set_domain, T1, CONTROL, UINT64_MAX), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_PARTITION_SCHEDULE, 0, 63, 1), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, 63, CONTROL, 0, 0), STATUS_INVALID_ARGUMENT); /* empty */
    for (uint32_t n = 0; n < SCHEDULE_WINDOWS_MAX; n++) {
        CHECK_EQ(CALL(schedule_append, 63, CONTROL, n % 3, 10 * US), STATUS_OK);
    }
    CHECK_EQ(CALL(schedule_append, 63, CONTROL, 0, 10 * US), STATUS_FULL);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 1, 0), STATUS_OK);
    CHECK_EQ(CALL(schedule_append, S0, CONTROL, 0, 10 * US), STATUS_BUSY);
}

TEST(windows_follow_each_other_at_their_times)
{
    tables();
    CHECK_EQ(CALL(thread_resume, T1), STATUS_OK);
    CHECK(runs(BOOT_SLOT_THREAD)); /* although T1 is better: it has no window */
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 0, start_ns), STATUS_OK);
    CHECK_EQ(host_machine.timer_ns, start_ns);
    for (uint64_t frame = 0; frame < 3; frame++) {
        uint64_t at = start_ns + frame * 175 * US;
        harness_time(at + frame); /* late, which moves nothing */
        CHECK(runs(BOOT_SLOT_THREAD));
        harness_time(at + 100 * US - 1);
        CHECK(runs(BOOT_SLOT_THREAD));
        CHECK_EQ(host_machine.timer_ns, at + 100 * US);
        harness_time(at + 100 * US + 700);
        CHECK(runs(T1));
        CHECK_EQ(host_machine.timer_ns, at + 150 * US);
        harness_time(at + 150 * US);
        CHECK(runs(BOOT_SLOT_THREAD));
        CHECK_EQ(host_machine.timer_ns, at + 175 * US);
    }
}

TEST(a_table_changes_between_frames_only)
{
    tables();
    CHECK_EQ(CALL(thread_resume, T1), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 0, start_ns), STATUS_OK);
    harness_time(start_ns);
    CHECK_EQ(CALL(schedule_start, S1, CONTROL, 0, 0), STATUS_OK);
    CHECK_EQ(host_machine.timer_ns, start_ns + 100 * US);
    harness_time(start_ns + 100 * US);
    CHECK(runs(T1));
    harness_time(start_ns + 150 * US);
    CHECK(runs(BOOT_SLOT_THREAD));
    harness_time(start_ns + 175 * US);
    CHECK(runs(T1)); /* the first window of S1 */
    CHECK_EQ(host_machine.timer_ns, start_ns + 205 * US);
    harness_time(start_ns + 205 * US);
    CHECK(runs(BOOT_SLOT_THREAD));
    CHECK_EQ(CALL(schedule_start, 0, CONTROL, 0, 0), STATUS_OK);
    harness_time(start_ns + 235 * US);
    CHECK(runs(BOOT_SLOT_THREAD)); /* none: domain 0 */
    CHECK_EQ(cpu_self(kernel_under_test)->timer_armed, DEADLINE_NEVER);
}

TEST(a_late_cpu_is_where_it_would_be)
{
    tables();
    CHECK_EQ(CALL(thread_resume, T1), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 0, start_ns), STATUS_OK);
    uint64_t frame = start_ns + 1000000ull * 175 * US;
    harness_time(frame + 120 * US); /* a million frames are left out */
    uint32_t steps = 0;
    while (host_machine.timer_ns <= host_machine.now_ns && steps < SCHEDULE_WINDOWS_MAX) {
        harness_time(host_machine.now_ns);
        steps++;
    }
    CHECK_EQ(steps, 1);
    CHECK(runs(T1));
    CHECK_EQ(host_machine.timer_ns, frame + 150 * US);
}

TEST(deadlines_and_wake_ups_wait_for_their_window)
{
    tables();
    CHECK_EQ(CALL(thread_resume, T1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, 70, 1), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, 71, 70, RIGHTS_ALL, 1), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 0, start_ns), STATUS_OK);
    harness_time(start_ns);
    harness_time(start_ns + 100 * US);
    CHECK(runs(T1));
    CHECK_EQ(CALL(notification_wait, 70, start_ns + 160 * US), BLOCKED);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL); /* idle, though domain 0 is ready */
    harness_time(start_ns + 150 * US);
    CHECK(runs(BOOT_SLOT_THREAD));
    CHECK_EQ(host_machine.timer_ns, start_ns + 175 * US); /* not T1's deadline */
    harness_time(start_ns + 175 * US);
    CHECK_EQ(harness_thread(T1)->state, THREAD_WAITING);
    harness_time(start_ns + 275 * US);
    CHECK(runs(T1)); /* timed out in its own window */
    CHECK_EQ((int64_t)harness_current()->registers.result, STATUS_TIMED_OUT);
    CHECK_EQ(CALL(notification_wait, 70, DEADLINE_NEVER), BLOCKED);
    harness_time(start_ns + 325 * US);
    CHECK_EQ(CALL(notification_signal, 71), STATUS_OK);
    CHECK(runs(BOOT_SLOT_THREAD)); /* T1 is better and ready, and waits */
    CHECK_EQ(harness_thread(T1)->state, THREAD_READY);
    harness_time(start_ns + 350 * US);
    CHECK(runs(BOOT_SLOT_THREAD));
    harness_time(start_ns + 450 * US);
    CHECK(runs(T1));
}

TEST(a_call_into_another_domain_is_served_in_its_window)
{
    tables();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, 70, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_REPLY, 0, 71, 1), STATUS_OK);
    CHECK_EQ(CALL(thread_resume, T1), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 0, start_ns), STATUS_OK);
    harness_time(start_ns);
    harness_time(start_ns + 100 * US);
    CHECK(runs(T1));
    const struct call receive = {.number = CALL_ipc_recv, .a = {70}, .aux = 71};
    CHECK_EQ(harness_call(&receive), BLOCKED);
    harness_time(start_ns + 150 * US);
    CHECK(runs(BOOT_SLOT_THREAD));
    struct registers *r = &harness_current()->registers;
    r->result = CALL_ipc_call;
    r->arg0 = 70;
    r->arg1 = message_info(5, 0);
    harness_compare_paths(); /* the fast path must not hand over across domains */
    CHECK_EQ(harness_thread(BOOT_SLOT_THREAD)->state, THREAD_REPLY_WAITING);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
    harness_time(start_ns + 175 * US);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
    harness_time(start_ns + 275 * US);
    CHECK(runs(T1));
    CHECK_EQ(message_label(harness_current()->registers.arg1), 5);
    r = &harness_current()->registers;
    r->result = CALL_ipc_reply_recv | (uint64_t)71 << 32;
    r->arg0 = 70;
    r->arg1 = message_info(0, 0);
    harness_compare_paths();
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
    harness_time(start_ns + 325 * US);
    CHECK(runs(BOOT_SLOT_THREAD));
}

TEST(windows_shorter_than_a_quantum_are_shared)
{
    tables();
    harness_spawn(T2, HARNESS_PRIORITY + 1);
    CHECK_EQ(CALL(thread_set_domain, T2, CONTROL, 1), STATUS_OK);
    CHECK(runs(BOOT_SLOT_THREAD)); /* T2 ran, and is out of its window now */
    CHECK_EQ(CALL(thread_resume, T1), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, S1, CONTROL, 0, start_ns), STATUS_OK);
    uint32_t first = 0;
    for (uint64_t frame = 0; frame < 10; frame++) {
        harness_time(start_ns + frame * 60 * US);
        CHECK(runs(T1) || runs(T2));
        first += runs(T1);
        harness_time(start_ns + frame * 60 * US + 30 * US);
        CHECK(runs(BOOT_SLOT_THREAD));
    }
    CHECK_EQ(first, 5);
}

TEST(a_deleted_schedule_leaves_domain_0)
{
    tables();
    CHECK_EQ(CALL(thread_resume, T1), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, S1, CONTROL, 0, start_ns), STATUS_OK);
    harness_time(start_ns);
    CHECK(runs(T1));
    CHECK_EQ(CALL(cap_delete, S1), STATUS_OK);
    CHECK(host_machine.timer_ns <= host_machine.now_ns); /* at once */
    harness_time(host_machine.now_ns);
    CHECK(runs(BOOT_SLOT_THREAD));
    CHECK_EQ(cpu_self(kernel_under_test)->timer_armed, DEADLINE_NEVER);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 0, host_machine.now_ns + 500), STATUS_OK);
    CHECK_EQ(CALL(cap_delete, S0), STATUS_OK); /* before it began */
    harness_time(host_machine.now_ns);
    CHECK_EQ(cpu_self(kernel_under_test)->timer_armed, DEADLINE_NEVER);
}

static void on_cpu(uint32_t cpu, uint64_t now_ns)
{
    host_cpu = &kernel_under_test->cpus[cpu];
    harness_time(now_ns);
}

TEST(a_cpu_comes_back_before_it_follows_another_table)
{
    tables();
    const struct cpu *other = &kernel_under_test->cpus[1];
    CHECK_EQ(CALL(schedule_start, S1, CONTROL, 1, start_ns), STATUS_OK);
    on_cpu(1, start_ns);
    CHECK_EQ(other->domain, 1);
    on_cpu(0, start_ns);
    CHECK_EQ(CALL(cap_delete, S1), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 1, start_ns + 500 * US), STATUS_BUSY);
    CHECK_EQ(CALL(schedule_start, 0, CONTROL, 1, 0), STATUS_BUSY);
    CHECK_EQ(other->window_end, 0);
    on_cpu(1, start_ns);
    CHECK_EQ(other->domain, 0);
    on_cpu(0, start_ns);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 1, start_ns + 500 * US), STATUS_OK);
    CHECK_EQ(other->window_end, start_ns + 500 * US);
}

TEST(a_budget_that_ends_in_a_window_waits_for_both)
{
    tables();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SCHED_CONTEXT, 0, 70, 1), STATUS_OK);
    CHECK_EQ(CALL(sched_context_configure, 70, CONTROL, 10 * US, 200 * US, 0), STATUS_OK);
    CHECK_EQ(CALL(sched_context_bind, 70, T1), STATUS_OK);
    CHECK_EQ(CALL(thread_resume, T1), STATUS_OK);
    CHECK_EQ(CALL(schedule_start, S0, CONTROL, 0, start_ns), STATUS_OK);
    harness_time(start_ns);
    harness_time(start_ns + 100 * US);
    CHECK(runs(T1));
    CHECK_EQ(host_machine.timer_ns, start_ns + 110 * US);
    harness_time(start_ns + 110 * US);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
    harness_time(start_ns + 150 * US);
    harness_time(start_ns + 175 * US);
    harness_time(start_ns + 275 * US); /* its window, and no budget yet */
    CHECK_EQ(harness_thread(T1)->state, THREAD_THROTTLED);
    CHECK_EQ(host_machine.timer_ns, start_ns + 300 * US);
    harness_time(start_ns + 300 * US);
    CHECK(runs(T1));
}
