// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/sched.h"

#include <stdlib.h>

#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "kernel/timer.h"
#include "tests/check.h"

#define T0 40

TEST(threads_are_configured_before_they_run)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, T0, 1), STATUS_OK);
    CHECK_EQ(CALL(thread_resume, T0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_configure, T0, BOOT_SLOT_ASPACE, BOOT_SLOT_TABLE, 0), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(thread_configure, T0, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, 0), STATUS_OK);
    CHECK_EQ(CALL(thread_configure, T0, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, 0), STATUS_OK);
    CHECK_EQ(CALL(thread_configure, BOOT_SLOT_THREAD, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, 0),
             STATUS_BUSY);
    CHECK_EQ(CALL(thread_write_registers, T0, REGISTERS_CONTROL, 1ull << 63),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_write_registers, T0, 3), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_write_registers, T0, REGISTERS_CONTROL, 0x1000, 0x2000, ~0ull), STATUS_OK);
    CHECK_EQ(CALL(thread_write_registers, T0, REGISTERS_LOW, 1, 2, 3, 4), STATUS_OK);
    CHECK_EQ(CALL(thread_write_registers, T0, REGISTERS_HIGH, 8, 9, 10, 11), STATUS_OK);
    CHECK_EQ(CALL(thread_read_registers, T0, REGISTERS_LOW), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[2], 3);
    CHECK_EQ(CALL(thread_read_registers, T0, REGISTERS_CONTROL), STATUS_OK);
    CHECK_EQ(harness_current()->registers.word[2], 0xed7 & (0xcd5 | 0x202));
    const struct registers *r = &harness_thread(T0)->registers;
    CHECK_EQ(r->word[0], 4);
    CHECK_EQ(r->word[1], 10);
    CHECK_EQ(r->word[2], 8);
    CHECK_EQ(CALL(thread_read_registers, BOOT_SLOT_THREAD, 0), STATUS_BUSY);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, 201), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, 256), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_resume, T0), STATUS_OK);
    CHECK_EQ(CALL(thread_resume, T0), STATUS_BUSY);
    CHECK_EQ(CALL(thread_write_registers, T0, REGISTERS_LOW), STATUS_BUSY);
}

TEST(priorities)
{
    harness_start();
    struct thread *first = harness_current();
    harness_spawn(T0, 50);
    CHECK(harness_current() == first);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, 150), STATUS_OK);
    CHECK(harness_current() == harness_thread(T0));
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, 10), STATUS_OK);
    CHECK(harness_current() == first);
    CHECK_EQ(CALL(thread_suspend, BOOT_SLOT_THREAD), STATUS_OK);
    CHECK(harness_current() == harness_thread(T0));
    CHECK_EQ(CALL(thread_suspend, T0), STATUS_OK);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
    CHECK_EQ(host_machine.timer_ns, DEADLINE_NEVER);
}

TEST(round_robin)
{
    harness_start();
    struct thread *first = harness_current();
    CHECK_EQ(host_machine.timer_ns, DEADLINE_NEVER); /* alone: no tick */
    harness_spawn(T0, HARNESS_PRIORITY);
    uint64_t end = host_machine.timer_ns;
    CHECK_EQ(end, host_machine.now_ns + QUANTUM_NS);
    harness_time(end - 1);
    CHECK(harness_current() == first);
    harness_time(end);
    CHECK(harness_current() == harness_thread(T0));
    CHECK_EQ(host_machine.timer_ns, end + QUANTUM_NS);
    CHECK_EQ(CALL(yield), STATUS_OK);
    CHECK(harness_current() == first);
    harness_spawn(T0 + 1, HARNESS_PRIORITY);
    CHECK_EQ(CALL(yield), STATUS_OK);
    CHECK(harness_current() == harness_thread(T0));
    CHECK_EQ(CALL(yield), STATUS_OK);
    CHECK(harness_current() == harness_thread(T0 + 1));
}

TEST(losing_the_table_stops_a_thread)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_TABLE, 16, 30, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, T0, 1), STATUS_OK);
    CHECK_EQ(CALL(thread_configure, T0, 30, BOOT_SLOT_ASPACE, 0), STATUS_OK);
    CHECK_EQ(CALL(thread_resume, T0), STATUS_OK);
    CHECK_EQ(CALL(cap_delete, 30), STATUS_BUSY);
    CHECK_EQ(CALL(cap_revoke, 30), STATUS_OK);
    CHECK_EQ(harness_thread(T0)->state, THREAD_INACTIVE);
    CHECK_EQ(CALL(thread_resume, T0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(cap_delete, 30), STATUS_OK);
}

/* Exact deadlines over the whole range of the wheel, in order, against a plain list. */
TEST(timers_fire_in_order_and_on_time)
{
    enum { COUNT = 24 };
    uint64_t deadlines[COUNT];

    harness_start();
    srand(7);
    for (uint32_t n = 0; n < COUNT; n += 8) {
        CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, 100 + n, 8), STATUS_OK);
    }
    for (uint32_t n = 0; n < COUNT; n++) {
        uint64_t random = (uint64_t)rand() << 31 ^ (uint64_t)rand();
        deadlines[n] = host_machine.now_ns + 1 + (random >> (n * 2));
        if (n % 8 == 7) {
            deadlines[n] = deadlines[n - 1];
        }
        harness_spawn(T0 + n, 150);
        CHECK_EQ(CALL(notification_wait, 100 + n, deadlines[n]), BLOCKED);
    }
    CHECK_EQ(CALL(thread_suspend, BOOT_SLOT_THREAD), STATUS_OK);
    for (uint32_t fired = 0; fired < COUNT;) {
        uint64_t next = DEADLINE_NEVER;
        for (uint32_t n = 0; n < COUNT; n++) {
            next = deadlines[n] < next ? deadlines[n] : next;
        }
        CHECK(host_machine.timer_ns <= next);
        harness_time(host_machine.timer_ns > host_machine.now_ns ? host_machine.timer_ns
                                                                 : host_machine.now_ns);
        for (uint32_t n = 0; n < COUNT; n++) {
            struct thread *t = harness_thread(T0 + n);
            if (deadlines[n] != DEADLINE_NEVER && t->state == THREAD_READY) {
                CHECK(deadlines[n] <= host_machine.now_ns);
                CHECK_EQ(deadlines[n], next);
                CHECK_EQ((int64_t)t->registers.result, STATUS_TIMED_OUT);
                deadlines[n] = DEADLINE_NEVER;
                fired++;
            }
        }
        while (current_thread(kernel_under_test).n != NIL) {
            for (uint32_t n = 0; n < COUNT; n++) {
                if (current_thread(kernel_under_test).n == harness_thread_ix(T0 + n).n) {
                    CHECK_EQ(CALL(thread_suspend, T0 + n), STATUS_OK);
                    break;
                }
            }
        }
    }
    CHECK_EQ(cpu_self(kernel_under_test)->wheel[0].next, DEADLINE_NEVER);
}

/* Many deadlines at once: a bounded number a timer interrupt, none lost. */
TEST(many_timers_at_once)
{
    enum { COUNT = 64 };
    uint32_t interrupts = 0;

    harness_start();
    uint64_t deadline = host_machine.now_ns + 123456789;
    for (uint32_t n = 0; n < COUNT; n += 8) {
        CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, 120 + n, 8), STATUS_OK);
    }
    for (uint32_t n = 0; n < COUNT; n++) {
        harness_spawn(T0 + n, 150);
        CHECK_EQ(CALL(notification_wait, 120 + n, deadline), BLOCKED);
    }
    host_machine.now_ns = deadline;
    while (cpu_self(kernel_under_test)->wheel[0].next != DEADLINE_NEVER && interrupts < 300) {
        CHECK(host_machine.timer_ns <= host_machine.now_ns || interrupts == 0);
        harness_time(deadline);
        interrupts++;
    }
    CHECK(interrupts > 1 && interrupts < 250);
    for (uint32_t n = 0; n < COUNT; n++) {
        CHECK_EQ(harness_thread(T0 + n)->state, THREAD_READY);
    }
}
