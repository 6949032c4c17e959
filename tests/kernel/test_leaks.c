// SPDX-License-Identifier: MIT OR Apache-2.0
/* Nothing that a user can read holds an address of the kernel's half: registers after calls, faults
 * and interrupts, upcall areas, fault messages, other threads' registers, the trace, boot pages. */
#include "lib/base/bytes.h"
#include "runtime/upcall.h"
#include "tests/kernel/harness.h"

#define RW (RIGHT_READ | RIGHT_WRITE)
#define REGISTERS_IN 13u
#define REGISTERS_OUT 15u
#define CALLS_END 128u
#define STACK_BYTES 4096u
#define READ_BYTES 3u /* of code: what faults in fault_and_look */

void call_and_look(const uint64_t in[REGISTERS_IN], uint64_t out[REGISTERS_OUT]);
void fault_and_look(const uint64_t in[REGISTERS_IN], uint64_t out[REGISTERS_OUT]);

static uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
static cap_slot_t endpoint, reply;
static volatile uint64_t work;

/* In the upper half, but for statuses and other small negative numbers. */
static bool kernel_address(uint64_t word)
{
    return word >= 0xffff800000000000 && word < 0xfffffffffff00000;
}

static void expect_none(const char *where, uint64_t which, const uint64_t *words, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (kernel_address(words[i])) {
            print("%s %lu, word %lu: %lx\n", where, which, i, words[i]);
            EXPECT(!kernel_address(words[i]));
        }
}

/* A call with these arguments, all other registers known; its status. */
static int64_t call(uint64_t number, uint64_t arg0, uint64_t arg1, uint64_t word0, uint64_t word1)
{
    uint64_t in[REGISTERS_IN], out[REGISTERS_OUT];
    for (uint32_t i = 0; i < REGISTERS_IN; i++)
        in[i] = 0x5a00 + i;
    in[0] = number;
    in[1] = arg0;
    in[2] = arg1;
    in[4] = word0;
    in[5] = word1;
    memset(out, 0xff, sizeof out);
    call_and_look(in, out);
    expect_none("registers after call", number & 0xffff, out, REGISTERS_OUT);
    return (int64_t)out[0];
}

static void serve(uint64_t argument)
{
    struct message m = {0};
    (void)argument;
    (void)ipc_recv(endpoint, reply, &m);
    for (;;)
        (void)ipc_reply_recv(endpoint, reply, &m);
}

static void read_address(uint64_t address)
{
    (void)*(volatile uint64_t *)address;
}

static void spin(uint64_t argument)
{
    while (work == argument)
        ;
}

KERNEL_TEST(calls_leave_no_kernel_address_in_registers)
{
    EXPECT(kernel_address(0xffff800000001000) && kernel_address(0xffffffff80201000));
    EXPECT(!kernel_address((uint64_t)STATUS_INVALID_SLOT) && !kernel_address(CELL_STACK_TOP));
    for (uint64_t number = 0; number < CALLS_END; number++) /* refused: there is no slot 0 */
        (void)call(number, 0, 0, 0, 0);
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0), copy = slot_new();
    EXPECT_EQ(call(CALL_cap_copy, copy, notification, RIGHTS_ALL, 0), STATUS_OK);
    EXPECT_EQ(call(CALL_cap_identify, copy, 0, 0, 0), STATUS_OK);
    EXPECT_EQ(call(CALL_cap_delete, copy, 0, 0, 0), STATUS_OK);
    EXPECT_EQ(call(CALL_cap_mint, copy, notification, RIGHT_SEND, 1), STATUS_OK);
    EXPECT_EQ(call(CALL_notification_signal, copy, 0, 0, 0), STATUS_OK);
    EXPECT_EQ(call(CALL_notification_wait, notification, DEADLINE_NEVER, 0, 0), STATUS_OK);
    EXPECT_EQ(call(CALL_notification_wait, notification, now_ns() + 10000, 0, 0), STATUS_TIMED_OUT);
    EXPECT_EQ(call(CALL_untyped_info, test_untyped, 0, 0, 0), STATUS_OK);
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    struct helper server = helper_start(serve, 0, PRIORITY_HIGH);
    EXPECT_EQ(call(CALL_ipc_call, endpoint, message_info(1, 4), 1, 2), STATUS_OK);
    EXPECT_EQ(call(CALL_ipc_call, endpoint, message_info(1, 5) | MESSAGE_ACCEPT, 1, 2),
              STATUS_INVALID_SLOT);
    EXPECT_EQ(call(CALL_ipc_call, endpoint, message_info(1, 5), 1, 2), STATUS_OK);
    for (uint64_t group = 0; group < REGISTERS_GROUP_COUNT; group++)
        EXPECT_EQ(call(CALL_thread_read_registers, server.thread, group, 0, 0), STATUS_OK);
    cap_slot_t context = object_new(OBJECT_SCHED_CONTEXT, 0);
    EXPECT_EQ(call(CALL_sched_context_info, context, 0, 0, 0), STATUS_OK);
    cap_slot_t segment = segment_new(1, RW);
    (void)call(CALL_segment_device_address, segment, 0, BOOT_SLOT_IOSPACE, 0);
    (void)call(CALL_irq_create_msi, BOOT_SLOT_IRQ_CONTROL, slot_new(), 0, 0);
}

KERNEL_TEST(faults_tell_no_kernel_address)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    struct helper helper =
        helper_start_in(read_address, test_address(), PRIORITY_HIGH, endpoint, 0);
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_EQ(message_label(m.info), LABEL_FAULT);
    expect_none("fault message", 0, m.words, MESSAGE_WORDS_MAX);
    uint64_t words[MESSAGE_WORDS_MAX];
    for (uint32_t group = 0; group < REGISTERS_GROUP_COUNT; group++) {
        EXPECT_OK(thread_read_registers(helper.thread, group, words));
        expect_none("registers that faulted", group, words, MESSAGE_WORDS_MAX);
    }
}

static void skip_fault(struct upcall_area *area, uint64_t events)
{
    if ((events & UPCALL_FAULT) != 0)
        area->frame.ip += READ_BYTES;
    work++;
}

KERNEL_TEST(upcalls_show_no_kernel_address)
{
    cap_slot_t segment = segment_new(1, RW);
    uint64_t address = test_address();
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
    struct upcall_area *area = (struct upcall_area *)address;
    upcall_open(area, skip_fault, stack + STACK_BYTES);
    EXPECT_OK(thread_set_upcall(BOOT_SLOT_THREAD, segment, 0, UPCALL_FAULT | UPCALL_QUANTUM));
    uint64_t in[REGISTERS_IN] = {0}, out[REGISTERS_OUT];
    work = 0;
    memset(out, 0xff, sizeof out);
    fault_and_look(in, out);
    EXPECT_EQ(work, 1);
    expect_none("registers after an upcall", 0, out, REGISTERS_OUT);
    expect_none("upcall area, fault", 0, (const uint64_t *)address, PAGE_BYTES / 8);
    EXPECT_OK(upcall_quantum(20000));
    spin(1);
    EXPECT_OK(upcall_quantum(0));
    expect_none("upcall area, quantum", 0, (const uint64_t *)address, PAGE_BYTES / 8);
    EXPECT_OK(thread_set_upcall(BOOT_SLOT_THREAD, 0, 0, 0));
}

KERNEL_TEST(trace_and_boot_pages_show_no_kernel_address)
{
    expect_none("boot page", 0, (const uint64_t *)boot, PAGE_BYTES / 8);
    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, true));
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    (void)helper_start_in(read_address, test_address(), PRIORITY_HIGH, endpoint, 0);
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    pause_ns(100000);
    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, false));
    uint64_t words[MESSAGE_WORDS_MAX], events = 0;
    for (uint64_t n = 0; trace_read(BOOT_SLOT_TRACE, 0, n, words) == STATUS_OK; n = words[0] + 1) {
        expect_none("trace event", words[0], words, MESSAGE_WORDS_MAX);
        events++;
    }
    EXPECT(events > 10);
}
