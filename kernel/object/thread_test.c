// SPDX-License-Identifier: MIT OR Apache-2.0
#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "kernel/sched.h"
#include "tests/check.h"

#define T0 40
#define T1 41
#define NOTIFICATION 45
#define MINE HARNESS_PRIORITY

static void write_group(uint32_t group, const uint64_t words[8])
{
    struct thread *t = harness_thread(T0);
    struct registers *r = &harness_current()->registers;

    /* Six arguments are the harness's; the rest are further words. */
    for (uint32_t n = 4; n < 8; n++) {
        r->word[n] = words[n];
    }
    CHECK_EQ(CALL(thread_write_registers, T0, group, words[0], words[1], words[2], words[3]),
             STATUS_OK);
    CHECK_EQ(t->state, THREAD_INACTIVE);
}

static void check_group(uint32_t group, const uint64_t words[8])
{
    CHECK_EQ(CALL(thread_read_registers, T0, group), STATUS_OK);
    for (uint32_t n = 0; n < 8; n++) {
        CHECK_EQ(harness_current()->registers.word[n], words[n]);
    }
}

TEST(every_register_is_written_and_read)
{
    static const uint64_t control[8] = {0x401000, 0x7ffff000, 0x202, 0x1000, 0x2000};
    static const uint64_t low[8] = {11, 12, 13, 14, 15, 16, 17};
    static const uint64_t high[8] = {21, 22, 23, 24, 25, 26, 27, 28};

    harness_start();
    harness_spawn(T0, MINE - 1);
    CHECK_EQ(CALL(thread_suspend, T0), STATUS_OK);
    write_group(REGISTERS_CONTROL, control);
    write_group(REGISTERS_LOW, low);
    write_group(REGISTERS_HIGH, high);
    check_group(REGISTERS_CONTROL, control);
    check_group(REGISTERS_LOW, low);
    check_group(REGISTERS_HIGH, high);
    const struct registers *r = &harness_thread(T0)->registers;
    CHECK_EQ(r->ip, 0x401000);
    CHECK_EQ(r->sp, 0x7ffff000);
    CHECK_EQ(r->fs_base, 0x1000);
    CHECK_EQ(r->gs_base, 0x2000);
    CHECK_EQ(r->result, 11);
    CHECK_EQ(r->caps, 12);
    CHECK_EQ(CALL(thread_write_registers, T0, REGISTERS_GROUP_COUNT), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_read_registers, T0, REGISTERS_GROUP_COUNT), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_write_registers, T0, REGISTERS_CONTROL, USER_ADDRESS_END),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_resume, T0), STATUS_OK);
    CHECK_EQ(CALL(thread_read_registers, T0, REGISTERS_LOW), STATUS_BUSY);
    CHECK_EQ(CALL(thread_write_registers, T0, REGISTERS_LOW), STATUS_BUSY);
    CHECK_EQ(CALL(thread_resume, T0), STATUS_BUSY);
}

static void on_cpu(uint32_t cpu)
{
    host_cpu = &kernel_under_test->cpus[cpu];
}

TEST(threads_are_managed_with_the_right_to)
{
    harness_start();
    harness_spawn(T0, MINE - 1);
    CHECK_EQ(CALL(cap_copy, 60, T0, RIGHTS_ALL & ~(uint64_t)RIGHT_MANAGE), STATUS_OK);
    CHECK_EQ(CALL(thread_suspend, 60), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(thread_resume, 60), STATUS_NO_RIGHTS);
    CHECK_EQ(harness_thread(T0)->state, THREAD_READY);
    CHECK_EQ(CALL(thread_suspend, T0), STATUS_OK);
    CHECK_EQ(CALL(thread_read_registers, 60, REGISTERS_LOW), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(thread_write_registers, 60, REGISTERS_LOW), STATUS_NO_RIGHTS);
}

TEST(a_ready_thread_moves_to_another_cpu)
{
    harness_start();
    struct kernel *k = kernel_under_test;
    harness_spawn(T0, MINE - 1);
    CHECK_EQ(CALL(thread_set_cpu, T0, T0, 1), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(thread_set_cpu, T0, BOOT_SLOT_SCHED_CONTROL, HARNESS_CPUS),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_set_cpu, T0, BOOT_SLOT_SCHED_CONTROL, UINT64_MAX),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_copy, T1, T0, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(thread_set_cpu, T1, BOOT_SLOT_SCHED_CONTROL, 1), STATUS_NO_RIGHTS);
    CHECK_EQ(host_machine.kicked, 0);
    CHECK_EQ(CALL(thread_set_cpu, T0, BOOT_SLOT_SCHED_CONTROL, 1), STATUS_OK);
    CHECK_EQ(harness_thread(T0)->cpu, 1);
    CHECK_EQ(host_machine.kicked, 2);
    CHECK(k->cpus[1].kicked);
    on_cpu(1);
    kernel_reschedule(k);
    harness_check("reschedule");
    CHECK_EQ(k->cpus[1].current.n, harness_thread_ix(T0).n);
    CHECK(!k->cpus[1].kicked);
    on_cpu(0);
    /* And back, off the CPU where it runs. */
    CHECK_EQ(CALL(thread_set_cpu, T0, BOOT_SLOT_SCHED_CONTROL, 0), STATUS_OK);
    CHECK_EQ(k->cpus[1].current.n, NIL);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, MINE + 1), STATUS_OK);
    CHECK_EQ(current_thread(k).n, harness_thread_ix(T0).n);
}

/* Its current thread has to share its time from now on. */
TEST(a_cpu_is_told_of_an_equal_thread)
{
    harness_start();
    struct kernel *k = kernel_under_test;
    for (uint32_t slot = T0; slot <= T1; slot++) {
        CHECK_EQ(k->cpus[1].kicked, false);
        harness_spawn(slot, MINE - 1);
        CHECK_EQ(CALL(thread_set_cpu, slot, BOOT_SLOT_SCHED_CONTROL, 1), STATUS_OK);
        CHECK(k->cpus[1].kicked);
        on_cpu(1);
        kernel_reschedule(k);
        harness_check("reschedule");
        CHECK_EQ(k->cpus[1].current.n, harness_thread_ix(T0).n);
        on_cpu(0);
    }
    CHECK_EQ(k->cpus[1].quantum_end, host_machine.now_ns + QUANTUM_NS);
}

TEST(a_deadline_moves_with_its_thread)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, NOTIFICATION, 1),
             STATUS_OK);
    harness_spawn(T0, MINE + 1);
    const uint64_t until = host_machine.now_ns + 5000;
    CHECK_EQ(CALL(notification_wait, NOTIFICATION, until), BLOCKED);
    struct kernel *k = kernel_under_test;
    CHECK_EQ(k->cpus[0].wheel->next, until);
    CHECK_EQ(CALL(thread_set_cpu, T0, BOOT_SLOT_SCHED_CONTROL, 1), STATUS_OK);
    CHECK_EQ(k->cpus[1].timer_due, until);
    CHECK(k->cpus[1].kicked);
    on_cpu(1);
    kernel_reschedule(k);
    CHECK_EQ(host_machine.timer_ns, until);
    host_machine.now_ns = until;
    kernel_timer(k);
    harness_check("timer");
    CHECK_EQ(k->cpus[1].current.n, harness_thread_ix(T0).n);
    CHECK_EQ((int64_t)harness_thread(T0)->registers.result, STATUS_TIMED_OUT);
    on_cpu(0);
    /* Without a deadline it gets none. */
    CHECK_EQ(CALL(thread_suspend, T0), STATUS_OK);
    CHECK_EQ(CALL(thread_set_cpu, T0, BOOT_SLOT_SCHED_CONTROL, 0), STATUS_OK);
    CHECK_EQ(harness_thread(T0)->flags & THREAD_TIMED, 0);
}

TEST(priorities_are_bounded_by_the_control)
{
    harness_start();
    harness_spawn(T0, MINE - 1);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, 200), STATUS_OK);
    CHECK_EQ(harness_thread(T0)->priority, 200);
    CHECK_EQ(current_thread(kernel_under_test).n, harness_thread_ix(T0).n);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, 201), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, 256), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, MINE), STATUS_OK);
    /* Whoever runs goes on when nobody above it is ready. */
    CHECK_EQ(current_thread(kernel_under_test).n, harness_thread_ix(T0).n);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, MINE - 1), STATUS_OK);
    CHECK_EQ(current_thread(kernel_under_test).n, kernel_under_test->initial_thread.n);
}
