// SPDX-License-Identifier: MIT OR Apache-2.0
/* Upcalls with the library's own entry and resume code (runtime/upcall.h). */
#include "runtime/upcall.h"

#include "lib/base/bytes.h"
#include "tests/kernel/harness.h"

#define RW (RIGHT_READ | RIGHT_WRITE)
#define STACK_BYTES 8192u

static uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
static struct upcall_area *area;
static cap_slot_t area_segment;
static volatile uint64_t seen[4]; /* how often each event came */
static volatile uint64_t work;
static uint64_t skip_bytes;

uint64_t upcall_test_spin(volatile uint64_t *until, uint64_t value);
uint64_t upcall_test_foreign(uint64_t number, uint64_t argument);

static void count(struct upcall_area *at, uint64_t events)
{
    for (uint32_t i = 0; i < 4; i++)
        seen[i] += events >> i & 1;
    if (events & UPCALL_FAULT)
        at->frame.ip += skip_bytes;
    if (events & UPCALL_SYSCALL)
        at->frame.rax = at->frame.rax * 1000 + at->frame.rdi;
}

static void open_area(upcall_handler handler, uint32_t events)
{
    uint64_t address = test_address();
    area_segment = segment_new(1, RW);
    EXPECT_OK(attach(area_segment, BOOT_SLOT_ASPACE, address, RW));
    area = (struct upcall_area *)address;
    memset((void *)seen, 0, sizeof seen);
    upcall_open(area, handler, stack + STACK_BYTES);
    EXPECT_OK(thread_set_upcall(BOOT_SLOT_THREAD, area_segment, 0, events));
}

static uint64_t pending(void)
{
    return *(volatile uint64_t *)&area->pending;
}

static void close_area(void)
{
    EXPECT_OK(thread_set_upcall(BOOT_SLOT_THREAD, 0, 0, 0));
}

static void count_to_three(struct upcall_area *at, uint64_t events)
{
    count(at, events);
    work = seen[0] >= 3;
}

KERNEL_TEST(a_quantum_ends_and_the_code_goes_on)
{
    open_area(count_to_three, UPCALL_QUANTUM);
    work = 0;
    EXPECT_OK(upcall_quantum(20000));
    /* Every register and the flags are checked all the time, and the red zone. */
    EXPECT_EQ(upcall_test_spin(&work, 1), 0);
    EXPECT_OK(upcall_quantum(0));
    EXPECT(seen[0] >= 3);
    close_area();
}

KERNEL_TEST(masked_quanta_wait)
{
    open_area(count, UPCALL_QUANTUM);
    uint64_t before = upcall_mask(area);
    EXPECT_OK(upcall_quantum(10000));
    for (time_ns_t end = now_ns() + 1000000000; now_ns() < end && pending() == 0;)
        ;
    EXPECT_EQ(seen[0], 0);
    EXPECT_EQ(area->pending, UPCALL_QUANTUM);
    upcall_unmask(area, before);
    EXPECT(seen[0] >= 1);
    EXPECT_OK(upcall_quantum(0));
    close_area();
}

static void slow_count(struct upcall_area *at, uint64_t events)
{
    count(at, events);
    /* Until the next one is pending, but for the last. */
    if (seen[0] == 20)
        (void)upcall_quantum(0);
    for (time_ns_t end = now_ns() + 1000000000; seen[0] < 20 && now_ns() < end && pending() == 0;)
        ;
}

KERNEL_TEST(what_comes_during_the_handler_is_handled_after_it)
{
    open_area(slow_count, UPCALL_QUANTUM);
    EXPECT_OK(upcall_quantum(10000));
    for (time_ns_t end = now_ns() + 1000000000; now_ns() < end && seen[0] < 20;)
        ;
    EXPECT(seen[0] == 20 || seen[0] == 21); /* one was pending when they ended */
    close_area();
}

KERNEL_TEST(quanta_of_the_shortest_kind)
{
    open_area(count, UPCALL_QUANTUM);
    EXPECT_OK(upcall_quantum(UPCALL_QUANTUM_MIN_NS));
    time_ns_t end = now_ns() + 1000000000;
    for (uint32_t i = 0; (i < 200 || seen[0] < 5) && now_ns() < end; i++)
        EXPECT_EQ(upcall_test_spin(&area->masked, 0), 0);
    EXPECT_OK(upcall_quantum(0));
    EXPECT(seen[0] > 0);
    close_area();
}

KERNEL_TEST(a_thread_handles_its_own_faults)
{
    open_area(count, UPCALL_FAULT);
    uint64_t nothing = test_address();
    skip_bytes = 3; /* movq (%reg), %rax */
    __asm__ volatile("movq (%0), %%rax" : : "D"(nothing) : "rax", "memory");
    EXPECT_EQ(seen[2], 1);
    EXPECT_EQ(area->fault_vector, 14);
    EXPECT_EQ(area->fault_address, nothing);
    EXPECT_EQ(area->fault_error, 4);
    skip_bytes = 2;
    __asm__ volatile("ud2" : : : "memory");
    EXPECT_EQ(seen[2], 2);
    EXPECT_EQ(area->fault_vector, 6);
    close_area();
}

static void nested_fault(uint64_t address)
{
    struct upcall_area *at = (struct upcall_area *)address;
    at->masked = 1;
    (void)*(volatile uint64_t *)(address + SEGMENT_BYTES - PAGE_BYTES);
}

static void bad_handler(uint64_t address)
{
    struct upcall_area *at = (struct upcall_area *)address;
    at->masked = 0;
    at->handler = address + 64; /* not executable */
    (void)*(volatile uint64_t *)(address + SEGMENT_BYTES - PAGE_BYTES);
}

/* The fault of a helper with an area; its address. */
static uint64_t fault_of(void (*entry)(uint64_t))
{
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0), reply = object_new(OBJECT_REPLY, 0);
    uint64_t address = test_address();
    cap_slot_t segment = segment_new(1, RW);
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
    struct helper helper = helper_new(entry, address, PRIORITY_HIGH);
    EXPECT_OK(thread_configure(helper.thread, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, endpoint));
    upcall_open((struct upcall_area *)address, count, stack + STACK_BYTES);
    EXPECT_OK(thread_set_upcall(helper.thread, segment, 0, UPCALL_FAULT));
    EXPECT_OK(thread_resume(helper.thread));
    struct message m = {.info = MESSAGE_DEADLINE};
    m.words[7] = DEADLINE_NOW;
    EXPECT_OK(ipc_recv(endpoint, reply, &m));
    (void)thread_suspend(helper.thread);
    return m.words[FAULT_WORD_ADDRESS] - address;
}

KERNEL_TEST(a_masked_fault_goes_to_the_endpoint)
{
    EXPECT_EQ(fault_of(nested_fault), SEGMENT_BYTES - PAGE_BYTES);
}

KERNEL_TEST(a_handler_that_cannot_run_is_a_fault)
{
    EXPECT_EQ(fault_of(bad_handler), 64);
}

static void signal_later(uint64_t notification)
{
    (void)notification_signal((cap_slot_t)notification);
}

static void take(struct upcall_area *at, uint64_t events)
{
    count(at, events);
    work |= upcall_take_notification(at);
}

KERNEL_TEST(a_notification_interrupts_its_thread)
{
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    open_area(take, UPCALL_NOTIFICATION);
    EXPECT_OK(thread_bind_notification(BOOT_SLOT_THREAD, notification));
    work = 0;
    (void)helper_start(signal_later, minted(notification, RIGHT_SEND, 4), PRIORITY_HIGH);
    EXPECT_EQ(work, 4);
    EXPECT_OK(notification_signal(minted(notification, RIGHT_SEND, 2)));
    EXPECT_EQ(work, 6);
    EXPECT_EQ(seen[1], 2);
    EXPECT_OK(thread_bind_notification(BOOT_SLOT_THREAD, 0));
    close_area();
}

KERNEL_TEST(foreign_system_calls_stay_in_the_thread)
{
    open_area(count, UPCALL_SYSCALL);
    /* The code behind that function makes kernel calls (upcall.S). */
    area->kernel_code_first = (uint64_t)upcall_test_foreign + 32;
    EXPECT_EQ(upcall_test_foreign(39, 7), 39007);
    EXPECT_EQ(upcall_test_foreign(1, 2), 1002);
    EXPECT_EQ(seen[3], 2);
    area->kernel_code_first = (uint64_t)upcall_test_foreign;
    EXPECT_EQ((status_t)upcall_test_foreign(9999, 7), STATUS_INVALID_CALL);
    close_area();
}

KERNEL_TEST(the_segment_of_an_area_is_pinned_until_it_dies)
{
    open_area(count, UPCALL_FAULT);
    EXPECT_EQ(segment_depopulate(area_segment, 0, 1), STATUS_BUSY);
    EXPECT_EQ(segment_protect(area_segment, 0, 1, RIGHT_READ), STATUS_BUSY);
    cap_slot_t copy = object_new(OBJECT_SEGMENT, 0);
    EXPECT_EQ(segment_derive((struct derive_request){area_segment, copy, 1, 0, 0, 0}), STATUS_BUSY);
    EXPECT_OK(destroy(area_segment));
    EXPECT_EQ(upcall_quantum(UPCALL_QUANTUM_KEEP), STATUS_NOT_FOUND);
}
