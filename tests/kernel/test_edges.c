// SPDX-License-Identifier: MIT OR Apache-2.0
/* What is refused and why; states in which calls meet; registers over calls; many of a kind. */
#include "tests/kernel/harness.h"

static cap_slot_t endpoint, reply, notification;
static volatile int64_t helper_status;
static volatile uint64_t helper_word;
static volatile uint32_t helper_count;

static void set_up(void)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    notification = object_new(OBJECT_NOTIFICATION, 0);
    helper_status = 1;
    helper_word = 0;
    helper_count = 0;
}

static void wait_for_signal(uint64_t unused)
{
    (void)unused;
    uint64_t word = 0;
    helper_status = notification_wait(notification, DEADLINE_NEVER, &word);
    helper_word = word;
    helper_count++;
}

static void receive_once(uint64_t unused)
{
    (void)unused;
    struct message m = {0};
    helper_status = ipc_recv(endpoint, reply, &m);
    helper_word = m.words[0];
    helper_count++;
}

static void call_once(uint64_t value)
{
    struct message m = {.info = message_info(1, 1), .words = {value}};
    helper_status = ipc_call(endpoint, &m);
    helper_word = m.words[0];
    helper_count++;
}

static void spin(uint64_t unused)
{
    (void)unused;
    for (;;)
        helper_count++;
}

/* ---- Registers over calls -------------------------------------------------------------------- */

void yield_with_registers(const uint64_t in[12], uint64_t out[12]);

KERNEL_TEST(a_call_keeps_every_other_register)
{
    static const uint64_t in[12] = {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    uint64_t out[12] = {0};
    yield_with_registers(in, out);
    for (uint32_t i = 0; i < 12; i++)
        EXPECT_EQ(out[i], in[i]);
}

/* How long a test sleeps before it looks again at threads of lower priority: far more than the
 * entry and the exit take, also where a checked kernel walks its invariants in them. */
#define PATIENCE_NS 2000000u

static void count_with_all_registers(uint64_t unused)
{
    (void)unused;
    uint64_t errors = 0;
    __asm__ volatile("movl $0x1111, %%ebx\n\tmovl $0x2222, %%r8d\n\tmovl $0x3333, %%r11d\n\t"
                     "movl $0x4444, %%r15d\n\tmovl $0x5555, %%ecx\n\tmovl $5000000, %%eax\n"
                     "1: cmpl $0x1111, %%ebx\n\tjne 2f\n\tcmpl $0x2222, %%r8d\n\tjne 2f\n\t"
                     "cmpl $0x3333, %%r11d\n\tjne 2f\n\tcmpl $0x4444, %%r15d\n\tjne 2f\n\t"
                     "cmpl $0x5555, %%ecx\n\tjne 2f\n\tdecl %%eax\n\tjnz 1b\n\tjmp 3f\n"
                     "2: movl $1, %k0\n3:"
                     : "+r"(errors)
                     :
                     : "rax", "rbx", "rcx", "r8", "r11", "r15", "cc");
    helper_status = (int64_t)errors;
    helper_count++;
}

KERNEL_TEST(interrupts_keep_every_register)
{
    set_up();
    (void)helper_start(count_with_all_registers, 0, PRIORITY_LOW);
    for (uint32_t i = 0; i < 2000 && helper_count == 0; i++)
        pause_ns(PATIENCE_NS);
    EXPECT_EQ(helper_count, 1);
    EXPECT_EQ(helper_status, 0);
}

static bool fsgsbase_offered(void)
{
    uint32_t eax = 7, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return (ebx & 1) != 0;
}

static volatile uint32_t base_errors;

static void bases_spin(uint64_t base)
{
    uint64_t fs = base, gs = base + 1;
    if (base != 0)
        __asm__ volatile("wrfsbase %0\n\twrgsbase %1" : : "r"(fs), "r"(gs));
    for (uint32_t i = 0; i < 200000; i++) {
        __asm__ volatile("pause\n\trdfsbase %0\n\trdgsbase %1" : "=r"(fs), "=r"(gs));
        if (fs != base || gs != (base == 0 ? 0 : base + 1))
            base_errors++;
    }
    helper_count++;
}

/* Each thread has its own FS and GS base, 0 until it writes them; the kernel switches them only for
 * threads that use them. */
KERNEL_TEST(preemption_keeps_the_bases)
{
    if (!fsgsbase_offered())
        return;
    set_up();
    base_errors = 0;
    struct helper first = helper_start(bases_spin, 0x1000, PRIORITY_LOW);
    (void)helper_start(bases_spin, 0x7f0000000000, PRIORITY_LOW);
    (void)helper_start(bases_spin, 0, PRIORITY_LOW);
    (void)helper_start(count_with_all_registers, 0, PRIORITY_LOW); /* uses none */
    for (uint32_t i = 0; i < 4000 && helper_count < 4; i++)
        pause_ns(PATIENCE_NS);
    EXPECT_EQ(helper_count, 4);
    EXPECT_EQ(base_errors, 0);
    EXPECT_OK(thread_suspend(first.thread));
    uint64_t control[8] = {0};
    EXPECT_OK(thread_read_registers(first.thread, REGISTERS_CONTROL, control));
    EXPECT_EQ(control[3], 0x1000);
    EXPECT_EQ(control[4], 0x1001);
}

static volatile uint32_t fpu_errors;

static void fpu_spin(uint64_t seed)
{
    uint64_t out;
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t in = seed + i;
        __asm__ volatile("movq %1, %%xmm3\n\tpause\n\tpaddq %%xmm3, %%xmm3\n\tmovq %%xmm3, %0"
                         : "=r"(out)
                         : "r"(in)
                         : "xmm3");
        if (out != 2 * in)
            fpu_errors++;
    }
    helper_count++;
}

KERNEL_TEST(preemption_keeps_the_fpu)
{
    set_up();
    fpu_errors = 0;
    (void)helper_start(fpu_spin, 1000, PRIORITY_LOW);
    (void)helper_start(fpu_spin, 500000, PRIORITY_LOW);
    for (uint32_t i = 0; i < 2000 && helper_count < 2; i++)
        pause_ns(PATIENCE_NS);
    EXPECT_EQ(helper_count, 2);
    EXPECT_EQ(fpu_errors, 0);
}

/* ---- Threads --------------------------------------------------------------------------------- */

KERNEL_TEST(an_active_thread_is_not_changed)
{
    set_up();
    struct helper helper = helper_start(wait_for_signal, 0, PRIORITY_HIGH);
    uint64_t words[8] = {0x400000, 0x500000, 0x202};
    EXPECT_EQ(thread_write_registers(helper.thread, REGISTERS_CONTROL, words), STATUS_BUSY);
    EXPECT_EQ(thread_configure(helper.thread, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, 0), STATUS_BUSY);
    EXPECT_EQ(thread_resume(helper.thread), STATUS_BUSY);
    EXPECT_OK(thread_read_registers(helper.thread, REGISTERS_CONTROL, words)); /* it waits */
    EXPECT_EQ(thread_read_registers(BOOT_SLOT_THREAD, REGISTERS_CONTROL, words), STATUS_BUSY);
    EXPECT_OK(notification_signal(minted(notification, RIGHT_SEND, 4)));
    EXPECT_EQ(helper_word, 4);
}

KERNEL_TEST(an_unconfigured_thread_does_not_run)
{
    cap_slot_t thread = object_new(OBJECT_THREAD, 0);
    EXPECT_EQ(thread_resume(thread), STATUS_INVALID_ARGUMENT);
    EXPECT_EQ(thread_configure(thread, BOOT_SLOT_ASPACE, BOOT_SLOT_ASPACE, 0), STATUS_WRONG_TYPE);
    EXPECT_EQ(thread_configure(thread, BOOT_SLOT_TABLE, BOOT_SLOT_TABLE, 0), STATUS_WRONG_TYPE);
    EXPECT_EQ(thread_configure(thread, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, BOOT_SLOT_TABLE),
              STATUS_WRONG_TYPE);
    EXPECT_EQ(thread_resume(thread), STATUS_INVALID_ARGUMENT);
}

KERNEL_TEST(threads_need_manage)
{
    struct helper helper = helper_new(spin, 0, PRIORITY_LOW);
    cap_slot_t closed = minted(helper.thread, RIGHTS_ALL & ~(uint32_t)RIGHT_MANAGE, 0);
    uint64_t words[8] = {0};
    EXPECT_EQ(thread_resume(closed), STATUS_NO_RIGHTS);
    EXPECT_EQ(thread_suspend(closed), STATUS_NO_RIGHTS);
    EXPECT_EQ(thread_set_priority(closed, BOOT_SLOT_SCHED_CONTROL, 1), STATUS_NO_RIGHTS);
    EXPECT_EQ(thread_read_registers(closed, REGISTERS_LOW, words), STATUS_NO_RIGHTS);
    EXPECT_EQ(thread_write_registers(closed, REGISTERS_LOW, words), STATUS_NO_RIGHTS);
    EXPECT_EQ(thread_configure(closed, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, 0), STATUS_NO_RIGHTS);
    EXPECT_EQ(thread_bind_notification(closed, 0), STATUS_NO_RIGHTS);
}

KERNEL_TEST(suspending_twice_is_no_error)
{
    set_up();
    struct helper helper = helper_start(wait_for_signal, 0, PRIORITY_HIGH);
    EXPECT_OK(thread_suspend(helper.thread));
    EXPECT_OK(thread_suspend(helper.thread));
    EXPECT_EQ(helper_count, 0);
    EXPECT_OK(thread_resume(helper.thread)); /* its wait was cancelled */
    EXPECT_EQ(helper_count, 1);
    EXPECT_EQ(helper_status, STATUS_CANCELLED);
}

KERNEL_TEST(raising_a_ready_thread_lets_it_run)
{
    set_up();
    struct helper helper = helper_start(call_once, 1, PRIORITY_LOW);
    struct message m = {.info = MESSAGE_DEADLINE};
    EXPECT(ipc_recv(endpoint, reply, &m) != STATUS_OK); /* it has not run yet */
    EXPECT_OK(thread_set_priority(helper.thread, BOOT_SLOT_SCHED_CONTROL, PRIORITY_HIGH));
    m = (struct message){.info = MESSAGE_DEADLINE};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
}

KERNEL_TEST(lowering_oneself_lets_others_run)
{
    set_up();
    (void)helper_start(call_once, 1, PRIORITY_LOW);
    EXPECT_OK(thread_set_priority(BOOT_SLOT_THREAD, BOOT_SLOT_SCHED_CONTROL, PRIORITY_LOW - 1));
    EXPECT_OK(thread_set_priority(BOOT_SLOT_THREAD, BOOT_SLOT_SCHED_CONTROL, PRIORITY_TEST));
    struct message m = {.info = MESSAGE_DEADLINE};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
}

KERNEL_TEST(a_deleted_running_thread_stops)
{
    set_up();
    struct helper helper = helper_start(spin, 0, PRIORITY_LOW);
    for (uint32_t i = 0; i < 1000 && helper_count == 0; i++)
        pause_ns(2000000);
    EXPECT(helper_count > 0);
    EXPECT_OK(destroy(helper.thread));
    uint32_t count = helper_count;
    pause_ns(2000000);
    EXPECT_EQ(helper_count, count);
}

KERNEL_TEST(a_thread_that_loses_its_table_can_do_nothing)
{
    set_up();
    cap_slot_t table = object_new(OBJECT_TABLE, 16);
    struct helper helper = helper_new(spin, 0, PRIORITY_LOW);
    EXPECT_OK(thread_configure(helper.thread, table, BOOT_SLOT_ASPACE, 0));
    EXPECT_OK(thread_resume(helper.thread));
    pause_ns(1000000);
    EXPECT_OK(revoke(table));
    EXPECT_OK(destroy(table));
    pause_ns(1000000);
    EXPECT_OK(thread_suspend(helper.thread));
}

/* ---- Messages -------------------------------------------------------------------------------- */

KERNEL_TEST(a_reply_object_serves_one_receive)
{
    set_up();
    (void)helper_start(receive_once, 0, PRIORITY_HIGH);
    struct message m = {0};
    EXPECT_EQ(ipc_recv(endpoint, reply, &m), STATUS_BUSY);
    m = (struct message){.info = message_info(1, 1), .words = {6}};
    EXPECT_OK(ipc_send(endpoint, &m));
    EXPECT_EQ(helper_word, 6);
}

KERNEL_TEST(a_reply_object_that_holds_a_caller_is_busy)
{
    set_up();
    (void)helper_start(call_once, 1, PRIORITY_HIGH);
    (void)helper_start(call_once, 2, PRIORITY_HIGH);
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_EQ(m.words[0], 1);
    m = (struct message){0};
    EXPECT_EQ(ipc_recv(endpoint, reply, &m), STATUS_BUSY);
    cap_slot_t second = object_new(OBJECT_REPLY, 0);
    m = (struct message){0};
    EXPECT_OK(ipc_recv(endpoint, second, &m));
    EXPECT_EQ(m.words[0], 2);
    m = (struct message){.info = message_info(0, 1), .words = {20}};
    EXPECT_OK(ipc_reply(second, &m)); /* out of order */
    EXPECT_EQ(helper_word, 20);
    m = (struct message){.info = message_info(0, 1), .words = {10}};
    EXPECT_OK(ipc_reply(reply, &m));
    EXPECT_EQ(helper_word, 10);
    EXPECT_EQ(helper_count, 2);
}

KERNEL_TEST(a_reply_carries_a_capability)
{
    set_up();
    (void)helper_start(receive_once, 0, PRIORITY_LOW);
    cap_slot_t accepted = slot_new();
    struct helper client = helper_new(call_once, 3, PRIORITY_HIGH);
    (void)client;
    (void)accepted;
    EXPECT_OK(thread_resume(client.thread));
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    /* The caller accepts none: the answer comes without it, and nothing is lost. */
    m = (struct message){.info = message_info(0, 1) | MESSAGE_CAP, .words = {30}};
    m.send_slot = notification;
    status_t status = ipc_reply(reply, &m);
    if (status != STATUS_OK) {
        m = (struct message){.info = message_info(0, 1), .words = {30}};
        EXPECT_OK(ipc_reply(reply, &m));
    }
    EXPECT_EQ(helper_word, 30);
    EXPECT_EQ(slot_type(notification), OBJECT_NOTIFICATION);
}

KERNEL_TEST(an_occupied_slot_accepts_nothing)
{
    set_up();
    struct message m = {.info = MESSAGE_ACCEPT | MESSAGE_DEADLINE};
    m.accept_slot = notification;
    EXPECT_EQ(ipc_recv(endpoint, reply, &m), STATUS_OCCUPIED_SLOT);
    m = (struct message){.info = MESSAGE_ACCEPT | MESSAGE_DEADLINE};
    m.accept_slot = boot->table_slots;
    EXPECT_EQ(ipc_recv(endpoint, reply, &m), STATUS_INVALID_SLOT);
}

KERNEL_TEST(a_server_is_preempted_by_its_higher_client)
{
    set_up();
    (void)helper_start(call_once, 9, PRIORITY_HIGH);
    struct message m = {0};
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    EXPECT_EQ(helper_count, 0);
    m = (struct message){.info = message_info(0, 0)};
    EXPECT_OK(ipc_reply(reply, &m));
    EXPECT_EQ(helper_count, 1); /* it ran before the call returned */
}

KERNEL_TEST(revoking_the_endpoint_of_a_server_at_work)
{
    set_up();
    cap_slot_t served = minted(endpoint, RIGHTS_ALL, 1);
    (void)helper_start(call_once, 9, PRIORITY_HIGH);
    struct message m = {0};
    EXPECT_OK(ipc_recv(served, reply, &m));
    EXPECT_OK(revoke(endpoint));
    EXPECT_OK(destroy(endpoint));
    m = (struct message){.info = message_info(0, 1), .words = {5}};
    EXPECT_OK(ipc_reply(reply, &m)); /* the reply object outlives the endpoint */
    EXPECT_EQ(helper_word, 5);
}

KERNEL_TEST(sending_to_oneself_times_out)
{
    set_up();
    struct message m = {.info = message_info(0, 0) | MESSAGE_DEADLINE};
    m.words[7] = now_ns() + 500000;
    EXPECT_EQ(ipc_call(endpoint, &m), STATUS_TIMED_OUT);
}

KERNEL_TEST(a_queue_of_many_senders)
{
    set_up();
    for (uint64_t i = 0; i < HELPERS_MAX; i++)
        (void)helper_start(call_once, i, PRIORITY_HIGH);
    for (uint64_t i = 0; i < HELPERS_MAX; i++) {
        struct message m = {0};
        EXPECT_OK(ipc_recv(endpoint, reply, &m));
        EXPECT_EQ(m.words[0], i);
        m = (struct message){.info = message_info(0, 1), .words = {i + 100}};
        EXPECT_OK(ipc_reply(reply, &m));
        EXPECT_EQ(helper_word, i + 100);
    }
    EXPECT_EQ(helper_count, HELPERS_MAX);
}

/* ---- Notifications --------------------------------------------------------------------------- */

KERNEL_TEST(a_notification_has_one_waiter)
{
    set_up();
    (void)helper_start(wait_for_signal, 0, PRIORITY_HIGH);
    uint64_t word;
    EXPECT_EQ(notification_wait(notification, now_ns() + 1000000, &word), STATUS_BUSY);
}

KERNEL_TEST(a_badge_of_zero_signals_nothing)
{
    set_up();
    EXPECT_EQ(notification_signal(notification), STATUS_INVALID_ARGUMENT);
}

KERNEL_TEST(rights_of_notifications)
{
    set_up();
    uint64_t word;
    EXPECT_EQ(notification_signal(minted(notification, RIGHT_RECEIVE, 1)), STATUS_NO_RIGHTS);
    EXPECT_EQ(notification_wait(minted(notification, RIGHT_SEND, 1), DEADLINE_NOW, &word),
              STATUS_NO_RIGHTS);
}

static void receive_with_bound(uint64_t unused)
{
    (void)unused;
    struct message m = {0};
    helper_status = ipc_recv(endpoint, reply, &m);
    helper_word = message_label(m.info) == LABEL_NOTIFICATION ? m.words[0] : 0;
    helper_count++;
}

KERNEL_TEST(a_bound_notification_wakes_a_receiver)
{
    set_up();
    struct helper helper = helper_new(receive_with_bound, 0, PRIORITY_HIGH);
    EXPECT_OK(thread_bind_notification(helper.thread, notification));
    EXPECT_OK(thread_resume(helper.thread));
    EXPECT_EQ(helper_count, 0);
    EXPECT_OK(notification_signal(minted(notification, RIGHT_SEND, 16)));
    EXPECT_EQ(helper_count, 1);
    EXPECT_EQ(helper_status, STATUS_OK);
    EXPECT_EQ(helper_word, 16);
}

static cap_slot_t timers[HELPERS_MAX];
static volatile uint32_t timed_out;

static void sleep_some(uint64_t i)
{
    uint64_t word;
    time_ns_t due = now_ns() + 200000 + i * 37000;
    for (uint32_t round = 0; round < 5; round++, due += 150000)
        if (notification_wait(timers[i], due, &word) == STATUS_TIMED_OUT && now_ns() >= due)
            timed_out++;
}

KERNEL_TEST(many_timers)
{
    timed_out = 0;
    for (uint32_t i = 0; i < HELPERS_MAX; i++)
        timers[i] = object_new(OBJECT_NOTIFICATION, 0);
    for (uint32_t i = 0; i < HELPERS_MAX; i++)
        (void)helper_start(sleep_some, i, PRIORITY_HIGH);
    for (uint32_t i = 0; i < 200 && timed_out < 5 * HELPERS_MAX; i++)
        pause_ns(500000);
    EXPECT_EQ(timed_out, 5 * HELPERS_MAX);
}

KERNEL_TEST(a_far_deadline_and_an_early_signal)
{
    set_up();
    cap_slot_t signal = minted(notification, RIGHT_SEND, 2);
    uint64_t word = 0;
    EXPECT_OK(notification_signal(signal));
    EXPECT_OK(notification_wait(notification, DEADLINE_NEVER - 1, &word));
    EXPECT_EQ(word, 2);
    (void)helper_start(wait_for_signal, 0, PRIORITY_HIGH);
    EXPECT_OK(notification_signal(signal));
    EXPECT_EQ(helper_count, 1);
}

KERNEL_TEST(time_never_goes_back)
{
    time_ns_t last = now_ns();
    for (uint32_t i = 0; i < 10000; i++) {
        time_ns_t next = now_ns();
        EXPECT(next >= last);
        last = next;
    }
}
