// SPDX-License-Identifier: MIT OR Apache-2.0
/* Threads, priorities, notifications, time, faults, the FPU. */
#include "tests/kernel/harness.h"

#define VECTOR_BREAKPOINT 3u
#define VECTOR_INVALID_OPCODE 6u
#define VECTOR_PAGE_FAULT 14u
/* The last window that an address space offers, below the highest of the user half. */
#define USER_TOP_SEGMENT (0x800000000000ull - 2 * SEGMENT_BYTES)

static volatile uint64_t counter;
static volatile uint32_t order[16];
static volatile uint32_t order_count;
static cap_slot_t notification, endpoint, reply;

static void note(uint64_t value)
{
    if (order_count < 16)
        order[order_count++] = (uint32_t)value;
}

static void count_up(uint64_t by)
{
    counter += by;
}

/* ---- Threads --------------------------------------------------------------------------------- */

KERNEL_TEST(a_thread_starts_suspends_and_goes_on)
{
    counter = 0;
    struct helper helper = helper_new(count_up, 5, PRIORITY_HIGH);
    EXPECT_EQ(counter, 0);
    EXPECT_OK(thread_resume(helper.thread));
    EXPECT_EQ(counter, 5);
    uint64_t words[8];
    EXPECT_OK(thread_read_registers(helper.thread, REGISTERS_CONTROL, words));
    EXPECT(words[0] >= CELL_PROGRAM_ADDRESS && words[0] < CELL_STACK_TOP);
}

KERNEL_TEST(registers_are_written_and_read)
{
    struct helper helper = helper_new(count_up, 0, PRIORITY_LOW);
    for (uint32_t group = REGISTERS_LOW; group <= REGISTERS_HIGH; group++) {
        uint64_t in[8], out[8];
        uint32_t used = group == REGISTERS_LOW ? 7 : 8;
        for (uint32_t i = 0; i < 8; i++)
            in[i] = 0x1111 * (i + 1) + group;
        EXPECT_OK(thread_write_registers(helper.thread, group, in));
        EXPECT_OK(thread_read_registers(helper.thread, group, out));
        for (uint32_t i = 0; i < used; i++)
            EXPECT_EQ(out[i], in[i]);
    }
    uint64_t control[8] = {0x400000, 0x500000, ~0ull, 0x1000, 0x2000};
    EXPECT_OK(thread_write_registers(helper.thread, REGISTERS_CONTROL, control));
    EXPECT_OK(thread_read_registers(helper.thread, REGISTERS_CONTROL, control));
    EXPECT_EQ(control[0], 0x400000);
    EXPECT_EQ(control[2] & 0x3000, 0); /* no I/O privilege */
    EXPECT_EQ(control[2] & 0x200, 0x200);
    EXPECT_EQ(control[3], 0x1000);
    EXPECT_EQ(control[4], 0x2000);
    EXPECT_EQ(thread_read_registers(helper.thread, REGISTERS_GROUP_COUNT, control),
              STATUS_INVALID_ARGUMENT);
}

KERNEL_TEST(kernel_addresses_are_no_start)
{
    struct helper helper = helper_new(count_up, 0, PRIORITY_LOW);
    uint64_t control[8] = {0xffffffff80000000ull, 0x500000, 0x202};
    EXPECT_EQ(thread_write_registers(helper.thread, REGISTERS_CONTROL, control),
              STATUS_INVALID_ARGUMENT);
    uint64_t base[8] = {0x400000, 0x500000, 0x202, 0x8000000000000000ull};
    EXPECT_EQ(thread_write_registers(helper.thread, REGISTERS_CONTROL, base),
              STATUS_INVALID_ARGUMENT);
}

static void read_bases(uint64_t which)
{
    uint64_t value;
    if (which == 0)
        __asm__ volatile("mov %%fs:0, %0" : "=r"(value));
    else
        __asm__ volatile("mov %%gs:0, %0" : "=r"(value));
    counter = value;
}

KERNEL_TEST(fs_and_gs_base_belong_to_the_thread)
{
    static uint64_t one = 111, two = 222;
    for (uint64_t which = 0; which < 2; which++) {
        struct helper helper = helper_new(read_bases, which, PRIORITY_HIGH);
        uint64_t control[8];
        EXPECT_OK(thread_read_registers(helper.thread, REGISTERS_CONTROL, control));
        control[3] = (uint64_t)&one;
        control[4] = (uint64_t)&two;
        EXPECT_OK(thread_write_registers(helper.thread, REGISTERS_CONTROL, control));
        EXPECT_OK(thread_resume(helper.thread));
        EXPECT_EQ(counter, which == 0 ? 111 : 222);
    }
}

/* ---- Priorities ------------------------------------------------------------------------------ */

KERNEL_TEST(a_higher_thread_runs_at_once)
{
    order_count = 0;
    (void)helper_start(note, 1, PRIORITY_HIGH);
    note(2);
    EXPECT_EQ(order_count, 2);
    EXPECT_EQ(order[0], 1);
}

KERNEL_TEST(a_lower_thread_runs_when_nobody_else_does)
{
    order_count = 0;
    (void)helper_start(note, 1, PRIORITY_LOW);
    note(2);
    let_others_run();
    EXPECT_EQ(order_count, 2);
    EXPECT_EQ(order[0], 2);
    EXPECT_EQ(order[1], 1);
}

KERNEL_TEST(the_highest_waiting_thread_goes_first)
{
    order_count = 0;
    (void)helper_start(note, 1, PRIORITY_LOW);
    (void)helper_start(note, 2, PRIORITY_LOW + 2);
    (void)helper_start(note, 3, PRIORITY_LOW + 1);
    let_others_run();
    EXPECT_EQ(order[0], 2);
    EXPECT_EQ(order[1], 3);
    EXPECT_EQ(order[2], 1);
}

static void note_and_yield(uint64_t value)
{
    for (uint32_t i = 0; i < 3; i++) {
        note(value);
        (void)yield();
    }
}

KERNEL_TEST(yield_goes_round)
{
    order_count = 0;
    (void)helper_start(note_and_yield, 1, PRIORITY_LOW);
    (void)helper_start(note_and_yield, 2, PRIORITY_LOW);
    let_others_run();
    EXPECT_EQ(order_count, 6);
    /* A slow host's timer may come in between, but no yield comes back to the one that yielded. */
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 6; i++)
        sum += order[i];
    EXPECT_EQ(sum, 9);
    EXPECT(order[0] != order[2] || order[0] != order[1]);
}

static void spin_for_ever(uint64_t unused)
{
    (void)unused;
    for (;;)
        counter++;
}

KERNEL_TEST(a_spinning_thread_shares_its_priority)
{
    counter = 0;
    order_count = 0;
    (void)helper_start(spin_for_ever, 0, PRIORITY_LOW);
    (void)helper_start(note, 7, PRIORITY_LOW);
    cap_slot_t never = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t word;
    for (uint32_t i = 0; i < 1000 && order_count == 0; i++)
        (void)notification_wait(never, now_ns() + 10000000, &word);
    EXPECT_EQ(order_count, 1);
    EXPECT(counter > 0);
}

KERNEL_TEST(priorities_stay_below_the_control)
{
    struct helper helper = helper_new(note, 1, PRIORITY_LOW);
    cap_slot_t low = minted(BOOT_SLOT_SCHED_CONTROL, RIGHTS_ALL, 60);
    EXPECT_OK(thread_set_priority(helper.thread, low, 60));
    EXPECT(thread_set_priority(helper.thread, low, 61) != STATUS_OK);
    EXPECT(thread_set_priority(helper.thread, BOOT_SLOT_SCHED_CONTROL, 256) != STATUS_OK);
    EXPECT_EQ(thread_set_priority(helper.thread, BOOT_SLOT_TABLE, 3), STATUS_WRONG_TYPE);
}

/* ---- Notifications --------------------------------------------------------------------------- */

KERNEL_TEST(signals_are_kept_and_joined)
{
    notification = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t word = 9;
    EXPECT_OK(notification_signal(minted(notification, RIGHT_SEND, 1)));
    EXPECT_OK(notification_signal(minted(notification, RIGHT_SEND, 4)));
    EXPECT_OK(notification_wait(notification, DEADLINE_NEVER, &word));
    EXPECT_EQ(word, 5);
    status_t status = notification_wait(notification, DEADLINE_NOW, &word);
    EXPECT(status == STATUS_TIMED_OUT || status == STATUS_WOULD_BLOCK);
}

static void wait_and_note(uint64_t unused)
{
    (void)unused;
    uint64_t word = 0;
    (void)notification_wait(notification, DEADLINE_NEVER, &word);
    note(word);
}

KERNEL_TEST(a_signal_wakes_the_waiter)
{
    order_count = 0;
    notification = object_new(OBJECT_NOTIFICATION, 0);
    (void)helper_start(wait_and_note, 0, PRIORITY_HIGH);
    EXPECT_EQ(order_count, 0);
    EXPECT_OK(notification_signal(minted(notification, RIGHT_SEND, 8)));
    EXPECT_EQ(order_count, 1);
    EXPECT_EQ(order[0], 8);
}

KERNEL_TEST(waits_end_in_order_of_their_deadlines)
{
    cap_slot_t never = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t word;
    for (uint32_t i = 0; i < 20; i++) {
        time_ns_t due = now_ns() + 100000 + (i * 7919 % 13) * 50000;
        EXPECT_EQ(notification_wait(never, due, &word), STATUS_TIMED_OUT);
        EXPECT(now_ns() >= due);
    }
}

static cap_slot_t sleepers[3];
static time_ns_t sleep_base;

static void sleep_and_note(uint64_t i)
{
    uint64_t word;
    (void)notification_wait(sleepers[i], sleep_base + (3 - i) * 50000000, &word);
    note(i);
}

KERNEL_TEST(several_sleepers)
{
    order_count = 0;
    for (uint32_t i = 0; i < 3; i++)
        sleepers[i] = object_new(OBJECT_NOTIFICATION, 0);
    sleep_base = now_ns();
    for (uint32_t i = 0; i < 3; i++)
        (void)helper_start(sleep_and_note, i, PRIORITY_HIGH);
    cap_slot_t never = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t word;
    (void)notification_wait(never, sleep_base + 200000000, &word);
    EXPECT_EQ(order_count, 3);
    EXPECT_EQ(order[0], 2);
    EXPECT_EQ(order[2], 0);
}

KERNEL_TEST(a_bound_notification_ends_a_receive)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    notification = object_new(OBJECT_NOTIFICATION, 0);
    EXPECT_OK(thread_bind_notification(BOOT_SLOT_THREAD, notification));
    EXPECT_OK(notification_signal(minted(notification, RIGHT_SEND, 2)));
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_EQ(message_label(m.info), LABEL_NOTIFICATION);
    EXPECT_EQ(m.words[0], 2);
    EXPECT_OK(thread_bind_notification(BOOT_SLOT_THREAD, 0));
}

KERNEL_TEST(deleting_a_notification_cancels_its_waiter)
{
    order_count = 0;
    notification = object_new(OBJECT_NOTIFICATION, 0);
    (void)helper_start(wait_and_note, 0, PRIORITY_HIGH);
    EXPECT_OK(destroy(notification));
    EXPECT_EQ(order_count, 1);
}

/* ---- Faults ---------------------------------------------------------------------------------- */

static void touch(uint64_t address)
{
    counter = *(volatile uint64_t *)address + 1;
}

static void execute_invalid(uint64_t unused)
{
    (void)unused;
    __asm__ volatile("ud2");
}

static void breakpoint(uint64_t unused)
{
    (void)unused;
    __asm__ volatile("int3");
    counter = 77;
}

static void privileged(uint64_t unused)
{
    (void)unused;
    __asm__ volatile("cli");
}

static void fault_set_up(void)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    counter = 0;
}

/* Starts a faulty helper and receives its fault. */
static struct helper fault_of(void (*entry)(uint64_t), uint64_t argument, struct message *m)
{
    fault_set_up();
    struct helper helper =
        helper_start_in(entry, argument, PRIORITY_HIGH, minted(endpoint, RIGHTS_ALL, 31), 0);
    *m = (struct message){0};
    EXPECT_OK(ipc_recv(endpoint, reply, m));
    EXPECT_EQ(message_label(m->info), LABEL_FAULT);
    EXPECT_EQ(m->badge, 31);
    return helper;
}

KERNEL_TEST(a_page_fault_is_handled_and_resumed)
{
    struct message m;
    uint64_t address = test_address();
    (void)fault_of(touch, address + 0x18, &m);
    EXPECT_EQ(m.words[FAULT_WORD_VECTOR], VECTOR_PAGE_FAULT);
    EXPECT_EQ(m.words[FAULT_WORD_ADDRESS], address + 0x18);
    EXPECT_EQ(m.words[FAULT_WORD_ERROR], 4); /* user, read, not present */
    cap_slot_t segment = segment_new(1, RIGHT_READ | RIGHT_WRITE);
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RIGHT_READ | RIGHT_WRITE));
    *(volatile uint64_t *)(address + 0x18) = 41;
    m = (struct message){0};
    EXPECT_OK(ipc_reply(reply, &m));
    EXPECT_EQ(counter, 42);
}

KERNEL_TEST(an_invalid_instruction_is_a_fault)
{
    struct message m;
    struct helper helper = fault_of(execute_invalid, 0, &m);
    EXPECT_EQ(m.words[FAULT_WORD_VECTOR], VECTOR_INVALID_OPCODE);
    uint64_t control[8];
    EXPECT_OK(thread_read_registers(helper.thread, REGISTERS_CONTROL, control));
    EXPECT_EQ(control[0], m.words[FAULT_WORD_IP]);
    EXPECT_EQ(control[1], m.words[FAULT_WORD_SP]);
}

KERNEL_TEST(a_breakpoint_is_a_fault_and_goes_on)
{
    struct message m;
    (void)fault_of(breakpoint, 0, &m);
    EXPECT_EQ(m.words[FAULT_WORD_VECTOR], VECTOR_BREAKPOINT);
    m = (struct message){0};
    EXPECT_OK(ipc_reply(reply, &m));
    EXPECT_EQ(counter, 77);
}

KERNEL_TEST(user_mode_is_confined)
{
    struct message m;
    (void)fault_of(privileged, 0, &m);
    EXPECT_EQ(m.words[FAULT_WORD_VECTOR], 13);
    (void)fault_of(touch, 0xffffffff80201000ull, &m); /* the kernel's code, unless it was moved */
    EXPECT_EQ(m.words[FAULT_WORD_VECTOR], VECTOR_PAGE_FAULT);
    (void)fault_of(touch, 0xffff800000100000ull, &m); /* its window on memory */
    EXPECT_EQ(m.words[FAULT_WORD_VECTOR], VECTOR_PAGE_FAULT);
    (void)fault_of(touch, 0x800000000000ull, &m); /* no canonical address */
    EXPECT_EQ(m.words[FAULT_WORD_VECTOR], 13);
}

KERNEL_TEST(a_fault_without_handler_stops_the_thread)
{
    counter = 0;
    print("(the report that follows is wanted)\n");
    struct helper helper = helper_start(touch, 0x10, PRIORITY_HIGH);
    EXPECT_EQ(counter, 0);
    uint64_t words[8];
    EXPECT_OK(thread_read_registers(helper.thread, REGISTERS_CONTROL, words));
}

/* The window at the end of the CPU's user half is never shown: `syscall` in its last two bytes
 * would return to an address that SYSRET faults on in ring 0. In the last window before it, the
 * next instruction's address is one that user code may try to execute. */
KERNEL_TEST(a_system_call_at_the_edge_is_survived)
{
    uint64_t address = USER_TOP_SEGMENT;
    cap_slot_t segment = segment_new(0, 0);
    status_t status;
    do
        status = segment_populate(segment, 511, 1, test_untyped, RIGHT_READ | RIGHT_WRITE);
    while (status == STATUS_AGAIN);
    EXPECT_OK(status);
    uint32_t rights = RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE;
    EXPECT_EQ(attach(segment, BOOT_SLOT_ASPACE, address + SEGMENT_BYTES, rights),
              STATUS_INVALID_ARGUMENT);
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, rights));
    uint8_t *last = (uint8_t *)(address + SEGMENT_BYTES - 2);
    last[0] = 0x0f;
    last[1] = 0x05;
    EXPECT_OK(segment_protect(segment, 511, 1, RIGHT_READ | RIGHT_EXECUTE));
    fault_set_up();
    struct helper helper = helper_new(touch, 0, PRIORITY_HIGH);
    EXPECT_OK(thread_configure(helper.thread, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE,
                               minted(endpoint, RIGHTS_ALL, 1)));
    uint64_t control[8] = {(uint64_t)last, CELL_STACK_TOP - 64, 0x202};
    EXPECT_OK(thread_write_registers(helper.thread, REGISTERS_CONTROL, control));
    EXPECT_OK(thread_resume(helper.thread));
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_EQ(m.words[FAULT_WORD_VECTOR], VECTOR_PAGE_FAULT);
    EXPECT_EQ(m.words[FAULT_WORD_IP], address + SEGMENT_BYTES);
}

/* ---- FPU ------------------------------------------------------------------------------------- */

static volatile uint32_t fpu_errors;

static void fpu_user(uint64_t seed)
{
    uint64_t out;
    for (uint64_t i = 0; i < 50; i++) {
        uint64_t in = seed * 1000 + i;
        register uint64_t call __asm__("rax") = CALL_yield;
        __asm__ volatile("movq %1, %%xmm7\n\tmovq %1, %%xmm15\n\tsyscall\n\t"
                         "paddq %%xmm7, %%xmm15\n\tmovq %%xmm15, %0"
                         : "=r"(out), "+r"(in), "+r"(call)
                         :
                         : "xmm7", "xmm15", "rcx", "r11", "memory");
        if (out != 2 * in)
            fpu_errors++;
    }
    counter++;
}

KERNEL_TEST(fpu_registers_belong_to_the_thread)
{
    fpu_errors = 0;
    counter = 0;
    for (uint64_t i = 0; i < 4; i++)
        (void)helper_start(fpu_user, i + 1, PRIORITY_LOW);
    let_others_run();
    EXPECT_EQ(counter, 4);
    EXPECT_EQ(fpu_errors, 0);
}

static volatile uint32_t first_mxcsr;

static void read_mxcsr(uint64_t unused)
{
    (void)unused;
    uint32_t value;
    __asm__ volatile("stmxcsr %0" : "=m"(value));
    first_mxcsr = value;
}

KERNEL_TEST(a_new_thread_has_a_clean_fpu)
{
    uint32_t odd = 0x9fc0; /* flush to zero, denormals are zero */
    uint32_t normal = 0x1f80;
    __asm__ volatile("ldmxcsr %0" : : "m"(odd));
    (void)helper_start(read_mxcsr, 0, PRIORITY_HIGH);
    uint32_t mine;
    __asm__ volatile("stmxcsr %0" : "=m"(mine));
    __asm__ volatile("ldmxcsr %0" : : "m"(normal));
    EXPECT_EQ(first_mxcsr, 0x1f80);
    EXPECT_EQ(mine, 0x9fc0);
}

static volatile uint64_t flags_after;

static void odd_flags(uint64_t unused)
{
    (void)unused;
    uint64_t flags;
    /* Nested task and alignment check set by user code must not trip the kernel. */
    __asm__ volatile("pushfq\n\torq $0x44000, (%%rsp)\n\tpopfq\n\tmovl $0, %%eax\n\tsyscall\n\t"
                     "pushfq\n\tpopq %0\n\tpushq $0x202\n\tpopfq"
                     : "=r"(flags)
                     :
                     : "rax", "rcx", "r11", "memory");
    flags_after = flags;
}

KERNEL_TEST(odd_flags_do_no_harm)
{
    flags_after = 0;
    (void)helper_start(odd_flags, 0, PRIORITY_HIGH);
    EXPECT(flags_after != 0);
    EXPECT_EQ(flags_after & 0x3000, 0);
}
