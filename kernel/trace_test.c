// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/trace.h"

#include <hallows/boot.h>

#include "kernel/arch/host/harness.h"
#include "tests/check.h"

#define T0 40
#define FAULTS 50

static const struct trace_event *event(uint64_t number)
{
    return &kernel_under_test->cpus[0].trace.event[number % TRACE_EVENTS];
}

static void check_event(uint64_t number, uint32_t kind, thread_ix thread, uint64_t what,
                        uint64_t value)
{
    CHECK_EQ((uint32_t)event(number)->head, kind);
    CHECK_EQ(event(number)->head >> 32, thread.n);
    CHECK_EQ(event(number)->what, what);
    CHECK_EQ(event(number)->value, value);
    CHECK_EQ(event(number)->time_ns, host_machine.now_ns);
}

/* A traced system call, as entry code makes it. */
static void traced(uint32_t number, uint64_t arg0)
{
    struct registers *r = &harness_current()->registers;

    r->result = number;
    r->arg0 = arg0;
    kernel_syscall_traced(kernel_under_test);
    harness_check("traced call");
}

TEST(what_happens_is_recorded)
{
    harness_start();
    host_machine.now_ns = 77;
    thread_ix self = current_thread(kernel_under_test);
    harness_spawn(T0, HARNESS_PRIORITY - 1);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, FAULTS, 1), STATUS_OK);
    CHECK_EQ(CALL(thread_suspend, T0), STATUS_OK);
    CHECK_EQ(CALL(thread_configure, T0, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, FAULTS), STATUS_OK);
    CHECK_EQ(CALL(thread_set_priority, T0, BOOT_SLOT_SCHED_CONTROL, HARNESS_PRIORITY + 1),
             STATUS_OK);
    CHECK_EQ(CALL(trace_control, BOOT_SLOT_TRACE, 1), STATUS_OK);
    traced(CALL_cap_delete, 0);
    check_event(0, TRACE_CALL, self, CALL_cap_delete, (uint64_t)(int64_t)STATUS_INVALID_SLOT);
    traced(CALL_thread_resume, T0);
    thread_ix other = harness_thread_ix(T0);
    CHECK_EQ(current_thread(kernel_under_test).n, other.n);
    check_event(1, TRACE_CALL, self, CALL_thread_resume, STATUS_OK);
    check_event(2, TRACE_SWITCH, self, other.n, 0);
    const struct fault fault = {14, 4, 0x123000};
    kernel_fault(kernel_under_test, &fault);
    check_event(3, TRACE_FAULT, other, 14, 0x123000);
    check_event(4, TRACE_SWITCH, other, self.n, 0);
    kernel_timer(kernel_under_test);
    check_event(5, TRACE_TIMER, self, 0, 0);
    CHECK_EQ(kernel_under_test->cpus[0].trace.count, 6);
    CHECK_EQ(CALL(trace_control, BOOT_SLOT_TRACE, 0), STATUS_OK);
    kernel_timer(kernel_under_test);
    CHECK_EQ(kernel_under_test->cpus[0].trace.count, 6);
}

/* The number asked for is in the first word. */
static int64_t read_event(uint64_t cpu, uint64_t number)
{
    return CALL(trace_read, BOOT_SLOT_TRACE, cpu, number);
}

TEST(the_newest_are_kept_and_numbered)
{
    harness_start();
    const uint64_t *words = harness_current()->registers.word;
    CHECK_EQ(read_event(0, 0), STATUS_NOT_FOUND);
    CHECK_EQ(CALL(trace_control, BOOT_SLOT_TRACE, 2), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(trace_control, BOOT_SLOT_TRACE, 1), STATUS_OK);
    for (uint32_t n = 0; n < TRACE_EVENTS; n++) {
        traced(CALL_cap_identify, n);
    }
    CHECK_EQ(read_event(0, 0), STATUS_OK);
    CHECK_EQ(words[0], 0);
    CHECK_EQ(words[1], TRACE_EVENTS);
    traced(CALL_cap_identify, 0);
    CHECK_EQ(read_event(0, 0), STATUS_OK); /* the first one is gone */
    CHECK_EQ(words[0], 1);
    CHECK_EQ(words[1], TRACE_EVENTS + 1);
    CHECK_EQ(words[3] >> 32, current_thread(kernel_under_test).n);
    CHECK_EQ(words[4], CALL_cap_identify);
    CHECK_EQ(read_event(0, TRACE_EVENTS), STATUS_OK);
    CHECK_EQ(words[0], TRACE_EVENTS);
    CHECK_EQ(read_event(0, TRACE_EVENTS + 1), STATUS_NOT_FOUND);
    CHECK_EQ(read_event(HARNESS_CPUS, 0), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(read_event(1, 0), STATUS_NOT_FOUND);
    CHECK_EQ(CALL(cap_copy, T0, BOOT_SLOT_TRACE, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(trace_control, T0, 0), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(cap_copy, T0 + 1, BOOT_SLOT_TRACE, RIGHT_MANAGE), STATUS_OK);
    CHECK_EQ(CALL(trace_read, T0 + 1, 0, 0), STATUS_NO_RIGHTS);
}
