// SPDX-License-Identifier: MIT OR Apache-2.0
/* What is refused and why; states in which calls meet; registers over calls; many of a kind. */
#include "lib/base/bytes.h"
#include "tests/kernel/harness.h"
#include "tests/kernel/hpet.h"

#define RW (RIGHT_READ | RIGHT_WRITE)

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

static void pause_ns(time_ns_t ns)
{
    uint64_t word;
    (void)notification_wait(object_new(OBJECT_NOTIFICATION, 0), now_ns() + ns, &word);
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
    for (uint32_t i = 0; i < 20000 && helper_count == 0; i++)
        pause_ns(50000);
    EXPECT_EQ(helper_count, 1);
    EXPECT_EQ(helper_status, 0);
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
        pause_ns(100000);
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

/* ---- Memory ---------------------------------------------------------------------------------- */

KERNEL_TEST(page_tables_with_something_in_them_stay)
{
    cap_slot_t aspace = object_new(OBJECT_ASPACE, 0);
    cap_slot_t directory = object_new(OBJECT_PAGE_TABLE, 0),
               table = object_new(OBJECT_PAGE_TABLE, 0);
    uint64_t address = 0x10000000000ull;
    EXPECT_OK(aspace_map_table(aspace, directory, address));
    EXPECT_OK(aspace_map_table(aspace, table, address));
    EXPECT_EQ(aspace_map_table(aspace, object_new(OBJECT_PAGE_TABLE, 0), address),
              STATUS_ALREADY_MAPPED);
    EXPECT_EQ(aspace_map_table(aspace, table, address + SEGMENT_BYTES), STATUS_BUSY);
    EXPECT_EQ(aspace_unmap_table(directory), STATUS_BUSY);
    EXPECT_OK(aspace_unmap_table(table));
    EXPECT_OK(aspace_unmap_table(directory));
    EXPECT_EQ(aspace_unmap_table(directory), STATUS_NOT_MAPPED);
    EXPECT(aspace_map_table(aspace, table, 0x800000000000ull) != STATUS_OK);
}

KERNEL_TEST(an_address_space_dies_with_everything_in_it)
{
    cap_slot_t aspace = object_new(OBJECT_ASPACE, 0);
    cap_slot_t segment = segment_new(3, RW);
    for (uint32_t i = 0; i < 12; i++)
        EXPECT_OK(attach(segment, aspace, (uint64_t)i << 32, RIGHT_READ));
    EXPECT_OK(destroy(aspace));
    EXPECT_OK(destroy(segment));
}

KERNEL_TEST(a_page_table_takes_its_attachments_along)
{
    cap_slot_t aspace = object_new(OBJECT_ASPACE, 0);
    cap_slot_t directory = object_new(OBJECT_PAGE_TABLE, 0),
               table = object_new(OBJECT_PAGE_TABLE, 0);
    cap_slot_t segment = segment_new(1, RW);
    EXPECT_OK(aspace_map_table(aspace, directory, 0));
    EXPECT_OK(aspace_map_table(aspace, table, 0));
    for (uint32_t i = 0; i < 40; i++)
        EXPECT_OK(segment_attach(segment, aspace, (uint64_t)i * SEGMENT_BYTES, RW));
    EXPECT_OK(destroy(table));
    EXPECT_EQ(segment_detach(segment, aspace, 0), STATUS_NOT_MAPPED);
    EXPECT_EQ(segment_attach(segment, aspace, 0, RW), STATUS_MISSING_TABLE);
}

KERNEL_TEST(a_full_segment)
{
    cap_slot_t segment = segment_new(SEGMENT_PAGES, RW);
    uint64_t address = test_address();
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
    memset((void *)address, 0x77, SEGMENT_BYTES);
    EXPECT_EQ(*(volatile uint8_t *)(address + SEGMENT_BYTES - 1), 0x77);
    for (uint32_t page = 0; page < SEGMENT_PAGES; page += POPULATE_PAGES_MAX)
        EXPECT_OK(segment_protect(segment, page, POPULATE_PAGES_MAX, RIGHT_READ));
}

KERNEL_TEST(frames_come_from_the_segments_own_memory)
{
    cap_slot_t first = object_new(OBJECT_UNTYPED, 0x40000);
    cap_slot_t second = object_new(OBJECT_UNTYPED, 0x40000);
    cap_slot_t segment = slot_new();
    EXPECT_OK(retype(first, (struct retype_request){OBJECT_SEGMENT, 0, segment, 1}));
    EXPECT(segment_populate(segment, 0, 1, second, RW) != STATUS_OK);
    status_t status;
    do
        status = segment_populate(segment, 0, 1, first, RW);
    while (status == STATUS_AGAIN);
    EXPECT_OK(status);
}

KERNEL_TEST(device_memory_keeps_its_bounds)
{
    const struct boot_range *range = &boot->device_memory[0];
    cap_slot_t segment = object_new(OBJECT_SEGMENT, 0), part = slot_new();
    struct device_pages pages = {0, 1, range->slot, range->bytes, RIGHT_READ};
    EXPECT(segment_populate_device(segment, pages) != STATUS_OK);
    pages.offset = 100;
    EXPECT(segment_populate_device(segment, pages) != STATUS_OK);
    pages.offset = 0;
    pages.rights = RIGHT_READ | RIGHT_EXECUTE;
    EXPECT(segment_populate_device(segment, pages) != STATUS_OK);
    EXPECT_OK(
        range_derive(part, range->slot,
                     (struct range_request){range->base + PAGE_BYTES, PAGE_BYTES, RIGHT_READ}));
    pages = (struct device_pages){0, 1, part, 0, RW};
    EXPECT_EQ(segment_populate_device(segment, pages), STATUS_NO_RIGHTS);
    pages = (struct device_pages){0, 2, part, 0, RIGHT_READ};
    EXPECT(segment_populate_device(segment, pages) != STATUS_OK);
    pages.count = 1;
    EXPECT_OK(segment_populate_device(segment, pages));
    uint64_t address;
    EXPECT(segment_device_address(segment, 0, BOOT_SLOT_IOSPACE, &address) != STATUS_OK);
    EXPECT(range_derive(slot_new(), range->slot,
                        (struct range_request){range->base, range->bytes + PAGE_BYTES,
                                               RIGHT_READ}) != STATUS_OK);
    EXPECT(range_derive(slot_new(), range->slot,
                        (struct range_request){range->base, 100, RIGHT_READ}) != STATUS_OK);
}

KERNEL_TEST(revocation_of_a_large_tree)
{
    cap_slot_t pool = object_new(OBJECT_UNTYPED, 0x400000);
    cap_slot_t first = next_slots(512);
    for (uint32_t i = 0; i < 512; i += RETYPE_COUNT_MAX)
        EXPECT_OK(retype(pool, (struct retype_request){i % 32 ? OBJECT_THREAD : OBJECT_ENDPOINT, 0,
                                                       first + i, RETYPE_COUNT_MAX}));
    EXPECT_OK(revoke(pool));
    for (uint32_t i = 0; i < 512; i++)
        EXPECT_EQ(slot_type(first + i), OBJECT_NONE);
    EXPECT_OK(reset(pool));
}

KERNEL_TEST(nested_untyped_memory_is_revoked)
{
    cap_slot_t outer = object_new(OBJECT_UNTYPED, 0x200000), inner = slot_new(), table = slot_new();
    EXPECT_OK(retype(outer, (struct retype_request){OBJECT_UNTYPED, 0x100000, inner, 1}));
    EXPECT_OK(retype(inner, (struct retype_request){OBJECT_TABLE, 64, table, 1}));
    for (uint32_t i = 1; i < 60; i++)
        EXPECT_OK(retype(inner, (struct retype_request){OBJECT_ENDPOINT, 0, cap_ref(table, i), 1}));
    EXPECT_OK(revoke(outer));
    EXPECT_EQ(slot_type(inner), OBJECT_NONE);
    EXPECT_EQ(slot_type(table), OBJECT_NONE);
    EXPECT_OK(reset(outer));
}

/* ---- Interrupts, console --------------------------------------------------------------------- */

KERNEL_TEST(a_pin_has_one_handler)
{
    cap_slot_t first = slot_new(), second = slot_new();
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, first, 22, IRQ_LEVEL | IRQ_ACTIVE_LOW));
    EXPECT_EQ(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, second, 22, 0), STATUS_IN_USE);
    EXPECT_EQ(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, second, 21, 0x80), STATUS_INVALID_ARGUMENT);
    EXPECT_OK(destroy(first));
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, second, 22, 0));
}

KERNEL_TEST(message_vectors_run_out_and_come_back)
{
    cap_slot_t first = next_slots(256);
    uint64_t values[2];
    uint32_t made = 0;
    for (uint32_t round = 0; round < 2; round++) {
        made = 0;
        while (made < 256 &&
               irq_create_msi(BOOT_SLOT_IRQ_CONTROL, first + made, values) == STATUS_OK)
            made++;
        EXPECT(made > 100 && made < 256);
        EXPECT_EQ(irq_create_msi(BOOT_SLOT_IRQ_CONTROL, first + made, values), STATUS_NO_MEMORY);
        for (uint32_t i = 0; i < made; i++)
            EXPECT_OK(destroy(first + i));
    }
}

KERNEL_TEST(a_deleted_handler_hears_nothing)
{
    volatile uint64_t *hpet = hpet_map();
    uint32_t gsi = hpet == NULL ? 0 : hpet_pin(hpet);
    if (gsi == 0)
        return test_skip("no HPET pin");
    set_up();
    cap_slot_t irq = slot_new();
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, irq, gsi, 0));
    EXPECT_OK(irq_bind(irq, minted(notification, RIGHT_SEND, 1)));
    EXPECT_OK(destroy(irq));
    hpet_fire_soon(hpet, (uint64_t)gsi << HPET_ROUTE_SHIFT);
    uint64_t word;
    EXPECT_EQ(notification_wait(notification, now_ns() + 5000000, &word), STATUS_TIMED_OUT);
    hpet_stop(hpet);
}

KERNEL_TEST(a_notification_dies_under_its_handler)
{
    volatile uint64_t *hpet = hpet_map();
    uint32_t gsi = hpet == NULL ? 0 : hpet_pin(hpet);
    if (gsi == 0)
        return test_skip("no HPET pin");
    set_up();
    cap_slot_t irq = slot_new();
    EXPECT_OK(irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, irq, gsi, 0));
    EXPECT_OK(irq_bind(irq, minted(notification, RIGHT_SEND, 1)));
    EXPECT_OK(revoke(notification));
    EXPECT_OK(destroy(notification));
    hpet_fire_soon(hpet, (uint64_t)gsi << HPET_ROUTE_SHIFT);
    pause_ns(2000000);
    hpet_stop(hpet);
    EXPECT_EQ(irq_ack(irq), STATUS_NOT_MAPPED);
}

KERNEL_TEST(the_console_takes_64_bytes)
{
    uint64_t words[MESSAGE_WORDS_MAX] = {0};
    EXPECT_EQ(console_write(BOOT_SLOT_CONSOLE, 65, words), STATUS_INVALID_ARGUMENT);
    EXPECT_OK(console_write(BOOT_SLOT_CONSOLE, 0, words));
    cap_slot_t closed = minted(BOOT_SLOT_CONSOLE, RIGHT_READ, 0);
    EXPECT_EQ(console_write(closed, 0, words), STATUS_NO_RIGHTS);
    EXPECT_OK(cap_delete(closed));
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
