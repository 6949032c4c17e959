// SPDX-License-Identifier: MIT OR Apache-2.0
#include <hallows/boot.h>
#include <hallows/upcall.h>

#include "kernel/arch/host/harness.h"
#include "kernel/object/object.h"
#include "tests/check.h"

#define SEGMENT 40
#define RW (RIGHT_READ | RIGHT_WRITE)
#define HANDLER 0x401000u
#define STACK 0x600000u
#define RESUME 0x402000u
#define SELF BOOT_SLOT_THREAD

static struct upcall_area *area;

static void start(uint64_t events)
{
    harness_start();
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SEGMENT, 0, SEGMENT, 2), STATUS_OK);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 3, 1, SLOT_UNTYPED, RW), STATUS_OK);
    CHECK_EQ(CALL(thread_set_upcall, SELF, SEGMENT, 3, events), STATUS_OK);
    area = arch_memory(harness_current()->upcall_area);
    area->handler = HANDLER;
    area->stack = STACK;
    area->argument = 0x1234;
    area->resume_first = RESUME;
    area->resume_end = RESUME + 0x40;
    harness_current()->registers.ip = 0x400100;
    harness_current()->registers.sp = 0x5fff00;
}

static void page_fault(uint64_t address)
{
    const struct fault fault = {14, 4, address};

    kernel_fault(kernel_under_test, &fault);
    harness_check("fault");
}

static bool in_handler(uint64_t events)
{
    const struct registers *r = &harness_current()->registers;

    return r->ip == HANDLER && r->sp == STACK && r->arg0 == 0x1234 && r->arg1 == events &&
           area->masked == 1;
}

TEST(registration_is_checked)
{
    start(0);
    CHECK_EQ(CALL(thread_set_upcall, SELF, SEGMENT, 512, 1), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_set_upcall, SELF, SEGMENT, 3, 16), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(thread_set_upcall, SELF, SEGMENT, 4, 1), STATUS_NOT_MAPPED);
    CHECK_EQ(CALL(thread_set_upcall, SELF, SELF, 3, 1), STATUS_WRONG_TYPE);
    CHECK_EQ(CALL(cap_copy, 60, SEGMENT, RIGHT_READ | RIGHT_MANAGE), STATUS_OK);
    CHECK_EQ(CALL(thread_set_upcall, SELF, 60, 3, 1), STATUS_NO_RIGHTS);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 5, 1, SLOT_UNTYPED, RIGHT_READ), STATUS_OK);
    CHECK_EQ(CALL(thread_set_upcall, SELF, SEGMENT, 5, 1), STATUS_NOT_MAPPED);
    /* Pinned. */
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 5, 1), STATUS_BUSY);
    CHECK_EQ(CALL(segment_protect, SEGMENT, 3, 1, RIGHT_READ | RIGHT_EXECUTE), STATUS_BUSY);
    CHECK_EQ(CALL(segment_derive, SEGMENT, SEGMENT + 1, 1, 0, 0, 0), STATUS_BUSY);
    CHECK_EQ(CALL(upcall_quantum, 5000), STATUS_INVALID_ARGUMENT); /* not enabled */
    CHECK_EQ(CALL(thread_set_upcall, SELF, 0, 0, 0), STATUS_OK);
    CHECK_EQ(CALL(segment_depopulate, SEGMENT, 3, 1), STATUS_OK);
    CHECK_EQ(CALL(upcall_quantum, 5000), STATUS_NOT_FOUND);
}

TEST(a_fault_is_handled_or_delivered)
{
    start(UPCALL_FAULT);
    harness_current()->registers.word[5] = 0x5555;
    harness_current()->registers.entry = 1;
    harness_current()->registers.rcx = 0x77;
    page_fault(0xdead000);
    CHECK(in_handler(UPCALL_FAULT));
    CHECK_EQ(area->fault_address, 0xdead000);
    CHECK_EQ(area->fault_vector, 14);
    CHECK_EQ(area->frame.r13, 0x5555);
    CHECK_EQ(area->frame.rcx, 0x77);
    CHECK_EQ(area->frame.ip, 0x400100);
    CHECK_EQ(area->frame.sp, 0x5fff00);
    uint64_t reported = host_machine.faults_reported;
    page_fault(0xbeef000); /* masked: it stops */
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
    CHECK_EQ(host_machine.faults_reported, reported + 1);
    CHECK_EQ(area->fault_address, 0xdead000);
}

TEST(a_bad_handler_is_a_plain_fault)
{
    start(UPCALL_FAULT);
    area->handler = USER_ADDRESS_END;
    page_fault(0xdead000);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
}

TEST(quantum_ends_and_waits_while_masked)
{
    start(UPCALL_QUANTUM);
    CHECK_EQ(CALL(upcall_quantum, 999), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(CALL(upcall_quantum, 5000), STATUS_OK);
    uint64_t due = host_machine.now_ns + 5000;
    CHECK_EQ(host_machine.timer_ns, due);
    harness_time(due - 1);
    CHECK_EQ(harness_current()->registers.ip, 0x400100);
    harness_time(due);
    CHECK(in_handler(UPCALL_QUANTUM));
    CHECK_EQ(host_machine.timer_ns, due + 5000);
    harness_current()->registers.ip = HANDLER + 8;
    harness_time(due + 5000);
    CHECK_EQ(harness_current()->registers.ip, HANDLER + 8);
    CHECK_EQ(area->pending, UPCALL_QUANTUM);
    /* In the resume code nothing is saved: the frame is what is to be resumed. */
    area->masked = 0;
    area->pending = 0;
    harness_current()->registers.ip = RESUME + 0x3f;
    harness_time(due + 10000);
    CHECK(in_handler(UPCALL_QUANTUM));
    CHECK_EQ(area->frame.ip, 0x400100);
    CHECK_EQ(CALL(upcall_quantum, 0), STATUS_OK);
    CHECK_EQ(host_machine.timer_ns, DEADLINE_NEVER);
}

TEST(a_fault_in_the_resume_code_is_a_plain_fault)
{
    start(UPCALL_FAULT);
    harness_current()->registers.ip = RESUME + 2;
    page_fault(0xdead000);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
}

TEST(a_notification_arrives)
{
    start(UPCALL_NOTIFICATION);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, 50, 1), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, 51, 50, RIGHTS_ALL, 6), STATUS_OK);
    CHECK_EQ(CALL(thread_bind_notification, SELF, 50), STATUS_OK);
    CHECK_EQ(CALL(notification_signal, 51), STATUS_OK);
    CHECK(in_handler(UPCALL_NOTIFICATION));
    CHECK_EQ(area->notification, 6);
    CHECK_EQ(CALL(cap_mint, 52, 50, RIGHTS_ALL, 8), STATUS_OK);
    CHECK_EQ(CALL(notification_signal, 52), STATUS_OK);
    CHECK_EQ(area->notification, 14);
    CHECK_EQ(area->pending, UPCALL_NOTIFICATION);
    area->masked = 0;
    CHECK_EQ(CALL(upcall_quantum, UPCALL_QUANTUM_KEEP), STATUS_OK);
    CHECK(in_handler(UPCALL_NOTIFICATION));
    CHECK_EQ(area->frame.rax, STATUS_OK);
}

TEST(foreign_system_calls)
{
    start(UPCALL_SYSCALL);
    area->kernel_code_first = 0x400000;
    area->kernel_code_end = 0x401000;
    harness_current()->registers.ip = 0x400002;
    CHECK_EQ(CALL(cap_copy, 60, SEGMENT, RIGHT_READ), STATUS_OK);
    harness_current()->registers.ip = 0x401000; /* the call's last byte lies below */
    CHECK_EQ(CALL(cap_delete, 60), STATUS_OK);
    struct registers *r = &harness_current()->registers;
    r->ip = 0x700002;
    r->result = 39;
    r->entry = 0;
    kernel_syscall(kernel_under_test, harness_current());
    harness_check("foreign");
    CHECK(in_handler(UPCALL_SYSCALL));
    CHECK_EQ(area->frame.rax, 39);
    CHECK_EQ(area->frame.rcx, 0x700002);
    CHECK_EQ(area->frame.ip, 0x700002);
    r->ip = HANDLER + 0x100;
    kernel_syscall(kernel_under_test,
                   harness_current()); /* from the handler, which is not such code: masked */
    harness_check("foreign");
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
}

TEST(areas_go_with_segment_and_thread)
{
    start(UPCALL_FAULT);
    for (uint32_t n = 0; n < 12; n++) {
        CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, 60 + n, 1), STATUS_OK);
        CHECK_EQ(CALL(thread_set_upcall, 60 + n, SEGMENT, 3, UPCALL_FAULT), STATUS_OK);
    }
    CHECK_EQ(CALL(cap_delete, 65), STATUS_OK);
    CHECK_EQ(CALL(thread_set_upcall, 66, SEGMENT, 3, 0), STATUS_OK);
    CHECK_EQ(CALL(cap_delete, SEGMENT), STATUS_OK);
    CHECK_EQ(harness_current()->upcall_area, 0);
    page_fault(0xdead000);
    CHECK_EQ(current_thread(kernel_under_test).n, NIL);
}
